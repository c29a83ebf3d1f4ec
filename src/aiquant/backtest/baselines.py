"""What a strategy has to beat: plain books that need no forecast, traded by the same account over the same dates."""

from __future__ import annotations

from datetime import date

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.schemas import TARGET_WEIGHTS, conform


def equal_weight(bars: pa.Table, first: date, last: date, every: int, run_id: str = "equal-weight") -> pa.Table:
    """The same weight for each symbol with a bar on the decision date, decided anew every ``every`` sessions.

    Parameters
    ----------
    bars
        Table ``bars``. Of intraday bars each date counts once, decided at its last close.
    first, last
        First and last date of a decision; the first session with bars at or after ``first`` is the first decision.
    every
        Sessions with bars between decisions.

    Returns
    -------
    Table
        ``target_weights``.

    Raises
    ------
    DataError
        When there is no bar between ``first`` and ``last``.
    """
    frame = pl.DataFrame(pl.from_arrow(bars.select(["symbol", "date", "event_time"])))
    frame = frame.filter(pl.col("date").is_between(first, last)).sort("date", "symbol")
    if not len(frame):
        raise DataError(f"there are no bars between {first} and {last}", "ask for dates that have bars")
    if frame.select(pl.struct("date", "symbol").is_duplicated().any()).item():
        frame = frame.with_columns(pl.col("event_time").max().over("date")).unique(
            ["date", "symbol"], maintain_order=True
        )
    decided = frame.filter((pl.col("date").rank("dense") - 1) % every == 0)
    rows = decided.select(
        pl.lit(run_id).alias("run_id"), "symbol", "date", "event_time", weight=1.0 / pl.len().over("date")
    )
    return conform(rows.to_arrow(), TARGET_WEIGHTS)


def buy_and_hold(bars: pa.Table, first: date, last: date, run_id: str = "buy-and-hold") -> pa.Table:
    """The same weight for each symbol with a bar on the first date, bought once and held; see :func:`equal_weight`."""
    sessions = pl.DataFrame(pl.from_arrow(bars.select(["date"])))["date"].n_unique()
    return equal_weight(bars, first, last, max(sessions, 1), run_id)
