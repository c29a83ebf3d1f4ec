"""From decisions to orders, compiled: sized on the close, and cut to the limits of position and exposure."""

from __future__ import annotations

import numpy as np

from aiquant.backtest.ledger import LIMITED, UNPRICED, Account, Journal, inner
from aiquant.backtest.rules import Rules


@inner
def clipped(value: float, most: float) -> float:
    """``value`` within −most to most."""
    return min(max(value, -most), most)


@inner
def _scales(rules: Rules, long: float, short: float) -> tuple[float, float]:
    """Factors of the long and of the short side that bring a book within the limits of gross and net exposure."""
    both = rules.max_gross / (long + short) if long + short > rules.max_gross else 1.0
    up, down = both, both
    long, short = long * both, short * both
    if long - short > rules.max_net:
        up *= (short + rules.max_net) / long
    elif short - long > rules.max_net:
        down *= (long + rules.max_net) / short
    return up, down


@inner
def size_weights(weights: np.ndarray, rules: Rules, account: Account, journal: Journal) -> None:
    """Target shares of a whole new book; it replaces all orders that wait."""
    up, down = 1.0, 1.0
    if rules.limited:
        long, short, cut = 0.0, 0.0, False
        for j in range(len(weights)):
            weight = clipped(weights[j], rules.max_position)
            cut = cut or weight != weights[j]
            if weight > 0.0:
                long += weight
            else:
                short -= weight
        up, down = _scales(rules, long, short)
        if cut or up < 1.0 or down < 1.0:
            journal.counts[LIMITED] += 1
    for j in range(len(account.shares)):
        account.target[j] = np.nan
        if weights[j] == 0.0:
            if account.shares[j] != 0.0:
                account.target[j] = 0.0
        elif np.isnan(account.mark[j]) or account.silent[j] >= rules.patience:
            journal.counts[UNPRICED] += 1
        else:
            weight = weights[j]
            if rules.limited:
                weight = clipped(weight, rules.max_position) * (up if weight > 0.0 else down)
            account.target[j] = weight * account.equity[0] / account.mark[j]


@inner
def _after(rules: Rules, account: Account, symbol: int, order: float) -> tuple[float, float]:
    """Shares wanted before and after an order, which must not go beyond the largest position (but may shrink one)."""
    before = account.target[symbol] if not np.isnan(account.target[symbol]) else account.shares[symbol]
    after = before + order
    if rules.max_position < np.inf:
        most = rules.max_position * account.equity[0] / account.mark[symbol]
        if after * before > 0.0:
            most = max(most, abs(before))
        after = clipped(after, most)
    if not rules.shorts and after < 0.0:
        after = max(after, min(before, 0.0))
    return before, after


@inner
def _order_scales(orders: np.ndarray, rules: Rules, account: Account) -> tuple[float, float, float]:
    """Factors of what grows positions, of buys and of sales that keep the wanted book within gross and net exposure."""
    gross, net, grown, bought, sold = 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(len(orders)):
        if np.isnan(account.mark[j]):
            continue
        before, after = _after(rules, account, j, orders[j] if account.silent[j] < rules.patience else 0.0)
        gross += abs(after) * account.mark[j]
        net += after * account.mark[j]
        grown += max(abs(after) - abs(before), 0.0) * account.mark[j]
        bought += max(after - before, 0.0) * account.mark[j]
        sold += max(before - after, 0.0) * account.mark[j]
    grow, buy, sell = 1.0, 1.0, 1.0
    equity = account.equity[0]
    if gross > rules.max_gross * equity and grown > 0.0:
        grow = max(1.0 - (gross - rules.max_gross * equity) / grown, 0.0)
    if net > rules.max_net * equity and bought > 0.0:
        buy = max(1.0 - (net - rules.max_net * equity) / bought, 0.0)
    elif -net > rules.max_net * equity and sold > 0.0:
        sell = max(1.0 - (-net - rules.max_net * equity) / sold, 0.0)
    return grow, buy, sell


@inner
def size_orders(orders: np.ndarray, rules: Rules, account: Account, journal: Journal) -> None:
    """Add orders in shares (0 for none) to what waits for their symbols; nothing else changes."""
    grow, buy, sell = 1.0, 1.0, 1.0
    if rules.limited:
        grow, buy, sell = _order_scales(orders, rules, account)
    limited = grow < 1.0 or buy < 1.0 or sell < 1.0
    for j in range(len(orders)):
        if orders[j] == 0.0:
            continue
        if np.isnan(account.mark[j]) or account.silent[j] >= rules.patience:
            journal.counts[UNPRICED] += 1
            continue
        before, after = _after(rules, account, j, orders[j])
        limited = limited or after != before + orders[j]
        if grow < 1.0 and abs(after) > abs(before):
            after = before + (after - before) * grow
        if buy < 1.0 and after > before:
            after = before + (after - before) * buy
        if sell < 1.0 and after < before:
            after = before + (after - before) * sell
        account.target[j] = after
    if limited:
        journal.counts[LIMITED] += 1
