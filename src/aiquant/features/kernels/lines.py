"""Straight lines through windows, and means with falling weights: one pass for all windows of a series."""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.tables import (
    CANCELLED,
    FLAT,
    QLIB_FLAT,
    add_aged,
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

KINDS = {"Slope": 0, "Rsquare": 1, "Resi": 2, "WMA": 3}
"""Numbers by which :func:`rolling_lines` knows what is asked for."""

SLOPE, RSQUARE, RESI, WMA = range(4)


@inner
def _age_tables(ages, sums, levels, pad, n):  # type: ignore[no-untyped-def]
    """Row l of ``ages`` becomes Σ age · value over the newest 2**l values; today's age is 0."""
    ages[0, : pad + n] = 0.0
    for level in range(1, levels):
        h = 1 << (level - 1)
        older = slice(0, pad + n - h)
        newer = slice(h, pad + n)
        add_aged(ages[level, newer], ages[level - 1, newer], ages[level - 1, older], sums[level - 1, older], float(h))
        for j in range(h):
            ages[level, j] = 0.0


@inner
def _window_ages(ages, sums, w, pad, n, out):  # type: ignore[no-untyped-def]
    """``out[j]`` becomes Σ age · value over the ``w`` newest values at j."""
    offset = 0
    level = 0
    for j in range(n):
        out[j] = 0.0
    while (1 << level) <= w:
        h = 1 << level
        if w & h:
            part = slice(pad - offset, pad - offset + n)
            add_aged(out[:n], out[:n], ages[level, part], sums[level, part], float(offset))
            offset += h
        level += 1


@inner
def _places(x, p1, p2, pad):  # type: ignore[no-untyped-def]
    """Running Σ k and Σ k² over the slots k that hold a value, behind ``pad`` zeros; whole numbers, so exact."""
    for k in range(pad + 1):
        p1[k] = 0
        p2[k] = 0
    for k in range(x.size):
        there = 1 if math.isfinite(x[k]) else 0
        p1[pad + k + 1] = p1[pad + k] + there * k
        p2[pad + k + 1] = p2[pad + k] + there * k * k


@inner
def _line(x, w, least, compat, c, p1, p2, s1, s2, ages, slopes, squares, rests, skip):  # type: ignore[no-untyped-def]
    """Slope, R² and today's residual of the least-squares line through each window.

    ``c``, ``p1`` and ``p2`` end at the newest slot and begin so that the window's own share is their difference over
    ``w`` places.
    """
    fewest = max(least, 2)
    flat = QLIB_FLAT * QLIB_FLAT if compat else 0.0
    unsure = 0
    for j in range(skip, slopes.size):
        valid = c[j + w] - c[j]
        age = float(j)
        d1, d2 = float(p1[j + w] - p1[j]), float(p2[j + w] - p2[j])
        a1 = valid * age - d1
        a2 = valid * age * age - 2.0 * age * d1 + d2
        share = 1.0 / valid
        mean_age = a1 * share
        sxx = a2 - a1 * mean_age
        level = s1[j] * share
        sxy = mean_age * s1[j] - ages[j]
        syy = s2[j] - s1[j] * level
        slope = sxy / sxx
        enough = valid >= fewest
        sure = enough & (syy > CANCELLED * s2[j])
        moves = sure & (syy > flat * (valid - 1.0))
        slopes[j] = slope if sure else np.nan
        rests[j] = x[j] - (level + slope * mean_age) if sure else np.nan
        squares[j] = min(1.0, slope * sxy / syy) if moves else np.nan
        unsure += enough & (not moves)
    if not unsure:
        return
    for j in range(skip, slopes.size):
        if c[j + w] - c[j] >= fewest and (math.isnan(slopes[j]) or math.isnan(squares[j])):
            slope, square, rest = _line_again(x, j, w, compat)
            squares[j] = square
            if math.isnan(slopes[j]):
                slopes[j], rests[j] = slope, rest


@inner
def _line_again(x, j, w, compat):  # type: ignore[no-untyped-def]
    """One window of :func:`_line` from its own values."""
    n, level, syy, sxx, sxy, place = line_through(x, j, w)
    slope = sxy / sxx
    flat = QLIB_FLAT if compat else FLAT * math.sqrt(level * level + syy / n)
    square = np.nan if math.sqrt(syy / (n - 1)) <= flat else min(1.0, slope * sxy / syy)
    return slope, square, x[j] - (level - slope * place)


@inner
def _weighted(w, least, compat, c, p1, s1, ages, out, skip):  # type: ignore[no-untyped-def]
    """Mean with weights that fall by one a slot from the newest; Qlib's weights and division when ``compat``."""
    for j in range(skip, out.size):
        valid = c[j + w] - c[j]
        if valid < max(least, 1):
            out[j] = np.nan
        elif compat:
            have = min(w, j + 1)
            out[j] = ((have - 1) * s1[j] - ages[j]) / (have * (have - 1) / 2.0) / valid
        else:
            out[j] = (w * s1[j] - ages[j]) / (w * valid - (valid * j - (p1[j + w] - p1[j])))


@kernel("void(f8[::1], i8[::1], i8, i8[::1], i8[::1], i8[::1], b1, f8[:, ::1])")
def rolling_lines(x, starts, skip, kinds, windows, least, compat, out):  # type: ignore[no-untyped-def]
    """All requested lines of one series.

    Parameters
    ----------
    x, starts, skip, kinds, windows, least, out
        As in :func:`aiquant.features.kernels.sums.rolling_sums`.
    compat
        Qlib's behaviour.
    """
    pad = 1
    for r in range(kinds.size):
        pad = max(pad, windows[r])
    most = longest(starts)
    levels = levels_for(pad)
    sums = np.empty((levels, pad + most))
    square_sums = np.empty((levels, pad + most))
    age_sums = np.empty((levels, pad + most))
    counts = np.empty(pad + most + 1)
    p1, p2 = np.empty(pad + most + 1, dtype=np.int64), np.empty(pad + most + 1, dtype=np.int64)
    s1, s2, ages = np.empty(most), np.empty(most), np.empty(most)
    unasked = np.empty((3, most))
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        n = end - begin
        xs = x[begin:end]
        clean(xs, sums[0], pad)
        count_up(xs, counts, pad)
        _places(xs, p1, p2, pad)
        for j in range(pad + n):
            square_sums[0, j] = sums[0, j] * sums[0, j]
        double_sums(square_sums, levels, pad, n)
        double_sums(sums, levels, pad, n)
        _age_tables(age_sums, sums, levels, pad, n)
        ready = 0
        for r in range(kinds.size):
            w = windows[r]
            if w != ready:
                window_sum(sums, w, pad, n, s1)
                window_sum(square_sums, w, pad, n, s2)
                _window_ages(age_sums, sums, w, pad, n, ages)
                ready = w
                c, k1, k2 = counts[pad + 1 - w :], p1[pad + 1 - w :], p2[pad + 1 - w :]
                slopes, squares, rests = unasked[0, :n], unasked[1, :n], unasked[2, :n]
                lined = False
                for same in range(r, kinds.size):
                    if windows[same] != w:
                        break
                    row = out[same, begin:end]
                    if kinds[same] == WMA:
                        _weighted(w, least[same], compat, c, k1, s1, ages, row, skip)
                        continue
                    lined = True
                    if kinds[same] == SLOPE:
                        slopes = row
                    elif kinds[same] == RSQUARE:
                        squares = row
                    else:
                        rests = row
                if lined:
                    _line(xs, w, least[r], compat, c, k1, k2, s1, s2, ages, slopes, squares, rests, skip)
