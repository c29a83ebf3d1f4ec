"""``aiquant check``: checks that try to prove a result wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption
from aiquant.errors import CheckFailed

app = typer.Typer()


@app.callback()
def _checks() -> None:
    """Checks that try to prove a result wrong."""


@app.command(epilog="Example: aiquant check leakage --cuts 8")
def leakage(
    model: Annotated[str | None, typer.Option(help="Forecaster; default: the setting learning.model.")] = None,
    cuts: Annotated[int | None, typer.Option(min=1, help="Random times at which history is cut.")] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut history at random times, compute again, and demand that nothing before the cut changes."""
    from aiquant.jobs import leakage as job

    console = Console(as_json)
    opened = options.workspace(workspace, told, learning__model=model, leakage__cuts=cuts)
    verdict = job.check(opened, console.journal)
    rows = [(c.at, c.what, c.compared, c.differing, c.example or "") for c in verdict.comparisons]
    console.answer(
        verdict.to_dict(),
        table(["cut at", "compared", "values", "differing", "example"], rows),
        verdict.sentence(),
    )
    if not verdict.passed:
        raise typer.Exit(CheckFailed.exit_code)
