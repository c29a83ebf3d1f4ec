"""The series that figures draw and tables print, reckoned from tables in the schema EQUITY."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray


def frame(table: pa.Table) -> pl.DataFrame:
    """The rows of an account in order of time."""
    rows = pl.from_arrow(table)
    assert isinstance(rows, pl.DataFrame)
    return rows.sort("event_time")


def aligned(curves: Mapping[str, pa.Table]) -> pl.DataFrame:
    """Equity of all accounts side by side, each 100 at its first mark within the first account's dates.

    Returns
    -------
    ``date`` and one float64 column for each name; a session that an account lacks is null.
    """
    wide: pl.DataFrame | None = None
    for name, table in curves.items():
        one = frame(table).select("date", pl.col("equity").alias(name))
        wide = one if wide is None else wide.join(one, on="date", how="left")
    assert wide is not None
    return wide.with_columns(pl.col(name) / pl.col(name).drop_nulls().first() * 100.0 for name in curves)


def daily_returns(table: pa.Table) -> NDArray[np.float64]:
    """Simple returns from close to close, float64, one fewer than there are rows."""
    marks = frame(table)["equity"].to_numpy()
    returns: NDArray[np.float64] = marks[1:] / marks[:-1] - 1.0
    return returns


def returns_by_year(table: pa.Table) -> dict[int, float]:
    """Year → return from the last mark before it (in the first year: from the first mark) to its last mark."""
    return {year: value for (year, _), value in _returns(table, ("year",)).items()}


def returns_by_month(table: pa.Table) -> dict[tuple[int, int], float]:
    """(Year, month) → return, as :func:`returns_by_year`."""
    return _returns(table, ("year", "month"))


def _returns(table: pa.Table, parts: tuple[Literal["year", "month"], ...]) -> dict[tuple[int, int], float]:
    rows = frame(table).with_columns(
        pl.col("date").dt.year().cast(pl.Int64).alias("year"), pl.col("date").dt.month().cast(pl.Int64).alias("month")
    )
    ends = rows.group_by(list(parts), maintain_order=True).agg(pl.col("equity").last())
    before = ends["equity"].shift(1).fill_null(rows["equity"][0])
    values = (ends["equity"] / before - 1.0).to_list()
    second = ends["month"].to_list() if "month" in parts else [0] * len(values)
    return dict(zip(zip(ends["year"].to_list(), second, strict=True), values, strict=True))


def worst_drawdown_by_year(table: pa.Table) -> dict[int, float]:
    """Year → the lowest that the account stood below its highest mark so far (of all years), ≤ 0."""
    rows = frame(table).with_columns((pl.col("equity") / pl.col("equity").cum_max() - 1.0).alias("below"))
    return _by_year(rows, pl.col("below").min())


def turnover_by_year(table: pa.Table) -> dict[int, float]:
    """Year → sum of the one-way turnover, in multiples of equity."""
    return _by_year(frame(table), pl.col("turnover").sum())


def costs_by_year(table: pa.Table) -> dict[int, float]:
    """Year → sum over its sessions of commission and slippage ÷ the equity at the close before."""
    rows = frame(table)
    before = pl.col("equity").shift(1).fill_null(pl.col("equity") + pl.col("costs"))
    return _by_year(rows.with_columns((pl.col("costs") / before).alias("share")), pl.col("share").sum())


def _by_year(rows: pl.DataFrame, value: pl.Expr) -> dict[int, float]:
    years = rows.group_by(pl.col("date").dt.year().alias("year"), maintain_order=True).agg(value.alias("value"))
    return {int(year): float(value) for year, value in years.iter_rows()}
