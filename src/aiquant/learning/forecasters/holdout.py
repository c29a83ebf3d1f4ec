"""The tail of the training rows that early stopping looks at, purged as a test window is: never the test itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning.splits import purge

MIN_DATES = 2
"""Decision times that either side needs at least."""


def split(
    times: NDArray[np.datetime64], label_end: NDArray[np.datetime64], share: float, embargo: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to fit on and those to hold out, both ascending.

    Parameters
    ----------
    times, label_end
        ``datetime64[us]``, shape (n,): decision (ascending) and end of the label of each training row.
    share
        Latest part of the decision times that is held out.
    embargo
        Decision times between the last label that is fitted on and the first that is held out.

    Raises
    ------
    DataError
        When either side would have fewer than two decision times.
    """
    unique = np.unique(times)
    held = max(MIN_DATES, round(len(unique) * share))
    if held < len(unique):
        start = unique[-held]
        purged, embargoed = purge(times, label_end, start, unique[-1], unique, embargo)
        head = np.flatnonzero((times < start) & ~(purged | embargoed))
        tail = np.flatnonzero(times >= start)
        if len(np.unique(times[head])) >= MIN_DATES:
            return head, tail
    raise DataError(
        f"{len(unique)} training dates are too few to hold out the latest {held} of them, with labels that overlap",
        "give more history, or set xgboost.early_stopping_rounds to 0",
    )
