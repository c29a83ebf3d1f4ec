"""Bars from ticks: windows of event time, closed by a watermark. Pure functions; the lake keeps corrections.

A window holds the ticks with ``start <= event time < start + interval``; windows begin at multiples of the interval
since 1970 (UTC). A bar's ``event_time`` is the end of its window. It is given when the watermark, the latest event time
seen less the lateness that is waited for, has reached that end. A tick that comes later still changes its window's bar:
computed again from all ticks and written again, it stands in the lake as a new version beside the first one.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa

from aiquant.errors import UsageError
from aiquant.schemas import BARS, conform

_UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(interval: str) -> int:
    """Length of an interval such as ``30s``, ``1m`` or ``1h`` in seconds.

    Raises
    ------
    UsageError
        When it is none of these, or does not divide a day.
    """
    told = re.fullmatch(r"([1-9][0-9]{0,4})([smh])", interval)
    length = int(told[1]) * _UNITS[told[2]] if told else 0
    if not length or 86_400 % length:
        raise UsageError(
            f"bars of interval {interval!r} cannot be made from ticks", "use one that divides a day: 30s, 1m, 5m, 1h"
        )
    return length


def watermark(ticks: pl.DataFrame | pl.LazyFrame, lateness: timedelta) -> datetime | None:
    """The time up to which windows count as complete; None where there are no ticks."""
    latest = ticks.lazy().select(pl.col("event_time").max()).collect().item()
    return None if latest is None else latest - lateness


def from_ticks(ticks: pa.Table, interval: str, until: datetime | None = None, source: str = "ticks") -> pa.Table:
    """Bars of the windows that end at or before ``until``; of all windows without it.

    Parameters
    ----------
    ticks
        In the schema ``ticks``: all ticks of the windows, in any order.
    until
        The watermark.

    Returns
    -------
    pyarrow.Table
        In the schema ``bars``, sorted by symbol and time; ``known_from`` equals ``event_time``, as for first versions.
        Open and close are the first and last trade by ``event_ns``, then ``sequence``, then ``trade_id``; ``vwap`` is
        the mean price weighted by size. A symbol has no bar for a window without a trade.

    Raises
    ------
    UsageError
        When the interval does not divide a day.
    """
    length = seconds(interval) * 1_000_000_000
    end = ((pl.col("event_ns") // length + 1) * (length // 1000)).cast(pl.Datetime("us", "UTC"))
    rows = pl.LazyFrame(pl.from_arrow(ticks)).with_columns(end.alias("end"))
    if until is not None:
        rows = rows.filter(pl.col("end") <= until)
    price, size = pl.col("price"), pl.col("size")
    bars = (
        rows.sort("symbol", "event_ns", "sequence", "trade_id", nulls_last=False)
        .group_by("symbol", "end", maintain_order=True)
        .agg(
            pl.col("date").first(),
            price.first().alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.last().alias("close"),
            size.sum().alias("volume"),
            ((price * size).sum() / size.sum()).alias("vwap"),
            pl.len().cast(pl.Int64).alias("trades"),
        )
        .select(
            "symbol",
            pl.lit(interval).alias("interval"),
            pl.col("date").dt.strftime("%Y-%m-%d").alias("period"),
            "date",
            pl.col("end").alias("event_time"),
            pl.col("end").alias("known_from"),
            "open",
            "high",
            "low",
            "close",
            "volume",
            pl.col("vwap").clip("low", "high"),
            "trades",
            pl.lit("none").alias("adjustment"),
            pl.lit(source).alias("source"),
        )
        .collect()
    )
    return conform(bars.to_arrow(compat_level=pl.CompatLevel.oldest()), BARS)
