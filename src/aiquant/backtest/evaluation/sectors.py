"""Whether a strategy earned more than a benchmark by its sectors, or by the symbols within them.

References
----------
.. [1] Brinson, G. P., Fachler, N. (1985). Measuring Non-US Equity Portfolio Performance. Journal of Portfolio
   Management 11(3), 73–76.
.. [2] Carino, D. R. (1999). Combining Attribution Effects Over Time. Journal of Performance Measurement 3(4), 5–14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.backtest.evaluation.market_panel import MarketPanel

CASH, UNKNOWN = "cash", "unclassified"


class Effects(NamedTuple):
    """Of each sector, shape (s,): what the difference to the benchmark is made of."""

    allocation: NDArray[np.float64]
    selection: NDArray[np.float64]
    interaction: NDArray[np.float64]


def brinson_fachler(
    weight: NDArray[np.float64],
    contribution: NDArray[np.float64],
    bench_weight: NDArray[np.float64],
    bench_contribution: NDArray[np.float64],
) -> Effects:
    """Allocation, selection and interaction of one period [1]_.

    With w, c = w·r of the portfolio and v, d = v·b of the benchmark, whose total return is B = Σ d: the allocation is
    (w − v)(b − B), the selection v(r − b), the interaction (w − v)(r − b). Where the weights of both sum to 1 (cash is
    a sector), these sum to Σ c − Σ d.

    Parameters
    ----------
    weight, bench_weight
        Of each sector at the beginning, shape (…, s). A net weight may be negative or 0.
    contribution, bench_contribution
        Σ of weight × return over the symbols of each sector, shape (…, s).

    Returns
    -------
    Effects
        Where a sector has no weight in the portfolio, or longs and shorts of it that offset each other, a return of it
        does not exist: what its symbols gave is selection then, and there is no interaction.
    """
    total = bench_contribution.sum(axis=-1, keepdims=True)
    held = bench_weight != 0.0
    bench_return = np.where(held, bench_contribution / np.where(held, bench_weight, 1.0), total)
    allocation = (weight - bench_weight) * (bench_return - total)
    both = contribution - weight * bench_return  # selection and interaction: w(r − b)
    plain = weight > 1e-9
    ratio = np.where(plain, bench_weight / np.where(plain, weight, 1.0), 1.0)
    selection = both * ratio
    return Effects(allocation, selection, both - selection)


@dataclass(frozen=True)
class SectorRow:
    """One sector over all sessions; effects are linked [2]_, so that they sum to the difference of total returns.

    Attributes
    ----------
    weight, bench_weight
        Mean net weight.
    allocation, selection
        Fractions of the equity at the start; selection holds the interaction, as the weights of a long-short book allow
        no parting of the two.
    """

    sector: str
    weight: float
    bench_weight: float
    allocation: float
    selection: float


@dataclass(frozen=True)
class SectorAttribution:
    """A strategy against the equally weighted market, sector by sector.

    Attributes
    ----------
    total_return, bench_return
        Over all sessions; of the strategy as its account has it.
    trading
        What fills within the sessions, costs, fees and interest gave: the account's return less that of the positions
        held overnight.
    """

    rows: tuple[SectorRow, ...]
    total_return: float
    bench_return: float
    trading: float


def attribute(
    equity: pa.Table, fills: pa.Table, panel: MarketPanel, classification: pa.Table
) -> SectorAttribution | None:
    """Brinson–Fachler by session, by the sectors that were known at the close before.

    Parameters
    ----------
    equity, fills
        Of one account, schemas ``EQUITY`` and ``FILLS``.
    classification
        Schema ``CLASSIFICATION``, one version of each row.

    Returns
    -------
    None where no symbol of the market has a sector, or the account has one mark only.
    """
    frame = pl.DataFrame(pl.from_arrow(equity.select(["date", "equity"]))).sort("date")
    at = panel.rows_of(frame["date"].to_list())
    codes, names = _sectors(panel, classification)
    if len(at) < 2 or len(names) < 2:
        return None
    marks = frame["equity"].to_numpy()
    held = positions(fills, panel)[at[:-1]]
    price = _last_known(panel.close)[at[:-1]]
    weights = np.where(held != 0.0, held * np.nan_to_num(price), 0.0) / marks[:-1, None]
    moved = panel.returns[at[1:]]
    there = np.isfinite(moved)
    bench = there / np.maximum(there.sum(axis=1, keepdims=True), 1)
    moved = np.where(there, moved, 0.0)
    own = [_by_sector(part, codes[at[:-1]], len(names)) for part in (weights, weights * moved, bench, bench * moved)]
    w, c, v, d = (np.column_stack([part, np.zeros(len(part))]) for part in own)  # the last column: cash
    w[:, -1] = 1.0 - weights.sum(axis=1)
    effects = brinson_fachler(w, c, v, d)
    account, market = marks[1:] / marks[:-1] - 1.0, d.sum(axis=1)
    link = carino(account, market)[:, None]
    trading = (account - c.sum(axis=1))[:, None]
    rows = tuple(
        SectorRow(name, float(w[:, i].mean()), float(v[:, i].mean()), float(a), float(s))
        for i, (name, a, s) in enumerate(
            zip(
                [*names, CASH],
                (effects.allocation * link).sum(axis=0),
                ((effects.selection + effects.interaction) * link).sum(axis=0),
                strict=True,
            )
        )
    )
    return SectorAttribution(
        rows, float(marks[-1] / marks[0] - 1.0), float(np.prod(1.0 + market) - 1.0), float((trading * link).sum())
    )


def carino(own: NDArray[np.float64], bench: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors by which the effects of each period are multiplied to sum to the difference over all [2]_, shape (n,).

    k_t ÷ k with k_t = (ln(1 + r_t) − ln(1 + b_t)) ÷ (r_t − b_t), and k the same of the compounded returns.
    """
    total, total_bench = (float(np.prod(1.0 + part)) - 1.0 for part in (own, bench))
    whole = _slope(np.array([total]), np.array([total_bench]))[0]
    factors: NDArray[np.float64] = _slope(own, bench) / whole
    return factors


