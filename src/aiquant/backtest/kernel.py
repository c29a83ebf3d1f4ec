"""The accounting kernel: the one place where cash, shares, fees and slippage are reckoned.

The order of events in a bar is: splits and dividends, fills (sells, then buys), stops, delistings, marking at the
close, positions without bars, borrow fee and interest, bankruptcy, decision; where orders fill at the close or at the
VWAP, stops come before them. :func:`step` plays one bar up to its close, :func:`decide` sizes a decision, :func:`play`
plays all bars; a paper account calls the same two.

What a sweep over parameters can use without an account, compiled functions of plain numbers:
:func:`aiquant.backtest.costs.slippage_with_impact`, ``slipped`` and ``commission_of``,
:func:`aiquant.backtest.fills.whole` and :func:`aiquant.backtest.stops.stop_hit`.

:mod:`aiquant.backtest.reference` states the rules in plain Python, and tests hold the two equal to the last bit: so no
sum here may be reordered (no fastmath, no parallel loops).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from aiquant.backtest import rules as house
from aiquant.backtest.fills import WHOLE_SLACK, fill_orders
from aiquant.backtest.ledger import (
    FILLS,
    WHOLE_BOOK,
    WITHDRAWN,
    Account,
    Journal,
    Tape,
    inner,
    open_account,
    open_journal,
    pay,
    settle,
)
from aiquant.backtest.limits import size_orders, size_weights
from aiquant.backtest.rules import DELISTING_ACTION, DIVIDEND_ACTION, SPLIT, Rules
from aiquant.backtest.stops import stop_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As NumPy integers: for each plain one numba would compile every function that takes it once more.
_DELISTING, _STALE, _BANKRUPTCY = map(np.int64, (house.DELISTING, house.STALE, house.BANKRUPTCY))
_DIVIDEND, _CASH_IN_LIEU, _BORROW_FEE = map(np.int64, (house.DIVIDEND, house.CASH_IN_LIEU, house.BORROW_FEE))
_INTEREST, _MARGIN_INTEREST = map(np.int64, (house.INTEREST, house.MARGIN_INTEREST))


@inner
def _act(tape: Tape, rules: Rules, account: Account, journal: Journal, t: int) -> None:
    """Splits and dividends, before the bar opens: they meet what was held overnight."""
    for i in range(tape.action_row[t], tape.action_row[t + 1]):
        symbol, value = tape.action_symbol[i], tape.action_value[i]
        if tape.action_kind[i] == SPLIT:
            shares = account.shares[symbol] * value
            account.mark[symbol] /= value
            account.target[symbol] *= value
            account.entry[symbol] /= value
            account.best[symbol] /= value
            if rules.whole and shares != 0.0:
                nearest = np.rint(shares)
                kept = nearest if abs(shares - nearest) <= WHOLE_SLACK else np.trunc(shares)
                if kept != shares:
                    pay(account, journal, t, symbol, _CASH_IN_LIEU, (shares - kept) * account.mark[symbol])
                shares = kept
            account.shares[symbol] = shares
        elif tape.action_kind[i] == DIVIDEND_ACTION and account.shares[symbol] != 0.0:
            pay(account, journal, t, symbol, _DIVIDEND, account.shares[symbol] * value)


@inner
def _close(tape: Tape, rules: Rules, account: Account, journal: Journal, t: int) -> None:
    """Marks of the close, delistings, and positions that have had no bar for too long."""
    stale = False
    if tape.trading[t]:
        for j in range(len(account.shares)):
            price = tape.close[t, j]
            if np.isnan(price):
                account.silent[j] += 1
                stale = stale or account.silent[j] >= rules.patience
            else:
                account.mark[j] = price
                account.silent[j] = 0
    for i in range(tape.action_row[t], tape.action_row[t + 1]):
        if tape.action_kind[i] == DELISTING_ACTION:
            symbol, paid = tape.action_symbol[i], tape.action_value[i]
            settle(account, journal, t, symbol, account.mark[symbol] if np.isnan(paid) else paid, _DELISTING)
            account.target[symbol] = np.nan
    if stale:
        for j in range(len(account.shares)):
            if account.silent[j] >= rules.patience:
                settle(account, journal, t, j, account.mark[j], _STALE)
                if not np.isnan(account.target[j]):
                    account.target[j] = np.nan
                    journal.counts[WITHDRAWN] += 1


@inner
def _mark(tape: Tape, rules: Rules, account: Account) -> tuple[float, float, float]:
    """Value of the long and of the short positions, both positive, and the borrow fee of a session."""
    long, short, fee = 0.0, 0.0, 0.0
    for j in range(len(account.shares)):
        if account.shares[j] > 0.0:
            long += account.shares[j] * account.mark[j]
        elif account.shares[j] < 0.0:
            value = account.shares[j] * account.mark[j]
            short -= value
            if rules.by_symbol:
                fee -= value * tape.borrow[j]
    return long, short, fee if rules.by_symbol else short * rules.borrow


@inner
def _charge(rules: Rules, account: Account, journal: Journal, t: int, short: float, fee: float) -> None:
    """Borrow fee and interest, once a session."""
    if fee > 0.0:
        pay(account, journal, t, WHOLE_BOOK, _BORROW_FEE, -fee)
    cash = account.cash[0]
    if cash < 0.0:
        if rules.margin_interest > 0.0:
            pay(account, journal, t, WHOLE_BOOK, _MARGIN_INTEREST, cash * rules.margin_interest)
    elif rules.interest != 0.0 and cash > short:  # the proceeds of short sales are collateral
        pay(account, journal, t, WHOLE_BOOK, _INTEREST, (cash - short) * rules.interest)


@njit(cache=True)
def decide(weights: NDArray[np.float64], rules: Rules, account: Account, journal: Journal) -> None:
    """Size the new book on this close; it replaces all orders that wait."""
    size_weights(weights, rules, account, journal)


@njit(cache=True)
def order(shares: NDArray[np.float64], rules: Rules, account: Account, journal: Journal) -> None:
    """Give orders in shares, 0 for none; they add to what waits for their symbols."""
    size_orders(shares, rules, account, journal)


@njit(cache=True)
def step(tape: Tape, rules: Rules, account: Account, journal: Journal, t: int) -> bool:
    """Play bar ``t`` up to its close, before the decision; False when the account is bankrupt."""
    _act(tape, rules, account, journal, t)
    first = journal.counts[FILLS]
    traded = 0.0
    if rules.stops and rules.stops_first:
        traded += stop_out(tape, rules, account, journal, t)
    traded += fill_orders(tape, rules, account, journal, t)
    if rules.stops and not rules.stops_first:
        traded += stop_out(tape, rules, account, journal, t)
    _close(tape, rules, account, journal, t)
    long, short, fee = _mark(tape, rules, account)
    if len(tape.session_end) == 0 or tape.session_end[t]:
        _charge(rules, account, journal, t, short, fee)
    equity = account.cash[0] + (long - short)
    if equity <= 0.0:
        for j in range(len(account.shares)):
            settle(account, journal, t, j, account.mark[j], _BANKRUPTCY)
        long, short = 0.0, 0.0
    costs = 0.0
    for i in range(first, journal.counts[FILLS]):
        costs += journal.fills[i, 4] + journal.fills[i, 5]
    row = journal.book[t]
    row[0], row[1] = equity, account.cash[0]
    row[2] = (long + short) / equity if equity > 0.0 else 0.0
    row[3] = (long - short) / equity if equity > 0.0 else 0.0
    row[4] = 0.5 * traded / account.equity[0]
    row[5] = costs
    account.equity[0] = equity
    return bool(equity > 0.0)


@njit(cache=True, nogil=True)
def simulate(
    tape: Tape,
    decided: NDArray[np.float64],
    decision: NDArray[np.int64],
    in_shares: bool,
    rules: Rules,
    account: Account,
    journal: Journal,
    begin: int,
) -> int:
    """Play bars from ``begin`` on, as far as the journal has room for the fills of one more.

    Returns
    -------
    int
        The bar to go on with: t at the end, earlier when the journal is full or the account went bankrupt.
    """
    for t in range(begin, len(decision)):
        # A bar can fill one order, stop out of a part, and close one position of each symbol.
        if journal.counts[FILLS] + 3 * len(account.shares) > len(journal.fills):
            return t
        if not step(tape, rules, account, journal, t):
            return t + 1
        if decision[t] >= 0:
            if in_shares:
                size_orders(decided[decision[t]], rules, account, journal)
            else:
                size_weights(decided[decision[t]], rules, account, journal)
    return len(decision)


def play(
    tape: Tape,
    decided: NDArray[np.float64],
    decision: NDArray[np.int64],
    rules: Rules,
    capital: float,
    room: int | None = None,
    *,
    in_shares: bool = False,
    begin: int = 0,
) -> tuple[Account, Journal, int]:
    """Play all bars with a new account, or up to bankruptcy.

    Parameters
    ----------
    decided
        Decided weights, or orders in shares, shape (d, n).
    decision
        For each bar the row of ``decided`` that is decided at its close, −1 for none. int64, shape (t,).
    capital
        Cash at the start.
    room
        Fills that the journal can hold at first; it grows as needed.
    in_shares
        Whether ``decided`` are orders in shares.
    begin
        Bar of the first decision. What is before it tells closes to the account, which is opened with it: money that is
        not there yet earns no interest.

    Returns
    -------
    tuple
        The account, the journal, and the number of bars played (fewer than t after a bankruptcy).
    """
    bars, symbols = tape.close.shape
    account = open_account(symbols, capital)
    journal = open_journal(
        bars,
        fills=max(3 * symbols, room if room is not None else 2 * int(np.count_nonzero(decided)) + 3 * symbols),
        flows=2 * bars + len(tape.action_kind),  # a borrow fee and interest a bar, at most one flow an action
    )
    if begin:
        simulate(tape, decided, decision[:begin], in_shares, rules, account, journal, 0)
        begin_with(capital, account, journal)
    played = simulate(tape, decided, decision, in_shares, rules, account, journal, begin)
    while played < bars and account.equity[0] > 0.0:
        journal = journal._replace(fills=np.concatenate([journal.fills, np.empty_like(journal.fills)]))
        played = simulate(tape, decided, decision, in_shares, rules, account, journal, played)
    return account, journal, played


def begin_with(capital: float, account: Account, journal: Journal) -> None:
    """Open an account that has been shown the closes of earlier bars: what it did in them is forgotten."""
    account.cash[:] = account.equity[:] = capital
    journal.counts[:] = 0


__all__ = [
    "Account",
    "Journal",
    "Rules",
    "Tape",
    "begin_with",
    "decide",
    "open_account",
    "open_journal",
    "order",
    "play",
    "simulate",
    "step",
]
