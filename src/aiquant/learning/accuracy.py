"""Are forecasts right in size, not in order alone? Calibration, and the error against forecasting nothing.

These compare a forecast with what the model was asked to forecast (:mod:`aiquant.learning.targets`), in its unit. They
mean nothing for forecasters whose forecasts have a unit of their own (momentum, a ranking objective).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from aiquant.learning.inference import MIN_DATES, estimate, lags, newey_west, over

DECILES = 10
MIN_ROWS = 50
"""Rows that each decile needs on average before calibration is told."""

Floats = NDArray[np.float64]


def accuracy(forecasts: pa.Table, learnt: pa.Table, horizon: int) -> dict[str, Any]:
    """Forecasts against what they forecast.

    Parameters
    ----------
    forecasts
        Schema ``FORECASTS``.
    learnt
        ``symbol``, ``event_time`` and ``learnt``: the target of each row; NaN where it is not known.
    horizon
        Bars held, for the errors.

    Returns
    -------
    dict
        ``rows`` and ``dates`` that were compared.

        ``r2``: 1 − Σ(y − f)² / Σy², out of sample, against the forecast 0, not against the mean, which nobody knew:
        J. Y. Campbell, S. B. Thompson, *Predicting Excess Stock Returns Out of Sample*, Review of Financial Studies 21
        (2008); pooled as in S. Gu, B. Kelly, D. Xiu, *Empirical Asset Pricing via Machine Learning*, Review of
        Financial Studies 33 (2020), equation 19.

        ``dm_t``: is the difference in squared errors luck? F. X. Diebold, R. S. Mariano, *Comparing Predictive
        Accuracy*, Journal of Business & Economic Statistics 13 (1995), on the mean over symbols of y² − (y − f)² of
        each date, as Gu, Kelly and Xiu do, with Newey–West errors; above 0 the model is better than the zero forecast.

        ``slope``, ``slope_error``, ``intercept``: of y on f by least squares, 1 and 0 for forecasts that mean what they
        say: J. Mincer, V. Zarnowitz, *The Evaluation of Economic Forecasts* (1969). The error sums the scores of each
        date, and then as Newey and West do.

        ``deciles``: for each tenth of the forecasts of all dates, lowest first, ``forecast`` and ``realised`` (means),
        ``error`` of the latter (likewise by dates) and ``rows``. Equal forecasts stay together. Empty with fewer than
        500 rows, or where fewer than two tenths differ.

        Figures that need an error are NaN with fewer than 20 dates; all are where nothing can be compared.
    """
    key = ["symbol", "event_time"]
    told = pl.DataFrame(pl.from_arrow(learnt.select([*key, "learnt"]))).filter(pl.col("learnt").is_finite())
    rows = (
        pl.DataFrame(pl.from_arrow(forecasts.select([*key, "forecast"])))
        .filter(pl.col("forecast").is_finite())
        .join(told, on=key, how="inner")
        .sort("event_time", "symbol")
    )
    f, y = rows["forecast"].to_numpy(), rows["learnt"].cast(pl.Float64).to_numpy()
    times, date = np.unique(rows["event_time"].to_numpy(), return_inverse=True)
    lag = lags(len(times), horizon)
    better = y**2 - (y - f) ** 2
    gain = np.bincount(date, better, len(times)) / np.bincount(date, minlength=len(times)) if len(times) else better
    enough = len(times) >= MIN_DATES
    return {
        "rows": len(rows),
        "dates": len(times),
        "r2": over(float(better.sum()), float((y**2).sum())),
        "dm_t": estimate(gain, lag).t if enough else math.nan,
        **_line(f, y, date, len(times), lag),
        "deciles": _deciles(f, y, date, len(times), lag),
    }


def _line(f: Floats, y: Floats, date: NDArray[np.intp], dates: int, lag: int) -> dict[str, float]:
    slope, intercept, error = math.nan, math.nan, math.nan
    if len(f) > 2 and np.ptp(f) > 0:
        centred = f - f.mean()
        moved = float(centred @ centred)
        slope = float(centred @ y) / moved
        intercept = float(y.mean()) - slope * float(f.mean())
        if dates >= MIN_DATES:
            error = _summed_error(centred * (y - intercept - slope * f), date, dates, lag) / moved
    return {"slope": slope, "slope_error": error, "intercept": intercept}


def _deciles(f: Floats, y: Floats, date: NDArray[np.intp], dates: int, lag: int) -> list[dict[str, float]]:
    if len(f) < MIN_ROWS * DECILES:
        return []
    place = (pl.Series(f).rank("average").to_numpy() - 0.5) / len(f)
    tenth = np.floor(place * DECILES).astype(np.int64)
    found = []
    for number in np.unique(tenth):
        own = tenth == number
        mean = float(y[own].mean())
        error = _summed_error(y[own] - mean, date[own], dates, lag) / own.sum() if dates >= MIN_DATES else math.nan
        found.append(
            {"forecast": float(f[own].mean()), "realised": mean, "error": float(error), "rows": int(own.sum())}
        )
    return found if len(found) > 1 else []


def _summed_error(scores: Floats, date: NDArray[np.intp], dates: int, lag: int) -> float:
    """Standard error of the sum of scores that depend on one another within a date, and on dates before it."""
    sums: Floats = np.bincount(date, scores, dates).astype(np.float64)
    return newey_west(sums, lag) * dates
