"""Spark reads the tables that we write, and we read what Spark appends. Needs the extra ``spark`` and Java 17."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.lake import Lake, maintenance, verification
from aiquant.lake.ledger import Ledger
from aiquant.lake.sealing import PREFIX, Vault
from aiquant.schemas import BARS, DEAD_LETTERS, TICKS, TWEETS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spark(scripts: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One local session for all tests: it takes half a minute to start. Where pyspark is there, nothing may miss."""
    pytest.importorskip("pyspark", reason="needs the extra spark: pip install 'aiquant[spark]'")
    from pyspark.sql import SparkSession

    module = scripts("spark_jars")
    try:
        settings = module.settings()
    except module.Missing as error:
        pytest.fail(f"no jars for Spark: {error}")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").appName("aiquant-tests")
    settings["spark.sql.warehouse.dir"] = str(tmp_path_factory.mktemp("warehouse"))
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "My lake")


def collected(frame: Any) -> list[dict[str, Any]]:
    return [row.asDict() for row in frame.collect()]


def utc(naive: datetime) -> datetime:
    """Spark hands timestamps over in the local zone, without saying so."""
    return naive.astimezone(UTC)


def trade(number: int) -> dict[str, Any]:
    moment = datetime(2024, 1, 2, 15, 0, 0, number + 1, tzinfo=UTC)
    return {
        "symbol": "A", "date": date(2024, 1, 2), "event_time": moment, "event_ns": number, "price": 10.5, "size": 1.0,
        "exchange": "4", "trade_id": str(number), "sequence": None, "conditions": None, "ingest_time": moment,
        "source": "test", "log_partition": 0, "log_offset": number,
    }  # fmt: skip


def test_spark_reads_versioned_bars(spark: Any, lake: Lake, make_bars: Callable[..., pa.Table]) -> None:
    bars = make_bars(symbols=3, first=date(2018, 12, 3), last=date(2019, 1, 31))
    lake.write("bars", bars)
    first = pl.DataFrame(bars.slice(0, 1)).with_columns(volume=pl.lit(7.0)).to_arrow().cast(BARS.schema)
    lake.write("bars", first)
    maintenance.compact(lake, "bars")
    frame = spark.read.format("delta").load(str(lake.place("bars")))
    ours = lake.read("bars", history=True)
    assert frame.count() == ours.num_rows == bars.num_rows + 1
    assert frame.filter("period = '2019'").count() == pl.DataFrame(ours).filter(period="2019").height
    columns = ["symbol", "event_time", "known_from", "close"]
    theirs = collected(frame.select(*columns).orderBy("symbol", "event_time", "known_from"))
    told = [{**row, "event_time": utc(row["event_time"]), "known_from": utc(row["known_from"])} for row in theirs]
    assert told == ours.select(columns).to_pylist()
    old = spark.read.format("delta").option("versionAsOf", 1).load(str(lake.place("bars")))
    assert old.count() == bars.num_rows


def test_we_read_a_correction_that_spark_appends(spark: Any, lake: Lake, make_bars: Callable[..., pa.Table]) -> None:
    bars = make_bars(symbols=2, first=date(2019, 1, 2), last=date(2019, 1, 31))
    lake.write("bars", bars)
    place, key = str(lake.place("bars")), bars.slice(5, 1).to_pylist()[0]
    row = spark.read.format("delta").load(place).filter(f"symbol = '{key['symbol']}' and date = '{key['date']}'")
    corrected = row.selectExpr(
        *(name for name in row.columns if name not in ("known_from", "volume")),
        "known_from + interval 1 day as known_from",
        "cast(12345.0 as double) as volume",
    ).select(*row.columns)
    corrected.write.format("delta").mode("append").save(place)
    where = {"symbol": key["symbol"], "date": key["date"]}
    newest = lake.read("bars", where=where).to_pylist()
    assert [(r["volume"], r["close"]) for r in newest] == [(12345.0, key["close"])]
    assert newest[0]["known_from"] == key["known_from"] + timedelta(days=1)
    assert lake.read("bars", where=where, as_of=key["known_from"]).to_pylist()[0]["volume"] == key["volume"]
    assert lake.write("bars", bars).inserted == 0
    told = verification.verify(lake, "bars", lambda a, b: calendars.sessions("XNYS", a, b))
    assert [f for f in told if f.verdict == "broken"] == []


def test_partitions_by_date_and_a_ledger_beside_spark(spark: Any, lake: Lake) -> None:
    none, place = DEAD_LETTERS.schema.empty_table(), str(lake.place("ticks"))
    ledger = Ledger(lake, "ticks")
    rows = pa.Table.from_pylist([trade(n) for n in range(4)], schema=TICKS.schema)
    ledger.append(rows, none, {("ticks", 0): 0}, {("ticks", 0): 4})
    frame = spark.read.format("delta").load(place)
    assert frame.filter("date = date'2024-01-02'").count() == 4
    one = frame.filter("trade_id = '0'")
    again = one.selectExpr(*("'spark' as trade_id" if name == "trade_id" else name for name in one.columns))
    again.write.format("delta").mode("append").save(place)
    more = pa.Table.from_pylist([trade(n) for n in range(4, 6)], schema=TICKS.schema)
    assert ledger.append(more, none, {("ticks", 0): 4}, {("ticks", 0): 6}).inserted == 2
    assert Ledger(lake, "ticks").positions([("ticks", 0)]) == {("ticks", 0): 6}
    assert lake.read("ticks")["trade_id"].to_pylist() == ["0", "1", "2", "3", "4", "5", "spark"]
    assert maintenance.compact(lake, "ticks").files_after == 1
    assert spark.read.format("delta").load(place).count() == 7


def test_sealed_text_stays_sealed_to_spark(spark: Any, lake: Lake) -> None:
    at = datetime(2024, 1, 2, tzinfo=UTC)
    told = {
        "post_id": "1", "date": at.date(), "event_time": at, "known_from": at, "symbols": "", "author": "u_a",
        "text": "quick brown", "kind": "post", "source": "test",
    }  # fmt: skip
    ours = Lake(lake.root, vault=Vault({"k1": b"1" * 32}, "k1"))
    ours.write("tweets", pa.Table.from_pylist([told], schema=TWEETS.schema))
    frame = spark.read.format("delta").load(str(lake.place("tweets")))
    assert collected(frame.select("text"))[0]["text"].startswith(f"{PREFIX}k1:")
