"""What else the same returns could have made: the account resampled in blocks.

The stationary bootstrap keeps the dependence of returns on those shortly before them; it knows no other market than the
one that was. So it tells how wide luck spreads, not what happens when the market changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aiquant.backtest import bootstrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the fan."""

POINTS = 120
"""Places in time at which the fan is kept, at most."""


@dataclass(frozen=True, eq=False)
class MonteCarlo:
    """Resampled accounts of the same length.

    Attributes
    ----------
    at
        Sessions since the first mark at which the fan is told, int64, shape (p,).
    fan
        Quantiles :data:`LEVELS` of the growth of 1 at those places, shape (5, p).
    final, drawdown, sharpe
        Quantiles :data:`LEVELS` of the growth over all, of the maximum drawdown (≤ 0), and of the Sharpe ratio (per
        observation), shape (5,) each.
    depths
        Maximum drawdown of each resample, ascending, shape (draws,).
    loss
        Share of the resamples that ended with a loss.
    deeper
        Share of the resamples with a deeper maximum drawdown than the account's own.
    block
        Mean length of a block.
    """

    at: NDArray[np.int64]
    fan: NDArray[np.float64]
    final: NDArray[np.float64]
    drawdown: NDArray[np.float64]
    sharpe: NDArray[np.float64]
    depths: NDArray[np.float64]
    loss: float
    deeper: float
    block: float
    draws: int


def resample(returns: NDArray[np.float64], *, seed: int, draws: int = bootstrap.DRAWS) -> MonteCarlo:
    """Resample an account by the stationary bootstrap, with the block length of the returns' own dependence.

    Parameters
    ----------
    returns
        Simple returns, shape (n,), n ≥ 2, each above −1.
    """
    count = len(returns)
    length = bootstrap.block_length(returns)
    at = np.unique(np.linspace(0, count, min(POINTS, count + 1)).round().astype(np.int64))
    growth = np.log1p(returns)
    paths, depths, ratios = [], [], []
    for drawn in bootstrap.resamples(count, length, draws, seed):
        logs = np.zeros((len(drawn), count + 1))
        np.cumsum(growth[drawn], axis=1, out=logs[:, 1:])
        paths.append(logs[:, at])
        depths.append((logs - np.maximum.accumulate(logs, axis=1)).min(axis=1))
        picked = returns[drawn]
        deviation = picked.std(axis=1, ddof=1)
        ratios.append(np.where(deviation > 0, picked.mean(axis=1) / np.where(deviation > 0, deviation, 1.0), np.nan))
    path, depth, ratio = np.concatenate(paths), np.sort(np.expm1(np.concatenate(depths))), np.concatenate(ratios)
    own = np.concatenate([[0.0], np.cumsum(growth)])
    own_depth = math.expm1(float((own - np.maximum.accumulate(own)).min()))
    return MonteCarlo(
        at=at,
        fan=np.exp(np.quantile(path, LEVELS, axis=0)),
        final=np.exp(np.quantile(path[:, -1], LEVELS)),
        drawdown=np.quantile(depth, LEVELS),
        sharpe=np.nanquantile(ratio, LEVELS) if np.isfinite(ratio).any() else np.full(len(LEVELS), np.nan),
        depths=depth,
        loss=float((path[:, -1] < 0.0).mean()),
        deeper=float((depth < own_depth).mean()),
        block=length,
        draws=len(depth),
    )
