"""Checks before an order, at their limits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiquant.brokers.risk import Checks, Proposal, in_turn, loss
from aiquant.settings import TradeSettings

EQUITY = 1_000.0


def proposal(shares: float, held: float = 0.0, price: float = 10.0, before: float = 10.0, age: int = 0) -> Proposal:
    return Proposal("id", "AAA", shares, held, price, before, age)


def refusal(order: Proposal, gross: float = 0.0, **settings: object) -> str | None:
    return Checks(TradeSettings.model_validate(settings), EQUITY, gross).refusal(order)


@pytest.mark.parametrize(
    ("settings", "order", "gross", "reason"),
    [
        ({"max_order": 0.5}, proposal(50), 0, None),  # 500 of 1,000: just the limit
        ({"max_order": 0.5}, proposal(50.1), 0, "order size: 50.1% of equity (trade.max_order = 0.5)"),
        ({"max_order": 0.5}, proposal(-50.1), 0, "order size: 50.1% of equity (trade.max_order = 0.5)"),
        ({"max_order": 0.5}, proposal(-60, held=60), 600, None),  # it only reduces
        ({"max_order": 0.5}, proposal(-70, held=60), 600, "order size: 70.0% of equity (trade.max_order = 0.5)"),
        ({"max_order_value": 300.0}, proposal(30), 0, None),
        ({"max_order_value": 300.0}, proposal(31), 0, "order size: 310.00 (trade.max_order_value = 300.00)"),
        ({"max_position": 0.4}, proposal(10, held=30), 300, None),
        ({"max_position": 0.4}, proposal(11, held=30), 300, "exposure: a position of 41.0% (trade.max_position = 0.4)"),
        ({"max_gross": 0.8}, proposal(20), 600, None),
        ({"max_gross": 0.8}, proposal(21), 600, "exposure: gross 81.0% of equity (trade.max_gross = 0.8)"),
        ({"max_gross": 0.8}, proposal(-21), 600, "exposure: gross 81.0% of equity (trade.max_gross = 0.8)"),
        ({"price_collar": 0.25}, proposal(1, price=12.5), 0, None),
        ({"price_collar": 0.25}, proposal(1, price=12.6), 0, "price collar: the close moved by +26.0% "),
        ({"price_collar": 0.25}, proposal(-1, held=1, price=7.4), 7, "price collar: the close moved by -26.0% "),
        ({}, proposal(1, before=math.nan), 0, None),  # a new listing
        ({"max_age": 3}, proposal(1, age=3), 0, None),
        ({"max_age": 3}, proposal(1, age=4), 0, "stale data: the last bar is 4 sessions old (trade.max_age = 3)"),
        ({}, proposal(1, price=math.nan), 0, "stale data: no close is known"),
    ],
)
def test_each_limit(settings: dict[str, object], order: Proposal, gross: float, reason: str | None) -> None:
    told = refusal(order, gross, **settings)
    assert told == reason or (reason is not None and told is not None and told.startswith(reason))


def test_a_loss_of_just_the_limit_stops() -> None:
    told = TradeSettings(max_daily_loss=0.1)
    assert loss(901.0, EQUITY, told) is None
    assert (
        loss(900.0, EQUITY, told) == "daily loss: 10.0% of equity since the close before (trade.max_daily_loss = 0.1)"
    )


orders = st.lists(
    st.tuples(st.floats(-100, 100, allow_nan=False), st.floats(-100, 100, allow_nan=False), st.floats(0.01, 100)),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(orders, st.floats(0.05, 3))
def test_what_passes_never_takes_the_book_beyond_its_limit(
    drawn: list[tuple[float, float, float]], limit: float
) -> None:
    """Whatever was held: orders that pass leave it within the limit, or make it smaller than it was."""
    book = [Proposal(str(i), str(i), s, h, p, p, 0) for i, (s, h, p) in enumerate(drawn)]
    gross = begun = sum(abs(order.held) * order.price for order in book)
    checks = Checks(TradeSettings(max_gross=limit, max_order=1e9, max_position=1e9), EQUITY, gross)
    for order in in_turn(book):
        if checks.refusal(order) is None:
            gross += (abs(order.after) - abs(order.held)) * order.price
            assert gross <= max(limit * EQUITY, begun) * (1 + 1e-6) + 1e-6
