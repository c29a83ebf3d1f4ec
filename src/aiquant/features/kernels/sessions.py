"""Operators that know where sessions begin: compiled loops over symbols.

The layout is the package's. ``slot`` (int64, cells) places each cell on the time axis, ``first`` (int64, sessions + 1)
is the slot in which each session begins. What is summed begins with the session, so that a value depends on its session
alone, to the last bit.
"""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.tables import inner, kernel

KINDS = {
    "SessionFirst": 0,
    "SessionSum": 1,
    "SessionMean": 2,
    "SessionCount": 3,
    "SessionMax": 4,
    "SessionMin": 5,
    "SessionRatio": 6,
}
"""Numbers by which :func:`so_far` knows what is asked for."""

_FIRST, _SUM, _MEAN, _COUNT, _MAX, _MIN, _RATIO = range(7)


@inner
def _session_of(slot, first):  # type: ignore[no-untyped-def]
    return np.searchsorted(first, slot, side="right") - 1


@kernel("void(f8[::1], f8[::1], i8[::1], i8[::1], i8[::1], i8, f8[::1])")
def so_far(x, y, starts, slot, first, kind, out):  # type: ignore[no-untyped-def]
    """What the session came to up to each cell.

    Parameters
    ----------
    y
        The denominators of ``SessionRatio``, whose pairs need both; else ``x`` again.
    out
        float64, (cells,).
    """
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        if begin == end:
            continue
        session = _session_of(slot[begin], first)
        count, total, below, best = 0, 0.0, 0.0, np.nan
        for j in range(begin, end):
            if slot[j] >= first[session + 1]:
                session += 1
                count, total, below, best = 0, 0.0, 0.0, np.nan
            if math.isfinite(x[j]) and math.isfinite(y[j]):
                better = x[j] > best if kind == _MAX else x[j] < best
                if count == 0 or (kind != _FIRST and better):
                    best = x[j]
                count += 1
                total += x[j]
                below += y[j]
            if kind == _COUNT:
                out[j] = count
            elif count == 0:
                out[j] = np.nan
            elif kind == _SUM:
                out[j] = total
            elif kind == _MEAN:
                out[j] = total / count
            elif kind == _RATIO:
                out[j] = total / below if below != 0.0 else np.nan
            else:
                out[j] = best


@kernel("void(f8[::1], i8[::1], i8[::1], i8[::1], i8, f8[::1])")
def last_of_session(x, starts, slot, first, ago, out):  # type: ignore[no-untyped-def]
    """The last value of the session ``ago`` sessions before each cell's."""
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        if begin == end:
            continue
        base = _session_of(slot[begin], first)
        lasts = np.full(_session_of(slot[end - 1], first) - base + 1, np.nan)
        session = base
        for j in range(begin, end):
            if slot[j] >= first[session + 1]:
                session += 1
            if math.isfinite(x[j]):
                lasts[session - base] = x[j]
            out[j] = lasts[session - base - ago] if session - base >= ago else np.nan


@kernel("void(f8[::1], i8[::1], i8[::1], i8[::1], i8, f8[::1])")
def same_slot(x, starts, slot, first, ago, out):  # type: ignore[no-untyped-def]
    """The value as far from the open, ``ago`` sessions before; NaN where that session was too short."""
    for s in range(starts.size - 1):
        begin, end = starts[s], starts[s + 1]
        if begin == end:
            continue
        session = _session_of(slot[begin], first)
        for j in range(begin, end):
            if slot[j] >= first[session + 1]:
                session += 1
            out[j] = np.nan
            if session < ago:
                continue
            then = first[session - ago] + slot[j] - first[session]
            at = j - (slot[j] - then)
            if at >= begin and then < first[session - ago + 1]:
                out[j] = x[at]
