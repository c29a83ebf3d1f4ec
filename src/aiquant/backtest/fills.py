"""From orders to fills, compiled: how much of an order is executed, at which price, and who pays when cash is short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aiquant.backtest import rules as house
from aiquant.backtest.costs import commission_of, commission_without_minimum, slippage_with_impact, slipped
from aiquant.backtest.ledger import (
    FILLS,
    PARTIAL,
    SCALED,
    UNLOCATED,
    Account,
    Journal,
    Tape,
    inner,
    inlined,
)
from aiquant.backtest.rules import Rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As a NumPy integer: for a plain one numba would compile every function that takes it once more.
_REBALANCE = np.int64(house.REBALANCE)

HEADROOM = 1e-11
"""Share of the cash that scaled buys leave, so that rounding cannot make cash negative."""

WHOLE_SLACK = 1e-9
"""Shares by which a number may miss a whole one and still be it: 0.57 × 10,000 ÷ 10 is 570, not 569.9999999999999."""


@inlined
def whole(shares: float) -> float:
    """Towards zero, where the number does not miss a whole one by rounding alone."""
    nearest = float(np.rint(shares))
    return nearest if abs(shares - nearest) <= WHOLE_SLACK else float(np.trunc(shares))


@inlined
def slippage_of(rules: Rules, base: float, impact: float, size: float) -> float:
    """Fraction of the price that a trade of ``size`` shares loses; ``base`` and ``impact`` as the tape has them."""
    if not (rules.by_bar or rules.impact > 0.0):
        return rules.slippage
    return float(slippage_with_impact(base if rules.by_bar else rules.slippage, rules.impact * impact, size))


@inlined
def within_volume(rules: Rules, volume: float, trade: float) -> tuple[float, bool]:
    """What a bar's volume lets through of a trade, and whether that is less than all of it."""
    most = rules.participation * volume
    if rules.participation > 0.0 and abs(trade) > most:
        return (most if trade > 0.0 else -most), True
    return trade, False


@inlined
def trade_of(
    rules: Rules, target: float, shares: float, volume: float, locate: float, lot: float
) -> tuple[float, bool, bool]:
    """The trade that a waiting order can get in a bar; whether volume, and whether the locate kept it from more."""
    trade, unlocated = target - shares, False
    if rules.by_symbol and trade < 0.0:
        least = min(-locate - shares, 0.0)
        if trade < least:
            trade, unlocated = least, True
    trade, cut = within_volume(rules, volume, trade)
    if rules.whole:
        if rules.lots and (cut or target != 0.0):
            trade = whole(trade / lot) * lot
        else:
            trade = whole(trade)  # what is left of a position can be sold though it makes no lot
    return trade, cut, unlocated


@inlined
def scaled(rules: Rules, trade: float, factor: float, lot: float) -> float:
    """A buy for which cash is short."""
    if rules.lots:
        return float(np.trunc(trade * factor / lot) * lot)
    return float(np.trunc(trade * factor)) if rules.whole else trade * factor


@inlined
def entry_of(held: float, entry: float, trade: float, price: float) -> tuple[float, bool]:
    """Entry price after a trade, and whether a position begins: averaged when one grows, kept when it shrinks."""
    new = held + trade
    if held * new <= 0.0:
        return price, True
    if abs(new) > abs(held):
        return (entry * abs(held) + price * abs(trade)) / abs(new), False
    return entry, False


@inlined
def priced(rules: Rules, trade: float, raw: float, lost: float) -> tuple[float, float, float]:
    """Price of a trade at ``raw`` less the fraction ``lost`` of it; its notional and its commission."""
    price = slipped(raw, trade, lost)
    notional = abs(trade) * price
    return price, notional, commission_of(rules, abs(trade), notional)


@inlined
def book(
    cash: NDArray[np.float64],
    shares: NDArray[np.float64],
    fills: NDArray[np.float64],
    counts: NDArray[np.int64],
    t: int,
    symbol: int,
    trade: float,
    price: float,
    notional: float,
    commission: float,
    slippage: float,
    reason: np.int64,
) -> None:
    """Take a trade into cash and shares, and write it down. Arrays, not the tuples that hold them: each tuple that
    passes costs a count of references for every array in it."""
    cash[0] -= (notional if trade > 0.0 else -notional) + commission
    shares[symbol] += trade
    row = counts[FILLS]
    fills[row, 0], fills[row, 1], fills[row, 2], fills[row, 3] = t, symbol, trade, price
    fills[row, 4], fills[row, 5], fills[row, 6] = commission, slippage, reason
    counts[FILLS] += 1


@inner
def fill_orders(tape: Tape, rules: Rules, account: Account, journal: Journal, t: int) -> float:
    """Fill the waiting orders whose symbols have a bar, sells first; return the traded notional."""
    # What buys scaled by f cost is at most f × variable + fixed: a minimum commission does not shrink with them.
    shares, target, cash, entry = account.shares, account.target, account.cash, account.entry
    fills, counts = journal.fills, journal.counts
    traded, need, variable, fixed, factor = 0.0, 0.0, 0.0, 0.0, 1.0
    for k in range(2):
        buying = k == 1
        if buying:
            if need == 0.0:
                break
            if not rules.margin and need > cash[0]:
                factor = max(cash[0] - fixed, 0.0) / variable * (1.0 - HEADROOM)
        for j in range(len(shares)):
            raw = tape.fill[t, j]
            if np.isnan(target[j]) or np.isnan(raw):
                continue
            volume = tape.volume[t, j] if rules.participation > 0.0 else 0.0
            locate = tape.locate[j] if rules.by_symbol else 0.0
            lot = tape.lot[j] if rules.lots else 1.0
            base = tape.slippage[t, j] if rules.by_bar else 0.0
            impact = tape.impact[t, j] if rules.impact > 0.0 else 0.0
            trade, cut, unlocated = trade_of(rules, target[j], shares[j], volume, locate, lot)
            if buying:
                if trade <= 0.0:
                    continue  # the rest of a sale that waits
                if factor < 1.0:
                    trade = scaled(rules, trade, factor, lot)
                    counts[SCALED] += 1
            elif trade > 0.0:
                notional = trade * slipped(raw, trade, slippage_of(rules, base, impact, trade))
                commission = commission_without_minimum(rules, trade, notional)
                variable += notional + commission
                need += notional + max(commission, rules.minimum)
                fixed += rules.minimum
                continue
            elif unlocated:
                counts[UNLOCATED] += 1
            if trade != 0.0:
                lost = slippage_of(rules, base, impact, abs(trade))
                price, notional, commission = priced(rules, trade, raw, lost)
                if rules.stops:
                    entry[j], begins = entry_of(shares[j], entry[j], trade, price)
                    if begins:
                        account.best[j] = price
                slippage = abs(trade) * raw * lost
                book(cash, shares, fills, counts, t, j, trade, price, notional, commission, slippage, _REBALANCE)
                traded += notional
            if cut:
                counts[PARTIAL] += 1
            if not (cut and rules.wait):
                target[j] = np.nan
    return traded
