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
    from aiquant.jobs import models as job

    opened = options.workspace(workspace, told)
    found = job.list_models(opened)
    rows = [(m.version, m.aliases, m.run_id, m.rank_ic_t, m.sharpe_net, m.made) for m in found]
    Console(as_json).answer(
        {"models": found},
        (
            table(["version", "aliases", "run", "rank IC t", "Sharpe net", "made"], rows)
            if rows
            else "No model is registered yet."
        ),
    )
