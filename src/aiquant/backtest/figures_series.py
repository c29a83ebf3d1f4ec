"""The series that figures draw and tables print, reckoned from tables in the schema EQUITY."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest.statistics import Period, Summary, summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray


def frame(table: pa.Table) -> pl.DataFrame:
    """The rows of an account in order of time."""
    rows = pl.from_arrow(table)
    assert isinstance(rows, pl.DataFrame)
    return rows.sort("event_time")


def aligned(curves: Mapping[str, pa.Table]) -> tuple[list[date], dict[str, NDArray[np.float64]]]:
    """Equity of all accounts on the first one's dates, each 100 at its first mark among them.

    Returns
    -------
    The dates, and for each name float64 marks of their length: NaN on a date that an account lacks.
    """
    first, *_ = curves.values()
    days = frame(first).select("date")
    marks = {}
    for name, table in curves.items():
        equity = days.join(frame(table).select("date", "equity"), on="date", how="left", maintain_order="left")[
            "equity"
        ]
        marks[name] = (equity / equity.drop_nulls().first() * 100.0).cast(pl.Float64).to_numpy()
    return days["date"].to_list(), marks


def daily_returns(table: pa.Table) -> NDArray[np.float64]:
    """Simple returns from close to close, float64, one fewer than there are rows."""
    marks = frame(table)["equity"].to_numpy()
    returns: NDArray[np.float64] = marks[1:] / marks[:-1] - 1.0
    return returns


def years(table: pa.Table) -> tuple[Period, ...]:
    """Figures of each calendar year; those that hang on annualisation (volatility, Sharpe ratio) are not to be used."""
    return _told(table).years


def months(table: pa.Table) -> tuple[Period, ...]:
    """Figures of each month, as :func:`years`."""
    return _told(table).months


def _told(table: pa.Table) -> Summary:
    return summarise(table, sessions_per_year=1.0)  # returns, drawdown, turnover and costs do not depend on it
