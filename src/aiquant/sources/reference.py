"""Reference data from files: splits, dividends, delistings, who belonged to a universe, and classes of symbols."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import calendars, deadletters
from aiquant.errors import DataError
from aiquant.schemas import CLASSIFICATION, CORPORATE_ACTIONS, UNIVERSE, Table, conform, reasons
from aiquant.settings import DataSettings
from aiquant.sources import columns as names
from aiquant.sources import numbers, stamps, times, whole
from aiquant.sources.base import Batch
from aiquant.sources.stamps import Stamper

SOURCE = "files"

_ACTIONS = {
    "symbol": names.SYNONYMS["symbol"],
    "date": ("date", "ex_date", "exdate", "ex_dividend_date", "execution_date", "effective_date"),
    "kind": ("kind", "type", "action", "event"),
    "ratio": ("ratio", "split_ratio", "split_factor", "stock_splits", "split", "factor"),
    "amount": ("amount", "cash_amount", "dividend", "dividends", "value"),
    "event_time": ("event_time", "announced", "announcement_time", "announcement_date", "declaration_date"),
}
_LEVELS = ("sector", "industry", "subindustry")
_UNIVERSE = {
    "symbol": names.SYNONYMS["symbol"],
    "member_from": ("member_from", "from", "start", "start_date", "added", "date_added", "entry"),
    "member_to": ("member_to", "to", "end", "end_date", "removed", "date_removed", "exit"),
    "universe": ("universe", "index", "name"),
}
_CLASSES = {
    "symbol": names.SYNONYMS["symbol"],
    "valid_from": ("valid_from", "from", "start", "start_date", "date", "effective_date", "as_of"),
    "sector": ("sector", "gics_sector", "sector_name"),
    "industry": ("industry", "gics_industry", "industry_name", "gics_industry_group"),
    "subindustry": ("subindustry", "sub_industry", "gics_sub_industry", "gics_subindustry"),
    "shares": ("shares", "shares_outstanding", "outstanding_shares"),
    "event_time": ("event_time", "announced", "announcement_time", "announcement_date"),
}
_KINDS = {
    "split": ("split", "stock split", "stock_split", "splits"),
    "dividend": ("dividend", "div", "cash dividend", "cash_dividend", "dividends", "cd"),
    "delisting": ("delisting", "delisted", "delist"),
}


def read_actions(
    path: Path | str, data: DataSettings, columns: Mapping[str, str] | None = None, strict: bool = False
) -> Batch:
    """Splits, dividends and delistings.

    Parameters
    ----------
    path
        A file or folder with symbol, date (the first session that trades without it; for a delisting the last session)
        and kind, ratio, amount; without a kind, a ratio other than 0 is a split and an amount other than 0 a dividend
        (one row may hold both). A ratio is new shares for one old share: ``4``, ``4:1`` or ``4-for-1``. A column
        ``event_time`` (or ``announced``) says when it was known; a day without a clock counts from its end.
    data
        The calendar; the zone of times without one.

    Returns
    -------
    Batch
        Rows in the schema ``corporate_actions``; without an announcement known at the open of their session.

    Raises
    ------
    MissingError, DataError, SettingsError
        As :func:`aiquant.sources.files.read_bars`.
    """
    path = Path(path)
    raw = whole.read(path, _ACTIONS, ("symbol", "date"), columns)
    if not {"kind", "ratio", "amount"} & set(raw.columns):
        raise DataError(f"{path.name}: no column for kind, ratio or amount", "name what happened: split, dividend …")
    stamper = Stamper(data, stamps.now())
    frame = _base(raw, ("ratio", "amount"))
    frame = frame.with_columns(_ratio(raw), _day(raw, "date"), *announced(raw, stamper))
    frame = _kinds(frame, raw)
    days = frame["date"].to_numpy().astype("datetime64[D]")
    first, last = calendars.FIRST_SESSION, date(stamper.now.year + 1, 12, 31)
    sessions = calendars.sessions(data.calendar, first, last)
    at = sessions.index_of(days)
    opens = np.where(at >= 0, sessions.opens[np.maximum(at, 0)], np.datetime64("NaT", "D"))
    opened = pl.Series("open", opens.astype("datetime64[us]")).dt.replace_time_zone("UTC")
    frame = frame.with_columns(event_time=pl.coalesce("announced", opened))
    stray = pl.Series("stray", at < 0)
    problem = (
        pl.when(pl.col("date").is_null())
        .then(pl.lit("date is missing or cannot be read"))
        .when(stray)
        .then(pl.format("{} is no session of {}", "date", pl.lit(data.calendar)))
        .when("unread_time")
        .then(pl.lit("the time of the announcement cannot be read, or has no time zone"))
    )
    return batch(frame, problem, CORPORATE_ACTIONS, strict)


def read_universe(
    path: Path | str,
    data: DataSettings,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
) -> Batch:
    """Members of a universe.

    Parameters
    ----------
    path
        A file or folder with symbol, member_from, and maybe member_to (the last day; empty while it lasts), universe.
    name
        Name of the universe where the file has no such column; default: ``data.universe``, else the file's name.

    Returns
    -------
    Batch
        Rows in the schema ``universe``; a membership is known from the first moment of its first day at the exchange.

    Raises
    ------
    MissingError, DataError, SettingsError
        As :func:`aiquant.sources.files.read_bars`.
    """
    path = Path(path)
    raw = whole.read(path, _UNIVERSE, ("symbol", "member_from"), columns)
    stamper = Stamper(data, stamps.now())
    called = name or data.universe or path.name.split(".")[0]
    own = raw["universe"].cast(pl.String, strict=False) if "universe" in raw.columns else pl.Series([None] * len(raw))
    frame = _base(raw, ()).with_columns(
        _day(raw, "member_from"),
        _day(raw, "member_to") if "member_to" in raw.columns else pl.lit(None, dtype=pl.Date).alias("member_to"),
        own.cast(pl.String).str.strip_chars().replace("", None).fill_null(called).alias("universe"),
    )
    frame = frame.with_columns(event_time=_begun("member_from", stamper))
    ended = _text(raw, "member_to").str.strip_chars().str.to_lowercase()
    unread = pl.Series("unread", ~ended.is_in([*numbers.MISSING, "nan", "nat"])) & frame["member_to"].is_null()
    problem = (
        pl.when(pl.col("member_from").is_null())
        .then(pl.lit("member_from is missing or cannot be read"))
        .when(unread)
        .then(pl.lit("member_to cannot be read"))
    )
    return batch(frame, problem, UNIVERSE, strict)


def read_classification(
    path: Path | str, data: DataSettings, columns: Mapping[str, str] | None = None, strict: bool = False
) -> Batch:
    """Sectors, industries and shares outstanding.

    Parameters
    ----------
    path
        A file or folder with symbol, valid_from (the first day on which the row holds), and some of sector, industry,
        subindustry, shares. A column ``event_time`` (or ``announced``) says when it was known; a day without a clock
        counts from its end.
    data
        The calendar; the zone of times without one.

    Returns
    -------
    Batch
        Rows in the schema ``classification``; without an announcement known from the first moment of their first day.

    Raises
    ------
    MissingError, DataError, SettingsError
        As :func:`aiquant.sources.files.read_bars`.
    """
    path = Path(path)
    raw = whole.read(path, _CLASSES, ("symbol", "valid_from"), columns)
    if not {"sector", "industry", "subindustry", "shares"} & set(raw.columns):
        raise DataError(f"{path.name}: no column for sector, industry, subindustry or shares", "map one with --column")
    stamper = Stamper(data, stamps.now())
    frame = _base(raw, ("shares",)).with_columns(
        _day(raw, "valid_from"),
        *(_text(raw, level).str.strip_chars().replace("", None).alias(level) for level in _LEVELS),
        *announced(raw, stamper),
    )
    frame = frame.with_columns(event_time=pl.coalesce("announced", _begun("valid_from", stamper)))
    problem = (
        pl.when(pl.col("valid_from").is_null())
        .then(pl.lit("valid_from is missing or cannot be read"))
        .when("unread_time")
        .then(pl.lit("the time of the announcement cannot be read, or has no time zone"))
    )
    return batch(frame, problem, CLASSIFICATION, strict)


def _begun(name: str, stamper: Stamper) -> pl.Expr:
    """The first moment of a day at the exchange."""
    day = pl.col(name).cast(pl.Datetime("us"))
    begun = day.dt.replace_time_zone(stamper.exchange_zone, ambiguous="earliest", non_existent="null")
    return begun.dt.convert_time_zone("UTC")


def _base(raw: pl.DataFrame, values: tuple[str, ...]) -> pl.DataFrame:
    """Symbol, place, the row as it came, and numbers."""
    text = raw.drop("place").cast(pl.String, strict=False)
    style = numbers.style_of([raw[v] for v in values if v in raw.columns])
    parsed = {
        v: numbers.parse(raw[v], style) if v in raw.columns else pl.Series(v, [None] * len(raw), dtype=pl.Float64)
        for v in values
    }
    return pl.DataFrame(
        {
            "symbol": _text(raw, "symbol").str.strip_chars().str.to_uppercase(),
            "place": raw["place"],
            "payload": text.select(pl.struct(pl.all()).struct.json_encode()).to_series(),
            **parsed,
        }
    ).with_columns(source=pl.lit(SOURCE))


def _text(raw: pl.DataFrame, name: str) -> pl.Series:
    if name not in raw.columns:
        return pl.Series(name, [""] * len(raw))
    if raw[name].dtype.is_nested():
        raise DataError(f"{raw['place'][0]}: the column for {name} holds lists or structs", "map another column")
    return raw[name].cast(pl.String, strict=False).fill_null("")


def _day(raw: pl.DataFrame, name: str) -> pl.Series:
    order = times.day_order(raw[name])
    if order == "ambiguous":
        raise DataError(f"{raw['place'][0]}: {name} can be read month first or day first", "write it as YYYY-MM-DD")
    return times.parse(raw[name], order)["written"].dt.date().alias(name)


def _ratio(raw: pl.DataFrame) -> pl.Series:
    """New shares for one old share: ``4``, ``4:1``, ``4-for-1``, ``3/2``."""
    if "ratio" not in raw.columns:
        return pl.Series("ratio", [None] * len(raw), dtype=pl.Float64)
    text = _text(raw, "ratio").str.to_lowercase().str.strip_chars()
    pieces = text.str.extract_groups(r"^(\d+(?:\.\d+)?)\s*(?::|/|-for-|for|-)\s*(\d+(?:\.\d+)?)$").struct.unnest()
    new, old = (pieces.to_series(i).cast(pl.Float64, strict=False) for i in (0, 1))
    plain = numbers.parse(raw["ratio"], numbers.style_of([raw["ratio"]]))
    return plain.fill_null(new / old).alias("ratio")


def announced(raw: pl.DataFrame, stamper: Stamper, name: str = "event_time") -> list[pl.Series]:
    """When something was announced (null where the file does not say), and whether that could not be read."""
    if name not in raw.columns:
        none = pl.Series("announced", [None] * len(raw), dtype=pl.Datetime("us", "UTC"))
        return [none, pl.Series("unread_time", [False] * len(raw))]
    told = times.parse(raw[name], times.day_order(raw[name]))
    midnight = told["written"].dt.truncate("1d") == told["written"]
    ended = (told["written"] + timedelta(days=1)).dt.replace_time_zone(
        stamper.exchange_zone, ambiguous="earliest", non_existent="null"
    )
    zone = stamper.assumed_zone
    local = told["instant"]
    if zone is not None:
        assumed = told["written"].dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
        local = local.fill_null(assumed.dt.convert_time_zone("UTC"))
    day_only = midnight & told["instant"].is_null()
    announced = pl.DataFrame({"d": day_only, "e": ended.dt.convert_time_zone("UTC"), "l": local}).select(
        pl.when("d").then("e").otherwise("l").alias("announced")
    )["announced"]
    empty = _text(raw, name).str.strip_chars().str.to_lowercase().is_in([*numbers.MISSING, "nan", "nat"])
    return [announced, (announced.is_null() & ~empty).alias("unread_time")]


def _kinds(frame: pl.DataFrame, raw: pl.DataFrame) -> pl.DataFrame:
    """Name each action; a row without a kind that has a ratio and an amount becomes two."""
    told = (
        _text(raw, "kind").str.strip_chars().str.to_lowercase().replace({w: k for k, ws in _KINDS.items() for w in ws})
    )
    frame = frame.with_columns(kind=told)
    named = frame.filter(pl.col("kind") != "")
    bare = frame.filter(pl.col("kind") == "")
    split = pl.col("ratio").fill_null(0.0) != 0
    paid = pl.col("amount").fill_null(0.0) != 0
    nothing = pl.lit(None, dtype=pl.Float64)
    return pl.concat(
        [
            named,
            bare.filter(split).with_columns(kind=pl.lit("split"), amount=nothing),
            bare.filter(paid).with_columns(kind=pl.lit("dividend"), ratio=nothing),
            bare.filter(~split & ~paid),
        ]
    )


def batch(frame: pl.DataFrame, problem: pl.Expr, table: Table, strict: bool) -> Batch:
    """Good rows, letters, and how many rows said the same twice; rows that contradict one another are letters."""
    known = pl.col("known_from" if "known_from" in frame.columns else "event_time")
    told = frame.with_columns(problem.alias("problem"), known_from=known)
    told = told.with_columns(reason=pl.coalesce("problem", reasons(told, table.invariants)))
    good, bad = told.filter(pl.col("reason").is_null()), told.filter(pl.col("reason").is_not_null())
    values = [name for name in table.schema.names if name not in table.key and name in good.columns]
    good = good.with_columns(versions=pl.struct(values).n_unique().over(table.key))
    clash = good.filter(pl.col("versions") > 1).with_columns(reason=pl.lit("contradicts another row of the same key"))
    single = good.filter(pl.col("versions") == 1)
    kept = single.unique(list(table.key), keep="first", maintain_order=True)
    bad = pl.concat([bad, clash.drop("versions")])
    if strict and len(bad):
        raise DataError(f"{bad['place'][0]}: {bad['reason'][0]}", "correct the row, or read without strict")
    letters = bad.select("symbol", "place", "reason", "payload", *(("date",) if "date" in bad.columns else ()))
    rows: pa.Table = kept.select(n for n in table.schema.names if n in kept.columns).to_arrow()
    return Batch(conform(rows, table), deadletters.from_frame(letters, table, SOURCE), (), len(single) - len(kept))
