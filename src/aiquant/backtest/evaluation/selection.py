"""What choosing among trials would have earned: the best of the past held in what came after.

A table of trials shows its best by hindsight. Here the choice is part of the strategy: it is made on one stretch of
time and judged on another, in order of time (walk-forward) or over every combination of stretches (combinatorial).

References
----------
.. [1] López de Prado, M. (2018). Advances in Financial Machine Learning, chapter 12.
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


@dataclass(frozen=True, eq=False)
class WalkForward:
    """Returns of the choice, out of sample.

    Attributes
    ----------
    rows
        Positions of the sessions, int64, shape (k,): all behind the first training.
    returns
        Of the trial that was held in each, shape (k,).
    chosen
        Column of the trial that was held in each, int64, shape (k,).
    """

    rows: NDArray[np.int64]
    returns: NDArray[np.float64]
    chosen: NDArray[np.int64]


def walk_forward(returns: NDArray[np.float64], train: int, test: int, embargo: int = 1) -> WalkForward:
    """Hold for ``test`` sessions the trial with the best Sharpe ratio of the ``train`` sessions before, over and over.

    Parameters
    ----------
    returns
        Net returns of all trials, shape (n sessions, m trials).
    embargo
        Sessions between the end of a training and what follows: a choice made at a close is held from the next one.

    Raises
    ------
    DataError
        When there are fewer sessions than one training, its embargo and one session after it.
    """
    count = len(returns)
    if count <= train + embargo or train < 2 or test < 1:
        raise DataError(
            f"{count} sessions are too few to choose on {train} and hold for {test}", "choose on a shorter stretch"
        )
    rows = np.arange(train + embargo, count)
    chosen = np.empty(len(rows), dtype=np.int64)
    for begin in range(0, len(rows), test):
        end = rows[begin] - embargo
        chosen[begin : begin + test] = int(np.argmax(_ratios(returns[end - train : end])))
    return WalkForward(rows, returns[rows, chosen], chosen)


def combinatorial_paths(
    returns: NDArray[np.float64], groups: int, tested: int, embargo: int = 1
) -> NDArray[np.float64]:
    """Paths of the choice through all sessions: C(groups − 1, tested − 1) of them, shape (paths, n).

    For every combination of ``tested`` groups of sessions the trial is chosen that was best in the others, less
    ``embargo`` sessions beside each tested group. Path j takes for each group the j-th combination that tests it [1]_.

    Raises
    ------
    DataError
        When groups have fewer than ``2 + 2 embargo`` sessions, or ``tested`` leaves none to choose on.
    """
    count = len(returns)
    if not 1 <= tested < groups or count // groups < 2 + 2 * embargo:
        raise DataError(f"{count} sessions cannot be parted into {groups} groups of which {tested} are tested")
    edges = np.linspace(0, count, groups + 1).astype(np.int64)
    combined = list(combinations(range(groups), tested))
    seen = [0] * groups
    paths = np.full((len(combined) * tested // groups, count), np.nan)
    for combination in combined:
        inside = np.ones(count, dtype=np.bool_)
        for group in combination:
            inside[max(edges[group] - embargo, 0) : edges[group + 1] + embargo] = False
        best = int(np.argmax(_ratios(returns[inside])))
        for group in combination:
            part = slice(edges[group], edges[group + 1])
            paths[seen[group], part] = returns[part, best]
            seen[group] += 1
    return paths


def _ratios(returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sharpe ratio of each trial, shape (m,); 0 for one that does not vary."""
    deviation = returns.std(axis=0, ddof=1)
    varies = deviation > NO_VARIANCE
    ratios: NDArray[np.float64] = np.where(varies, returns.mean(axis=0) / np.where(varies, deviation, 1.0), 0.0)
    return ratios
