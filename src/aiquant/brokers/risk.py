"""Checks before an order is given: each is a setting, and each refusal is a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from aiquant.settings import TradeSettings

_SLACK = 1e-9


@dataclass(frozen=True)
class Proposal:
    """An order that was decided and has not been given.

    Attributes
    ----------
    shares, held
        To trade, signed; and held now.
    price
        The last known close, on which it was sized.
    before
        The close of the session before, splits taken in; NaN without one.
    age
        Sessions since the last known close, 0 if it is of the session of the decision.
    """

    order_id: str
    symbol: str
    shares: float
    held: float
    price: float
    before: float
    age: int

    @property
    def after(self) -> float:
        """Shares that are held once it is filled."""
        return self.held + self.shares

    @property
    def reduces(self) -> bool:
        """Whether it makes a position smaller and does not turn it around."""
        return abs(self.after) <= abs(self.held) and self.after * self.held >= 0


class Checks:
    """The checks of one decision: what was given before counts in what comes after.

    Parameters
    ----------
    equity
        Of the account at the close of the decision.
    gross
        Value of all positions at that close, shorts as positive numbers.
    """

    def __init__(self, settings: TradeSettings, equity: float, gross: float) -> None:
        self._told = settings
        self._equity = equity
        self._gross = gross

    def refusal(self, order: Proposal) -> str | None:
        """Why an order may not be given; None when it may, and then it counts as given."""
        reason = self._price(order) or (None if order.reduces else self._size(order))
        if reason is None:
            self._gross += (abs(order.after) - abs(order.held)) * order.price
        return reason

    def _price(self, order: Proposal) -> str | None:
        told = self._told
        if not math.isfinite(order.price):
            return "stale data: no close is known"
        if order.age > told.max_age:
            return f"stale data: the last bar is {order.age} sessions old (trade.max_age = {told.max_age})"
        if math.isfinite(order.before) and abs(order.price / order.before - 1) > told.price_collar:
            move = order.price / order.before - 1
            return f"price collar: the close moved by {move:+.1%} (trade.price_collar = {told.price_collar:g})"
        return None

    def _size(self, order: Proposal) -> str | None:
        told, value = self._told, abs(order.shares) * order.price
        if value > told.max_order * self._equity * (1 + _SLACK):
            return f"order size: {value / self._equity:.1%} of equity (trade.max_order = {told.max_order:g})"
        if told.max_order_value is not None and value > told.max_order_value:
            return f"order size: {value:,.2f} (trade.max_order_value = {told.max_order_value:,.2f})"
        position = abs(order.after) * order.price
        if position > told.max_position * self._equity * (1 + _SLACK):
            return f"exposure: a position of {position / self._equity:.1%} (trade.max_position = {told.max_position:g})"
        gross = self._gross + (abs(order.after) - abs(order.held)) * order.price
        if gross > told.max_gross * self._equity * (1 + _SLACK):
            return f"exposure: gross {gross / self._equity:.1%} of equity (trade.max_gross = {told.max_gross:g})"
        return None


def in_turn(orders: Iterable[Proposal]) -> list[Proposal]:
    """Orders that reduce a position first, as they make room; otherwise by symbol."""
    return sorted(orders, key=lambda order: (not order.reduces, order.symbol))


def loss(equity: float, before: float, settings: TradeSettings) -> str | None:
    """Why an account has to stop: it lost too much since the close before; None when it has not."""
    lost = 1.0 - equity / before
    if lost < settings.max_daily_loss - _SLACK:
        return None
    return (
        f"daily loss: {lost:.1%} of equity since the close before (trade.max_daily_loss = {settings.max_daily_loss:g})"
    )
