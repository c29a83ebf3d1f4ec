"""Thousands of parameter sets of one family in one compiled pass: who is above its slower average is held.

A *set* is a pair of rows of averages, made once for all sets. Symbols whose faster average lies above the slower one
are held with equal weights, and a book is decided when the set of symbols above changes. The account is that of
:mod:`aiquant.backtest.kernel`: its own ``step`` and ``decide``, session by session. For one symbol without gaps the
same rules are written out in plain numbers, because most sessions neither fill nor decide anything; tests hold all
equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from aiquant.backtest import kernel
from aiquant.backtest.costs import commission_of, slipped
from aiquant.backtest.fills import HEADROOM, scaled, whole
from aiquant.backtest.kernel import Account, Journal, Rules, Tape
from aiquant.backtest.stops import stop_hit

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIE = 1e-12
"""Share of the slower average by which the faster one has to lie above it: less than this is the rounding of sums."""

ANEW = 256
"""Rows after which a rolling sum is taken anew: so its rounding stays below a hundredth of ``TIE``."""


class Swept(NamedTuple):
    """What a block of sets came to.

    Attributes
    ----------
    begin
        Place of its first set among all.
    final
        Equity at the end, shape (k,).
    first
        Session of the first decision, the number of sessions where there was none; int64, shape (k,).
    fills
        int64, shape (k,).
    equity
        At each close, shape (k, t); (0, 0) where it was not asked for.
    """

    begin: int
    final: NDArray[np.float64]
    first: NDArray[np.int64]
    fills: NDArray[np.int64]
    equity: NDArray[np.float64]


@njit(cache=True, nogil=True)
def _rolling_mean(prices: NDArray[np.float64], window: int, out: NDArray[np.float64]) -> None:
    """Mean of the last ``window`` rows; NaN where one of them is. The sum is taken anew every ``ANEW`` rows."""
    for j in range(prices.shape[1]):
        total, gaps = 0.0, 0
        for t in range(len(prices)):
            if t % ANEW == 0:
                total = 0.0
                for s in range(max(0, t + 1 - window), t + 1):
                    if not np.isnan(prices[s, j]):
                        total += prices[s, j]
                gaps += np.isnan(prices[t, j])
            elif np.isnan(prices[t, j]):
                gaps += 1
            else:
                total += prices[t, j]
            if t >= window:
                if np.isnan(prices[t - window, j]):
                    gaps -= 1
                elif t % ANEW != 0:
                    total -= prices[t - window, j]
            out[t, j] = total / window if t >= window - 1 and gaps == 0 else np.nan


def averages(prices: NDArray[np.float64], windows: Sequence[int]) -> NDArray[np.float64]:
    """The mean of the last rows of ``prices`` (t, n) for each window, shape (m, t, n); NaN where there is a gap."""
    prices = np.ascontiguousarray(prices)
    out = np.empty((len(windows), *prices.shape))
    for row, window in enumerate(windows):
        _rolling_mean(prices, window, out[row])
    return out


@njit(cache=True, nogil=True)
def _one_symbol(
    fill: NDArray[np.float64],
    close: NDArray[np.float64],
    low: NDArray[np.float64],
    means: NDArray[np.float64],
    pairs: NDArray[np.int64],
    rules: Rules,
    capital: float,
    final: NDArray[np.float64],
    first: NDArray[np.int64],
    fills: NDArray[np.int64],
    equity: NDArray[np.float64],
) -> None:
    """One symbol without gaps, fully invested or not at all, with or without a stop. ``means`` has shape (m, t)."""
    bars, curves = len(close), len(equity) > 0
    for k in range(len(pairs)):
        fast, slow = means[pairs[k, 0]], means[pairs[k, 1]]
        cash, shares, target, entry, level = capital, 0.0, np.nan, 0.0, -np.inf
        held, began, done = False, bars, 0
        for t in range(bars):
            if not np.isnan(target):
                trade = whole(target - shares) if rules.whole else target - shares
                price = slipped(fill[t], trade, rules.slippage)
                if trade > 0.0 and not rules.margin:
                    need = trade * price + commission_of(rules, trade, trade * price)
                    if need > cash:
                        trade = scaled(rules, trade, max(cash, 0.0) / need * (1.0 - HEADROOM), 1.0)
                if trade != 0.0:
                    notional = abs(trade) * price
                    cash -= (notional if trade > 0.0 else -notional) + commission_of(rules, abs(trade), notional)
                    shares += trade
                    done += 1
                    if rules.stop_loss > 0.0:
                        entry, level = price, price * (1.0 - rules.stop_loss)
                target = np.nan
            if low[t] <= level and shares > 0.0:
                raw, _ = stop_hit(rules, 1.0, entry, entry, fill[t], low[t], low[t])
                price = slipped(raw, -shares, rules.slippage)
                notional = shares * price
                cash -= -notional + commission_of(rules, shares, notional)
                shares, level = 0.0, -np.inf
                done += 1
            if curves:
                equity[k, t] = cash + shares * close[t]
            above = fast[t] > slow[t] * (1.0 + TIE)
            if above != held:
                held = above
                began = min(began, t)
                if above:
                    target = (cash + shares * close[t]) / close[t]
                elif shares != 0.0:
                    target = 0.0
        final[k] = cash + shares * close[bars - 1]
        first[k], fills[k] = began, done


@njit(cache=True, nogil=True)
def _many_symbols(
    tape: Tape,
    means: NDArray[np.float64],
    share: NDArray[np.float64],
    pairs: NDArray[np.int64],
    rules: Rules,
    capital: float,
    account: Account,
    journal: Journal,
    final: NDArray[np.float64],
    first: NDArray[np.int64],
    fills: NDArray[np.int64],
    equity: NDArray[np.float64],
) -> None:
    """Any number of symbols: the kernel's own session, with a book where the symbols above change."""
    bars, symbols = tape.close.shape
    weights, held = np.zeros(symbols), np.zeros(symbols, dtype=np.bool_)
    for k in range(len(pairs)):
        fast, slow = means[pairs[k, 0]], means[pairs[k, 1]]
        account.shares[:], account.target[:], account.mark[:], account.silent[:] = 0.0, np.nan, np.nan, 0
        account.cash[0], account.equity[0] = capital, capital
        held[:] = False
        first[k], fills[k] = bars, 0
        for t in range(bars):
            journal.counts[:] = 0  # fills and flows of earlier sessions are not asked for
            alive = kernel.step(tape, rules, account, journal, t)
            fills[k] += journal.counts[0]
            if len(equity) > 0:
                equity[k, t] = account.equity[0]
            if not alive:
                if len(equity) > 0:
                    equity[k, t:] = account.equity[0]
                break
            if not tape.trading[t]:
                continue
            changed = False
            for j in range(symbols):
                above = fast[t, j] > slow[t, j] * (1.0 + TIE)
                changed = changed or above != held[j]
                held[j] = above
                weights[j] = share[t] if above else 0.0
            if changed:
                first[k] = min(first[k], t)
                kernel.decide(weights, rules, account, journal)
        final[k] = account.equity[0]


