"""Operators that compare the symbols of one date. Only symbols with a bar and a value at that slot take part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from aiquant.features.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(op: str, values: NDArray[np.float64], laid: Grid) -> NDArray[np.float64]:
    """Value of a cross-sectional operator in every cell; NaN where the symbol takes no part.

    Parameters
    ----------
    op
        CSRank, CSZScore, CSDemean or CSScale.
    values
        float64, (cells,): what is compared.
    """
    there = laid.cell[np.isfinite(values[laid.cell])]
    # Sorted by slot and then symbol, so that sums run in one order whatever chunks or threads there were.
    frame = pl.DataFrame({"slot": laid.slot[there], "cell": there, "value": values[there]}).sort("slot", "cell")
    x, n = pl.col("value"), pl.len()
    # A spread below this share of the size is rounding noise of equal values.
    spread = pl.when(x.std() > 1e-10 * (x * x).mean().sqrt()).then(x.std())
    formulas = {
        "CSRank": x.rank("average") / n,
        "CSZScore": (x - x.mean()) / spread,
        "CSDemean": x - x.mean(),
        "CSScale": x / pl.when(x.abs().sum() > 0).then(x.abs().sum()),
    }
    result = np.full(laid.size, np.nan)
    result[frame["cell"].to_numpy()] = frame.select(formulas[op].over("slot").fill_null(np.nan)).to_series().to_numpy()
    return result


def of_slot(op: str, values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """As :func:`compute`, for the symbols of one slot: ``there`` says which have a bar."""
    from types import SimpleNamespace

    laid = SimpleNamespace(cell=np.flatnonzero(there), slot=np.zeros(len(values), dtype=np.int64), size=len(values))
    return compute(op, values, laid)  # type: ignore[arg-type]
