"""``aiquant sweep``: many parameter sets of one strategy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, StrategyOption, WorkspaceOption
from aiquant.cli.summary import number, percent


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant sweep --strategy sma-cross --param fast=5:50:5 --param slow=60,100,200")(sweep)


def sweep(
    strategy: StrategyOption = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUES", help="Values A,B,C or a range FROM:TO:STEP (repeatable)."),
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Run whose forecasts the strategy sees.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the best sets are shown.")] = 10,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads or processes; default: sweep.workers.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write all sets to this file (.csv, .parquet, .arrow).")] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try every combination of parameters, and tell how much of the best one is luck."""
    from aiquant.jobs import sweep as job

    console = Console(as_json)
    opened = options.workspace(workspace, told, sweep__workers=workers)
    done = job.run(opened, console.journal, strategy, options.params(param), run_id=run_id, top=top, out=out)
    rows = [
        (
            ", ".join(f"{name}={value}" for name, value in line.params.items()) or "–",
            number(line.sharpe),
            percent(line.annual_return),
            percent(line.volatility),
            percent(line.max_drawdown),
            line.fills,
        )
        for line in done.best
    ]
    columns = ["the best, net of costs", "Sharpe", "return a year", "volatility", "max. drawdown", "fills"]
    console.answer(asdict(done), table(columns, rows), *_sentences(done.sets, done.refused, asdict(done)))


def _sentences(sets: int, refused: int, told: dict[str, object]) -> list[str]:
    apart = f" ({refused:,} that the strategy refuses left out)" if refused else ""
    lines = [f"{sets:,} parameter sets{apart} were tried; all of them count as trials (study {told['study']})."]
    luck, deflated, chance = told["luck"], told["deflated"], told["overfitting"]
    if isinstance(luck, float) and isinstance(deflated, float):
        lines.append(
            f"If none were worth anything, the best would be expected to show a Sharpe ratio of {number(luck)}; the "
            f"probability that the best is truly above that is {percent(deflated)}."
        )
    if isinstance(chance, float):
        lines.append(f"The best of one half of the sessions is below the median in the other in {percent(chance)}.")
    return lines
