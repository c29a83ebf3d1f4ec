"""The accounting kernel: the one place where cash, shares, fees and slippage are reckoned.

The order of events in a session is: splits and dividends, fills (sells, then buys), delistings, marking at the close,
positions without bars, borrow fee, bankruptcy, decision. :func:`step` plays one session up to its close, :func:`decide`
sizes a decision, :func:`play` plays all sessions; a paper account calls the same two.
:mod:`aiquant.backtest.reference` states the rules in plain Python, and tests hold the two equal to the last bit: so no
sum here may be reordered (no fastmath, no parallel loops).

Arrays over symbols have shape (n,), over sessions and symbols (t, n), float64 unless said. NaN means: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from aiquant.backtest import rules as house
from aiquant.backtest.rules import DELISTING_ACTION, DIVIDEND_ACTION, SPLIT, Rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As NumPy integers: for each plain one numba would compile every function that takes it once more.
REBALANCE, DELISTING = np.int64(house.REBALANCE), np.int64(house.DELISTING)
STALE, BANKRUPTCY = np.int64(house.STALE), np.int64(house.BANKRUPTCY)
DIVIDEND, CASH_IN_LIEU, BORROW_FEE = map(np.int64, (house.DIVIDEND, house.CASH_IN_LIEU, house.BORROW_FEE))
WHOLE_BOOK = np.int64(-1)

# Functions that only compiled code calls need no wrappers: a quarter less to compile on first use. The stubs of numba
# do not know these options.
_inner = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]

HEADROOM = 1e-11
"""Share of the cash that scaled buys leave, so that rounding cannot make cash negative."""

WHOLE_SLACK = 1e-9
"""Shares by which a number may miss a whole one and still be it: 0.57 × 10,000 ÷ 10 is 570, not 569.9999999999999."""


class Tape(NamedTuple):
    """The market, as far as the account can see it.

    Attributes
    ----------
    fill, close
        Prices at which orders fill and positions are marked, shape (t, n).
    trading
        Whether any symbol has a bar in a session, bool, shape (t,).
    action_row
        The actions of session i are those from ``action_row[i]`` to ``action_row[i + 1]``, int64, shape (t + 1,).
    action_symbol, action_kind, action_value
        Position of the symbol, kind (see ``rules``) and ratio or amount, int64, int64, float64.
    """

    fill: NDArray[np.float64]
    close: NDArray[np.float64]
    trading: NDArray[np.bool_]
    action_row: NDArray[np.int64]
    action_symbol: NDArray[np.int64]
    action_kind: NDArray[np.int64]
    action_value: NDArray[np.float64]


class Account(NamedTuple):
    """The state that one session hands to the next.

    Attributes
    ----------
    shares
        Held, negative for shorts.
    target
        Shares wanted by the orders that wait for their fill; NaN without an order.
    mark
        Last known close; NaN before the first.
    silent
        Sessions since that close, int64.
    cash
        Shape (1,).
    equity
        Of the last close, shape (1,).
    """

    shares: NDArray[np.float64]
    target: NDArray[np.float64]
    mark: NDArray[np.float64]
    silent: NDArray[np.int64]
    cash: NDArray[np.float64]
    equity: NDArray[np.float64]


class Journal(NamedTuple):
    """What is written down.

    Attributes
    ----------
    book
        A row a session: equity, cash, gross and net exposure, one-way turnover, costs. Shape (t, 6).
    fills
        Session, symbol, shares, price, commission, slippage, reason. Shape (capacity, 7).
    flows
        Session, symbol (−1 for the whole book), kind, amount. Shape (capacity, 4).
    counts
        Rows used of ``fills`` and of ``flows``; targets without a price; buys scaled for want of cash; orders
        withdrawn because their price was too old. int64, shape (5,).
    """

    book: NDArray[np.float64]
    fills: NDArray[np.float64]
    flows: NDArray[np.float64]
    counts: NDArray[np.int64]


@_inner
def _record_fill(
    journal: Journal,
    t: int,
    symbol: int,
    shares: float,
    price: float,
    commission: float,
    slippage: float,
    reason: np.int64,
) -> None:
    row = journal.fills[journal.counts[0]]
    row[0], row[1], row[2], row[3] = t, symbol, shares, price
    row[4], row[5], row[6] = commission, slippage, reason
    journal.counts[0] += 1


@_inner
def _pay(account: Account, journal: Journal, t: int, symbol: int | np.int64, kind: np.int64, amount: float) -> None:
    account.cash[0] += amount
    row = journal.flows[journal.counts[1]]
    row[0], row[1], row[2], row[3] = t, symbol, kind, amount
    journal.counts[1] += 1


@_inner
def _settle(account: Account, journal: Journal, t: int, symbol: int, price: float, reason: np.int64) -> None:
    """Close a position without a trade: nothing is slipped and nobody is paid."""
    shares = account.shares[symbol]
    if shares != 0.0:
        account.cash[0] += shares * price
        account.shares[symbol] = 0.0
        _record_fill(journal, t, symbol, -shares, price, 0.0, 0.0, reason)


@_inner
def _execute(account: Account, journal: Journal, rules: Rules, t: int, symbol: int, trade: float, raw: float) -> float:
    """Trade and return the slipped notional."""
    price = raw * (1.0 + rules.slippage) if trade > 0.0 else raw * (1.0 - rules.slippage)
    size = abs(trade)
    notional = size * price
    commission = notional * rules.commission
    account.cash[0] -= (notional if trade > 0.0 else -notional) + commission
    account.shares[symbol] += trade
    _record_fill(journal, t, symbol, trade, price, commission, size * raw * rules.slippage, REBALANCE)
    return notional


@_inner
def _wanted(account: Account, rules: Rules, symbol: int) -> float:
    """The trade that the waiting order asks for."""
    trade = float(account.target[symbol] - account.shares[symbol])
    if rules.whole:
        nearest = float(np.rint(trade))
        trade = nearest if abs(trade - nearest) <= WHOLE_SLACK else float(np.trunc(trade))
    return trade


@_inner
def _act(tape: Tape, rules: Rules, account: Account, journal: Journal, t: int) -> None:
    """Splits and dividends, before the session opens: they meet what was held overnight."""
    for i in range(tape.action_row[t], tape.action_row[t + 1]):
        symbol, value = tape.action_symbol[i], tape.action_value[i]
        if tape.action_kind[i] == SPLIT:
            shares = account.shares[symbol] * value
            account.mark[symbol] /= value
            account.target[symbol] *= value
            if rules.whole and shares != 0.0:
                nearest = np.rint(shares)
                kept = nearest if abs(shares - nearest) <= WHOLE_SLACK else np.trunc(shares)
                if kept != shares:
                    _pay(account, journal, t, symbol, CASH_IN_LIEU, (shares - kept) * account.mark[symbol])
                shares = kept
            account.shares[symbol] = shares
        elif tape.action_kind[i] == DIVIDEND_ACTION and account.shares[symbol] != 0.0:
            _pay(account, journal, t, symbol, DIVIDEND, account.shares[symbol] * value)


@_inner
def _fill(tape: Tape, rules: Rules, account: Account, journal: Journal, t: int) -> float:
    """Fill the waiting orders whose symbols have a bar; return the traded notional."""
    traded, need = 0.0, 0.0
    for j in range(len(account.shares)):
        raw = tape.fill[t, j]
        if np.isnan(account.target[j]) or np.isnan(raw):
            continue
        trade = _wanted(account, rules, j)
        if trade < 0.0:
            traded += _execute(account, journal, rules, t, j, trade, raw)
        elif trade > 0.0:
            notional = trade * (raw * (1.0 + rules.slippage))
            need += notional + notional * rules.commission
            continue
        account.target[j] = np.nan
    if need == 0.0:
        return traded
    factor = 1.0
    if not rules.margin and need > account.cash[0]:
        factor = max(account.cash[0], 0.0) / need * (1.0 - HEADROOM)
    for j in range(len(account.shares)):
        raw = tape.fill[t, j]
        if np.isnan(account.target[j]) or np.isnan(raw):
            continue
        trade = _wanted(account, rules, j)
        if factor < 1.0:
            trade = np.trunc(trade * factor) if rules.whole else trade * factor
            journal.counts[3] += 1
        if trade > 0.0:
            traded += _execute(account, journal, rules, t, j, trade, raw)
        account.target[j] = np.nan
    return traded


@_inner
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
            _settle(account, journal, t, symbol, account.mark[symbol] if np.isnan(paid) else paid, DELISTING)
            account.target[symbol] = np.nan
    if stale:
        for j in range(len(account.shares)):
            if account.silent[j] >= rules.patience:
                _settle(account, journal, t, j, account.mark[j], STALE)
                if not np.isnan(account.target[j]):
                    account.target[j] = np.nan
                    journal.counts[4] += 1


@_inner
def _mark(account: Account) -> tuple[float, float]:
    """Value of the long and of the short positions, both positive."""
    long, short = 0.0, 0.0
    for j in range(len(account.shares)):
        if account.shares[j] > 0.0:
            long += account.shares[j] * account.mark[j]
        elif account.shares[j] < 0.0:
            short -= account.shares[j] * account.mark[j]
    return long, short


@njit(cache=True)
def decide(weights: NDArray[np.float64], rules: Rules, account: Account, journal: Journal) -> None:
    """Size the new book on this close; it replaces all orders that wait."""
    for j in range(len(account.shares)):
        account.target[j] = np.nan
        if weights[j] == 0.0:
            if account.shares[j] != 0.0:
                account.target[j] = 0.0
        elif np.isnan(account.mark[j]) or account.silent[j] >= rules.patience:
            journal.counts[2] += 1
        else:
            account.target[j] = weights[j] * account.equity[0] / account.mark[j]


@njit(cache=True)
def step(tape: Tape, rules: Rules, account: Account, journal: Journal, t: int) -> bool:
    """Play session ``t`` up to its close, before the decision; False when the account is bankrupt."""
    _act(tape, rules, account, journal, t)
    first = journal.counts[0]
    traded = _fill(tape, rules, account, journal, t)
    _close(tape, rules, account, journal, t)
    long, short = _mark(account)
    if short > 0.0 and rules.borrow > 0.0:
        _pay(account, journal, t, WHOLE_BOOK, BORROW_FEE, -short * rules.borrow)
    equity = account.cash[0] + (long - short)
    if equity <= 0.0:
        for j in range(len(account.shares)):
            _settle(account, journal, t, j, account.mark[j], BANKRUPTCY)
        long, short = 0.0, 0.0
    costs = 0.0
    for i in range(first, journal.counts[0]):
        costs += journal.fills[i, 4] + journal.fills[i, 5]
    row = journal.book[t]
    row[0], row[1] = equity, account.cash[0]
    row[2] = (long + short) / equity if equity > 0.0 else 0.0
    row[3] = (long - short) / equity if equity > 0.0 else 0.0
    row[4] = 0.5 * traded / account.equity[0]
    row[5] = costs
    account.equity[0] = equity
    return bool(equity > 0.0)


@njit(cache=True)
def simulate(
    tape: Tape,
    weights: NDArray[np.float64],
    decision: NDArray[np.int64],
    rules: Rules,
    account: Account,
    journal: Journal,
    begin: int,
) -> int:
    """Play sessions from ``begin`` on, as far as the journal has room for the fills of one more.

    Returns
    -------
    int
        The session to go on with: t at the end, earlier when the journal is full or the account went bankrupt.
    """
    for t in range(begin, len(decision)):
        # A session can fill one order and close one position of each symbol.
        if journal.counts[0] + 2 * len(account.shares) > len(journal.fills):
            return t
        if not step(tape, rules, account, journal, t):
            return t + 1
        if decision[t] >= 0:
            decide(weights[decision[t]], rules, account, journal)
    return len(decision)


def play(
    tape: Tape,
    weights: NDArray[np.float64],
    decision: NDArray[np.int64],
    rules: Rules,
    capital: float,
    room: int | None = None,
) -> tuple[Account, Journal, int]:
    """Play all sessions with a new account, or up to bankruptcy.

    Parameters
    ----------
    weights
        Decided weights, shape (d, n).
    decision
        For each session the row of ``weights`` that is decided at its close, −1 for none. int64, shape (t,).
    capital
        Cash at the start.
    room
        Fills that the journal can hold at first; it grows as needed.

    Returns
    -------
    tuple
        The account, the journal, and the number of sessions played (fewer than t after a bankruptcy).
    """
    sessions, symbols = tape.close.shape
    account = open_account(symbols, capital)
    journal = open_journal(
        sessions,
        fills=max(2 * symbols, room if room is not None else 2 * int(np.count_nonzero(weights)) + 2 * symbols),
        flows=sessions + len(tape.action_kind),  # a borrow fee a session, at most one flow an action
    )
    played = simulate(tape, weights, decision, rules, account, journal, 0)
    while played < sessions and account.equity[0] > 0.0:
        journal = journal._replace(fills=np.concatenate([journal.fills, np.empty_like(journal.fills)]))
        played = simulate(tape, weights, decision, rules, account, journal, played)
    return account, journal, played


def open_account(symbols: int, capital: float) -> Account:
    """An account that holds cash only."""
    return Account(
        shares=np.zeros(symbols),
        target=np.full(symbols, np.nan),
        mark=np.full(symbols, np.nan),
        silent=np.zeros(symbols, dtype=np.int64),
        cash=np.full(1, capital, dtype=np.float64),
        equity=np.full(1, capital, dtype=np.float64),
    )


def open_journal(sessions: int, fills: int, flows: int) -> Journal:
    """An empty journal; memory that is never written to is never taken."""
    return Journal(
        book=np.empty((sessions, 6)),
        fills=np.empty((fills, 7)),
        flows=np.empty((flows, 4)),
        counts=np.zeros(5, dtype=np.int64),
    )


__all__ = ["Account", "Journal", "Rules", "Tape", "decide", "open_account", "open_journal", "play", "step"]
