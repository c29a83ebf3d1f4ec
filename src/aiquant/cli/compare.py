"""``aiquant compare``: many strategies side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiquant.cli import options, summary
from aiquant.cli.console import Console, plain, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from aiquant.backtest.evaluation.comparison import Comparison


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant compare 3f9c2a7b momentum.csv --out comparison.html")(compare)


def compare(
    strategies: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|FILE...",
            help="Ids of runs or backtests (or their beginnings), files with date and equity; first the reference.",
        ),
    ],
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Compare the plain books of the first run, too.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the page to this HTML file.")] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare strategies on their common dates: pair by pair, and as what one chose from."""
    from aiquant.jobs import compare as job
    from aiquant.settings import load

    console = Console(as_json)
    files = all(Path(name).is_file() for name in strategies)
    opened = options.workspace_if_any(workspace, told, needed=not files)
    settings = opened.settings if opened is not None else load(None, options.merged(told))
    done = job.compare(settings, console.journal, strategies, opened, baselines, out)
    found: dict[str, Any] = {**plain(done.comparison), "report": None if out is None else str(out)}
    console.answer(found, *_said(done.comparison), *([f"The page: {out}"] if out else []))


def _said(found: Comparison) -> list[Any]:
    rows = []
    pairs = {pair.name: pair for pair in found.pairs}
    for each in found.strategies:
        pair, told = pairs.get(each.name), each.summary
        rows.append(
            (
                each.name,
                summary.percent(told.annual_return),
                summary.interval(told.sharpe, told.sharpe_low, told.sharpe_high),
                summary.percent(told.max_drawdown),
                summary.percent(each.deflated),
                (
                    "reference"
                    if pair is None
                    else summary.interval(pair.sharpe_difference, pair.sharpe_low, pair.sharpe_high)
                ),
            )
        )
    head = ["strategy", "return a year", "Sharpe (95 %)", "max. drawdown", "deflated", "Sharpe, difference (95 %)"]
    lines: list[Any] = [f"{found.first} to {found.last}, {found.sessions:,} common sessions", table(head, rows)]
    overfitting = summary.percent(None if found.overfitting != found.overfitting else found.overfitting)
    lines.append(
        f"Probability of overfitting {overfitting}; that the best is no better than {found.strategies[0].name}: "
        f"p = {summary.number(found.superiority, digits=3)}."
    )
    if found.choice is not None:
        lines.append(
            f"The best of the past {found.choice.train} sessions, held for {found.choice.test}: Sharpe ratio "
            f"{summary.number(found.choice.sharpe)}; the best by hindsight {summary.number(found.choice.best_sharpe)}."
        )
    return [*lines, *summary.remarks(found.notes)]
