"""What the kernels share: masks, doubling tables and the re-computed window."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

_SOURCES = hashlib.sha256(
    b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
).hexdigest()


def kernel(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorator of a function that Python calls: compiled at once for ``signature``, cached on disk, without the GIL.

    Numba's own stamp of a cached function is the time of its file, so that a change in a function that it calls, here,
    would leave it as it was. The stamp set below is a digest of all kernels' sources.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher: Any = njit(nogil=True)(function)
        dispatcher.enable_caching()
        dispatcher._cache._cache_file._source_stamp = _SOURCES
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compiled


_INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy"}
inner = njit(**_INNER)
"""Decorator of functions that only kernels call; no door to Python, and x / 0 as in numpy: loops without branches."""

# Below this share of the raw second moment a centred one has lost too many digits and is computed again: 1e-6 leaves
# at least nine digits in float64, and what is kept is float32.
CANCELLED = 1e-6
# A window whose deviation is below this share of its size holds rounding noise, not movement.
FLAT = 1e-10
QLIB_FLAT = 2e-5  # absolute; qlib/data/ops.py: np.isclose(std, 0, atol=2e-5)


@inner
def clean(x, y, pad):  # type: ignore[no-untyped-def]
    """Copy ``x`` to ``y`` behind ``pad`` zeros, with 0 for what is not finite; return how many of those there are."""
    missing = 0
    for j in range(pad):
        y[j] = 0.0
    tail = y[pad:]
    for j in range(x.size):
        v = x[j]
        if math.isfinite(v):
            tail[j] = v
        else:
            tail[j] = 0.0
            missing += 1
    return missing


@inner
def count_up(x, c, pad):  # type: ignore[no-untyped-def]
    """``c[pad + j + 1] - c[pad + j + 1 - w]`` is the number of finite values among the ``w`` newest at slot j.

    Whole numbers, so exact; in float64, which processors subtract and divide many at a time.
    """
    for j in range(pad + 1):
        c[j] = 0.0
    count = 0  # as an integer: the next addition need not wait for the last one
    for j in range(x.size):
        count += 1 if math.isfinite(x[j]) else 0
        c[pad + j + 1] = count


@inner
def add(out, a, b):  # type: ignore[no-untyped-def]
    """``out = a + b``."""
    for j in range(out.size):
        out[j] = a[j] + b[j]


@inner
def add_aged(out, a, b, s, age):  # type: ignore[no-untyped-def]
    """``out = a + b + age * s``: an age-weighted sum of which the older half is ``age`` slots further back."""
    for j in range(out.size):
        out[j] = a[j] + (b[j] + age * s[j])


@inner
def double_sums(table, levels, pad, n):  # type: ignore[no-untyped-def]
    """Row l of ``table`` becomes the sum of the newest 2**l values; row 0 is given."""
    for level in range(1, levels):
        h = 1 << (level - 1)
        add(table[level, h : pad + n], table[level - 1, h : pad + n], table[level - 1, : pad + n - h])
        for j in range(h):
            table[level, j] = 0.0


@inner
def part(table, w, done, pad, n):  # type: ignore[no-untyped-def]
    """The smallest power of two in ``w - done``, and the row of ``table`` that begins so many slots ``done`` ago."""
    level = 0
    while not ((w - done) >> level) & 1:
        level += 1
    return 1 << level, table[level, pad - done : pad - done + n]


@inner
def window_sum(table, w, pad, n, out):  # type: ignore[no-untyped-def]
    """``out[j]`` becomes the sum of the ``w`` newest values at j, put together from the powers of two in ``w``.

    The smallest power is the newest part; up to four are added in one pass, one after the other.
    """
    done, a = part(table, w, 0, pad, n)
    if done == w:
        for j in range(n):  # an assignment of slices takes numba two seconds to compile
            out[j] = a[j]
        return
    more, b = part(table, w, done, pad, n)
    done += more
    if done == w:
        add(out[:n], a, b)
        return
    more, c = part(table, w, done, pad, n)
    done += more
    if done == w:
        for j in range(n):
            out[j] = (a[j] + b[j]) + c[j]
        return
    more, d = part(table, w, done, pad, n)
    done += more
    for j in range(n):
        out[j] = ((a[j] + b[j]) + c[j]) + d[j]
    while done < w:
        more, a = part(table, w, done, pad, n)
        add(out[:n], out[:n], a)
        done += more


@inner
def levels_for(window):  # type: ignore[no-untyped-def]
    """Rows that a doubling table needs for windows up to ``window``."""
    levels = 1
    while (1 << levels) <= window:
        levels += 1
    return levels


@inner
def longest(starts):  # type: ignore[no-untyped-def]
    """Length of the longest history."""
    best = 0
    for s in range(starts.size - 1):
        best = max(best, starts[s + 1] - starts[s])
    return best


@inner
def line_through(x, last, w):  # type: ignore[no-untyped-def]
    """Least squares of the values in ``x[last-w+1 .. last]`` on their place, from the values themselves.

    Values are taken relative to the newest one, so that a window without movement gives exact zeros.

    Returns
    -------
    n, level, syy, sxx, sxy, mean_place
        Count; the mean; centred sums of squares and products; mean place (0 = today, −1 = yesterday …).
    """
    first = max(0, last - w + 1)
    n = 0
    anchor = 0.0
    for j in range(last, first - 1, -1):
        if math.isfinite(x[j]):
            anchor = x[j]
            break
    sy = 0.0
    sp = 0.0
    for j in range(last, first - 1, -1):
        if math.isfinite(x[j]):
            n += 1
            sy += x[j] - anchor
            sp += j - last
    if n == 0:
        return 0, np.nan, np.nan, np.nan, np.nan, np.nan
    my = sy / n
    mp = sp / n
    syy = 0.0
    sxx = 0.0
    sxy = 0.0
    for j in range(last, first - 1, -1):
        if math.isfinite(x[j]):
            dy = (x[j] - anchor) - my
            dp = (j - last) - mp
            syy += dy * dy
            sxx += dp * dp
            sxy += dy * dp
    return n, anchor + my, syy, sxx, sxy, mp
