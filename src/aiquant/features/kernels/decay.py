"""Exponential means with a finite memory: weights q**age up to the length at which the rest no longer counts."""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.tables import inner, levels_for, longest, kernel


@inner
def _scaled(out, a, b, weight):  # type: ignore[no-untyped-def]
    for j in range(out.size):
        out[j] = a[j] + weight * b[j]


@inner
def _decayed(table, q, length, levels, pad, n, out):  # type: ignore[no-untyped-def]
    """``out[j]`` becomes Σ q**age · value over the ``length`` newest values; row 0 of ``table`` is given."""
    for level in range(1, levels):
        h = 1 << (level - 1)
        new, old = slice(h, pad + n), slice(0, pad + n - h)
        _scaled(table[level, new], table[level - 1, new], table[level - 1, old], q**h)
        for j in range(h):
            table[level, j] = 0.0
    out[:n] = 0.0
    offset = 0
    level = 0
    while (1 << level) <= length:
        h = 1 << level
        if length & h:
            _scaled(out[:n], out[:n], table[level, pad - offset : pad - offset + n], q**offset)
            offset += h
        level += 1


@kernel("void(f8[::1], i8[::1], i8, f8[::1], i8[::1], f8[:, ::1])")
def rolling_decay(x, starts, skip, keep, lengths, out):  # type: ignore[no-untyped-def]
    """Exponential means of one series, as pandas' ``ewm(adjust=True, ignore_na=False)``, cut off after ``lengths``.

    Parameters
    ----------
    x, starts, skip, out
        As in :func:`aiquant.features.kernels.sums.rolling_sums`.
    keep
        float64, one per row of ``out``: the factor q by which a weight falls with each slot.
    lengths
        int64, one per row of ``out``: slots that are read.
    """
    pad = 1
    for r in range(keep.size):
        pad = max(pad, lengths[r])
    most = longest(starts)
    values = np.empty((levels_for(pad), pad + most))
    weights = np.empty((levels_for(pad), pad + most))
    total, weight = np.empty(most), np.empty(most)
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        n = end - begin
        for r in range(keep.size):
            for j in range(pad):
                values[0, j] = 0.0
                weights[0, j] = 0.0
            for j in range(n):
                there = math.isfinite(x[begin + j])
                values[0, pad + j] = x[begin + j] if there else 0.0
                weights[0, pad + j] = 1.0 if there else 0.0
            levels = levels_for(lengths[r])
            _decayed(values, keep[r], lengths[r], levels, pad, n, total)
            _decayed(weights, keep[r], lengths[r], levels, pad, n, weight)
            for j in range(skip, n):
                out[r, begin + j] = total[j] / weight[j] if weight[j] > 0.0 else np.nan
