"""Traded again: break-even costs that can be worked out by hand, and what more capital does."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

from aiquant.backtest import engine
from aiquant.backtest.evaluation import replays
from aiquant.settings import BacktestSettings


@pytest.fixture
def replay(tiny: Any) -> replays.Replay:
    """Buys at 100, sells at 110, with opens equal to closes: 10 % before costs."""
    bars = tiny.bars({"A": [100.0, 100.0, 110.0, 110.0]})
    weights = tiny.weights({0: {"A": 1.0}, 2: {"A": 0.0}})
    return replays.Replay(lambda rules, *_: engine.run(weights, bars, tiny.sessions(4), rules))


def test_break_even_is_where_commission_takes_all(replay: Any, tiny: Any) -> None:
    # With all cash in, (1 − c)/(1 + c)·1.1 is left: 1 at c = 0.1/2.1.
    told = replays.cost_sensitivity(replay, tiny.free(commission_bps=100.0), (1.0, 2.0, 10.0), 250.0)
    assert [row.multiple for row in told.rows] == [0.0, 1.0, 2.0, 10.0], "no costs at all are always told"
    assert told.break_even == pytest.approx(100 * 0.1 / 2.1, abs=replays.CLOSE_ENOUGH)
    assert told.rows[0].annual_costs == 0.0 and told.rows[3].annual_return < 0.0


def test_break_even_in_basis_points_is_the_rate_that_was_paid(replay: Any, tiny: Any) -> None:
    told = replays.cost_sensitivity(replay, tiny.free(commission_bps=100.0), (1.0, 10.0), 250.0)
    assert told.break_even_bps == pytest.approx(1e4 * 0.1 / 2.1, rel=0.1)  # turnover is over the equity before


def test_a_book_that_outlives_all_costs_that_were_tried_or_earns_nothing_without(replay: Any, tiny: Any) -> None:
    told = replays.cost_sensitivity(replay, tiny.free(commission_bps=1.0), (1.0, 2.0), 250.0)
    assert told.break_even == math.inf and math.isnan(told.break_even_bps)
    bars, sessions = tiny.bars({"A": [100.0, 100.0, 90.0]}), tiny.sessions(3)
    falls = replays.Replay(lambda rules, *_: engine.run(tiny.weights({0: {"A": 1.0}}), bars, sessions, rules))
    losing = replays.cost_sensitivity(falls, tiny.free(), (1.0,), 250.0)
    assert losing.break_even == 0.0


def test_every_cost_is_multiplied_and_a_price_is_never_taken_whole() -> None:
    rules = BacktestSettings(commission_bps=6_000.0, slippage_bps=3.0, borrow_bps=10.0)
    twice = replays.at_costs(rules, 2.0)
    assert (twice.commission_bps, twice.slippage_bps, twice.borrow_bps) == (9_999.0, 6.0, 20.0)


def test_spreads_of_single_symbols_are_multiplied_as_those_of_all_are(tiny: Any) -> None:
    bars, weights = tiny.bars({"A": [100.0, 100.0, 110.0, 110.0]}), tiny.weights({0: {"A": 1.0}, 2: {"A": 0.0}})

    def trade(rules: BacktestSettings, orders: pa.Table | None, terms: pa.Table | None) -> engine.Result:
        return engine.run(weights, bars, tiny.sessions(4), rules, instruments=terms)

    own = replays.Replay(trade, instruments=tiny.instruments(A={"spread_bps": 400.0, "lot": 1.0}))
    told = replays.cost_sensitivity(own, tiny.free(), (1.0, 2.0, 4.0), 250.0)
    same = replays.cost_sensitivity(replays.Replay(trade), tiny.free(spread_bps=400.0), (1.0, 2.0, 4.0), 250.0)
    assert told == same and told.rows[0].annual_costs == 0.0
    # All cash in, (1 − s)/(1 + s)·1.1 is left: 1 at s = 0.1/2.1, of which half the spread is 0.02 at once the costs.
    assert told.break_even == pytest.approx(0.1 / 2.1 / 0.02, abs=replays.CLOSE_ENOUGH)


def test_orders_grow_with_capital_so_that_only_impact_tells_capitals_apart(tiny: Any) -> None:
    bars, orders = tiny.bars({"A": [100.0, 100.0, 110.0, 110.0]}), tiny.orders({0: {"A": 5.0}, 2: {"A": -5.0}})

    def trade(rules: BacktestSettings, told: pa.Table | None, terms: pa.Table | None) -> engine.Result:
        return engine.run(None, bars, tiny.sessions(4), rules, orders=told)

    told = replays.capacity(replays.Replay(trade, orders=orders), tiny.free(), (1_000.0, 10_000.0), 250.0)
    assert [row.traded for row in told.rows] == pytest.approx([1.0, 1.0])
    assert told.rows[0].annual_return == pytest.approx(told.rows[1].annual_return) and told.rows[0].annual_return > 0


def test_costs_of_all_kinds_are_known() -> None:
    kinds = ("bps", "impact", "slippage", "commission")
    named = {n for n in BacktestSettings.model_fields if n.startswith(kinds) or n.endswith(kinds)}
    assert named <= set(replays.COSTS), "a new cost has to be multiplied, too"


def test_half_of_the_return_lies_on_the_line_over_the_logarithm_of_capital() -> None:
    rows = [replays.AtCapital(c, r, 1.0, 0.0, 1.0) for c, r in ((1e5, 0.10), (1e6, 0.08), (1e8, 0.02))]
    # From 8 % to 2 % over two decades: 5 % is reached after one of them.
    assert replays._half(rows, 0.0) == pytest.approx(1e7)
    assert replays._half(rows[:2], 0.0) == math.inf
    assert math.isnan(replays._half(rows, 0.2))
