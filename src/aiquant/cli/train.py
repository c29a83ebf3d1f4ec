"""``aiquant train``: a walk-forward of forecasts, and a final model."""

from __future__ import annotations

from typing import Annotated

import typer

from aiquant.cli import options, summary
from aiquant.cli.console import Console
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant train xgboost --set labels.horizon=10")(train)


def train(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="xgboost, ridge, momentum, zero, a plug-in's name or average:xgboost,ridge; "
            "default: the setting learning.model.",
        ),
    ] = None,
    engine: Annotated[str | None, typer.Option(help="local, or spark (XGBoost alone).", show_default=False)] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train by purged walk-forward; forecasts out of sample go to the lake, models and manifest to the run's folder."""
    from aiquant.jobs import train as job

    console = Console(as_json)
    done = job.train(
        options.workspace(workspace, told, learning__model=model, learning__engine=engine), console.journal
    )
    judged = {k: v for k, v in done.study.judgement.to_dict().items() if k != "daily"}
    answer = {
        "run_id": done.run_id,
        "folder": done.folder,
        "rank_ic": judged["rank_ic"],
        "rank_ic_t": judged["rank_ic_t"],
        "forecasts": done.manifest["results"]["forecasts"],
        "judgement": judged,
    }
    console.answer(answer, summary.forecasts(judged), f"Run {done.run_id}. Next: aiquant backtest, then aiquant report")
