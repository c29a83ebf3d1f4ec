"""Whether the best of everything that was tried is better than a benchmark, or only the luckiest.

References
----------
.. [1] Hansen, P. R. (2005). A Test for Superior Predictive Ability. JBES 23(4), 365–380.
.. [2] White, H. (2000). A Reality Check for Data Snooping. Econometrica 68(5), 1097–1126.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aiquant.backtest import bootstrap
from aiquant.backtest.sharpe import NO_VARIANCE
from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Superiority:
    """p-values of the hypothesis that none of the trials is better than the benchmark.

    Attributes
    ----------
    statistic
        T = max(0, max_k √n·d̄_k ÷ ω_k), the best trial's studentised mean.
    lower, consistent, upper
        SPA_l, SPA_c and SPA_u of [1]_: the second is the test, the others are its bounds. ``upper`` takes every trial
        to be as good as the benchmark, which is White's reality check [2]_ studentised.
    best
        Column of the best trial.
    block
        Mean length of the blocks.
    """

    statistic: float
    lower: float
    consistent: float
    upper: float
    best: int
    block: float


def superior_predictive_ability(
    excess: NDArray[np.float64], *, seed: int, draws: int = bootstrap.DRAWS, block: float | None = None
) -> Superiority:
    """Test for superior predictive ability [1]_, by the stationary bootstrap.

    The mean of each trial is studentised by ω_k, ω_k² = γ₀ + 2 Σ_i κ(n, i)·γ_i with κ(n, i) = (n − i)/n·(1 − q)^i +
    i/n·(1 − q)^(n − i) and q = 1 ÷ block: the variance that the bootstrap itself has. Resampled means are centred by
    g(d̄_k), which is max(0, d̄_k) for the lower, d̄_k for the upper, and for the consistent p-value d̄_k where
    d̄_k ≥ −√(ω_k²/n·2 ln ln n) and 0 for the trials that are worse, so that adding bad trials does not weaken the test.

    Parameters
    ----------
    excess
        Performance of each trial less that of the benchmark, shape (n sessions, m trials), n ≥ 8. Trials that never
        differ from the benchmark cannot be better and are left out.
    seed, draws
        Of the resamples.
    block
        Mean length of a block; default: :func:`aiquant.backtest.bootstrap.block_length`, the longest of the trials.

    Raises
    ------
    DataError
        When there is no trial, there are fewer than 8 sessions, or a value is not a finite number.
    """
    _check(excess)
    count = len(excess)
    length = block if block is not None else bootstrap.block_length(excess)
    kept = np.flatnonzero(excess.std(axis=0) > NO_VARIANCE)
    if not len(kept):
        return Superiority(0.0, 1.0, 1.0, 1.0, 0, length)
    values = excess[:, kept]
    mean = values.mean(axis=0)
    omega = np.sqrt(_variances(values, length))
    ratios = math.sqrt(count) * mean / omega
    statistic = max(0.0, float(ratios.max()))
    drawn = bootstrap.means(values, length, seed=seed, draws=draws)
    hopeless = mean < -omega / math.sqrt(count) * math.sqrt(2.0 * math.log(math.log(count)))
    p = [
        float((np.maximum((math.sqrt(count) * (drawn - centre) / omega).max(axis=1), 0.0) > statistic).mean())
        for centre in (np.maximum(mean, 0.0), np.where(hopeless, 0.0, mean), mean)
    ]
    if not statistic > 0.0:
        p = [1.0, 1.0, 1.0]
    return Superiority(statistic, p[0], p[1], p[2], int(kept[int(np.argmax(ratios))]), length)


def _variances(values: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """ω_k² of the module's docstring, shape (m,); sums over lags by way of the Fourier transform."""
    count = len(values)
    centred = values - values.mean(axis=0)
    padded = np.fft.rfft(centred, 2 * count, axis=0)
    covariance = np.fft.irfft(np.abs(padded) ** 2, 2 * count, axis=0)[:count] / count
    lags, stay = np.arange(1, count), 1.0 - 1.0 / length
    kappa = (count - lags) / count * stay**lags + lags / count * stay ** (count - lags)
    variance: NDArray[np.float64] = covariance[0] + 2.0 * kappa @ covariance[1:]
    floored: NDArray[np.float64] = np.maximum(variance, 1e-6 * covariance[0])  # rounding must not make it 0
    return floored


def _check(excess: NDArray[np.float64]) -> None:
    if excess.ndim != 2 or not excess.shape[1]:
        raise DataError("the test for superior ability needs the returns of at least one trial")
    if len(excess) < 8:
        raise DataError(f"{len(excess)} sessions are too few to resample", "give a longer history")
    if not np.isfinite(excess).all():
        raise DataError("the returns of the trials hold values that are not finite numbers")
