"""Arrow tables to and from files that a user names: the ending says the form."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError, MissingError, Unreachable, UsageError


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
    writer = writer_of(path)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            writer(rows, half)
            os.replace(half, path)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        raise Unreachable(
            f"{path}: cannot be written: {error.strerror or error}", "make room, or name another folder"
        ) from error


def writer_of(path: Path) -> Callable[[pa.Table, Path], None]:
    """What writes the form that the ending says; asked before long work as well, so that it is not done in vain.

    Raises
    ------
    UsageError
        When the ending is none of those of :func:`write`.
    """
    writer = _writers().get(path.suffix.lower())
    if writer is None:
        raise UsageError(f"{path}: the ending {path.suffix!r} is not known", "use .parquet, .csv or .arrow")
    return writer


def _writers() -> dict[str, Callable[[pa.Table, Path], None]]:
    def parquet(rows: pa.Table, path: Path) -> None:
        import pyarrow.parquet as pq

        pq.write_table(rows, path, compression="zstd")

    def csv(rows: pa.Table, path: Path) -> None:
        import pyarrow.csv as pacsv

        pacsv.write_csv(rows, path)

    def arrow(rows: pa.Table, path: Path) -> None:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as stream:
            stream.write_table(rows)

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
