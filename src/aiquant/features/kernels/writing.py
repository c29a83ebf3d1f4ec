"""The last step of every feature: from the grid's float64 to the rows' float32."""

from __future__ import annotations

import math

import numpy as np

from aiquant.features.kernels.tables import kernel


@kernel("void(f8[::1], i8[::1], i8[::1], b1, f4[::1])")
def write_runs(values, edges, cells, finite, out):  # type: ignore[no-untyped-def]
    """Copy the cells that have a bar.

    Parameters
    ----------
    values
        float64, (cells,).
    edges
        int64, (runs + 1,): rows of ``out`` between which the cells stand without a gap.
    cells
        int64, (runs,): the first cell of each run.
    finite
        Whether to write NaN for what no float32 can hold.
    out
        float32, (rows,).
    """
    for k in range(cells.size):
        n = edges[k + 1] - edges[k]
        source = values[cells[k] : cells[k] + n]
        target = out[edges[k] : edges[k + 1]]
        for r in range(n):
            v = np.float32(source[r])
            target[r] = np.float32(np.nan) if finite and math.isinf(v) else v
