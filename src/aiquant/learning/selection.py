"""How much of a result is the luck of having tried a lot: figures of a run beside everything that was tried.

References
----------
.. [1] Bailey, D. H., López de Prado, M. (2014). The Deflated Sharpe Ratio. J. of Portfolio Management 40(5), 94–107.
.. [2] Bailey, D. H., Borwein, J. M., López de Prado, M., Zhu, Q. J. (2017). The Probability of Backtest Overfitting.
   Journal of Computational Finance 20(4), 39–69.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiquant.backtest import overfitting, sharpe, superiority
from aiquant.backtest.overfitting import Overfitting
from aiquant.backtest.superiority import Superiority
from aiquant.learning.trials import Dates, Tried

BLOCKS = 10
"""Blocks of sessions for the cross-validation of :func:`overfitted`: 252 splits."""

_MIN_SHARED = 60  # sessions below which a correlation of two trials is not believed


@dataclass(frozen=True, eq=False)
class NetResult:
    """What a run earned out of sample, costs included.

    Attributes
    ----------
    configuration
        See :class:`aiquant.learning.trials.Trial`.
    dates
        ``datetime64[D]``, shape (n,), ascending.
    returns
        ``float64``, shape (n,): net of costs and of the risk-free rate, session by session.
    risk_free
        What was taken off each return.
    sessions_per_year
        As the calendar counts them.
    cost_bps
        Commission, slippage and half the spread that were charged, basis points of what was traded.
    """

    configuration: str
    dates: Dates
    returns: NDArray[np.float64]
    risk_free: float
    sessions_per_year: float
    cost_bps: float

    @property
    def moments(self) -> sharpe.Moments:
        """Of the returns."""
        return sharpe.moments(self.returns)


@dataclass(frozen=True)
class Luck:
    """What the best of all trials would show if none were worth anything.

    Attributes
    ----------
    trials
        Configurations that were tried, the run's own among them.
    correlation
        Mean correlation of their net returns; pairs without enough shared sessions count as 0.
    variance
        Of the trials' Sharpe ratios, per session.
    sharpe
        Sharpe ratio per session that the best is expected to show [1]_.
    """

    trials: int
    correlation: float
    variance: float
    sharpe: float


def luck(net: NetResult, tried: Tried) -> Luck:
    """The Sharpe ratio that is owed to the number of trials [1]_.

    All configurations count, those of a tuning on earlier sessions too. Their Sharpe ratios are compared on the
    sessions of the run; the variance is the greater of what they show there and of (1 − ρ̄) ÷ (n − 1), what trials
    that are worth nothing and have the mean correlation ρ̄ show by chance: so a few trials that happen to be alike
    excuse nothing, and copies of one trial are not counted as many.
    """
    everything = tried.beside(net.configuration, net.dates, net.returns + net.risk_free)
    count, rho = everything.count, _mean_correlation(everything.matrix, everything.count)
    shared = everything.on(net.dates).matrix - net.risk_free
    ratios = np.array([sharpe.moments(shared[:, k]).sharpe for k in range(shared.shape[1])])
    ratios = ratios[np.isfinite(ratios)]
    seen = float(ratios.var(ddof=1)) if len(ratios) > 1 else 0.0
    by_chance = (1.0 - max(rho, 0.0)) / max(len(net.returns) - 1, 1)
    variance = max(seen, by_chance)
    return Luck(count, rho, variance, sharpe.expected_maximum(variance, count))


def overfitted(net: NetResult, tried: Tried, tunings: Sequence[Tried], least: int) -> list[Overfitting]:
    """Probability of backtest overfitting [2]_ of each choice that the run's result may owe to, the worst first.

    The choices are that among all trials on the sessions of the run, and each tuning that the run's configuration comes
    from and that saw sessions of the run, on its own sessions. A tuning that saw none of them is not asked: what its
    choice is worth out of sample, the run itself shows (see :func:`overfitted_before`).

    Parameters
    ----------
    least
        Trials with returns that vary below which a choice is left out.

    Returns
    -------
    list of Overfitting
        Empty where no choice had enough trials and sessions.
    """
    seen = [tuning for tuning in tunings if _meet(tuning, net)]
    return _probabilities([_matrix(net, tried), *(tuning.on(tuning.dates).matrix for tuning in seen)], least)


def overfitted_before(net: NetResult, tunings: Sequence[Tried], least: int) -> list[Overfitting]:
    """As :func:`overfitted`, of the tunings that saw no session of the run: told, and no rule."""
    return _probabilities([tuning.on(tuning.dates).matrix for tuning in tunings if not _meet(tuning, net)], least)


def _meet(tuning: Tried, net: NetResult) -> bool:
    return bool(np.isin(tuning.dates, net.dates).any())


def _probabilities(matrices: Sequence[NDArray[np.float64]], least: int) -> list[Overfitting]:
    found = []
    for matrix in matrices:
        varied = matrix[:, matrix.std(axis=0) > sharpe.NO_VARIANCE] if len(matrix) else matrix
        if varied.shape[1] >= max(least, 2) and len(varied) >= 2 * BLOCKS:
            found.append(overfitting.probability_of_overfitting(varied, BLOCKS))
    return sorted(found, key=lambda f: (f.probability, f.probability_of_loss), reverse=True)


def superior(net: NetResult, tried: Tried, *, seed: int) -> Superiority | None:
    """Whether the best of all trials on the sessions of the run earns more than the risk-free rate.

    Returns
    -------
    Superiority or None
        None where there are too few sessions.
    """
    matrix = _matrix(net, tried)
    if len(matrix) < 8:
        return None
    return superiority.superior_predictive_ability(matrix - net.risk_free, seed=seed)


def _matrix(net: NetResult, tried: Tried) -> NDArray[np.float64]:
    """Net returns of the run and of the other trials that traded on its sessions, shape (n, m)."""
    return tried.beside(net.configuration, net.dates, net.returns + net.risk_free).on(net.dates).matrix


def _mean_correlation(matrix: NDArray[np.float64], count: int) -> float:
    """Mean over all pairs of ``count`` trials, each on the sessions that both share; unknown pairs count as 0."""
    pairs = count * (count - 1) / 2
    if pairs < 1 or matrix.shape[1] < 2:
        return 0.0
    there = np.isfinite(matrix).astype(np.float64)
    values = np.where(np.isfinite(matrix), matrix, 0.0)
    shared = there.T @ there
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = values.T @ there / shared  # of the first of a pair, on the sessions of both
        square = (values**2).T @ there / shared - mean**2
        correlation = (values.T @ values / shared - mean * mean.T) / np.sqrt(square * square.T)
    known = np.triu(np.isfinite(correlation) & (shared >= _MIN_SHARED), 1)
    return float(np.clip(correlation[known], -1.0, 1.0).sum() / pairs)
