"""``aiquant strategies`` and ``aiquant new``: which strategies there are, and a file to begin one of your own."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, WorkspaceOption

app = typer.Typer()
new = typer.Typer()


@app.callback()
def _strategies() -> None:
    """Strategies: which there are, and their parameters."""


@new.callback()
def _new() -> None:
    """Files to begin from."""


@app.command("list", epilog="Example: aiquant strategies list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List all strategies: built-in ones, those of packages, and those of the workspace."""
    from aiquant.jobs import strategy_files as job

    console = Console(as_json)
    found = job.list_all(workspace)
    rows = [(line.name, line.origin, line.params, line.about) for line in found]
    console.answer([asdict(line) for line in found], table(["strategy", "origin", "parameters", ""], rows))


@app.command(epilog="Example: aiquant strategies show momentum")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the strategy.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a strategy does, and its parameters."""
    from aiquant.jobs import strategy_files as job

    console = Console(as_json)
    told = job.show(workspace, name)
    rows = [(p["name"], p["kind"], "needed" if p["required"] else str(p["default"])) for p in told["parameters"]]
    console.answer(
        told,
        f"{told['name']} ({told['origin']}: {told['place']})",
        told["about"],
        *([table(["parameter", "type", "default"], rows)] if rows else []),
    )


@new.command(epilog="Example: aiquant new strategy my-idea")
def strategy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write strategies/NAME.py into the workspace: a whole strategy to begin from."""
    from aiquant.jobs import strategy_files as job

    console = Console(as_json)
    path = job.begin(options.workspace(workspace), name)
    console.answer(
        {"strategy": name, "path": path},
        f"wrote {path}",
        f"try it: aiquant backtest --strategy {name}",
        f"prove it: aiquant check leakage --strategy {name}",
    )
