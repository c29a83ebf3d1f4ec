"""Quantiles and ranks: sorted windows that are carried from slot to slot. Sorting does not round, so that is exact.

All windows of a series move on together: each step waits for the one before it, and while one window waits another goes
on.
"""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.lanes import LANES, slide
from aiquant.features.kernels.tables import inner, kernel

RANK = -1.0
"""Stands among the quantiles for the rank of today's value."""


@inner
def _below(held, n, v):  # type: ignore[no-untyped-def]
    """How many of the ``n`` sorted values lie below ``v``; counted without branches, which is quickest for windows."""
    count = 0
    for k in range(n):
        count += held[k] < v
    return count


@inner
def _move_up(held, first, last):  # type: ignore[no-untyped-def]
    for k in range(last, first, -1):
        held[k] = held[k - 1]


@inner
def _rank(held, n, today, at):  # type: ignore[no-untyped-def]
    """Mean rank of ``today``, which stands first at ``at``, as a share of the ``n`` values."""
    if not math.isfinite(today):
        return np.nan
    equal = 1
    while at + equal < n and held[at + equal] == today:
        equal += 1
    return (at + (equal + 1) / 2.0) / n


@inner
def _quantile(held, first, n, quantile):  # type: ignore[no-untyped-def]
    """Quantile of the ``n`` sorted values from ``held[first]`` on, linear between them."""
    place = quantile * (n - 1)
    low = int(math.floor(place))
    k = first + low
    if low + 1 >= n:
        return held[k]
    return held[k] + (held[k + 1] - held[k]) * (place - low)


@inner
def _slots(windows, firsts, places):  # type: ignore[no-untyped-def]
    """How many windows differ; ``firsts`` tells the first request of each, ``places`` where it begins among all."""
    count = 0
    places[0] = 0
    for r in range(windows.size):
        if r == 0 or windows[r] != windows[r - 1]:
            firsts[count] = r
            places[count + 1] = places[count] + (windows[r] + LANES - 1) // LANES * LANES + 2
            count += 1
    firsts[count] = windows.size
    return count


@inner
def _move_on(x, begin, j, held, moved, windows, firsts, places, counts, rank):  # type: ignore[no-untyped-def]
    """All windows take the value at j in, and let go of the one that is too old.

    ``rank`` becomes, for each, twice the number of values below it, and one more for each that equals it.
    """
    there = math.isfinite(x[j])
    come = x[j] + 0.0 if there else np.inf  # no −0, whose place among zeros would depend on the way
    for i in range(counts.size):
        gone_at = j - windows[firsts[i]]
        gone = np.inf
        counts[i] += there
        if gone_at >= begin and math.isfinite(x[gone_at]):
            gone = x[gone_at]
            counts[i] -= 1
        twice = 0
        for at in range(places[i], places[i + 1] - 2, LANES):
            twice += slide(held, moved, at, gone, come)
        rank[i] = twice


@inner
def _tell(today, j, held, quantiles, firsts, places, counts, rank, least, out):  # type: ignore[no-untyped-def]
    for i in range(counts.size):
        n = counts[i]
        first = places[i] + 1
        for r in range(firsts[i], firsts[i + 1]):
            if n < max(least[r], 1):
                out[r, j] = np.nan
            elif quantiles[r] < 0.0:
                out[r, j] = (rank[i] + 1.0) / 2.0 / n if math.isfinite(today) else np.nan
            else:
                out[r, j] = _quantile(held, first, n, quantiles[r])


@kernel("void(f8[::1], i8[::1], i8, f8[::1], i8[::1], i8[::1], f8[:, ::1])")
def rolling_order(x, starts, skip, quantiles, windows, least, out):  # type: ignore[no-untyped-def]
    """Quantiles and ranks of one series.

    Parameters
    ----------
    x, starts, skip, windows, least, out
        As in :func:`aiquant.features.kernels.sums.rolling_sums`; windows ascending.
    quantiles
        float64, one per row of ``out``: 0 to 1, linear between values, or :data:`RANK`.
    """
    requests = windows.size
    firsts, places = np.empty(requests + 1, dtype=np.int64), np.empty(requests + 1, dtype=np.int64)
    different = _slots(windows, firsts, places)
    # Two copies of the windows, one moved on from the other: a loop that reads what it writes cannot be done at once.
    one, other = np.empty(places[different]), np.empty(places[different])
    counts, rank = np.empty(different, dtype=np.int64), np.empty(different, dtype=np.int64)
    for s in range(starts.size - 1):
        for k in range(one.size):
            one[k] = other[k] = np.inf
        for i in range(different):
            one[places[i]] = other[places[i]] = -np.inf
            counts[i] = 0
        begin = starts[s] + max(0, skip - windows[requests - 1] + 1)
        for j in range(begin, starts[s + 1]):
            if (j - begin) % 2:
                _move_on(x, begin, j, other, one, windows, firsts, places, counts, rank)
            else:
                _move_on(x, begin, j, one, other, windows, firsts, places, counts, rank)
            if j - starts[s] >= skip:
                held = one if (j - begin) % 2 else other
                _tell(x[j], j, held, quantiles, firsts, places, counts, rank, least, out)
