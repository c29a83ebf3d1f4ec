"""Tables that are made from others: written as a stream, with what they were made from in the same commit.

What a table was made from stands in its log as application transactions ``aiquant-made:<name>``, each with a whole
number (the Delta version of a table, say). They outlive checkpoints, and rows and remark can never disagree: a process
that dies leaves both as they were.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from aiquant.errors import DataError
from aiquant.lake import delta, faults, panics, places, rivals
from aiquant.lake.store import Lake
from aiquant.schemas import Table

Put = Literal["whole", "part", "more"]
"""What the rows of a write are: the whole table, all rows that a condition describes, or rows to be added."""

_MADE = "aiquant-made:"
_NO_TABLE = -1
_AHEAD = 2
"""Tables that may wait for the writer: memory for these is all that a write needs, however many rows there are."""


@dataclass(frozen=True)
class Change:
    """What is done to a table.

    Attributes
    ----------
    rows
        Gives the rows, table by table; it is called again for each try.
    put
        What the rows are.
    where
        For ``part``: an SQL condition that all of ``rows`` meet, as do the stored rows that go.
    """

    rows: Callable[[], Iterable[pa.Table]]
    put: Put = "whole"
    where: str | None = None


UNCHANGED = Change(lambda: [], "more")
"""No row is touched."""


class Derived:
    """One table that is made from others.

    Parameters
    ----------
    lake
        Where the tables are.
    table
        Schema of the table.
    """

    def __init__(self, lake: Lake, table: Table) -> None:
        self.table = table
        self._lake = lake
        self._place = lake.place(table)

    def made_from(self, names: Sequence[str], version: int | None = None) -> dict[str, int | None]:
        """What a version, the newest by default, says that it was made from; None for a name that it does not tell."""
        handle = self._open(version)
        return {name: None if handle is None else handle.transaction_version(_MADE + name) for name in names}

    def columns(self) -> list[str]:
        """The columns of the newest version; none where there is no table."""
        handle = self._open()
        return [] if handle is None else [field.name for field in handle.schema().fields]

    def write(self, schema: pa.Schema, rows: Callable[[], Iterable[pa.Table]], made_from: Mapping[str, int]) -> int:
        """Put ``rows`` in the place of all that is there, as :meth:`settle`; the Delta version afterwards."""
        version = self.settle(schema, lambda _: Change(rows), made_from)
        assert version is not None
        return version

    def settle(
        self, schema: pa.Schema, decide: Callable[[int], Change | None], made_from: Mapping[str, int]
    ) -> int | None:
        """Change the table, and what it was made from, in one commit; the Delta version afterwards.

        Rows are taken while the ones before are being written, a few tables ahead at the most. Where another process
        commits meanwhile, all of it is done again.

        Parameters
        ----------
        schema
            Of the rows.
        decide
            Told the version that the commit will follow (−1: there is no table), says what is to be done; called again
            for each try. What it compares with that version still holds when the commit succeeds. None: nothing is to
            be done.

        Returns
        -------
        int or None
            None where ``decide`` gave None.

        Raises
        ------
        Unreachable
            When the disk refuses, or rivals commit without pause.
        DataError
            When a row of ``part`` does not meet the condition.
        """
        told = {_MADE + name: version for name, version in made_from.items()}

        def attempt() -> int | None:
            with faults.told(self.table.name, self._place), panics.hushed_when_tight(self._place, 0):
                handle = self._open()
                if (change := decide(_NO_TABLE if handle is None else handle.version())) is None:
                    return None
                pipe = _Pipe(schema)
                with ThreadPoolExecutor(1, "delta-writer") as pool:
                    if handle is None:
                        done = pool.submit(self._begin, pipe, told)
                    else:
                        done = pool.submit(_commit, handle, pipe, told, change)
                    pipe.feed(change.rows(), done)
                return self._demand().version()

        return rivals.retried(self._lake.commit_retries, self.table.name, self._place, attempt)

    def remark(self, made_from: Mapping[str, int]) -> int:
        """Say that the rows as they are were made from these; the Delta version afterwards."""
        schema = pa.schema(self._demand().schema().to_arrow())
        version = self.settle(schema, lambda _: UNCHANGED, made_from)
        assert version is not None
        return version

    def _begin(self, pipe: _Pipe, told: Mapping[str, int]) -> None:
        """The table and its first rows in one commit: rows that are refused leave no empty table behind."""
        transactions = [Transaction(name, version) for name, version in {**told, delta.WRITER: 0}.items()]
        delta.prepare(self._place)
        try:
            write_deltalake(
                self._place,
                pipe.reader(),
                mode="overwrite",
                schema_mode="overwrite",
                name=self.table.name,
                partition_by=list(self.table.partition) or None,
                configuration=delta.configuration(self.table),
                storage_options=places.options_of(self._place),
                writer_properties=delta.writer_properties(pipe.schema),
                commit_properties=CommitProperties(delta.signature(), app_transactions=transactions),
            )
        except BaseException:
            delta.abandon(self._place)
            raise

    def _demand(self) -> DeltaTable:
        handle = self._open()
        if handle is None:
            raise DataError(f"there is no table {self.table.name} at {self._place}")
        return handle

    def _open(self, version: int | None = None) -> DeltaTable | None:
        with faults.told(self.table.name, self._place):
            return delta.open_table(self._place, self.table.name, version)


class _Pipe:
    """Hands tables from the one who computes them to the one who writes them."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._waiting: queue.Queue[pa.Table | None] = queue.Queue(_AHEAD)
        self._abandoned = False

    def feed(self, tables: Iterable[pa.Table], done: Future[None]) -> None:
        """Pass on all tables, and wait until they are written; an error of either side comes out here."""
        try:
            for table in tables:
                if not self._put(table.cast(self.schema), done):
                    break
        except BaseException:
            self._abandoned = True
            raise
        finally:
            self._put(None, done)
        done.result()

    def _put(self, table: pa.Table | None, done: Future[None]) -> bool:
        """Whether the writer took it: one that failed takes no more."""
        while not done.done():
            try:
                self._waiting.put(table, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def reader(self) -> pa.RecordBatchReader:
        """What the writer reads from."""
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        while (table := self._waiting.get()) is not None:
            yield from table.to_batches()
        if self._abandoned:
            raise pa.ArrowInvalid("the rows came to no end")


def _commit(handle: DeltaTable, pipe: _Pipe, told: Mapping[str, int], change: Change) -> None:
    transactions = [Transaction(name, version) for name, version in told.items()]
    transactions.append(Transaction(delta.WRITER, handle.version() + 1))
    commit = CommitProperties(delta.signature(), app_transactions=transactions)
    properties = delta.writer_properties(pipe.schema)
    if change.put == "more":
        write_deltalake(handle, pipe.reader(), mode="append", writer_properties=properties, commit_properties=commit)
        return
    write_deltalake(
        handle,
        pipe.reader(),
        mode="overwrite",
        schema_mode="overwrite" if change.put == "whole" else None,
        predicate=change.where if change.put == "part" else None,
        writer_properties=properties,
        commit_properties=commit,
    )
