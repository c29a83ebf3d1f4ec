"""Traded again: break-even costs that can be worked out by hand, and what more capital does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from aiquant.backtest import engine
from aiquant.backtest.evaluation import replays
from aiquant.settings import BacktestSettings


@pytest.fixture
def replay(tiny: Any) -> Callable[[BacktestSettings], engine.Result]:
    """Buys at 100, sells at 110, with opens equal to closes: 10 % before costs."""
    bars = tiny.bars({"A": [100.0, 100.0, 110.0, 110.0]})
    weights = tiny.weights({0: {"A": 1.0}, 2: {"A": 0.0}})
    return lambda rules: engine.run(weights, bars, tiny.sessions(4), rules)


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
    losing = replays.cost_sensitivity(
        lambda rules: engine.run(tiny.weights({0: {"A": 1.0}}), bars, sessions, rules), tiny.free(), (1.0,), 250.0
    )
    assert losing.break_even == 0.0


def test_every_cost_is_multiplied_and_a_price_is_never_taken_whole() -> None:
    rules = BacktestSettings(commission_bps=6_000.0, slippage_bps=3.0, borrow_bps=10.0)
    twice = replays.at_costs(rules, 2.0)
    assert (twice.commission_bps, twice.slippage_bps, twice.borrow_bps) == (9_999.0, 6.0, 20.0)


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
