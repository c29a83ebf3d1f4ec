"""How well forecasts ordered the symbols of each date: information coefficients and quantiles, date by date.

A date (a decision time) counts when at least :data:`MIN_SYMBOLS` symbols have a forecast and an outcome, and neither
all forecasts nor all outcomes are equal.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning.inference import Estimate, estimate

MIN_SYMBOLS = 5
QUANTILES = ("lowest fifth", "second", "third", "fourth", "highest fifth")


def pairs(forecasts: pa.Table, labels: pa.Table, horizon: int) -> pl.DataFrame:
    """Forecasts beside what happened: ``symbol``, ``date``, ``event_time``, ``forecast``, ``forward_return``.

    Sorted by time and symbol; a forecast without an outcome is left out.

    Raises
    ------
    DataError
        When the labels are of another horizon.
    """
    told = labels["horizon"].unique().to_pylist()
    if told not in ([], [horizon]):
        raise DataError(f"forecasts of horizon {horizon} cannot be judged by labels of horizon(s) {told}")
    forecast = pl.DataFrame(pl.from_arrow(forecasts.select(["symbol", "date", "event_time", "forecast"])))
    label = pl.DataFrame(pl.from_arrow(labels.select(["symbol", "event_time", "forward_return"])))
    finite = label.filter(pl.col("forward_return").is_finite())
    return forecast.join(finite, on=["symbol", "event_time"], how="inner").sort("event_time", "symbol")


def by_date(rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """One row per date that counts (``event_time``, ``date``, ``rank_ic``, ``ic``, ``spread``, ``symbols``), in order.

    Returns
    -------
    The rows, and how many dates do not count.
    """
    ranked = rows.with_columns(
        pl.col("forecast").rank("average").over("event_time").alias("forecast_rank"),
        pl.col("forward_return").rank("average").over("event_time").alias("return_rank"),
        fifth().alias("fifth"),
    )
    each = (
        ranked.group_by("event_time", maintain_order=True)
        .agg(
            pl.col("date").first(),
            pl.corr("forecast_rank", "return_rank").alias("rank_ic"),
            pl.corr("forecast", "forward_return").alias("ic"),
            _spread().alias("spread"),
            pl.len().alias("symbols"),
            pl.col("forecast").n_unique().alias("values"),
        )
        .sort("event_time")
    )
    enough = (pl.col("symbols") >= MIN_SYMBOLS) & (pl.col("values") > 1) & pl.col("rank_ic").is_finite()
    judged = each.filter(enough.fill_null(False)).drop("values")
    return judged, len(each) - len(judged)


def fifth() -> pl.Expr:
    """Fifth of the forecasts within the date, 0 lowest; equal forecasts stand together."""
    place = (pl.col("forecast").rank("average") - 0.5) / pl.len()
    return (place * len(QUANTILES)).floor().cast(pl.Int8).over("event_time")


def _spread() -> pl.Expr:
    returns = pl.col("forward_return")
    return returns.filter(pl.col("fifth") == len(QUANTILES) - 1).mean() - returns.filter(pl.col("fifth") == 0).mean()


def quantiles(rows: pl.DataFrame, judged: pl.DataFrame, lag: int) -> dict[str, Estimate]:
    """Fifth of the forecasts, lowest first → mean over dates of its mean return less the date's."""
    kept = rows.join(judged.select("event_time"), on="event_time", how="semi").with_columns(fifth().alias("fifth"))
    kept = kept.sort("event_time", "symbol")
    returns = kept["forward_return"].to_numpy()
    times, dates = np.unique(kept["event_time"].to_numpy(), return_inverse=True)
    excess = returns - means(returns, dates, len(times))[dates]
    fifths = kept["fifth"].to_numpy()
    found = {}
    for number, name in enumerate(QUANTILES):
        own = fifths == number
        each = means(excess[own], dates[own], len(times))
        found[name] = estimate(each, lag) if own.any() else Estimate(math.nan, math.nan, math.nan, 0)
    return found


def means(values: NDArray[np.float64], group: NDArray[np.intp], groups: int) -> NDArray[np.float64]:
    """Mean by group, NaN where a group is empty. Summed in the order of rows: the means of a frame that is aggregated
    on several threads differ in their last bit from run to run."""
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = np.bincount(group, values, groups) / np.bincount(group, minlength=groups)
    return found
