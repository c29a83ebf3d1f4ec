"""The account's own tables: what it sees (tape), what it has (account), what it writes down (journal).

Arrays over symbols have shape (n,), over bars and symbols (t, n), float64 unless said. NaN means: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Functions that only compiled code calls need no wrappers: a quarter less to compile on first use. The stubs of numba
# do not know these options.
inner = njit(  # type: ignore[call-overload]
    cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy"
)
inlined = njit(  # type: ignore[call-overload]
    cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", forceinline=True
)

WHOLE_BOOK = np.int64(-1)

# Places in ``Journal.counts``.
FILLS, FLOWS, UNPRICED, SCALED, WITHDRAWN, LIMITED, UNLOCATED, PARTIAL = range(8)

_NO_TABLE, _NO_ROW, _NO_FLAG = np.empty((0, 0)), np.empty(0), np.empty(0, dtype=np.bool_)


class Tape(NamedTuple):
    """The market, as far as the account can see it. Arrays that no rule reads are left empty.

    Attributes
    ----------
    fill, close
        Prices at which orders fill and positions are marked, shape (t, n).
    trading
        Whether any symbol has a bar, bool, shape (t,).
    action_row
        The actions of bar i are those from ``action_row[i]`` to ``action_row[i + 1]``, int64, shape (t + 1,).
    action_symbol, action_kind, action_value
        Position of the symbol, kind (see ``rules``) and ratio or amount, int64, int64, float64.
    open, high, low
        What stops are held against, shape (t, n); filled wherever ``close`` is.
    volume
        Shares traded in a bar, 0 where that is not known, shape (t, n).
    slippage
        Fraction of the price that a trade of any size loses, shape (t, n).
    impact
        σ ÷ sqrt(mean volume) of the bars before, shape (t, n): times sqrt(shares) it is a fraction of the price.
    borrow, locate, lot
        Borrow fee a session, most shares that can be short, and shares in a lot, shape (n,).
    session_end
        Whether a session ends with the bar, when fees and interest are charged; bool, shape (t,); empty: always.
    """

    fill: NDArray[np.float64]
    close: NDArray[np.float64]
    trading: NDArray[np.bool_]
    action_row: NDArray[np.int64]
    action_symbol: NDArray[np.int64]
    action_kind: NDArray[np.int64]
    action_value: NDArray[np.float64]
    open: NDArray[np.float64] = _NO_TABLE
    high: NDArray[np.float64] = _NO_TABLE
    low: NDArray[np.float64] = _NO_TABLE
    volume: NDArray[np.float64] = _NO_TABLE
    slippage: NDArray[np.float64] = _NO_TABLE
    impact: NDArray[np.float64] = _NO_TABLE
    borrow: NDArray[np.float64] = _NO_ROW
    locate: NDArray[np.float64] = _NO_ROW
    lot: NDArray[np.float64] = _NO_ROW
    session_end: NDArray[np.bool_] = _NO_FLAG


class Account(NamedTuple):
    """The state that one bar hands to the next.

    Attributes
    ----------
    shares
        Held, negative for shorts.
    target
        Shares wanted by the orders that wait for their fill; NaN without an order.
    mark
        Last known close; NaN before the first.
    silent
        Bars since that close, int64.
    cash
        Shape (1,).
    equity
        Of the last close, shape (1,).
    entry, best
        Average price paid for the position (slippage included), and the best price since; kept where there are stops.
    """

    shares: NDArray[np.float64]
    target: NDArray[np.float64]
    mark: NDArray[np.float64]
    silent: NDArray[np.int64]
    cash: NDArray[np.float64]
    equity: NDArray[np.float64]
    entry: NDArray[np.float64]
    best: NDArray[np.float64]


class Journal(NamedTuple):
    """What is written down.

    Attributes
    ----------
    book
        A row a bar: equity, cash, gross and net exposure, one-way turnover, costs. Shape (t, 6).
    fills
        Bar, symbol, shares, price, commission, slippage, reason. Shape (capacity, 7).
    flows
        Bar, symbol (−1 for the whole book), kind, amount. Shape (capacity, 4).
    counts
        Rows used of ``fills`` and of ``flows``; targets without a price; buys scaled for want of cash; orders
        withdrawn because their price was too old; decisions cut to the limits; sales cut to the locates; fills cut to
        the volume. int64, shape (8,).
    """

    book: NDArray[np.float64]
    fills: NDArray[np.float64]
    flows: NDArray[np.float64]
    counts: NDArray[np.int64]


def open_account(symbols: int, capital: float) -> Account:
    """An account that holds cash only."""
    return Account(
        shares=np.zeros(symbols),
        target=np.full(symbols, np.nan),
        mark=np.full(symbols, np.nan),
        silent=np.zeros(symbols, dtype=np.int64),
        cash=np.full(1, capital, dtype=np.float64),
        equity=np.full(1, capital, dtype=np.float64),
        entry=np.full(symbols, np.nan),
        best=np.full(symbols, np.nan),
    )


def open_journal(bars: int, fills: int, flows: int) -> Journal:
    """An empty journal; memory that is never written to is never taken."""
    return Journal(
        book=np.empty((bars, 6)),
        fills=np.empty((fills, 7)),
        flows=np.empty((flows, 4)),
        counts=np.zeros(8, dtype=np.int64),
    )


@inner
def record_fill(
    journal: Journal,
    t: int,
    symbol: int,
    shares: float,
    price: float,
    commission: float,
    slippage: float,
    reason: np.int64,
) -> None:
    """Write down what was executed."""
    row = journal.fills[journal.counts[FILLS]]
    row[0], row[1], row[2], row[3] = t, symbol, shares, price
    row[4], row[5], row[6] = commission, slippage, reason
    journal.counts[FILLS] += 1


@inner
def pay(account: Account, journal: Journal, t: int, symbol: int | np.int64, kind: np.int64, amount: float) -> None:
    """Move cash without a trade."""
    account.cash[0] += amount
    row = journal.flows[journal.counts[FLOWS]]
    row[0], row[1], row[2], row[3] = t, symbol, kind, amount
    journal.counts[FLOWS] += 1


@inner
def settle(account: Account, journal: Journal, t: int, symbol: int, price: float, reason: np.int64) -> None:
    """Close a position without a trade: nothing is slipped and nobody is paid."""
    shares = account.shares[symbol]
    if shares != 0.0:
        account.cash[0] += shares * price
        account.shares[symbol] = 0.0
        record_fill(journal, t, symbol, -shares, price, 0.0, 0.0, reason)
