"""The newest value of each symbol alone: what the other kernels give in their last cell, in the very same order.

A sum over a window is put together from the powers of two in its length, each of them by halves
(:mod:`aiquant.features.kernels.tables`). For one cell no table is needed: the same additions are done on the slots of
the window, for a block of symbols at a time, and what follows on the sums is the same function as there.

Parameters that all share: ``x`` float64, (slots, symbols), the newest slot last, as many slots as the widest window;
``kinds``, ``windows``, ``least`` int64, one a request, windows ascending; ``out`` float64, (requests, symbols).
"""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels import lines, order, pair, sums
from aiquant.features.kernels.tables import inner, kernel

_plain, _spread, _line, _weighted, _emit = sums._plain, sums._spread, lines._line, lines._weighted, pair._emit
_below, _move_up, _quantile, _rank = order._below, order._move_up, order._quantile, order._rank
COUNT = sums.COUNT
SLOPE, RSQUARE, RESI, WMA = lines.SLOPE, lines.RSQUARE, lines.RESI, lines.WMA

BLOCK = 64
"""Symbols that are added up side by side; a window of 60 slots of so many lies in the processor's nearest cache."""


@inner
def _load(x, first, raw, clean):  # type: ignore[no-untyped-def]
    """Symbols from ``first`` on: as they are (NaN behind the last one), and with 0 for what is not finite."""
    width = min(BLOCK, x.shape[1] - first)
    for k in range(x.shape[0]):
        for j in range(width):
            v = x[k, first + j]
            raw[k, j] = v
            clean[k, j] = v if math.isfinite(v) else 0.0
        for j in range(width, BLOCK):
            raw[k, j] = np.nan
            clean[k, j] = 0.0
    return width


@inner
def _multiply(a, b, out):  # type: ignore[no-untyped-def]
    for k in range(a.shape[0]):
        for j in range(BLOCK):
            out[k, j] = a[k, j] * b[k, j]


@inner
def _window_sum(v, w, half, out):  # type: ignore[no-untyped-def]
    """Sum of the ``w`` newest rows of ``v``; as :func:`aiquant.features.kernels.tables.window_sum`."""
    end = v.shape[0]
    begun = False
    h = 1
    while h <= w:
        if w & h:
            first = end - h
            count = h >> 1
            for i in range(count):
                for j in range(BLOCK):
                    half[i, j] = v[first + 2 * i + 1, j] + v[first + 2 * i, j]
            while count > 1:
                count >>= 1
                for i in range(count):
                    for j in range(BLOCK):
                        half[i, j] = half[2 * i + 1, j] + half[2 * i, j]
            for j in range(BLOCK):
                part = half[0, j] if h > 1 else v[first, j]
                out[j] = out[j] + part if begun else part
            begun = True
            end -= h
        h <<= 1


@inner
def _window_ages(v, w, half, aged, out):  # type: ignore[no-untyped-def]
    """Σ age · value of the ``w`` newest rows; as :func:`aiquant.features.kernels.lines._window_ages`."""
    for j in range(BLOCK):
        out[j] = 0.0
    offset = 0
    h = 1
    while h <= w:
        if w & h:
            first = v.shape[0] - offset - h
            for i in range(h):
                for j in range(BLOCK):
                    half[i, j] = v[first + i, j]
                    aged[i, j] = 0.0
            count, back = h, 1.0
            while count > 1:
                count >>= 1
                for i in range(count):
                    for j in range(BLOCK):
                        aged[i, j] = aged[2 * i + 1, j] + (aged[2 * i, j] + back * half[2 * i, j])
                        half[i, j] = half[2 * i + 1, j] + half[2 * i, j]
                back *= 2.0
            for j in range(BLOCK):
                out[j] = out[j] + (aged[0, j] + float(offset) * half[0, j])
            offset += h
        h <<= 1


@inner
def _count(raw, windows, valid):  # type: ignore[no-untyped-def]
    """How many values each window holds; ``windows`` ascending."""
    ready = 0
    for r in range(windows.size):
        for j in range(BLOCK):
            valid[r, j] = valid[r - 1, j] if r else 0.0
        for k in range(raw.shape[0] - windows[r], raw.shape[0] - ready):
            for j in range(BLOCK):
                valid[r, j] += 1.0 if math.isfinite(raw[k, j]) else 0.0
        ready = windows[r]


