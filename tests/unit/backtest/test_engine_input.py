"""What bad input gets: one line that names the row, and never a run on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from aiquant.backtest import engine
from aiquant.calendars import Sessions
from aiquant.errors import DataError, SettingsError
from aiquant.schemas import EQUITY, FILLS
from aiquant.settings import BacktestSettings

Trade = Callable[..., engine.Result]
CLOSES = {"A": [10, 11, 12], "B": [20, 20, 20]}
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("decisions", "changes", "said"),
    [
        ({0: {"A": NAN}}, {}, "the weight of A on 2024-01-01 is not a finite number"),
        ({1: {"A": 0.1, "B": INF}}, {}, "the weight of B on 2024-01-02 is not a finite number"),
        ({0: {"A": 0.1, "X": 0.1, "Y": 0.1}}, {}, "there are no bars of X, Y"),
        ({0: {"A": 0.1}, 9: {"A": 0.1}}, {}, "no session of every-day with bars on 2024-01-10"),
        ({0: {"A": -0.1}}, {"allow_short": False}, "A has the negative weight -0.1 on 2024-01-01"),
        ({0: {"A": 25.0, "B": -25.0}}, {}, "the sizes of 2024-01-01 sum to 50, more than 10"),
        ({1: {"A": 0.8, "B": 0.7}}, {}, "those of 2024-01-02 sum to 1.5, more than the account can pay"),
    ],
)
def test_bad_weights_are_refused_with_their_place(
    trade: Trade, decisions: dict[int, dict[str, float]], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=f"weights: .*{said}") as error:
        trade(CLOSES, decisions, **changes)
    assert error.value.exit_code == 2


def test_many_unknown_symbols_are_named_by_the_first_few(trade: Trade) -> None:
    with pytest.raises(DataError, match="no bars of X0, X1, X2, X3, X4 and 3 more"):
        trade(CLOSES, {0: {f"X{i}": 0.01 for i in range(8)}})


def test_more_than_all_may_be_bought_against_shorts_or_on_margin(trade: Trade) -> None:
    assert trade(CLOSES, {0: {"A": 1.3, "B": -0.3}}).fills.num_rows == 2
    assert trade(CLOSES, {0: {"A": 0.8, "B": 0.7}}, margin=True).fills.num_rows == 2


class Market:
    """The pieces of a run, to be spoilt one at a time."""

    def __init__(self, tiny: Any) -> None:
        self.bars: pa.Table = tiny.bars(CLOSES)
        self.weights: pa.Table = tiny.weights({0: {"A": 0.5, "B": 0.5}})
        self.sessions: Sessions = tiny.sessions(3)
        self.actions: pa.Table | None = None
        self.settings: BacktestSettings = tiny.free()

    def run(self) -> engine.Result:
        return engine.run(self.weights, self.bars, self.sessions, self.settings, "r", self.actions)


@pytest.fixture
def market(tiny: Any) -> Market:
    return Market(tiny)


def spoil(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    return table.set_column(
        table.schema.get_field_index(column), column, pa.array(values, table.schema.field(column).type)
    )


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("close", NAN, "the close of A on 2024-01-02 is nan, not a positive number"),
        ("close", 0.0, "the close of A on 2024-01-02 is 0.0, not a positive number"),
        ("open", -1.0, "the open of A on 2024-01-02 is -1.0, not a positive number"),
        ("date", date(2024, 1, 1), "A has more than one bar on 2024-01-01"),
        ("interval", "5m", "bars of interval 1d, 5m were given"),
        ("adjustment", "splits", "those of A are adjusted in different ways"),
    ],
)
def test_bad_bars_are_refused_with_their_place(market: Market, column: str, value: Any, said: str) -> None:
    market.bars = spoil(market.bars, column, 1, value)
    with pytest.raises(DataError, match=said):
        market.run()


def test_no_bars_no_weights_and_missing_columns(market: Market) -> None:
    whole = market.bars
    market.bars = whole.slice(0, 0)
    with pytest.raises(DataError, match="no bars to trade on"):
        market.run()
    market.bars = whole.drop_columns(["open", "adjustment"])
    with pytest.raises(DataError, match=r"bars lack the column\(s\) open, adjustment"):
        market.run()
    market.bars = whole
    market.weights = market.weights.slice(0, 0)
    with pytest.raises(DataError, match="weights have no row"):
        market.run()
    market.weights = pa.table({"date": [date(2024, 1, 1)], "ticker": ["A"]})
    with pytest.raises(DataError, match=r"weights lack the column\(s\) symbol, weight"):
        market.run()
    market.weights = pa.table({"date": ["soon"], "symbol": ["A"], "weight": [0.1]})
    with pytest.raises(DataError, match="a column is of the wrong type"):
        market.run()


@pytest.mark.parametrize("column", ["date", "symbol"])
def test_weights_without_a_date_or_a_symbol(market: Market, column: str) -> None:
    market.weights = spoil(market.weights, column, 0, None)
    with pytest.raises(DataError, match=rf"weights: 1 row\(s\) have no {column}"):
        market.run()


def test_two_weights_for_one_symbol_and_date(market: Market) -> None:
    market.weights = pa.concat_tables([market.weights, market.weights])
    with pytest.raises(DataError, match="A has more than one weight on 2024-01-01"):
        market.run()


def test_bars_on_other_days_are_left_out_with_a_word(market: Market) -> None:
    full = market.sessions
    market.sessions = Sessions("some-days", full.dates[:2], full.opens[:2], full.closes[:2], full.per_year)
    result = market.run()
    assert result.equity.num_rows == 2
    assert result.notes == ("2 bar(s) on days that are no session of some-days were left out",)
    market.sessions = Sessions("none", full.dates[:0], full.opens[:0], full.closes[:0], full.per_year)
    with pytest.raises(DataError, match="bars: none lies on a session of none"):
        market.run()


def test_a_run_that_ends_before_its_first_decision_is_refused(trade: Trade) -> None:
    with pytest.raises(DataError, match="ends on 2024-01-01, before the first decision on 2024-01-02"):
        trade(CLOSES, {1: {"A": 0.5}}, last=date(2024, 1, 1))


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (("A", "merger", 1, 1.0), "kind 'merger' is none of split, dividend, delisting"),
        (("A", "split", 1, 0.0), "the split of A on 2024-01-02 needs a ratio above 0, not 0.0"),
        (("A", "split", 1, None), "needs a ratio above 0, not None"),
        (("A", "dividend", 1, None), "the dividend of A on 2024-01-02 needs an amount of 0 or more, not None"),
        (("A", "delisting", 1, -1.0), "needs an amount of 0 or more, not -1.0"),
    ],
)
def test_bad_actions_are_refused(trade: Trade, action: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"corporate actions: .*{said}"):
        trade(CLOSES, {0: {"A": 0.5}}, acts=[action])


def test_an_action_that_stands_twice_is_refused(trade: Trade) -> None:
    with pytest.raises(DataError, match="the split of A on 2024-01-02 stands twice"):
        trade(CLOSES, {0: {"A": 0.5}}, acts=[("A", "split", 1, 2.0)] * 2)


def test_actions_of_others_and_outside_of_the_run_do_not_matter(trade: Trade) -> None:
    acts = [("B", "merger", 1, 1.0), ("A", "split", -5, 2.0), ("A", "dividend", 9, 1.0), ("A", "delisting", -1, 5.0)]
    assert trade(CLOSES, {0: {"A": 0.5}}, acts=acts).equity == trade(CLOSES, {0: {"A": 0.5}}).equity


def test_costs_that_take_the_whole_price_are_refused(trade: Trade) -> None:
    with pytest.raises(SettingsError, match="slippage_bps = 10000.0 takes the whole price"):
        trade(CLOSES, {0: {"A": 0.5}}, slippage_bps=10_000.0)


def test_the_order_of_rows_changes_nothing(market: Market) -> None:
    plain = market.run()
    rng = np.random.default_rng(5)
    market.bars = market.bars.take(rng.permutation(market.bars.num_rows))
    market.weights = market.weights.take(pa.array([1, 0]))
    assert market.run().equity == plain.equity
    assert market.run().fills == plain.fills


def test_results_are_in_the_schemas_of_the_house(market: Market) -> None:
    result = market.run()
    assert result.equity.schema == EQUITY.schema
    assert result.fills.schema == FILLS.schema
    assert pc.unique(result.equity["run_id"]).to_pylist() == ["r"]
    key = pl.DataFrame(pl.from_arrow(result.fills)).select(FILLS.key)
    assert not key.is_duplicated().any()


def test_conventions_tell_every_rule_that_moves_a_result(market: Market) -> None:
    market.settings = BacktestSettings(commission_bps=2.5, shares="whole", allow_short=False, margin=True)
    told = market.run().conventions
    assert told["commission"] == "2.5 bp of the slipped notional"
    assert told["shares"].startswith("whole")
    assert told["shorts"] == "not allowed"
    assert "margin" in told["cash"]
    assert "next bar's open" in told["fill"]
    assert {"decision", "order", "slippage", "marking", "delisting", "corporate actions", "turnover"} <= set(told)
