"""Rows of a log go into a table effectively once: the rows and how far the log was read are one commit.

For every topic and partition the table carries an application transaction
``aiquant-ingest:<reader>:<topic>:<partition>`` whose version is the next offset to read. A start reads the positions
from the table, never from the log's own bookkeeping, so that a process which dies at any moment goes on exactly where
the last commit ended.

A commit is refused when another one took place since the handle was read:

- Each commit also carries the transaction of all writers (:data:`aiquant.lake.delta.WRITER`) through the very handle
  that was read, so the engine refuses ours after any rival's. We read again and compare.
- If the positions are still ours, the rival wrote other rows (another partition's reader, a back-fill): the batch is
  compared with what is stored by now and tried again.
- If they are not, someone else reads our partitions: :class:`Fenced`. The batch has to be thrown away.

Rows are unique by the table's key besides, whoever wrote them: a message that was produced twice is stored once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl
import pyarrow as pa
from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from aiquant import deadletters
from aiquant.errors import AiquantError, DataError, Unreachable
from aiquant.lake import changes, delta, faults, panics, reading
from aiquant.lake.keys import KeyIndex
from aiquant.lake.catalogue import resolve
from aiquant.lake.store import Lake
from aiquant.schemas import DEAD_LETTERS, Table, conform

Positions = Mapping[tuple[str, int], int]
"""Next offset to read by topic and partition."""

_LOG = ("log_partition", "log_offset")


class Fenced(AiquantError):
    """Another reader has committed partitions that we took for ours; the batch must be thrown away."""


@dataclass(frozen=True)
class Appended:
    """What a batch became.

    Attributes
    ----------
    version
        Delta version of the table afterwards.
    inserted
        Rows that are new (corrections in tables with versions included).
    duplicates
        Rows that were stored already, or stood in the batch twice.
    letters
        Dead letters that were stored, those for rows that contradict a stored one included.
    stored
        The rows that were stored.
    """

    version: int
    inserted: int
    duplicates: int
    letters: int
    stored: pa.Table


class Ledger:
    """One table's book of what was read from a log; one handle for the life of the object.

    Parameters
    ----------
    lake
        Where the tables are.
    table
        Name or schema of the table; it is made where it is not there.
    reader
        Name of the group that reads; another name reads the log from its beginning again (keys stay unique).

    Raises
    ------
    Unreachable, DataError
        As :class:`aiquant.lake.Lake`.
    """

    def __init__(self, lake: Lake, table: str | Table, reader: str = "aiquant") -> None:
        self.table = resolve(table)
        self.reader = reader
        self._lake = lake
        self._place = lake.place(self.table)
        self._known = KeyIndex(self.table)
        self._letters: _Letters | None = None
        self._handle = self._open()

    def positions(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Next offset of each topic and partition, by the handle's version of the table; 0 where none was read."""
        return {tp: self._handle.transaction_version(self._id(tp)) or 0 for tp in partitions}

    def reopen(self) -> None:
        """Look at the newest version of the table: at a start, after a rebalance, and after :class:`Fenced`."""
        self._handle = self._open()

    def append(self, rows: pa.Table, letters: pa.Table, begun: Positions, positions: Positions) -> Appended:
        """Store a batch and how far it goes.

        Dead letters are stored first, in their own table with positions of their own, then the rows and the positions
        in one commit. Whenever the process dies, reading again from :meth:`positions` neither loses nor doubles.

        Parameters
        ----------
        rows
            In the schema of the table.
        letters
            In the schema ``dead_letters``; ``place`` is ``topic/partition/offset``.
        begun
            Where each partition of the batch stood when it was read.
        positions
            Where each partition of the batch stands after it.

        Raises
        ------
        Fenced
            When the table stands elsewhere than ``begun``.
        Unreachable
            When the disk refuses, or rivals commit without pause.
        """
        batch = conform(rows, self.table)
        stored_letters = 0
        for tries in range(self._lake.commit_retries + 1):
            if tries:
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**tries)))
                self.reopen()
            self._demand(begun)
            try:
                fresh, disputed = self._fresh(batch)
            except DataError:
                if not self._is_behind():
                    raise
                continue  # an erasure or a vacuum took a file that our version needs: look at the newest
            told = pa.concat_tables([letters, self._disputed(disputed, positions)]) if len(disputed) else letters
            if told.num_rows:
                stored_letters += self._letter_book().append(told, positions)
            try:
                self._commit(fresh, positions)
            except CommitFailedError:
                continue
            dropped = batch.num_rows - fresh.num_rows - len(disputed)
            return Appended(self._handle.version(), fresh.num_rows, dropped, stored_letters, fresh)
        raise Unreachable(
            f"table {self.table.name} at {self._place}: other processes wrote it during each of "
            f"{self._lake.commit_retries + 1} tries",
            "run it again when they are done, or raise lake.commit_retries",
        )

    def _demand(self, begun: Positions) -> None:
        stands = self.positions(begun)
        for (topic, partition), offset in begun.items():
            if stands[topic, partition] != offset:
                raise Fenced(
                    f"partition {partition} of topic {topic} was read up to {stands[topic, partition]:,} by another "
                    f"reader while we read it from {offset:,}"
                )

    def _fresh(self, batch: pa.Table) -> tuple[pa.Table, pl.DataFrame]:
        """Rows to append, and rows that contradict a stored row of their key (tables without versions only)."""
        table = self.table
        with faults.told(table.name, self._place):
            wanted = {*reading.same_in_all_versions(table), "event_time"}
            looked_at = [f.name for f in table.schema if f.name in wanted]
            found = self._known.seen(self._handle, pl.DataFrame(pl.from_arrow(batch.select(looked_at))))
            nothing = reading.nothing(table)
            if not found.any and not found.repeated:
                return batch, nothing
            if not table.versioned:
                fresh, disputed = _sorted_out(pl.DataFrame(pl.from_arrow(batch)), found.stored, table)
                return reading.to_arrow(fresh, table), disputed
            told = changes.prepare(batch, table)
            plan = changes.plan(_unlogged(told), _unlogged(found.stored), table, batch.num_rows, datetime.now(UTC))
            return reading.to_arrow(_logged(plan.added, told, table), table), nothing

    def _is_behind(self) -> bool:
        newest = delta.open_table(self._place, self.table.name)
        return newest is not None and newest.version() != self._handle.version()

    def _disputed(self, rows: pl.DataFrame, positions: Positions) -> pa.Table:
        topics = {partition: topic for topic, partition in positions}
        places = [
            f"{topics.get(partition, '?')}/{partition}/{offset}" for partition, offset in rows.select(_LOG).iter_rows()
        ]
        bad = _unlogged(rows).with_columns(
            pl.Series("place", places, pl.String),
            pl.lit("another row of the same key is stored with other values; that one was kept").alias("reason"),
        )
        return pa.concat_tables(
            deadletters.from_frame(part, self.table, str(source))
            for (source,), part in bad.group_by("source", maintain_order=True)
        )

    def _commit(self, rows: pa.Table, positions: Positions) -> None:
        transactions = [Transaction(self._id(tp), offset) for tp, offset in positions.items()]
        transactions.append(Transaction(delta.WRITER, self._handle.version() + 1))
        with faults.told(self.table.name, self._place), panics.hushed_when_tight(self._place, rows.nbytes):
            write_deltalake(
                self._handle,
                delta.sealed(self._handle, rows),
                mode="append",
                writer_properties=_writer(self.table),
                commit_properties=CommitProperties(delta.signature(), app_transactions=transactions),
            )

    def _letter_book(self) -> _Letters:
        if self._letters is None:
            self._letters = _Letters(self._lake, self.table.name, self.reader)
        return self._letters

    def _id(self, tp: tuple[str, int]) -> str:
        return f"aiquant-ingest:{self.reader}:{tp[0]}:{tp[1]}"

    def _open(self) -> DeltaTable:
        with faults.told(self.table.name, self._place), panics.hushed_when_tight(self._place, 0):
            opened = delta.open_table(self._place, self.table.name)
            return opened if opened is not None else delta.create(self._place, self.table, self.table.schema)


