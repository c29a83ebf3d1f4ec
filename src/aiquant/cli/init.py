"""``aiquant init``: make a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aiquant.cli.console import Console
from aiquant.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant init research && cd research")(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; it is made if need be.")],
    name: Annotated[str | None, typer.Option(help="Name shown in reports; default: the folder's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a workspace: a settings file, and places for the lake and the runs."""
    from aiquant.jobs.workspace import create

    made = create(folder, name)
    Console(as_json).answer(
        {"workspace": made.root.resolve(), "settings": made.root / "aiquant.toml"},
        f"{made.root} is a workspace; its settings are in {made.root / 'aiquant.toml'}.",
        f"Next: cd {made.root} && aiquant ingest bars --source files --path prices.csv",
    )
