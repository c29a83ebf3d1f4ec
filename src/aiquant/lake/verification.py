"""Whether a table is what it has to be: its files, its columns, its keys, its rows, and no session without bars.

===================  ========  ======================================================================================
finding              verdict   rule
===================  ========  ======================================================================================
``unreadable``       broken    the log cannot be read
``dead_file``        broken    the log names a file that is gone, or of another size than it says
``schema``           broken    a required column is missing, a column has another type, or the partition is another
``null``             broken    a required column holds nulls
``repeated_key``     broken    a key (with ``known_from``, where the table has it) stands in the table more than once
``invariant``        broken    a row breaks an invariant of :mod:`aiquant.schemas`
``empty_session``    broken    a session of the exchange between the first and the last has no row of any symbol
``gap``              note      a symbol has no bar in a session between its first and its last bar
``orphan_file``      note      a file that no version names, of a commit that was cut short
``old_file``         note      a file that only older versions need
``unknown_key``      note      text is encrypted under a key that is not here
===================  ========  ======================================================================================

Tables are read in pieces of some hundred thousand rows. Sealed text stays sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import polars as pl
from deltalake import DeltaTable

from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.lake import catalogue, delta, faults, maintenance, partitions, places, quality, reading, sealing
from aiquant.lake.store import Lake
from aiquant.schemas import Table

Verdict = Literal["broken", "note"]

_SHOWN = 3
_PIECE_ROWS = 250_000
_BY_SESSION = frozenset({"bars", "ticks"})
"""Tables that have rows in every session of the exchange."""


@dataclass(frozen=True)
class Finding:
    """What was found, how often, and an example."""

    table: str
    kind: str
    verdict: Verdict
    count: int
    detail: str


def verify(
    lake: Lake,
    table: str,
    sessions: Callable[[date, date], Sessions],
    progress: Callable[[int], None] = lambda _: None,
) -> list[Finding]:
    """Check one table; an empty list says that it is sound.

    Parameters
    ----------
    sessions
        The sessions of the exchange between two dates, both included.
    progress
        Told the number of rows that were looked at.

    Raises
    ------
    MissingError
        When the table is not there.
    """
    if table not in lake.names():
        lake.demand(table)
    try:
        handle = lake.demand(table)
        with faults.told(table, lake.place(table)):
            found = list(_files(table, handle, lake.place(table)))
            if any(each.kind == "dead_file" for each in found):
                return found
            spec = catalogue.known(table)
            broken = [] if spec is None else list(_schema(handle, spec))
            if spec is None or any(each.kind == "schema" for each in broken):
                return [*found, *broken]
            return [*found, *broken, *_Rows(handle, spec, lake, progress).findings(sessions)]
    except DataError as error:
        return [Finding(table, "unreadable", "broken", 1, error.problem)]


def _files(table: str, handle: DeltaTable, place: str) -> Iterator[Finding]:
    gone, cut = delta.damage(handle, place)
    if gone or cut:
        told = [*(f"{path} is gone" for path in gone), *(f"{path} was cut off or changed" for path in cut)]
        yield Finding(table, "dead_file", "broken", len(told), _some(told))
    active, old = delta.active(handle), maintenance.tombstones(handle)
    rest = [f for f in places.files(place) if f.path.endswith(".parquet") and not f.path.startswith(places.LOG)]
    for kind, files in (
        ("old_file", [f for f in rest if f.path not in active and f.path in old]),
        ("orphan_file", [f for f in rest if f.path not in active and f.path not in old]),
    ):
        if files:
            size = sum(f.size for f in files) / 2**20
            yield Finding(table, kind, "note", len(files), f"{size:,.1f} MiB; aiquant lake vacuum deletes them")


def _schema(handle: DeltaTable, spec: Table) -> Iterator[Finding]:
    stored, wanted = delta.stored(handle).collect_schema(), reading.nothing(spec).schema
    told = [f"no column {f.name}" for f in spec.schema if f.name not in stored and not f.nullable]
    told += [f"{n} is {stored[n]}, not {wanted[n]}" for n in wanted if n in stored and stored[n] != wanted[n]]
    if not spec.open:
        told += [f"an unknown column {name}" for name in stored if name not in wanted]
    laid = tuple(handle.metadata().partition_columns)
    if laid != spec.partition:
        told.append(f"partitioned by {', '.join(laid) or 'nothing'}, not by {', '.join(spec.partition) or 'nothing'}")
    if told:
        yield Finding(spec.name, "schema", "broken", len(told), _some(told))


class _Rows:
    """One pass over the rows of a table."""

    def __init__(self, handle: DeltaTable, spec: Table, lake: Lake, progress: Callable[[int], None]) -> None:
        self._handle, self._spec, self._vault, self._progress = handle, spec, lake.vault, progress
        self._key = [*spec.key, *(["known_from"] if spec.versioned else [])]
        self._local = set(spec.partition) <= set(spec.key)
        self._nulls: dict[str, int] = {}
        self._broken: dict[str, tuple[int, str]] = {}
        self._repeated: list[pl.DataFrame] = []
        self._digests: list[pl.Series] = []
        self._days: list[pl.DataFrame] = []
        self._foreign: dict[str, int] = {}

    def findings(self, sessions: Callable[[date, date], Sessions]) -> Iterator[Finding]:
        name, seen = self._spec.name, 0
        columns = list(self._handle.metadata().partition_columns)
        for piece in partitions.pieces(partitions.of_files(self._handle), columns, _PIECE_ROWS):
            rows = delta.stored(self._handle).filter(piece.condition())
            seen += self._look(reading.complete(rows, self._spec).select(self._columns()).collect(engine="streaming"))
            self._progress(seen)
        for column, count in self._nulls.items():
            yield Finding(name, "null", "broken", count, f"column {column} must be filled in each row")
        for reason, (count, example) in self._broken.items():
            yield Finding(name, "invariant", "broken", count, f"{reason}: {example}")
        repeated = self._all_repeated()
        if len(repeated):
            shown = [_row(row) for row in repeated.head(_SHOWN).iter_rows(named=True)]
            yield Finding(name, "repeated_key", "broken", len(repeated), _some(shown, len(repeated)))
        for key, count in self._foreign.items():
            yield Finding(name, "unknown_key", "note", count, f"values under the key {key!r}; not among privacy.keys")
        if self._days:
            yield from _gaps(name, pl.concat(self._days).unique(), sessions)

    def _columns(self) -> list[str]:
        needed = [*self._key, *(f.name for f in self._spec.schema if not f.nullable)]
        for invariant in self._spec.invariants:
            needed += invariant.holds.meta.root_names()
        return list(dict.fromkeys([*needed, *sealing.protected(self._spec.name)]))

    def _look(self, rows: pl.DataFrame) -> int:
        for f in self._spec.schema:
            if not f.nullable and (missing := rows[f.name].null_count()):
                self._nulls[f.name] = self._nulls.get(f.name, 0) + missing
        for invariant in self._spec.invariants:
            bad = rows.filter(~invariant.holds.fill_null(False))
            if len(bad):
                count, example = self._broken.get(invariant.reason, (0, _row(bad.select(self._key).row(0, named=True))))
                self._broken[invariant.reason] = (count + len(bad), example)
        if self._local:
            self._repeated.append(_repeated(rows, self._key))
        else:
            self._digests.append(rows.select(self._key).hash_rows())
        for column in sealing.protected(self._spec.name):
            ids = sealing.key_ids(rows[column]).drop_nulls().value_counts()
            for key, count in ids.iter_rows():
                if not self._vault.knows(key):
                    self._foreign[key] = self._foreign.get(key, 0) + count
        if self._spec.name in _BY_SESSION:
            series = pl.col("interval") if "interval" in rows.columns else pl.lit("")
            self._days.append(rows.select("symbol", series.alias("series"), "date").unique())
        return len(rows)

    def _all_repeated(self) -> pl.DataFrame:
        """Keys that stand more than once, each once."""
        if self._local or not self._digests:
            return pl.concat(self._repeated) if self._repeated else pl.DataFrame()
        digests = pl.concat(self._digests)
        twice = digests.filter(digests.is_duplicated()).unique()
        if twice.is_empty():
            return pl.DataFrame()
        keys = delta.stored(self._handle).select(self._key).collect(engine="streaming")
        return _repeated(keys.filter(keys.hash_rows().is_in(twice.implode())), self._key)


def _repeated(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    digests = rows.select(key).hash_rows()
    if not (suspect := digests.is_duplicated()).any():
        return rows.select(key).clear()
    told = rows.select(key).filter(suspect)
    return told.filter(pl.struct(key).is_duplicated()).unique(maintain_order=True)


def _gaps(table: str, days: pl.DataFrame, sessions: Callable[[date, date], Sessions]) -> Iterator[Finding]:
    """Sessions that nobody has, by interval, and of bars those that one symbol lacks."""
    for (series,), part in days.group_by("series", maintain_order=False):
        label = f"{series}: " if series else ""
        first, last = part["date"].min(), part["date"].max()
        assert isinstance(first, date) and isinstance(last, date)
        known = sessions(first, last)
        there = np.unique(part["date"].to_numpy().astype("datetime64[D]"))
        empty = np.setdiff1d(known.dates, there)
        if len(empty):
            told = [str(day) for day in empty[:_SHOWN]]
            yield Finding(table, "empty_session", "broken", len(empty), label + _some(told, len(empty)))
        if table != "bars":
            continue
        each = part.with_columns(series=pl.col("symbol"))
        missing = quality.missing_sessions(each, known, None).filter(
            ~pl.col("date").is_in(pl.Series(empty.astype("datetime64[D]")).cast(pl.Date).implode())
        )
        if len(missing):
            told = [f"{row['symbol']} {row['date']}" for row in missing.head(_SHOWN).iter_rows(named=True)]
            symbols = missing["symbol"].n_unique()
            yield Finding(
                table, "gap", "note", len(missing), f"{label}{symbols:,} symbol(s): {_some(told, len(missing))}"
            )


def _row(row: dict[str, object]) -> str:
    return " ".join(str(value) for value in row.values())


def _some(told: list[str], total: int | None = None) -> str:
    total = len(told) if total is None else total
    more = total - min(len(told), _SHOWN)
    return "; ".join(told[:_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")
