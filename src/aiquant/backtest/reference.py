"""The rules of the account once more, in plain Python: what the kernel has to equal to the last bit.

Slow and simple on purpose: positions and orders are dictionaries, each rule is one method, nothing is shared with the
kernel but the numbers of the rules. Every sum runs over the symbols in their order, as in the kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from aiquant.backtest.rules import ACTIONS, Rules

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aiquant.backtest.kernel import Tape

_HEADROOM = 1e-11
_WHOLE_SLACK = 1e-9


class Fill(NamedTuple):
    """Something that was executed."""

    session: int
    symbol: int
    shares: float
    price: float
    commission: float
    slippage: float
    reason: str


class Flow(NamedTuple):
    """Cash that moved without a trade; ``symbol`` is −1 for the whole book."""

    session: int
    symbol: int
    kind: str
    amount: float


class Mark(NamedTuple):
    """The account at a close."""

    equity: float
    cash: float
    gross_exposure: float
    net_exposure: float
    turnover: float
    costs: float


@dataclass
class Reference:
    """One account and what it wrote down."""

    rules: Rules
    cash: float
    equity: float = 0.0
    shares: dict[int, float] = field(default_factory=dict)
    orders: dict[int, float] = field(default_factory=dict)  # symbol → shares wanted
    prices: dict[int, float] = field(default_factory=dict)  # last known closes
    silent: dict[int, int] = field(default_factory=dict)
    book: list[Mark] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)

    def play(self, tape: Tape, weights: NDArray[np.float64], decision: NDArray[np.int64]) -> None:
        """Play all sessions, or up to bankruptcy."""
        self.equity = self.cash
        symbols = range(tape.close.shape[1])
        for t in range(len(decision)):
            actions = [
                (int(tape.action_symbol[i]), ACTIONS[tape.action_kind[i]], float(tape.action_value[i]))
                for i in range(tape.action_row[t], tape.action_row[t + 1])
            ]
            opening = {j: float(tape.fill[t, j]) for j in symbols if not math.isnan(tape.fill[t, j])}
            closing = {j: float(tape.close[t, j]) for j in symbols if not math.isnan(tape.close[t, j])}
            begun = len(self.fills)
            self.apply_splits_and_dividends(t, actions)
            traded = self.fill_orders(t, opening)
            self.close_session(t, closing, actions, bool(tape.trading[t]), symbols)
            if not self.mark(t, traded, begun):
                return
            if decision[t] >= 0:
                self.decide([float(w) for w in weights[decision[t]]])

    def apply_splits_and_dividends(self, t: int, actions: list[tuple[int, str, float]]) -> None:
        """Before the open: they meet what was held overnight."""
        for symbol, kind, value in actions:
            held = self.shares.get(symbol, 0.0)
            if kind == "split":
                if symbol in self.prices:
                    self.prices[symbol] /= value
                if symbol in self.orders:
                    self.orders[symbol] *= value
                if held:
                    new = held * value
                    kept = whole(new) if self.rules.whole else new
                    if kept != new:
                        self.pay(t, symbol, "cash in lieu", (new - kept) * self.prices[symbol])
                    self.hold(symbol, kept)
            elif kind == "dividend" and held:
                self.pay(t, symbol, "dividend", held * value)

    def fill_orders(self, t: int, opening: dict[int, float]) -> float:
        """Sells, then buys; returns the traded notional."""
        wanted = {}
        for symbol in sorted(self.orders):
            if symbol in opening:
                trade = self.orders[symbol] - self.shares.get(symbol, 0.0)
                wanted[symbol] = whole(trade) if self.rules.whole else trade
        traded = 0.0
        for symbol, trade in wanted.items():
            del self.orders[symbol]
            if trade < 0.0:
                traded += self.execute(t, symbol, trade, opening[symbol])
        need = 0.0
        buys = {symbol: trade for symbol, trade in wanted.items() if trade > 0.0}
        for symbol, trade in buys.items():
            notional = trade * (opening[symbol] * (1.0 + self.rules.slippage))
            need += notional + notional * self.rules.commission
        if buys and not self.rules.margin and need > self.cash:
            factor = max(self.cash, 0.0) / need * (1.0 - _HEADROOM)
            for symbol in buys:
                buys[symbol] *= factor
                if self.rules.whole:
                    buys[symbol] = float(math.trunc(buys[symbol]))
        for symbol, trade in buys.items():
            if trade > 0.0:
                traded += self.execute(t, symbol, trade, opening[symbol])
        return traded

    def execute(self, t: int, symbol: int, trade: float, raw: float) -> float:
        """Trade at the slipped price; returns the slipped notional."""
        slipped = 1.0 + self.rules.slippage if trade > 0.0 else 1.0 - self.rules.slippage
        price = raw * slipped
        notional = abs(trade) * price
        commission = notional * self.rules.commission
        if trade > 0.0:
            self.cash -= notional + commission
        else:
            self.cash -= -notional + commission
        self.hold(symbol, self.shares.get(symbol, 0.0) + trade)
        lost = abs(trade) * raw * self.rules.slippage
        self.fills.append(Fill(t, symbol, trade, price, commission, lost, "rebalance"))
        return notional

    def close_session(
        self, t: int, closing: dict[int, float], actions: list[tuple[int, str, float]], trading: bool, symbols: range
    ) -> None:
        """New marks, delistings, positions without bars."""
        if trading:
            for symbol in symbols:
                self.silent[symbol] = 0 if symbol in closing else self.silent.get(symbol, 0) + 1
            self.prices.update(closing)
        for symbol, kind, paid in actions:
            if kind == "delisting":
                self.orders.pop(symbol, None)
                self.settle(t, symbol, paid, "delisting")
        for symbol in symbols:
            if self.silent.get(symbol, 0) >= self.rules.patience:
                self.settle(t, symbol, math.nan, "stale")
                self.orders.pop(symbol, None)

    def mark(self, t: int, traded: float, begun: int) -> bool:
        """Value the account at the close, charge the borrow fee; False when nothing is left."""
        long = short = 0.0
        for symbol in sorted(self.shares):
            value = self.shares[symbol] * self.prices[symbol]
            if value > 0.0:
                long += value
            else:
                short -= value
        if short > 0.0 and self.rules.borrow > 0.0:
            self.pay(t, -1, "borrow fee", -short * self.rules.borrow)
        equity = self.cash + (long - short)
        alive = equity > 0.0
        if not alive:
            for symbol in sorted(self.shares):
                self.settle(t, symbol, math.nan, "bankruptcy")
        costs = 0.0
        for fill in self.fills[begun:]:
            costs += fill.commission + fill.slippage
        gross, net = ((long + short) / equity, (long - short) / equity) if alive else (0.0, 0.0)
        self.book.append(Mark(equity, self.cash, gross, net, 0.5 * traded / self.equity, costs))
        self.equity = equity
        return alive

    def decide(self, weights: list[float]) -> None:
        """A decision replaces the whole book and all orders that wait."""
        self.orders = {}
        for symbol, weight in enumerate(weights):
            if weight == 0.0:
                if symbol in self.shares:
                    self.orders[symbol] = 0.0
            elif symbol in self.prices and self.silent.get(symbol, 0) < self.rules.patience:
                self.orders[symbol] = weight * self.equity / self.prices[symbol]

    def hold(self, symbol: int, shares: float) -> None:
        """Set a position; one of no shares is none."""
        if shares:
            self.shares[symbol] = shares
        else:
            self.shares.pop(symbol, None)

    def settle(self, t: int, symbol: int, paid: float, reason: str) -> None:
        """Close a position without a trade, at ``paid`` or (NaN) at its last known close."""
        held = self.shares.pop(symbol, 0.0)
        if held:
            price = self.prices[symbol] if math.isnan(paid) else paid
            self.cash += held * price
            self.fills.append(Fill(t, symbol, -held, price, 0.0, 0.0, reason))

    def pay(self, t: int, symbol: int, kind: str, amount: float) -> None:
        """Move cash without a trade."""
        self.cash += amount
        self.flows.append(Flow(t, symbol, kind, amount))


def whole(shares: float) -> float:
    """Towards zero, where the number does not miss a whole one by rounding alone."""
    nearest = float(round(shares))
    return nearest if abs(shares - nearest) <= _WHOLE_SLACK else float(math.trunc(shares))