def _slope(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    apart = first - second
    near = np.abs(apart) < 1e-12
    safe = np.where(near, 1.0, apart)
    slope: NDArray[np.float64] = np.where(near, 1.0 / (1.0 + first), (np.log1p(first) - np.log1p(second)) / safe)
    return slope


def positions(fills: pa.Table, panel: MarketPanel) -> NDArray[np.float64]:
    """Shares held at the close of each session of ``panel``, shape (t, n)."""
    rows = pl.DataFrame(pl.from_arrow(fills.select(["symbol", "date", "shares"])))
    moved = np.zeros(panel.close.shape)
    if len(rows):
        column = rows["symbol"].cast(pl.Enum(panel.symbols)).to_physical().to_numpy().astype(np.int64)
        np.add.at(moved, (panel.rows_of(rows["date"].to_list()), column), rows["shares"].to_numpy())
    held = np.zeros(len(panel.symbols))
    for t in range(len(moved)):
        held = held * panel.splits[t] + moved[t]
        held[np.abs(held) < 1e-9] = 0.0
        moved[t] = held
    return moved


def _last_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = np.where(np.isfinite(values), np.arange(len(values))[:, None], 0)
    np.maximum.accumulate(rows, axis=0, out=rows)
    known: NDArray[np.float64] = np.take_along_axis(values, rows, axis=0)
    return known


def _by_sector(values: NDArray[np.float64], codes: NDArray[np.int64], sectors: int) -> NDArray[np.float64]:
    flat = codes + np.arange(len(codes))[:, None] * sectors
    sums = np.bincount(flat.ravel(), weights=values.ravel(), minlength=len(codes) * sectors)
    return sums.reshape(len(codes), sectors).astype(np.float64)


def _sectors(panel: MarketPanel, classification: pa.Table) -> tuple[NDArray[np.int64], list[str]]:
    """Code of each symbol's sector at each close, shape (t, n), and the names; the last one is of those without."""
    rows = pl.DataFrame(pl.from_arrow(classification.select(["symbol", "valid_from", "event_time", "sector"])))
    rows = rows.filter(pl.col("sector").is_not_null() & pl.col("symbol").is_in(panel.symbols))
    names = [*rows["sector"].unique().sort().to_list(), UNKNOWN]
    codes = np.full(panel.close.shape, len(names) - 1, dtype=np.int64)
    column = {symbol: i for i, symbol in enumerate(panel.symbols)}
    known = rows.select("symbol", "sector", day=pl.max_horizontal("valid_from", pl.col("event_time").dt.date()))
    for symbol, sector, day in known.sort("day").iter_rows():
        begin = int(np.searchsorted(panel.dates, np.datetime64(day)))
        codes[begin:, column[symbol]] = names.index(sector)
    return codes, names
