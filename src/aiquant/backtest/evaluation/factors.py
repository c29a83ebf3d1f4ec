"""Which common factors a strategy's returns came from, and what is left beside them.

Factors are made from the bars alone: the market is the mean return of all symbols; each other factor is the mean return
of the third of the symbols with the highest value of a characteristic less that of the lowest third, by the
characteristic as it was known at the close before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

import numpy as np

from aiquant.backtest.evaluation.regression import least_squares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.backtest.evaluation.market_panel import MarketPanel

MEANINGS = {
    "market": "mean return of all symbols",
    "size": "large less small, by the mean dollar volume of 63 sessions, which stands in for size",
    "momentum": "winners less losers of the 252 sessions that ended 21 sessions ago",
    "volatility": "wild less calm, by the deviation of 63 returns",
    "reversal": "losers less winners of the past 5 sessions",
}
"""The factors, in words."""

LEAST_SYMBOLS = 9
"""Symbols with a characteristic that a session needs for thirds: three in each."""

ENOUGH = 0.9
"""Share of a window that has to be there for a characteristic to be known."""


@dataclass(frozen=True)
class Exposure:
    """What one factor gave.

    Attributes
    ----------
    name
        Of the factor; "alpha" is what none of them explains.
    beta, error, t
        Coefficient, its Newey–West error, and their ratio; of alpha the coefficient is annualised.
    factor_return
        Mean return of the factor, annualised (not compounded); NaN for alpha.
    contribution
        beta × factor return, annualised: with alpha these sum to the mean excess return of the strategy.
    """

    name: str
    beta: float
    error: float
    t: float
    factor_return: float
    contribution: float


@dataclass(frozen=True)
class Attribution:
    """A regression of a strategy's excess returns on the factors.

    Attributes
    ----------
    exposures
        Alpha first, then the factors.
    r2
        Share of the variance that the factors explain.
    sessions
        On which all factors are known.
    lag
        Of the errors.
    left_out
        Factors that the bars cannot make, or that follow from the others.
    """

    exposures: tuple[Exposure, ...]
    r2: float
    sessions: int
    lag: int
    left_out: tuple[str, ...] = ()


def factor_returns(panel: MarketPanel) -> dict[str, NDArray[np.float64]]:
    """Return of each factor in each session, shape (t,); NaN where it is not known."""
    gone = np.log1p(np.maximum(panel.returns, -0.999999))
    known = {
        "size": _trailing(panel.dollar_volume, 63, "mean"),
        "momentum": _lagged(_trailing(gone, 231, "sum"), 21),  # sessions −252 … −22 before the decision
        "volatility": _trailing(panel.returns, 63, "deviation"),
        "reversal": -_trailing(gone, 5, "sum"),
    }
    return {"market": panel.market, **{name: _spread(values, panel.returns) for name, values in known.items()}}


def attribute(
    days: list[date],
    excess: NDArray[np.float64],
    panel: MarketPanel,
    sessions_per_year: float,
    risk_free: float = 0.0,
) -> Attribution:
    """Regress a strategy on the factors, with Newey–West errors.

    Parameters
    ----------
    days
        Dates of the returns, length n.
    excess
        Returns of the strategy less the risk-free rate, shape (n,).
    risk_free
        Rate a year, subtracted from the market; the other factors finance themselves.
    """
    at = panel.rows_of(days)
    rate = (1.0 + risk_free) ** (1.0 / sessions_per_year) - 1.0
    made = {name: values[at] for name, values in factor_returns(panel).items()}
    made["market"] = made["market"] - rate
    names: list[str] = []
    left_out: list[str] = []
    for name, values in made.items():
        fine = np.isfinite(values)
        (names if fine.sum() > max(30, len(at) // 3) and values[fine].std() > 0 else left_out).append(name)
    rows = np.isfinite(excess)
    for name in names:
        rows &= np.isfinite(made[name])
    if rows.sum() <= len(names) + 1:
        return Attribution((), math.nan, int(rows.sum()), 0, tuple(made))
    x = np.column_stack([np.ones(int(rows.sum())), *(made[name][rows] for name in names)])
    fit = least_squares(excess[rows], x)
    means = x.mean(axis=0) * sessions_per_year
    found = [
        Exposure(
            "alpha",
            float(fit.coefficients[0]) * sessions_per_year,
            float(fit.errors[0]) * sessions_per_year,
            float(fit.t[0]),
            math.nan,
            float(fit.coefficients[0]) * sessions_per_year,
        )
    ]
    for i, name in enumerate(names, start=1):
        beta = float(fit.coefficients[i])
        mean = float(means[i])
        found.append(Exposure(name, beta, float(fit.errors[i]), float(fit.t[i]), mean, beta * mean))
    return Attribution(tuple(found), fit.r2, int(rows.sum()), fit.lag, tuple(left_out))


def _trailing(values: NDArray[np.float64], window: int, of: Literal["mean", "sum", "deviation"]) -> NDArray[np.float64]:
    """Over the last ``window`` rows up to and with each, shape as ``values``.

    What is missing is left out; NaN where less than :data:`ENOUGH` of the window is there.
    """
    found = np.full(values.shape, np.nan)
    if len(values) < window:
        return found
    fine = np.isfinite(values)
    filled = np.where(fine, values, 0.0)
    count, total, square = (_windows(part, window) for part in (fine.astype(np.float64), filled, filled**2))
    some = np.maximum(count, 1.0)
    told = total
    if of == "mean":
        told = total / some
    elif of == "deviation":
        told = np.sqrt(np.maximum(square / some - (total / some) ** 2, 0.0))
    found[window - 1 :] = np.where(count >= ENOUGH * window, told, np.nan)
    return found


def _windows(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Sums over every ``window`` rows in a row."""
    sums = np.vstack([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
    found: NDArray[np.float64] = sums[window:] - sums[:-window]
    return found


def _lagged(values: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    found = np.full(values.shape, np.nan)
    found[by:] = values[: max(len(values) - by, 0)]
    return found


def _spread(known: NDArray[np.float64], returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean return of the highest third less that of the lowest, by what was known the session before."""
    found = np.full(len(returns), np.nan)
    for t in range(1, len(returns)):
        there = np.flatnonzero(np.isfinite(known[t - 1]) & np.isfinite(returns[t]))
        if len(there) < LEAST_SYMBOLS:
            continue
        third = len(there) // 3
        order = there[np.argsort(known[t - 1, there], kind="stable")]
        found[t] = returns[t, order[-third:]].mean() - returns[t, order[:third]].mean()
    return found
