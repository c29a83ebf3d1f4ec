"""Arrow tables to and from files that a user names: the ending says the form."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError, MissingError, Unreachable, UsageError

Open = Callable[[Path, pa.Schema], AbstractContextManager[Any]]
"""Opens a writer of tables of a schema: it has ``write_table`` and is closed at the end."""


def write(rows: pa.Table, path: Path) -> None:
    """Write ``rows`` to ``path``: ``.parquet``, ``.csv``, or ``.arrow`` (also ``.feather``, ``.ipc``).

    The file appears whole or not at all.

    Raises
    ------
    UsageError
        When the ending is none of these.
    Unreachable
        When the folder cannot be written, or the disk is full.
    """
    with stream(path, rows.schema) as put:
        put(rows)


@contextmanager
def stream(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """As :func:`write`, table by table: ``with stream(path, schema) as put: put(rows)``.

    The file appears when the block ends without an error.
    """
    opened = writer_of(path)
    text = path.suffix.lower() == ".csv"
    if text:
        schema = pa.schema([field.with_nullable(True) for field in schema])
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with opened(half, schema) as writer:
                yield lambda rows: writer.write_table(_as_text(rows.cast(schema)) if text else rows.cast(schema))
            os.replace(half, path)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        raise Unreachable(
            f"{path}: cannot be written: {error.strerror or error}", "make room, or name another folder"
        ) from error


def _as_text(rows: pa.Table) -> pa.Table:
    """What has no value is an empty cell in text, be it NaN or null."""
    import pyarrow.compute as pc

    for at, field in enumerate(rows.schema):
        if pa.types.is_floating(field.type) and pc.any(pc.is_nan(rows[at])).as_py():
            rows = rows.set_column(at, field, pc.if_else(pc.is_nan(rows[at]), None, rows[at]))
    return rows


def writer_of(path: Path) -> Open:
    """What writes the form that the ending says; asked before long work as well, so that it is not done in vain.

    Raises
    ------
    UsageError
        When the ending is none of those of :func:`write`.
    """
    opened = _writers().get(path.suffix.lower())
    if opened is None:
        raise UsageError(f"{path}: the ending {path.suffix!r} is not known", "use .parquet, .csv or .arrow")
    return opened


def _writers() -> dict[str, Open]:
    def parquet(path: Path, schema: pa.Schema) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetWriter(path, schema, compression="zstd")

    def csv(path: Path, schema: pa.Schema) -> Any:
        import pyarrow.csv as pacsv

        return pacsv.CSVWriter(str(path), schema)

    def arrow(path: Path, schema: pa.Schema) -> Any:
        return pa.ipc.new_file(str(path), schema)

    return {".parquet": parquet, ".csv": csv, ".arrow": arrow, ".feather": arrow, ".ipc": arrow}


def read(path: Path) -> pl.DataFrame:
    """Rows of a file: ``.parquet``, ``.csv``, or ``.arrow`` (also ``.feather``, ``.ipc``).

    In CSV a column ``symbol`` is text whatever it looks like, and times in ISO 8601 are times.

    Raises
    ------
    UsageError
        When the ending is none of these.
    MissingError
        When there is no such file.
    DataError
        When it does not hold what its ending says.
    """
    writer_of(path)
    if not path.is_file():
        raise MissingError(f"there is no file {path}", "correct its path")
    try:
        if path.suffix.lower() == ".csv":
            text = {"symbol": pl.String}
            return pl.read_csv(path, schema_overrides=text, try_parse_dates=True, infer_schema_length=None)
        return pl.read_parquet(path) if path.suffix.lower() == ".parquet" else pl.read_ipc(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not readable: {str(error).splitlines()[0]}", "write the file anew") from error
