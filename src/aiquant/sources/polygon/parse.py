"""Rows of Massive's REST replies and stream events. Pure: nothing is asked, nothing is written.

Units at the edge: REST bars start at ``t`` milliseconds, REST trades stand at ``sip_timestamp`` nanoseconds, stream
trades at ``t`` milliseconds, stream bars end at ``e`` milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import polars as pl

from aiquant import calendars
from aiquant.errors import UsageError
from aiquant.schemas import BARS, CORPORATE_ACTIONS, NEWS, TICKS
from aiquant.sources.addresses import article_id
from aiquant.sources.base import Batch
from aiquant.sources.payloads import AT, Field, Sorter, milliseconds, nanoseconds
from aiquant.sources.polygon.tickers import symbol_column

SOURCE = "polygon"
CALENDAR = "XNYS"
ZONE = "America/New_York"

_NUMBER, _TEXT = Field("number"), Field("text")
_MUST = Field("number", required=True)
_INTERVAL = re.compile(r"([1-9][0-9]*)([mhd])")
_SPANS = {"m": ("minute", timedelta(minutes=1)), "h": ("hour", timedelta(hours=1)), "d": ("day", timedelta(days=1))}
_CANCELLED = (7, 8, 10, 11, 12)  # trade corrections of the tape: in error, cancelled, and the records about both


def span_of(interval: str) -> tuple[int, str, timedelta]:
    """``"5m"`` → (5, "minute", five minutes).

    Raises
    ------
    UsageError
        When the vendor has no such bars.
    """
    found = _INTERVAL.fullmatch(interval)
    if not found or (found[2] == "d" and found[1] != "1"):
        raise UsageError(f"interval {interval!r}: {SOURCE} is asked for minutes, hours or one day", "say 1m, 1h or 1d")
    name, unit = _SPANS[found[2]]
    return int(found[1]), name, unit * int(found[1])


def bars(
    objects: Sequence[Any],
    place: str,
    interval: str,
    adjusted: bool,
    symbol: str | None = None,
    now: datetime | None = None,
) -> Batch:
    """Rows of aggregates.

    Parameters
    ----------
    symbol
        Whose they are; None where each object names its ticker (``T``, grouped daily bars, whose ``t`` is the end).
    now
        Bars that close later are still forming: they are left out. Default: the present.
    """
    sorter = Sorter(BARS, SOURCE, place, objects)
    fields = {"t": milliseconds(True), "o": _MUST, "h": _MUST, "l": _MUST, "c": _MUST, "v": _MUST}
    fields |= {"vw": _NUMBER, "n": Field("whole"), **({} if symbol else {"T": Field("text", True)})}
    frame = sorter.typed(fields).with_columns(start=_utc(pl.col("t"), "ms"))
    frame = frame.with_columns(
        symbol=pl.lit(symbol) if symbol else symbol_column(pl.col("T")),
        date=pl.col("start").dt.convert_time_zone(ZONE).dt.date(),
    )
    if interval == "1d":
        frame = _with_closes(frame, sorter)
    else:
        frame = frame.with_columns(event_time=pl.col("start") + span_of(interval)[2])
    forming = pl.col("event_time") > pl.lit(now or datetime.now(UTC)).dt.cast_time_unit("us")
    left_out = int(frame.select(forming.sum()).item() or 0)
    frame = frame.filter(~forming)
    return sorter.batch(_as_bars(frame, interval, "splits" if adjusted else "none"), left_out=left_out)


def stream_bars(objects: Sequence[Any], place: str) -> Batch:
    """Rows of the stream's minute bars (``AM``); the stream has no trade counts."""
    sorter = Sorter(BARS, SOURCE, place, objects)
    fields = {"sym": Field("text", True), "s": milliseconds(True), "e": milliseconds(True), "v": _MUST, "dv": _TEXT}
    fields |= {"o": _MUST, "h": _MUST, "l": _MUST, "c": _MUST, "vw": _NUMBER}
    frame = sorter.typed(fields)
    frame = sorter.refuse_where(frame, pl.col("e") - pl.col("s") != 60_000, "the window s to e is not one minute")
    frame = frame.with_columns(
        symbol=symbol_column(pl.col("sym")),
        event_time=_utc(pl.col("e"), "ms"),
        date=_utc(pl.col("s"), "ms").dt.convert_time_zone(ZONE).dt.date(),
        v=pl.coalesce(pl.col("dv").cast(pl.Float64, strict=False), pl.col("v")),
        n=pl.lit(None, pl.Int64),
    )
    return sorter.batch(_as_bars(frame, "1m", "none"))


