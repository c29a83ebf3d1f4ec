"""Delta tables on disk or in an object store: open, create, commit, through the engine's calls.

Each commit carries an application transaction under one id, through the very handle that was read. A rival's commit
since then makes the engine refuse ours (``CommitFailedError``), which is what makes read-compare-write safe: the
version number of the transaction alone would not (a handle opened afterwards may write the same number again).
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from aiquant.errors import DataError
from aiquant.lake import access, commits, places, sealing
from aiquant.lake.sealing import Vault
from aiquant.schemas import Table

WRITER = "aiquant-writer"
"""Id of the application transaction that every commit of rows carries."""

_CONFIGURATION = {
    "delta.logRetentionDuration": "interval 36500 days",  # a run is reproduced from the version that it read
    "delta.deletedFileRetentionDuration": "interval 30 days",
}
STATISTICS = "delta.dataSkippingStatsColumns"
REPEATING = frozenset(
    {"symbol", "exchange", "source", "conditions", "interval", "period", "adjustment", "language", "kind", "publisher"}
    | {"log_partition"}
)
"""Columns worth a dictionary in a table that a log fills."""

_ROW_GROUP = 131_072


class _Table(DeltaTable):
    """A table whose file names can be opened: the engine percent-encodes the root in them (``My lake``, ``José``).

    Attributes
    ----------
    name
        The table's name.
    vault
        Seals and opens its protected text.
    """

    name: str
    vault: Vault

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
        latest = _handle(place, name)
    except TableNotFoundError:
        _demand_free(place, name)
        return None
    if version is None or version == latest.version():
        return latest
    if 0 <= version < latest.version():
        try:
            return _handle(place, name, version)
        except DeltaError as error:
            raise _no_version(latest, place, name, version) from error
    raise _no_version(latest, place, name, version)


def _handle(place: str, name: str, version: int | None = None) -> _Table:
    handle = _Table(place, version=version, storage_options=places.options_of(place))
    handle.name, handle.vault = name, places.vault_of(place)
    return handle


def _demand_free(place: str, name: str) -> None:
    """Refuse a folder with files of someone else; a log without a commit is a creation that was cut short."""
    if places.is_remote(place):
        return
    if os.path.isdir(place) and (found := sorted(os.listdir(place))) and "_delta_log" not in found:
        raise DataError(f"the folder {place} holds {found[0]} but no Delta table {name}", "move its files elsewhere")


def demand_files(handle: DeltaTable, place: str, name: str) -> None:
    """Refuse a version whose files are not there as its log describes them.

    Raises
    ------
    DataError
        When a file is gone (vacuumed, if the version is an old one) or was cut off.
    """
    if places.is_remote(place) and handle.version() == _handle(place, name).version():
        return  # a look at each object costs more than a read that fails: its error names the object
    gone, cut = damage(handle, place)
    if gone and handle.version() != (latest := _handle(place, name)).version():
        raise _no_version(latest, place, name, handle.version())
    if gone or cut:
        raise DataError(
            f"table {name} at {place}: the data file {(gone or cut)[0]} "
            f"{'is gone' if gone else 'was cut off or changed'}",
            "restore it from a copy, or remove the table's folder and write it anew",
        )


def _no_version(latest: DeltaTable, place: str, name: str, version: int) -> DataError:
    oldest = commits.oldest_readable(place)
    return DataError(
        f"table {name} at {place} has no readable version {version}",
        f"versions {oldest} to {latest.version()} can be read",
    )


def active(handle: DeltaTable) -> dict[str, int]:
    """Size in bytes of each data file of the handle's version, by its path below the table."""
    actions = pa.table(handle.get_add_actions(flatten=True))
    paths, sizes = actions["path"].to_pylist(), actions["size_bytes"].to_pylist()
    return {unquote(path): size for path, size in zip(paths, sizes, strict=True)}


def damage(handle: DeltaTable, place: str) -> tuple[list[str], list[str]]:
    """Files of the version that are gone, and files of another size than the log says."""
    there: dict[str, int | None] = {}
    if places.is_remote(place):
        there = {file.path: file.size for file in places.files(place)}
    gone, cut = [], []
    for path, size in active(handle).items():
        found = there.get(path) if places.is_remote(place) else _size(place, path)
        if found is None:
            gone.append(os.path.join(place, path))
        elif found != size:
            cut.append(os.path.join(place, path))
    return gone, cut


def _size(place: str, path: str) -> int | None:
    try:
        return os.stat(os.path.join(place, path)).st_size
    except FileNotFoundError:
        return None


def create(place: str, table: Table, schema: pa.Schema) -> DeltaTable:
    """Create the table, or open it where another process was faster."""
    try:
        DeltaTable.create(
            place,
            schema,
            mode="error",
            name=table.name,
            partition_by=list(table.partition) or None,
            configuration=configuration(table),
            storage_options=places.options_of(place),
        )
    except DeltaError:
        if open_table(place, table.name) is None:
            raise
    return _handle(place, table.name)


