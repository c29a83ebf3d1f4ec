"""SQL over the tables of the lake: DuckDB, in a box that reads these tables and nothing else.

A table ``bars`` is a view of the newest version of each key; ``bars_versions`` has all versions (tables with versions
only). Filters and projections reach the Parquet files through Arrow datasets, results stream, and what does not fit
into memory is spilled to a temporary folder. The engine's own ways to files, network, extensions and settings are shut.
"""

from __future__ import annotations

import difflib
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
from duckdb.func import FunctionNullHandling, PythonUDFType

from aiquant.errors import AiquantError, DataError, MissingError, RefusedError, Unreachable, UsageError
from aiquant.lake import sealing
from aiquant.lake.delta import quoted
from aiquant.lake.faults import first_line
from aiquant.lake.reading import same_in_all_versions
from aiquant.lake.sealing import PLACEHOLDER, PREFIX, Vault
from aiquant.schemas import Table

VERSIONS_SUFFIX = "_versions"
_STORED = "_stored"
_BATCH = 65_536
_READS_ONLY = "lake sql reads only; tables are written by: aiquant ingest, features build, train, backtest"


def names_in(query: str) -> frozenset[str] | None:
    """Names of the tables that a query reads; None when it cannot be told.

    Raises
    ------
    UsageError
        When the query is no SQL, or not one statement.
    RefusedError
        When it would do more than read.
    """
    with _told([]):
        statements = duckdb.extract_statements(query)
        if len(statements) != 1:
            raise UsageError(f"one SQL statement is needed, not {len(statements)}")
        reads = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
        if statements[0].type not in reads:
            raise RefusedError(f"a statement of the kind {statements[0].type.name} is not allowed", _READS_ONLY)
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as box:
        try:
            return frozenset(name.strip('"').lower() for name in box.get_table_names(query))
        except duckdb.Error:
            return None  # running it tells what is wrong


def run(
    query: str,
    tables: Iterable[tuple[str, pads.Dataset, Table | None]],
    names: list[str],
    memory_limit: str,
    vault: Vault | None = None,
) -> pa.RecordBatchReader:
    """Run a query over Arrow datasets and stream its result.

    Parameters
    ----------
    tables
        Name, rows and, where it is one of ours, the schema of each table that the query may read.
    names
        Names of all tables, to find the one that was meant.
    memory_limit
        Memory of the engine, for example ``1GB``; what is more is spilled to disk.
    vault
        Opens sealed text; without it such text reads ``[encrypted]``.

    Raises
    ------
    UsageError
        When the query is wrong; MissingError when it names a table that is not there; RefusedError when it would reach
        beyond the lake.
    """
    with _told(names):
        box = _box(memory_limit)
        for name, rows, table in tables:
            _offer(box, name, rows, table, vault)
        box.execute("SET lock_configuration = true")
        result = box.sql(query)
        if result is None:
            raise UsageError("the query gives no result")
        reader = result.to_arrow_reader(_BATCH)
    return pa.RecordBatchReader.from_batches(reader.schema, _stream(box, reader, names))


def _stream(box: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader, names: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with _told(names):
            yield from reader
    finally:
        box.close()


def _box(memory_limit: str) -> duckdb.DuckDBPyConnection:
    box = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory_limit,
            # made by the engine when it first spills, removed by it when the connection closes
            "temp_directory": os.path.join(tempfile.gettempdir(), f"aiquant-sql-{uuid.uuid4().hex}"),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
        },
    )
    box.execute("SET TimeZone = 'UTC'")
    box.execute("SET enable_progress_bar = false")
    box.execute("SET enable_external_access = false")
    return box


def _offer(
    box: duckdb.DuckDBPyConnection, name: str, rows: pads.Dataset, table: Table | None, vault: Vault | None
) -> None:
    versioned = table is not None and table.versioned
    shown = name + VERSIONS_SUFFIX if versioned else name
    if columns := [column for column in sealing.protected(name) if column in rows.schema.names]:
        box.register(shown + _STORED, rows)
        opened = ", ".join(f"{_opening(box, name, column, vault)} AS {quoted(column)}" for column in columns)
        box.execute(f"CREATE TEMP VIEW {quoted(shown)} AS SELECT * REPLACE ({opened}) FROM {quoted(shown + _STORED)}")
    else:
        box.register(shown, rows)
    if table is None or not versioned:
        return
    # All columns that the versions of a key share stand in PARTITION BY, so that filters on them pass the window.
    shared = ", ".join(quoted(column) for column in same_in_all_versions(table))
    box.execute(
        f"CREATE TEMP VIEW {quoted(name)} AS SELECT * FROM {quoted(shown)} "
        f"QUALIFY row_number() OVER (PARTITION BY {shared} ORDER BY known_from DESC) = 1"
    )


def _opening(box: duckdb.DuckDBPyConnection, table: str, column: str, vault: Vault | None) -> str:
    """The expression that shows a protected column: opened, or a placeholder for what is sealed."""
    if vault is None:
        return f"CASE WHEN starts_with({quoted(column)}, '{PREFIX}') THEN '{PLACEHOLDER}' ELSE {quoted(column)} END"
    keys = vault

    def opened(values: pa.ChunkedArray) -> pa.Array:
        plain = keys.open(pl.Series(column, values), table, column)
        return plain.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())

    function = f"opened_{table}_{column}"
    box.create_function(
        function,
        opened,
        ["VARCHAR"],
        "VARCHAR",
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )
    return f"{function}({quoted(column)})"


@contextmanager
def _told(names: list[str]) -> Iterator[None]:
    try:
        yield
    except AiquantError:
        raise
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise _explain(error, names) from error


def _explain(error: Exception, names: list[str]) -> AiquantError:
    text = first_line(error).split(": ", 1)[-1]
    if isinstance(error, duckdb.PermissionException) or "configuration has been locked" in str(error):
        return RefusedError("a query may read the tables of the lake and nothing else", _READS_ONLY)
    if isinstance(error, duckdb.OutOfMemoryException):
        return Unreachable(f"the query needs more memory or temporary disk than there is: {text}", "narrow it down")
    if isinstance(error, duckdb.CatalogException) and text.startswith("Table with name "):
        wanted = text.removeprefix("Table with name ").split(" does not exist")[0]
        close = difflib.get_close_matches(wanted.lower(), names, n=1)
        there = f"tables: {', '.join(names)}" if names else "the lake is empty: start with aiquant ingest bars"
        return MissingError(f"there is no table {wanted}", f"did you mean {close[0]}?" if close else there)
    unreadable = text.startswith("reading the stream registered as")
    if unreadable or isinstance(error, duckdb.IOException | FileNotFoundError | pa.ArrowException | OSError):
        return DataError(f"a table's file cannot be read: {text}", "see which tables are sound with: aiquant lake ls")
    hint = next((line.strip() for line in str(error).splitlines()[1:] if line.startswith("Candidate")), "")
    return UsageError(f"the query is wrong: {text}", hint or "the dialect is DuckDB's: https://duckdb.org/docs/sql")