def trades(objects: Sequence[Any], place: str, symbol: str, received: datetime | None = None) -> Batch:
    """Rows of REST trades. Trades that the tape cancelled are set aside."""
    sorter = Sorter(TICKS, SOURCE, place, objects)
    fields = {
        "sip_timestamp": nanoseconds(True),
        "price": _MUST,
        "size": _MUST,
        "decimal_size": _TEXT,
        "exchange": Field("whole", True),
        "trf_id": Field("whole"),
        "id": Field("text", True),
        "sequence_number": Field("whole"),
        "conditions": Field("wholes"),
        "correction": Field("whole"),
    }
    frame = sorter.typed(fields)
    cancelled = pl.col("correction").is_in(_CANCELLED)
    frame = sorter.refuse_where(frame, cancelled, "cancelled or corrected by the exchange")
    return _ticks(
        sorter,
        frame.rename({"trf_id": "trf", "decimal_size": "exact", "sequence_number": "sequence"}),
        pl.lit(symbol),
        pl.col("sip_timestamp"),
        received,
    )


def stream_trades(objects: Sequence[Any], place: str, received: datetime | None = None) -> Batch:
    """Rows of the stream's trades (``T``): the same key as the REST form of the trade, the time to milliseconds."""
    sorter = Sorter(TICKS, SOURCE, place, objects)
    fields = {
        "sym": Field("text", True),
        "t": milliseconds(True),
        "p": _MUST,
        "s": _MUST,
        "ds": _TEXT,
        "x": Field("whole", True),
        "trfi": Field("whole"),
        "i": Field("text", True),
        "q": Field("whole"),
        "c": Field("wholes"),
    }
    frame = sorter.typed(fields)
    names = {"p": "price", "s": "size", "ds": "exact", "x": "exchange", "trfi": "trf", "i": "id", "q": "sequence"}
    frame = frame.rename({**names, "c": "conditions"})
    return _ticks(sorter, frame, symbol_column(pl.col("sym")), pl.col("t") * 1_000_000, received)


def _ticks(
    sorter: Sorter, frame: pl.DataFrame, symbol: pl.Expr, moment_ns: pl.Expr, received: datetime | None
) -> Batch:
    """What REST and stream share; exchange is ``4`` or, off-exchange, ``4/202`` with the reporting facility."""
    venue = pl.col("exchange").cast(pl.String)
    facility = pl.format("{}/{}", venue, pl.col("trf"))
    rows = frame.with_columns(event_ns=moment_ns).select(
        AT,
        symbol=symbol,
        date=_utc(pl.col("event_ns"), "ns").dt.convert_time_zone(ZONE).dt.date(),
        event_time=_utc(pl.col("event_ns"), "ns"),
        event_ns=pl.col("event_ns"),
        price=pl.col("price"),
        size=pl.coalesce(pl.col("exact").cast(pl.Float64, strict=False), pl.col("size")),
        exchange=pl.when(pl.col("trf").is_null()).then(venue).otherwise(facility),
        trade_id=pl.col("id"),
        sequence=pl.col("sequence"),
        conditions=pl.col("conditions"),
        ingest_time=pl.lit(received or datetime.now(UTC)),
        source=pl.lit(SOURCE),
    )
    return sorter.batch(rows)


