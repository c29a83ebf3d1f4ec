"""Stops inside a bar: stop-loss, take-profit and trailing stop, compiled.

Only open, high, low and close of a bar are known, not their order. What is known is used: the open comes first, and a
price that opens beyond a level is the price of the exit. What is not known is taken against the account: where both a
stop and the profit's level lie inside the bar, the stop was first; the high of a bar raises the trailing stop of later
bars only.
"""

from __future__ import annotations

import numpy as np

from aiquant.backtest import rules as house
from aiquant.backtest.fills import book, priced, slippage_of, whole, within_volume
from aiquant.backtest.ledger import PARTIAL, Account, Journal, Tape, inner, inlined
from aiquant.backtest.rules import Rules

_STOP_LOSS, _TAKE_PROFIT, _TRAILING_STOP = map(np.int64, (house.STOP_LOSS, house.TAKE_PROFIT, house.TRAILING_STOP))


@inlined
def stop_hit(
    rules: Rules, side: float, entry: float, best: float, first: float, worst: float, better: float
) -> tuple[float, np.int64]:
    """Price and reason of the exit from a position in this bar; NaN when none is hit.

    Parameters
    ----------
    side
        1.0 for a long, −1.0 for a short position.
    entry, best
        Price of the entry, and the best price since, this bar not counted.
    first, worst, better
        The bar's open, and its low and high for a long position, its high and low for a short one.
    """
    level, reason = -np.inf, _STOP_LOSS  # all levels times side, so that worse is smaller
    if rules.stop_loss > 0.0:
        level = side * (entry * (1.0 - side * rules.stop_loss))
    if rules.trailing_stop > 0.0:
        top = max(side * best, side * first)
        trailing = side * (side * top * (1.0 - side * rules.trailing_stop))
        if trailing > level:
            level, reason = trailing, _TRAILING_STOP
    profit = np.inf
    if rules.take_profit > 0.0:
        profit = side * (entry * (1.0 + side * rules.take_profit))
    if side * first <= level:
        return first, reason
    if side * first >= profit:
        return first, _TAKE_PROFIT
    if side * worst <= level:
        return side * level, reason
    if side * better >= profit:
        return side * profit, _TAKE_PROFIT
    return np.nan, reason


@inlined
def out_of_reach(rules: Rules, side: float, entry: float, best: float, worst: float, better: float) -> bool:
    """Whether no level can have been hit, ``best`` counting this bar; true where the bar is missing (NaN).

    Most bars hit nothing. This tells it from levels that are at least as near as any, without the bar's open.
    """
    if rules.stop_loss > 0.0 and side * worst <= side * (entry * (1.0 - side * rules.stop_loss)):
        return False
    if rules.trailing_stop > 0.0 and side * worst <= side * (best * (1.0 - side * rules.trailing_stop)):
        return False
    return not (rules.take_profit > 0.0 and side * better >= side * (entry * (1.0 + side * rules.take_profit)))


@inner
def stop_out(tape: Tape, rules: Rules, account: Account, journal: Journal, t: int) -> float:
    """Close the positions whose stop is hit in bar ``t``, withdraw their orders; return the traded notional.

    A stop is a market order and pays slippage; a take-profit rests at its price and pays none. Cash is not asked for.
    """
    traded = 0.0
    for j in range(len(account.shares)):
        shares = account.shares[j]
        if shares == 0.0:
            continue
        side = 1.0 if shares > 0.0 else -1.0
        low, high = tape.low[t, j], tape.high[t, j]
        worst, better = (low, high) if shares > 0.0 else (high, low)
        entry, best = account.entry[j], account.best[j]
        top = better if side * better > side * best else best
        raw, reason = np.nan, _STOP_LOSS
        if not out_of_reach(rules, side, entry, top, worst, better):
            raw, reason = stop_hit(rules, side, entry, best, tape.open[t, j], worst, better)
        if np.isnan(raw):
            account.best[j] = top
            continue
        account.target[j] = np.nan
        trade, cut = within_volume(rules, tape.volume[t, j] if rules.participation > 0.0 else 0.0, -shares)
        if cut:
            journal.counts[PARTIAL] += 1
            trade = whole(trade) if rules.whole else trade
        if trade == 0.0:
            continue
        lost = 0.0
        if reason != _TAKE_PROFIT:
            base = tape.slippage[t, j] if rules.by_bar else 0.0
            impact = tape.impact[t, j] if rules.impact > 0.0 else 0.0
            lost = slippage_of(rules, base, impact, abs(trade))
        price, notional, commission = priced(rules, trade, raw, lost)
        cash, held, fills = account.cash, account.shares, journal.fills
        slippage = abs(trade) * raw * lost
        book(cash, held, fills, journal.counts, t, j, trade, price, notional, commission, slippage, reason)
        traded += notional
    return traded
