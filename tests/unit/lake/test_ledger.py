"""The ledger: what was read from a log and how far are one commit; rivals are seen; keys stay unique."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from aiquant import deadletters, schemas
from aiquant.lake import Lake
from aiquant.lake.keys import KeyIndex
from aiquant.lake.ledger import Fenced, Ledger, touched_dates

OPEN = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
NONE = schemas.DEAD_LETTERS.schema.empty_table()
P0, P1 = ("ticks", 0), ("ticks", 1)


def ticks(numbers: Any, partition: int = 0, first_offset: int | None = None, **more: Any) -> pa.Table:
    rows = []
    numbers = list(numbers)
    for at, number in enumerate(numbers):
        moment = OPEN + timedelta(milliseconds=number)
        row = {
            "symbol": f"S{number % 3}",
            "date": date(2024, 3, 4),
            "event_time": moment,
            "event_ns": int(moment.timestamp() * 1e6) * 1000,
            "price": 10.0 + number,
            "size": 1.0,
            "exchange": "4",
            "trade_id": str(number),
            "ingest_time": moment,
            "source": "test",
            "log_partition": partition,
            "log_offset": (numbers[0] if first_offset is None else first_offset) + at,
        }
        rows.append({**row, **more})
    return pa.Table.from_pylist(rows, schema=schemas.TICKS.schema)


def letters(*offsets: int, partition: int = 0) -> pa.Table:
    return deadletters.collect(
        [deadletters.letter(schemas.TICKS, "kafka", f"ticks/{partition}/{o}", "bad", f"payload {o}") for o in offsets]
    )


def ids(lake: Lake) -> list[int]:
    return sorted(int(text) for text in lake.read("ticks", history=True)["trade_id"].to_pylist())


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    yield Lake(tmp_path / "lake")


def test_rows_and_positions_are_one(lake: Lake) -> None:
    ledger = Ledger(lake, "ticks")
    assert ledger.positions([P0, P1]) == {P0: 0, P1: 0}
    done = ledger.append(ticks(range(5)), NONE, {P0: 0}, {P0: 5})
    assert (done.inserted, done.duplicates, done.letters) == (5, 0, 0)
    assert Ledger(lake, "ticks").positions([P0, P1]) == {P0: 5, P1: 0}
    assert Ledger(lake, "ticks", "another").positions([P0]) == {P0: 0}
    assert ids(lake) == [0, 1, 2, 3, 4]


def test_a_batch_of_letters_alone_moves_the_position_too(lake: Lake) -> None:
    ledger = Ledger(lake, "ticks")
    assert ledger.append(ticks([]), letters(0, 1), {P0: 0}, {P0: 2}).letters == 2
    assert Ledger(lake, "ticks").positions([P0]) == {P0: 2}
    assert lake.read("dead_letters").num_rows == 2


def test_the_same_batch_again_is_refused(lake: Lake) -> None:
    ledger = Ledger(lake, "ticks")
    ledger.append(ticks(range(5)), NONE, {P0: 0}, {P0: 5})
    with pytest.raises(Fenced, match="partition 0 of topic ticks was read up to 5"):
        ledger.append(ticks(range(5)), NONE, {P0: 0}, {P0: 5})
    assert ids(lake) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("end", [3, 5, 9])
def test_of_two_readers_of_a_partition_one_wins(lake: Lake, end: int) -> None:
    """Whatever the rival's end: the version number of a transaction alone would let a higher one pass."""
    zombie, rival = Ledger(lake, "ticks"), Ledger(lake, "ticks")
    rival.append(ticks(range(end)), NONE, {P0: 0}, {P0: end})
    with pytest.raises(Fenced):
        zombie.append(ticks(range(5)), NONE, {P0: 0}, {P0: 5})
    zombie.reopen()
    assert zombie.positions([P0]) == {P0: end}
    assert ids(lake) == list(range(end))


def test_a_zombie_is_seen_though_its_handle_is_fresh(lake: Lake) -> None:
    """It commits another partition in between, which brings its handle past the rival's commit."""
    zombie, rival = Ledger(lake, "ticks"), Ledger(lake, "ticks")
    rival.append(ticks(range(5)), NONE, {P0: 0}, {P0: 5})
    zombie.append(ticks(range(100, 103), 1), NONE, {P1: 0}, {P1: 3})
    with pytest.raises(Fenced):
        zombie.append(ticks(range(5)), NONE, {P0: 0}, {P0: 5})
    assert ids(lake) == [0, 1, 2, 3, 4, 100, 101, 102]