@inner
def _places(raw, windows, p1, p2):  # type: ignore[no-untyped-def]
    """The sum of the places, and of their squares, of the values in each window; ``windows`` ascending."""
    ready = 0
    for r in range(windows.size):
        for j in range(BLOCK):
            p1[r, j] = p1[r - 1, j] if r else 0
            p2[r, j] = p2[r - 1, j] if r else 0
        for k in range(raw.shape[0] - windows[r], raw.shape[0] - ready):
            for j in range(BLOCK):
                there = 1 if math.isfinite(raw[k, j]) else 0
                p1[r, j] += there * k
                p2[r, j] += there * k * k
        ready = windows[r]


@inner
def _own(raw, j, out):  # type: ignore[no-untyped-def]
    for k in range(raw.shape[0]):
        out[k] = raw[k, j]


@kernel("void(f8[:, ::1], i8[::1], i8[::1], i8[::1], f8[:, ::1])")
def newest_sums(x, kinds, windows, least, out):  # type: ignore[no-untyped-def]
    """As :func:`aiquant.features.kernels.sums.rolling_sums`."""
    depth = x.shape[0]
    last = depth - 1
    raw, clean, squares = np.empty((depth, BLOCK)), np.empty((depth, BLOCK)), np.empty((depth, BLOCK))
    half = np.empty((depth, BLOCK))
    sum1, sum2 = np.empty((kinds.size, BLOCK)), np.empty((kinds.size, BLOCK))
    valid, beside = np.empty((kinds.size, BLOCK)), np.zeros(2 * BLOCK)
    own, cell, s1, s2, c = np.empty(depth), np.empty(depth), np.zeros(depth), np.zeros(depth), np.zeros(2 * depth)
    squared = False
    for r in range(kinds.size):
        squared = squared or kinds[r] > COUNT
    for first in range(0, x.shape[1], BLOCK):
        width = _load(x, first, raw, clean)
        if squared:
            _multiply(clean, clean, squares)
        _count(raw, windows, valid)
        for r in range(kinds.size):
            if r and windows[r] == windows[r - 1]:
                sum1[r], sum2[r] = sum1[r - 1], sum2[r - 1]
                continue
            _window_sum(clean, windows[r], half, sum1[r])
            if squared:
                _window_sum(squares, windows[r], half, sum2[r])
        for r in range(kinds.size):
            if kinds[r] <= COUNT:  # of the window it reads the count alone: symbols stand in the place of slots
                beside[BLOCK:] = valid[r]
                _plain(kinds[r], BLOCK, least[r], beside, sum1[r], out[r, first : first + width], 0)
        if not squared:
            continue
        for j in range(width):
            _own(raw, j, own)
            for r in range(kinds.size):
                if kinds[r] > COUNT:
                    c[last + windows[r]], s1[last], s2[last] = valid[r, j], sum1[r, j], sum2[r, j]
                    _spread(kinds[r], own, windows[r], least[r], c, s1, s2, cell, last)
                    out[r, first + j] = cell[last]


