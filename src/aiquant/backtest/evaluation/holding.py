"""How long positions were held and what each made: fills matched first in, first out."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from aiquant.backtest.evaluation.market_panel import MarketPanel

SETTLED = 1e-9
"""Share of a lot below which what is left of it is rounding."""


@dataclass(frozen=True)
class Holding:
    """Lots that were opened and closed again. NaN where there is none.

    Attributes
    ----------
    closed, open
        Lots that were closed, and that were still held at the end; a lot that is sold in parts counts once a part.
    mean_sessions
        Sessions from the opening to the closing fill, weighted by the notional at the opening.
    median_sessions, longest_sessions
        Over lots, not weighted; and the longest.
    hit_rate
        Share of the closed lots that made money after commission; slippage is in the prices. Dividends, borrow fees
        and interest are in no lot.
    profit_factor
        Sum of the gains ÷ sum of the losses.
    mean_gain, mean_loss
        Of a lot, as a fraction of the notional at its opening.
    distribution
        Closed notional by length: ``(sessions from, to, share)``, ``to`` excluded.
    """

    closed: int
    open: int
    mean_sessions: float
    median_sessions: float
    longest_sessions: int
    hit_rate: float
    profit_factor: float
    mean_gain: float
    mean_loss: float
    distribution: tuple[tuple[int, int, float], ...]


EDGES = (0, 1, 2, 6, 11, 22, 64, 127, 253, 1 << 30)
"""Bounds of :attr:`Holding.distribution`: a day, a week, two, a month, a quarter, half a year, a year."""


@dataclass
class _Lot:
    shares: float
    price: float  # commission included: what a share cost, or brought when sold short
    session: int


def holding(fills: pa.Table, panel: MarketPanel) -> Holding:
    """Match the fills of one account first in, first out.

    Parameters
    ----------
    fills
        Table ``fills``, in order of execution (as an account gives them); each on a session of ``panel``.
    panel
        Tells sessions apart, and splits lots when their shares were split.
    """
    rows = pl.DataFrame(pl.from_arrow(fills.select(["symbol", "date", "event_time", "shares", "price", "commission"])))
    rows = rows.sort("symbol", "event_time", maintain_order=True)
    if rows.is_empty():
        return _summed_up([], 0)
    rows = rows.with_columns(session=pl.Series(panel.rows_of(rows["date"].to_list())))
    column = {symbol: i for i, symbol in enumerate(panel.symbols)}
    closed: list[tuple[int, float, float]] = []
    still = 0
    for (symbol,), own in rows.group_by("symbol", maintain_order=True):
        where = column[str(symbol)]
        splits = [(int(t), float(panel.splits[t, where])) for t in np.flatnonzero(panel.splits[:, where] != 1.0)]
        still += _match(own.select("session", "shares", "price", "commission").rows(), splits, closed)
    return _summed_up(closed, still)


def _match(
    fills: list[tuple[int, float, float, float]],
    splits: list[tuple[int, float]],
    closed: list[tuple[int, float, float]],
) -> int:
    """Closed parts of lots of one symbol, as ``(sessions, opening notional, profit)``; gives the lots still open."""
    lots: deque[_Lot] = deque()
    ahead = deque(splits)
    for session, shares, price, commission in fills:
        while ahead and ahead[0][0] <= session:
            ratio = ahead.popleft()[1]
            for lot in lots:
                lot.shares *= ratio
                lot.price /= ratio
        fee = commission / abs(shares) if shares else 0.0
        rest = shares
        while lots and rest and (lots[0].shares > 0) != (rest > 0):
            lot = lots[0]
            part = min(abs(rest), abs(lot.shares))
            side = math.copysign(1.0, lot.shares)
            gone = price - side * fee  # received after commission, or paid with it
            closed.append((session - lot.session, part * lot.price, side * part * (gone - lot.price)))
            rest -= math.copysign(part, rest)
            lot.shares -= side * part
            if abs(lot.shares) <= SETTLED * part:
                lots.popleft()
            if abs(rest) <= SETTLED * abs(shares):
                rest = 0.0
        if rest:
            lots.append(_Lot(rest, price + math.copysign(fee, rest), session))
    return len(lots)


def _summed_up(closed: list[tuple[int, float, float]], still: int) -> Holding:
    if not closed:
        nothing = math.nan
        return Holding(0, still, nothing, nothing, 0, nothing, nothing, nothing, nothing, ())
    length, notional, profit = (np.array(part, dtype=np.float64) for part in zip(*closed, strict=True))
    won, lost = profit > 0, profit < 0
    relative = profit / notional
    counts = np.histogram(length, bins=np.array(EDGES, dtype=np.float64), weights=notional)[0] / notional.sum()
    losses = -float(profit[lost].sum())
    return Holding(
        closed=len(closed),
        open=still,
        mean_sessions=float(length @ notional / notional.sum()),
        median_sessions=float(np.median(length)),
        longest_sessions=int(length.max()),
        hit_rate=float(won.mean()),
        profit_factor=float(profit[won].sum()) / losses if losses > 0 else math.nan,
        mean_gain=float(relative[won].mean()) if won.any() else math.nan,
        mean_loss=float(relative[lost].mean()) if lost.any() else math.nan,
        distribution=tuple((a, b, float(s)) for a, b, s in zip(EDGES[:-1], EDGES[1:], counts, strict=True)),
    )
