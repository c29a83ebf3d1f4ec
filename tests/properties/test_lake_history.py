"""Sequences of batches against a slow plain account of what must be known when."""

from __future__ import annotations

import math
import tempfile
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from aiquant.lake import Lake, digest
from aiquant.lake.changes import plan, prepare
from aiquant.schemas import BARS, TIME, Table

BEGIN = datetime(2019, 12, 31, 21, tzinfo=UTC)
NOW = datetime(2050, 1, 1, tzinfo=UTC)

Row = tuple[str, int, int, float, float | None]  # symbol, day, delay of known_from in hours, close, volume

rows = st.tuples(
    st.sampled_from("AB"),
    st.integers(0, 2),
    st.integers(0, 3),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from([None, 0.0, 5.0]),
)
batches = st.lists(rows, max_size=6)


def _bars(batch: list[Row]) -> pa.Table:
    told = []
    for symbol, day, delay, close, volume in batch:
        moment = BEGIN + timedelta(days=day)
        told.append(
            {
                "symbol": symbol,
                "interval": "1d",
                "period": str(moment.year),
                "date": moment.date(),
                "event_time": moment,
                "known_from": moment + timedelta(hours=delay),
                "close": close,
                "volume": volume,
                "adjustment": "none",
                "source": "test",
            }
        )
    return pa.Table.from_pylist(told, schema=BARS.schema)


