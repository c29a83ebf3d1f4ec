"""``aiquant config``: settings and where they come from."""

from __future__ import annotations

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

app = typer.Typer()


@app.command(epilog="Example: aiquant config show --json")
def show(workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False) -> None:
    """Show every setting, its value and its origin; secrets are hidden."""
    from aiquant.errors import MissingError
    from aiquant.jobs.workspace import open_
    from aiquant.settings import SECRETS, flatten, resolve

    try:
        root = open_(workspace).root
    except MissingError:
        if workspace is not None:
            raise
        root = None  # outside of a workspace: the defaults and the environment
    settings, origins = resolve(root, options.overrides(told))
    flat = flatten(settings.model_dump(mode="json"))
    shown = {
        name: {"value": ("***" if value is not None else None) if name in SECRETS else value, "origin": origins[name]}
        for name, value in flat.items()
    }
    rows = [(name, "" if s["value"] is None else str(s["value"]), s["origin"]) for name, s in shown.items()]
    Console(as_json).answer(
        {"workspace": root, "hash": settings.fingerprint(), "settings": shown},
        table(["setting", "value", "from"], rows),
    )
