"""Bars from ticks against real minute bars, and around the edges of windows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from aiquant import schemas
from aiquant.errors import UsageError
from aiquant.streams import bars

OPEN = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)


def ticks(*told: tuple[float, float, float], symbol: str = "AAPL") -> pa.Table:
    """Trades: seconds after the open, price, size."""
    rows: list[dict[str, Any]] = []
    for number, (second, price, size) in enumerate(told):
        moment = OPEN + timedelta(seconds=second)
        rows.append(
            {
                "symbol": symbol,
                "date": date(2024, 3, 4),
                "event_time": moment,
                "event_ns": int(moment.timestamp() * 1e6) * 1000,
                "price": price,
                "size": size,
                "exchange": "4",
                "trade_id": str(number),
                "sequence": number,
                "ingest_time": moment,
                "source": "test",
            }
        )
    return pa.Table.from_pylist(rows, schema=schemas.TICKS.schema)


def test_a_bar_by_hand() -> None:
    (bar,) = bars.from_ticks(ticks((0, 10, 100), (20, 12, 50), (40, 9, 50), (59.999999, 11, 200)), "1m").to_pylist()
    assert {k: bar[k] for k in ("open", "high", "low", "close", "volume", "trades")} == {
        "open": 10,
        "high": 12,
        "low": 9,
        "close": 11,
        "volume": 400,
        "trades": 4,
    }
    assert bar["vwap"] == pytest.approx((1000 + 600 + 450 + 2200) / 400)
    assert bar["event_time"] == bar["known_from"] == OPEN + timedelta(minutes=1)
    assert (bar["interval"], bar["period"], bar["date"]) == ("1m", "2024-03-04", date(2024, 3, 4))


def test_a_tick_on_the_edge_belongs_to_the_next_window() -> None:
    made = bars.from_ticks(ticks((0, 10, 1), (60, 20, 1)), "1m")
    assert made["close"].to_pylist() == [10, 20]
    assert made["event_time"].to_pylist() == [OPEN + timedelta(minutes=m) for m in (1, 2)]


def test_windows_wait_for_the_watermark() -> None:
    told = ticks((0, 10, 1), (70, 11, 1), (150, 12, 1))
    mark = bars.watermark(pl.DataFrame(pl.from_arrow(told)), timedelta(seconds=30))
    assert mark == OPEN + timedelta(seconds=120)
    assert bars.from_ticks(told, "1m", mark)["close"].to_pylist() == [10, 11]
    assert bars.from_ticks(told, "1m")["close"].to_pylist() == [10, 11, 12]
    assert bars.watermark(pl.DataFrame(pl.from_arrow(told.slice(0, 0))), timedelta(0)) is None


def test_the_order_of_arrival_does_not_matter() -> None:
    told = ticks((5, 10, 1), (5, 11, 1), (5, 12, 1))
    assert bars.from_ticks(told.take([2, 0, 1]), "1m").equals(bars.from_ticks(told, "1m"))
    assert bars.from_ticks(told, "1m")["close"].to_pylist() == [12]


@pytest.mark.parametrize("interval", ["7m", "0m", "1d", "m", "25h", "1.5m"])
def test_intervals_that_do_not_divide_a_day(interval: str) -> None:
    with pytest.raises(UsageError, match="cannot be made from ticks"):
        bars.seconds(interval)


def test_trades_of_a_real_day_make_its_real_bars(shared_data: Path) -> None:
    """54,103 trades of 12 stocks were made so that they aggregate exactly to the exchange's own minute bars."""
    time = pl.Datetime("us", "UTC")
    told = pl.read_parquet(shared_data / "trades_synth_xetra.parquet").select(
        "symbol",
        pl.lit(date(2017, 7, 28)).alias("date"),
        (pl.col("participant_timestamp") // 1000).cast(time).alias("event_time"),
        pl.col("participant_timestamp").alias("event_ns"),
        "price",
        pl.col("size").cast(pl.Float64),
        pl.lit("XETR").alias("exchange"),
        "trade_id",
        pl.col("sequence_number").alias("sequence"),
        (pl.col("sip_timestamp") // 1000).cast(time).alias("ingest_time"),
        pl.lit("xetra").alias("source"),
    )
    rows = schemas.conform(told.sample(fraction=1.0, shuffle=True, seed=1).to_arrow(), schemas.TICKS)
    made = pl.DataFrame(pl.from_arrow(bars.from_ticks(rows, "1m")))
    real = pl.read_parquet(shared_data / "trades_synth_xetra_bars.parquet").sort("symbol", "start_utc")
    assert len(made) == len(real) == 5450
    assert (made["event_time"] == real["start_utc"] + timedelta(minutes=1)).all()
    for name in ("symbol", "open", "high", "low", "close"):
        assert (made[name] == real[name]).all()
    assert (made["volume"] == real["volume"].cast(pl.Float64)).all()
    assert (made["trades"] == real["n_trades"].cast(pl.Int64)).all()
