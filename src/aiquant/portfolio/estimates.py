"""Risk as of a decision: which symbols it can be estimated for, their volatility, betas and shrunk covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.settings.portfolio import Covariance

_ESTIMATORS = {
    "ledoit-wolf": "LedoitWolf",
    "empirical": "EmpiricalCovariance",
    "oas": "OAS",
    "denoised": "DenoiseCovariance",
    "exponential": "EWCovariance",
    "gerber": "GerberCovariance",
}


@dataclass(frozen=True, eq=False)
class Past:
    """Past returns that an estimate can be made from.

    Attributes
    ----------
    usable
        Which symbols have enough of them, bool, shape (n,).
    returns
        Of those, without gaps; float64, shape (t, usable symbols), t from `min_history` to `lookback`.
    """

    usable: NDArray[np.bool_]
    returns: NDArray[np.float64]


def usable(window: NDArray[np.float64], least: int) -> Past:
    """Choose the symbols with at least ``least`` returns that are not all alike, and the dates that all of them have.

    The window begins where the youngest of them does, so that a covariance is one of the same dates for all. Where a
    bar is missing later on, the price stood still.

    Parameters
    ----------
    window
        Returns up to the decision, shape (t, n); NaN where there is none.
    least
        Returns that a symbol needs.
    """
    known = np.isfinite(window)
    enough = known.sum(axis=0) >= least
    with np.errstate(invalid="ignore"):
        moving = np.nan_to_num(np.nanmax(np.where(known, window, -np.inf), axis=0, initial=-np.inf)) > np.nan_to_num(
            np.nanmin(np.where(known, window, np.inf), axis=0, initial=np.inf)
        )
    chosen = enough & moving
    if not chosen.any():
        return Past(chosen, np.zeros((0, 0)))
    begun = known[:, chosen].argmax(axis=0).max()
    return Past(chosen, np.nan_to_num(window[begun:, chosen]))


def volatility(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each column, n − 1 in the denominator; shape (n,)."""
    found: NDArray[np.float64] = returns.std(axis=0, ddof=1)
    return found


def betas(returns: NDArray[np.float64], market: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slope of each column on the market's returns of the same dates; 0 where the market stood still. Shape (n,)."""
    centred = market - market.mean()
    spread = float(centred @ centred)
    if spread == 0.0:
        return np.zeros(returns.shape[1])
    found: NDArray[np.float64] = centred @ (returns - returns.mean(axis=0)) / spread
    return found


def estimator(name: Covariance) -> Any:
    """skfolio's estimator of the covariance of that name, not fitted."""
    from skfolio import moments

    return getattr(moments, _ESTIMATORS[name])()


def covariance(returns: NDArray[np.float64], name: Covariance) -> NDArray[np.float64]:
    """Covariance of a bar's returns, shape (n, n)."""
    found: NDArray[np.float64] = estimator(name).fit(returns).covariance_
    return found
