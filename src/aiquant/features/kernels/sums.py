"""Sums, means and deviations over windows: one pass for all windows of a series."""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.tables import (
    CANCELLED,
    clean,
    count_up,
    double_sums,
    inner,
    kernel,
    levels_for,
    line_through,
    longest,
    window_sum,
)

KINDS = {"Sum": 0, "Mean": 1, "Count": 2, "Var": 3, "Std": 4}
"""Numbers by which :func:`rolling_sums` knows what is asked for."""

SUM, MEAN, COUNT, VAR, STD = range(5)


@inner
def _plain(kind, w, least, c, s1, out, skip):  # type: ignore[no-untyped-def]
    """Sum, mean or count of each window; ``c[j + w] - c[j]`` values are in the one that ends at j."""
    fewest = max(least, 1)
    # A loop for each: one for all would divide for sums as well, and a division is most of the price.
    if kind == COUNT:
        for j in range(skip, out.size):
            out[j] = c[j + w] - c[j]
    elif kind == SUM:
        for j in range(skip, out.size):
            out[j] = s1[j] if c[j + w] - c[j] >= fewest else np.nan
    else:
        for j in range(skip, out.size):
            valid = c[j + w] - c[j]
            out[j] = s1[j] / valid if valid >= fewest else np.nan


@inner
def _spread(kind, x, w, least, c, s1, s2, out, skip):  # type: ignore[no-untyped-def]
    """Sample variance or standard deviation of each window."""
    fewest = max(least, 2)
    unsure = 0
    for j in range(skip, out.size):
        valid = c[j + w] - c[j]
        squares = s2[j] * valid
        centred = squares - s1[j] * s1[j]
        variance = centred / (valid * (valid - 1.0))
        enough, sure = valid >= fewest, centred > CANCELLED * squares
        out[j] = (math.sqrt(variance) if kind == STD else variance) if enough & sure else np.nan
        unsure += enough & (not sure)
    if not unsure:
        return
    for j in range(skip, out.size):
        if math.isnan(out[j]) and c[j + w] - c[j] >= fewest:
            n, _, centred, _, _, _ = line_through(x, j, w)
            variance = centred / (n - 1)
            out[j] = math.sqrt(variance) if kind == STD else variance


@kernel("void(f8[::1], i8[::1], i8, i8[::1], i8[::1], i8[::1], f8[:, ::1])")
def rolling_sums(x, starts, skip, kinds, windows, least, out):  # type: ignore[no-untyped-def]
    """All requested sums, means, counts and deviations of one series.

    Parameters
    ----------
    x, starts, out
        See the package. ``out`` has one row per request.
    skip
        Leading cells of each history whose results nobody reads; they are left as they are.
    kinds, windows, least
        int64, one per request: see :data:`KINDS`, the window in slots, and the fewest values that give a result.
        Requests with the same window should stand together.
    """
    widest = 1
    squares = False
    for r in range(kinds.size):
        widest = max(widest, windows[r])
        squares = squares or kinds[r] >= VAR
    pad = widest
    most = longest(starts)
    levels = levels_for(widest)
    sums = np.empty((levels, pad + most))
    square_sums = np.empty((levels if squares else 1, pad + most))
    counts = np.empty(pad + most + 1)
    s1, s2 = np.empty(most), np.empty(most)
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        n = end - begin
        xs = x[begin:end]
        clean(xs, sums[0], pad)
        count_up(xs, counts, pad)
        if squares:
            for j in range(pad + n):
                square_sums[0, j] = sums[0, j] * sums[0, j]
            double_sums(square_sums, levels, pad, n)
        double_sums(sums, levels, pad, n)
        ready = 0
        for r in range(kinds.size):
            w = windows[r]
            if w != ready:
                window_sum(sums, w, pad, n, s1)
                if squares:
                    window_sum(square_sums, w, pad, n, s2)
                ready = w
            row = out[r, begin:end]
            c = counts[pad + 1 - w :]
            if kinds[r] <= COUNT:
                _plain(kinds[r], w, least[r], c, s1, row, skip)
            else:
                _spread(kinds[r], xs, w, least[r], c, s1, s2, row, skip)
