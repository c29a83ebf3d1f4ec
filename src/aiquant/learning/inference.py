"""Means of series that depend on their own past, and how far they can be believed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIN_DATES = 20
"""Dates below which a mean over dates is told without an error: asymptotic errors of fewer are fiction."""


class Estimate(NamedTuple):
    """A mean over dates.

    Attributes
    ----------
    mean
        Of the values that are finite.
    std
        Their deviation, one degree of freedom taken off.
    error
        Standard error of the mean by :func:`newey_west`.
    values
        How many.
    """

    mean: float
    std: float
    error: float
    values: int

    @property
    def t(self) -> float:
        """The mean in standard errors."""
        return over(self.mean, self.error)

    @property
    def ratio(self) -> float:
        """The mean in deviations; of ICs, the ICIR."""
        return over(self.mean, self.std)


def estimate(values: NDArray[np.float64], lag: int) -> Estimate:
    """Mean, deviation and error of a series in order of time; what is not finite is left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan, 0)
    std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Estimate(float(values.mean()), std, newey_west(values, lag), len(values))


def newey_west(values: NDArray[np.float64], lag: int) -> float:
    """Standard error of the mean of a series that is correlated with its own past.

    The long-run variance is S = γ₀ + 2 Σ_{j=1..L} (1 − j/(L+1)) γ_j, with γ_j = Σ_t (x_t − x̄)(x_{t−j} − x̄) / n
    (Bartlett weights, no correction for small samples); the error is √(S/n).

    W. K. Newey, K. D. West, *A Simple, Positive Semi-definite, Heteroskedasticity and Autocorrelation Consistent
    Covariance Matrix*, Econometrica 55 (1987), 703–708.

    Parameters
    ----------
    values
        ``float64``, shape (n,), in order of time.
    lag
        L, cut to n − 1.
    """
    n = len(values)
    if n < 2:
        return math.nan
    centred = values - values.mean()
    long_run = float(centred @ centred) / n
    for j in range(1, min(lag, n - 1) + 1):
        long_run += 2 * (1 - j / (lag + 1)) * float(centred[j:] @ centred[:-j]) / n
    return math.sqrt(max(long_run, 0.0) / n)


def ratio_error(values: NDArray[np.float64], lag: int) -> float:
    """Standard error of mean ÷ deviation (of ICs: the ICIR) where the series depends on its own past.

    By the delta method the ratio R moves with (x − μ)/σ − R/2 · (((x − μ)/σ)² − 1), of which this is the error of the
    mean: A. W. Lo, *The Statistics of Sharpe Ratios*, Financial Analysts Journal 58 (2002), 36–52, whose GMM estimate
    it is. Of independent normal values it is √((1 + R²/2)/n).

    Parameters
    ----------
    values
        ``float64``, shape (n,), in order of time; what is not finite is left out.
    lag
        Of :func:`newey_west`.
    """
    values = values[np.isfinite(values)]
    if len(values) < 2 or not values.std() > 0:
        return math.nan
    z = (values - values.mean()) / values.std()
    return newey_west(z - values.mean() / values.std() / 2 * (z**2 - 1), lag)


def lags(n: int, horizon: int) -> int:
    """Lags for :func:`newey_west`: as long as labels overlap (horizon − 1), at least ⌊4 (n/100)^{2/9}⌋.

    The rule of thumb is that of W. K. Newey, K. D. West, *Automatic Lag Selection in Covariance Matrix Estimation*,
    Review of Economic Studies 61 (1994), 631–653, for Bartlett weights.
    """
    return max(horizon - 1, math.floor(4 * (n / 100) ** (2 / 9))) if n else horizon - 1


def over(numerator: float, denominator: float) -> float:
    """A quotient, NaN where the denominator is not above 0."""
    return numerator / denominator if denominator > 0 else math.nan
