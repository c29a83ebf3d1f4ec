"""The newest value of each history alone: what the other kernels give in their last cell, in the very same order.

A sum over a window is put together from the powers of two in its length, each of them by halves
(:mod:`aiquant.features.kernels.tables`). For one cell no table is needed: the same additions are done on the values of
the window, and what follows on the sums is the same function as there.

Parameters that all share: ``x`` float64, histories end to end; ``starts`` int64, (histories + 1,); ``kinds``,
``windows``, ``least`` int64, one a request, equal windows together; ``out`` float64, (requests, histories).
"""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels import lines, pair, sums
from aiquant.features.kernels.tables import clean, count_up, inner, kernel, longest

_plain, _spread = sums._plain, sums._spread
_line, _weighted, _places = lines._line, lines._weighted, lines._places
_emit = pair._emit
COUNT, VAR = sums.COUNT, sums.VAR
WMA = lines.WMA


@inner
def _by_halves(v, first, count, half):  # type: ignore[no-untyped-def]
    """Sum of ``count`` values (a power of two) from ``first`` on, newer plus older halves; ``half`` is room for it."""
    if count == 1:
        return v[first]
    count >>= 1
    for i in range(count):
        half[i] = v[first + 2 * i + 1] + v[first + 2 * i]
    while count > 1:
        count >>= 1
        for i in range(count):
            half[i] = half[2 * i + 1] + half[2 * i]
    return half[0]


@inner
def _window_sum(v, w, half):  # type: ignore[no-untyped-def]
    """Sum of the ``w`` newest of ``v``; as :func:`aiquant.features.kernels.tables.window_sum`."""
    end = v.size
    total = 0.0
    first = True
    h = 1
    while h <= w:
        if w & h:
            part = _by_halves(v, end - h, h, half)
            total = part if first else total + part
            first = False
            end -= h
        h <<= 1
    return total


@inner
def _window_ages(v, w, half, aged):  # type: ignore[no-untyped-def]
    """Σ age · value of the ``w`` newest of ``v``; as :func:`aiquant.features.kernels.lines._window_ages`."""
    total = 0.0
    offset = 0
    h = 1
    while h <= w:
        if w & h:
            first = v.size - offset - h
            for i in range(h):
                half[i] = v[first + i]
                aged[i] = 0.0
            count, back = h, 1.0
            while count > 1:
                count >>= 1
                for i in range(count):
                    aged[i] = aged[2 * i + 1] + (aged[2 * i] + back * half[2 * i])
                    half[i] = half[2 * i + 1] + half[2 * i]
                back *= 2.0
            total = total + (aged[0] + float(offset) * half[0])
            offset += h
        h <<= 1
    return total


@inner
def _widest(windows):  # type: ignore[no-untyped-def]
    widest = 1
    for r in range(windows.size):
        widest = max(widest, windows[r])
    return widest


@kernel("void(f8[::1], i8[::1], i8[::1], i8[::1], i8[::1], f8[:, ::1])")
def newest_sums(x, starts, kinds, windows, least, out):  # type: ignore[no-untyped-def]
    """As :func:`aiquant.features.kernels.sums.rolling_sums`."""
    pad = _widest(windows)
    room = pad + longest(starts)
    values, squares, half = np.empty(room), np.empty(room), np.empty(room)
    counts = np.empty(room + 1)
    s1, s2, cell = np.empty(room), np.empty(room), np.empty(room)
    for s in range(starts.size - 1):
        xs = x[starts[s] : starts[s + 1]]
        n = xs.size
        last = n - 1
        clean(xs, values, pad)
        count_up(xs, counts, pad)
        squared = False
        ready = 0
        for r in range(kinds.size):
            w = windows[r]
            if w != ready:
                s1[last] = _window_sum(values[: pad + n], w, half)
                ready, squared = w, False
            c = counts[pad + 1 - w :]
            if kinds[r] <= COUNT:
                _plain(kinds[r], w, least[r], c, s1, cell[:n], last)
            else:
                if not squared:
                    for j in range(pad + n - w, pad + n):
                        squares[j] = values[j] * values[j]
                    s2[last] = _window_sum(squares[: pad + n], w, half)
                    squared = True
                _spread(kinds[r], xs, w, least[r], c, s1, s2, cell[:n], last)
            out[r, s] = cell[last]


