"""``aiquant explain``: why one forecast is what it is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, WorkspaceOption

SHOWN = 15
"""Features that are printed at the most."""


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant explain --symbol AAPL --date 2022-12-28 --picture why.html")(explain)


def explain(
    symbol: Annotated[str, typer.Option(help="The symbol.")],
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Decision date.")],
    run_id: Annotated[str | None, typer.Option("--run", help="Id of the run; default: the newest.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw it into this file (.html, .png).")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what each feature adds to a forecast, by the model that made it out of sample, else by the final one."""
    from aiquant.jobs import explain as job

    console = Console(as_json)
    opened = options.workspace(workspace)
    run = run_id or opened.latest_run()
    done = job.explain(opened, console.journal, run, symbol, day.date(), picture)
    if done.forecast is None:
        console.answer(done, f"{done.model} has no forecast of {done.symbol} on {done.date}.")
        return
    whose = f"fold {done.fold}, out of sample" if done.fold >= 0 else "the final model, which may have seen this date"
    rows = [(f["feature"], f["contribution"], f["value"], f["percentile"]) for f in done.features[:SHOWN]]
    rest = sum(f["contribution"] for f in done.features[SHOWN:])
    left = [f"{len(done.features) - SHOWN} further features add {rest:+.4g}."] * (len(done.features) > SHOWN)
    console.answer(
        done,
        f"{done.symbol} on {done.date}: {done.forecast:+.5f}, place {done.place} of {done.symbols} "
        f"({done.model}, {whose})",
        table(["feature", "adds", "value", "percentile of the date"], rows),
        *left,
        f"Base {done.base:+.4g}. What a feature adds says what the model made of it, not what moves the price.",
        *([f"Drawn into {done.picture}"] if done.picture else []),
    )