def splits(objects: Sequence[Any], place: str) -> Batch:
    """Splits: ``ratio`` = new shares for one old one; known at the open of the day of execution."""
    sorter = Sorter(CORPORATE_ACTIONS, SOURCE, place, objects)
    fields = {"ticker": Field("text", True), "execution_date": Field("text", True)}
    frame = sorter.typed({**fields, "split_from": _MUST, "split_to": _MUST})
    bad = (pl.col("split_from") <= 0) | (pl.col("split_to") <= 0)
    frame = sorter.refuse_where(frame, bad, "a split needs positive split_from and split_to")
    frame = _with_opens(_dated(frame, sorter, "execution_date"))
    return sorter.batch(_action(frame, "split", pl.col("open"), ratio=pl.col("split_to") / pl.col("split_from")))


def dividends(objects: Sequence[Any], place: str) -> Batch:
    """Cash dividends by ex-date; known at the end of the day on which they were declared, where that is told.

    The amount stays in the currency in which it was declared; others than US dollars are set aside.
    """
    sorter = Sorter(CORPORATE_ACTIONS, SOURCE, place, objects)
    fields = {"ticker": Field("text", True), "ex_dividend_date": Field("text", True), "cash_amount": _MUST}
    frame = sorter.typed({**fields, "declaration_date": _TEXT, "currency": _TEXT})
    foreign = pl.col("currency").is_not_null() & (pl.col("currency") != "USD")
    frame = sorter.refuse_where(frame, foreign, "a dividend in another currency than USD")
    frame = _with_opens(_dated(frame, sorter, "ex_dividend_date"))
    declared = pl.col("declaration_date").str.to_date("%Y-%m-%d", strict=False)
    told = (declared + pl.duration(days=1)).cast(pl.Datetime("us")).dt.replace_time_zone(ZONE)
    known = pl.min_horizontal(pl.col("open"), told.dt.convert_time_zone("UTC"))
    frame = _summed(frame.with_columns(known=known))
    return sorter.batch(_action(frame, "dividend", pl.col("known"), amount=pl.col("cash_amount")))


def news(objects: Sequence[Any], place: str, received: datetime | None = None) -> Batch:
    """Articles of the vendor's own news feed, with the tickers that it linked."""
    sorter = Sorter(NEWS, SOURCE, place, objects)
    must = Field("text", True)
    fields = {"title": must, "published_utc": must, "article_url": must, "description": _TEXT}
    frame = sorter.typed(fields)
    linked = [_tickers_of(objects[at]) for at in frame[AT]]
    received = received or datetime.now(UTC)
    moment = pl.col("published_utc").str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    frame = frame.with_columns(
        moment.alias("event_time"),
        pl.Series("symbols", linked, dtype=pl.String),
        pl.Series("article_id", [article_id(SOURCE, url) for url in frame["article_url"]], dtype=pl.String),
        pl.Series("publisher", [_publisher(objects[at]) for at in frame[AT]], dtype=pl.String),
    )
    known = pl.col("event_time").dt.year().is_between(1980, 2099).fill_null(False)
    rows = sorter.refuse_where(frame, ~known, "published_utc is not a time").select(
        AT,
        "article_id",
        "event_time",
        "symbols",
        "title",
        "description",
        "publisher",
        date=pl.col("event_time").dt.date(),
        known_from=pl.max_horizontal("event_time", pl.lit(received).dt.cast_time_unit("us")),
        url=pl.col("article_url"),
        language=pl.lit(None, pl.String),
        source=pl.lit(SOURCE),
    )
    return sorter.batch(rows)


def _as_bars(frame: pl.DataFrame, interval: str, adjustment: str) -> pl.DataFrame:
    year = pl.col("date").dt.year().cast(pl.String)
    return frame.select(
        AT,
        symbol=pl.col("symbol"),
        interval=pl.lit(interval),
        period=year if interval.endswith("d") else pl.col("date").cast(pl.String),
        date=pl.col("date"),
        event_time=pl.col("event_time"),
        known_from=pl.col("event_time"),
        open=pl.col("o"),
        high=pl.col("h"),
        low=pl.col("l"),
        close=pl.col("c"),
        volume=pl.col("v"),
        vwap=pl.col("vw"),
        trades=pl.col("n"),
        adjustment=pl.lit(adjustment),
        source=pl.lit(SOURCE),
    )


