"""``aiquant backtest``: trade forecasts or weights."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.cli import options, summary
from aiquant.cli.console import Console
from aiquant.cli.options import JsonOption, ParamOption, SetOption, StrategyOption, WorkspaceOption
from aiquant.errors import UsageError

if TYPE_CHECKING:
    from aiquant.jobs.workspace import Workspace


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant backtest --weights weights.csv --bars bars.parquet --commission-bps 10")(
        backtest
    )


def backtest(
    run_id: Annotated[
        str | None, typer.Option("--run", help="Run whose forecasts are traded; default: the newest.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File with date, symbol, weight (decided at the close of date).")
    ] = None,
    orders: Annotated[
        Path | None, typer.Option(help="File with date, symbol, shares to buy (> 0) or sell (< 0), instead of weights.")
    ] = None,
    strategy: StrategyOption = None,
    param: ParamOption = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First date of a decision of the strategy."),
    ] = None,
    bars: Annotated[Path | None, typer.Option(help="File with bars; default: those of the workspace.")] = None,
    instruments: Annotated[
        Path | None, typer.Option(help="File with symbol, and its currency, lot, spread_bps, borrow_bps, locate.")
    ] = None,
    fx: Annotated[Path | None, typer.Option(help="File with currency, date, rate in the account's currency.")] = None,
    capital: Annotated[float | None, typer.Option(help="Cash at the start.")] = None,
    commission_bps: Annotated[
        float | None, typer.Option(help="Commission, basis points of the slipped notional.")
    ] = None,
    slippage_bps: Annotated[float | None, typer.Option(help="Slippage, basis points of the price.")] = None,
    fill: Annotated[
        str | None, typer.Option(help="Price of the next bar at which orders fill.", metavar="next-open|close|vwap")
    ] = None,
    fractional: Annotated[
        bool | None,
        typer.Option("--fractional/--whole", help="Whether parts of a share can be traded.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write date and equity to this file (.csv, .parquet, .arrow).")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Tell what stands behind the result: luck, costs, capacity, factors …")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a tearsheet, with the evaluation, to this HTML file.")
    ] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trade the forecasts of a run, a strategy, or a file of weights or orders, net of costs."""
    from aiquant.jobs import backtest as job
    from aiquant.jobs import strategies, strategy_evaluation, terms
    from aiquant.settings import load

    console = Console(as_json)
    shares = None if fractional is None else ("fractional" if fractional else "whole")
    flags: dict[str, object] = {
        "backtest__capital": capital,
        "backtest__commission_bps": commission_bps,
        "backtest__slippage_bps": slippage_bps,
        "backtest__fill": fill,
        "backtest__shares": shares,
    }
    given = job.Files(weights, orders, bars, instruments, fx)
    if weights is not None and orders is not None:
        raise UsageError("--weights and --orders were given", "give one of them")
    around: Workspace | None
    if strategy is not None:
        if (weights, orders, bars) != (None, None, None):
            raise UsageError(
                "--strategy decides by itself, on the bars of the workspace",
                "leave --weights, --orders and --bars away",
            )
        around = opened = options.workspace(workspace, told, **flags)
        chosen = strategies.choose(opened, strategy, options.params(param), terms.read(instruments, fx))
        day = None if first is None else first.date()
        done = strategies.run(opened, console.journal, chosen, run_id=run_id, first=day, out=out)
    elif param or first is not None:
        raise UsageError("--param and --from belong to a strategy", "name it with --strategy")
    elif weights is None and orders is None:
        if bars is not None:
            raise UsageError("a run is traded on the bars of the workspace", "leave --bars away, or name --weights")
        around = opened = options.workspace(workspace, told, **flags)
        named_run = run_id or opened.latest_run()
        done = job.of_run(opened, console.journal, named_run, out, terms=terms.read(instruments, fx))
    else:
        around = options.workspace_if_any(workspace, told, needed=bars is None, **flags)
        settings = around.settings if around is not None else load(None, options.merged(told, **flags))
        done = job.of_file(settings, console.journal, given, around, out)
    if evaluate or report is not None:
        done.evaluation = strategy_evaluation.of_backtest(around, console.journal, done)
    if report is not None:
        named = f"Run {done.run_id}" if strategy is None else f"Strategy {strategy}"
        file = weights or orders
        title = named if file is None else f"{'Weights' if weights else 'Orders'} of {file.name}"
        done.report = strategy_evaluation.tearsheet(console.journal, done, title, report)
    console.answer(
        done.to_dict(),
        summary.strategies(done.figures),
        *summary.evaluation(done.evaluation),
        *summary.remarks(done.notes),
        *([f"The report: {report}"] if report else []),
    )
