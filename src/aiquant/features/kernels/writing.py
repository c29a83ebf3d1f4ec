"""The last step of every feature: from the grid's float64 to the rows' float32."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit("void(f8[::1], i8[::1], b1, f4[::1])", nogil=True, cache=True)
def gather(values, cell, finite, out):  # type: ignore[no-untyped-def]
    """``out[r] = values[cell[r]]``; with ``finite``, NaN for what no float32 can hold."""
    for r in range(cell.size):
        v = np.float32(values[cell[r]])
        out[r] = np.float32(np.nan) if finite and math.isinf(v) else v
