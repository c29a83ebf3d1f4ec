"""``aiquant models``: registered models."""

from __future__ import annotations

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

app = typer.Typer()


@app.callback()
def _models() -> None:
    """Registered models."""


@app.command("ls", epilog="Example: aiquant models ls --json")
def ls(workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False) -> None:
    """List the registered versions with their aliases."""
    from aiquant.learning import registry

    opened = options.workspace(workspace, told)
    found = registry.list_versions(opened.settings.tracking, opened.root)
    rows = [(v.version, v.aliases, v.run_id, v.verdict, v.created) for v in found]
    Console(as_json).answer(
        {"models": found},
        table(["version", "aliases", "run", "gate", "made"], rows) if rows else "No model is registered yet.",
    )
