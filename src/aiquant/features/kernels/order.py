"""Quantiles and ranks: one sorted window a slot serves all of them. Sorting does not round, so carrying it is exact."""

from __future__ import annotations

import math

import numpy as np

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
def _move_down(held, first, last):  # type: ignore[no-untyped-def]
    for k in range(first, last):
        held[k] = held[k + 1]


@inner
def _move_up(held, first, last):  # type: ignore[no-untyped-def]
    for k in range(last, first, -1):
        held[k] = held[k - 1]


@inner
def _replace(held, n, gone, come):  # type: ignore[no-untyped-def]
    """Take ``gone`` out of the ``n`` sorted values and put ``come`` in; either may be NaN.

    Returns
    -------
    n, at
        How many there are then, and where ``come`` is the first of its equals.
    """
    leaves, arrives = math.isfinite(gone), math.isfinite(come)
    at = _below(held, n, come) if arrives else n
    if leaves:
        hole = _below(held, n, gone)
        if arrives and hole < at:
            at -= 1
            _move_down(held, hole, at)
        elif arrives:
            _move_up(held, at, hole)
        else:
            _move_down(held, hole, n - 1)
            n -= 1
    elif arrives:
        _move_up(held, at, n)
        n += 1
    if arrives:
        held[at] = come
    return n, at


@inner
def _read(held, n, quantile, today, at):  # type: ignore[no-untyped-def]
    if quantile < 0.0:
        if not math.isfinite(today):
            return np.nan
        equal = 1
        while at + equal < n and held[at + equal] == today:
            equal += 1
        return (at + (equal + 1) / 2.0) / n
    place = quantile * (n - 1)
    low = int(math.floor(place))
    if low + 1 >= n:
        return held[n - 1]
    return held[low] + (held[low + 1] - held[low]) * (place - low)


@kernel("void(f8[::1], i8[::1], i8, i8, f8[::1], i8, f8[:, ::1])")
def rolling_order(x, starts, skip, window, quantiles, least, out):  # type: ignore[no-untyped-def]
    """Quantiles and ranks of one series over one window.

    Parameters
    ----------
    x, starts, skip, out
        As in :func:`aiquant.features.kernels.sums.rolling_sums`.
    window, least
        The window in slots and the fewest values that give a result.
    quantiles
        float64, one per row of ``out``: 0 to 1, linear between values, or :data:`RANK`.
    """
    held = np.empty(window + 1)
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        n = 0
        first = begin + max(0, skip - window + 1)
        for j in range(first, end):
            gone = x[j - window] if j - window >= first else np.nan
            n, at = _replace(held, n, gone, x[j])
            if j - begin < skip:
                continue
            for r in range(quantiles.size):
                out[r, j] = np.nan if n < max(least, 1) else _read(held, n, quantiles[r], x[j], at)
