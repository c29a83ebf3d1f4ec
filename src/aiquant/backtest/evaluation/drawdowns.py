"""All falls below an earlier high, each by itself."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Fall(NamedTuple):
    """One drawdown: from a high until it is reached again.

    Attributes
    ----------
    depth
        Fraction of the high, < 0.
    peak, trough
        Dates of the last mark at the high, and of the lowest one.
    recovered
        First date at or above the high again; None while it lasts.
    sessions
        From the peak to the recovery, or to the last mark.
    """

    depth: float
    peak: date
    trough: date
    recovered: date | None
    sessions: int


def falls(marks: NDArray[np.float64], days: list[date], most: int = 5) -> list[Fall]:
    """The ``most`` deepest falls, the deepest first; they do not overlap.

    Parameters
    ----------
    marks
        Equity, shape (n,), n ≥ 1.
    """
    highs = np.maximum.accumulate(marks)
    under = marks < highs
    begins = np.flatnonzero(under & ~np.concatenate([[False], under[:-1]]))
    ends = np.flatnonzero(~under & np.concatenate([[False], under[:-1]]))
    found = []
    for i, begin in enumerate(begins):
        end = int(ends[i]) if i < len(ends) else len(marks)
        trough = int(begin + np.argmin(marks[begin:end]))
        again = days[end] if end < len(marks) else None
        depth = float(marks[trough] / highs[trough] - 1.0)
        found.append(Fall(depth, days[begin - 1], days[trough], again, min(end, len(marks) - 1) - int(begin) + 1))
    return sorted(found, key=lambda fall: (fall.depth, fall.peak))[:most]


def time_under_water(marks: NDArray[np.float64]) -> float:
    """Share of the marks that lie below an earlier one."""
    return float((marks < np.maximum.accumulate(marks)).mean())
