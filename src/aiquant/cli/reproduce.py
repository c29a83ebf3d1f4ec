"""``aiquant reproduce``: make a run again and compare."""

from __future__ import annotations

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, RunArgument, WorkspaceOption
from aiquant.errors import CheckFailed


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant reproduce xgboost-0123456789")(reproduce)


def reproduce(run_id: RunArgument = None, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Rebuild a run from its manifest, and say whether forecasts and figures are identical; exit code 1 if not."""
    from aiquant.jobs import reproduce as job

    console = Console(as_json)
    opened = options.workspace(workspace)
    done = job.reproduce(opened, console.journal, run_id or opened.latest_run())
    changes = [(name, c["then"], c["now"]) for name, c in done.changed.items()]
    console.answer(
        done,
        table(["result", "identical"], list(done.compared.items())),
        *([table(["since then", "was", "is"], changes)] if changes else []),
        f"Run {done.run_id} is {'identical' if done.identical else 'NOT identical'}.",
    )
    if not done.identical:
        raise typer.Exit(CheckFailed.exit_code)
