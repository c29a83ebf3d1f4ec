"""Triple-barrier labels: a position is closed when it has won enough, lost enough, or lasted long enough.

M. López de Prado, *Advances in Financial Machine Learning* (2018), sections 3.3 and 3.4. The barriers stand at
multiples of the volatility that was known when the position was decided. As everything that is decided here, a touch is
seen at a close and traded at the next fill: the label is the return that could be had, not the one at the barrier, and
its window ends with that fill.

Labels that end early are known early. The last rows before a cut of history are therefore those that moved: a fold that
is purged by label windows keeps such rows of its last ``horizon`` sessions, and not the quiet ones beside them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numba import njit

from aiquant.errors import UsageError
from aiquant.features import conditions, grid, labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.calendars import Sessions


def triple_barrier(
    bars: pa.Table,
    sessions: Sessions,
    horizon: int,
    upper: float | None,
    lower: float | None,
    fill: labels.Fill = "next-open",
    actions: pa.Table | None = None,
) -> pa.Table:
    """Return from the next fill to the fill after the first touched barrier. **Looks ahead**: never a feature.

    Parameters
    ----------
    bars, sessions, fill, actions
        As for :func:`aiquant.features.labels.forward_returns`.
    horizon
        The vertical barrier: slots that a position is held at the most.
    upper, lower
        Gain and loss at which it is closed, in units of the deviation of a return over the horizon: the volatility a
        bar (:mod:`aiquant.features.conditions`) times √horizon; None for no barrier on that side.

    Returns
    -------
    pyarrow.Table
        Rows of :data:`aiquant.schemas.LABELS`, sorted by symbol and event_time; none where no volatility is known yet.

    Raises
    ------
    UsageError
        When the horizon or a barrier is not positive, or the fill unknown.
    DataError
        When bars are mixed, stand twice or lie outside of the sessions.
    """
    labels.check(horizon, fill)
    for name, barrier in (("upper", upper), ("lower", lower)):
        if barrier is not None and not barrier > 0:
            raise UsageError(f"the {name} barrier is a positive number of deviations, not {barrier:g}")
    laid = grid.build(bars, sessions)
    known = conditions.compute(bars, sessions, actions)["volatility"].to_numpy().astype(np.float64)
    shares, cash = labels.holdings(laid, actions)
    until = _first_touch(
        laid.row_starts,
        laid.slot[laid.cell],
        labels.due(laid, horizon),
        labels.fills_of(laid, fill).price.astype(np.float64),
        laid.rows["close"].to_numpy().astype(np.float64),
        shares,
        cash,
        known * math.sqrt(horizon),
        math.inf if upper is None else float(upper),
        math.inf if lower is None else float(lower),
    )
    made = labels.held_until(laid, until, horizon, fill, actions)
    decided = laid.rows.select("symbol", "event_time").filter(np.isfinite(known)).to_arrow()
    return _of(made, decided)


def _of(made: pa.Table, decided: pa.Table) -> pa.Table:
    import polars as pl

    rows = pl.DataFrame(pl.from_arrow(made))
    kept = rows.join(
        pl.DataFrame(pl.from_arrow(decided)), on=["symbol", "event_time"], how="semi", maintain_order="left"
    )
    return kept.to_arrow().cast(made.schema)


@njit(cache=True, nogil=True, error_model="numpy")
def _first_touch(
    row_starts: NDArray[np.int64],
    slot: NDArray[np.int64],
    due: NDArray[np.int64],
    price: NDArray[np.float64],
    close: NDArray[np.float64],
    shares: NDArray[np.float64],
    cash: NDArray[np.float64],
    deviation: NDArray[np.float64],
    upper: float,
    lower: float,
) -> NDArray[np.int64]:
    """For each row the slot behind the first close at which its position has touched a barrier, at most ``due``."""
    until = due.copy()
    for symbol in range(len(row_starts) - 1):
        for row in range(row_starts[symbol], row_starts[symbol + 1] - 1):
            if not deviation[row] > 0.0:
                continue
            entry = row + 1
            high, low = upper * deviation[row], -lower * deviation[row]
            for at in range(entry, row_starts[symbol + 1]):
                if slot[at] + 1 >= due[row]:
                    break
                worth = (close[at] * shares[at] + cash[at] - cash[entry]) / shares[entry]
                gain = worth / price[entry] - 1.0
                if gain >= high or gain <= low:
                    until[row] = slot[at] + 1
                    break
    return until