def plain(rules: Rules) -> bool:
    """Whether the rules are those that the plain numbers of one symbol know: all others are at rest."""
    told = (rules.commission, rules.slippage, rules.borrow, rules.whole, rules.margin, rules.patience)
    return rules == Rules(*told)


def crossings(
    tape: Tape,
    means: NDArray[np.float64],
    pairs: NDArray[np.int64],
    rules: Rules,
    capital: float,
    *,
    curves: bool = False,
    begin: int = 0,
) -> Swept:
    """Play each set with an account of its own.

    Parameters
    ----------
    means
        Averages on each session of the tape, shape (m, t, n), NaN where a session has none.
    pairs
        The rows of the faster and of the slower average of each set, int64, shape (k, 2).
    curves
        Whether the equity of each close is kept.
    begin
        Place of the first set among all, for the answer.
    """
    bars, symbols = tape.close.shape
    sets = len(pairs)
    final, first, fills = np.empty(sets), np.empty(sets, dtype=np.int64), np.empty(sets, dtype=np.int64)
    equity = np.empty((sets, bars)) if curves else np.empty((0, 0))
    simple = (
        symbols == 1 and not len(tape.action_kind) and np.isfinite(tape.close).all() and np.isfinite(tape.fill).all()
    )
    if simple and plain(rules):
        close = np.ascontiguousarray(tape.close[:, 0])
        rows = (np.ascontiguousarray(tape.fill[:, 0]), close, close, np.ascontiguousarray(means[:, :, 0]))
        _one_symbol(*rows, pairs, rules, capital, final, first, fills, equity)
    else:
        share = 1.0 / np.maximum(np.isfinite(tape.close).sum(axis=1), 1)
        account, journal = kernel.open_account(symbols, capital), kernel.open_journal(
            bars, 4 * symbols, bars + symbols + 2
        )
        _many_symbols(tape, means, share, pairs, rules, capital, account, journal, final, first, fills, equity)
    return Swept(begin, final, first, fills, equity)


def stopped_crossing(
    open_: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    fast: int,
    slow: int,
    stop: float,
    rules: Rules,
    capital: float,
    *,
    curves: bool = False,
) -> Swept:
    """One symbol's bars of any interval, one set, with a stop at a fraction below the price of the entry.

    An exit that is due at a bar's open comes before a stop inside the bar, and a bar that opens below the level is left
    at its open; the bar of the entry can stop out. After a stop it is out until its averages cross anew.

    Parameters
    ----------
    open_, low, close
        float64, shape (t,), without gaps; orders fill at the open.
    stop
        0 for none; wins over that of the rules.
    rules
        Otherwise :func:`plain` ones.
    """
    rules = rules._replace(stops=stop > 0.0, stop_loss=stop)
    means = averages(close[:, None], (fast, slow))[:, :, 0]
    pairs, final = np.array([[0, 1]], dtype=np.int64), np.empty(1)
    first, fills = np.empty(1, dtype=np.int64), np.empty(1, dtype=np.int64)
    equity = np.empty((1, len(close))) if curves else np.empty((0, 0))
    _one_symbol(open_, close, low, means, pairs, rules, capital, final, first, fills, equity)
    return Swept(0, final, first, fills, equity)


def in_blocks(play: Callable[[int, int], Swept], sets: int, size: int, workers: int) -> Iterator[Swept]:
    """``play(begin, end)`` for blocks of sets, in their order."""
    spans = [(begin, min(begin + size, sets)) for begin in range(0, sets, size)]
    if workers == 1:
        yield from (play(*span) for span in spans)
        return
    with ThreadPoolExecutor(workers) as pool:
        for at in range(0, len(spans), workers):
            yield from pool.map(lambda span: play(*span), spans[at : at + workers])
