"""The rank IC of plain arrays: what fitting, tuning and importance are steered by."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiquant.learning.ordering import MIN_SYMBOLS


def daily_rank_ic(
    times: NDArray[np.datetime64], forecast: NDArray[np.floating[Any]], outcome: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Spearman's correlation of forecast and outcome within each decision time, ties sharing their rank.

    Parameters
    ----------
    times
        ``datetime64[us]``, shape (n,), ascending.
    forecast, outcome
        Shape (n,); a row that is not finite in both is left out.

    Returns
    -------
    NDArray
        ``float64``, one value for each decision time that has a row; NaN for one with fewer than five rows that count,
        or whose forecasts or outcomes are all equal.
    """
    _, date = np.unique(times, return_inverse=True)
    known = np.isfinite(forecast) & np.isfinite(outcome)
    dates = int(date[-1]) + 1 if len(date) else 0
    if not known.any():
        return np.full(dates, np.nan)
    day = date[known]
    frame = pl.DataFrame({"date": day, "f": forecast[known], "o": outcome[known]})
    ranked = frame.select(pl.col("f", "o").rank("average").over("date"))
    # Sums in the order of the rows: the same to the last bit for any number of threads.
    count = np.bincount(day, minlength=dates)
    f, o = (_centred(ranked[name].to_numpy(), day, count) for name in ("f", "o"))
    products = [np.bincount(day, a * b, dates) for a, b in ((f, o), (f, f), (o, o))]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = products[0] / np.sqrt(products[1] * products[2])
    found[count < MIN_SYMBOLS] = np.nan
    return found


def rank_ic(
    times: NDArray[np.datetime64], forecast: NDArray[np.floating[Any]], outcome: NDArray[np.floating[Any]]
) -> float:
    """Mean of :func:`daily_rank_ic` over the decision times that have one; NaN where none has."""
    found = daily_rank_ic(times, forecast, outcome)
    found = found[np.isfinite(found)]
    return float(found.mean()) if len(found) else float("nan")


def _centred(values: NDArray[np.float64], group: NDArray[np.intp], count: NDArray[np.intp]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        mean = np.bincount(group, values, len(count)) / count
    centred: NDArray[np.float64] = values - mean[group]
    return centred
