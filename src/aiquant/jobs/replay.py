"""Recorded rows → Kafka, at the pace at which they happened, at a multiple of it, or as fast as can be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import chain, islice
from pathlib import Path

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import DataError, MissingError, UsageError
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

_SLICE = 10_000
_STEP = 0.1
"""Seconds of the wall clock that are sent together."""


@dataclass
class Replayed:
    """What a replay sent."""

    table: str
    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None
    seconds: float = 0.0


def replay(
    workspace: Workspace,
    journal: Journal,
    table: str,
    path: Path | None = None,
    speed: float | None = 1.0,
    first: date | None = None,
    last: date | None = None,
    stop: threading.Event | None = None,
) -> Replayed:
    """Send rows of a lake table, or of a file, to the topic of ``table`` in the order of their event times.

    Event times and ``known_from`` are kept; ``ingest_time`` is the present, as for rows that come from a vendor.

    Parameters
    ----------
    path
        A Parquet or Arrow file with the columns of the table, or for bars whatever ``ingest bars`` reads; default: the
        lake's table.
    speed
        Recorded seconds a second; None: as fast as Kafka takes them.
    first, last
        Dates, both included.

    Raises
    ------
    UsageError, DataError, MissingError
        When the rows cannot be read, or Kafka refuses.
    """
    from aiquant.streams import envelope
    from aiquant.streams.producer import Producer

    if speed is not None and not speed > 0:
        raise UsageError(f"--speed {speed}: not above zero", "use 1, a multiple as 60, or max")
    spec = envelope.table_of(table)
    stop = stop or threading.Event()
    done = Replayed(table)
    begun = time.perf_counter()
    with journal.station(f"replay {table}") as station:
        parts = _of_file(workspace, spec, path, first, last) if path else _of_lake(workspace, spec, first, last)
        begin = list(islice(parts, 1))  # what cannot be read is told before any broker is asked
        producer = Producer(workspace.settings.stream, journal.note)
        pace = _Pace(speed, stop)
        try:
            for rows in chain(begin, parts):
                for part in pace.slices(rows):
                    producer.send(table, _received_now(part))
                    done.rows += len(part)
                    done.first = done.first or part["event_time"][0]
                    done.last = part["event_time"][-1]
                    journal.progress(station.name)(done.rows, None)
                if stop.is_set():
                    break
        finally:
            station.rows, done.seconds = done.rows, time.perf_counter() - begun
            producer.close()
    return done


class _Pace:
    """Slices of rows, each given when its time has come."""

    def __init__(self, speed: float | None, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._speed, self._stop, self._clock = speed, stop, clock
        self._start: tuple[float, int] | None = None

    def slices(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        if self._speed is None:
            for part in rows.iter_slices(_SLICE):
                if self._stop.is_set():
                    return
                yield part
            return
        times = rows["event_time"].cast(pl.Int64)
        at = 0
        while at < len(rows) and not self._stop.is_set():
            if self._start is None:
                self._start = (self._clock(), int(times[at]))
            began, origin = self._start
            due = (int(times[at]) - origin) / 1e6 / self._speed - (self._clock() - began)
            if due > 0 and self._stop.wait(due):
                return
            until = origin + int((self._clock() - began + _STEP) * self._speed * 1e6)
            end = max(at + 1, min(int(times.search_sorted(until, side="right")), at + _SLICE))
            yield rows.slice(at, end - at)
            at = end


def _of_lake(
    workspace: Workspace, spec: schemas.Table, first: date | None, last: date | None
) -> Iterator[pl.DataFrame]:
    lake = workspace.lake
    days = lake.scan(spec, ["date"], ordered=False).unique().collect()["date"].drop_nulls().sort()
    for day in days:
        if (first is None or day >= first) and (last is None or day <= last):
            yield _ordered(pl.DataFrame(pl.from_arrow(lake.read(spec, where={"date": day}))))


def _of_file(
    workspace: Workspace, spec: schemas.Table, path: Path, first: date | None, last: date | None
) -> Iterator[pl.DataFrame]:
    if not path.exists():
        raise MissingError(f"{path}: no such file", "correct --path")
    rows = _table(path)
    if rows is not None and {f.name for f in spec.schema if not f.nullable} <= set(rows.column_names):
        told = schemas.conform(rows.select([n for n in rows.column_names if n in spec.schema.names]), spec)
        yield _within(_ordered(pl.DataFrame(pl.from_arrow(told))), first, last)
        return
    if spec.name != "bars":
        raise DataError(
            f"{path}: not a file with the columns of table {spec.name}",
            f"needed: {', '.join(f.name for f in spec.schema if not f.nullable)}",
        )
    from aiquant.sources import files

    batches = files.read_bars(path, workspace.settings.data)
    told = pa.concat_tables([schemas.BARS.schema.empty_table(), *(batch.rows for batch in batches)])
    yield _within(_ordered(pl.DataFrame(pl.from_arrow(told))), first, last)


def _table(path: Path) -> pa.Table | None:
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        if path.suffix in (".arrow", ".feather", ".ipc"):
            return feather.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return None


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("event_time", maintain_order=True)


def _within(rows: pl.DataFrame, first: date | None, last: date | None) -> pl.DataFrame:
    rows = rows if first is None else rows.filter(pl.col("date") >= first)
    return rows if last is None else rows.filter(pl.col("date") <= last)


def _received_now(rows: pl.DataFrame) -> pa.Table:
    if "ingest_time" in rows.columns:
        rows = rows.with_columns(pl.lit(datetime.now(UTC)).cast(rows.schema["ingest_time"]).alias("ingest_time"))
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())
