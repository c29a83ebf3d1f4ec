"""Correlation and covariance of two series over windows; only slots where both have a value count."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from aiquant.features.kernels.tables import (
    inner,
    CANCELLED,
    FLAT,
    QLIB_FLAT,
    double_sums,
    levels_for,
    line_through,
    longest,
    window_sum,
)

KINDS = {"Corr": 0, "Cov": 1}
"""Numbers by which :func:`rolling_pair` knows what is asked for."""


@inner
def _again(x, y, last, w):  # type: ignore[no-untyped-def]
    """Centred second moments of the pairs in a window, from the values themselves and relative to the newest pair."""
    first = max(0, last - w + 1)
    n = 0
    ax = ay = 0.0
    sx = sy = 0.0
    for j in range(last, first - 1, -1):
        if math.isfinite(x[j]) and math.isfinite(y[j]):
            if n == 0:
                ax, ay = x[j], y[j]
            n += 1
            sx += x[j] - ax
            sy += y[j] - ay
    if n == 0:
        return np.nan, np.nan, np.nan, np.nan, np.nan
    mx, my = sx / n, sy / n
    sxx = syy = sxy = 0.0
    for j in range(last, first - 1, -1):
        if math.isfinite(x[j]) and math.isfinite(y[j]):
            dx, dy = (x[j] - ax) - mx, (y[j] - ay) - my
            sxx += dx * dx
            syy += dy * dy
            sxy += dx * dy
    return sxx, syy, sxy, ax + mx, ay + my


@inner
def _flat_alone(x, last, w):  # type: ignore[no-untyped-def]
    """Qlib's mask: whether the deviation of one series alone is below an absolute threshold."""
    n, _, sxx, _, _, _ = line_through(x, last, w)
    return n > 1 and math.sqrt(sxx / (n - 1)) <= QLIB_FLAT


@inner
def _fill(table, a, b, x, y, pad, n):  # type: ignore[no-untyped-def]
    """Row 0 of ``table`` becomes a · b where both x and y are there, else 0."""
    for j in range(pad):
        table[0, j] = 0.0
    row = table[0, pad:]
    for j in range(n):
        row[j] = a[j] * b[j] if math.isfinite(x[j]) and math.isfinite(y[j]) else 0.0


@inner
def _emit(kind, x, y, w, least, compat, c, sums, out, skip):  # type: ignore[no-untyped-def]
    s_x, s_y, s_xx, s_yy, s_xy = sums[0], sums[1], sums[2], sums[3], sums[4]
    for j in range(skip, out.size):
        n = c[j + 1] - c[max(0, j + 1 - w)]
        if n < max(least, 2):
            out[j] = np.nan
            continue
        mx, my = s_x[j] / n, s_y[j] / n
        sxx = s_xx[j] - s_x[j] * mx
        syy = s_yy[j] - s_y[j] * my
        sxy = s_xy[j] - s_x[j] * my
        if not (sxx > CANCELLED * s_xx[j] and syy > CANCELLED * s_yy[j]):
            sxx, syy, sxy, mx, my = _again(x, y, j, w)
        if kind == 1:
            out[j] = sxy / (n - 1)
            continue
        if compat:
            if n == w:
                flat = math.sqrt(sxx / (n - 1)) <= QLIB_FLAT or math.sqrt(syy / (n - 1)) <= QLIB_FLAT
            else:
                flat = _flat_alone(x, j, w) or _flat_alone(y, j, w)
            flat = flat or sxx <= 0.0 or syy <= 0.0
        else:
            flat = sxx <= FLAT * FLAT * (sxx + n * mx * mx) or syy <= FLAT * FLAT * (syy + n * my * my)
        out[j] = np.nan if flat else max(-1.0, min(1.0, sxy / (math.sqrt(sxx) * math.sqrt(syy))))


@njit(
    "void(f8[::1], f8[::1], i8[::1], i8, i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])",
    nogil=True,
    cache=True,
)
def rolling_pair(x, y, starts, skip, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """All requested moments of two series; parameters as in :func:`..sums.rolling_sums`."""
    pad = 1
    for r in range(kinds.size):
        pad = max(pad, windows[r])
    most = longest(starts)
    levels = levels_for(pad)
    table = np.empty((levels, pad + most))
    sums = np.empty((5 * kinds.size, most))
    counts = np.empty(most + 1, dtype=np.int64)
    ones = np.ones(most)
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        n = end - begin
        xs, ys, one = x[begin:end], y[begin:end], ones[:n]
        counts[0] = 0
        for j in range(n):
            counts[j + 1] = counts[j] + (1 if math.isfinite(xs[j]) and math.isfinite(ys[j]) else 0)
        # One table serves the five products in turn, so that it stays in the cache.
        for product in range(5):
            a = ys if product == 1 or product == 3 else xs
            b = one if product < 2 else xs if product == 2 else ys
            _fill(table, a, b, xs, ys, pad, n)
            double_sums(table, levels, pad, n)
            for r in range(kinds.size):
                window_sum(table, windows[r], pad, n, sums[5 * r + product])
        for r in range(kinds.size):
            block = sums[5 * r : 5 * r + 5]
            _emit(kinds[r], xs, ys, windows[r], least[r], compat, counts, block, out[r, begin:end], skip)