def _utc(moment: pl.Expr, unit: Literal["ms", "ns"]) -> pl.Expr:
    return pl.from_epoch(moment, time_unit=unit).dt.cast_time_unit("us").dt.replace_time_zone("UTC")


def _with_closes(frame: pl.DataFrame, sorter: Sorter) -> pl.DataFrame:
    """``event_time`` = close of the session of ``date``."""
    early = pl.col("date") < calendars.FIRST_SESSION
    frame = sorter.refuse_where(frame, early, f"lies before {calendars.FIRST_SESSION}, where the calendar begins")
    if frame.is_empty():
        return frame.with_columns(event_time=pl.col("start"))
    told = _sessions(frame["date"].min(), frame["date"].max())
    joined = frame.join(told.select("date", event_time="close"), on="date", how="left", maintain_order="left")
    return sorter.refuse_where(joined, pl.col("event_time").is_null(), f"its date is no session of {CALENDAR}")


def _with_opens(frame: pl.DataFrame) -> pl.DataFrame:
    """``open`` = open of the first session on or after ``date``."""
    if frame.is_empty():
        return frame.with_columns(open=pl.lit(None, pl.Datetime("us", "UTC")))
    last: date = frame["date"].max()  # type: ignore[assignment]
    told = _sessions(frame["date"].min(), last + timedelta(days=10)).select("date", "open")
    return frame.sort("date").join_asof(told.sort("date"), on="date", strategy="forward")


def _sessions(first: Any, last: Any) -> pl.DataFrame:
    sessions = calendars.sessions(CALENDAR, first, last)
    return pl.DataFrame({"date": sessions.dates, "open": sessions.opens, "close": sessions.closes}).with_columns(
        pl.col("date").cast(pl.Date), pl.col("open", "close").dt.replace_time_zone("UTC")
    )


def _dated(frame: pl.DataFrame, sorter: Sorter, name: str) -> pl.DataFrame:
    frame = frame.with_columns(
        symbol=symbol_column(pl.col("ticker")), date=pl.col(name).str.to_date("%Y-%m-%d", strict=False)
    )
    frame = sorter.refuse_where(frame, pl.col("date").is_null(), f"{name} is not a date")
    beyond = ~pl.col("date").is_between(calendars.FIRST_SESSION, date(2099, 1, 1))
    return sorter.refuse_where(frame, beyond, f"{name} is out of range")


def _summed(frame: pl.DataFrame) -> pl.DataFrame:
    """A regular and a special dividend of one ex-date are one cash amount; exact repetitions are one payment."""
    once = frame.unique(subset=[c for c in frame.columns if c != AT], keep="first", maintain_order=True)
    together = once.group_by("symbol", "date", maintain_order=True).agg(
        pl.col(AT).first(), pl.col("cash_amount").sum(), pl.col("known").max(), pl.col("open").first()
    )
    return together


def _action(frame: pl.DataFrame, kind: str, known: pl.Expr, **value: pl.Expr) -> pl.DataFrame:
    none = pl.lit(None, pl.Float64)
    return frame.select(
        AT,
        symbol=pl.col("symbol"),
        kind=pl.lit(kind),
        date=pl.col("date"),
        event_time=known,
        known_from=known,
        ratio=value.get("ratio", none),
        amount=value.get("amount", none),
        source=pl.lit(SOURCE),
    )


def _tickers_of(item: dict[str, Any]) -> str:
    told = item.get("tickers")
    names = [t for t in told if isinstance(t, str)] if isinstance(told, list) else []
    symbols = pl.Series("t", names, dtype=pl.String).to_frame().select(symbol_column(pl.col("t")))["t"]
    return ",".join(sorted(set(symbols.drop_nulls())))


def _publisher(item: dict[str, Any]) -> str | None:
    told = item.get("publisher")
    name = told.get("name") if isinstance(told, dict) else None
    return name if isinstance(name, str) else None