class _Letters:
    """The dead letters of one reader of one table: appended with positions of their own, each message's once."""

    def __init__(self, lake: Lake, table: str, reader: str) -> None:
        self._lake, self._table, self._reader = lake, table, reader
        self._place = lake.place(DEAD_LETTERS)

    def append(self, letters: pa.Table, positions: Positions) -> int:
        """Store the letters that are not stored yet; how many they were."""
        for tries in range(self._lake.commit_retries + 1):
            if tries:
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**tries)))
            with faults.told(DEAD_LETTERS.name, self._place), panics.hushed_when_tight(self._place, letters.nbytes):
                handle = delta.open_table(self._place, DEAD_LETTERS.name)
                handle = handle or delta.create(self._place, DEAD_LETTERS, DEAD_LETTERS.schema)
                stands = {tp: handle.transaction_version(self._id(tp)) or 0 for tp in positions}
                new = _behind(pl.DataFrame(pl.from_arrow(letters)), stands)
                new = new.join(_stored_ids(handle, new), on="letter_id", how="anti").unique("letter_id", keep="first")
                if new.is_empty():
                    return 0
                transactions = [
                    Transaction(self._id(tp), offset) for tp, offset in positions.items() if offset > stands[tp]
                ]
                transactions.append(Transaction(delta.WRITER, handle.version() + 1))
                try:
                    write_deltalake(
                        handle,
                        delta.sealed(handle, reading.to_arrow(new, DEAD_LETTERS)),
                        mode="append",
                        commit_properties=CommitProperties(delta.signature(), app_transactions=transactions),
                    )
                except CommitFailedError:
                    continue
                return len(new)
        raise Unreachable(
            f"table dead_letters at {self._place}: other processes wrote it during each of "
            f"{self._lake.commit_retries + 1} tries",
            "run it again when they are done, or raise lake.commit_retries",
        )

    def _id(self, tp: tuple[str, int]) -> str:
        return f"aiquant-letters:{self._reader}:{self._table}:{tp[0]}:{tp[1]}"


