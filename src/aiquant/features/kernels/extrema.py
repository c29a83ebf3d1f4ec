"""Largest values of windows and where they stand: one pass for all windows of a series."""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.tables import inner, count_up, levels_for, longest, kernel

KINDS = {"Max": 0, "IdxMax": 1, "Min": 0, "IdxMin": 1}
"""Numbers by which :func:`rolling_maxima` knows what is asked for; minima are maxima of the series turned over."""


@inner
def _larger(out, newer, older):  # type: ignore[no-untyped-def]
    for j in range(out.size):
        out[j] = older[j] if older[j] >= newer[j] else newer[j]


@inner
def _larger_place(out, place, newer, older, newer_place, older_place):  # type: ignore[no-untyped-def]
    # The older one wins a tie: the first of equals, as numpy's argmax.
    for j in range(out.size):
        first = older[j] >= newer[j]
        out[j] = older[j] if first else newer[j]
        place[j] = older_place[j] if first else newer_place[j]


@inner
def _tables(tops, places, levels, pad, n, with_places):  # type: ignore[no-untyped-def]
    """Row l becomes the largest of the newest 2**l values (and its place)."""
    for level in range(1, levels):
        h = 1 << (level - 1)
        new, old = slice(h, pad + n), slice(0, pad + n - h)
        if with_places:
            _larger_place(
                tops[level, new],
                places[level, new],
                tops[level - 1, new],
                tops[level - 1, old],
                places[level - 1, new],
                places[level - 1, old],
            )
        else:
            _larger(tops[level, new], tops[level - 1, new], tops[level - 1, old])
        for j in range(h):
            tops[level, j] = -np.inf
            places[level if with_places else 0, j] = -1.0


@kernel("void(f8[::1], i8[::1], i8, f8, i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])")
def rolling_maxima(x, starts, skip, sign, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """All requested maxima (``sign`` 1) or minima (``sign`` −1) of one series, and their places.

    Parameters as in :func:`aiquant.features.kernels.sums.rolling_sums`. A place counts from the oldest slot of
    the window (1); at the head of a history the window begins with the history. Two windows of h slots that overlap
    make one of up to 2h, so each window takes one comparison a slot.
    """
    pad = 1
    with_places = False
    for r in range(kinds.size):
        pad = max(pad, windows[r])
        with_places = with_places or kinds[r] == 1
    most = longest(starts)
    levels = levels_for(pad)
    tops = np.empty((levels, pad + most))
    places = np.empty((levels if with_places else 1, pad + most))
    counts = np.empty(pad + most + 1)
    next_gap = np.empty(most if compat and with_places else 1, dtype=np.int64)
    best, where = np.empty(most), np.empty(most)
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        n = end - begin
        xs = x[begin:end]
        for j in range(pad):
            tops[0, j] = -np.inf
            places[0, j] = -1.0
        for j in range(n):
            tops[0, pad + j] = sign * xs[j] if math.isfinite(xs[j]) else -np.inf
            places[0, pad + j] = j
        count_up(xs, counts, pad)
        if compat and with_places:
            gap = n
            for j in range(n - 1, -1, -1):
                gap = gap if math.isfinite(xs[j]) else j
                next_gap[j] = gap
        _tables(tops, places, levels, pad, n, with_places)
        ready = 0
        for r in range(kinds.size):
            w = windows[r]
            if w != ready:
                level = levels_for(w) - 1
                new = slice(pad, pad + n)
                old = slice(pad - w + (1 << level), pad - w + (1 << level) + n)
                if with_places:
                    _larger_place(
                        best[:n], where[:n], tops[level, new], tops[level, old], places[level, new], places[level, old]
                    )
                else:
                    _larger(best[:n], tops[level, new], tops[level, old])
                ready = w
            row, c = out[r, begin:end], counts[pad + 1 - w :]
            fewest = max(least[r], 1)
            if kinds[r] == 0:
                for j in range(skip, n):
                    row[j] = sign * best[j] if c[j + w] - c[j] >= fewest else np.nan
                continue
            for j in range(skip, n):
                row[j] = where[j] - max(0, j + 1 - w) + 1.0 if c[j + w] - c[j] >= fewest else np.nan
            if compat:
                for j in range(skip, n):
                    head = max(0, j + 1 - w)
                    if next_gap[head] <= j and c[j + w] - c[j] >= fewest:
                        row[j] = next_gap[head] - head + 1
