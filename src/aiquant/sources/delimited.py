"""Text files: CSV and its relatives, also compressed, read in blocks of bounded size with every value as text."""

from __future__ import annotations

import codecs
import csv
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv

from aiquant.errors import DataError

SUFFIXES = (".csv", ".tsv", ".txt")
COMPRESSED = (".gz", ".bz2", ".zst")
BLOCK_BYTES = 4 << 20
_HEAD_BYTES = 1 << 18
_PATIENCE_S = 1.0  # for a thread of the library to let go of a file that was read
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file.

    Attributes
    ----------
    frame
        The wanted columns under our names, as the file has them.
    numbers
        Int64: the line of each row (text files, the header counts) or its number from 1 (Parquet, Arrow).
    ragged
        Rows that do not have the header's number of values: line, text, values.
    """

    frame: pl.DataFrame
    numbers: pl.Series
    ragged: tuple[tuple[int, str, int], ...] = ()


class Delimited:
    """A text file with a header.

    Attributes
    ----------
    header
        The names of its columns as they stand there.
    notes
        What was assumed about the file.

    Raises
    ------
    DataError
        When the file is empty, is not text, or cannot be read.
    """

    def __init__(self, path: Path, place: str) -> None:
        self._path, self._place = path, place
        head = self._head()
        if not head.strip():
            raise DataError(f"{place} is empty", "give a file with a header and rows")
        self._encoding, text, note = _decoded(head, place)
        lines = text.splitlines()
        blank = next((i for i, line in enumerate(lines) if line.strip("\ufeff \t\r")), len(lines))
        if blank == len(lines):
            raise DataError(f"{place} is empty", "give a file with a header and rows")
        first = lines[blank].lstrip("\ufeff")
        self._header_line = blank + 1
        self._delimiter = max(",;\t|", key=first.count)
        self.header = [name.strip() for name in next(csv.reader([first], delimiter=self._delimiter))]
        self.notes = (note,) if note else ()

    def chunks(self, wanted: Mapping[str, int]) -> Iterator[Chunk]:
        """The columns ``wanted`` (our name → position) block by block; rows that are wholly empty are left out."""
        ragged: list[tuple[int, str, int]] = []
        bad_lines: list[int] = []

        def on_ragged(row: pa.csv.InvalidRow) -> str:
            ragged.append((row.number, row.text, row.actual_columns))
            bad_lines.append(row.number)
            return "skip"

        self._refuse_open_quote()
        names = [f"c{at}" for at in range(len(self.header))]
        line = self._header_line + 1
        try:
            for batch in self._batches(names, wanted, on_ragged):
                taken = _lines(line, batch.num_rows, bad_lines)
                line = taken[-1] + 1 if taken else line
                frame = pl.DataFrame(pa.Table.from_batches([batch]))
                frame = frame.select(pl.col(f"c{at}").alias(ours) for ours, at in wanted.items())
                numbers = pl.Series("row", taken, dtype=pl.Int64)
                full = frame.select(pl.any_horizontal(pl.all().str.strip_chars() != "")).to_series()
                yield Chunk(frame.filter(full), numbers.filter(full), _taken(ragged))
        except (pa.ArrowInvalid, OSError, EOFError, UnicodeError) as error:
            raise DataError(f"{self._place} cannot be read: {_short(error)}", "repair it or export it again") from error
        if ragged:  # all rows of the last block, or of the file, are ragged
            empty = pl.DataFrame(schema={ours: pl.String for ours in wanted})
            yield Chunk(empty, pl.Series("row", [], dtype=pl.Int64), _taken(ragged))

    def _batches(
        self, names: list[str], wanted: Mapping[str, int], on_ragged: Callable[[pa.csv.InvalidRow], str]
    ) -> Iterator[pa.RecordBatch]:
        """The blocks of the file; when it ends, no thread of the library holds a Python object any more.

        The thread that reads ahead may drop the last reference to the handler a moment after the last block. Were
        Python shutting down by then, the process would be aborted.
        """

        def handler(row: pa.csv.InvalidRow) -> str:
            return on_ragged(row)

        dropped = threading.Event()
        watch = weakref.ref(handler, lambda _: dropped.set())
        reader = None
        try:
            with self._stream() as stream, self._reader(stream, names, wanted, handler) as reader:
                yield from reader
        finally:
            del handler, reader
            if watch() is not None:
                dropped.wait(_PATIENCE_S)

    def _refuse_open_quote(self) -> None:
        """A quotation mark that is never closed would swallow all rows behind it without a trace."""
        if self._encoding == "utf-16":
            return
        marks = lines = last = 0
        try:
            with self._stream() as stream:
                while block := bytes(stream.read(BLOCK_BYTES)):
                    if count := block.count(b'"'):
                        marks += count
                        last = lines + block.count(b"\n", 0, block.rfind(b'"')) + 1
                    lines += block.count(b"\n")
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise DataError(f"{self._place} cannot be read: {_short(error)}", "repair or export it again") from error
        if marks % 2:
            raise DataError(
                f"{self._place}: a quotation mark is opened and never closed (the last one is in line {last})",
                "close or remove it",
            )

    def _head(self) -> bytes:
        try:
            with self._stream() as stream:
                return bytes(stream.read(_HEAD_BYTES))
        except (OSError, EOFError, pa.ArrowInvalid) as error:
            raise DataError(f"{self._place} cannot be read: {_short(error)}", "repair it or its permissions") from error

    def _stream(self) -> pa.NativeFile:
        return pa.input_stream(str(self._path), compression="detect")

    def _reader(
        self, stream: pa.NativeFile, names: list[str], wanted: Mapping[str, int], on_ragged: object
    ) -> pa.csv.CSVStreamingReader:
        return pa.csv.open_csv(
            stream,
            # one thread: only then is the line of a ragged row known
            pa.csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=names,
                skip_rows=self._header_line,
                encoding=self._encoding,
            ),
            pa.csv.ParseOptions(
                delimiter=self._delimiter,
                ignore_empty_lines=False,
                newlines_in_values=True,
                invalid_row_handler=on_ragged,
            ),
            pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                include_columns=[f"c{at}" for at in sorted(set(wanted.values()))],
                strings_can_be_null=False,
            ),
        )


def _decoded(head: bytes, place: str) -> tuple[str, str, str]:
    """Encoding, text of the head, and a note."""
    if head.startswith(_UTF16):
        try:
            return "utf-16", codecs.getincrementaldecoder("utf-16")().decode(head), ""
        except UnicodeDecodeError as error:
            raise DataError(f"{place} is not text in UTF-16: {error.reason}", "save it as UTF-8") from error
    if b"\x00" in head:
        raise DataError(f"{place} is not a text file", "save it as CSV in UTF-8, or as Parquet with its suffix")
    try:
        return "utf8", codecs.getincrementaldecoder("utf-8-sig")().decode(head), ""
    except UnicodeDecodeError:
        return "latin-1", head.decode("latin-1"), f"{place} is not UTF-8: read as Latin-1"


def _lines(first: int, count: int, bad: list[int]) -> list[int]:
    """The lines of the next ``count`` rows from ``first`` on, when those in ``bad`` were skipped."""
    skipped = {line for line in bad if line >= first}
    if not skipped:
        return list(range(first, first + count))
    lines: list[int] = []
    line = first
    while len(lines) < count:
        if line not in skipped:
            lines.append(line)
        line += 1
    bad[:] = [b for b in skipped if b >= line]
    return lines


def _taken(ragged: list[tuple[int, str, int]]) -> tuple[tuple[int, str, int], ...]:
    # A blank line is one empty value; only text makes a ragged row.
    taken = tuple(r for r in ragged if r[1].strip())
    ragged.clear()
    return taken


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
