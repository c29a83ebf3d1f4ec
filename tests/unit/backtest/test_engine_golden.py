"""Cases of a few rows, one rule each, with the arithmetic beside them: a reader can check each on paper.

Sessions are days 0, 1, 2 …; a table of prices gives one value a day, None where there is no bar.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest

from aiquant.backtest import engine
from aiquant.backtest.engine import Result
from aiquant.calendars import Sessions

Trade = Callable[..., Result]


def equity(result: Result) -> list[float]:
    return [float(value) for value in result.equity["equity"].to_pylist()]


def column(result: Result, name: str) -> list[float]:
    return [float(value) for value in result.equity[name].to_pylist()]


def fills(result: Result) -> list[tuple[int, str, float, float]]:
    """(day, symbol, shares, price)."""
    return [(row["date"].day - 1, row["symbol"], row["shares"], row["price"]) for row in result.fills.to_pylist()]


def test_decides_and_sizes_on_the_close_and_fills_at_the_next_open(trade: Trade) -> None:
    result = trade(
        {"A": [10, 12, 15]},
        {0: {"A": 0.5}},
        opens={"A": [9, 11, 13]},
    )
    # Day 0: 0.5 × 1000 ÷ 10 = 50 shares wanted. Day 1: 50 × 11 = 550 paid at the open, 450 cash left, 50 × 12 at the
    # close. Day 2: 50 × 15.
    assert fills(result) == [(1, "A", 50, 11)]
    assert equity(result) == [1000, 450 + 600, 450 + 750]
    assert column(result, "cash") == [1000, 450, 450]
    assert column(result, "gross_exposure") == [0, 600 / 1050, 750 / 1200]
    assert column(result, "turnover") == [0, 0.5 * 550 / 1000, 0]
    assert result.equity["date"].to_pylist() == [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)]
    assert result.fills["event_time"].to_pylist()[0].hour == 14  # the open of the session
    assert result.equity["event_time"].to_pylist()[0].hour == 21  # its close


def test_fill_at_the_close_means_the_next_close(trade: Trade) -> None:
    result = trade({"A": [10, 12, 15]}, {0: {"A": 0.5}}, opens={"A": [9, 11, 13]}, fill="close")
    # 50 shares at 12, the close of day 1: 400 cash; 400 + 750 on day 2.
    assert fills(result) == [(1, "A", 50, 12)]
    assert equity(result) == [1000, 1000, 1150]
    assert result.fills["event_time"].to_pylist()[0].hour == 21


def test_without_opens_orders_fill_at_the_next_close_and_the_result_says_so(trade: Trade) -> None:
    result = trade({"A": [10, 12, 15]}, {0: {"A": 0.5}}, opens={"A": [None, None, None]})
    assert fills(result) == [(1, "A", 50, 12)]
    assert result.notes == ("the bars have no opens: orders fill at the next close",)
    assert "next bar's close" in result.conventions["fill"]


def test_one_symbol_without_opens_moves_all_fills_to_the_close(trade: Trade) -> None:
    result = trade({"A": [10, 12], "B": [10, 20]}, {0: {"A": 0.5, "B": 0.1}}, opens={"A": [None, None], "B": [10, 16]})
    assert fills(result) == [(1, "A", 50, 12), (1, "B", 10, 20)]
    assert result.notes == ("bars of A have no opens: all orders fill at the next close",)


def test_commission_is_taken_on_the_slipped_notional_of_buys_and_sells(trade: Trade) -> None:
    result = trade({"A": [10, 10, 20, 20]}, {0: {"A": 0.5}, 2: {"A": 0.0}}, commission_bps=100, slippage_bps=200)
    # Buy 50 at 10 × 1.02 = 10.20: 510, commission 5.10. Cash 484.90; marked 50 × 10.
    # Sell 50 at 20 × 0.98 = 19.60: 980, commission 9.80. Cash 484.90 + 980 − 9.80 = 1455.10.
    assert equity(result) == pytest.approx([1000, 984.90, 1484.90, 1455.10], abs=1e-9)
    rows = result.fills.to_pylist()
    assert [row["price"] for row in rows] == pytest.approx([10.20, 19.60])
    assert [row["commission"] for row in rows] == pytest.approx([5.10, 9.80])
    assert [row["slippage"] for row in rows] == pytest.approx([50 * 0.20, 50 * 0.40])
    assert column(result, "costs") == pytest.approx([0, 15.10, 0, 29.80])
    assert column(result, "turnover") == pytest.approx([0, 0.5 * 510 / 1000, 0, 0.5 * 980 / 1484.90])


def test_sells_pay_for_buys_of_the_same_session(trade: Trade) -> None:
    # Alphabetically A is bought before B is sold; in the account the sale comes first and pays.
    result = trade({"A": [10, 10, 10], "B": [20, 20, 20]}, {0: {"B": 1.0}, 1: {"A": 1.0}})
    assert fills(result) == [(1, "B", 50, 20), (2, "B", -50, 20), (2, "A", 100, 10)]
    assert column(result, "cash") == [1000, 0, 0]


def test_all_buys_are_scaled_by_one_factor_when_cash_is_short(trade: Trade) -> None:
    result = trade({"A": [10, 10], "B": [20, 20]}, {0: {"A": 0.5, "B": 0.5}}, opens={"A": [10, 12], "B": [20, 28]})
    # Wanted: 50 A at 12 = 600 and 25 B at 28 = 700, 1300 in all. Factor 1000 ÷ 1300 = 10/13.
    first, second = fills(result)
    assert first == (1, "A", pytest.approx(500 / 13), 12)
    assert second == (1, "B", pytest.approx(250 / 13), 28)
    assert 0 <= column(result, "cash")[1] < 1e-6
    assert equity(result)[1] == pytest.approx(500 / 13 * 10 + 250 / 13 * 20)


def test_a_fully_invested_book_with_costs_keeps_its_proportions(trade: Trade) -> None:
    result = trade({"A": [10, 10], "B": [20, 20]}, {0: {"A": 0.6, "B": 0.4}}, commission_bps=100)
    # 1000 ÷ 1010 of each: 60 × 10 and 20 × 20.
    assert [shares for _, _, shares, _ in fills(result)] == pytest.approx([60 / 1.01, 20 / 1.01])


def test_whole_shares_are_truncated_towards_zero_and_again_after_scaling(trade: Trade) -> None:
    result = trade(
        {"A": [7, 7, 7], "B": [30, 30, 30]},
        {0: {"A": 0.5, "B": -0.5}, 1: {"A": 0.0, "B": 0.0}},
        shares="whole",
    )
    # 500 ÷ 7 = 71.43 → 71; −500 ÷ 30 = −16.67 → −16. Closing trades the whole position.
    assert fills(result) == [(1, "B", -16, 30), (1, "A", 71, 7), (2, "A", -71, 7), (2, "B", 16, 30)]
    scaled = trade({"A": [7, 10], "B": [30, 40]}, {0: {"A": 0.5, "B": 0.5}}, shares="whole")
    # 71 × 10 + 16 × 40 = 1350, factor 1000 ÷ 1350: 52.59 → 52 and 11.85 → 11. Cash 1000 − 520 − 440 = 40.
    assert fills(scaled) == [(1, "A", 52, 10), (1, "B", 11, 40)]
    assert column(scaled, "cash") == [1000, 40]


def test_whole_shares_are_not_lost_to_the_rounding_of_floats(trade: Trade) -> None:
    assert 0.57 * 10_000 / 10 < 570  # in floats
    assert fills(trade({"A": [10, 10]}, {0: {"A": 0.57}}, shares="whole", capital=10_000.0)) == [(1, "A", 570, 10)]


def test_margin_lets_cash_become_negative(trade: Trade) -> None:
    result = trade({"A": [10, 10, 12]}, {0: {"A": 1.5}}, margin=True)
    assert fills(result) == [(1, "A", 150, 10)]
    assert column(result, "cash") == [1000, -500, -500]
    assert equity(result) == [1000, 1000, 1300]
    assert column(result, "gross_exposure")[1] == 1.5


def test_short_sale_proceeds_go_to_cash_and_the_borrow_fee_is_charged_at_each_close(trade: Trade) -> None:
    result = trade({"A": [10, 8, 5]}, {0: {"A": -0.5}}, opens={"A": [10, 10, 7]}, borrow_bps=2500)
    # 50 sold at 10: cash 1500. A session costs 0.25 ÷ 250 = 0.001 of the short value:
    # day 1: 50 × 8 × 0.001 = 0.40, day 2: 50 × 5 × 0.001 = 0.25.
    assert column(result, "cash") == pytest.approx([1000, 1499.60, 1499.35])
    assert equity(result) == pytest.approx([1000, 1099.60, 1249.35])
    assert column(result, "net_exposure") == pytest.approx([0, -400 / 1099.60, -250 / 1249.35])
    assert result.flows.to_pylist() == [
        {"run_id": "golden", "date": date(2024, 1, 2), "symbol": None, "kind": "borrow fee", "amount": -0.4},
        {"run_id": "golden", "date": date(2024, 1, 3), "symbol": None, "kind": "borrow fee", "amount": -0.25},
    ]


def test_a_position_is_turned_from_long_to_short_in_one_sale(trade: Trade) -> None:
    result = trade({"A": [10, 10, 10]}, {0: {"A": 0.4}, 1: {"A": -0.4}})
    assert fills(result) == [(1, "A", 40, 10), (2, "A", -80, 10)]


def test_a_date_with_weights_replaces_the_whole_book_and_a_date_without_holds(trade: Trade) -> None:
    result = trade({"A": [10, 10, 20, 20, 20], "B": [10, 10, 10, 10, 10]}, {0: {"A": 0.5}, 2: {"B": 0.4}})
    # Held through day 2 without a trade; then A goes, B gets 0.4 × 1500 ÷ 10 = 60 shares.
    assert fills(result) == [(1, "A", 50, 10), (3, "A", -50, 20), (3, "B", 60, 10)]


def test_an_order_waits_for_the_next_bar_of_its_symbol(trade: Trade) -> None:
    result = trade({"A": [10, None, None, 12], "B": [5, 5, 5, 5]}, {0: {"A": 0.5, "B": 0.1}})
    assert fills(result) == [(1, "B", 20, 5), (3, "A", 50, 12)]


def test_a_newer_decision_replaces_an_order_that_waits(trade: Trade) -> None:
    result = trade({"A": [10, None, None, 12], "B": [5, 5, 5, 5]}, {0: {"A": 0.5}, 1: {"B": 0.1}})
    assert fills(result) == [(2, "B", 20, 5)]


def test_a_missing_close_is_marked_and_sized_at_the_last_known_one(trade: Trade) -> None:
    result = trade({"A": [10, 20, None, 25], "B": [10, 10, 10, 10]}, {0: {"A": 0.5}, 2: {"A": 0.8}})
    # Day 1: 50 shares bought at 20 (cash 0). Day 2: marked at 20, equity 1000; 0.8 × 1000 ÷ 20 = 40 wanted.
    assert equity(result) == [1000, 1000, 1000, 1250]
    assert fills(result) == [(1, "A", 50, 20), (3, "A", -10, 25)]


def test_the_first_decision_can_be_sized_on_an_earlier_close(trade: Trade) -> None:
    result = trade({"A": [20, 10, None, 11], "B": [5, 5, 5, 5]}, {2: {"A": 0.5}})
    assert fills(result) == [(3, "A", 50, 11)]
    old = trade({"A": [10.0, *[None] * 20, 11.0], "B": [5.0] * 22}, {20: {"A": 0.5}})
    assert fills(old) == []  # the close of day 0 is twenty sessions old on day 20


def test_a_target_without_any_price_is_not_traded_and_the_result_says_so(trade: Trade) -> None:
    result = trade({"A": [10, 10, 10], "B": [None, 5, 5]}, {0: {"A": 0.5, "B": 0.5}})
    assert fills(result) == [(1, "A", 50, 10)]
    assert result.notes == ("1 target(s) had no price at their decision and were not traded",)


def test_a_split_multiplies_shares_and_orders_that_wait(trade: Trade) -> None:
    result = trade(
        {"A": [10, 10, 5, 6], "B": [30, None, 10, 12]},
        {0: {"A": 0.4, "B": 0.6}},
        acts=[("A", "split", 2, 2.0), ("B", "split", 2, 3.0)],
    )
    # A: 40 shares at 10, then 80. B: 20 wanted at 30, its first bar after the 3:1 split: 60 at 10.
    assert fills(result) == [(1, "A", 40, 10), (2, "B", 60, 10)]
    assert equity(result) == [1000, 1000, 80 * 5 + 60 * 10, 80 * 6 + 60 * 12]


def test_a_position_without_a_bar_on_the_day_of_its_split_keeps_its_value(trade: Trade) -> None:
    result = trade({"A": [10, 10, None, 5], "B": [1, 1, 1, 1]}, {0: {"A": 1.0}}, acts=[("A", "split", 2, 2.0)])
    assert equity(result) == [1000, 1000, 1000, 1000]


def test_parts_of_shares_from_a_split_are_paid_in_cash_where_shares_are_whole(trade: Trade) -> None:
    result = trade({"A": [100, 100, 66]}, {0: {"A": 0.5}}, acts=[("A", "split", 2, 1.5)], shares="whole")
    # 5 × 1.5 = 7.5: 7 kept, half a share at 100 ÷ 1.5 = 33.33 in cash.
    assert column(result, "cash") == pytest.approx([1000, 500, 500 + 100 / 3])
    assert equity(result)[-1] == pytest.approx(500 + 100 / 3 + 7 * 66)
    assert result.flows["kind"].to_pylist() == ["cash in lieu"]


def test_dividends_are_paid_on_shares_held_overnight_and_by_shorts(trade: Trade) -> None:
    closes = {"A": [10, 10, 9, 9]}
    long = trade(closes, {0: {"A": 0.5}, 1: {"A": 0.9}}, acts=[("A", "dividend", 2, 1.0)])
    # 50 shares were held at the close of day 1; the 40 bought on day 2 at 9 are too late. 500 − 40 × 9 + 50.
    assert column(long, "cash") == [1000, 500, 190, 190]
    short = trade(closes, {0: {"A": -0.5}}, acts=[("A", "dividend", 2, 1.0)])
    assert column(short, "cash") == [1000, 1500, 1450, 1450]


def test_dividend_is_per_share_after_a_split_of_the_same_day(trade: Trade) -> None:
    acts = [("A", "dividend", 2, 0.25), ("A", "split", 2, 2.0)]
    result = trade({"A": [10, 10, 5]}, {0: {"A": 0.5}}, acts=acts)
    assert column(result, "cash") == [1000, 500, 500 + 100 * 0.25]


@pytest.mark.parametrize(
    ("adjustment", "cash", "said"),
    [
        ("none", 500 + 100 * 0.3, ()),  # 50 × 2 shares
        ("splits", 500 + 50 * 0.3, ()),  # prices are in new shares already: 50 of them
        ("splits+dividends", 500, ("splits and dividends of A were not applied: their prices are adjusted already",)),
        (
            "unknown",
            500,
            ("splits and dividends of A were not applied: what their prices are adjusted for is unknown",),
        ),
    ],
)
def test_nothing_is_counted_twice_on_adjusted_prices(
    trade: Trade, adjustment: str, cash: float, said: tuple[str, ...]
) -> None:
    acts = [("A", "split", 2, 2.0), ("A", "dividend", 3, 0.3)]
    result = trade({"A": [10, 10, 10, 10]}, {0: {"A": 0.5}}, acts=acts, adjustment=adjustment)
    assert column(result, "cash")[-1] == cash
    assert result.notes == said


def test_dividends_declared_before_a_later_split_fit_split_adjusted_prices(trade: Trade) -> None:
    # 1.00 a share was declared when a share was worth two of today's: 0.50 for each of today's.
    acts = [("A", "dividend", 2, 1.0), ("A", "split", 3, 2.0)]
    result = trade({"A": [10, 10, 10, 10]}, {0: {"A": 0.5}}, acts=acts, adjustment="splits")
    assert column(result, "cash")[-1] == 500 + 50 * 0.5
    # On the day of the split itself an amount is one for the new shares.
    same_day = [("A", "dividend", 3, 1.0), ("A", "split", 3, 2.0)]
    result = trade({"A": [10, 10, 10, 10]}, {0: {"A": 0.5}}, acts=same_day, adjustment="splits")
    assert column(result, "cash")[-1] == 500 + 50 * 1.0


@pytest.mark.parametrize(("paid", "cash"), [(13.0, 500 + 50 * 13), (None, 500 + 50 * 12), (0.0, 500)])
def test_a_delisting_pays_the_amount_or_else_the_last_close_without_costs(
    trade: Trade, paid: float | None, cash: float
) -> None:
    result = trade(
        {"A": [10, 10, 12, None], "B": [1, 1, 1, 1]},
        {0: {"A": 0.5}, 2: {"A": 0.5}},
        acts=[("A", "delisting", 2, paid)],
    )
    assert column(result, "cash") == [1000, 500, cash, cash]
    assert result.fills["reason"].to_pylist() == ["rebalance", "delisting"]
    assert [moment.hour for moment in result.fills["event_time"].to_pylist()] == [14, 21]  # an open, a close
    assert column(result, "costs") == [0, 0, 0, 0]


@pytest.mark.parametrize("session", [4, 5, 30])
def test_a_delisting_after_the_run_does_not_count(trade: Trade, session: int) -> None:
    for acts in ([("A", "delisting", session, 0.0)], [("A", "delisting", session, 30.0)]):
        assert column(trade({"A": [10.0] * 4}, {0: {"A": 1.0}}, acts=acts), "equity") == [1000] * 4
        longer = trade({"A": [10.0] * 4, "B": [1.0] * 6}, {0: {"A": 1.0}}, acts=acts, last=date(2024, 1, 4))
        assert column(longer, "equity") == [1000] * 4, "the calendar goes on, the run does not"


def test_a_delisting_on_a_weekend_counts_on_friday_once_monday_is_known(tiny: Any) -> None:
    acts, decided = tiny.actions([("A", "delisting", 5, 0.0)]), tiny.weights({0: {"A": 1.0}})
    for count, end in ((5, 1000.0), (6, 0.0)):
        days = np.array([np.datetime64("2024-01-01") + i for i in (0, 1, 2, 3, 4, 7)][:count])
        opens = days.astype("datetime64[us]")
        week = Sessions("weekdays", days, opens, opens + np.timedelta64(7, "h"), 250.0)
        result = engine.run(decided, tiny.bars({"A": [10.0] * 5}), week, tiny.free(), "", acts)
        assert column(result, "equity")[:5] == [1000.0, 1000.0, 1000.0, 1000.0, end]


def test_a_halt_that_ends_in_a_worthless_delisting_is_told(trade: Trade) -> None:
    gone = [10.0, 10.0, *[None] * 28]
    for paid, told in ((0.0, "500.00 lower"), (4.0, "300.00 lower"), (10.0, None), (None, None)):
        result = trade({"A": gone, "B": [1.0] * 30}, {0: {"A": 0.5}}, acts=[("A", "delisting", 28, paid)])
        assert column(result, "equity")[-1] == 1000
        assert len(result.notes) == (1 if told is None else 2)
        assert told is None or (told in result.notes[1] and result.notes[1].startswith("A did not trade"))


def test_a_position_without_bars_is_closed_after_twenty_sessions(trade: Trade) -> None:
    gone = [10.0, 10.0, *[None] * 25]
    result = trade({"A": gone, "B": [1.0] * 27}, {0: {"A": 0.5}})
    # The last bar is that of day 1: twenty sessions later, on day 21, the shares turn into 50 × 10 of cash.
    cash = column(result, "cash")
    assert (cash[20], cash[21]) == (500, 1000)
    assert result.fills["date"].to_pylist()[-1] == date(2024, 1, 22)
    assert result.notes == ("1 position(s) were closed at their last close after 20 sessions without a bar",)


def test_sessions_in_which_nothing_trades_do_not_count_as_missing_bars(trade: Trade) -> None:
    hole: list[float | None] = [10.0, 10.0, *[None] * 25, 11.0]
    result = trade({"A": hole, "B": [b if b is None else 1.0 for b in hole]}, {0: {"A": 0.5}})
    assert result.fills.num_rows == 1
    assert equity(result)[-1] == 1050
    assert result.equity.num_rows == 28  # still a mark a session


def test_bankruptcy_closes_all_ends_the_run_and_is_reported(trade: Trade) -> None:
    result = trade({"A": [10, 10, 25, 5], "B": [10, 10, 10, 10]}, {0: {"A": -0.8, "B": 0.5}, 2: {"B": 1.0}})
    # −80 A and 50 B: cash 1000 + 800 − 500 = 1300. Day 2: 1300 − 80 × 25 + 500 = −200.
    assert equity(result) == [1000, 1000, -200]
    assert column(result, "cash")[-1] == -200
    assert column(result, "gross_exposure")[-1] == 0
    assert result.fills["reason"].to_pylist()[-2:] == ["bankruptcy", "bankruptcy"]
    assert result.bankrupt == date(2024, 1, 3)
    assert "bankrupt on 2024-01-03" in result.notes[0]


def test_the_run_ends_where_it_is_told_to(trade: Trade) -> None:
    result = trade({"A": [10, 12, 15, 20]}, {0: {"A": 0.5}}, last=date(2024, 1, 3))
    assert result.equity["date"].to_pylist()[-1] == date(2024, 1, 3)


def test_decisions_after_the_last_bar_are_left_out_with_a_word(trade: Trade) -> None:
    result = trade({"A": [10, 12, 15, 20]}, {0: {"A": 0.5}, 3: {"A": 1.0}}, last=date(2024, 1, 3))
    assert result.notes == ("1 decision(s) after the last session of the run were left out",)


def test_an_order_of_the_last_session_is_reported_as_waiting(trade: Trade) -> None:
    assert trade({"A": [10, 12]}, {0: {"A": 0.5}, 1: {"A": 1.0}}).notes == (
        "1 order(s) still waited for a bar when the run ended",
    )


def test_dear_weights_that_are_only_rounding_are_scaled(trade: Trade) -> None:
    result = trade({"A": [10, 10], "B": [10, 10]}, {0: {"A": 0.5001, "B": 0.5001}})
    assert [shares for _, _, shares, _ in fills(result)] == pytest.approx([50, 50])


def test_whole_shares_of_adjusted_prices_are_pointed_out(trade: Trade) -> None:
    said = ("prices are adjusted: whole shares of them are not the shares that could have been traded",)
    assert trade({"A": [10, 10]}, {0: {"A": 0.5}}, shares="whole", adjustment="splits").notes == said
    assert trade({"A": [10, 10]}, {0: {"A": 0.5}}, shares="whole", adjustment="none").notes == ()


def test_an_order_that_finds_no_bar_for_twenty_sessions_is_withdrawn(trade: Trade) -> None:
    # A was sized on the close of day 0: a bar of day 20 is in time, one of day 21 is not.
    others = [5.0] * 24
    late = trade({"A": [10.0, *[None] * 20, 12.0, 12.0, 12.0], "B": others}, {0: {"A": 0.5}})
    assert fills(late) == []
    assert late.notes == ("1 order(s) found no bar for 20 sessions and were withdrawn",)
    in_time = trade({"A": [10.0, *[None] * 19, 12.0, 12.0, 12.0, 12.0], "B": others}, {0: {"A": 0.5}})
    assert fills(in_time) == [(20, "A", 50, 12)]