def prepare(place: str) -> None:
    """Mark a folder as that of a table whose first commit is under way: cut short, it is taken for no one else's."""
    if not places.is_remote(place):
        os.makedirs(os.path.join(place, "_delta_log"), exist_ok=True)


def abandon(place: str) -> None:
    """Take back :func:`prepare`, where nothing came of it."""
    if not places.is_remote(place):
        with suppress(OSError):  # another process has begun something there
            os.rmdir(os.path.join(place, "_delta_log"))
            os.rmdir(place)


def configuration(table: Table) -> dict[str, str]:
    """Properties of a table. The log of one with personal columns keeps no least and greatest value of them."""
    hidden = sealing.personal(table.name)
    if not hidden:
        return dict(_CONFIGURATION)
    return {**_CONFIGURATION, STATISTICS: ",".join(n for n in table.schema.names if n not in hidden)}


def sealed(handle: DeltaTable, rows: pa.Table) -> pa.Table:
    """Rows as they are stored: protected text is encrypted where the settings say so."""
    name = getattr(handle, "name", "")
    for column in sealing.protected(name):
        if column in rows.column_names:
            values = pl.Series(column, rows[column])
            at, field = rows.schema.get_field_index(column), rows.schema.field(column)
            stored = getattr(handle, "vault").seal(values, name, column)
            if stored is not values:
                text = stored.to_arrow(compat_level=pl.CompatLevel.oldest())
                rows = rows.set_column(at, field, text.cast(field.type))
    return rows


def append(handle: DeltaTable, rows: pa.Table) -> None:
    """Add rows (and columns that are new) in one commit."""
    write_deltalake(
        handle,
        sealed(handle, rows),
        mode="append",
        schema_mode="merge",
        writer_properties=writer_properties(rows.schema),
        commit_properties=_transaction(handle),
    )


def overwrite(handle: DeltaTable, rows: pa.Table, predicate: str | None) -> None:
    """Put ``rows`` in the place of all rows for which ``predicate`` (SQL) holds, or of the whole table, at once."""
    write_deltalake(
        handle,
        sealed(handle, rows),
        mode="overwrite",
        schema_mode="merge" if predicate is not None else "overwrite",
        predicate=predicate,
        writer_properties=writer_properties(rows.schema),
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
        sealed(handle, rows),
        same_key + pruning,
        source_alias="source",
        target_alias="target",
        merge_schema=True,
        writer_properties=writer_properties(rows.schema),
        commit_properties=_transaction(handle),
    )
    merger.when_matched_update_all().when_not_matched_insert_all().execute()


def delete(handle: DeltaTable, predicate: str) -> int:
    """Take the rows for which ``predicate`` (SQL) holds out of the table, in one commit; how many they were."""
    return int(handle.delete(predicate, commit_properties=_transaction(handle))["num_deleted_rows"])


def hide_statistics(handle: DeltaTable, table: Table) -> None:
    """Keep values of personal columns out of the log from now on, where a table from before lets them in."""
    told = configuration(table)
    if STATISTICS in told and STATISTICS not in handle.metadata().configuration:
        handle.alter.set_table_properties({STATISTICS: told[STATISTICS]})


def scan(handle: DeltaTable) -> pl.LazyFrame:
    """The table at the handle's version, with filters and projections pushed down to files and row groups.

    Sealed text is opened as it is read; :class:`~aiquant.lake.sealing.Sealed` is raised where the key is not there.
    """
    rows, name = stored(handle), getattr(handle, "name", "")
    if not (columns := sealing.protected(name)):
        return rows
    there = rows.collect_schema().names()
    vault: Vault = getattr(handle, "vault")
    return rows.with_columns(
        pl.col(column).map_batches(partial(_open, vault, name, column), return_dtype=pl.String, is_elementwise=True)
        for column in columns
        if column in there
    )


def stored(handle: DeltaTable) -> pl.LazyFrame:
    """As :func:`scan`, sealed text left as it lies."""
    return pl.scan_delta(handle)


def _open(vault: Vault, table: str, column: str, values: pl.Series) -> pl.Series:
    return vault.open(values, table, column)


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
    return CommitProperties(custom_metadata=signature(), app_transactions=[Transaction(WRITER, handle.version() + 1)])


def signature() -> dict[str, str]:
    """Who commits, and by which command: shown by ``aiquant lake history``."""
    return {"userName": access.who(), "verb": access.verb()}


def writer_properties(schema: pa.Schema) -> WriterProperties:
    """Dictionaries for columns whose values repeat: quicker to write, and smaller.

    Floating-point columns seldom do; in a table that a log fills, neither do times, numbers and ids.
    """
    if "log_offset" in schema.names:
        repeating = [name for name in schema.names if name in REPEATING]
    else:
        repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
    return WriterProperties(
        compression="ZSTD",
        compression_level=3,
        max_row_group_size=_ROW_GROUP,
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties={name: ColumnProperties(dictionary_enabled=True) for name in repeating},
    )
