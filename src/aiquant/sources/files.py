"""Bars and reference data from files: CSV (also compressed), Parquet, Arrow, Feather, and folders of them.

Reading has two steps, so that a file of any size needs a bounded amount of memory and duplicates are found wherever
they stand: every row is parsed and judged once and put aside (:mod:`aiquant.sources.spool`) together with a digest of
its key; when all files were seen, the rows are given out in batches.

**Duplicates.** Rows with the same symbol and time and the same values are one row; the others are counted. Rows with
the same symbol and time and *other* values contradict one another. A file does not say which of them is right, and a
guess (the first? the last?) would put a price into the lake that may never have been; so none is kept, all become dead
letters that name one another. A correction has a place of its own: ingest the corrected file after the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from aiquant import deadletters
from aiquant.errors import DataError, UsageError
from aiquant.schemas import BARS, DEAD_LETTERS, conform
from aiquant.settings import DataSettings
from aiquant.sources import stamps
from aiquant.sources.bar_rows import SOURCE, VALUES, BarFile, Counts
from aiquant.sources.base import Batch, Layout
from aiquant.sources.opening import files_of
from aiquant.sources.reference import read_actions, read_classification, read_universe
from aiquant.sources.spool import Spool
from aiquant.sources.stamps import Stamper
from aiquant.sources.terms import read_instruments, read_rates
from aiquant.sources.weights import read_orders, read_weights

__all__ = [
    "BATCH_ROWS",
    "FilesSource",
    "read_actions",
    "read_bars",
    "read_classification",
    "read_instruments",
    "read_orders",
    "read_rates",
    "read_universe",
    "read_weights",
]

BATCH_ROWS = 250_000
"""Rows of a batch, about 50 MB."""

_KEY = ("symbol", "event_time")


def read_bars(
    path: Path | str,
    data: DataSettings,
    columns: Mapping[str, str] | None = None,
    layout: Layout | None = None,
    strict: bool = False,
) -> Iterator[Batch]:
    """Bars of a file, or of all readable files of a folder (which are one input: duplicates are found across them).

    Parameters
    ----------
    path
        ``.csv``, ``.tsv``, ``.txt`` (also ``.gz``, ``.bz2``, ``.zst``), ``.parquet``, ``.arrow``, ``.feather``, or a
        folder.
    data
        Calendar, interval, adjustment, and the zone of times without one. See :mod:`aiquant.sources.stamps` for how
        dates and times become sessions and closes.
    columns
        Our name → the file's name, ``{"close": "px_last"}``, for what is not recognised by its name.
    layout
        ``long`` (one row for a symbol and a time) or ``wide`` (one column of closes for each symbol); None finds out.
    strict
        Refuse everything at the first bad row, before any row is given out.

    Yields
    ------
    Batch
        At least one. ``rows`` in the schema ``bars``, at most :data:`BATCH_ROWS`; letters name file and line
        (``prices.csv:17``; rows of Parquet and Arrow files count from 1); notes come with the first batch.

    Raises
    ------
    MissingError
        When there is nothing at ``path`` or it may not be read.
    DataError
        When a file is not what its suffix says, is empty, lacks a column, holds bars of another length than
        ``data.interval``, has only times without a zone, or (``strict``) has a bad row.
    SettingsError
        When the calendar or the time zone of ``data`` does not exist.
    """
    path = Path(path)
    stamper = Stamper(data, stamps.now())
    files = [BarFile(file, place, stamper, columns, layout) for file, place in files_of(path)]
    places = [file.place for file in files]
    with Spool() as rows, Spool() as letters:
        digests = _put_aside(files, rows, letters, strict)
        _refuse_hopeless(path.name, [file.counts for file in files], data)
        notes = [note for file in files for note in (*file.counts.notes, *_assumptions(file.place, file.counts, data))]
        left_out = sum(file.counts.left_out.total() for file in files)
        repeated = _repeated(digests)
        yield from _batches(rows, letters, repeated, places, data, strict, (tuple(notes), left_out))


def _put_aside(files: list[BarFile], rows: Spool, letters: Spool, strict: bool) -> list[NDArray[np.uint64]]:
    """Judge every row of every file; the digests of the keys of the good ones, 8 bytes a row, stay in memory."""
    digests = []
    for number, file in enumerate(files):
        for judged in file.judged():
            if strict and judged.letters.num_rows:
                raise DataError(file.counts.worst, "correct the row, or read without strict to set such rows aside")
            letters.write(pl.DataFrame(judged.letters))
            if len(judged.good):
                rows.write(judged.good.with_columns(file=pl.lit(number, dtype=pl.UInt32)))
                digests.append(judged.good.select(_KEY).hash_rows().to_numpy())
    return digests


def _repeated(digests: list[NDArray[np.uint64]]) -> pl.Series:
    """Digests that more than one row has."""
    if not digests:
        return pl.Series("digest", [], dtype=pl.UInt64)
    each = np.concatenate(digests)
    digests.clear()
    each.sort()
    return pl.Series("digest", np.unique(each[1:][each[1:] == each[:-1]]), dtype=pl.UInt64)


def _batches(
    rows: Spool,
    letters: Spool,
    repeated: pl.Series,
    places: list[str],
    data: DataSettings,
    strict: bool,
    told: tuple[tuple[str, ...], int],
) -> Iterator[Batch]:
    suspects: list[pl.DataFrame] = []
    notes, left_out = told
    kept, duplicates, clashes = [], 0, deadletters.collect([])
    if len(repeated):
        # Contradictions are settled first: a strict reader must hear of them before any row is given out.
        suspects = [f.filter(f.select(_KEY).hash_rows().is_in(repeated.implode())) for f in rows.frames()]
        agreed, duplicates, clashes = _settled(pl.concat(suspects), places)
        kept = [agreed]
        if strict and clashes.num_rows:
            first = clashes.slice(0, 1).to_pylist()[0]
            raise DataError(f"{first['place']}: {first['reason']}", "keep the row that is right")
    if duplicates:
        notes = (*notes, f"{duplicates} rows that said the same twice were collapsed")
    single = (
        f.filter(~f.select(_KEY).hash_rows().is_in(repeated.implode())) if len(repeated) else f for f in rows.frames()
    )
    pending: list[pl.DataFrame] = kept
    waiting = _letters(letters, clashes)
    first = True
    for frame in single:
        pending.append(frame)
        if sum(len(f) for f in pending) >= BATCH_ROWS:
            yield Batch(
                _as_bars(pending, data), next(waiting, _none()), *((notes, duplicates, left_out) if first else ())
            )
            pending, first = [], False
    yield Batch(_as_bars(pending, data), next(waiting, _none()), *((notes, duplicates, left_out) if first else ()))
    for more in waiting:
        yield Batch(_as_bars([], data), more)


def _settled(suspects: pl.DataFrame, places: list[str]) -> tuple[pl.DataFrame, int, pa.Table]:
    """Rows to keep, how many said the same, and letters of those that contradict one another."""
    place = (
        pl.col("file").replace_strict(dict(enumerate(places)), return_dtype=pl.String)
        + ":"
        + pl.col("row").cast(pl.String)
    )
    told = suspects.sort("file", "row").with_columns(
        place=place, versions=pl.struct(VALUES).n_unique().over(_KEY), nth=pl.int_range(pl.len()).over(_KEY)
    )
    agreed = told.filter((pl.col("versions") == 1) & (pl.col("nth") == 0)).select(suspects.columns)
    clash = told.filter(pl.col("versions") > 1)
    duplicates = len(told) - len(agreed) - len(clash)
    if clash.is_empty():
        return agreed, duplicates, deadletters.collect([])
    other = (
        pl.when(pl.col("nth") == 0).then(pl.col("place").get(1, null_on_oob=True)).otherwise(pl.col("place").first())
    )
    reason = pl.format("contradicts {}: the same symbol and time with other values", other.over(_KEY))
    rows = clash.with_columns(reason=reason).select("place", "reason", *_KEY, "date", *VALUES)
    return agreed, duplicates, deadletters.from_frame(rows, BARS, SOURCE)


def _letters(spool: Spool, clashes: pa.Table) -> Iterator[pa.Table]:
    """All letters, in tables of at most :data:`BATCH_ROWS`."""
    waiting = [clashes] if clashes.num_rows else []
    for frame in spool.frames():
        waiting.append(frame.to_arrow().cast(DEAD_LETTERS.schema))
        if sum(table.num_rows for table in waiting) >= BATCH_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _none() -> pa.Table:
    return deadletters.collect([])


def _as_bars(frames: list[pl.DataFrame], data: DataSettings) -> pa.Table:
    if not frames or not sum(len(f) for f in frames):
        return BARS.schema.empty_table()
    daily = data.interval.endswith("d")
    full = pl.concat(frames).with_columns(
        interval=pl.lit(data.interval),
        period=(pl.col("date").dt.year() if daily else pl.col("date")).cast(pl.String),
        known_from=pl.col("event_time"),
        adjustment=pl.lit(data.adjustment),
        source=pl.lit(SOURCE),
    )
    return conform(full.drop("file", "row").to_arrow(), BARS)


def _refuse_hopeless(name: str, counts: list[Counts], data: DataSettings) -> None:
    rows = sum(c.rows for c in counts)
    left_out = sum((c.left_out for c in counts), start=type(counts[0].left_out)())
    if not rows and left_out:
        raise DataError(
            f"{name} holds bars of the interval(s) {', '.join(sorted(left_out))} only, setting data.interval is "
            f"{data.interval!r}",
            f"set data.interval to {min(left_out)}",
        )
    if not rows:
        raise DataError(f"{name} holds a header and no rows", "give a file with rows")
    ends = next((c for c in counts if c.edge and c.at_close and not c.at_open), None)
    if ends:
        raise DataError(
            f"{name}: its times ({ends.edge}) reach the close of a session and never its open, so they look like the "
            "end of each bar; the column does not say so, and would be read as the start",
            f"say which it is: --column event_time={ends.edge} (the end), or --column start={ends.edge}",
        )
    naive = next((c for c in counts if c.naive), None)
    if naive and not sum(c.zoned for c in counts) and not sum(c.good for c in counts):
        raise DataError(
            f"{name}: its times have no time zone (the first is {naive.first_naive!r})",
            "set data.time_zone to exchange, UTC or a name like Europe/Berlin",
        )


def _assumptions(place: str, counts: Counts, data: DataSettings) -> list[str]:
    notes = []
    if counts.no_session * 2 > counts.rows:
        notes.append(
            f"{place}: {counts.no_session} of {counts.rows} rows lie on no session of {data.calendar}: "
            "is data.calendar the exchange of these bars?"
        )
    if counts.naive:
        notes.append(f"{place}: {counts.naive} rows have times without a time zone: set data.time_zone to read them")
    if counts.edge and counts.good:
        notes.append(
            f"{place}: the times of {counts.edge} are read as the start of each bar, and {data.interval} is added; "
            f"if they are its end, say --column event_time={counts.edge}"
        )
    if counts.lifted:
        notes.append(f"{place}: {counts.lifted} times lay before the session's close and were moved to it")
    for interval, count in sorted(counts.left_out.items()):
        notes.append(f"{place}: {count} bars of the interval {interval} were left out")
    return notes


class FilesSource:
    """Files as a source: see :func:`read_bars`."""

    def bars(
        self,
        data: DataSettings,
        path: Path | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        layout: Layout | None = None,
        strict: bool = False,
    ) -> Iterator[Batch]:
        """The bars of ``path``."""
        if path is None:
            raise UsageError("the source files needs a path", "name a file or a folder")
        return read_bars(path, data, columns, layout, strict)