@kernel("void(f8[:, ::1], i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])")
def newest_lines(x, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """As :func:`aiquant.features.kernels.lines.rolling_lines`."""
    depth = x.shape[0]
    last = depth - 1
    raw, clean, squares = np.empty((depth, BLOCK)), np.empty((depth, BLOCK)), np.empty((depth, BLOCK))
    half, aged = np.empty((depth, BLOCK)), np.empty((depth, BLOCK))
    count = kinds.size
    sum1, sum2, ages = np.empty((count, BLOCK)), np.empty((count, BLOCK)), np.empty((count, BLOCK))
    valid, p1, p2 = np.empty((count, BLOCK)), np.empty((count, BLOCK), np.int64), np.empty((count, BLOCK), np.int64)
    own, line = np.empty(depth), np.empty((4, depth))
    s1, s2, a = np.zeros(depth), np.zeros(depth), np.zeros(depth)
    c, k1, k2 = np.zeros(2 * depth), np.zeros(2 * depth, np.int64), np.zeros(2 * depth, np.int64)
    for first in range(0, x.shape[1], BLOCK):
        width = _load(x, first, raw, clean)
        _multiply(clean, clean, squares)
        _count(raw, windows, valid)
        _places(raw, windows, p1, p2)
        for r in range(count):
            if r and windows[r] == windows[r - 1]:
                sum1[r], sum2[r], ages[r] = sum1[r - 1], sum2[r - 1], ages[r - 1]
                continue
            _window_sum(clean, windows[r], half, sum1[r])
            _window_sum(squares, windows[r], half, sum2[r])
            _window_ages(clean, windows[r], half, aged, ages[r])
        for j in range(width):
            _own(raw, j, own)
            lined = 0
            for r in range(count):
                w = windows[r]
                c[last + w], k1[last + w], k2[last + w] = valid[r, j], p1[r, j], p2[r, j]
                s1[last], s2[last], a[last] = sum1[r, j], sum2[r, j], ages[r, j]
                if kinds[r] == WMA:
                    _weighted(w, least[r], compat, c, k1, s1, a, line[WMA], last)
                elif w != lined:  # all three at once
                    _line(own, w, least[r], compat, c, k1, k2, s1, s2, a, line[SLOPE], line[RSQUARE], line[RESI], last)
                    lined = w
                out[r, first + j] = line[kinds[r], last]


@kernel("void(f8[:, ::1], i8[::1], f8, i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])")
def newest_maxima(x, seen, sign, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """As :func:`aiquant.features.kernels.extrema.rolling_maxima`; ``seen`` is the length of each symbol's history."""
    depth = x.shape[0]
    for s in range(x.shape[1]):
        best, place, valid, gap, j = -np.inf, -1, 0, -1, depth
        for r in range(kinds.size):
            head = depth - min(windows[r], seen[s])
            while j > head:  # the older one wins a tie
                j -= 1
                v = x[j, s]
                if math.isfinite(v):
                    valid += 1
                    if sign * v >= best:
                        best, place = sign * v, j
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


@kernel("void(f8[:, ::1], f8[::1], i8[::1], i8[::1], f8[:, ::1])")
def newest_order(x, quantiles, windows, least, out):  # type: ignore[no-untyped-def]
    """As :func:`aiquant.features.kernels.order.rolling_order`; each window is sorted into the next wider one."""
    depth = x.shape[0]
    held = np.empty(depth + 1)
    for s in range(x.shape[1]):
        today = x[depth - 1, s]
        n, j = 0, depth
        for r in range(quantiles.size):
            while j > depth - windows[r]:
                j -= 1
                v = x[j, s]
                if math.isfinite(v):
                    v += 0.0  # no −0, as there
                    at = _below(held, n, v)
                    _move_up(held, at, n)
                    held[at] = v
                    n += 1
            if n < max(least[r], 1):
                out[r, s] = np.nan
            elif quantiles[r] < 0.0:
                out[r, s] = _rank(held, n, today, _below(held, n, today))
            else:
                out[r, s] = _quantile(held, 0, n, quantiles[r])


@kernel("void(f8[:, ::1], f8[:, ::1], i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])")
def newest_pair(x, y, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """As :func:`aiquant.features.kernels.pair.rolling_pair`."""
    depth = x.shape[0]
    last = depth - 1
    raw_x, raw_y = np.empty((depth, BLOCK)), np.empty((depth, BLOCK))
    a, b, product = np.empty((depth, BLOCK)), np.empty((depth, BLOCK)), np.empty((depth, BLOCK))
    half, both = np.empty((depth, BLOCK)), np.empty((depth, BLOCK))
    moments = np.empty((kinds.size, 5, BLOCK))
    valid, c = np.empty((kinds.size, BLOCK)), np.zeros(2 * depth)
    own_x, own_y, cell, block = np.empty(depth), np.empty(depth), np.empty(depth), np.zeros((5, depth))
    for first in range(0, x.shape[1], BLOCK):
        width = _load(x, first, raw_x, a)
        _load(y, first, raw_y, b)
        for k in range(depth):
            for j in range(BLOCK):
                there = math.isfinite(raw_x[k, j]) and math.isfinite(raw_y[k, j])
                both[k, j] = 1.0 if there else np.nan
                a[k, j] = a[k, j] if there else 0.0
                b[k, j] = b[k, j] if there else 0.0
        for m in range(5):
            if m == 2:
                _multiply(a, a, product)
            elif m == 3:
                _multiply(b, b, product)
            elif m == 4:
                _multiply(a, b, product)
            for r in range(kinds.size):
                source = a if m == 0 else b if m == 1 else product
                if r and windows[r] == windows[r - 1]:
                    moments[r, m] = moments[r - 1, m]
                else:
                    _window_sum(source, windows[r], half, moments[r, m])
        _count(both, windows, valid)
        for j in range(width):
            _own(raw_x, j, own_x)
            _own(raw_y, j, own_y)
            for r in range(kinds.size):
                c[last + windows[r]] = valid[r, j]
                for m in range(5):
                    block[m, last] = moments[r, m, j]
                _emit(kinds[r], own_x, own_y, windows[r], least[r], compat, c, block, cell, last)
                out[r, first + j] = cell[last]
