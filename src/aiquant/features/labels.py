"""Forward returns: what models are asked to forecast, and the only place in this room that looks ahead.

A decision at the close of a bar is filled at the next bar, never at its own close. The label of a bar is the return
from that fill to the fill ``horizon`` slots of the calendar later. Where a symbol has no bar in a slot, the fill waits
for its next one, :data:`GRACE` slots at the most: a decision that could not be filled by then has no label.

A symbol that stops trading is not dropped, which would leave survivors only. Where the corporate actions tell of its
delisting, the label ends then, at the cash that was paid or at the last close. Where they do not, a stop is known only
after a while: when no bar has come within :data:`GRACE` slots of the one in which the position was to be closed, the
label takes the last close before it, and ``label_end`` is the end of that while. A label whose end is not there yet is
left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.calendars import Sessions
from aiquant.errors import UsageError
from aiquant.features import adjustments, grid
from aiquant.schemas import LABELS, conform

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fill = Literal["next-open", "close"]

GRACE = 10
"""Slots without a bar after which a symbol counts as stopped: a bar that is missing for a day or two is no end."""


@dataclass(frozen=True)
class Fills:
    """Where each bar of the grid, as a fill, happens: price and time (``datetime64[us]``), one entry a row."""

    price: NDArray[np.float64]
    time: NDArray[np.datetime64]


def forward_returns(
    bars: pa.Table,
    sessions: Sessions,
    horizon: int,
    fill: Fill = "next-open",
    actions: pa.Table | None = None,
) -> pa.Table:
    """Return from the next fill to the fill ``horizon`` slots later, for every bar. **Looks ahead**: never a feature.

    Parameters
    ----------
    bars
        Rows of :data:`aiquant.schemas.BARS` of one interval.
    sessions
        The sessions of their exchange, covering all bars.
    horizon
        Slots that the position is held: sessions, for daily bars.
    fill
        ``next-open``: at the open of the next bar, or at its close where it has no open; ``close``: at the close of the
        next bar.
    actions
        Rows of :data:`aiquant.schemas.CORPORATE_ACTIONS`: splits between the fills change the shares held, dividends
        are added in cash, a delisting pays its amount.

    Returns
    -------
    pyarrow.Table
        Rows of :data:`aiquant.schemas.LABELS`, sorted by symbol and event_time.

    Raises
    ------
    UsageError
        When the horizon is not positive or the fill unknown.
    DataError
        When bars are mixed, stand twice or lie outside of the sessions.
    """
    check(horizon, fill)
    laid = grid.build(bars, sessions)
    return held_until(laid, due(laid, horizon), horizon, fill, actions)


def check(horizon: int, fill: str) -> None:
    """Refuse what has no meaning.

    Raises
    ------
    UsageError
        When the horizon is not positive or the fill unknown.
    """
    if horizon < 1:
        raise UsageError(f"a label needs a horizon of 1 or more bars, not {horizon}")
    if fill not in ("next-open", "close"):
        raise UsageError(f"no fill is named {fill!r}", "choose next-open or close")


def due(laid: grid.Grid, horizon: int) -> NDArray[np.int64]:
    """The slot by which a position decided at each row is closed: ``horizon`` behind that of the fill that opens it.

    Of the last row of a symbol, which opens none, it has no meaning.
    """
    slot = laid.slot[laid.cell]
    return np.append(slot[1:], 0) + horizon


def held_until(
    laid: grid.Grid, until: NDArray[np.int64], horizon: int, fill: Fill, actions: pa.Table | None
) -> pa.Table:
    """Labels of positions that are closed at the first fill in the slot ``until`` or behind it.

    Parameters
    ----------
    laid
        The bars.
    until
        ``int64``, one slot a row, behind that of the fill that opens the position.
    horizon
        What the labels are called by.
    fill, actions
        See :func:`forward_returns`.

    Returns
    -------
    pyarrow.Table
        Rows of :data:`aiquant.schemas.LABELS`, sorted by symbol and event_time.
    """
    fills = fills_of(laid, fill)
    delisted = _delisted(laid, actions)
    entry, exit_, gone = _rows(laid, until, delisted)
    told = (entry >= 0) & (exit_ >= 0)
    shares, cash = holdings(laid, actions)
    at, start, end = np.flatnonzero(told), entry[told], exit_[told]
    stopped = gone[told]
    close = laid.rows["close"].to_numpy()
    close_time = laid.slots.closes[laid.slot[laid.cell]]
    paid, paid_known = _delistings(laid, actions)
    last_price = np.where(paid_known[end], paid[end], close[end])
    price = np.where(stopped, last_price, fills.price[end])
    # An action of the entry's own bar is already in the entry's price.
    value = price * shares[end] / shares[start] + (cash[end] - cash[start]) / shares[start]
    noticed = laid.slots.closes[np.minimum(until[at] + GRACE, len(laid.slots.closes) - 1)]
    over = np.where(np.isin(end, laid.row_starts[1:] - 1) & _at_rows(laid, delisted)[end], close_time[end], noticed)
    rows = laid.rows.select("symbol", "date", "event_time")[at].with_columns(
        pl.lit(horizon, pl.Int32).alias("horizon"),
        _times("label_start", fills.time[start]),
        _times("label_end", np.where(stopped, over, fills.time[end])),
        pl.Series("forward_return", value / fills.price[start] - 1.0),
    )
    # A position opened at the last close there ever was has a return only where a delisting tells what it paid.
    has_return = (pl.col("label_end") > pl.col("label_start")) | pl.Series(paid_known[end] & stopped)
    return conform(rows.filter(has_return).to_arrow(), LABELS)


def _times(name: str, moments: NDArray[np.datetime64]) -> pl.Series:
    return pl.Series(name, moments.astype("datetime64[us]")).dt.replace_time_zone("UTC")


def fills_of(laid: grid.Grid, fill: Fill) -> Fills:
    """The fill of each row, were a position opened or closed there."""
    slot = laid.slot[laid.cell]
    close = laid.rows["close"].to_numpy()
    if fill == "close":
        return Fills(close, laid.slots.closes[slot])
    opened = laid.rows["open"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    at_open = np.isfinite(opened)
    return Fills(np.where(at_open, opened, close), np.where(at_open, laid.slots.opens[slot], laid.slots.closes[slot]))


def _rows(
    laid: grid.Grid, until: NDArray[np.int64], delisted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """For each row the rows of its two fills (−1: none, or not yet), and whether the symbol stopped before the last."""
    n = laid.rows.height
    entry = np.full(n, -1, dtype=np.int64)
    leave = np.full(n, -1, dtype=np.int64)
    gone = np.zeros(n, dtype=bool)
    slot = laid.slot[laid.cell]
    newest = int(slot.max()) if n else 0
    for symbol, (begin, end) in enumerate(zip(laid.row_starts[:-1], laid.row_starts[1:], strict=True)):
        own = slot[begin:end]
        soon = own[1:] <= own[:-1] + 1 + GRACE
        entry[begin : end - 1] = np.where(soon, np.arange(begin + 1, end), -1)
        target = until[begin : end - 1]
        after = begin + np.searchsorted(own, target)
        there = after < end
        there[there] = slot[after[there]] <= target[there] + GRACE
        over = (after >= end) & delisted[symbol] & (target <= newest)
        stopped = over | (~there & (target + GRACE <= newest))
        leave[begin : end - 1] = np.where(stopped, after - 1, np.where(there, after, -1))
        gone[begin : end - 1] = stopped
    return entry, leave, gone


def _delisted(laid: grid.Grid, actions: pa.Table | None) -> NDArray[np.bool_]:
    """For each symbol, whether the corporate actions tell that its last bar was its last."""
    if actions is None or not actions.num_rows:
        return np.zeros(len(laid.symbols), dtype=bool)
    told = adjustments.newest(actions).filter(pl.col("kind") == "delisting")["symbol"].to_list()
    return np.isin(laid.symbols, told)


def _at_rows(laid: grid.Grid, by_symbol: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A value a symbol, for each of its rows."""
    return np.repeat(by_symbol, np.diff(laid.row_starts))


