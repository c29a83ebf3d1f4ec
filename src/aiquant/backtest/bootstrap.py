"""Resampling of series that are correlated with their own past, and what can be asked of the resamples.

Blocks of consecutive observations are drawn, so that a resample has the serial dependence of the series; several series
are resampled at the same places, so that it has their dependence on one another too.

References
----------
.. [1] Politis, D. N., Romano, J. P. (1994). The Stationary Bootstrap. JASA 89(428), 1303–1313.
.. [2] Politis, D. N., White, H. (2004). Automatic Block-Length Selection for the Dependent Bootstrap. Econometric
   Reviews 23(1), 53–70.
.. [3] Patton, A., Politis, D. N., White, H. (2009). Correction to [2]_. Econometric Reviews 28(4), 372–375.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 2000
"""Resamples, unless told otherwise: a probability of 0.05 is then known to half a per cent."""

_BATCH = 1 << 20  # positions drawn at once: 8 MiB of indices
_SIGNIFICANT = 2.0  # c of [2]: standard errors beyond which a correlation counts


@dataclass(frozen=True)
class Difference:
    """Of two series that were observed at the same times.

    Attributes
    ----------
    mean
        Mean of the first less that of the second.
    low, high
        Percentile interval of the mean.
    probability
        One less the p-value of the hypothesis that the true mean is not above 0.
    block
        Mean length of the blocks.
    count
        Observations.
    """

    mean: float
    low: float
    high: float
    probability: float
    block: float
    count: int


def block_length(values: NDArray[np.float64]) -> float:
    """Mean length of blocks that serves the variance of the mean best, for the stationary bootstrap [2]_, [3]_.

    b = (2 G² ÷ D)^(1/3) · n^(1/3) with G = Σ λ(k/M)·|k|·γ_k, D = 2·(Σ λ(k/M)·γ_k)², sums over |k| ≤ M, and the flat
    top λ(s) = min(1, 2(1 − |s|)). M is twice the lag behind which max(5, √log₁₀ n) correlations in a row are not
    significant. The length is at least 1 and at most min(3√n, n/3).

    Parameters
    ----------
    values
        Shape (n,), or (n, m) for series that are resampled together: the longest of their lengths.
    """
    if values.ndim == 2:
        return max((block_length(values[:, i]) for i in range(values.shape[1])), default=1.0)
    count = len(values)
    centred = values - values.mean() if count else values
    if count < 8 or not float(np.abs(centred).max()) > 0.0:
        return 1.0
    in_a_row = max(5, math.ceil(math.sqrt(math.log10(count))))
    most = min(math.ceil(math.sqrt(count)) + in_a_row, count - 1)
    covariance = np.array([float(centred[k:] @ centred[: count - k]) / count for k in range(most + 1)])
    correlation = np.abs(covariance[1:] / covariance[0])
    significant = correlation >= _SIGNIFICANT * math.sqrt(math.log10(count) / count)
    reach = min(2 * max(_last_significant(significant, in_a_row), 1), most)
    lags = np.arange(1, reach + 1)
    flat_top = np.minimum(1.0, 2.0 * (1.0 - lags / reach))
    weighted = flat_top * covariance[1 : reach + 1]
    g = 2.0 * float(lags @ weighted)
    long_run = float(covariance[0] + 2.0 * weighted.sum())
    if not long_run**2 > 0.0:
        return 1.0
    best = (g**2 / long_run**2 * count) ** (1.0 / 3.0)
    return float(min(max(best, 1.0), math.ceil(min(3.0 * math.sqrt(count), count / 3.0))))


def _last_significant(significant: NDArray[np.bool_], in_a_row: int) -> int:
    """m̂ of [2]_: the smallest lag behind which ``in_a_row`` correlations are not significant."""
    quiet = 0
    for lag, loud in enumerate(significant, start=1):
        quiet = 0 if loud else quiet + 1
        if quiet == in_a_row:
            return lag - in_a_row
    loud_at = np.flatnonzero(significant)
    return int(loud_at[-1]) + 1 if len(loud_at) else 0


def stationary_indices(rng: np.random.Generator, draws: int, count: int, length: float) -> NDArray[np.int64]:
    """Positions of resampled observations, shape (draws, count): blocks of geometric length [1]_, wrapping at the end.

    Parameters
    ----------
    length
        Mean length of a block, at least 1.
    """
    fresh = rng.random((draws, count)) < 1.0 / length
    fresh[:, 0] = True
    starts = rng.integers(0, count, (draws, count))
    columns = np.arange(count)
    begun = np.maximum.accumulate(np.where(fresh, columns, 0), axis=1)  # where the block of each place begins
    indices: NDArray[np.int64] = (np.take_along_axis(starts, begun, axis=1) + columns - begun) % count
    return indices


def resamples(count: int, length: float, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """:func:`stationary_indices` in batches that fit in memory; ``draws`` rows in all, the same for the same seed."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _BATCH // max(count, 1))
    for begin in range(0, draws, at_once):
        yield stationary_indices(rng, min(at_once, draws - begin), count, length)


def means(values: NDArray[np.float64], length: float, *, seed: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """Means of resamples: shape (draws, m) for values of shape (n, m), every series resampled at the same places."""
    count = len(values)
    found = np.empty((draws, values.shape[1]))
    begin = 0
    for at in resamples(count, length, draws, seed):
        rows = np.arange(len(at))[:, None] * count
        times = np.bincount((at + rows).ravel(), minlength=at.size).reshape(at.shape)  # how often each was drawn
        found[begin : begin + len(at)] = times @ values / count
        begin += len(at)
    return found


def difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    seed: int,
    draws: int = DRAWS,
    confidence: float = 0.95,
    block: float | None = None,
) -> Difference:
    """Whether one series has a higher mean than another that was observed at the same times.

    The differences are resampled by the stationary bootstrap [1]_; its means, centred on 0, are what the difference
    would show if there were none.

    Parameters
    ----------
    first, second
        Shape (n,); times at which one of them is not finite are left out.
    block
        Mean length of a block; default: :func:`block_length` of the differences.

    Returns
    -------
    Difference
        With NaN where there are fewer than two times; a probability of 0 where all differences are 0, and 0 or 1 where
        they are all the same.
    """
    both = np.isfinite(first) & np.isfinite(second)
    apart = first[both] - second[both]
    if len(apart) < 2:
        return Difference(math.nan, math.nan, math.nan, math.nan, 1.0, len(apart))
    length = block if block is not None else block_length(apart)
    mean = float(apart.mean())
    drawn = means(apart[:, None], length, seed=seed, draws=draws)[:, 0]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    tiny = 1e-12 * float(np.abs(apart).max())  # sums of equal numbers differ in their last bits
    probability = 1.0 - float((drawn - mean >= mean - tiny).mean())
    return Difference(mean, float(low), float(high), probability, length, len(apart))
