"""The loops of live data without a broker: what is sent when, and what is remembered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from aiquant import schemas
from aiquant.errors import DataError, MissingError, UsageError
from aiquant.jobs import produce, replay, tick_bars, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace
from aiquant.sources.base import Batch, Query
from aiquant.sources.checkpoints import Checkpoint, Position

OPEN = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
NONE = schemas.DEAD_LETTERS.schema.empty_table()


class Log:
    """A producer that writes down what it is told."""

    def __init__(self, *_: object, fail_at: int | None = None) -> None:
        self.told: list[str] = []
        self.sent: list[tuple[str, pa.Table]] = []
        self.fail_at = fail_at

    def send(self, table: str, rows: pa.Table) -> int:
        self.told.append(f"send {table} {rows.num_rows}")
        self.sent.append((table, rows))
        return 0

    def flush(self) -> None:
        self.told.append("flush")
        if self.fail_at is not None and self.told.count("flush") >= self.fail_at:
            raise MissingError("Kafka does not take it")

    def close(self) -> None:
        self.told.append("close")


def ticks(*seconds: float) -> pa.Table:
    rows = []
    for number, second in enumerate(seconds):
        moment = OPEN + timedelta(seconds=second)
        rows.append(
            {
                "symbol": "AAPL",
                "date": date(2024, 3, 4),
                "event_time": moment,
                "event_ns": int(moment.timestamp() * 1e6) * 1000,
                "price": 10.0 + number,
                "size": 1.0,
                "exchange": "4",
                "trade_id": str(second),
                "ingest_time": moment,
                "source": "test",
            }
        )
    return pa.Table.from_pylist(rows, schema=schemas.TICKS.schema)


def feed() -> Iterator[Batch]:
    yield Batch(ticks(1, 2), NONE, table="ticks", position=Position("w", "a"))
    yield Batch(ticks(), NONE, notes=("quiet",), table="ticks")
    yield Batch(ticks(3), NONE, table="ticks", position=Position("w", "b"))


def test_the_position_moves_on_only_behind_a_confirmed_delivery() -> None:
    log, query, done = Log(fail_at=2), Query(checkpoint=Checkpoint()), produce.Produced("ticks", "test")
    with pytest.raises(MissingError):
        produce.send(log, feed(), query, Journal(), done)  # type: ignore[arg-type]
    assert log.told == ["send ticks 2", "flush", "send ticks 1", "flush"]
    assert query.checkpoint.cursor("w") == "a"
    produce.send(Log(), feed(), query, Journal(), done)  # type: ignore[arg-type]
    assert query.checkpoint.cursor("w") == "b"


def test_a_feed_is_sent_and_its_position_kept_in_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Vendor:
        feeds = frozenset({"ticks"})

        def live(self, table: str, query: Query, stop: threading.Event) -> Iterator[Batch]:
            assert (table, query.symbols) == ("ticks", ("AAPL",))
            yield from feed()

    from aiquant.sources import base
    from aiquant.streams import producer

    monkeypatch.setattr(base, "vendor", lambda name, settings: Vendor())
    monkeypatch.setattr(producer, "Producer", Log)
    space = workspace.create(tmp_path / "w")
    done = produce.produce(space, Journal(), "ticks", symbols=("AAPL",))
    assert (done.source, done.rows, done.batches) == ("polygon", 3, 3)
    assert Checkpoint(space.state / "feeds" / "polygon-ticks.json").cursor("w") == "b"
    with pytest.raises(UsageError, match="source 'polygon' has no live feed of bars"):
        produce.produce(space, Journal(), "bars")
    with pytest.raises(UsageError, match="no vendor feeds equity"):
        produce.produce(space, Journal(), "equity")


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    from aiquant.streams import producer

    monkeypatch.setattr(producer, "Producer", lambda *_: LOGS[-1])
    LOGS.append(Log())  # type: ignore[arg-type]
    return workspace.create(tmp_path / "w")


LOGS: list[Any] = []


def test_a_replay_keeps_event_times_and_their_order(space: Workspace) -> None:
    space.lake.write("ticks", ticks(5, 1, 3))
    done = replay.replay(space, Journal(), "ticks", speed=None)
    assert (done.rows, done.first, done.last) == (3, OPEN + timedelta(seconds=1), OPEN + timedelta(seconds=5))
    ((table, rows),) = LOGS[-1].sent
    assert table == "ticks"
    assert rows["event_time"].to_pylist() == [OPEN + timedelta(seconds=s) for s in (1, 3, 5)]
    assert all(moment > OPEN + timedelta(days=1) for moment in rows["ingest_time"].to_pylist())


def test_a_replay_of_some_dates_of_a_file(space: Workspace, tmp_path: Path) -> None:
    later = ticks(86_400 + 1).to_pylist()[0] | {"date": date(2024, 3, 5)}
    both = pa.concat_tables([ticks(1), pa.Table.from_pylist([later], schema=schemas.TICKS.schema)])
    pl.DataFrame(pl.from_arrow(both)).drop("log_offset", "conditions").write_parquet(tmp_path / "t.parquet")
    done = replay.replay(space, Journal(), "ticks", tmp_path / "t.parquet", None, first=date(2024, 3, 5))
    assert (done.rows, done.first) == (1, OPEN + timedelta(seconds=86_401))


def test_replays_that_cannot_be(space: Workspace, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no table ticks"):
        replay.replay(space, Journal(), "ticks")
    with pytest.raises(MissingError, match="no such file"):
        replay.replay(space, Journal(), "ticks", tmp_path / "x.parquet")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="not a file with the columns of table ticks"):
        replay.replay(space, Journal(), "ticks", tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot be read"):
        replay.replay(space, Journal(), "ticks", tmp_path / "b.parquet")
    with pytest.raises(UsageError, match="not above zero"):
        replay.replay(space, Journal(), "ticks", speed=0.0)
    with pytest.raises(UsageError, match="do not travel through Kafka"):
        replay.replay(space, Journal(), "equity")


class Clock:
    """Time that passes only while someone waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def is_set(self) -> bool:
        return False


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_rows_come_when_their_time_has_come(speed: float) -> None:
    clock = Clock()
    pace = replay._Pace(speed, clock, clock)  # type: ignore[arg-type]
    frame = pl.DataFrame(pl.from_arrow(ticks(0, 0.01, 5, 5.02, 60)))
    came = [(clock.now - 100, part["trade_id"].to_list()) for part in pace.slices(frame)]
    told = [trade for _, part in came for trade in part]
    assert told == ["0", "0.01", "5", "5.02", "60"]
    for moment, part in came:
        assert moment * speed <= float(part[0]) + 1e-6, "the first of a slice is on time"
        assert float(part[-1]) <= (moment + replay._STEP) * speed + 1e-6, "none comes much before its time"
    assert came[-1][0] == pytest.approx(60 / speed)


def test_bars_follow_the_ticks(tmp_path: Path) -> None:
    space = workspace.create(tmp_path / "w")
    assert tick_bars.build(space, Journal()).dates == 0
    space.lake.write("ticks", ticks(1, 61, 200))
    first = tick_bars.build(space, Journal(), "1m")
    assert (first.dates, first.inserted) == (1, 2)
    again = tick_bars.build(space, Journal(), "1m", since=first.version)
    assert (again.dates, again.inserted) == (0, 0)
    space.lake.write("ticks", ticks(2))
    late = tick_bars.build(space, Journal(), "1m", since=first.version)
    assert (late.dates, late.inserted, late.revised, late.unchanged) == (1, 0, 1, 1)
    assert space.lake.read("bars")["trades"].to_pylist() == [2, 1]
    assert space.lake.read("bars", as_of=OPEN + timedelta(minutes=3))["trades"].to_pylist() == [1, 1]


def test_following_stops_when_told(tmp_path: Path) -> None:
    space = workspace.create(tmp_path / "w")
    space.lake.write("ticks", ticks(1, 200))
    stop = threading.Event()
    stop.set()
    assert tick_bars.follow(space, Journal(), "1m", stop=stop).inserted == 1
