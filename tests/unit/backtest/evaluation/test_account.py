"""Holding periods, drawdowns, regimes and resamples against values worked out by hand or another way."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from aiquant.backtest.evaluation import drawdowns, holding, montecarlo, regimes
from aiquant.backtest.evaluation.market_panel import MarketPanel, lay_out
from aiquant.backtest.statistics import summarise
from aiquant.errors import DataError
from aiquant.schemas import EQUITY, FILLS

Make = Callable[..., MarketPanel]


def fills(rows: list[tuple[int, str, float, float, float]]) -> pa.Table:
    """``(session, symbol, shares, price, commission)``."""
    told = []
    for session, symbol, shares, price, commission in rows:
        day = date(2020, 1, 1) + timedelta(days=session)
        told.append(
            {
                "run_id": "r",
                "symbol": symbol,
                "date": day,
                "event_time": datetime(day.year, day.month, day.day, 14, tzinfo=UTC),
                "shares": shares,
                "price": price,
                "commission": commission,
                "slippage": 0.0,
                "reason": "rebalance",
            }
        )
    return pa.Table.from_pylist(told, schema=FILLS.schema)


def test_lots_are_matched_first_in_first_out(make_panel: Make) -> None:
    # 10 at 100 and 10 at 110 are bought; 15 go at 120: 10 of the first lot (+200, 4 sessions), 5 of the second (+50, 2
    # sessions); the last 5 go at 100 after 8 sessions (−50).
    rows = [(0, "S00", 10.0, 100.0, 0.0), (2, "S00", 10.0, 110.0, 0.0)]
    rows += [(4, "S00", -15.0, 120.0, 0.0), (10, "S00", -5.0, 100.0, 0.0)]
    told = holding.holding(fills(rows), make_panel(np.zeros((12, 2))))
    assert (told.closed, told.open) == (3, 0)
    assert told.mean_sessions == pytest.approx((4 * 1000 + 2 * 550 + 8 * 550) / 2100)
    assert (told.median_sessions, told.longest_sessions) == (4, 8)
    assert told.hit_rate == pytest.approx(2 / 3)
    assert told.profit_factor == pytest.approx(250 / 50)
    assert told.mean_gain == pytest.approx((0.2 + 50 / 550) / 2)
    assert told.mean_loss == pytest.approx(-50 / 550)
    assert [(a, s) for a, _, s in told.distribution if s] == [
        (2, pytest.approx(1550 / 2100)),
        (6, pytest.approx(550 / 2100)),
    ]


def test_a_trade_through_zero_closes_the_long_and_opens_a_short(make_panel: Make) -> None:
    rows = [(0, "S00", 10.0, 100.0, 10.0), (1, "S00", -30.0, 110.0, 30.0), (3, "S00", 20.0, 90.0, 0.0)]
    told = holding.holding(fills(rows), make_panel(np.zeros((5, 1))))
    assert (told.closed, told.open) == (2, 0)
    # A share cost 101 with its commission and brought 109; the short brought 109 a share and cost 90.
    assert told.mean_gain == pytest.approx((8 / 101 + 19 / 109) / 2)
    assert told.hit_rate == 1.0 and math.isnan(told.profit_factor) and math.isnan(told.mean_loss)


def test_a_split_splits_the_lots(make_panel: Make) -> None:
    splits = np.ones((6, 1))
    splits[2] = 2.0
    rows = [(0, "S00", 10.0, 100.0, 0.0), (4, "S00", -20.0, 55.0, 0.0)]
    told = holding.holding(fills(rows), make_panel(np.zeros((6, 1)), splits=splits))
    assert (told.closed, told.open) == (1, 0)
    assert told.mean_gain == pytest.approx(0.1)


def test_an_account_without_fills_held_nothing(make_panel: Make) -> None:
    told = holding.holding(FILLS.schema.empty_table(), make_panel(np.zeros((3, 1))))
    assert (told.closed, told.open) == (0, 0) and math.isnan(told.mean_sessions)


def test_falls_by_hand() -> None:
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(9)]
    marks = np.array([100.0, 90.0, 100.0, 110.0, 88.0, 99.0, 111.0, 111.0, 100.0])
    found = drawdowns.falls(marks, days)
    assert [fall.depth for fall in found] == pytest.approx([-0.2, -0.1, 100 / 111 - 1])
    assert found[0][1:] == (days[3], days[4], days[6], 3)
    assert found[1][1:] == (days[0], days[1], days[2], 2)
    assert found[2][1:] == (days[7], days[8], None, 1)
    assert drawdowns.time_under_water(marks) == pytest.approx(4 / 9)
    assert drawdowns.falls(np.array([1.0, 2.0]), days[:2]) == []


def test_the_deepest_fall_is_the_maximum_drawdown() -> None:
    marks = np.exp(np.random.default_rng(3).normal(0, 0.02, 500).cumsum())
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(500)]
    found = drawdowns.falls(marks, days)
    assert found[0].depth == pytest.approx((marks / np.maximum.accumulate(marks) - 1).min())
    assert [fall.depth for fall in found] == sorted(fall.depth for fall in found)


def test_sortino_of_the_published_example() -> None:
    # Rollinger and Hoffman, Sortino: A 'Sharper' Ratio (Red Rock Capital 2013): eight annual returns, target 0:
    # mean 10 %, target downside deviation 2.264 %, ratio 4.417.
    returns = np.array([0.17, 0.15, 0.23, -0.05, 0.12, 0.09, 0.13, -0.04])
    marks = 100 * np.cumprod(np.concatenate([[1.0], 1 + returns]))
    days = [date(2000 + i, 12, 31) for i in range(9)]
    nothing = np.zeros(9)
    table = {
        "run_id": ["r"] * 9,
        "date": days,
        "event_time": [datetime(d.year, 12, 31, tzinfo=UTC) for d in days],
        "equity": marks,
        **{n: nothing for n in ("cash", "gross_exposure", "net_exposure", "turnover", "costs")},
    }
    assert summarise(pa.table(table, schema=EQUITY.schema), 1.0).sortino == pytest.approx(4.417, abs=5e-4)


def test_resamples_of_constant_returns_are_the_account_itself() -> None:
    told = montecarlo.resample(np.full(300, 0.001), seed=1, draws=200)
    assert told.at[0] == 0 and told.at[-1] == 300
    assert told.fan == pytest.approx(np.tile(1.001**told.at, (5, 1)))
    assert (told.loss, told.deeper, told.drawdown.max()) == (0.0, 0.0, 0.0)


def test_the_fan_has_the_width_of_independent_normal_returns() -> None:
    returns = np.random.default_rng(2).normal(0.0, 0.01, 1000)
    told = montecarlo.resample(returns, seed=3, draws=4000)
    logs = np.log1p(returns)
    low, middle, high = np.log(told.final[[0, 2, 4]])
    assert middle == pytest.approx(logs.sum(), abs=0.03)
    assert high - low == pytest.approx(2 * 1.645 * logs.std() * math.sqrt(1000), rel=0.1)
    again = montecarlo.resample(returns, seed=3, draws=4000)
    assert np.array_equal(told.fan, again.fan), "the same seed draws the same"
    assert 0 < told.deeper < 1 and (told.depths <= 0).all()


def test_regimes_part_the_sessions_by_what_was_known_before(make_panel: Make) -> None:
    rng = np.random.default_rng(9)
    wild = np.where(np.arange(1200) // 150 % 2, 0.03, 0.005)[:, None]
    panel = make_panel(rng.normal(0, 1.0, (1200, 1)) * wild)
    days, own = panel.dates[1:].tolist(), rng.normal(0, 0.01, 1199)
    told = regimes.by_regime(days, own, panel, 252.0)
    assert [(row.kind, row.name) for row in told] == [
        *(("volatility", name) for name in ("calm", "usual", "wild")),
        *(("trend", name) for name in ("falling", "rising")),
    ]
    trend = [row for row in told if row.kind == "trend"]
    assert sum(row.sessions for row in trend) == 1199 - 199 + 0
    volatility = sum(row.sessions for row in told if row.kind == "volatility")
    assert volatility == 1199 - (63 + 126 - 1)
    # The future changes nothing before it.
    moved = panel.returns.copy()
    moved[800:] *= 5.0
    early = regimes.by_regime(days[:799], own[:799], panel, 252.0)
    assert early == regimes.by_regime(days[:799], own[:799], make_panel(moved), 252.0)


def test_total_returns_hold_splits_and_dividends(tiny: object) -> None:
    bars = tiny.bars({"A": [100.0, 52.0, 52.0, None], "B": [10.0, 11.0, None, 12.0]})  # type: ignore[attr-defined]
    acts = tiny.actions([("A", "split", 1, 2.0), ("A", "dividend", 2, 1.3)])  # type: ignore[attr-defined]
    panel = lay_out(bars, tiny.sessions(4), acts)  # type: ignore[attr-defined]
    assert panel.symbols == ["A", "B"]
    assert panel.returns[1] == pytest.approx([0.04, 0.1])
    assert panel.returns[2, 0] == pytest.approx(1.3 / 52)
    assert np.isnan(panel.returns[[0, 2, 3], [0, 1, 1]]).all()
    assert panel.market[1] == pytest.approx(0.07)
    assert np.isnan(panel.dollar_volume).all()
    with pytest.raises(DataError, match="no session on 2025"):
        panel.rows_of([date(2025, 1, 1)])
