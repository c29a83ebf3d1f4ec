"""How a strategy did in kinds of markets that could be told apart at the time."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from aiquant.backtest import sharpe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.backtest.evaluation.market_panel import MarketPanel

VOLATILITY_WINDOW, TREND_WINDOW, LEAST_HISTORY = 63, 200, 126
VOLATILITY, TREND = ("calm", "usual", "wild"), ("falling", "rising")


@dataclass(frozen=True)
class Regime:
    """A strategy in one kind of market.

    Attributes
    ----------
    kind, name
        "volatility" or "trend", and which.
    sessions
        That were of this kind, as known at the close before each.
    annual_return
        Mean excess return × sessions a year (not compounded).
    volatility, sharpe, sharpe_error
        Annualised; the error is that of Mertens (2002).
    market_return
        Mean return of the market in these sessions × sessions a year.
    worst
        The lowest return of a session.
    """

    kind: str
    name: str
    sessions: int
    annual_return: float
    volatility: float
    sharpe: float
    sharpe_error: float
    market_return: float
    worst: float


def by_regime(
    days: list[date], excess: NDArray[np.float64], panel: MarketPanel, sessions_per_year: float
) -> tuple[Regime, ...]:
    """Part a strategy's sessions by the market's volatility and trend, as known at the close before.

    Volatility: the deviation of the market's past 63 returns, ranked among all values known until then: the lowest
    third is calm, the highest wild. Trend: the market's level (its returns compounded) above its mean of the past 200
    sessions is rising. Sessions before there is history enough are in no regime.

    Parameters
    ----------
    days
        Dates of the returns, length n.
    excess
        Returns less the risk-free rate, shape (n,).
    """
    at = panel.rows_of(days)
    market = np.nan_to_num(panel.market)
    kinds = (("volatility", VOLATILITY, _volatility(market)), ("trend", TREND, _trend(market)))
    root = math.sqrt(sessions_per_year)
    found = []
    for kind, names, codes in kinds:
        before = np.where(at > 0, codes[at - 1], -1)
        for code, name in enumerate(names):
            inside = before == code
            shape = sharpe.moments(excess[inside])
            some = bool(inside.any())
            found.append(
                Regime(
                    kind,
                    name,
                    int(inside.sum()),
                    shape.mean * sessions_per_year,
                    shape.deviation * root,
                    shape.sharpe * root,
                    shape.standard_error * root,
                    float(market[at[inside]].mean()) * sessions_per_year if some else math.nan,
                    float(excess[inside].min()) if some else math.nan,
                )
            )
    return tuple(found)


def _volatility(market: NDArray[np.float64]) -> NDArray[np.int64]:
    """Third of each session, known at its close; −1 where there is not enough history."""
    codes = np.full(len(market), -1, dtype=np.int64)
    known: list[float] = []
    for t in range(VOLATILITY_WINDOW, len(market)):  # the first return of all is none
        value = float(market[t - VOLATILITY_WINDOW + 1 : t + 1].std())
        insort(known, value)
        if len(known) >= LEAST_HISTORY:
            codes[t] = min(int(3 * bisect_left(known, value) / len(known)), 2)
    return codes


def _trend(market: NDArray[np.float64]) -> NDArray[np.int64]:
    codes = np.full(len(market), -1, dtype=np.int64)
    level = np.cumsum(np.log1p(market))
    for t in range(TREND_WINDOW - 1, len(market)):
        window = np.exp(level[t - TREND_WINDOW + 1 : t + 1] - level[t])
        codes[t] = int(1.0 > window.mean())
    return codes