def touched_dates(lake: Lake, table: str, since: int | None) -> tuple[set[date], int | None]:
    """Dates of the partitions that changed after Delta version ``since``, and the version that was looked at.

    None for ``since`` means all dates; the version is None where the table is not there.
    """
    spec, place = resolve(table), lake.place(table)
    with faults.told(spec.name, place):
        handle = delta.open_table(place, spec.name)
        if handle is None:
            return set(), None
        files = _files_by_date(handle)
        if since is not None:
            before = delta.open_table(place, spec.name, min(since, handle.version()))
            known = {} if before is None else _files_by_date(before)
            files = {path: day for path, day in files.items() if path not in known}
        return set(files.values()), handle.version()


def _files_by_date(handle: DeltaTable) -> dict[str, date]:
    actions = pa.table(handle.get_add_actions(flatten=True)).select(["path", "partition.date"])
    return dict(zip(actions["path"].to_pylist(), actions["partition.date"].to_pylist(), strict=True))


def _behind(letters: pl.DataFrame, stands: Mapping[tuple[str, int], int]) -> pl.DataFrame:
    """Letters of messages that lie behind what the table of letters was read up to."""

    def is_new(place: str) -> bool:
        topic, partition, offset = place.rsplit("/", 2)
        return int(offset) >= stands.get((topic, int(partition)), 0)

    return letters.filter([is_new(place) for place in letters["place"]])


def _stored_ids(handle: DeltaTable, letters: pl.DataFrame) -> pl.DataFrame:
    ids = letters["letter_id"].to_list()
    return delta.scan(handle).filter(pl.col("letter_id").is_in(ids)).select("letter_id").collect()


def _sorted_out(frame: pl.DataFrame, stored: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first row of each key that is not stored, and rows that say something else than the first of their key."""
    key = list(table.key)
    facts = [n for n in frame.columns if n not in (*key, *_LOG, "ingest_time")]
    at = "__row"
    numbered = frame.with_row_index(at)
    everything = pl.concat(
        [
            stored.select(frame.columns).with_columns(pl.lit(None, pl.UInt32).alias(at)),
            numbered.select(*frame.columns, at),
        ]
    )
    first = everything.unique(key, keep="first", maintain_order=True)
    fresh = first.filter(pl.col(at).is_not_null()).drop(at)
    others = numbered.join(first.filter(pl.col(at).is_not_null()), on=at, how="anti")
    beside = others.join(first.select(*key, *facts), on=key, how="left", suffix="__first", maintain_order="left")
    differs = pl.any_horizontal(pl.col(n).ne_missing(pl.col(f"{n}__first")) for n in facts)
    return fresh, beside.filter(differs).select(frame.columns)


def _unlogged(frame: pl.DataFrame) -> pl.DataFrame:
    """Where a row stood in the log is no part of the fact that it states."""
    return frame.drop(_LOG, strict=False)


def _logged(added: pl.DataFrame, batch: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Give rows their place in the log back."""
    if _LOG[0] not in batch.columns:
        return added.select(table.schema.names)
    places = batch.unique(list(table.key), keep="last").select(*table.key, *_LOG)
    return added.join(places, on=list(table.key), how="left", maintain_order="left").select(table.schema.names)


def _writer(table: Table) -> WriterProperties:
    """For small files that a compaction will read once more: fast rather than as small as can be."""
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties={
            name: ColumnProperties(dictionary_enabled=True) for name in table.schema.names if name in delta.REPEATING
        },
    )
