"""Delta tables on disk: open, create, commit. The only module that knows the engine's calls.

Each commit carries an application transaction under one id, through the very handle that was read. A rival's commit
since then makes the engine refuse ours (``CommitFailedError``), which is what makes read-compare-write safe: the
version number of the transaction alone would not (a handle opened afterwards may write the same number again).
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from aiquant.errors import DataError
from aiquant.schemas import Table

WRITER = "aiquant-writer"
"""Id of the application transaction that every commit of rows carries."""

_CONFIGURATION = {
    "delta.logRetentionDuration": "interval 36500 days",  # a run is reproduced from the version that it read
    "delta.deletedFileRetentionDuration": "interval 30 days",
}
_ROW_GROUP = 131_072


class _Table(DeltaTable):
    """A table whose file names can be opened: the engine percent-encodes the root in them (``My lake``, ``José``)."""

    def file_uris(self, *args: Any, **kwargs: Any) -> list[str]:
        root = self.table_uri.removeprefix("file://")
        return [unquote(root) + uri.removeprefix(root) for uri in super().file_uris(*args, **kwargs)]


def open_table(place: str, name: str, version: int | None = None) -> DeltaTable | None:
    """The table in ``place``, or None where there is none.

    Raises
    ------
    DataError
        When ``place`` holds no such ``version``, or files that are no table.
    """
    try:
        latest = _Table(place)
    except TableNotFoundError:
        _demand_free(place, name)
        return None
    if version is None or version == latest.version():
        return latest
    if 0 <= version < latest.version():
        try:
            return _Table(place, version=version)
        except DeltaError as error:
            raise _no_version(latest, place, name, version) from error
    raise _no_version(latest, place, name, version)


def _demand_free(place: str, name: str) -> None:
    """Refuse a folder with files of someone else; a log without a commit is a creation that was cut short."""
    if os.path.isdir(place) and (found := sorted(os.listdir(place))) and "_delta_log" not in found:
        raise DataError(f"the folder {place} holds {found[0]} but no Delta table {name}", "move its files elsewhere")


def demand_files(handle: DeltaTable, place: str, name: str) -> None:
    """Refuse a version whose files are not there as its log describes them.

    Raises
    ------
    DataError
        When a file is gone (vacuumed, if the version is an old one) or was cut off.
    """
    gone, cut = _damage(handle)
    if gone and handle.version() != (latest := _Table(place)).version():
        raise _no_version(latest, place, name, handle.version())
    if gone or cut:
        raise DataError(
            f"table {name} at {place}: the data file {gone or cut} {'is gone' if gone else 'was cut off or changed'}",
            "restore it from a copy, or remove the table's folder and write it anew",
        )


def _no_version(latest: DeltaTable, place: str, name: str, version: int) -> DataError:
    oldest = _oldest_complete(place, latest.version())
    return DataError(
        f"table {name} at {place} has no readable version {version}",
        f"versions {oldest} to {latest.version()} can be read",
    )


def _oldest_complete(place: str, latest: int) -> int:
    """By bisection: a vacuum takes files of old versions away, so that the readable ones end at ``latest``."""
    low, high = 0, latest
    while low < high:
        middle = (low + high) // 2
        try:
            readable = _complete(_Table(place, version=middle))
        except DeltaError:
            readable = False
        low, high = (low, middle) if readable else (middle + 1, high)
    return low


def _complete(handle: DeltaTable) -> bool:
    return _damage(handle)[0] is None


def _damage(handle: DeltaTable) -> tuple[str | None, str | None]:
    """The first file of the version that is gone, and the first of another size than the log says."""
    actions = pa.table(handle.get_add_actions(flatten=True))
    paths, bytes_ = actions["path"].to_pylist(), actions["size_bytes"].to_pylist()
    sizes = {os.path.basename(path): size for path, size in zip(paths, bytes_, strict=True)}
    gone = cut = None
    for path in handle.file_uris():
        try:
            if os.stat(path).st_size != sizes[os.path.basename(path)]:
                cut = cut or path
        except FileNotFoundError:
            gone = gone or path
    return gone, cut


def create(place: str, table: Table, schema: pa.Schema) -> DeltaTable:
    """Create the table, or open it where another process was faster."""
    try:
        DeltaTable.create(
            place,
            schema,
            mode="error",
            name=table.name,
            partition_by=list(table.partition) or None,
            configuration=dict(_CONFIGURATION),
        )
    except DeltaError:
        if open_table(place, table.name) is None:
            raise
    return _Table(place)


def append(handle: DeltaTable, rows: pa.Table) -> None:
    """Add rows (and columns that are new) in one commit."""
    write_deltalake(
        handle,
        rows,
        mode="append",
        schema_mode="merge",
        writer_properties=_writer(rows.schema),
        commit_properties=_transaction(handle),
    )


def overwrite(handle: DeltaTable, rows: pa.Table, predicate: str | None) -> None:
    """Put ``rows`` in the place of all rows for which ``predicate`` (SQL) holds, or of the whole table, at once."""
    write_deltalake(
        handle,
        rows,
        mode="overwrite",
        schema_mode="merge" if predicate is not None else "overwrite",
        predicate=predicate,
        writer_properties=_writer(rows.schema),
        commit_properties=_transaction(handle),
    )


def upsert(handle: DeltaTable, rows: pa.Table, table: Table) -> None:
    """Replace stored rows of the same key and add the others, in one commit; ``rows`` holds each key once."""
    same_key = " AND ".join(f"target.{quoted(name)} = source.{quoted(name)}" for name in table.key)
    pruning = "".join(
        f" AND target.{quoted(name)} IN ({', '.join(literal(v) for v in _distinct(rows, name))})"
        for name in table.partition
    )
    merger = handle.merge(
        rows,
        same_key + pruning,
        source_alias="source",
        target_alias="target",
        merge_schema=True,
        writer_properties=_writer(rows.schema),
        commit_properties=_transaction(handle),
    )
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


def scan(handle: DeltaTable) -> pl.LazyFrame:
    """The table at the handle's version, with filters and projections pushed down to files and row groups."""
    return pl.scan_delta(handle)


def rows(handle: DeltaTable) -> int:
    """Rows that the log counts, or the files where a writer left the count out of the log."""
    counts = pa.table(handle.get_add_actions(flatten=True))["num_records"].to_pylist()
    return int(handle.to_pyarrow_dataset().count_rows() if None in counts else sum(counts))


def quoted(name: str) -> str:
    """A column's name as an SQL identifier (the engine's dialect folds bare names to lower case)."""
    return f'"{name}"'


def literal(value: object) -> str:
    """Text or a whole number as an SQL literal.

    Raises
    ------
    DataError
        For values of other types.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"rows can be named by text or whole numbers, not by {value!r}")
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def _distinct(rows: pa.Table, name: str) -> list[object]:
    return sorted(rows[name].unique().to_pylist())


def _transaction(handle: DeltaTable) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction(WRITER, handle.version() + 1)])


def _writer(schema: pa.Schema) -> WriterProperties:
    """Dictionaries for all but floating-point columns, whose values seldom repeat: six times faster, and smaller."""
    repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
    return WriterProperties(
        compression="ZSTD",
        compression_level=3,
        max_row_group_size=_ROW_GROUP,
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties={name: ColumnProperties(dictionary_enabled=True) for name in repeating},
    )
