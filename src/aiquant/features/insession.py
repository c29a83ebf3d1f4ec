"""Session-aware operators: what the session came to so far, and where earlier sessions stood.

For daily bars a session is one slot: ``SessionSum(x)`` is x, ``SessionLast(x, 1)`` the value one session ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from aiquant.features.expressions import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compute(
    node: Expression,
    args: Sequence[NDArray[np.float64]],
    starts: NDArray[np.int64],
    slot: NDArray[np.int64],
    first: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Value of a session-aware node in every cell.

    Parameters
    ----------
    args
        Values of its arguments, float64, contiguous, (cells,) each.
    starts
        int64, (symbols + 1,): where each symbol's cells begin.
    slot
        int64, (cells,): place of each cell on the time axis; those of a symbol follow one another.
    first
        int64, (sessions + 1,): the slot in which each session begins (:attr:`aiquant.features.grid.Axis.first`).
    """
    from aiquant.features.kernels import sessions as kernels

    out = np.empty(len(args[0]))
    if node.op == "SessionLast":
        kernels.last_of_session(args[0], starts, slot, first, int(node.numbers[0]), out)
    elif node.op == "SessionAgo":
        kernels.same_slot(args[0], starts, slot, first, int(node.numbers[0]), out)
    else:
        kernels.so_far(args[0], args[-1], starts, slot, first, kernels.KINDS[node.op], out)
    return out
