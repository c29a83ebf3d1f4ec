"""A table read as a log."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from aiquant import schemas
from aiquant.errors import DataError
from aiquant.lake import Lake, maintenance
from aiquant.lake.following import Follower


def bar(symbol: str, close: float, day: int = 4, interval: str = "1d") -> dict[str, object]:
    moment = datetime(2024, 3, day, 21, tzinfo=UTC)
    return {
        "symbol": symbol,
        "interval": interval,
        "period": "2024" if interval == "1d" else f"2024-03-{day:02}",
        "date": date(2024, 3, day),
        "event_time": moment,
        "known_from": moment,
        "close": close,
        "adjustment": "none",
        "source": "test",
    }


def table(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schemas.BARS.schema)


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    follower = Follower(lake, "bars", {"interval": "1d"})
    assert follower.since(None).version is None
    lake.write("bars", table(bar("A", 1.0), bar("B", 2.0), bar("A", 7.0, interval="1h")))
    news = follower.since(None)
    assert news.rows.select(["symbol", "close", "period"]).to_pylist() == [
        {"symbol": "A", "close": 1.0, "period": "2024"},
        {"symbol": "B", "close": 2.0, "period": "2024"},
    ]
    assert news.rows.schema.equals(schemas.BARS.schema)
    assert follower.since(news.version).rows.num_rows == 0
    lake.write("bars", table(bar("A", 1.0)))  # nothing new, so no commit
    lake.write("bars", table(bar("A", 1.5)))  # a correction
    lake.write("bars", table(bar("C", 3.0, 5), bar("A", 8.0, 5, interval="1h")))
    later = follower.since(news.version)
    assert [(r["symbol"], r["close"]) for r in later.rows.to_pylist()] == [("A", 1.5), ("C", 3.0)]


def test_a_compaction_brings_nothing_new(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    follower = Follower(lake, "bars")
    for close in (1.0, 2.0, 3.0):
        lake.write("bars", table(bar(f"S{close:.0f}", close)))
    before = follower.version()
    assert maintenance.compact(lake, "bars").files_after == 1
    assert follower.version() != before
    assert follower.since(before).rows.num_rows == 0
    assert follower.since(None).rows.num_rows == 3


def test_a_log_that_was_cut(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write("bars", table(bar("A", 1.0)))
    lake.write("bars", table(bar("B", 1.0)))
    follower = Follower(lake, "bars")
    newest = follower.version()
    assert newest is not None and newest > 1
    (tmp_path / "bars" / "_delta_log" / f"{newest - 1:020}.json").unlink()
    with pytest.raises(DataError, match="log no longer holds version"):
        follower.since(0)
