"""Upkeep beside writers that go on: nothing is lost, nothing is doubled, and no reader fails."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.lake import Lake, erasing, maintenance, rotation, verification
from aiquant.lake.ledger import Ledger
from aiquant.lake.sealing import Vault
from aiquant.schemas import DEAD_LETTERS, TICKS, TWEETS

BATCHES, ROWS = 60, 50
NO_LETTERS = DEAD_LETTERS.schema.empty_table()
KEYS = {"k1": b"1" * 32, "k2": b"2" * 32}


def trades(first: int) -> pa.Table:
    at = datetime(2024, 1, 2, 15, tzinfo=UTC)
    rows = [
        {
            "symbol": "ABC"[i % 3],
            "date": date(2024, 1, 2),
            "event_time": at + timedelta(milliseconds=i),
            "event_ns": i,
            "price": 10.0,
            "size": 1.0,
            "exchange": "4",
            "trade_id": str(i),
            "ingest_time": at,
            "source": "test",
        }
        for i in range(first, first + ROWS)
    ]
    return pa.Table.from_pylist(rows, schema=TICKS.schema)


def posts(first: int) -> pa.Table:
    at = datetime(2024, 1, 2, 15, tzinfo=UTC)
    rows = [
        {
            "post_id": str(i),
            "date": date(2024, 1, 2),
            "event_time": at,
            "known_from": at,
            "symbols": "",
            "author": f"u_{i % 5}",
            "text": f"post number {i}",
            "kind": "post",
            "source": "test",
        }
        for i in range(first, first + ROWS)
    ]
    return pa.Table.from_pylist(rows, schema=TWEETS.schema)


class Stream(threading.Thread):
    """A consumer that stores batch after batch through one ledger."""

    def __init__(self, lake: Lake, table: str) -> None:
        super().__init__()
        self.lake, self.table = lake, table
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            ledger = Ledger(self.lake, self.table)
            for n in range(BATCHES):
                rows = trades(n * ROWS) if self.table == "ticks" else posts(n * ROWS)
                begun, end = {("t", 0): n * ROWS}, {("t", 0): (n + 1) * ROWS}
                assert ledger.append(rows, NO_LETTERS, begun, end).inserted == ROWS
        except BaseException as error:
            self.fault = error


@pytest.mark.slow
def test_compaction_and_vacuum_beside_a_stream(tmp_path: Path) -> None:
    stream = Stream(Lake(tmp_path, commit_retries=100), "ticks")
    lake = Lake(tmp_path, commit_retries=100)
    lake.write("ticks", trades(0).slice(0, 0))
    stream.start()
    compacted, seen = 0, 0
    while stream.is_alive():
        compacted += maintenance.compact(lake, "ticks").partitions
        maintenance.vacuum(lake, "ticks", keep_days=1, delete=True)
        rows = lake.read("ticks").num_rows
        assert rows >= seen and rows % ROWS == 0
        seen = rows
    assert stream.fault is None and compacted > 0
    stored = sorted(int(i) for i in lake.read("ticks")["trade_id"].to_pylist())
    assert stored == list(range(BATCHES * ROWS))
    assert Ledger(lake, "ticks").positions([("t", 0)]) == {("t", 0): BATCHES * ROWS}
    told = verification.verify(lake, "ticks", lambda a, b: calendars.sessions("XNYS", a, b))
    assert [f for f in told if f.verdict == "broken"] == []


@pytest.mark.slow
def test_erasures_and_a_change_of_key_beside_a_stream(tmp_path: Path) -> None:
    stream = Stream(Lake(tmp_path, commit_retries=100, vault=Vault(KEYS, "k1")), "tweets")
    lake = Lake(tmp_path, commit_retries=100, vault=Vault(KEYS, "k2"))
    lake.write("tweets", posts(0).slice(0, 0))
    stream.start()
    while stream.is_alive():
        erasing.erase(lake, ["u_3"])
        maintenance.compact(lake, "tweets")
        rotation.rotate(lake, "tweets")
    assert stream.fault is None
    erasing.erase(lake, ["u_3"])
    rotation.rotate(lake, "tweets")
    stored = Lake(tmp_path, vault=Vault({"k2": KEYS["k2"]})).read("tweets")
    told = sorted(zip((int(i) for i in stored["post_id"].to_pylist()), stored["text"].to_pylist(), strict=True))
    assert told == [(i, f"post number {i}") for i in range(BATCHES * ROWS) if i % 5 != 3]
    assert Ledger(lake, "tweets").positions([("t", 0)]) == {("t", 0): BATCHES * ROWS}
