"""Signals: forecasts made comparable within a date.

Only the order of the forecasts of one date has a meaning that all models share, so the signal is their rank.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError


def rank(forecasts: pa.Table) -> pl.DataFrame:
    """Rank of each symbol within its date, spread evenly over [−0.5, 0.5].

    Equal forecasts are ranked by symbol, so that the result does not depend on the order of the rows. A date whose
    forecasts are all equal says nothing: its signals are 0.

    Parameters
    ----------
    forecasts
        Table ``forecasts`` of one model: at most one row for each symbol and date.

    Returns
    -------
    DataFrame
        ``symbol, date, event_time, signal`` sorted by date and symbol; ``signal`` float64.

    Raises
    ------
    DataError
        When a symbol has two forecasts for one date, or a forecast is not a finite number.
    """
    columns = ["symbol", "date", "event_time", "forecast"]
    frame = pl.DataFrame(pl.from_arrow(forecasts.select(columns))).sort("date", "symbol")
    _check(frame)
    # A forecast never depends on the symbol's name; only the place among equals does.
    place = pl.col("forecast").rank("ordinal").over("date")
    count = pl.len().over("date")
    says_something = pl.col("forecast").min().over("date") < pl.col("forecast").max().over("date")
    signal = pl.when(says_something).then((place - 1) / (count - 1) - 0.5).otherwise(0.0)
    return frame.select("symbol", "date", "event_time", signal=signal)


def _check(frame: pl.DataFrame) -> None:
    twice = frame.filter(pl.struct("symbol", "date").is_duplicated())
    if len(twice):
        symbol, day = twice.row(0)[:2]
        raise DataError(f"forecasts: {symbol} has more than one forecast for {day}", "pass the rows of one model")
    bad = frame.filter(~pl.col("forecast").is_finite().fill_null(False))
    if len(bad):
        symbol, day = bad.row(0)[:2]
        raise DataError(f"forecasts: the forecast of {symbol} for {day} is not a finite number")