def test_readers_of_different_partitions_do_not_disturb_one_another(lake: Lake) -> None:
    one, two = Ledger(lake, "ticks"), Ledger(lake, "ticks")
    for step in range(4):
        one.append(ticks(range(step * 5, step * 5 + 5)), NONE, {P0: step * 5}, {P0: step * 5 + 5})
        two.append(ticks(range(1000 + step, 1001 + step), 1), NONE, {P1: step}, {P1: step + 1})
    assert ids(lake) == [*range(20), *range(1000, 1004)]
    assert Ledger(lake, "ticks").positions([P0, P1]) == {P0: 20, P1: 4}


def test_a_message_that_was_produced_twice_is_stored_once(lake: Lake) -> None:
    ledger = Ledger(lake, "ticks")
    ledger.append(ticks(range(5)), NONE, {P0: 0}, {P0: 5})
    done = ledger.append(
        ticks([3, 4, 5, 6, 6], first_offset=5, ingest_time=OPEN + timedelta(hours=1)), NONE, {P0: 5}, {P0: 10}
    )
    assert (done.inserted, done.duplicates, done.letters) == (2, 3, 0)
    assert ids(lake) == [0, 1, 2, 3, 4, 5, 6]
    assert ledger.positions([P0]) == {P0: 10}


def test_rows_that_came_another_way_count_as_stored(lake: Lake) -> None:
    """A back-fill wrote them after our handle was read."""
    ledger = Ledger(lake, "ticks")
    lake.write("ticks", ticks([1, 2], log_partition=None, log_offset=None))
    assert ledger.append(ticks(range(4)), NONE, {P0: 0}, {P0: 4}).inserted == 2
    assert ids(lake) == [0, 1, 2, 3]


def test_bars_that_were_sent_twice_and_their_corrections(lake: Lake, make_bars: Callable[..., pa.Table]) -> None:
    bars = make_bars(2, date(2024, 3, 4), date(2024, 3, 8))
    ledger = Ledger(lake, "bars")
    ledger.append(bars, NONE, {("b", 0): 0}, {("b", 0): 10})
    at = bars.schema.get_field_index("close")
    higher = bars.slice(3, 1).set_column(at, bars.schema.field(at), pc.multiply(bars["close"].slice(3, 1), 1.0001))
    again = ledger.append(pa.concat_tables([bars, higher]), NONE, {("b", 0): 10}, {("b", 0): 21})
    assert (again.inserted, again.duplicates) == (1, 10)
    assert lake.read("bars", history=True).num_rows == 11


def test_a_row_that_contradicts_a_stored_one_is_set_aside(lake: Lake) -> None:
    ledger = Ledger(lake, "ticks")
    ledger.append(ticks([0, 1]), NONE, {P0: 0}, {P0: 2})
    done = ledger.append(ticks([1, 2, 2], first_offset=2, price=99.0), NONE, {P0: 2}, {P0: 5})
    assert (done.inserted, done.duplicates, done.letters) == (1, 1, 1)
    (letter,) = lake.read("dead_letters").to_pylist()
    assert letter["place"] == "ticks/0/2" and "other values" in letter["reason"]
    assert lake.read("ticks", where={"trade_id": "1"})["price"].to_pylist() == [11.0]


def test_letters_are_stored_once_when_the_process_died_before_the_rows(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    ledger = Ledger(lake, "ticks")
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "_commit", die)
        with pytest.raises(KeyboardInterrupt):
            ledger.append(ticks([0]), letters(1, 2), {P0: 0}, {P0: 3})
    again = Ledger(lake, "ticks")
    assert again.positions([P0]) == {P0: 0}
    done = again.append(ticks([0, 4], first_offset=0), letters(1, 2, 3), {P0: 0}, {P0: 5})
    assert (done.inserted, done.letters) == (2, 1)
    assert sorted(lake.read("dead_letters")["place"].to_pylist()) == ["ticks/0/1", "ticks/0/2", "ticks/0/3"]


