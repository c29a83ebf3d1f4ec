"""What every source has to keep: a suite that the author of a plug-in runs on it.

Derive a class, say how the source is made and what may be asked of it, and let pytest collect it::

    from aiquant.sources.contract import HistoryContract, LiveContract

    class TestMyVendor(HistoryContract, LiveContract):
        secrets = ("my-test-key",)

        def source(self):
            return MyVendor("my-test-key")

        def query(self, table):
            return Query(symbols=("AAPL",), first=date(2024, 1, 2), last=date(2024, 1, 31))

It needs something that answers: recorded replies, or a simulator of the vendor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import UsageError
from aiquant.schemas import DEAD_LETTERS, Table
from aiquant.sources.base import Batch, HistorySource, LiveSource, Query
from aiquant.sources.checkpoints import Checkpoint


class _Contract:
    secrets: tuple[str, ...] = ()
    """Texts that must stand in no row, letter or note: keys, and names of authors."""

    def source(self) -> Any:
        """A new source."""
        raise NotImplementedError

    def query(self, table: str) -> Query:
        """What is asked of a table: enough for several batches, and little enough for a test."""
        raise NotImplementedError


class HistoryContract(_Contract):
    """For a :class:`HistorySource`."""

    def test_it_is_a_history_source(self) -> None:
        source = self.source()
        assert isinstance(source, HistorySource), "it lacks `tables` or `history`"
        known = {table.name for table in schemas.TABLES}
        assert source.tables and source.tables <= known, f"tables must be some of {sorted(known)}"

    def test_a_table_that_it_does_not_have_is_refused(self) -> None:
        source = self.source()
        try:
            list(source.history("no_such_table", self.query(next(iter(source.tables)))))
        except UsageError as error:
            assert error.remedy, "a refusal says what to do"
        else:
            raise AssertionError("a table that the source does not have must raise UsageError")

    def test_rows_keep_their_schema_and_invariants(self) -> None:
        source = self.source()
        for table in sorted(source.tables):
            batches = list(source.history(table, self._fresh(table)))
            assert any(batch.rows.num_rows for batch in batches), f"{table}: no row came; ask for a span that has some"
            check_batches(batches, self.secrets)
            assert {batch.table for batch in batches} == {table}
            check_keys(batches, table_of(table))

    def test_it_gives_the_same_twice(self) -> None:
        source = self.source()
        for table in sorted(source.tables):
            once, again = (_facts(source.history(table, self._fresh(table)), table) for _ in range(2))
            assert once.equals(again), f"{table}: the same query gave other rows"

    def test_it_goes_on_where_it_was_killed(self) -> None:
        source = self.source()
        for table in sorted(source.tables):
            whole = _facts(source.history(table, self._fresh(table)), table)
            query, got = self._fresh(table), []
            for _ in range(10_000):  # killed after each batch, before the next
                batches = source.history(table, query)
                one = list(islice(batches, 1))
                _close(batches)
                if not one:
                    break
                got += one
                before = one[0].position
                query.checkpoint.advance(before)
                if before is None or not (one[0].rows.num_rows or one[0].letters.num_rows):
                    # a source without positions begins anew each time, one that is through says so: let it end
                    got += list(source.history(table, query))
                    break
            assert _facts(got, table).equals(whole), f"{table}: killed and started again it gave other rows"

    def _fresh(self, table: str) -> Query:
        return replace(self.query(table), checkpoint=Checkpoint())


class LiveContract(_Contract):
    """For a :class:`LiveSource`."""

    listen_s: float = 2.0
    """Seconds that a feed is listened to."""

    def test_it_is_a_live_source(self) -> None:
        source = self.source()
        assert isinstance(source, LiveSource), "it lacks `feeds` or `live`"
        assert source.feeds <= {table.name for table in schemas.TABLES}

    def test_live_rows_keep_their_schema_and_the_feed_stops(self) -> None:
        source = self.source()
        for table in sorted(source.feeds):
            stop = threading.Event()
            timer = threading.Timer(self.listen_s, stop.set)
            timer.start()
            batches = list(source.live(table, replace(self.query(table), checkpoint=Checkpoint()), stop))
            told = time.monotonic()
            assert stop.is_set(), f"{table}: the feed ended before it was told to"
            check_batches(batches, self.secrets)
            assert time.monotonic() - told < 10

    def test_a_feed_that_is_left_ends(self) -> None:
        source = self.source()
        before = threading.active_count()
        for table in sorted(source.feeds):
            feed = source.live(table, replace(self.query(table), checkpoint=Checkpoint()), threading.Event())
            next(feed)
            _close(feed)
        deadline = time.monotonic() + 10
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert threading.active_count() <= before, "a feed that was closed left a thread behind"


def check_batches(batches: Iterable[Batch], secrets: tuple[str, ...] = ()) -> None:
    """Check what holds in every batch.

    Raises
    ------
    AssertionError
        With a sentence that says what does not.
    """
    for batch in batches:
        table = table_of(batch.table)
        assert batch.rows.schema.names == table.schema.names, f"{table.name}: columns {batch.rows.schema.names}"
        schemas.conform(batch.rows, table)
        schemas.conform(batch.letters, DEAD_LETTERS)
        frame = pl.DataFrame(pl.from_arrow(batch.rows))
        why = schemas.reasons(frame, table.invariants).drop_nulls()
        assert why.is_empty(), f"{table.name}: a row breaks an invariant: {why[0]}"
        if table.versioned:
            late = frame.filter(pl.col("known_from") < pl.col("event_time"))
            assert late.is_empty(), f"{table.name}: known_from lies before event_time"
        for name in {"symbol", "symbols"} & set(frame.columns):
            assert (frame[name] == frame[name].str.to_uppercase()).all(), f"{table.name}: {name} is not in upper case"
        if "source" in frame.columns:
            assert (frame["source"].str.len_chars() > 0).all(), f"{table.name}: source is empty"
        assert batch.rows.num_rows <= 1_000_000, "a batch is bounded"
        told = f"{batch.rows.to_pylist()}{batch.letters.to_pylist()}{batch.notes}{batch.position}"
        for secret in secrets:
            assert secret not in told, f"{table.name}: a secret stands in a row, letter, note or position"


def check_keys(batches: Iterable[Batch], table: Table) -> None:
    """Rows of one key are equal but for when they were taken in, or versions of one another."""
    rows = pa.concat_tables([batch.rows for batch in batches])
    names = [*table.key, *(["known_from"] if table.versioned and table.name not in ("news", "tweets") else [])]
    apart = [n for n in rows.column_names if n not in ("ingest_time", "known_from", "log_partition", "log_offset")]
    distinct = pl.DataFrame(pl.from_arrow(rows.select(list(dict.fromkeys([*apart, *names]))))).unique()
    twice = distinct.select(names).is_duplicated().sum()
    assert not twice, f"{table.name}: {twice} rows contradict another row of their key"


def table_of(name: str) -> Table:
    """The table of that name."""
    return next(table for table in schemas.TABLES if table.name == name)


def _facts(batches: Iterable[Batch], table: str) -> pl.DataFrame:
    """What rows say, without when they were taken in, each once and in order."""
    rows = pa.concat_tables([table_of(table).schema.empty_table(), *(batch.rows for batch in batches)])
    frame = pl.DataFrame(pl.from_arrow(rows))
    apart = {"ingest_time", "log_partition", "log_offset"} | ({"known_from"} if table in ("news", "tweets") else set())
    kept = [name for name in frame.columns if name not in apart]
    return frame.select(kept).unique().sort(kept)


def _close(batches: Iterator[Batch]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()
