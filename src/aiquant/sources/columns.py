"""Which column of a file means what: recognised by its usual names, or mapped by the user."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiquant.errors import DataError, UsageError
from aiquant.sources.base import Layout

UNNAMED = ("", "index_level_0", "unnamed_0")
"""What an index without a name becomes in a file: dates, or the numbers of the rows."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker", "sym", "code", "instrument", "tic", "asset", "security", "stock", "isin"),
    "event_time": ("event_time", "end_utc", "end_time", "close_time", "bar_end", "end"),
    "start": ("start_utc", "start_time", "start", "open_time", "bar_start", "window_start", "t"),
    "time": ("timestamp", "datetime", "date_time", "time", "ts"),
    "date": ("date", "day", "session", "trade_date", "trading_date", "trading_day", *UNNAMED),
    "open": ("open", "open_price", "px_open", "o"),
    "high": ("high", "high_price", "px_high", "h"),
    "low": ("low", "low_price", "px_low", "l"),
    "close": ("close", "close_price", "closing_price", "px_last", "last", "price", "c"),
    "adj_close": ("adj_close", "adjusted_close", "adjclose", "close_adjusted", "adj_price"),
    "volume": ("volume", "vol", "total_volume", "traded_volume", "px_volume", "v"),
    "vwap": ("vwap", "vw", "average_price", "weighted_average_price"),
    "trades": ("trades", "n_trades", "number_of_trades", "trade_count", "num_trades", "transactions", "n"),
    "interval": ("interval", "timeframe", "bar_size", "frequency"),
}
"""Names (lower case, words joined by ``_``) by which a column of bars is known, the surest first."""

TIMES = ("event_time", "start", "time", "date")
PRICES = ("open", "high", "low", "close", "vwap")
_SURE_CLOSE = {name for name in (*SYNONYMS["close"], *SYNONYMS["adj_close"]) if name not in ("c", "last")}
_FILE_NAMED_AFTER_SYMBOL = re.compile(r"[A-Z0-9]{1,6}([.\-^=][A-Z0-9]{1,4})?")


@dataclass(frozen=True)
class Recognised:
    """What the columns of a file are.

    Attributes
    ----------
    layout
        ``long`` or ``wide``.
    columns
        Our name → position in the file. In a wide file the time columns only.
    symbols
        Symbol → position in a wide file, else empty.
    symbol
        The symbol of a file that has no symbol column but is named after its symbol.
    notes
        What was assumed or ignored.
    """

    layout: Layout
    columns: dict[str, int]
    symbols: dict[str, int]
    symbol: str | None
    notes: tuple[str, ...]


def plain(name: str) -> str:
    """A column's name as it is compared: ``"Adj Close"``, ``"<ADJ_CLOSE>"`` and ``"5. adj close"`` → ``adj_close``."""
    words = re.sub(r"[^a-z0-9]+", "_", name.strip().lower().lstrip("\ufeff")).strip("_")
    return re.sub(r"^\d+_(?=[a-z])", "", words)


def recognise(
    place: str, header: Sequence[str], columns: Mapping[str, str] | None = None, layout: Layout | None = None
) -> Recognised:
    """Say which column of a file of bars means what.

    Parameters
    ----------
    place
        Name of the file, for messages; ``AAPL.csv`` without a symbol column holds AAPL.
    columns
        Our name → the file's name, for columns that are not recognised by themselves.
    layout
        ``long`` or ``wide``; None finds it out.

    Raises
    ------
    DataError
        When a needed column is missing or is there twice; the message names what was found.
    UsageError
        When ``columns`` names a column that bars do not have.
    """
    mapped = _mapped(place, header, columns or {}, SYNONYMS)
    found = _found(place, header, mapped, SYNONYMS)
    if layout is None:
        layout = _layout(header, found, mapped)
    if not any(name in found for name in TIMES):
        raise _missing(place, "a date or time", header)
    if layout == "wide":
        return _wide(place, header, found, mapped)
    return _long(place, header, found)


