"""The simulated market: the same for the same seed, and consistent from trades to days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from aiquant.errors import UsageError
from aiquant.sources.simulator.clock import Clock
from aiquant.sources.simulator.faults import KINDS, Fault, Faults
from aiquant.sources.simulator.market import Market
from aiquant.sources.simulator.texts import Texts


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(seed=5, symbols=12, trades_a_minute=8, last=date(2024, 12, 31))


def test_the_seed_decides(market: Market) -> None:
    again, other = Market(5, 12, 8, date(2024, 12, 31)), Market(6, 12, 8, date(2024, 12, 31))
    assert [c.symbol for c in market.companies] == [c.symbol for c in again.companies]
    assert np.array_equal(market.close, again.close) and not np.array_equal(market.close, other.close)
    symbol = market.companies[0].symbol
    assert np.array_equal(market.day_trades(symbol, 900).price, again.day_trades(symbol, 900).price)
    assert Texts(market).posts(900) == Texts(again).posts(900)


def test_trades_add_up_to_minutes_and_minutes_to_days(market: Market) -> None:
    for company in market.companies[:4]:
        for at in (0, 700, 1500):
            if not market.trading(company.symbol, at):
                continue
            i = market.index[company.symbol]
            bars, trades = market.minutes(company.symbol, at), market.day_trades(company.symbol, at)
            assert bars.open[0] == market.open[i, at] and bars.close[-1] == market.close[i, at]
            assert bars.high.max() == market.high[i, at] and bars.low.min() == market.low[i, at]
            assert (bars.low <= np.minimum(bars.open, bars.close)).all()
            assert (bars.high >= np.maximum(bars.open, bars.close)).all()
            minute = (trades.time_ns - market.opens_ns[at]) // (60 * 10**9)
            for k in (0, 100, len(bars.open) - 1):
                inside = minute == (bars.start_ns[k] - market.opens_ns[at]) // (60 * 10**9)
                price = trades.price[inside]
                assert (price[0], price[-1], price.max(), price.min()) == (
                    bars.open[k],
                    bars.close[k],
                    bars.high[k],
                    bars.low[k],
                )
                assert trades.size[inside].sum() == bars.volume[k] and inside.sum() == bars.trades[k]


def test_splits_move_prices_as_traded_only(market: Market) -> None:
    assert market.splits
    for split in market.splits:
        i = market.index[split.symbol]
        at = int(np.searchsorted(market.sessions.dates, np.datetime64(split.day)))
        adjusted = market.close[i] / market.factor[i]
        assert abs(np.log(adjusted[at] / adjusted[at - 1])) < 0.4
        assert market.factor[i, at - 1] == pytest.approx(market.factor[i, at] * split.ratio)


def test_tone_of_news_moves_the_next_day(market: Market) -> None:
    moves = np.diff(np.log(market.close / market.factor), axis=1)
    good, bad = moves[market.tone[:, :-1] > 0], moves[market.tone[:, :-1] < 0]
    assert good.mean() - bad.mean() > 4 * np.sqrt(good.var() / len(good) + bad.var() / len(bad))


def test_regimes_differ(market: Market) -> None:
    daily = np.abs(np.diff(np.log(market.close / market.factor), axis=1)).mean(axis=0)
    months = daily[: len(daily) // 21 * 21].reshape(-1, 21).mean(axis=1)
    assert np.quantile(months, 0.95) > 1.4 * np.quantile(months, 0.25)


def test_the_clock_skips_the_night(market: Market) -> None:
    start = datetime(2024, 6, 3, 19, 59, 59, tzinfo=UTC)  # a second before the close
    clock = Clock(market, start, speed=0.0)
    assert clock.now() == start
    clock.speed = 100.0
    clock._zero -= int(0.05 * 1e9)
    assert datetime(2024, 6, 4, 13, 30, tzinfo=UTC) < clock.now() < datetime(2024, 6, 4, 14, 0, tzinfo=UTC)
    assert Clock(market, datetime(2024, 6, 2, tzinfo=UTC), 0.0).now() == datetime(2024, 6, 3, 13, 30, tzinfo=UTC)
    with pytest.raises(UsageError, match="ends before"):
        Clock(market, datetime(2024, 12, 31, tzinfo=UTC) + timedelta(days=400))


def test_faults_are_taken_in_order_and_used_up() -> None:
    faults = Faults([Fault("429", times=2, path="/v3"), Fault("cut", after=1)])
    assert faults.take("/v2/x") is None  # lets one pass
    assert [f.kind for f in (faults.take("/v3/x"), faults.take("/v3/x"), faults.take("/v3/x")) if f] == [
        "429",
        "429",
        "cut",
    ]
    assert faults.take("/v3/x") is None
    assert Fault.read("429:3:/v3/trades") == Fault("429", 3, "/v3/trades")
    for text in ("42", "429:x", ""):
        with pytest.raises(UsageError, match="not known"):
            Fault.read(text)
    assert all(KINDS.values())
