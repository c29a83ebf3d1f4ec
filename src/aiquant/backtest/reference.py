"""The rules of the account once more, in plain Python: what the kernel has to equal to the last bit.

Slow and simple on purpose: positions and orders are dictionaries, each rule is one method, nothing is shared with the
kernel but the numbers of the rules. Every sum runs over the symbols in their order, as in the kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from aiquant.backtest.rules import ACTIONS, MOST_SLIPPAGE, Rules

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aiquant.backtest.ledger import Tape

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
    entries: dict[int, float] = field(default_factory=dict)  # average price paid
    best: dict[int, float] = field(default_factory=dict)  # best price since
    book: list[Mark] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)

    def play(
        self, tape: Tape, decided: NDArray[np.float64], decision: NDArray[np.int64], *, in_shares: bool = False
    ) -> None:
        """Play all bars, or up to bankruptcy."""
        self.equity = self.cash
        symbols = range(tape.close.shape[1])
        for t in range(len(decision)):
            actions = [
                (int(tape.action_symbol[i]), ACTIONS[tape.action_kind[i]], float(tape.action_value[i]))
                for i in range(tape.action_row[t], tape.action_row[t + 1])
            ]
            filling = {j: float(tape.fill[t, j]) for j in symbols if not math.isnan(tape.fill[t, j])}
            closing = {j: float(tape.close[t, j]) for j in symbols if not math.isnan(tape.close[t, j])}
            begun = len(self.fills)
            self.apply_splits_and_dividends(t, actions)
            traded = 0.0
            if self.rules.stops_first:
                traded += self.stop_out(t, tape)
            traded += self.fill_orders(t, filling, tape)
            if not self.rules.stops_first:
                traded += self.stop_out(t, tape)
            self.close_bar(t, closing, actions, bool(tape.trading[t]), symbols)
            if not self.mark(t, traded, begun, tape):
                return
            if decision[t] >= 0:
                row = [float(value) for value in decided[decision[t]]]
                if in_shares:
                    self.order(row)
                else:
                    self.decide(row)

    def apply_splits_and_dividends(self, t: int, actions: list[tuple[int, str, float]]) -> None:
        """Before the open: they meet what was held overnight."""
        for symbol, kind, value in actions:
            held = self.shares.get(symbol, 0.0)
            if kind == "split":
                for known in (self.prices, self.entries, self.best):
                    if symbol in known:
                        known[symbol] /= value
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

    def fill_orders(self, t: int, filling: dict[int, float], tape: Tape) -> float:
        """Sells, then buys; returns the traded notional."""
        wanted = {symbol: self.trade_of(t, symbol, tape) for symbol in sorted(self.orders) if symbol in filling}
        traded = 0.0
        for symbol, (trade, cut) in wanted.items():
            if trade < 0.0:
                lost = self.slippage(t, symbol, -trade, tape)
                traded += self.execute(t, symbol, trade, filling[symbol], lost, "rebalance")
            if trade <= 0.0:
                self.order_done(symbol, cut)
        buys = {symbol: trade for symbol, (trade, _) in wanted.items() if trade > 0.0}
        need = variable = fixed = 0.0
        for symbol, trade in buys.items():
            notional = trade * (filling[symbol] * (1.0 + self.slippage(t, symbol, trade, tape)))
            commission = self.commission(trade, notional)
            variable += notional + commission
            need += notional + max(commission, self.rules.minimum)
            fixed += self.rules.minimum
        if buys and not self.rules.margin and need > self.cash:
            factor = max(self.cash - fixed, 0.0) / variable * (1.0 - _HEADROOM)
            for symbol in buys:
                buys[symbol] *= factor
                if self.rules.lots:
                    lot = float(tape.lot[symbol])
                    buys[symbol] = float(math.trunc(buys[symbol] / lot)) * lot
                elif self.rules.whole:
                    buys[symbol] = float(math.trunc(buys[symbol]))
        for symbol, trade in buys.items():
            if trade > 0.0:
                lost = self.slippage(t, symbol, trade, tape)
                traded += self.execute(t, symbol, trade, filling[symbol], lost, "rebalance")
            self.order_done(symbol, wanted[symbol][1])
        return traded

    def trade_of(self, t: int, symbol: int, tape: Tape) -> tuple[float, bool]:
        """What an order can get, within the locate and the bar's volume; and whether the volume cut it."""
        held = self.shares.get(symbol, 0.0)
        trade = self.orders[symbol] - held
        if self.rules.by_symbol and trade < 0.0:
            trade = max(trade, min(-float(tape.locate[symbol]) - held, 0.0))
        trade, cut = self.within_volume(t, symbol, trade, tape)
        if self.rules.whole:
            lot = float(tape.lot[symbol]) if self.rules.lots and (cut or self.orders[symbol] != 0.0) else 1.0
            trade = whole(trade / lot) * lot
        return trade, cut

    def within_volume(self, t: int, symbol: int, trade: float, tape: Tape) -> tuple[float, bool]:
        """A trade cut to the share of the bar's volume, and whether it was."""
        if self.rules.participation:
            most = self.rules.participation * float(tape.volume[t, symbol])
            if abs(trade) > most:
                return math.copysign(most, trade), True
        return trade, False

    def order_done(self, symbol: int, cut: bool) -> None:
        """Only what the volume kept from its fill can wait for the next bar."""
        if not (cut and self.rules.wait):
            del self.orders[symbol]

    def slippage(self, t: int, symbol: int, size: float, tape: Tape) -> float:
        """Fraction of the price that a trade loses."""
        lost = float(tape.slippage[t, symbol]) if self.rules.by_bar else self.rules.slippage
        if self.rules.impact:
            lost += self.rules.impact * float(tape.impact[t, symbol]) * math.sqrt(size)
        return min(lost, MOST_SLIPPAGE) if self.rules.by_bar or self.rules.impact else lost

    def commission(self, size: float, notional: float) -> float:
        """Commission by cash and by shares, its minimum aside."""
        return notional * self.rules.commission + size * self.rules.per_share

    def execute(self, t: int, symbol: int, trade: float, raw: float, lost: float, reason: str) -> float:
        """Trade at the slipped price; returns the slipped notional."""
        price = raw * (1.0 + lost if trade > 0.0 else 1.0 - lost)
        notional = abs(trade) * price
        commission = max(self.commission(abs(trade), notional), self.rules.minimum)
        if trade > 0.0:
            self.cash -= notional + commission
        else:
            self.cash -= -notional + commission
        held = self.shares.get(symbol, 0.0)
        new = held + trade
        if held * new <= 0.0:
            self.entries[symbol] = self.best[symbol] = price
        elif abs(new) > abs(held):
            self.entries[symbol] = (self.entries[symbol] * abs(held) + price * abs(trade)) / abs(new)
        self.hold(symbol, new)
        self.fills.append(Fill(t, symbol, trade, price, commission, abs(trade) * raw * lost, reason))
        return notional

    def stop_out(self, t: int, tape: Tape) -> float:
        """Close positions whose stop is hit; returns the traded notional."""
        traded = 0.0
        if not self.rules.stops:
            return traded
        for symbol in sorted(self.shares):
            if math.isnan(tape.close[t, symbol]):
                continue
            side = math.copysign(1.0, self.shares[symbol])
            first, high, low = (float(prices[t, symbol]) for prices in (tape.open, tape.high, tape.low))
            worst, better = (low, high) if side > 0.0 else (high, low)
            exit_ = self.stop_hit(symbol, side, first, worst, better)
            if exit_ is None:
                self.best[symbol] = side * max(side * self.best[symbol], side * better)
                continue
            raw, reason = exit_
            self.orders.pop(symbol, None)
            trade, cut = self.within_volume(t, symbol, -self.shares[symbol], tape)
            if cut and self.rules.whole:
                trade = whole(trade)
            if trade:
                lost = 0.0 if reason == "take-profit" else self.slippage(t, symbol, abs(trade), tape)
                traded += self.execute(t, symbol, trade, raw, lost, reason)
        return traded

    def stop_hit(self, symbol: int, side: float, first: float, worst: float, better: float) -> tuple[float, str] | None:
        """Price and reason of the exit: at the open beyond a level, else a stop before a profit of the same bar."""
        entry = self.entries[symbol]
        stops = []
        if self.rules.stop_loss:
            stops.append((side * (entry * (1.0 - side * self.rules.stop_loss)), "stop-loss"))
        if self.rules.trailing_stop:
            top = side * max(side * self.best[symbol], side * first)
            stops.append((side * (top * (1.0 - side * self.rules.trailing_stop)), "trailing-stop"))
        level, reason = max(stops, key=lambda stop: stop[0], default=(-math.inf, ""))
        profit = math.inf
        if self.rules.take_profit:
            profit = side * (entry * (1.0 + side * self.rules.take_profit))
        if side * first <= level:
            return first, reason
        if side * first >= profit:
            return first, "take-profit"
        if side * worst <= level:
            return side * level, reason
        if side * better >= profit:
            return side * profit, "take-profit"
        return None

    def close_bar(
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

    def mark(self, t: int, traded: float, begun: int, tape: Tape) -> bool:
        """Value the account at the close, charge fees and interest; False when nothing is left."""
        long = short = by_symbol = 0.0
        for symbol in sorted(self.shares):
            value = self.shares[symbol] * self.prices[symbol]
            if value > 0.0:
                long += value
            else:
                short -= value
                by_symbol -= value * float(tape.borrow[symbol]) if self.rules.by_symbol else 0.0
        if not len(tape.session_end) or tape.session_end[t]:
            self.charge(t, short, by_symbol if self.rules.by_symbol else short * self.rules.borrow)
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

    def charge(self, t: int, short: float, fee: float) -> None:
        """Borrow fee, then interest on debt, or on cash that is no collateral of shorts."""
        if fee > 0.0:
            self.pay(t, -1, "borrow fee", -fee)
        if self.cash < 0.0:
            if self.rules.margin_interest:
                self.pay(t, -1, "margin interest", self.cash * self.rules.margin_interest)
        elif self.rules.interest and self.cash > short:
            self.pay(t, -1, "interest", (self.cash - short) * self.rules.interest)

    def decide(self, weights: list[float]) -> None:
        """A decision replaces the whole book and all orders that wait."""
        self.orders = {}
        most = self.rules.max_position
        cut = [min(max(weight, -most), most) for weight in weights]
        long, short = ordered_sum([w for w in cut if w > 0]), ordered_sum([-w for w in cut if w < 0])
        both = self.rules.max_gross / (long + short) if long + short > self.rules.max_gross else 1.0
        long, short, up, down = long * both, short * both, both, both
        if long - short > self.rules.max_net:
            up *= (short + self.rules.max_net) / long
        elif short - long > self.rules.max_net:
            down *= (long + self.rules.max_net) / short
        for symbol, weight in enumerate(cut):
            if weight == 0.0:
                if symbol in self.shares:
                    self.orders[symbol] = 0.0
            elif self.priced(symbol):
                self.orders[symbol] = weight * (up if weight > 0 else down) * self.equity / self.prices[symbol]

    def order(self, orders: list[float]) -> None:
        """Orders add to what waits for their symbols; what grows the book beyond a limit is scaled."""
        known = [symbol for symbol in range(len(orders)) if symbol in self.prices]
        before = {s: self.orders.get(s, self.shares.get(s, 0.0)) for s in known}
        after = {s: self.bounded(s, before[s], orders[s] if self.priced(s) else 0.0) for s in known}
        price, equity = self.prices, self.equity
        gross = ordered_sum([abs(after[s]) * price[s] for s in known])
        net = ordered_sum([after[s] * price[s] for s in known])
        grown = ordered_sum([max(abs(after[s]) - abs(before[s]), 0.0) * price[s] for s in known])
        bought = ordered_sum([max(after[s] - before[s], 0.0) * price[s] for s in known])
        sold = ordered_sum([max(before[s] - after[s], 0.0) * price[s] for s in known])
        grow = buy = sell = 1.0
        if gross > self.rules.max_gross * equity and grown > 0.0:
            grow = max(1.0 - (gross - self.rules.max_gross * equity) / grown, 0.0)
        if net > self.rules.max_net * equity and bought > 0.0:
            buy = max(1.0 - (net - self.rules.max_net * equity) / bought, 0.0)
        elif -net > self.rules.max_net * equity and sold > 0.0:
            sell = max(1.0 - (-net - self.rules.max_net * equity) / sold, 0.0)
        for s in (s for s in known if orders[s] and self.priced(s)):
            new = after[s]
            if grow < 1.0 and abs(new) > abs(before[s]):
                new = before[s] + (new - before[s]) * grow
            if buy < 1.0 and new > before[s]:
                new = before[s] + (new - before[s]) * buy
            if sell < 1.0 and new < before[s]:
                new = before[s] + (new - before[s]) * sell
            self.orders[s] = new

    def bounded(self, symbol: int, before: float, order: float) -> float:
        """Shares wanted after an order, within the largest position and, if need be, without shorts."""
        after = before + order
        if self.rules.max_position < math.inf:
            most = self.rules.max_position * self.equity / self.prices[symbol]
            if after * before > 0.0:
                most = max(most, abs(before))
            after = min(max(after, -most), most)
        if not self.rules.shorts and after < 0.0:
            after = max(after, min(before, 0.0))
        return after

    def priced(self, symbol: int) -> bool:
        """Whether a symbol has a price that is not too old."""
        return symbol in self.prices and self.silent.get(symbol, 0) < self.rules.patience

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


def ordered_sum(values: list[float]) -> float:
    """One after the other, as the kernel adds; Python's own ``sum`` compensates from 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total
