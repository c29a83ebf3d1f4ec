"""Training frames: to each entity row (symbol, moment) the features that were known at that moment.

Of a symbol's rows with ``event_time`` and ``known_from`` at or before the moment the one with the latest
``event_time`` counts, of several versions of it the one known last; a row older than the time to live does not count.
That is Feast's ``get_historical_features(…, filter_by_created_timestamp=True)``, row by row, at the cost of a search
instead of a comparison of all pairs. Without that flag Feast looks ahead at restated values; here there is no such
mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import DataError, UsageError
from aiquant.features import locating

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEYS = ("symbol", "date", "event_time", "known_from")
_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class FeatureTable:
    """One table that is joined.

    Attributes
    ----------
    name
        Name of the feature set.
    rows
        ``symbol``, ``event_time``, ``known_from`` (both UTC) and features; all versions, in any order. A table
        without ``known_from`` is taken to be known from each row's ``event_time`` on.
    ttl
        How old a row may be; None for any age. A row just as old still counts.
    """

    name: str
    rows: pl.DataFrame
    ttl: timedelta | None = None

    @property
    def features(self) -> list[str]:
        """Names of its features."""
        return [name for name in self.rows.columns if name not in _KEYS]


def join(
    entities: pl.DataFrame,
    tables: Sequence[FeatureTable],
    *,
    time: str = "event_time",
    full_names: bool = False,
    times: bool = False,
) -> pl.DataFrame:
    """The entity rows with the features known at their moments.

    Parameters
    ----------
    entities
        ``symbol``, the moment ``time`` (with time zone), and whatever else they bring; in any order, rows may repeat.
    full_names
        Whether features are called ``<set>__<feature>``, as Feast has it.
    times
        Whether ``<set>__event_time`` and ``<set>__known_from`` of the row that was taken stand before the features.

    Returns
    -------
    polars.DataFrame
        The rows and columns of ``entities`` in their order, then the features of each table; null where no row counts.

    Raises
    ------
    DataError
        When a column is missing or holds a moment that is null or has no time zone.
    UsageError
        When two columns would have the same name.
    """
    moments = demand_entities(entities, time)
    parts = [entities]
    taken = dict.fromkeys(entities.columns, "the entity rows")
    for table in tables:
        rows = _located(table, entities["symbol"], moments)
        prefix = f"{table.name}__"
        names: dict[str, str] = {
            n: f"{prefix}{n}" for n in ("event_time", "known_from") if times and n in table.rows.columns
        }
        names |= {n: f"{prefix}{n}" if full_names else n for n in table.features}
        found = table.rows.select(list(names))[rows].rename(names)
        for name in found.columns:
            if name in taken:
                raise UsageError(
                    f"the column {name} stands in {taken[name]} and in feature set {table.name}",
                    "ask for full names, which say the set: --full-names",
                )
            taken[name] = f"feature set {table.name}"
        parts.append(found)
    return pl.concat(parts, how="horizontal")


def demand_entities(entities: pl.DataFrame, time: str = "event_time") -> NDArray[np.int64]:
    """The moments of entity rows, microseconds since 1970.

    Raises
    ------
    DataError
        When they lack ``symbol`` or ``time``, or a moment is null or has no time zone.
    """
    _demand(entities, ("symbol", time), "entity rows")
    return _moments(entities, time, "entity rows")


def _located(table: FeatureTable, symbols: pl.Series, moments: NDArray[np.int64]) -> pl.Series:
    """The row of ``table`` that counts for each entity row, null where none does."""
    place = f"feature set {table.name}"
    _demand(table.rows, ("symbol", "event_time"), place)
    if table.rows.height >= 1 << 32:
        raise UsageError(f"{place} has more than 2³² rows", "ask for a shorter span of time, or for fewer symbols")
    known_name = "known_from" if "known_from" in table.rows.columns else "event_time"
    event, known = (_moments(table.rows, name, place) for name in ("event_time", known_name))
    names, group = _groups(table.rows["symbol"])
    order: NDArray[np.uint32] | None = None
    if not locating.ordered(group, event, known):
        order = np.lexsort((known, event, group)).astype(np.uint32)
        group, event, known = group[order], event[order], known[order]
    starts = np.searchsorted(group, np.arange(len(names) + 1, dtype=np.int32)).astype(np.int64)
    available, place_of = np.empty(len(event), np.int64), np.empty(len(event), np.uint32)
    kept = np.empty(len(starts), np.int64)
    locating.availability(starts, event, known, available, place_of, kept)
    rows, missing = np.zeros(len(moments), np.uint32), np.empty(len(moments), np.bool_)
    ttl = -1 if table.ttl is None else table.ttl // timedelta(microseconds=1)
    asked = _codes(symbols, names)
    locating.locate(asked, moments, kept, available, place_of, event, ttl, rows, missing)
    if order is not None and len(order):
        rows = order[rows]
    if not missing.any():
        return pl.Series(rows)
    return pl.Series(pl.from_arrow(pa.array(rows, mask=missing)))


def _groups(symbols: pl.Series) -> tuple[list[str], NDArray[np.int32]]:
    """The symbols of a table, and for each row its number in them."""
    runs = symbols.rle().struct.unnest()
    if runs["value"].n_unique() == runs.height:  # each symbol in one piece, as the lake keeps them
        lengths = runs["len"].to_numpy()
        return runs["value"].to_list(), np.repeat(np.arange(runs.height, dtype=np.int32), lengths)
    names = symbols.unique().sort().to_list()
    return names, _codes(symbols, names)


def _codes(symbols: pl.Series, names: list[str]) -> NDArray[np.int32]:
    """The number of each symbol in ``names``, -1 where it is not among them."""
    if not names:
        return np.full(len(symbols), -1, np.int32)
    numbers = symbols.cast(pl.String).cast(pl.Enum(names), strict=False).to_physical()
    return np.ascontiguousarray(numbers.cast(pl.Int32).fill_null(-1).to_numpy(), np.int32)


def _moments(rows: pl.DataFrame, name: str, place: str) -> NDArray[np.int64]:
    """A column of times as microseconds since 1970; parts of a microsecond are cut off."""
    column = rows[name]
    kind: Any = column.dtype
    if column.null_count():
        at = int(column.is_null().arg_max() or 0)
        raise DataError(f"{place}: {name} is missing in {column.null_count():,} row(s), the first is row {at + 1}")
    if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
        raise DataError(f"{place}: {_untimely(column)}", "write for example 2020-01-31T21:00:00Z")
    return np.ascontiguousarray(rows[name].cast(_TIME).to_physical().to_numpy(), np.int64)


def _untimely(column: pl.Series) -> str:
    """Why a column holds no times with a zone, with the first row that shows it."""
    if column.is_empty():
        return f"{column.name} holds no times with a time zone"
    if column.dtype in (pl.Datetime, pl.Date):
        return f"{column.name} has no time zone, row 1 is {column[0]}"
    bad = 0
    if column.dtype == pl.String:
        read = column.str.to_datetime("%+", time_zone="UTC", strict=False)
        if not read.null_count():
            return f"{column.name} is text, not times with a time zone"
        bad = int(read.is_null().arg_max() or 0)
    return f"{column.name} of row {bad + 1} is {str(column[bad])!r}, not a time with a time zone"


def _demand(rows: pl.DataFrame, names: Sequence[str], place: str) -> None:
    missing = [name for name in names if name not in rows.columns]
    if missing:
        raise DataError(f"{place} lack the column {missing[0]}", f"their columns are: {', '.join(rows.columns[:20])}")
