"""Target weights: how much of the equity each signal is worth, decision by decision.

Each decision knows what was known at its close: forecasts, past returns, and the book that is held, which drifted with
prices since the last decision. A rule of :mod:`aiquant.portfolio.rules` makes a book of it. What the rule cannot do, or
the limits forbid, a fallback does, and it is told and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date

import polars as pl
import pyarrow as pa

from aiquant.errors import UsageError
from aiquant.portfolio import expected, moment, remarks, rules, signals
from aiquant.portfolio.deciding import HOLD, Book, Decision
from aiquant.portfolio.history import History
from aiquant.portfolio.moment import Terms
from aiquant.schemas import TARGET_WEIGHTS, conform
from aiquant.settings import PortfolioSettings


@dataclass(frozen=True, eq=False)
class Built:
    """Target weights, and what should be known of them.

    Attributes
    ----------
    weights
        Table ``target_weights``. A decision that keeps the old book has no rows.
    decisions
        How many decisions there were, how many kept the old book because it was not worth a trade, and how many fell
        back.
    notes
        What was not as asked, for the reader of a result.
    last
        The last decision; None where there was none.
    """

    weights: pa.Table
    decisions: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    last: Decision | None = None


def from_forecasts(
    forecasts: pa.Table,
    portfolio: PortfolioSettings,
    horizon: int,
    run_id: str,
    history: History | None = None,
    terms: Terms | None = None,
) -> pa.Table:
    """The target weights of :func:`build`, without its remarks."""
    return build(forecasts, portfolio, terms or Terms(horizon), run_id, history).weights


def build(
    forecasts: pa.Table,
    portfolio: PortfolioSettings,
    terms: Terms,
    run_id: str,
    history: History | None = None,
    held: Mapping[str, float] | None = None,
    since: date | None = None,
) -> Built:
    """Target weights for every ``rebalance`` (default: horizon) dates, beginning with the first forecast date.

    Parameters
    ----------
    forecasts
        Table ``forecasts`` of one model. A column ``expected`` (of a bar, fractions) may say what is expected.
    portfolio
        The rule and its limits.
    terms
        Horizon, costs and capital.
    run_id
        Written into each row.
    history
        Past returns; what is later than a decision does not count in it.
    held
        The book before the first decision, as it is worth by then; default: cash.
    since
        Decide on this date, and every ``rebalance`` dates from it, only; earlier forecasts show what they are worth.

    Returns
    -------
    Built
        Weights sorted by date and symbol. A decision always has rows: one without a position has a row of weight 0 for
        each of its symbols, because a date that is absent means to hold the old book. That is what a decision does that
        is not worth its trades, or falls back on the previous book.

    Raises
    ------
    DataError
        When a symbol has two forecasts for one date, or a forecast is not a finite number.
    UsageError
        When settings do not fit together, or need past returns that were not given.
    """
    rule = rules.check(portfolio)
    if history is None and moment.needs_history(portfolio, rule):
        raise UsageError(f"the rule {portfolio.rule} needs past returns", "give bars")
    frame = signals.rank(forecasts)
    skill = None
    if history is not None and rule.history and portfolio.ic is None and portfolio.expected == "forecast":
        skill = expected.skill(frame, history, terms.horizon)
    if "expected" in forecasts.column_names:
        told = pl.DataFrame(pl.from_arrow(forecasts.select(["symbol", "date", "expected"])))
        frame = frame.join(told, on=["symbol", "date"], how="left", maintain_order="left")
    if since is not None:
        frame = frame.filter(pl.col("date") >= since)
    frame = decision_dates(frame, terms.held_for(portfolio))
    return _walk(frame, Book(portfolio, terms, rule, history, skill, dict(held or {})), run_id)


def decision_dates(frame: pl.DataFrame, every: int) -> pl.DataFrame:
    """The rows of every ``every``-th date, beginning with the first; ``frame`` is sorted by date."""
    return frame.filter((pl.col("date").rank("dense") - 1) % every == 0)


def _walk(frame: pl.DataFrame, book: Book, run_id: str) -> Built:
    from threadpoolctl import threadpool_limits

    parts, used, last = [], Counter[str](), None
    failures: list[tuple[date, str, str]] = []
    # How sums are split among threads must not show in a weight; where there are no matrices there is nothing to split.
    with threadpool_limits(1) if book.history is not None else nullcontext():
        for _, rows in frame.group_by("date", maintain_order=True):
            last = book.decide(rows)
            used[last.used] += 1
            if last.failure:
                failures.append((last.moment.day, last.used, last.failure))
            if last.weights is not None:
                parts.append(_rows(rows, last.weights))
    empty = frame.select("symbol", "date", "event_time", pl.lit(0.0).alias("weight")).clear()
    weighted = pl.concat([empty, *parts]).select(pl.lit(run_id).alias("run_id"), pl.all())
    total = used.total()
    decided = {"decisions": total, "kept": used[HOLD] - sum(how == HOLD for _, how, _ in failures)}
    notes = remarks.of(book.portfolio, total, failures, book.remarks)
    return Built(
        conform(weighted.to_arrow(), TARGET_WEIGHTS), {**decided, "fallbacks": len(failures)}, tuple(notes), last
    )


def _rows(rows: pl.DataFrame, weights: dict[str, float]) -> pl.DataFrame:
    """The book as rows; all its symbols with weight 0 where it is empty."""
    day, moment_ = rows["date"][0], rows["event_time"][0]
    if not weights:
        return rows.select("symbol", "date", "event_time", pl.lit(0.0).alias("weight"))
    told = pl.DataFrame({"symbol": list(weights), "weight": list(weights.values())}).sort("symbol")
    times = rows.select("symbol", "event_time")
    joined = told.join(times, on="symbol", how="left", maintain_order="left")
    return joined.select(
        "symbol",
        pl.lit(day).alias("date"),
        pl.col("event_time").fill_null(moment_),
        "weight",
    )
