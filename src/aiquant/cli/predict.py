"""``aiquant predict``: forecasts of the final model, and the book that they lead to."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from aiquant.cli import options, summary
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, RunArgument, SetOption, WorkspaceOption

SHOWN = 50
"""Forecasts that are printed at the most."""


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant predict --date 2015-12-31 --out forecasts.csv")(predict)


def predict(
    run_id: RunArgument = None,
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Decision date; default: the newest bar's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file (.csv, .parquet, .arrow).")] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast every symbol on a date with the final model of a run."""
    from aiquant.jobs import predict as job

    console = Console(as_json)
    opened = options.workspace(workspace, told)
    done = job.predict(opened, console.journal, run_id or opened.latest_run(), day.date() if day else None, out)
    warning = ["note: the model was trained on what followed this date: these forecasts prove nothing"] * done.in_sample
    title = (
        f"Forecasts of {done.model}, decided at the close of {done.date}, for {done.horizon} sessions; highest first:"
    )
    left = len(done.forecasts) - SHOWN
    more = [f"… and {left:,} more; write all to a file with --out, or print them with --json."] * (left > 0)
    weights = dict(done.weights)
    rows = [(symbol, forecast, weights.get(symbol)) for symbol, forecast in done.forecasts[:SHOWN]]
    remarks = [*warning, *summary.remarks(done.notes)]
    console.answer(done, title, table(["symbol", "forecast", "target weight"], rows), *more, *remarks)
