"""Parquet, Arrow IPC and Feather files, read in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from aiquant.errors import DataError
from aiquant.sources.delimited import Chunk

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc", ".arrows")
CELLS = 2_000_000
"""Values that a batch holds at most, whatever the number of columns."""


class Columnar:
    """A file of typed columns.

    Attributes
    ----------
    header
        The names of its columns.

    Raises
    ------
    DataError
        When it is not what its suffix says.
    """

    def __init__(self, path: Path, place: str) -> None:
        self._path, self._place = path, place
        self._parquet = path.suffix.lower() in PARQUET
        self.notes: tuple[str, ...] = ()
        try:
            with self._open() as file:
                self._schema = file.schema_arrow if self._parquet else file.schema
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            raise self._unreadable(error) from error
        self.header: list[str] = list(self._schema.names)

    def chunks(self, wanted: Mapping[str, int]) -> Iterator[Chunk]:
        """The columns ``wanted`` (our name → position) batch by batch; rows are numbered from 1."""
        names = [self.header[at] for at in wanted.values()]
        size = max(1, CELLS // max(1, len(names)))
        row = 1
        try:
            for batch in self._batches(names, size):
                frame = _frame(batch, wanted, self.header)
                yield Chunk(frame, pl.Series("row", range(row, row + len(frame)), dtype=pl.Int64))
                row += len(frame)
        except (pa.ArrowException, OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise self._unreadable(error) from error

    def _open(self) -> pa.parquet.ParquetFile | pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
        if self._parquet:
            return pa.parquet.ParquetFile(self._path)
        try:
            return pa.ipc.open_file(pa.memory_map(str(self._path)))
        except pa.ArrowInvalid:  # not the file format: the stream format, or nothing that we know
            return pa.ipc.open_stream(pa.memory_map(str(self._path)))

    def _batches(self, names: list[str], size: int) -> Iterator[pa.RecordBatch]:
        with self._open() as file:
            if self._parquet:
                yield from file.iter_batches(batch_size=size, columns=names)
                return
            whole = (
                (file.get_batch(i) for i in range(file.num_record_batches))
                if isinstance(file, pa.ipc.RecordBatchFileReader)
                else iter(file)
            )
            for batch in whole:
                for start in range(0, batch.num_rows, size):
                    yield batch.slice(start, size)

    def _unreadable(self, error: Exception) -> DataError:
        kind = "Parquet" if self._parquet else "Arrow"
        return DataError(
            f"{self._place} cannot be read as {kind}: {' '.join(str(error).split())[:160]}",
            "repair it, export it again, or give it the suffix of what it is",
        )


def _frame(batch: pa.RecordBatch, wanted: Mapping[str, int], header: list[str]) -> pl.DataFrame:
    columns = {}
    for ours, at in wanted.items():
        column = batch.column(batch.schema.get_field_index(header[at]))
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_timestamp(column.type) and column.type.tz not in (None, "UTC"):
            column = column.cast(pa.timestamp(column.type.unit, "UTC"))
        columns[ours] = column
    frame = pl.DataFrame(pa.table(columns))
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col(pl.Binary, pl.Categorical).cast(pl.String, strict=False))
