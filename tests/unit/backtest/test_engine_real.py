"""Hundreds of real stocks with their holes, late starts and wrong prints (skips without ../shared/data)."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.backtest import baselines, engine, kernel, market
from aiquant.backtest import rules as house
from aiquant.backtest.reference import Reference
from aiquant.backtest.targets import read_targets
from aiquant.schemas import BARS, conform
from aiquant.settings import BacktestSettings

FIRST, LAST = date(2010, 1, 4), date(2012, 12, 31)


@pytest.fixture(scope="module")
def sessions() -> calendars.Sessions:
    return calendars.sessions("XNYS", FIRST, LAST)


@pytest.fixture(scope="module")
def bars(shared_data: Path) -> pa.Table:
    frame = pl.scan_parquet(shared_data / "prices_daily.parquet").filter(
        (pl.col("kind") == "stock") & pl.col("date").is_between(FIRST, LAST)
    )
    moment = pl.col("date").cast(pl.Datetime("us", "UTC"))
    rows = frame.drop("kind").with_columns(
        event_time=moment,
        known_from=moment,
        interval=pl.lit("1d"),
        period=pl.col("date").dt.year().cast(pl.String),
        adjustment=pl.lit("splits+dividends"),
        source=pl.lit("shared"),
    )
    return conform(rows.collect().to_arrow(), BARS)


@pytest.fixture(scope="module")
def weights(bars: pa.Table) -> pa.Table:
    """Reversal over five sessions, long and short, every other session."""
    frame = pl.DataFrame(pl.from_arrow(bars.select(["symbol", "date", "close"]))).sort("symbol", "date")
    frame = frame.with_columns(fell=(pl.col("close").shift(5) / pl.col("close") - 1).over("symbol")).drop_nulls()
    frame = frame.filter(pl.col("date").dt.ordinal_day() % 2 == 0).with_columns(rank=pl.col("fell").rank().over("date"))
    frame = frame.with_columns(centred=pl.col("rank") - pl.col("rank").mean().over("date"))
    weight = pl.col("centred") / pl.col("centred").abs().sum().over("date")
    return frame.select("date", "symbol", weight=weight).to_arrow()


@pytest.mark.parametrize("shares", ["fractional", "whole"])
def test_kernel_and_reference_agree_to_the_last_bit(
    bars: pa.Table, weights: pa.Table, sessions: calendars.Sessions, shares: str
) -> None:
    settings = BacktestSettings(shares=shares)  # type: ignore[arg-type]
    result = engine.run(weights, bars, sessions, settings)
    checked = market.read_bars(bars, sessions, settings)
    targets = read_targets(weights, set(checked.symbols), sessions, allow_short=True, margin=False)
    laid = market.lay_out(checked, targets, sessions, settings)
    none = np.zeros(0, dtype=np.int64)
    tape = kernel.Tape(
        laid.open, laid.close, laid.trading, np.zeros(len(laid.dates) + 1, dtype=np.int64), none, none, np.zeros(0)
    )
    decision = np.full(len(laid.dates), -1, dtype=np.int64)
    decision[targets.sessions - (len(sessions) - len(laid.dates))] = np.arange(len(targets.sessions))
    plain = Reference(house.from_settings(settings, sessions.per_year), settings.capital)
    plain.play(tape, targets.weights, decision)
    first = int(np.argmax(decision >= 0))
    assert result.equity["equity"].to_pylist() == [mark.equity for mark in plain.book[first:]]
    assert result.fills["shares"].to_pylist() == [fill.shares for fill in plain.fills]
    assert result.fills.num_rows > 50_000


def test_baselines_trade_what_they_say(bars: pa.Table, sessions: calendars.Sessions) -> None:
    hold = engine.run(baselines.buy_and_hold(bars, FIRST, LAST), bars, sessions, BacktestSettings())
    assert set(hold.fills["date"].to_pylist()) == {date(2010, 1, 5)}
    again = engine.run(baselines.equal_weight(bars, FIRST, LAST, 21), bars, sessions, BacktestSettings())
    assert again.equity.num_rows == hold.equity.num_rows == len(sessions)
    assert again.equity["gross_exposure"].to_pylist()[-1] == pytest.approx(1.0, abs=0.01)
    assert sum(again.equity["costs"].to_pylist()) > sum(hold.equity["costs"].to_pylist())
