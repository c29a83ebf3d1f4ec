"""Rows of bars → cells of the calendar."""

from __future__ import annotations

import numpy as np

from aiquant.features.kernels.tables import kernel


@kernel("void(f8[::1], i8[::1], i8, f8[::1])")
def lay(values, cells, begin, out):  # type: ignore[no-untyped-def]
    """Each value goes to its cell, ``out[cells[k] - begin]``; what has none is NaN.

    Parameters
    ----------
    values, cells
        float64 and int64, one a bar.
    begin
        The cell at which ``out`` begins.
    """
    for j in range(out.size):
        out[j] = np.nan
    for k in range(values.size):
        out[cells[k] - begin] = values[k]