def recognise_plain(
    place: str,
    header: Sequence[str],
    synonyms: Mapping[str, tuple[str, ...]],
    columns: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Our name → position, for files other than bars whose columns have ``synonyms``."""
    return _found(place, header, _mapped(place, header, columns or {}, synonyms), synonyms)


def _mapped(
    place: str, header: Sequence[str], columns: Mapping[str, str], synonyms: Mapping[str, tuple[str, ...]]
) -> dict[str, int]:
    mapped: dict[str, int] = {}
    for ours, theirs in columns.items():
        if ours not in synonyms:
            near = difflib.get_close_matches(ours, list(synonyms), n=1)
            raise UsageError(
                f"columns: {ours!r} is not a column that can be mapped",
                f"did you mean {near[0]!r}?" if near else f"known: {', '.join(synonyms)}",
            )
        at = [i for i, name in enumerate(header) if name == theirs]
        at = at or [i for i, name in enumerate(header) if plain(name) == plain(theirs)]
        if len(at) != 1:
            problem = "has no column" if not at else "has more than one column"
            raise DataError(f"{place}: {problem} {theirs!r} (mapped to {ours})", f"found: {_listed(header)}")
        mapped[ours] = at[0]
    return mapped


def _found(
    place: str, header: Sequence[str], mapped: Mapping[str, int], synonyms: Mapping[str, tuple[str, ...]]
) -> dict[str, int]:
    found = dict(mapped)
    names = [plain(name) for name in header]
    for ours, theirs in synonyms.items():
        if ours in found:
            continue
        for synonym in theirs:
            at = [i for i, name in enumerate(names) if name == synonym and i not in mapped.values()]
            if len(at) > 1:
                raise DataError(
                    f"{place}: {len(at)} columns are named {header[at[0]]!r}", "rename or map the one that counts"
                )
            if at:
                found[ours] = at[0]
                break
    if "date" in found and "date" not in mapped and names[found["date"]] in UNNAMED:
        # Beside a column of times (which is no ticker, as T is) it counts the rows.
        if any(name in found and len(names[found[name]]) > 1 for name in TIMES if name != "date"):
            del found["date"]
    return found


def _layout(header: Sequence[str], found: Mapping[str, int], mapped: Mapping[str, int]) -> Layout:
    """Long if there is a symbol, or a close that cannot be a ticker (C, O, H, L and LAST are tickers, too)."""
    if "symbol" in found or any(name not in TIMES for name in mapped):
        return "long"
    if any(plain(header[at]) in _SURE_CLOSE for name, at in found.items() if name in ("close", "adj_close")):
        return "long"
    if {"open", "high", "low", "close"} <= set(found):
        return "long" if len(found) >= len(header) - len(found) else "wide"
    times = [at for name, at in found.items() if name in TIMES]
    others = [plain(name) for at, name in enumerate(header) if at not in times]
    words = {name for names in SYNONYMS.values() for name in names if len(name) > 1}
    return "wide" if any(name not in words for name in others) else "long"


def _wide(place: str, header: Sequence[str], found: Mapping[str, int], mapped: Mapping[str, int]) -> Recognised:
    # Of several columns of time the surest is the time; a ticker such as T must not be taken for one.
    named = [name for name in TIMES if name in found and (name in mapped or len(plain(header[found[name]])) != 1)]
    if not named:
        raise _missing(place, "a date or time", header)
    when = named[0]
    symbols: dict[str, int] = {}
    for at, name in enumerate(header):
        symbol = name.strip().upper()
        if at == found[when] or at in [found[n] for n in named] or not symbol:
            continue
        if symbol in symbols:
            raise DataError(f"{place}: symbol {symbol} has two columns", "keep one of them")
        symbols[symbol] = at
    if not symbols:
        raise _missing(place, "symbol and close", header)
    note = f"{place}: wide file: {len(symbols)} columns taken as closes, one for each symbol"
    return Recognised("wide", {when: found[when]}, symbols, None, (note,))


def _long(place: str, header: Sequence[str], found: dict[str, int]) -> Recognised:
    notes: list[str] = []
    if "close" not in found and "adj_close" in found:
        found["close"] = found["adj_close"]
        notes.append(f"{place}: {header[found['close']]!r} taken as close: set data.adjustment to say so")
    if "close" not in found:
        raise _missing(place, "close", header)
    symbol = None
    if "symbol" not in found:
        symbol = _symbol_of(place)
        if symbol is None:
            raise _missing(place, "symbol", header)
        notes.append(f"{place}: no symbol column: all rows taken as {symbol}, the file's name")
    found.pop("adj_close", None)
    extra = [name for at, name in enumerate(header) if at not in found.values()]
    if extra:
        notes.append(f"{place}: ignored column{'s' * (len(extra) > 1)} {_listed(extra)}")
    return Recognised("long", found, {}, symbol, tuple(notes))


def _symbol_of(place: str) -> str | None:
    name = re.split(r"[/\\]", place)[-1]
    stem = re.sub(r"(\.(csv|txt|tsv|parquet|pq|arrow|feather|ipc))?(\.(gz|bz2|zst))?$", "", name)
    return stem if _FILE_NAMED_AFTER_SYMBOL.fullmatch(stem) else None


def _missing(place: str, what: str, header: Sequence[str]) -> DataError:
    known = {"symbol": SYNONYMS["symbol"], "close": SYNONYMS["close"]}
    names = known.get(what, (*SYNONYMS["date"][:2], "event_time", "timestamp"))
    named = " or name the file after the symbol (AAPL.csv)" if what == "symbol" else ""
    option = what if what in known else "date"
    return DataError(
        f"{place}: no column for {what}; found: {_listed(header)}",
        f"name one of them {', '.join(n for n in names[:5] if n)}, map it as {option}=COLUMN,{named or ''}".rstrip(","),
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "none"
