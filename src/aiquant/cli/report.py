"""``aiquant report``: the tearsheet of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console
from aiquant.cli.options import JsonOption, RunArgument, SetOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant report --out tearsheet.html")(report)


def report(
    run_id: RunArgument = None,
    out: Annotated[Path | None, typer.Option(help="File; default: report.html in the run's folder.")] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each figure as a PNG file to this folder besides.")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Make the evaluation of the strategy before: luck, costs, factors …")
    ] = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the tearsheet of a run: one HTML file that needs no network."""
    from aiquant.jobs import report as job

    console = Console(as_json)
    opened = options.workspace(workspace, told)
    done = job.report(opened, console.journal, run_id or opened.latest_run(), out, png, evaluate)
    console.answer(done, f"The report: {done.report}", *([f"Its figures: {png}"] if png else []))
