"""Correlation and covariance of two series over windows; only slots where both have a value count."""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.tables import (
    inner,
    kernel,
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

CORR, COV = range(2)


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
def _both(x, y, a, b, c, pad):  # type: ignore[no-untyped-def]
    """``a`` and ``b`` become x and y, 0 where either has no value; ``c`` counts pairs, as :func:`..tables.count_up`."""
    for j in range(pad + 1):
        c[j] = 0.0
    pairs = 0
    for j in range(x.size):
        pairs += math.isfinite(x[j]) and math.isfinite(y[j])
        c[pad + j + 1] = pairs
    for j in range(x.size):
        there = math.isfinite(x[j]) & math.isfinite(y[j])
        a[j] = x[j] if there else 0.0
        b[j] = y[j] if there else 0.0


@inner
def _fill(row, a, b):  # type: ignore[no-untyped-def]
    for j in range(row.size):
        row[j] = a[j] * b[j]


@inner
def _emit(kind, x, y, w, least, compat, c, sums, out, skip):  # type: ignore[no-untyped-def]
    """Correlation or covariance of each window; ``c[j + w] - c[j]`` pairs are in the one that ends at j."""
    s_x, s_y, s_xx, s_yy, s_xy = sums[0], sums[1], sums[2], sums[3], sums[4]
    fewest = max(least, 2)
    unsure = 0
    for j in range(skip, out.size):
        n = c[j + w] - c[j]
        mx, my = s_x[j] / n, s_y[j] / n
        sxx = s_xx[j] - s_x[j] * mx
        syy = s_yy[j] - s_y[j] * my
        sxy = s_xy[j] - s_x[j] * my
        sure = (n >= fewest) & (sxx > CANCELLED * s_xx[j]) & (syy > CANCELLED * s_yy[j])
        value = sxy / (n - 1.0 if kind == COV else math.sqrt(sxx) * math.sqrt(syy))
        if kind == CORR:
            value = max(-1.0, min(1.0, value))
        out[j] = value if sure else np.nan
        unsure += (n >= fewest) & (not sure)
    if not unsure and not (compat and kind == CORR):
        return
    for j in range(skip, out.size):
        n = c[j + w] - c[j]
        if math.isnan(out[j]) and n >= fewest:
            out[j] = _emit_again(kind, x, y, j, w, n, compat)
        elif compat and kind == CORR and n >= fewest:
            # What a series adds outside of the pairs only widens it: beyond this the mask below cannot hold.
            wide = 1.001 * QLIB_FLAT * QLIB_FLAT * (w - 1.0) * n
            if s_xx[j] * n - s_x[j] * s_x[j] > wide and s_yy[j] * n - s_y[j] * s_y[j] > wide:
                continue
            if n == w:
                least_square = QLIB_FLAT * QLIB_FLAT * (n - 1.0)
                flat = s_xx[j] - s_x[j] * s_x[j] / n <= least_square or s_yy[j] - s_y[j] * s_y[j] / n <= least_square
            else:
                flat = _flat_alone(x, j, w) or _flat_alone(y, j, w)
            out[j] = np.nan if flat else out[j]


@inner
def _emit_again(kind, x, y, j, w, n, compat):  # type: ignore[no-untyped-def]
    """One window of :func:`_emit` from its own values."""
    sxx, syy, sxy, mx, my = _again(x, y, j, w)
    if kind == COV:
        return sxy / (n - 1.0)
    if compat:
        flat = sxx <= 0.0 or syy <= 0.0 or _flat_alone(x, j, w) or _flat_alone(y, j, w)
    else:
        flat = sxx <= FLAT * FLAT * (sxx + n * mx * mx) or syy <= FLAT * FLAT * (syy + n * my * my)
    return np.nan if flat else max(-1.0, min(1.0, sxy / (math.sqrt(sxx) * math.sqrt(syy))))


@kernel("void(f8[::1], f8[::1], i8[::1], i8, i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])")
def rolling_pair(x, y, starts, skip, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """All requested moments of two series; parameters as in :func:`..sums.rolling_sums`."""
    pad = 1
    for r in range(kinds.size):
        pad = max(pad, windows[r])
    most = longest(starts)
    levels = levels_for(pad)
    table = np.empty((levels, pad + most))
    sums = np.empty((5 * kinds.size, most))
    counts = np.empty(pad + most + 1)
    clean_x, clean_y, ones = np.empty(most), np.empty(most), np.ones(most)
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        n = end - begin
        xs, ys, one = x[begin:end], y[begin:end], ones[:n]
        own_x, own_y = clean_x[:n], clean_y[:n]
        _both(xs, ys, own_x, own_y, counts, pad)
        for j in range(pad):
            table[0, j] = 0.0
        # One table serves the five products in turn, so that it stays in the cache.
        for product in range(5):
            a = own_y if product == 1 or product == 3 else own_x
            b = one if product < 2 else own_x if product == 2 else own_y
            _fill(table[0, pad : pad + n], a, b)
            double_sums(table, levels, pad, n)
            for r in range(kinds.size):
                window_sum(table, windows[r], pad, n, sums[5 * r + product])
        for r in range(kinds.size):
            block = sums[5 * r : 5 * r + 5]
            c = counts[pad + 1 - windows[r] :]
            _emit(kinds[r], xs, ys, windows[r], least[r], compat, c, block, out[r, begin:end], skip)
