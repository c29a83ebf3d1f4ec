"""Target weights: how much of the equity each signal is worth.

A rule turns the signals of the decision dates into weights. Rules stand in :data:`RULES` by name, so that an optimiser
is one more entry and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pyarrow as pa

from aiquant.portfolio import signals
from aiquant.schemas import TARGET_WEIGHTS, conform
from aiquant.settings import PortfolioSettings

Rule = Callable[[pl.DataFrame, PortfolioSettings], pl.Expr]
"""Takes the signals (``symbol, date, event_time, signal``) and gives the weight of each row."""

MIN_SYMBOLS = 2
"""A ranking of fewer symbols says nothing: the book is empty on such a date."""


def from_forecasts(forecasts: pa.Table, portfolio: PortfolioSettings, horizon: int, run_id: str) -> pa.Table:
    """Target weights for every ``rebalance`` (default: ``horizon``) dates, beginning with the first forecast date.

    Parameters
    ----------
    forecasts
        Table ``forecasts`` of one model.
    portfolio
        The rule, its quantile and its gross exposure.
    horizon
        Bars that the forecasts look ahead.
    run_id
        Written into each row.

    Returns
    -------
    Table
        ``target_weights``, sorted by date and symbol. A decision date always has rows: one without a position has a row
        of weight 0 for each of its symbols, because a date that is absent would mean to hold the old book.

    Raises
    ------
    DataError
        When a symbol has two forecasts for one date, or a forecast is not a finite number.
    """
    frame = decision_dates(signals.rank(forecasts), portfolio.rebalance or horizon)
    weighted = frame.with_columns(weight=RULES[portfolio.rule](frame, portfolio).cast(pl.Float64))
    flat = (pl.col("weight") == 0.0).all().over("date")
    kept = weighted.filter((pl.col("weight") != 0.0) | flat)
    rows = kept.select(pl.lit(run_id).alias("run_id"), "symbol", "date", "event_time", "weight")
    return conform(rows.to_arrow(), TARGET_WEIGHTS)


def decision_dates(frame: pl.DataFrame, every: int) -> pl.DataFrame:
    """The rows of every ``every``-th date, beginning with the first; ``frame`` is sorted by date."""
    return frame.filter((pl.col("date").rank("dense") - 1) % every == 0)


def _places(portfolio: PortfolioSettings) -> pl.Expr:
    """Symbols on each side: the quantile of the date's symbols, at least one, at most half of them."""
    count = pl.len().over("date")
    wanted = (count * portfolio.quantile + 1e-9).floor().cast(pl.Int64)  # 15 × 0.2 must not become 2
    return pl.min_horizontal(pl.max_horizontal(wanted, pl.lit(1)), count // 2)


def _side(top: bool, portfolio: PortfolioSettings, each_side: float) -> pl.Expr:
    """Equal weights of one end of the ranking, 0 elsewhere and on dates that say nothing."""
    places = _places(portfolio)
    place = pl.col("signal").rank("ordinal", descending=top).over("date")
    meaningful = (pl.len().over("date") >= MIN_SYMBOLS) & (pl.col("signal") != 0.0).any().over("date")
    return pl.when(meaningful & (place <= places)).then(each_side / places).otherwise(0.0)


def long_short(_: pl.DataFrame, portfolio: PortfolioSettings) -> pl.Expr:
    """Buy the top quantile, sell the bottom quantile: equal weights, half of the gross exposure on each side."""
    half = portfolio.gross / 2
    return _side(True, portfolio, half) - _side(False, portfolio, half)


def long_only(_: pl.DataFrame, portfolio: PortfolioSettings) -> pl.Expr:
    """Buy the top quantile: equal weights that sum to the gross exposure."""
    return _side(True, portfolio, portfolio.gross)


RULES: dict[str, Rule] = {"long-short": long_short, "long-only": long_only}
"""The rules by the name that the setting ``portfolio.rule`` takes."""
