"""Expected returns: what forecasts are worth, by their measured skill.

R. Grinold, "Alpha is volatility times IC times score", Journal of Portfolio Management 20 (1994): of a forecast whose
rank among others is all that is believed, the expected return above the mean is

    IC × volatility × score

with the score its place in units of standard deviations, and IC the correlation of forecasts with what followed.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.portfolio.history import History

PRIOR_IC = 0.02
"""What is believed of forecasts of which nothing was measured yet: a usual skill in equities."""
PRIOR_PERIODS = 12
"""As how many independent periods of measurement the belief counts."""
LEAST_SYMBOLS = 3
WINSOR = 3.0
"""Scores beyond this many standard deviations are cut."""


def score(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signals of one date in standard deviations from their mean, cut at ±3; 0 where they are all alike."""
    spread = float(signal.std()) if len(signal) else 0.0
    if spread <= 1e-15 * float(np.abs(signal).max(initial=1.0)):
        return np.zeros(len(signal))
    found: NDArray[np.float64] = np.clip((signal - signal.mean()) / spread, -WINSOR, WINSOR)
    return found


def alpha(ic: float, volatility: NDArray[np.float64], scores: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """Expected return above the mean, for each bar of the horizon.

    Over ``horizon`` bars it is IC × (volatility × √horizon) × score; a bar's share of it is that by the horizon.

    Parameters
    ----------
    volatility
        Of one bar, shape (n,).
    scores
        Shape (n,).
    """
    found: NDArray[np.float64] = ic * volatility * scores / np.sqrt(horizon)
    return found


@dataclass(frozen=True)
class Skill:
    """Rank IC of forecasts, each with the date from which it is known.

    Attributes
    ----------
    known
        Dates on which the returns that a forecast spoke of were over, ascending.
    ics
        Rank IC of the forecasts of one date, as ``known``.
    horizon
        Bars that the forecasts look ahead.
    """

    known: tuple[date, ...]
    ics: tuple[float, ...]
    horizon: int

    def by(self, day: date) -> float:
        """The information coefficient as measured by ``day``, drawn to :data:`PRIOR_IC` while little is measured.

        Forecasts of ``horizon`` successive dates overlap and count as one. Never below 0: forecasts that were wrong
        more often than not are not believed, nor are they turned round.
        """
        measured = bisect_right(self.known, day)
        periods = measured / self.horizon
        mean = float(np.mean(self.ics[:measured])) if measured else 0.0
        return max((periods * mean + PRIOR_PERIODS * PRIOR_IC) / (periods + PRIOR_PERIODS), 0.0)


def skill(forecasts: pl.DataFrame, history: History, horizon: int) -> Skill:
    """Measure forecasts by the returns that followed them.

    The return runs from the close after the decision over ``horizon`` bars: what could be traded on it.

    Parameters
    ----------
    forecasts
        ``symbol, date, forecast``, sorted by date and symbol.
    history
        Past returns; those after a date count from when they were known.
    """
    logs = np.log1p(np.nan_to_num(history.returns))
    level = np.vstack([np.zeros((1, logs.shape[1])), np.cumsum(logs, axis=0)])
    found: list[tuple[date, float]] = []
    for (day,), rows in forecasts.group_by("date", maintain_order=True):
        assert isinstance(day, date)
        start = history.at(day) + 1  # level[k] is after k returns: the close of the bar after the decision
        end = start + horizon
        if end >= len(level):
            continue
        columns = history.columns(rows["symbol"].to_list())
        there = (columns >= 0) & np.isfinite(history.returns[start - 1, columns])
        if there.sum() < LEAST_SYMBOLS:
            continue
        followed = level[end, columns[there]] - level[start, columns[there]]
        correlation = _rank_correlation(rows["forecast"].to_numpy()[there], followed)
        if np.isfinite(correlation):
            found.append((history.dates[end - 1].item(), correlation))
    return Skill(tuple(day for day, _ in found), tuple(value for _, value in found), horizon)


def _rank_correlation(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    from scipy.stats import rankdata

    a, b = rankdata(left), rankdata(right)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")