@kernel("void(f8[::1], i8[::1], i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])")
def newest_lines(x, starts, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """As :func:`aiquant.features.kernels.lines.rolling_lines`."""
    pad = _widest(windows)
    room = pad + longest(starts)
    values, squares, half, aged = np.empty(room), np.empty(room), np.empty(room), np.empty(room)
    counts = np.empty(room + 1)
    p1, p2 = np.empty(room + 1, dtype=np.int64), np.empty(room + 1, dtype=np.int64)
    s1, s2, ages, cell = np.empty(room), np.empty(room), np.empty(room), np.empty(room)
    for s in range(starts.size - 1):
        xs = x[starts[s] : starts[s + 1]]
        n = xs.size
        last = n - 1
        clean(xs, values, pad)
        count_up(xs, counts, pad)
        _places(xs, p1, p2, pad)
        for j in range(pad + n):
            squares[j] = values[j] * values[j]
        ready = 0
        for r in range(kinds.size):
            w = windows[r]
            if w != ready:
                s1[last] = _window_sum(values[: pad + n], w, half)
                s2[last] = _window_sum(squares[: pad + n], w, half)
                ages[last] = _window_ages(values[: pad + n], w, half, aged)
                ready = w
            c, k1, k2 = counts[pad + 1 - w :], p1[pad + 1 - w :], p2[pad + 1 - w :]
            if kinds[r] == WMA:
                _weighted(w, least[r], compat, c, k1, s1, ages, cell[:n], last)
            else:
                _line(kinds[r], xs, w, least[r], compat, c, k1, k2, s1, s2, ages, cell[:n], last)
            out[r, s] = cell[last]


@kernel("void(f8[::1], i8[::1], f8, i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])")
def newest_maxima(x, starts, sign, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """As :func:`aiquant.features.kernels.extrema.rolling_maxima`; ``windows`` in ascending order."""
    for s in range(starts.size - 1):
        xs = x[starts[s] : starts[s + 1]]
        last = xs.size - 1
        best, place, valid, gap, j = -np.inf, -1, 0, -1, last + 1
        for r in range(kinds.size):
            head = max(0, last + 1 - windows[r])
            while j > head:  # the older one wins a tie
                j -= 1
                if math.isfinite(xs[j]):
                    valid += 1
                    if sign * xs[j] >= best:
                        best, place = sign * xs[j], j
                else:
                    gap = j
            if valid < max(least[r], 1):
                out[r, s] = np.nan
            elif kinds[r] == 0:
                out[r, s] = sign * best
            elif compat and gap >= head:
                out[r, s] = gap - head + 1
            else:
                out[r, s] = place - head + 1


@kernel("void(f8[::1], f8[::1], i8[::1], i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])")
def newest_pair(x, y, starts, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """As :func:`aiquant.features.kernels.pair.rolling_pair`."""
    pad = _widest(windows)
    room = pad + longest(starts)
    products, half = np.zeros((5, room)), np.empty(room)
    counts = np.zeros(room + 1)
    block, cell = np.empty((5, room)), np.empty(room)
    for s in range(starts.size - 1):
        xs, ys = x[starts[s] : starts[s + 1]], y[starts[s] : starts[s + 1]]
        n = xs.size
        last = n - 1
        for j in range(n):
            there = math.isfinite(xs[j]) and math.isfinite(ys[j])
            a, b = (xs[j], ys[j]) if there else (0.0, 0.0)
            counts[pad + j + 1] = counts[pad + j] + (1.0 if there else 0.0)
            products[0, pad + j] = a
            products[1, pad + j] = b
            products[2, pad + j] = a * a
            products[3, pad + j] = b * b
            products[4, pad + j] = a * b
        ready = 0
        for r in range(kinds.size):
            w = windows[r]
            if w != ready:
                for product in range(5):
                    block[product, last] = _window_sum(products[product, : pad + n], w, half)
                ready = w
            _emit(kinds[r], xs, ys, w, least[r], compat, counts[pad + 1 - w :], block, cell[:n], last)
            out[r, s] = cell[last]
