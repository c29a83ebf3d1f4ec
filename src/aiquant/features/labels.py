"""Forward returns: what models are asked to forecast, and the only place in this room that looks ahead.

A decision at the close of a bar is filled at the next bar, never at its own close. The label of a bar is the return
from that fill to the fill ``horizon`` slots of the calendar later. Where a symbol has no bar in a slot, the fill waits
for its next one.

A symbol that stops trading is not dropped, which would leave survivors only: its label ends at the last close it had
(or at the cash of its delisting, where the corporate actions tell), and ``label_end`` is that time. Such a label is
given once the exchange is past the slot in which the position would have been closed. A label whose end is not there
yet is left out.
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


@dataclass(frozen=True)
class _Fills:
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
    if horizon < 1:
        raise UsageError(f"a label needs a horizon of 1 or more bars, not {horizon}")
    if fill not in ("next-open", "close"):
        raise UsageError(f"no fill is named {fill!r}", "choose next-open or close")
    laid = grid.build(bars, sessions)
    fills = _fills(laid, fill)
    entry, exit_, gone = _rows(laid, horizon)
    told = (entry >= 0) & (exit_ >= 0)
    shares, cash = _holdings(laid, actions)
    at, start, end = np.flatnonzero(told), entry[told], exit_[told]
    stopped = gone[told]
    close = laid.rows["close"].to_numpy()
    close_time = laid.slots.closes[laid.slot[laid.cell]]
    paid, paid_known = _delistings(laid, actions)
    last_price = np.where(paid_known[end], paid[end], close[end])
    price = np.where(stopped, last_price, fills.price[end])
    # An action of the entry's own bar is already in the entry's price.
    value = price * shares[end] / shares[start] + (cash[end] - cash[start]) / shares[start]
    rows = laid.rows.select("symbol", "date", "event_time")[at].with_columns(
        pl.lit(horizon, pl.Int32).alias("horizon"),
        _times("label_start", fills.time[start]),
        _times("label_end", np.where(stopped, close_time[end], fills.time[end])),
        pl.Series("forward_return", value / fills.price[start] - 1.0),
    )
    # A position opened at the last close there ever was has a return only where a delisting tells what it paid.
    has_return = (pl.col("label_end") > pl.col("label_start")) | pl.Series(paid_known[end] & stopped)
    return conform(rows.filter(has_return).to_arrow(), LABELS)


def _times(name: str, moments: NDArray[np.datetime64]) -> pl.Series:
    return pl.Series(name, moments.astype("datetime64[us]")).dt.replace_time_zone("UTC")


def _fills(laid: grid.Grid, fill: Fill) -> _Fills:
    slot = laid.slot[laid.cell]
    close = laid.rows["close"].to_numpy()
    if fill == "close":
        return _Fills(close, laid.slots.closes[slot])
    opened = laid.rows["open"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    at_open = np.isfinite(opened)
    return _Fills(np.where(at_open, opened, close), np.where(at_open, laid.slots.opens[slot], laid.slots.closes[slot]))


def _rows(laid: grid.Grid, horizon: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """For each row the rows of its two fills (−1: none, or not yet), and whether the symbol stopped before the last."""
    n = laid.rows.height
    entry = np.full(n, -1, dtype=np.int64)
    leave = np.full(n, -1, dtype=np.int64)
    gone = np.zeros(n, dtype=bool)
    slot = laid.slot[laid.cell]
    newest = int(slot.max()) if n else 0
    for begin, end in zip(laid.row_starts[:-1], laid.row_starts[1:], strict=True):
        own = slot[begin:end]
        entry[begin : end - 1] = np.arange(begin + 1, end)
        target = own[1:] + horizon
        after = begin + np.searchsorted(own, target)
        stopped = (after >= end) & (target <= newest)
        leave[begin : end - 1] = np.where(stopped, end - 1, np.where(after < end, after, -1))
        gone[begin : end - 1] = stopped
    return entry, leave, gone


def _holdings(laid: grid.Grid, actions: pa.Table | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
