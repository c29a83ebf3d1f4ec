"""Dates and times as files write them: what was written, and the instant it means where that is certain."""

from __future__ import annotations

from typing import Literal

import polars as pl

DayOrder = Literal["month-first", "day-first", "ambiguous", "none"]

# day, clock, fraction, zone; a zone only behind a clock, else 02-01-2020 would end in the zone -2020
_PARTS = r"^(.+?)(?:[T\s]+(\d{1,2}:\d{2}(?::\d{2})?)(?:[.,](\d{1,9}))?\s*(Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?$"  # noqa: E501
_DAY_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%b %d %Y")
_SLASHED = r"^(\d{1,2})[/\-](\d{1,2})[/\-](\d{4})"
_EPOCH = ((1e8, "s"), (1e11, "ms"), (1e14, "us"), (1e17, "ns"))  # from this magnitude on, epoch in this unit
_NS = {"s": 1_000_000, "ms": 1_000, "us": 1}


def day_order(column: pl.Series) -> DayOrder:
    """Whether ``01/02/2020`` is written month first or day first, by the rows that leave no choice."""
    if column.dtype != pl.String:
        return "none"
    parts = column.str.strip_chars().str.extract_groups(_SLASHED).struct.unnest()
    first, second = (parts.to_series(i).cast(pl.Int32, strict=False) for i in (0, 1))
    if first.null_count() == len(first):
        return "none"
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first == month_first:
        return "ambiguous"
    return "day-first" if day_first else "month-first"


def parse(column: pl.Series, order: DayOrder = "none") -> pl.DataFrame:
    """Read dates and times.

    Parameters
    ----------
    column
        Text, dates, times (with or without a zone), or whole numbers: ``20200131``, or an epoch in seconds,
        milliseconds, microseconds or nanoseconds (told apart by their size).

    Returns
    -------
    ``written`` (Datetime us): the clock as it was written; ``instant`` (Datetime us, UTC): the moment, null where the
    file gives no zone. Both null where nothing could be read.
    """
    kind = column.dtype
    if kind == pl.String:
        return _from_text(column, order)
    if kind == pl.Date:
        return _frame(column.cast(pl.Datetime("us")), None)
    if isinstance(kind, pl.Datetime):
        if kind.time_zone is None:
            return _frame(column.dt.cast_time_unit("us"), None)
        exact = column.dt.cast_time_unit("us")
        return _frame(exact.dt.replace_time_zone(None), exact.dt.convert_time_zone("UTC"))
    if kind.is_numeric():
        return _from_numbers(column.cast(pl.Float64))
    return _frame(pl.Series([None] * len(column), dtype=pl.Datetime("us")), None)


def _frame(written: pl.Series, instant: pl.Series | None) -> pl.DataFrame:
    if instant is None:
        instant = pl.Series([None] * len(written), dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({"written": written, "instant": instant})


def _from_numbers(numbers: pl.Series) -> pl.DataFrame:
    """``numbers`` (Float64) are exact below 2**53: epochs in ns lose less than a microsecond."""
    value = pl.col("n")
    is_day = value.is_between(19_000_101, 21_991_231) & (value == value.floor())
    day = pl.when(is_day).then(value).cast(pl.Int64).cast(pl.String).str.to_datetime("%Y%m%d", strict=False)
    epoch = pl.lit(None, dtype=pl.Int64)
    for least, unit in _EPOCH:
        exact = (value / 1_000) if unit == "ns" else value * _NS[unit]
        epoch = (
            pl.when(value.is_between(least, least * 999.0))
            .then(exact.round().cast(pl.Int64, strict=False))
            .otherwise(epoch)
        )
    told = (
        numbers.fill_nan(None)
        .to_frame("n")
        .select(day.dt.cast_time_unit("us").alias("day"), pl.from_epoch(epoch, "us").alias("epoch"))
    )
    return told.select(
        written=pl.coalesce("day", "epoch"),
        instant=pl.when(pl.col("day").is_null()).then(pl.col("epoch").dt.replace_time_zone("UTC")),
    )


def _from_text(column: pl.Series, order: DayOrder) -> pl.DataFrame:
    text = column.str.strip_chars()
    iso = text.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False, exact=True)
    if iso.null_count() == text.null_count():
        return _frame(iso, None)
    digits = text.str.contains(r"^\d{8,19}$")
    numbers = _from_numbers(text.to_frame("t").select(pl.when(digits).then("t"))["t"].cast(pl.Float64, strict=False))
    formats = [*_DAY_FORMATS]
    if order in ("month-first", "day-first"):
        day_month = "%m{0}%d{0}%Y" if order == "month-first" else "%d{0}%m{0}%Y"
        formats += [day_month.format("/"), day_month.format("-")]
    parts = text.str.extract_groups(_PARTS).struct.unnest()
    parts = parts.rename(dict(zip(parts.columns, ("day", "clock", "fraction", "zone"), strict=True)))
    day = pl.coalesce(pl.col("day").str.to_date(f, strict=False, exact=True) for f in formats)
    told = parts.select(
        local=(day.cast(pl.Datetime("us")) + _clock()),
        offset=_offset(),
        zoned=pl.col("zone").is_not_null(),
    )
    local = pl.when(~pl.col("zoned") | pl.col("offset").is_not_null()).then("local")
    exact = told.select(
        written=local,
        instant=(pl.when("zoned").then(local - pl.duration(minutes=pl.col("offset")))).dt.replace_time_zone("UTC"),
    )
    return pl.DataFrame(
        {
            "written": exact["written"].fill_null(numbers["written"]),
            "instant": exact["instant"].fill_null(numbers["instant"]),
        }
    )


def _clock() -> pl.Expr:
    """Duration since midnight; zero where no clock was written, null where it is none (25:00)."""
    pieces = pl.col("clock").str.split(":").list
    hour, minute = (pieces.get(i).cast(pl.Int64, strict=False) for i in (0, 1))
    second = pieces.get(2, null_on_oob=True).cast(pl.Int64, strict=False).fill_null(0)
    micro = pl.col("fraction").fill_null("0").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64)
    whole = pl.duration(hours=hour, minutes=minute, seconds=second, microseconds=micro)
    sound = (hour < 24) & (minute < 60) & (second < 60)
    return pl.when(pl.col("clock").is_null()).then(pl.duration(hours=0)).when(sound).then(whole)


def _offset() -> pl.Expr:
    """Minutes east of UTC; null where there is no zone or none that exists."""
    zone = pl.col("zone")
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    bare = zone.str.replace_all(r"[+:\-]", "")
    hours = bare.str.slice(0, 2).cast(pl.Int64, strict=False)
    minutes = pl.when(bare.str.len_chars() == 4).then(bare.str.slice(2, 2).cast(pl.Int64, strict=False)).otherwise(0)
    offset = sign * (hours * 60 + minutes)
    return (
        pl.when(zone.str.to_uppercase().is_in(["Z", "UTC", "GMT"]))
        .then(0)
        .when((hours <= 14) & (minutes < 60))
        .then(offset)
    )
