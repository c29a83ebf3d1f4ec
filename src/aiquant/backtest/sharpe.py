"""How much a Sharpe ratio can be believed.

All ratios here are per observation (not annualised) unless said, and skewness and kurtosis are those of the population
formulas (a normal distribution has kurtosis 3).

References
----------
.. [1] Lo, A. W. (2002). The Statistics of Sharpe Ratios. Financial Analysts Journal 58(4), 36–52.
.. [2] Mertens, E. (2002). Comments on Variance of the IID Estimator in Lo (2002). Working paper, University of Basel.
.. [3] Bailey, D. H., López de Prado, M. (2012). The Sharpe Ratio Efficient Frontier. Journal of Risk 15(2), 3–44.
.. [4] Bailey, D. H., López de Prado, M. (2014). The Deflated Sharpe Ratio. J. of Portfolio Management 40(5), 94–107.
.. [5] Politis, D. N., Romano, J. P. (1994). The Stationary Bootstrap. JASA 89(428), 1303–1313.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from aiquant.backtest import bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_VARIANCE = 1e-13
"""Standard deviations at or below this are rounding noise of constant returns: ratios to them do not exist."""

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Moments:
    """Of a series of returns; NaN where there are too few, or none varies.

    Attributes
    ----------
    count
        Observations.
    mean, deviation
        Mean, and standard deviation with n − 1.
    skewness, kurtosis
        γ₃ and γ₄ of the population formulas; 3 is normal.
    """

    count: int
    mean: float
    deviation: float
    skewness: float
    kurtosis: float

    @property
    def sharpe(self) -> float:
        """Mean ÷ standard deviation."""
        return self.mean / self.deviation if self.deviation > NO_VARIANCE else math.nan

    @property
    def standard_error(self) -> float:
        """Standard error of the Sharpe ratio of returns that need not be normal, [2]_ as written in [3]_.

        √((1 − γ₃·SR + (γ₄ − 1)/4·SR²) ÷ (n − 1)); for normal returns that is (1 + SR²/2), the formula of [1]_.
        """
        ratio = self.sharpe
        spread = 1.0 - self.skewness * ratio + (self.kurtosis - 1.0) / 4.0 * ratio**2
        return math.sqrt(max(spread, 0.0) / (self.count - 1)) if self.count > 1 else math.nan


def moments(returns: NDArray[np.float64]) -> Moments:
    """Moments of returns (already less the risk-free rate, where one is wanted), shape (n,)."""
    count = len(returns)
    if count < 2:
        return Moments(count, float(returns.mean()) if count else math.nan, math.nan, math.nan, math.nan)
    mean = float(returns.mean())
    centred = returns - mean
    deviation = float(np.sqrt((centred**2).sum() / (count - 1)))
    if deviation <= NO_VARIANCE:
        return Moments(count, mean, deviation, math.nan, math.nan)
    variance = float((centred**2).mean())
    return Moments(
        count,
        mean,
        deviation,
        float((centred**3).mean()) / variance**1.5,
        float((centred**4).mean()) / variance**2,
    )


def probability(of: Moments, benchmark: float = 0.0) -> float:
    """Probabilistic Sharpe ratio [3]_: the probability that the true ratio exceeds ``benchmark``.

    Φ((SR − SR*)·√(n − 1) ÷ √(1 − γ₃·SR + (γ₄ − 1)/4·SR²)).
    """
    error = of.standard_error
    if not error > 0.0:
        return math.nan
    return _NORMAL.cdf((of.sharpe - benchmark) / error)


def interval(of: Moments, confidence: float) -> tuple[float, float]:
    """Two-sided normal interval around the Sharpe ratio, of the standard error of [2]_."""
    reach = _NORMAL.inv_cdf(0.5 + confidence / 2.0) * of.standard_error
    return of.sharpe - reach, of.sharpe + reach


def min_track_record(of: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Observations after which the ratio would exceed ``benchmark`` with ``confidence`` [3]_; infinite if never."""
    excess = of.sharpe - benchmark
    if math.isnan(excess):
        return math.nan
    if excess <= 0.0:
        return math.inf
    spread = of.standard_error**2 * (of.count - 1)
    return 1.0 + spread * (_NORMAL.inv_cdf(confidence) / excess) ** 2


def expected_maximum(variance: float, trials: float) -> float:
    """Sharpe ratio that the best of ``trials`` skill-less strategies is expected to show [4]_, equation 1.

    √V·((1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))) with the Euler–Mascheroni constant γ.

    Parameters
    ----------
    variance
        Variance of the ratios over the trials.
    trials
        Number of independent trials; 0 for a single one, from which nothing was chosen.
    """
    if trials <= 1.0:
        return 0.0
    gamma = np.euler_gamma
    first, second = _NORMAL.inv_cdf(1.0 - 1.0 / trials), _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - gamma) * first + gamma * second)


def deflated(of: Moments, variance: float, trials: float) -> float:
    """Deflated Sharpe ratio [4]_: the probability that the best of ``trials`` has a true ratio above luck's."""
    return probability(of, expected_maximum(variance, trials))


def bootstrap_interval(
    returns: NDArray[np.float64],
    confidence: float,
    *,
    seed: int,
    draws: int = bootstrap.DRAWS,
    block: float | None = None,
) -> tuple[float, float]:
    """Percentile interval of the Sharpe ratio by the stationary bootstrap [5]_, which keeps serial dependence.

    Parameters
    ----------
    returns
        Shape (n,).
    seed
        Of the draws; the same seed gives the same interval.
    draws
        Resampled series.
    block
        Mean length of a block in observations; default: :func:`aiquant.backtest.bootstrap.block_length`.

    Returns
    -------
    tuple
        Low and high end; NaN where there are fewer than two returns or none varies.
    """
    count = len(returns)
    if not moments(returns).deviation > NO_VARIANCE:
        return math.nan, math.nan
    length = block if block is not None else bootstrap.block_length(returns)
    ratios = []
    for at in bootstrap.resamples(count, length, draws, seed):
        drawn = returns[at]
        deviation = drawn.std(axis=1, ddof=1)
        ok = deviation > NO_VARIANCE
        ratios.append(np.where(ok, drawn.mean(axis=1) / np.where(ok, deviation, 1.0), np.nan))
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(np.concatenate(ratios), [tail, 1.0 - tail])
    return float(low), float(high)
