"""Frames put aside until the whole input was seen: in memory while they are few, in a temporary file beyond."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Self

import polars as pl
import pyarrow as pa
import pyarrow.ipc

from aiquant.errors import Unreachable

MEMORY_BYTES = 32 << 20


class Spool:
    """Frames of one schema: written once, then read in the order in which they were written.

    The temporary file lies where the environment variable TMPDIR says, and is gone when the spool is closed.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 (closed by __exit__)
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._options = pa.ipc.IpcWriteOptions(compression="lz4")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, frame: pl.DataFrame) -> None:
        """Put a frame behind the others."""
        if frame.is_empty():
            return
        table = frame.to_arrow()
        try:
            if self._writer is None:
                self._writer = pa.ipc.new_stream(self._file, table.schema, options=self._options)
            self._writer.write_table(table)
        except OSError as error:
            raise Unreachable(
                f"the folder for temporary files is full or cannot be written: {error}",
                "free space, or set the environment variable TMPDIR to a folder with room",
            ) from error

    def frames(self) -> Iterator[pl.DataFrame]:
        """All frames, in the order in which they came; nothing can be written afterwards."""
        if self._writer is None:
            return
        self._writer.close()
        self._file.seek(0)
        for batch in pa.ipc.open_stream(self._file):
            yield pl.DataFrame(pa.Table.from_batches([batch]))