def holdings(laid: grid.Grid, actions: pa.Table | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares that one share of each symbol's first bar has become by each row, and the cash that they were paid."""
    n = laid.rows.height
    shares, cash = np.ones(n), np.zeros(n)
    if actions is None or not actions.num_rows or not n:
        return shares, cash
    wanted = adjustments.newest(actions).filter(pl.col("kind").is_in(["split", "dividend"]))
    placed = adjustments.place(laid, wanted)
    splits, dividends = adjustments.wanted(laid, placed)
    # Splits first: a dividend of the same day is paid on the new shares.
    for kind, ratio, row in placed.select("kind", "ratio", "row").iter_rows():
        if kind == "split" and splits[row]:
            shares[row] *= ratio
    for begin, end in zip(laid.row_starts[:-1], laid.row_starts[1:], strict=True):
        shares[begin:end] = np.cumprod(shares[begin:end])
    for kind, amount, row in placed.select("kind", "amount", "row").iter_rows():
        if kind == "dividend" and dividends[row]:
            cash[row] += amount * shares[row]
    for begin, end in zip(laid.row_starts[:-1], laid.row_starts[1:], strict=True):
        cash[begin:end] = np.cumsum(cash[begin:end])
    return shares, cash


def _delistings(laid: grid.Grid, actions: pa.Table | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cash a share at the end of a symbol, at its last row, and whether it is known."""
    paid = np.full(laid.rows.height, np.nan)
    if actions is not None and actions.num_rows:
        ends = dict(zip(laid.symbols, laid.row_starts[1:] - 1, strict=True))
        told = adjustments.newest(actions).filter((pl.col("kind") == "delisting") & pl.col("amount").is_not_null())
        for symbol, amount in told.select("symbol", "amount").iter_rows():
            if symbol in ends:
                paid[ends[symbol]] = amount
    return paid, np.isfinite(paid)
