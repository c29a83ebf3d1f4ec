"""How likely it is that the best of many backtests was the best by luck.

References
----------
.. [1] Bailey, D. H., Borwein, J. M., López de Prado, M., Zhu, Q. J. (2017). The Probability of Backtest Overfitting.
   Journal of Computational Finance 20(4), 39–69.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from aiquant.backtest.sharpe import NO_VARIANCE
from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 1 << 21  # ratios held at once: 16 MiB an array


@dataclass(frozen=True)
class Overfitting:
    """What combinatorially symmetric cross-validation found.

    Attributes
    ----------
    probability
        Share of the splits in which the trial that was best in sample lay at or below the median out of sample (PBO).
    logits
        λ = ln(ω ÷ (1 − ω)) of each split, ω the relative rank out of sample of the best in sample. Shape (splits,).
    probability_of_loss
        Share of the splits in which the best in sample had a Sharpe ratio below 0 out of sample.
    """

    probability: float
    logits: NDArray[np.float64]
    probability_of_loss: float


def probability_of_overfitting(returns: NDArray[np.float64], blocks: int = 16) -> Overfitting:
    """Probability of backtest overfitting by CSCV [1]_, with the Sharpe ratio as the measure.

    Parameters
    ----------
    returns
        Of all trials that were tried, shape (n sessions, m trials).
    blocks
        Even number of blocks of consecutive sessions (their lengths differ by one session at most); each half of them
        is in sample once: 16 blocks give 12,870 splits.

    Raises
    ------
    DataError
        When there are fewer than two trials, ``blocks`` is odd or below 2, blocks have fewer than two sessions, or a
        return is not a finite number.
    """
    _check(returns, blocks)
    count, trials = returns.shape
    centre = returns.mean(axis=0)
    centred = returns - centre  # sums of squares of centred values lose no digits
    edges = np.linspace(0, count, blocks + 1).astype(np.int64)
    lengths = np.diff(edges).astype(np.float64)
    sums = np.add.reduceat(centred, edges[:-1], axis=0)
    squares = np.add.reduceat(centred**2, edges[:-1], axis=0)
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    logits, losses = np.empty(len(chosen)), 0
    at_once = max(1, _BATCH // trials)
    for begin in range(0, len(chosen), at_once):
        inside = np.zeros((len(chosen[begin : begin + at_once]), blocks))
        np.put_along_axis(inside, chosen[begin : begin + at_once], 1.0, axis=1)
        best = np.argmax(_ratios(inside, lengths, sums, squares, centre), axis=1)
        outside = _ratios(1.0 - inside, lengths, sums, squares, centre)
        theirs = np.take_along_axis(outside, best[:, None], axis=1)
        below = (outside < theirs).sum(axis=1)
        equal = (outside == theirs).sum(axis=1) - 1
        relative = (below + 0.5 * equal + 1.0) / (trials + 1.0)
        logits[begin : begin + at_once] = np.log(relative / (1.0 - relative))
        losses += int((theirs < 0.0).sum())
    return Overfitting(float((logits <= 0.0).mean()), logits, losses / len(chosen))


def _ratios(
    picked: NDArray[np.float64],
    lengths: NDArray[np.float64],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    centre: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Sharpe ratio of each trial over the picked blocks, shape (splits, m); 0 for a trial that does not vary."""
    count = (picked @ lengths)[:, None]
    mean = picked @ sums / count
    variance = np.maximum(picked @ squares / count - mean**2, 0.0) * count / (count - 1.0)
    deviation = np.sqrt(variance)
    varies = deviation > NO_VARIANCE
    ratios: NDArray[np.float64] = np.where(varies, (mean + centre) / np.where(varies, deviation, 1.0), 0.0)
    return ratios


def _check(returns: NDArray[np.float64], blocks: int) -> None:
    if returns.ndim != 2 or returns.shape[1] < 2:
        raise DataError(
            "the probability of overfitting needs the returns of at least two trials", "pass all that were tried"
        )
    if blocks < 2 or blocks % 2:
        raise DataError(f"{blocks} blocks cannot be halved", "use an even number of blocks, such as 16")
    if len(returns) < 2 * blocks:
        raise DataError(
            f"{len(returns)} sessions are too few for {blocks} blocks", "use fewer blocks or a longer history"
        )
    if not np.isfinite(returns).all():
        raise DataError("the returns of the trials hold values that are not finite numbers")
