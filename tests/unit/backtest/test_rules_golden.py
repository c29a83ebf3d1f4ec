"""Cases of a few rows for the rules that are off by default, with the arithmetic beside them; see test_engine_golden.

Without another word an account has 1000 of cash, and no costs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest

from aiquant.backtest.engine import Result
from aiquant.errors import DataError, SettingsError

Trade = Callable[..., Result]


def column(result: Result, name: str) -> list[float]:
    return [float(value) for value in result.equity[name].to_pylist()]


def fills(result: Result) -> list[tuple[int, str, float, float]]:
    """(day, symbol, shares, price)."""
    return [(row["date"].day - 1, row["symbol"], row["shares"], row["price"]) for row in result.fills.to_pylist()]


def reasons(result: Result) -> list[str]:
    return [str(reason) for reason in result.fills["reason"].to_pylist()]


def flows(result: Result) -> list[tuple[int, str, float]]:
    """(day, kind, amount)."""
    return [(row["date"].day - 1, row["kind"], row["amount"]) for row in result.flows.to_pylist()]


# Fees


def test_commission_a_share_comes_on_top_of_the_other(trade: Trade) -> None:
    result = trade({"A": [10, 10, 20]}, {0: {"A": 0.5}, 1: {"A": 0.0}}, commission_bps=100, commission_per_share=0.02)
    # Buy 50 at 10: 500 × 1 % + 50 × 0.02 = 6. Sell 50 at 20: 1000 × 1 % + 1 = 11.
    assert result.fills["commission"].to_pylist() == pytest.approx([6, 11])
    assert result.conventions["commission"] == "100 bp of the slipped notional and 0.02 a share"


def test_the_least_commission_is_paid_for_what_an_order_executes(trade: Trade) -> None:
    result = trade({"A": [10, 10], "B": [10, 10]}, {0: {"A": 0.5, "B": 0.01}}, commission_bps=100, commission_minimum=2)
    # A: 500 × 1 % = 5. B: 10 × 1 % = 0.10, at least 2.
    assert result.fills["commission"].to_pylist() == pytest.approx([5, 2])
    assert column(result, "cash")[1] == pytest.approx(1000 - 505 - 12)


def test_scaled_buys_leave_room_for_least_commissions(trade: Trade) -> None:
    result = trade({"A": [10, 10], "B": [20, 20]}, {0: {"A": 0.5, "B": 0.5}}, commission_minimum=20)
    # Wanted 1000 + 2 × 20. Factor (1000 − 40) ÷ 1000: 48 and 24 shares, 960 + 40 paid.
    assert [shares for _, _, shares, _ in fills(result)] == pytest.approx([48, 24])
    assert column(result, "cash")[1] == pytest.approx(0, abs=1e-6)


# Slippage and impact


def test_half_of_the_spread_is_paid_on_top_of_the_fixed_slippage(trade: Trade) -> None:
    result = trade({"A": [10, 10, 10]}, {0: {"A": 0.5}, 1: {"A": 0.0}}, slippage_bps=100, spread_bps=200)
    # 1 % + half of 2 %: 10.20 and 9.80.
    assert [price for *_, price in fills(result)] == pytest.approx([10.20, 9.80])
    assert "half of a spread of 200 bp" in result.conventions["slippage"]


def test_a_spread_of_its_own_counts_for_its_symbol_alone(trade: Trade, tiny: Any) -> None:
    terms = tiny.instruments(A={"spread_bps": 400.0}, B={})
    result = trade({"A": [10, 10], "B": [10, 10]}, {0: {"A": 0.2, "B": 0.2}}, terms=terms, spread_bps=100)
    assert fills(result) == [(1, "A", 20, pytest.approx(10.20)), (1, "B", 20, pytest.approx(10.05))]


def test_slippage_by_the_volatility_of_the_bars_before(trade: Trade) -> None:
    # Closes 100, 110, 99: returns +10 %, −10 %. Their standard deviation is sqrt(2) × 10 % = 14.14 %; half of it is
    # lost: the fill's own bar (+50 %) does not count.
    result = trade({"A": [100, 110, 99, 148.5]}, {2: {"A": 0.5}}, slippage_volatility=0.5, cost_window=2)
    assert fills(result) == [(3, "A", pytest.approx(500 / 99), pytest.approx(148.5 * (1 + 0.5 * 0.1 * sqrt(2))))]


def test_market_impact_is_sigma_times_the_root_of_the_share_of_mean_volume(trade: Trade) -> None:
    volume = {"A": [100, 300, 500, 9999]}
    result = trade(
        {"A": [100, 110, 99, 99]}, {2: {"A": 0.99}}, more={"volume": volume}, impact=2.0, cost_window=2, margin=True
    )
    # σ = sqrt(2) × 10 %, mean volume (300 + 500) ÷ 2 = 400, 10 shares: 2 × 0.1414 × sqrt(10 ÷ 400) = 4.47 %.
    assert fills(result) == [(3, "A", pytest.approx(10), pytest.approx(99 * (1 + 2 * 0.1 * sqrt(2) * sqrt(10 / 400))))]
    assert result.conventions["market impact"].startswith("2 × σ × sqrt(shares ÷ mean volume)")


def test_a_split_is_no_volatility_and_volumes_before_it_count_in_new_shares(trade: Trade) -> None:
    plain = {"A": [100, 110, 99, 99]}
    split = {"A": [200, 220, 99, 99]}
    asked: dict[str, Any] = {"impact": 2.0, "cost_window": 2, "margin": True}
    one = trade(plain, {2: {"A": 0.99}}, more={"volume": {"A": [100, 300, 500, 1]}}, **asked)
    acts = [("A", "split", 2, 2.0)]
    other = trade(split, {2: {"A": 0.99}}, more={"volume": {"A": [50, 150, 500, 1]}}, acts=acts, **asked)
    assert fills(one) == fills(other)


# Partial fills


def test_the_rest_of_a_partial_fill_waits(trade: Trade) -> None:
    volume = {"A": [0, 100, 200, 1000, 1000]}
    result = trade({"A": [10] * 5}, {0: {"A": 0.5}}, more={"volume": volume}, participation=0.1)
    # 50 wanted; a tenth of the volumes is 10, 20, 100: 10, then 20, then the last 20.
    assert fills(result) == [(1, "A", 10, 10), (2, "A", 20, 10), (3, "A", 20, 10)]
    assert result.conventions["partial fills"].endswith("the rest waits for the next bar")


def test_or_it_is_withdrawn(trade: Trade) -> None:
    volume = {"A": [0, 100, 200, 1000]}
    result = trade({"A": [10] * 4}, {0: {"A": 0.5}}, more={"volume": volume}, participation=0.1, rest="withdraw")
    assert fills(result) == [(1, "A", 10, 10)]


def test_a_sale_is_cut_as_well_and_a_bar_without_volume_fills_nothing(trade: Trade) -> None:
    volume = {"A": [0, 1000, 100, None, 1000]}
    result = trade({"A": [10] * 5}, {0: {"A": 0.5}, 1: {"A": 0.0}}, more={"volume": volume}, participation=0.1)
    assert fills(result) == [(1, "A", 50, 10), (2, "A", -10, 10), (4, "A", -40, 10)]


def test_bars_without_volumes_are_refused_where_volumes_count(trade: Trade) -> None:
    with pytest.raises(DataError, match="the bars have no volumes"):
        trade({"A": [10, 10]}, {0: {"A": 0.5}}, participation=0.1)
    with pytest.raises(DataError, match="the volume of A on 2024-01-02 is -5.0, not a number of zero or more"):
        trade({"A": [10, 10]}, {0: {"A": 0.5}}, more={"volume": {"A": [1, -5]}}, participation=0.1)


# Lots


def test_whole_shares_come_in_lots_and_the_rest_of_a_position_is_sold_whole(trade: Trade, tiny: Any) -> None:
    terms = tiny.instruments(A={"lot": 30.0})
    result = trade(
        {"A": [10, 10, 10, 10], "B": [10, 10, 10, 10]},
        {0: {"A": 0.5, "B": 0.37}, 2: {"B": 0.37}},
        terms=terms,
        shares="whole",
        lot=10,
        acts=[("A", "split", 2, 1.5)],
    )
    # A: 50 wanted, one lot of 30; B: 37, three lots of 10. The split makes 45 of A, which are sold as they are.
    assert fills(result) == [(1, "A", 30, 10), (1, "B", 30, 10), (3, "A", -45, 10), (3, "B", 10, 10)]
    assert "lots given for each symbol" in result.conventions["shares"]


def test_lots_need_whole_shares(trade: Trade) -> None:
    with pytest.raises(SettingsError, match="lot = 10 needs whole shares"):
        trade({"A": [10, 10]}, {0: {"A": 0.5}}, lot=10)


# Shorts, cash


def test_each_symbol_has_its_own_borrow_fee(trade: Trade, tiny: Any) -> None:
    terms = tiny.instruments(A={"borrow_bps": 5000.0})
    result = trade({"A": [10, 10], "B": [10, 10]}, {0: {"A": -0.2, "B": -0.3}}, terms=terms, borrow_bps=250)
    # A session is 1/250 of a year: 200 × 50 % ÷ 250 = 0.40, and B as the setting says: 300 × 2.5 % ÷ 250 = 0.03.
    assert flows(result) == [(1, "borrow fee", pytest.approx(-0.43))]


def test_no_more_is_short_than_can_be_borrowed(trade: Trade, tiny: Any) -> None:
    terms = tiny.instruments(A={"locate": 15.0}, B={"locate": 0.0}, C={})
    closes = {s: [10, 10, 10] for s in "ABC"}
    result = trade(closes, {0: {"A": 0.1, "B": 0.1, "C": -0.2}, 1: {"A": -0.2, "B": -0.2, "C": -0.3}}, terms=terms)
    # A: from 10 to −15 instead of −20; B: sold to 0; C: any number.
    assert fills(result)[-3:] == [(2, "A", -25, 10), (2, "B", -10, 10), (2, "C", -10, 10)]
    assert "2 sale(s) were cut to what could be borrowed" in result.notes


def test_interest_on_cash_beyond_the_value_of_shorts(trade: Trade) -> None:
    result = trade({"A": [10, 10, 5]}, {0: {"A": -0.5}}, cash_rate=0.25)
    # A thousandth a session. Day 0: 1000, so 0.5 × 1001 ÷ 10 = 50.05 are sold. Day 1: 1501.5 − 500.5 = 1001. Day 2:
    # 1502.501 − 50.05 × 5 = 1252.251.
    assert flows(result) == [
        (0, "interest", pytest.approx(1.0)),
        (1, "interest", pytest.approx(1.001)),
        (2, "interest", pytest.approx(1.252251)),
    ]


def test_interest_on_margin_debt(trade: Trade) -> None:
    result = trade({"A": [10, 10, 10]}, {0: {"A": 1.5}}, margin=True, margin_rate=0.25)
    # 150 × 10 bought with 1000: −500 of cash cost 0.50; −500.50 then 0.5005.
    assert flows(result) == [
        (1, "margin interest", pytest.approx(-0.5)),
        (2, "margin interest", pytest.approx(-0.5005)),
    ]


# Limits


def test_a_weight_is_cut_to_the_largest_position(trade: Trade) -> None:
    result = trade({"A": [10, 10], "B": [10, 10]}, {0: {"A": 0.5, "B": -0.4}}, max_position=0.3)
    assert fills(result) == [(1, "B", -30, 10), (1, "A", 30, 10)]
    assert "1 decision(s) were cut to the limits of position or exposure" in result.notes


def test_a_book_is_scaled_to_the_largest_gross_exposure(trade: Trade) -> None:
    result = trade({"A": [10, 10], "B": [10, 10]}, {0: {"A": 0.6, "B": -0.4}}, max_gross=0.5)
    assert fills(result) == [(1, "B", -20, 10), (1, "A", 30, 10)]


def test_the_larger_side_is_scaled_to_the_largest_net_exposure(trade: Trade) -> None:
    result = trade({"A": [10, 10], "B": [10, 10], "C": [10, 10]}, {0: {"A": 0.4, "B": -0.2, "C": 0.4}}, max_net=0.2)
    # Long 0.8, short 0.2: long may be 0.4, half of it.
    assert fills(result) == [(1, "B", -20, 10), (1, "A", 20, 10), (1, "C", 20, 10)]


# Stops: 50 shares bought at 10 on day 1, if nothing else is said.


def bars_of(lows: list[float], highs: list[float]) -> dict[str, dict[str, list[float]]]:
    return {"low": {"A": lows}, "high": {"A": highs}}


def test_a_stop_loss_inside_the_bar_fills_at_its_level(trade: Trade) -> None:
    result = trade(
        {"A": [10, 10, 10, 10]},
        {0: {"A": 0.5}},
        opens={"A": [10, 10, 10, 10]},
        more=bars_of([10, 10, 8.9, 10], [10, 10, 10, 10]),
        stop_loss=0.1,
        slippage_bps=0,
    )
    assert fills(result) == [(1, "A", 50, 10), (2, "A", -50, 9)]
    assert reasons(result) == ["rebalance", "stop-loss"]
    assert column(result, "cash")[-1] == 950


def test_a_gap_through_the_level_fills_at_the_open_and_pays_slippage(trade: Trade) -> None:
    result = trade(
        {"A": [10, 10, 8]},
        {0: {"A": 0.5}},
        opens={"A": [10, 10, 8.5]},
        more=bars_of([10, 10, 8], [10, 10, 8.5]),
        stop_loss=0.1,
        slippage_bps=100,
    )
    # Entry at 10.10, the level is 9.09. Opened at 8.5: sold at 8.5 × 0.99.
    assert fills(result)[1] == (2, "A", -50, pytest.approx(8.415))


def test_a_stop_can_be_hit_in_the_bar_of_the_entry(trade: Trade) -> None:
    closes, more = {"A": [10, 9.5, 9.5]}, bars_of([10, 8, 9.5], [10, 10, 9.5])
    at_open = trade(closes, {0: {"A": 0.5}}, opens={"A": [10, 10, 9.5]}, more=more, stop_loss=0.1)
    assert fills(at_open) == [(1, "A", 50, 10), (1, "A", -50, 9)]
    # Bought at the close the low of that bar is already over.
    at_close = trade(closes, {0: {"A": 0.5}}, opens={"A": [10, 10, 9.5]}, more=more, stop_loss=0.1, fill="close")
    assert fills(at_close) == [(1, "A", 50, 9.5)]


def test_a_take_profit_rests_at_its_level_without_slippage(trade: Trade) -> None:
    more = bars_of([10, 10, 10], [10, 10, 12.5])
    result = trade({"A": [10, 10, 11]}, {0: {"A": 0.5}}, more=more, take_profit=0.2)
    assert fills(result)[1] == (2, "A", -50, 12)
    assert reasons(result)[1] == "take-profit"
    gap = trade({"A": [10, 10, 13]}, {0: {"A": 0.5}}, more=bars_of([10, 10, 13], [10, 10, 13]), take_profit=0.2)
    assert fills(gap)[1] == (2, "A", -50, 13)
    slipped = trade({"A": [10, 10, 11]}, {0: {"A": 0.4}}, more=more, take_profit=0.2, slippage_bps=100)
    assert fills(slipped)[1] == (2, "A", -40, pytest.approx(10.1 * 1.2))


def test_of_a_stop_and_a_profit_in_one_bar_the_stop_counts(trade: Trade) -> None:
    more = bars_of([10, 10, 8], [10, 10, 13])
    result = trade({"A": [10, 10, 10]}, {0: {"A": 0.5}}, more=more, stop_loss=0.1, take_profit=0.2)
    assert fills(result)[1] == (2, "A", -50, 9)


def test_a_trailing_stop_follows_the_highs_of_earlier_bars(trade: Trade) -> None:
    more = bars_of([10, 10, 10, 17, 15], [10, 10, 20, 19, 18])
    result = trade(
        {"A": [10, 10, 19, 18, 16]}, {0: {"A": 0.5}}, opens={"A": [10, 10, 10, 18, 17]}, more=more, trailing_stop=0.2
    )
    # Day 2: best is 10, level 8; the high of 20 counts from day 3 on: level 16. Day 4: low 15.
    assert fills(result)[1] == (4, "A", -50, 16)
    assert reasons(result)[1] == "trailing-stop"


def test_stops_of_shorts_are_the_mirror(trade: Trade) -> None:
    more = bars_of([10, 10, 10], [10, 10, 11.5])
    result = trade({"A": [10, 10, 10]}, {0: {"A": -0.5}}, more=more, stop_loss=0.1, take_profit=0.2)
    assert fills(result)[1] == (2, "A", 50, 11)
    profit = trade({"A": [10, 10, 9]}, {0: {"A": -0.5}}, more=bars_of([10, 10, 7], [10, 10, 10]), take_profit=0.2)
    assert fills(profit)[1] == (2, "A", 50, 8)
    trailing = trade(
        {"A": [10, 10, 6, 7]},
        {0: {"A": -0.5}},
        opens={"A": [10, 10, 10, 5.5]},
        more=bars_of([10, 10, 5, 5.5], [10, 10, 10, 7]),
        trailing_stop=0.2,
    )
    assert fills(trailing)[1] == (3, "A", 50, 6)  # 5 × 1.2


def test_an_exit_that_is_due_at_the_open_comes_before_a_stop_inside_the_bar(trade: Trade) -> None:
    more = bars_of([10, 10, 8], [10, 10, 10.5])
    result = trade(
        {"A": [10, 10, 9]}, {0: {"A": 0.5}, 1: {"A": 0.0}}, opens={"A": [10, 10, 10.5]}, more=more, stop_loss=0.1
    )
    assert fills(result) == [(1, "A", 50, 10), (2, "A", -50, 10.5)]
    assert reasons(result) == ["rebalance", "rebalance"]


def test_a_position_stays_closed_until_the_next_decision_and_waiting_orders_are_withdrawn(trade: Trade) -> None:
    lows, highs = [10.0, 10, 8, 10, 10, 10], [10.0] * 6
    result = trade(
        {"A": [10] * 6},
        {0: {"A": 0.5}, 1: {"A": 0.6}, 3: {"A": 0.1}},
        more=bars_of(lows, highs),
        stop_loss=0.1,
        fill="close",
    )
    # Bought at the close of day 1. Day 2: stopped at 9 before the close, where 60 shares were due: withdrawn.
    # 950 of cash: day 3 decides 0.1 × 950 ÷ 10.
    assert fills(result) == [(1, "A", 50, 10), (2, "A", -50, 9), (4, "A", 9.5, 10)]


def test_the_entry_price_is_the_average_of_buys_and_a_split_moves_it(trade: Trade) -> None:
    result = trade(
        {"A": [10, 10, 20, 20, 7]},
        {0: {"A": 0.5}, 1: {"A": 1.0}},
        opens={"A": [10, 10, 20, 10, 7]},
        more=bars_of([10, 10, 20, 10, 7], [10, 10, 20, 20, 7]),
        acts=[("A", "split", 3, 2.0)],
        stop_loss=0.1,
    )
    # 50 at 10; 100 wanted, cash for 25 more at 20: average (500 + 500) ÷ 75 = 13.33, after the split 6.67: the level is
    # 6.00, and 7 does not touch it. Without averaging it would have been 10 ÷ 2 × 0.9, or 20 ÷ 2 × 0.9 = 9.
    assert [shares for _, _, shares, _ in fills(result)] == pytest.approx([50, 25])


def test_a_bar_without_high_and_low_is_its_open_and_close(trade: Trade) -> None:
    result = trade({"A": [10, 10, 8.9]}, {0: {"A": 0.5}}, opens={"A": [10, 10, 9.5]}, stop_loss=0.1)
    assert fills(result)[1] == (2, "A", -50, 9)
    assert result.notes == ("3 bar(s) have no high or low: stops saw their open and close alone",)


# Fill at the VWAP


def test_orders_fill_at_the_vwap(trade: Trade) -> None:
    result = trade({"A": [10, 12]}, {0: {"A": 0.5}}, more={"vwap": {"A": [10, 11.5]}}, fill="vwap")
    assert fills(result) == [(1, "A", 50, 11.5)]
    assert result.fills["event_time"].to_pylist()[0].hour == 21  # known when the bar is over
    assert "volume-weighted average price" in result.conventions["fill"]


def test_without_vwaps_orders_fill_at_the_close_and_the_result_says_so(trade: Trade) -> None:
    result = trade({"A": [10, 12]}, {0: {"A": 0.5}}, fill="vwap")
    assert fills(result) == [(1, "A", 50, 12)]
    assert result.notes == ("the bars have no volume-weighted average prices: orders fill at the next close",)


# Currencies


def test_prices_of_another_currency_are_exchanged_at_rates_known(trade: Trade, tiny: Any) -> None:
    terms, fx = tiny.instruments(A={"currency": "EUR"}, B={}), tiny.rates("EUR", {-1: 1.0, 0: 2.0, 1: 4.0, 2: 5.0})
    result = trade({"A": [10, 10, 10], "B": [10, 10, 10]}, {0: {"A": 0.5}}, terms=terms, fx=fx, currency="USD")
    # Day 0: a close of 10 EUR is 20 USD, 25 shares. Day 1: the open sees the rate of day 0: 25 × 20 paid; the close
    # that of day 1: 500 + 25 × 40. Day 2: 25 × 50.
    assert fills(result) == [(1, "A", 25, 20)]
    assert column(result, "equity") == [1000, 1500, 1750]
    assert result.conventions["currency"].startswith("USD; others are exchanged")


def test_dividends_are_exchanged_too(trade: Trade, tiny: Any) -> None:
    terms, fx = tiny.instruments(A={"currency": "EUR"}), tiny.rates("EUR", {-1: 2.0})
    result = trade(
        {"A": [10, 10, 10]}, {0: {"A": 0.5}}, acts=[("A", "dividend", 2, 1.0)], terms=terms, fx=fx, currency="USD"
    )
    assert flows(result) == [(2, "dividend", 50)]


def test_rates_that_are_old_are_told(trade: Trade, tiny: Any) -> None:
    terms, prices = tiny.instruments(A={"currency": "EUR"}), {"A": [10.0] * 12}
    old = trade(prices, {0: {"A": 0.5}}, terms=terms, fx=tiny.rates("EUR", {-1: 2.0, 0: 2.0}), currency="USD")
    # Day 0 is a Monday: Monday to Friday of its week are five weekdays after it up to day 7, the next Monday.
    assert old.notes == (
        "exchange rates of EUR are more than 5 weekdays old on 4 session(s), the first of them 2024-01-09: "
        "the last rate before counts",
    )
    weekly = tiny.rates("EUR", {-1: 2.0, 0: 2.0, 7: 2.0})
    assert trade(prices, {0: {"A": 0.5}}, terms=terms, fx=weekly, currency="USD").notes == ()


def test_the_median_of_an_unknown_volatility_is_that_of_all_bars(trade: Trade) -> None:
    wild = [10.0, 12.0] * 6
    calm = [10.0, 10.1] * 6
    prices = {"N": [None] * 4 + [10.0] * 8, "W": wild, "C": calm}
    early = {4: {"N": 0.5}}
    one = trade(prices, early, slippage_volatility=1.0)
    later = trade(prices, {**early, 9: {"N": 0.5, "C": 0.1, "W": 0.1}}, slippage_volatility=1.0)
    assert column(later, "equity")[:6] == column(one, "equity")[:6]
    assert later.fills.to_pylist()[0] == one.fills.to_pylist()[0]
    # Day 5 knows the returns of days 1 to 4 of the others: N takes the mean of the two deviations.
    up, down = (np.std([b / a - 1 for a, b in zip(p[:4], p[1:5], strict=True)], ddof=1) for p in (wild, calm))
    assert one.fills["price"][0].as_py() == pytest.approx(10.0 * (1.0 + (up + down) / 2))


def test_a_currency_needs_rates_from_before_the_first_bar(trade: Trade, tiny: Any) -> None:
    terms = tiny.instruments(A={"currency": "EUR"})
    with pytest.raises(DataError, match="no exchange rates of EUR"):
        trade({"A": [10, 10]}, {0: {"A": 0.5}}, terms=terms, currency="USD")
    with pytest.raises(DataError, match="there is none of EUR before 2024-01-01"):
        trade({"A": [10, 10]}, {0: {"A": 0.5}}, terms=terms, fx=tiny.rates("EUR", {0: 1.0}), currency="USD")
    with pytest.raises(DataError, match="A has a currency, and the account has none"):
        trade({"A": [10, 10]}, {0: {"A": 0.5}}, terms=terms, fx=tiny.rates("EUR", {-1: 1.0}))


# Orders in shares


def test_orders_add_to_what_waits_and_leave_the_rest_alone(trade: Trade) -> None:
    closes = {"A": [10, 10, None, 10, 10], "B": [10] * 5}
    result = trade(closes, {0: {"A": 20, "B": 10}, 1: {"A": -5}, 2: {"A": 8}}, in_shares=True)
    # A: 20 on day 1. −5 waits on day 2 for want of a bar, +8 joins it: +3 on day 3. B is never named again.
    assert fills(result) == [(1, "A", 20, 10), (1, "B", 10, 10), (3, "A", 3, 10)]
    assert result.conventions["decision"].startswith("orders in shares")


def test_an_order_cannot_sell_short_where_shorts_are_not_allowed(trade: Trade) -> None:
    result = trade({"A": [10] * 3}, {0: {"A": 20}, 1: {"A": -50}}, in_shares=True, allow_short=False)
    assert fills(result) == [(1, "A", 20, 10), (2, "A", -20, 10)]


def test_orders_grow_a_book_to_its_limits_only(trade: Trade) -> None:
    closes = {"A": [10] * 4, "B": [10] * 4}
    position = trade(closes, {0: {"A": 50}, 1: {"A": -70}}, in_shares=True, max_position=0.3)
    assert fills(position) == [(1, "A", 30, 10), (2, "A", -60, 10)]
    gross = trade(closes, {0: {"A": 30}, 1: {"B": -40}}, in_shares=True, max_gross=0.5)
    assert fills(gross) == [(1, "A", 30, 10), (2, "B", -20, 10)]
    net = trade(closes, {0: {"A": 10, "B": 30}}, in_shares=True, max_net=0.2)
    assert fills(net) == [(1, "A", pytest.approx(5), 10), (1, "B", pytest.approx(15), 10)]


@pytest.mark.parametrize(
    ("decisions", "said"),
    [
        ({0: {"A": float("nan")}}, "orders: the shares of A on 2024-01-01 is not a finite number"),
        ({0: {"X": 1.0}}, "orders: there are no bars of X"),
        ({9: {"A": 1.0}}, "orders: no session of every-day with bars on 2024-01-10"),
    ],
)
def test_bad_orders_are_refused(trade: Trade, decisions: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        trade({"A": [10, 10]}, decisions, in_shares=True)


def test_every_rule_is_on_at_once_and_told(trade: Trade, tiny: Any) -> None:
    result = trade(
        {"A": [10, 11, 10, 11]},
        {0: {"A": 0.5}},
        more={"volume": {"A": [100] * 4}, **bars_of([9] * 4, [12] * 4)},
        terms=tiny.instruments(A={"lot": 5.0, "spread_bps": 10.0, "borrow_bps": 100.0, "locate": 10.0}),
        **{"commission_per_share": 0.01, "commission_minimum": 1.0, "slippage_volatility": 0.1, "impact": 1.0},
        **{"participation": 0.5, "rest": "withdraw", "cash_rate": 0.02, "margin_rate": 0.05, "shares": "whole"},
        **{"max_position": 0.4, "max_gross": 1.0, "max_net": 0.5, "stop_loss": 0.5, "take_profit": 0.5},
        **{"trailing_stop": 0.5, "fill": "close"},
    )
    told = result.conventions
    assert all(told[name] != "none" for name in ("limits", "stops", "market impact", "partial fills"))
    assert "0.05 a year on negative cash" in told["cash"]
    assert "locates" in told["shorts"]
    assert fills(result)[0][:3] == (1, "A", 40)
