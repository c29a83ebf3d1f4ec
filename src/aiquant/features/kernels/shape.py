"""Skewness, kurtosis, mean absolute deviation and product: computed from the values of each window."""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.tables import inner, FLAT, kernel

KINDS = {"Skew": 0, "Kurt": 1, "Mad": 2, "Product": 3}
"""Numbers by which :func:`rolling_shape` knows what is asked for."""


@inner
def _one(kind, x, first, last, least):  # type: ignore[no-untyped-def]
    n = 0
    total, product = 0.0, 1.0
    for j in range(last, first - 1, -1):
        if math.isfinite(x[j]):
            n += 1
            total += x[j]
            product *= x[j]
    if n < max(least, 3 if kind == 0 else 4 if kind == 1 else 1):
        return np.nan
    if kind == 3:
        return product
    mean = total / n
    m1 = m2 = m3 = m4 = 0.0
    for j in range(last, first - 1, -1):
        if math.isfinite(x[j]):
            d = x[j] - mean
            m1 += abs(d)
            m2 += d * d
            m3 += d * d * d
            m4 += d * d * d * d
    if kind == 2:
        return m1 / n
    if math.sqrt(m2 / n) <= FLAT * math.sqrt(mean * mean + m2 / n):
        return np.nan
    if kind == 0:
        return n * math.sqrt(n - 1.0) / (n - 2.0) * m3 / (m2 * math.sqrt(m2))
    spread = m2 / (n - 1.0)
    scale = n * (n + 1.0) / ((n - 1.0) * (n - 2.0) * (n - 3.0))
    return scale * m4 / (spread * spread) - 3.0 * (n - 1.0) * (n - 1.0) / ((n - 2.0) * (n - 3.0))


@kernel("void(f8[::1], i8[::1], i8, i8[::1], i8[::1], i8[::1], f8[:, ::1])")
def rolling_shape(x, starts, skip, kinds, windows, least, out):  # type: ignore[no-untyped-def]
    """All requested shapes of one series; parameters as in :func:`..sums.rolling_sums`.

    Skewness and kurtosis are pandas' (bias-corrected: Joanes and Gill, 1998, G1 and G2); NaN in a flat window.
    """
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        xs = x[begin:end]
        for r in range(kinds.size):
            for j in range(skip, end - begin):
                out[r, begin + j] = _one(kinds[r], xs, max(0, j + 1 - windows[r]), j, least[r])
