"""The loop around an operator of one's own: each window is copied, counted, and handed to its function."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(nogil=True)


def driver(function: Callable[..., float] | None, series: int, numbers: int) -> Any:
    """A compiled ``drive(series, starts, skip, window, least, smallest, numbers, out)``; see the package.

    Parameters
    ----------
    function
        Of ``series`` windows (1 to 3) and ``numbers`` floats; compiled with bounds checked, so that an index beyond the
        window is an error and not a look at other memory.

    Raises
    ------
    numba.core.errors.NumbaError
        When the function cannot be compiled.
    """
    of_window: Any = njit(boundscheck=True, nogil=True)(function)
    call: Any = {
        1: _compiled(lambda w, n, more: of_window(w[0, :n], *more)),
        2: _compiled(lambda w, n, more: of_window(w[0, :n], w[1, :n], *more)),
        3: _compiled(lambda w, n, more: of_window(w[0, :n], w[1, :n], w[2, :n], *more)),
    }[series]

    @_compiled
    def drive(series, starts, skip, window, least, smallest, numbers, out):  # type: ignore[no-untyped-def]
        copies = np.empty((len(series), window))
        fewest = max(least, 1)
        for s in range(starts.size - 1):
            begin, end = starts[s], starts[s + 1]
            for j in range(begin + skip, end):
                n = min(window, j + 1 - begin)
                valid = 0
                for k in range(n):
                    whole = True
                    for at in range(len(series)):
                        value = series[at][j + 1 - n + k]
                        whole = whole and math.isfinite(value)
                        copies[at, k] = value if math.isfinite(value) else np.nan
                    valid += 1 if whole else 0
                out[j] = np.nan
                if valid >= fewest and n >= smallest:
                    result = call(copies, n, numbers)
                    if math.isfinite(result):
                        out[j] = result

    # Of no symbol at all: compiles it, so that what is wrong with it shows before there are data.
    none = np.zeros(0)
    drive((none,) * series, np.zeros(1, dtype=np.int64), 0, 1, 1, 1, (0.0,) * numbers, none)
    return drive
