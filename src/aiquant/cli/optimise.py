"""``aiquant optimise``: one book, now."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.cli import options, summary
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from aiquant.jobs.optimise import Optimised


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: aiquant optimise --rule min-variance --bars prices.csv --set portfolio.max_position=0.1"
    )(optimise)


def optimise(
    run_id: Annotated[
        str | None, typer.Option("--run", help="Run whose newest forecasts count; 'latest' is the newest run.")
    ] = None,
    expected: Annotated[
        Path | None, typer.Option(help="File with symbol, expected_return (a year, 0.05 is 5 %).")
    ] = None,
    bars: Annotated[Path | None, typer.Option(help="File with bars; default: those of the workspace.")] = None,
    held: Annotated[
        Path | None, typer.Option(help="File with symbol, weight: the present book; default: the run's, or cash.")
    ] = None,
    rule: Annotated[str | None, typer.Option(help="How weights are made; default: the setting portfolio.rule.")] = None,
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Decision date; default: the newest.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write date, symbol, weight to this file (.csv, .parquet, .arrow).")
    ] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make one book from forecasts, expected returns or prices alone: weights, risk, and the limits that bind."""
    from aiquant.jobs import optimise as job
    from aiquant.settings import load

    console = Console(as_json)
    flags: dict[str, object] = {"portfolio__rule": rule}
    opened = options.workspace_if_any(workspace, told, needed=bars is None or run_id is not None, **flags)
    settings = opened.settings if opened is not None else load(None, options.merged(told, **flags))
    if run_id == "latest" and opened is not None:
        run_id = opened.latest_run()
    chosen = day.date() if day else None
    done = job.optimise(
        settings,
        console.journal,
        opened,
        run_id=run_id,
        expected=expected,
        bars=bars,
        held=held,
        day=chosen,
        out=out,
    )
    console.answer(done, *_lines(done))


def _lines(done: Optimised) -> list[object]:
    shares = done.risk.get("shares", {})
    rows = [(symbol, summary.percent(weight), _share(shares.get(symbol))) for symbol, weight in done.weights]
    title = f"The book of {done.rule}, decided at the close of {done.date} from {done.source}:"
    lines: list[object] = [title, table(["symbol", "weight", "share of the risk"], rows)]
    if done.risk:
        lines.append(
            f"Volatility {summary.percent(done.risk['volatility'])} a year, beta {summary.number(done.risk['beta'])}, "
            f"mean loss of the worst sessions {summary.percent(done.risk['cvar'])}."
        )
    if done.expected_return is not None:
        believed = f", the forecasts believed with an IC of {done.ic:.3f}" if done.ic else ""
        lines.append(f"Expected return {summary.percent(done.expected_return)} a year{believed}.")
    lines.append(f"Turnover from the present book: {summary.percent(done.turnover)}.")
    lines.append(f"Limits that bind: {', '.join(done.binding) or 'none'}.")
    if done.failure:
        used = "the present book is kept" if done.used == "previous" else f"{done.used} stands in"
        lines.append(f"The rule found no book ({done.failure}): {used}.")
    return [*lines, *summary.remarks(done.notes)]


def _share(value: float | None) -> str:
    return "–" if value is None else summary.percent(value)