def test_articles_keep_their_corrections(lake: Lake) -> None:
    row = {
        "article_id": "a",
        "date": date(2024, 3, 4),
        "event_time": OPEN,
        "known_from": OPEN,
        "symbols": "",
        "title": "first",
        "url": "u",
        "source": "test",
        "log_partition": 0,
        "log_offset": 0,
    }
    place = ("news", 0)

    def article(offset: int, **more: Any) -> pa.Table:
        return pa.Table.from_pylist([{**row, "log_offset": offset, **more}], schema=schemas.NEWS.schema)

    ledger = Ledger(lake, "news")
    ledger.append(article(0), NONE, {place: 0}, {place: 1})
    assert ledger.append(article(1, known_from=OPEN + timedelta(hours=1)), NONE, {place: 1}, {place: 2}).duplicates == 1
    later = OPEN + timedelta(hours=2)
    assert ledger.append(article(2, title="second", known_from=later), NONE, {place: 2}, {place: 3}).inserted == 1
    told = lake.read("news", history=True).to_pylist()
    assert [(r["title"], r["known_from"], r["log_offset"]) for r in told] == [("first", OPEN, 0), ("second", later, 2)]


def test_a_compaction_beside_it_changes_nothing(lake: Lake) -> None:
    from deltalake import DeltaTable

    ledger = Ledger(lake, "ticks")
    for step in range(6):
        ledger.append(ticks(range(step * 5, step * 5 + 5)), NONE, {P0: step * 5}, {P0: step * 5 + 5})
        if step % 2:
            DeltaTable(lake.place("ticks")).optimize.compact()
    done = ledger.append(ticks([29, 30], first_offset=30), NONE, {P0: 30}, {P0: 32})
    assert (done.inserted, done.duplicates) == (1, 1)
    assert ids(lake) == list(range(31))


def test_files_of_other_times_are_not_read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(lake, "ticks")
    for step in range(5):
        ledger.append(ticks(range(step * 100_000, step * 100_000 + 5)), NONE, {P0: step}, {P0: step + 1})
    looked: list[str] = []
    read = KeyIndex._read

    def told(self: KeyIndex, handle: Any, uri: str, file: dict[str, Any]) -> pl.Series:
        looked.append(uri)
        return read(self, handle, uri, file)

    monkeypatch.setattr(KeyIndex, "_read", told)
    again = Ledger(lake, "ticks")
    both = pa.concat_tables([ticks(range(3, 8)), ticks(range(400_003, 400_008))])
    assert again.append(both, NONE, {P0: 5}, {P0: 6}).duplicates == 4
    assert len(looked) <= 2


def test_what_is_remembered_of_keys_stays_bounded(lake: Lake) -> None:
    ledger = Ledger(lake, "ticks")
    ledger._known = KeyIndex(schemas.TICKS, capacity=12)
    for step in range(6):
        ledger.append(ticks(range(step * 5, step * 5 + 5)), NONE, {P0: step}, {P0: step + 1})
    assert ledger.append(ticks([0, 7, 29, 99]), NONE, {P0: 6}, {P0: 7}).inserted == 1
    assert sum(map(len, ledger._known._digests.values())) <= 12
    assert ids(lake) == [*range(30), 99]


def test_dates_that_changed(lake: Lake) -> None:
    assert touched_dates(lake, "ticks", None) == (set(), None)
    lake.write("ticks", ticks([1]))
    days, version = touched_dates(lake, "ticks", None)
    assert days == {date(2024, 3, 4)}
    assert touched_dates(lake, "ticks", version) == (set(), version)
    lake.write("ticks", ticks([2], date=date(2024, 3, 5)))
    assert touched_dates(lake, "ticks", version)[0] == {date(2024, 3, 5)}


def test_rows_in_files_of_another_engine_count_as_stored(lake: Lake, make_bars: Callable[..., pa.Table]) -> None:
    """Spark may write the moments of a file in units of its own (INT96)."""
    bars = make_bars(2, date(2024, 3, 4), date(2024, 3, 8))
    lake.write("bars", bars)
    index, handle = KeyIndex(schemas.BARS), Ledger(lake, "bars")._handle
    for told in pa.table(handle.get_add_actions(flatten=True)).to_pylist():
        file = Path(lake.place("bars")) / told["path"]
        before = index._read(handle, str(file), told)
        pq.write_table(
            pq.read_table(file, partitioning=None), file, use_deprecated_int96_timestamps=True, store_schema=False
        )
        assert pl.scan_parquet(file).collect_schema()["event_time"].time_unit == "ns"  # type: ignore[attr-defined]
        assert index._read(handle, str(file), told).equals(before)
