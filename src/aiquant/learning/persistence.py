"""How much forecasts change from one holding period to the next, and what trading on them may cost at the most."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.learning.inference import over
from aiquant.learning.ordering import MIN_SYMBOLS, QUANTILES, fifth, means


def turnover(forecasts: pa.Table, horizon: int, rank_ic: float, spread: float) -> dict[str, Any]:
    """Compare each date's forecasts with those ``horizon`` decision times later, when positions are renewed.

    Parameters
    ----------
    forecasts
        Schema ``FORECASTS``, of one model.
    horizon
        Bars held.
    rank_ic, spread
        Mean rank IC, and mean return of the highest fifth less the lowest over the horizon, before costs.

    Returns
    -------
    dict
        ``autocorrelation``: mean over dates of Spearman's correlation ρ of the two, over symbols that have both.

        ``fifth_turnover``: share of the symbols in the highest and lowest fifth that is not there any more at the later
        date, τ.

        ``adjusted_ic``: rank IC ÷ √(1 − ρ). The turnover of a portfolio that follows its forecasts goes with √(1 − ρ):
        E. Qian, E. H. Sorensen, R. Hua, *Information Horizon, Portfolio Turnover, and Optimal Alpha Models*, Journal of
        Portfolio Management 34 (2007), 27–40. So this is skill per unit of trading, on the scale of the IC of forecasts
        that are new each time (ρ = 0). NaN where forecasts never change.

        ``break_even_cost``: cost as a fraction of what is traded at which the spread is used up, spread ÷ 4τ: each side
        of a book of 1 long and 1 short sells τ and buys τ. NaN where the spread is not above 0.

        ``dates``: pairs of dates that were compared.
    """
    rows = pl.DataFrame(pl.from_arrow(forecasts.select(["symbol", "event_time", "forecast"])))
    rows = rows.with_columns(pl.col("event_time").rank("dense").cast(pl.Int64).alias("at"), fifth().alias("fifth"))
    later = rows.select("symbol", (pl.col("at") - horizon).alias("at"), "forecast", "fifth")
    both = rows.join(later, on=["symbol", "at"], how="inner", suffix="_later").sort("at", "symbol")
    rho, dates = _autocorrelation(both)
    tau = _replaced(rows, both)
    return {
        "autocorrelation": rho,
        "fifth_turnover": tau,
        "adjusted_ic": over(rank_ic, math.sqrt(max(1 - rho, 0.0))) if math.isfinite(rho) else math.nan,
        "break_even_cost": over(spread, 4 * tau) if spread > 0 else math.nan,
        "dates": dates,
    }


def _autocorrelation(both: pl.DataFrame) -> tuple[float, int]:
    each = (
        both.with_columns(pl.col("forecast", "forecast_later").rank("average").over("at"))
        .group_by("at", maintain_order=True)
        .agg(pl.corr("forecast", "forecast_later").alias("rho"), pl.len().alias("symbols"))
    )
    counted = each.filter((pl.col("symbols") >= MIN_SYMBOLS) & pl.col("rho").is_finite())
    values = counted["rho"].to_numpy()
    return (float(values.mean()) if len(values) else math.nan), len(values)


def _replaced(rows: pl.DataFrame, both: pl.DataFrame) -> float:
    """Mean over dates; a symbol that has no later forecast is replaced as well."""
    ends = pl.col("fifth").is_in([0, len(QUANTILES) - 1])
    held = (
        rows.filter(ends & pl.col("at").is_in(both["at"].unique().implode()))
        .join(both.select("symbol", "at", "fifth_later"), on=["symbol", "at"], how="left")
        .with_columns(pl.col("fifth").eq_missing(pl.col("fifth_later")).alias("stays"))
        .sort("at", "symbol")
    )
    if held.is_empty():
        return math.nan
    _, date = np.unique(held["at"].to_numpy(), return_inverse=True)
    return 1.0 - float(means(held["stays"].cast(pl.Float64).to_numpy(), date, int(date[-1]) + 1).mean())
