"""Strategies that order shares: read as they are meant, held to the contract, found out, never mixed with weights."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from aiquant.errors import UsageError
from aiquant.portfolio.strategies import Book, History, leakage, recursion, runner
from aiquant.portfolio.strategies.contract import StrategyContract, market
from aiquant.portfolio.strategies.feed import Tables
from aiquant.schemas import ORDERS


class Says:
    """Decides what it is told, by the number of decision times so far."""

    def __init__(self, decide: Callable[[History], Any]) -> None:
        self._decide = decide

    def decide(self, history: History) -> Book:
        told: Book = self._decide(history)
        return told


def orders(**shares: float | None) -> pl.DataFrame:
    return pl.DataFrame({"symbol": list(shares), "shares": pl.Series(list(shares.values()), dtype=pl.Float64)})


class Dips:
    """Buy 10 shares of what closes lowest in ``window`` closes."""

    def __init__(self, window: int = 10) -> None:
        self.window = self.lookback = window

    def decide(self, history: History) -> Book:
        closes = history.closes(self.window)
        if len(closes) < self.window:
            return None
        low = np.flatnonzero(history.tradable & (closes[-1] <= closes.min(axis=0)))
        return orders(**{history.symbols[i]: 10.0 for i in low})


class TestOrdersKeepTheContract(StrategyContract):
    def strategy(self) -> Dips:
        return Dips()


@pytest.fixture(scope="module")
def told() -> Tables:
    return market()


def test_orders_become_the_table_of_orders(told: Tables) -> None:
    feed = told.feed()
    days = [orders(S02=3, S00=-1.5), orders(), None, orders(S00=0.0), orders(S00=2).to_arrow()]
    made = runner.decisions(Says(lambda history: days[len(history) - 1]), feed, "mine", until=4)
    decided = runner.tables_of(made, feed, "run")
    assert decided.weights is None and decided.orders.schema == ORDERS.schema
    rows = decided.orders.select(["run_id", "date", "symbol", "shares"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("run", date(2020, 1, 1), "S00", -1.5),
        ("run", date(2020, 1, 1), "S02", 3.0),
        ("run", date(2020, 1, 7), "S00", 2.0),
    ]
    assert len(set(decided.orders["order_id"].to_pylist())) == 3
    assert (decided.asked, decided.decided) == (5, 2), "an empty table of orders decides nothing, and sells nothing"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (orders(S00=1).with_columns(weight=0.5), "both weight and shares"),
        (orders(S00=float("inf")), "the shares of S00 is inf"),
        (orders(S00=None), "the shares of S00 is nan"),
        (orders(NONE=1), "it orders 'NONE', which has had no bar"),
        (pl.concat([orders(S00=1), orders(S00=2)]), "S00 stands twice"),
        (pl.DataFrame({"symbol": ["S00"], "shares": ["many"]}), "its shares are no numbers"),
        (pl.DataFrame({"shares": [1.0]}), r"lacks the column\(s\) symbol"),
    ],
)
def test_what_are_no_orders_is_refused(answer: pl.DataFrame, problem: str, told: Tables) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        runner.decisions(Says(lambda history: answer), told.feed(), "mine", until=0)
    assert "on 2020-01-01" in caught.value.problem and "symbol and shares of orders" in str(caught.value.remedy)


@pytest.mark.parametrize("first", ["weight", "shares"])
def test_weights_and_shares_are_not_mixed(first: str, told: Tables) -> None:
    days = [{"S00": 0.5}, None, orders(S00=1)]
    if first == "shares":
        days.reverse()
    with pytest.raises(UsageError, match=f"on 2020-01-03: it gives .*, and gave {first} before"):
        runner.decisions(Says(lambda history: days[len(history) - 1]), told.feed(), "mine", until=2)


def test_orders_that_hang_on_calls_or_on_the_beginning_are_found(told: Tables) -> None:
    def counting() -> Says:
        calls: list[int] = []
        return Says(lambda history: calls.append(1) or orders(S00=len(calls)))

    found = [f for f in leakage.examine(counting, told, "mine", cuts=2, seed=1) if f.differing]
    assert {f.what for f in found} == {"asked alone"}
    assert "S00 on" in str(found[0].example) and "and shares 1 (asked alone)" in str(found[0].example)
    growing = recursion.examine(lambda: Says(lambda history: orders(S00=len(history))), told, "mine")
    assert growing.warm_up is None and not growing.passed


def test_shares_for_weights_are_a_difference_though_the_numbers_agree(told: Tables) -> None:
    """Weights with one history, orders of the same numbers with another: a walk of either is not mixed."""

    def early(history: History) -> Any:
        return {"S04": 1.0} if len(history.closes(5)) == 5 else orders(S04=1)

    found = recursion.examine(lambda: Says(early), told, "mine")
    assert found.warm_up == 5 and found.lengths[0].largest == float("inf")
