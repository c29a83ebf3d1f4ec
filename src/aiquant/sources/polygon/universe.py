"""Who was listed when: tickers as of a date, the delisted ones among them. Free of survivorship."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from aiquant.schemas import UNIVERSE
from aiquant.sources.base import Batch
from aiquant.sources.payloads import AT, Field, Sorter
from aiquant.sources.polygon.parse import SOURCE, ZONE
from aiquant.sources.polygon.tickers import symbol_column

UNIVERSE_NAME = "us-stocks"


def members(
    listed: Sequence[Any], day: date, place: str, delisted: Sequence[Any] = (), later: Sequence[Any] = ()
) -> Batch:
    """Rows of those that were listed on ``day``, and of what became of them.

    Parameters
    ----------
    listed
        Objects of tickers that were active on ``day``: members from then on.
    delisted
        Objects of tickers that are no longer active; those with ``delisted_utc`` after ``day`` end a membership. Such
        an end is a second version of the row, known from the delisting on: nobody sees it before.
    later
        Objects of tickers that were active on a later date: members from ``list_date`` on where the vendor tells it
        and it lies after ``day``; the others are left out, since nobody knows when they came.
    """
    objects = [*listed, *delisted, *later]
    sorter = Sorter(UNIVERSE, SOURCE, place, objects)
    text = Field("text")
    frame = sorter.typed({"ticker": Field("text", True), "delisted_utc": text, "list_date": text}).with_columns(
        symbol=symbol_column(pl.col("ticker")),
        end=pl.col("delisted_utc").str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False),
        begin=pl.col("list_date").str.to_date("%Y-%m-%d", strict=False),
        group=pl.when(pl.col(AT) < len(listed))
        .then(0)
        .when(pl.col(AT) < len(listed) + len(delisted))
        .then(1)
        .otherwise(2),
    )
    start = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
    here = frame.filter(pl.col("group") == 0).with_columns(member_from=pl.lit(day))
    known = set(here["symbol"])
    gone = frame.filter((pl.col("group") == 1) & (pl.col("end") > start))
    came = frame.filter((pl.col("group") == 2) & ~pl.col("symbol").is_in(list(known)))
    came = came.filter(pl.col("begin") > day).with_columns(member_from=pl.col("begin"))
    begun = pl.concat([here, came]).unique("symbol", keep="first", maintain_order=True)
    ended = gone.join(begun.select("symbol", "member_from"), on="symbol").filter(
        pl.col("end").dt.convert_time_zone(ZONE).dt.date() >= pl.col("member_from")
    )
    first = _rows(begun, pl.lit(None, pl.Date), _midnight(pl.col("member_from")))
    last = _rows(ended, pl.col("end").dt.convert_time_zone(ZONE).dt.date(), pl.col("end"))
    return sorter.batch(pl.concat([first, last]), left_out=len(frame) - len(begun) - len(ended))


def _midnight(day: pl.Expr) -> pl.Expr:
    return day.cast(pl.Datetime("us")).dt.replace_time_zone(ZONE).dt.convert_time_zone("UTC")


def _rows(frame: pl.DataFrame, member_to: pl.Expr, known: pl.Expr) -> pl.DataFrame:
    return frame.select(
        AT,
        universe=pl.lit(UNIVERSE_NAME),
        symbol=pl.col("symbol"),
        member_from=pl.col("member_from"),
        member_to=member_to,
        event_time=_midnight(pl.col("member_from")),
        known_from=known,
        source=pl.lit(SOURCE),
    )