class Account:
    """All versions of each fact, kept by hand: key → [(known_from, values)], oldest first."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, datetime], list[tuple[datetime, tuple[Any, ...]]]] = {}

    def take(self, batch: list[Row], now: datetime) -> int:
        """Take a batch in; how many versions it adds."""
        told: dict[tuple[str, datetime], dict[datetime, tuple[Any, ...]]] = {}
        for symbol, day, delay, *values in batch:
            moment = BEGIN + timedelta(days=day)
            told.setdefault((symbol, moment), {})[moment + timedelta(hours=delay)] = tuple(values)
        added = 0
        for key, versions in told.items():
            kept = self.versions.setdefault(key, [])
            newest = kept[-1][0] if kept else None
            later = sorted(item for item in versions.items() if newest is None or item[0] > newest)
            if not later and newest is not None:
                values = versions[max(versions)]
                later = [(max(now, newest + timedelta(microseconds=1)), values)]
            for known, values in later:
                if not kept or kept[-1][1] != values:
                    kept.append((known, values))
                    added += 1
        return added

    def at(self, moment: datetime) -> list[tuple[Any, ...]]:
        seen = []
        for (symbol, event_time), versions in sorted(self.versions.items()):
            known = [values for known, values in versions if known <= moment]
            if known and event_time <= moment:
                seen.append((symbol, event_time, *known[-1]))
        return seen


def _seen(table: pa.Table) -> list[tuple[Any, ...]]:
    return [(r["symbol"], r["event_time"], r["close"], r["volume"]) for r in table.to_pylist()]


@settings(max_examples=200, deadline=None)
@given(st.lists(batches, min_size=1, max_size=5))
def test_plans_add_the_versions_that_an_account_by_hand_has(history: list[list[Row]]) -> None:
    account = Account()
    stored = pl.DataFrame(pl.from_arrow(BARS.schema.empty_table()))
    for step, batch in enumerate(history):
        now = NOW + timedelta(hours=step)
        newest = stored.sort("known_from").unique(subset=list(BARS.key), keep="last", maintain_order=True)
        told = plan(prepare(_bars(batch), BARS), newest, BARS, len(batch), now)
        added = account.take(batch, now)
        assert len(told.added) == added == told.inserted + told.revised
        assert told.inserted + told.revised + told.unchanged == len(batch)
        assert told.replacing.is_empty()
        stored = pl.concat([stored, told.added.select(stored.columns)])
    kept = {
        (symbol, moment, known): (close, volume)
        for symbol, moment, known, close, volume in stored.select(
            "symbol", "event_time", "known_from", "close", "volume"
        ).iter_rows()
    }
    assert kept == {(*key, known): values for key, versions in account.versions.items() for known, values in versions}
    assert len(kept) == len(stored)


@settings(max_examples=25, deadline=None)
@given(st.lists(batches, min_size=1, max_size=4))
def test_readers_see_what_was_known(history: list[list[Row]]) -> None:
    account = Account()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        for batch in history:
            before = lake.version("bars")
            written = lake.write("bars", _bars(batch))
            added = account.take(batch, datetime.now(UTC))
            assert written.inserted + written.revised == added
            assert (lake.version("bars") == before) == (added == 0) or before is None
            again = lake.write("bars", _bars(batch))
            assert (again.inserted, again.revised, again.version) == (0, 0, written.version), "twice is once"
        assert _seen(lake.read("bars")) == account.at(datetime.now(UTC) + timedelta(days=1))
        for hours in (0, 1, 24, 26, 60):
            moment = BEGIN + timedelta(hours=hours)
            assert _seen(lake.read("bars", as_of=moment)) == account.at(moment)
        by_sql = lake.sql("select symbol, event_time, close, volume from bars order by 1, 2").read_all()
        assert _seen(by_sql) == _seen(lake.read("bars"))


values = st.sampled_from([None, math.nan, 0.0, 1.5])
facts = st.dictionaries(st.tuples(st.sampled_from("AB"), st.integers(0, 3)), st.tuples(values, values), max_size=6)
columns = st.sampled_from([("f",), ("g",), ("f", "g")])


PLAIN = Table(
    name="features_t",
    schema=pa.schema(
        [
            pa.field("symbol", pa.string(), nullable=False),
            pa.field("date", pa.date32(), nullable=False),
            pa.field("event_time", TIME, nullable=False),
        ]
    ),
    key=("symbol", "event_time"),
    open=True,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(facts, columns), min_size=1, max_size=4))
def test_tables_without_versions_hold_the_last_word(
    history: list[tuple[dict[tuple[str, int], tuple[Any, Any]], tuple[str, ...]]],
) -> None:
    account: dict[tuple[str, int], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        for batch, named in history:
            table = _features(batch, named)
            written = lake.write(PLAIN, table)
            assert lake.write(PLAIN, table).version == written.version, "twice is once"
            for key, pair in batch.items():
                account.setdefault(key, {}).update({n: v for n, v in zip("fg", pair, strict=True) if n in named})
        read = lake.read(PLAIN).to_pylist()
    seen = {(row["symbol"], (row["event_time"] - BEGIN).days): (row.get("f"), row.get("g")) for row in read}
    assert repr(seen) == repr({key: (told.get("f"), told.get("g")) for key, told in sorted(account.items())})


def _features(batch: dict[tuple[str, int], tuple[Any, Any]], named: tuple[str, ...]) -> pa.Table:
    times = [BEGIN + timedelta(days=day) for _, day in batch]
    table = pa.table(
        {
            "symbol": pa.array([symbol for symbol, _ in batch], pa.string()),
            "date": pa.array([date(t.year, t.month, t.day) for t in times], pa.date32()),
            "event_time": pa.array(times, TIME),
        }
    )
    for name in named:
        table = table.append_column(name, pa.array([pair["fg".index(name)] for pair in batch.values()], pa.float32()))
    return table


@settings(max_examples=50, deadline=None)
@given(facts, st.lists(st.integers(0, 6), max_size=4))
def test_a_digest_knows_no_chunks(batch: dict[tuple[str, int], tuple[Any, Any]], cuts: list[int]) -> None:
    table = _features(batch, ("f", "g"))
    edges = sorted({0, len(table), *(cut for cut in cuts if cut <= len(table))})
    pieces = [table.slice(low, high - low) for low, high in zip(edges, edges[1:], strict=False)]
    assert digest(pa.concat_tables([table.slice(0, 0), *pieces])) == digest(table)
