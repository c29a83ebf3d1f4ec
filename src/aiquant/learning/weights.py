"""How much each training row counts: less where labels tell the same story, less the older it is.

M. López de Prado, *Advances in Financial Machine Learning* (2018), chapter 4. Everything is reckoned from the rows that
are trained on and from their labels' windows alone, so that a fold does not change when history goes on.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aiquant.learning.panel import Panel

Weighting = Literal["equal", "uniqueness"]


def of(panel: Panel, rows: NDArray[np.int64], weighting: Weighting, time_decay: float) -> NDArray[np.float32] | None:
    """Weights of training rows.

    Parameters
    ----------
    rows
        ``int64``, ascending: rows of the panel that have a label.
    weighting
        ``uniqueness``: by :func:`average_uniqueness`; ``equal``: all alike.
    time_decay
        Share of its weight that the oldest row keeps, see :func:`decay`; 1 for no decay.

    Returns
    -------
    NDArray or None
        ``float32``, shape (rows,), of mean 1; None where all rows count alike.
    """
    if weighting == "equal" and time_decay == 1.0:
        return None
    unique = np.ones(len(rows))
    if weighting == "uniqueness":
        times = np.unique(panel.event_time)
        unique = average_uniqueness(panel.symbols[rows], panel.label_start[rows], panel.label_end[rows], times)
    weight = unique * decay(panel.event_time[rows], unique, time_decay)
    relative: NDArray[np.float32] = (weight / weight.mean()).astype(np.float32)
    return relative


def average_uniqueness(
    symbols: NDArray[np.int32],
    label_start: NDArray[np.datetime64],
    label_end: NDArray[np.datetime64],
    times: NDArray[np.datetime64],
) -> NDArray[np.float64]:
    """Mean over a label's window of one over the number of labels of the same symbol that share the moment.

    López de Prado (2018), sections 4.3 and 4.4: with c_t labels at work at t, the uniqueness of label i is the mean of
    1/c_t over its window. Labels of different symbols do not share a return.

    Parameters
    ----------
    symbols
        ``int32``, shape (n,).
    label_start, label_end
        ``datetime64[us]``, shape (n,): the fills. The window holds the times after the first one, up to the last.
    times
        ``datetime64[us]``, ascending and unique: the moments at which windows are compared.

    Returns
    -------
    NDArray
        ``float64``, shape (n,), above 0 and at most 1; 1 for a window without a time in it.
    """
    first = np.searchsorted(times, label_start, side="right")
    last = np.searchsorted(times, label_end, side="right")
    order = np.argsort(symbols, kind="stable")
    bounds = np.append(np.flatnonzero(np.diff(symbols[order], prepend=-1)), len(order))
    found: NDArray[np.float64] = _uniqueness(order, bounds, first, last, len(times))
    return found


def decay(times: NDArray[np.datetime64], unique: NDArray[np.float64], oldest: float) -> NDArray[np.float64]:
    """Weight of each row's age, from ``oldest`` to 1, linear in the uniqueness that has come together by its time.

    López de Prado (2018), section 4.7 and snippet 4.11, with the rows of a date taken together. Time that brings no
    news takes nothing away, as it would by the calendar.

    Parameters
    ----------
    times
        ``datetime64[us]``, shape (n,), ascending.
    unique
        ``float64``, shape (n,): uniqueness of each row.
    oldest
        c in (−1, 1]. At 0 or above: the weight that the line starts from. Below 0: the oldest share −c weighs nothing.
    """
    whole = float(unique.sum())
    ends = np.append(np.flatnonzero(times[1:] != times[:-1]), len(times) - 1)
    gathered = np.cumsum(unique)[ends[np.searchsorted(times[ends], times)]]
    slope = (1 - oldest) / whole if oldest >= 0 else 1 / ((oldest + 1) * whole)
    weight: NDArray[np.float64] = np.maximum(1 + slope * (gathered - whole), 0.0)
    return weight


@njit(cache=True, nogil=True)
def _uniqueness(
    order: NDArray[np.int64],
    bounds: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    times: int,
) -> NDArray[np.float64]:
    """Per symbol: how many windows hold each time, then the mean of one over that by a running sum."""
    found = np.ones(len(order))
    shared = np.empty(times + 1)
    for symbol in range(len(bounds) - 1):
        shared[:] = 0.0
        for at in range(bounds[symbol], bounds[symbol + 1]):
            row = order[at]
            shared[first[row]] += 1.0
            shared[last[row]] -= 1.0
        count, total = 0.0, 0.0
        for t in range(times + 1):
            count += shared[t]
            shared[t] = total
            if count > 0.0:
                total += 1.0 / count
        for at in range(bounds[symbol], bounds[symbol + 1]):
            row = order[at]
            if last[row] > first[row]:
                found[row] = (shared[last[row]] - shared[first[row]]) / (last[row] - first[row])
    return found
