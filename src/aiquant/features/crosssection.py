"""Operators that compare the symbols of one date. Only symbols with a bar and a value at that slot take part.

All that they know is numbers and which of them belong together: a batch gives every date at once, a stream one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aiquant.features.expressions import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Dates:
    """Which cells are compared with one another.

    Attributes
    ----------
    order
        int64: the cells that have a bar, date by date, in the order of symbols within a date.
    bounds
        int64, (dates + 1,): where each date begins in ``order``.
    """

    order: NDArray[np.int64]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, slot: NDArray[np.int64], cell: NDArray[np.int64] | None = None) -> Dates:
        """Dates of cells.

        Parameters
        ----------
        slot
            int64, (cells,): cells of one slot are compared; those of a slot stand in the order of their symbols.
        cell
            int64: the cells that have a bar, ascending; default: all.
        """
        there = np.arange(len(slot)) if cell is None else cell
        own = slot[there]
        by_slot = np.argsort(own, kind="stable")
        begins = np.flatnonzero(np.diff(own[by_slot], prepend=-1))
        return cls(there[by_slot].astype(np.int64), np.append(begins, len(there)).astype(np.int64))


def compute(node: Expression, args: Sequence[NDArray[np.float64]], dates: Dates) -> NDArray[np.float64]:
    """Value of a cross-sectional node in every cell; NaN where the symbol takes no part.

    Parameters
    ----------
    node
        Its operator and numbers count; what its arguments are does not.
    args
        Values of its arguments, float64, contiguous, (cells,) each.
    """
    from aiquant.features.kernels import dates as kernels

    out = np.full(len(args[0]), np.nan)
    if node.op == "CSResidual":
        kernels.residuals(args[0], args[1], dates.order, dates.bounds, out)
    elif len(args) == 2:
        kernels.within_groups(args[0], args[1], dates.order, dates.bounds, kernels.KINDS[node.op], out)
    else:
        number = node.numbers[0] if node.numbers else 0.0
        kernels.over_dates(args[0], dates.order, dates.bounds, kernels.KINDS[node.op], number, out)
    return out
