"""The door of the lake: tables by name, written idempotently, read as of a time or a version."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from aiquant.errors import DataError, MissingError, UsageError
from aiquant.lake import catalogue, changes, delta, faults, panics, places, reading, rivals, sealing
from aiquant.lake.access import AccessLog
from aiquant.lake.catalogue import TableInfo
from aiquant.lake.places import Place
from aiquant.lake.reading import Where
from aiquant.lake.sealing import Vault
from aiquant.schemas import Table

_ENCODED = re.compile("%[0-9A-Fa-f]{2}")


@dataclass(frozen=True)
class Written:
    """What a write did.

    Attributes
    ----------
    version
        Delta version of the table afterwards.
    inserted, revised, unchanged
        Rows of the batch that stated a new fact, corrected a stored one, or needed no writing.
    removed
        Stored facts that :meth:`Lake.replace` took away without putting others in their place.
    """

    version: int
    inserted: int
    revised: int
    unchanged: int
    removed: int = 0


class Lake:
    """Delta tables under one folder, or one prefix of an object store.

    Parameters
    ----------
    root
        Folder of the tables, made when the first table is written; or an address as ``s3://bucket/prefix``.
    commit_retries
        How often a write that met a rival's commit is tried again.
    storage_options
        What the object store needs, by the names of its variables (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID`` …).
        Variables of the environment count besides. Commits are safe beside others: a put that is refused where the
        object is there already.
    vault
        Seals and opens protected text; by default nothing is sealed.
    access
        Log of who read personal columns; by default none is kept.

    Raises
    ------
    UsageError
        When the path of the folder is one that the engine would misread.

    Notes
    -----
    A table is named by its name in :mod:`aiquant.schemas` (a feature set's table by ``features_<set>``), or given as a
    :class:`aiquant.schemas.Table`. Every method raises :class:`~aiquant.errors.Unreachable` when the disk is full, may
    not be written to or fails, and :class:`~aiquant.errors.DataError` when a table's folder is damaged. A commit is
    atomic: a process that dies, or a disk that fills up, leaves the version before it.
    """

    def __init__(
        self,
        root: str | Path,
        commit_retries: int = 20,
        storage_options: Mapping[str, str] | None = None,
        vault: Vault | None = None,
        access: AccessLog | None = None,
    ) -> None:
        self.root: str | Path = str(root) if places.is_remote(str(root)) else Path(root)
        self.vault = vault or Vault()
        self.access = access
        self._options = dict(storage_options or {}) if places.is_remote(str(root)) else None
        if _ENCODED.search(str(self.root)):
            raise UsageError(
                f"the lake cannot lie in {self.root}: the engine reads %20 and its like in a path as other characters",
                "choose a folder without a per cent sign before two hexadecimal digits",
            )
        self.commit_retries = commit_retries

    def write(self, table: str | Table, rows: pa.Table) -> Written:
        """Take in rows by key: twice the same batch is once.

        A key that is stored with equal values is left alone (NaN equals NaN, null equals null; ``known_from`` and
        ``ingest_time`` do not count). With other values it is a correction: in a table with ``known_from`` the row is
        added beside the stored one, known from the time it brings if that is later, else from now; in other tables
        it replaces the stored row. Of equal keys inside a batch the last row wins. Columns that an open table does not
        have yet are added; columns that it has and the batch lacks keep their stored values.

        Parameters
        ----------
        table
            Name or schema of the table; it is created where it is not there.
        rows
            In the schema of the table.

        Raises
        ------
        DataError
            When rows do not conform to the schema.
        Unreachable
            When the disk refuses, or rivals commit without pause.
        """
        spec = catalogue.resolve(table)
        batch = changes.prepare(rows, spec)

        def attempt(handle: DeltaTable) -> Written:
            stored = reading.touched(delta.scan(handle), batch, spec).collect(engine="streaming")
            plan = changes.plan(batch, stored, spec, rows.num_rows, datetime.now(UTC))
            if not plan.replacing.is_empty():
                delta.upsert(handle, _for_files(pl.concat([plan.added, plan.replacing]), spec), spec)
            elif not plan.empty:
                delta.append(handle, _for_files(plan.added, spec))
            return Written(handle.version(), plan.inserted, plan.revised, plan.unchanged)

        return self._commit(spec, batch, attempt)

    def replace(self, table: str | Table, rows: pa.Table, where_values: Mapping[str, str | int]) -> Written:
        """Put ``rows`` in the place of all rows that have these values, atomically; equal content is left alone.

        Parameters
        ----------
        where_values
            Columns and the value each must have, in stored rows that go and in all of ``rows``.

        Raises
        ------
        DataError
            When a row lies outside, or rows do not conform to the schema.
        """
        spec = catalogue.resolve(table)
        batch = changes.prepare(rows, spec)
        if not where_values:
            raise UsageError(f"to replace rows of table {spec.name}, name the values that they have")
        outside = batch.filter(~pl.all_horizontal(pl.col(n).eq_missing(pl.lit(v)) for n, v in where_values.items()))
        if not outside.is_empty():
            raise DataError(f"{len(outside)} of {len(batch)} rows for table {spec.name} lie outside of {where_values}")
        predicate = " AND ".join(f"{delta.quoted(n)} = {delta.literal(v)}" for n, v in where_values.items())

        def attempt(handle: DeltaTable) -> Written:
            rows_there = reading.as_known(delta.scan(handle), spec, None, where_values, history=True)
            turnover = changes.turnover(batch, rows_there.collect(), spec)
            if turnover.inserted or turnover.revised or turnover.removed:
                delta.overwrite(handle, _for_files(batch, spec), predicate)
            repeated = rows.num_rows - len(batch)
            return Written(
                handle.version(),
                turnover.inserted,
                turnover.revised,
                turnover.unchanged + repeated,
                turnover.removed,
            )

        return self._commit(spec, batch, attempt)

    def overwrite(self, table: str | Table, rows: pa.Table) -> Written:
        """Put ``rows`` in the place of the whole table, columns included, in one commit: for what is derived.

        Equal content is left alone. Otherwise all rows count as inserted, and all that were there as removed.

        Raises
        ------
        DataError
            When rows do not conform to the schema.
        """
        spec = catalogue.resolve(table)
        batch = changes.prepare(rows, spec)

        def attempt(handle: DeltaTable) -> Written:
            there = delta.rows(handle)
            if there == len(batch) and _holds(handle, batch, spec):
                return Written(handle.version(), 0, 0, rows.num_rows)
            delta.overwrite(handle, _for_files(batch, spec), None)
            return Written(handle.version(), len(batch), 0, rows.num_rows - len(batch), there)

        return self._commit(spec, batch, attempt)

    def read(
        self,
        table: str | Table,
        columns: Sequence[str] | None = None,
        where: Where = None,
        version: int | None = None,
        as_of: datetime | None = None,
        missing_ok: bool = False,
        history: bool = False,
    ) -> pa.Table:
        """The newest version of each key known at ``as_of``, sorted by key.

        Parameters
        ----------
        columns
            Columns to read; all by default.
        where
            ``{"symbol": "AAPL", "interval": ["1d", "1h"]}``, or a Polars expression.
        version
            Delta version of the table; the latest by default.
        as_of
            Rows with a later ``event_time`` or ``known_from`` are not seen (where the table has these columns).
        missing_ok
            Whether a table that is not there is read as an empty one.
        history
            Every version of each key, instead of the newest.

        Raises
        ------
        MissingError
            When the table is not there.
        DataError
            When the version is not there, or a file of it.
        UsageError
            When a column is not there, or ``as_of`` has no time zone.
        """
        spec = catalogue.resolve(table)
        if missing_ok and self._open(spec) is None:
            return _arrow(reading.chosen(reading.nothing(spec).lazy(), spec, columns).collect(), spec)
        with self._told(spec.name):
            rows = self._scan(spec, columns, where, version, as_of, True, history).collect(engine="streaming")
        self.accessed("read", spec.name, _used(spec, columns, where), len(rows))
        return _arrow(rows, spec)

    def scan(
        self,
        table: str | Table,
        columns: Sequence[str] | None = None,
        where: Where = None,
        version: int | None = None,
        as_of: datetime | None = None,
        ordered: bool = True,
        history: bool = False,
    ) -> pl.LazyFrame:
        """As :meth:`read`, lazily: filters and columns reach the files; ``ordered=False`` spares the sort."""
        spec = catalogue.resolve(table)
        rows = self._scan(spec, columns, where, version, as_of, ordered, history)
        self.accessed("read", spec.name, _used(spec, columns, where), None)
        return rows

    def _scan(
        self,
        spec: Table,
        columns: Sequence[str] | None,
        where: Where,
        version: int | None,
        as_of: datetime | None,
        ordered: bool,
        history: bool,
    ) -> pl.LazyFrame:
        with self._told(spec.name):
            handle = self._demand(spec, version)
            delta.demand_files(handle, self.place(spec), spec.name)
            rows = reading.as_known(delta.scan(handle), spec, as_of, where, history)
            rows = reading.ordered(rows, spec) if ordered else rows
            return reading.chosen(rows, spec, columns)

    def version(self, table: str | Table) -> int | None:
        """Delta version of a table, None where it is not there."""
        handle = self._open(catalogue.resolve(table))
        return None if handle is None else handle.version()

    def identity(self, table: str | Table) -> str | None:
        """What tells a table from one that was made in its place later, None where it is not there."""
        handle = self._open(catalogue.resolve(table))
        return None if handle is None else str(handle.metadata().id)

    def versions(self) -> dict[str, int]:
        """Delta version of every table, by name."""
        return {info.name: info.version for info in self.tables()}

    def tables(self) -> list[TableInfo]:
        """All tables by name, described from their logs alone: no data is read."""
        return [self._describe(name) for name in self.names()]

    def names(self) -> list[str]:
        """Names of the tables that are there, sorted."""
        with self._told(""):
            return places.folders(self._placed(str(self.root)))

    def sql(
        self,
        query: str,
        versions: Mapping[str, int] | None = None,
        memory_limit: str = "1GB",
        decrypt: bool = False,
        why: str | None = None,
    ) -> pa.RecordBatchReader:
        """Run one SQL query over the tables; its result streams, and nothing can be written.

        Parameters
        ----------
        query
            DuckDB's SQL. A table is a view of the newest version of each key; ``<table>_versions`` has all versions.
        versions
            Delta version to read by table; the latest by default.
        memory_limit
            Memory of the engine; what is more is spilled to a temporary folder.
        decrypt
            Whether sealed text is opened; otherwise it reads ``[encrypted]``.
        why
            What the access log says it is for.

        Raises
        ------
        UsageError
            When the query is wrong.
        MissingError
            When it names a table that is not there.
        RefusedError
            When it would write, or reach beyond the lake.
        """
        from aiquant.lake import queries

        wanted = queries.names_in(query)
        names = self.names()
        offered = []
        for name in names:
            if not wanted or {name, name + queries.VERSIONS_SUFFIX} & wanted:
                place, version = self.place(name), (versions or {}).get(name)
                with self._told(name):
                    handle = delta.open_table(place, name, version)
                    if handle is not None:
                        delta.demand_files(handle, place, name)
                        offered.append((name, handle.to_pyarrow_dataset(), catalogue.known(name)))
                        if personal := sealing.personal(name):
                            self.accessed("decrypt" if decrypt else "read", name, personal, None, why)
        return queries.run(query, offered, names, memory_limit, self.vault if decrypt else None)

    def place(self, table: str | Table) -> Place:
        """Where a table lies."""
        return self._placed(places.join(str(self.root), table if isinstance(table, str) else table.name))

    def accessed(
        self, action: str, table: str, columns: Sequence[str], rows: int | None, why: str | None = None
    ) -> None:
        """Put an access to personal columns into the log; ``columns`` that are not personal do not count."""
        told = [name for name in columns if name in sealing.personal(table)]
        if told and self.access is not None:
            self.access.record(action, table, told, rows, why)

    def _placed(self, text: str) -> Place:
        return Place(text, self._options, self.vault)

    def demand(self, table: str | Table, version: int | None = None) -> DeltaTable:
        """The engine's handle of a table that is there, for upkeep inside this room.

        Raises
        ------
        MissingError
            When it is not there.
        """
        if isinstance(table, str) and catalogue.known(table) is None and table in self.names():
            handle = delta.open_table(self.place(table), table, version)  # a table that others put there
        else:
            handle = self._demand(catalogue.resolve(table), version)
        assert handle is not None
        return handle

    def _describe(self, name: str) -> TableInfo:
        with self._told(name):
            handle = delta.open_table(self.place(name), name)
            if handle is None:
                raise DataError(f"{self.place(name)} is not a Delta table", "remove the folder")
            return catalogue.describe(handle, name)

    def _open(self, spec: Table, version: int | None = None) -> DeltaTable | None:
        with self._told(spec.name):
            return delta.open_table(self.place(spec), spec.name, version)

    def _demand(self, spec: Table, version: int | None) -> DeltaTable:
        handle = self._open(spec, version)
        if handle is None:
            raise MissingError(f"there is no table {spec.name} at {self.place(spec)}", catalogue.remedy(spec.name))
        return handle

    def _commit(self, spec: Table, batch: pl.DataFrame, attempt: Callable[[DeltaTable], Written]) -> Written:
        """Open (or create) the table and try; after a rival's commit read again and try again."""
        place = self.place(spec)
        schema = _arrow(batch.clear(), spec).schema
        size = int(batch.estimated_size())

        def tried() -> Written:
            with self._told(spec.name), panics.hushed_when_tight(place, size):
                return attempt(delta.open_table(place, spec.name) or delta.create(place, spec, schema))

        return rivals.retried(self.commit_retries, spec.name, place, tried)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        with faults.told(name, self.place(name)):
            yield


def _used(spec: Table, columns: Sequence[str] | None, where: Where) -> list[str]:
    """Columns that a read hands out or filters by."""
    filtered = where.meta.root_names() if isinstance(where, pl.Expr) else list(where or ())
    return [*(spec.schema.names if columns is None else columns), *filtered]


def _arrow(frame: pl.DataFrame, spec: Table) -> pa.Table:
    return reading.to_arrow(frame, spec)


def _for_files(frame: pl.DataFrame, spec: Table) -> pa.Table:
    """Rows in the order in which files keep them: by time where no partition does, so that days prune row groups."""
    by_time = "event_time" in frame.columns and not spec.partition
    return _arrow(frame.sort(["event_time", *spec.key] if by_time else list(spec.key)), spec)


def _holds(handle: DeltaTable, batch: pl.DataFrame, spec: Table) -> bool:
    """Whether the table holds just the rows and columns of ``batch``."""
    stored = delta.scan(handle)
    if stored.collect_schema() != batch.schema:
        return False
    return reading.ordered(batch.lazy(), spec).collect().equals(reading.ordered(stored, spec).collect())
