"""Is there an edge in these forecasts? Measured date by date, with errors that know that labels overlap.

Conventions: all is reckoned per decision time (a date, for daily bars) over the symbols that have a forecast and a
label; times with fewer than :data:`MIN_SYMBOLS`, or where all forecasts or all returns are equal, are skipped and
counted. Nothing is annualised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from aiquant.calendars import Sessions
from aiquant.errors import DataError

MIN_SYMBOLS = 5
QUANTILES = ("lowest fifth", "second", "third", "fourth", "highest fifth")


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the forecasts of one model are worth. A number that cannot be reckoned is NaN.

    Attributes
    ----------
    run_id, model, horizon
        Whose forecasts, and the bars held.
    rank_ic, rank_ic_std, rank_ic_t
        Spearman's correlation of forecast and forward return within each date (ties share their rank): mean and
        deviation over dates, and the t-statistic of the mean by :func:`newey_west`.
    icir
        Mean of the rank IC over its deviation.
    ic, ic_t
        Pearson's correlation likewise.
    hit_rate
        Share of dates with a rank IC above 0.
    spread, spread_t
        Mean forward return of the highest fifth of forecasts less that of the lowest, equally weighted, before costs.
    quantiles
        Fifth of the forecasts, lowest first → mean forward return less the date's mean.
    lag
        Lags of the Newey–West errors.
    breadth
        Median number of symbols a date.
    dates, skipped
        Dates that were judged, and that could not be.
    coverage
        Dates judged as a share of the sessions between the first and the last; None where no sessions were given.
    first, last
        Decision dates; None where nothing could be judged.
    years
        For each year: ``year``, ``rank_ic``, ``rank_ic_t``, ``ic``, ``spread``, ``dates``.
    by_date
        One row per date judged: ``event_time``, ``date``, ``rank_ic``, ``ic``, ``spread``, ``symbols``.
    """

    run_id: str
    model: str
    horizon: int
    rank_ic: float
    rank_ic_std: float
    rank_ic_t: float
    icir: float
    ic: float
    ic_t: float
    hit_rate: float
    spread: float
    spread_t: float
    quantiles: dict[str, float]
    lag: int
    breadth: float
    dates: int
    skipped: int
    coverage: float | None
    first: date | None
    last: date | None
    years: tuple[dict[str, float], ...]
    by_date: pa.Table

    @property
    def by_year(self) -> dict[int, float]:
        """Year → mean rank IC."""
        return {int(row["year"]): row["rank_ic"] for row in self.years}

    @property
    def daily(self) -> dict[date, float]:
        """Date → rank IC (the last of a date with several decisions)."""
        return dict(zip(self.by_date["date"].to_pylist(), self.by_date["rank_ic"].to_pylist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values (``daily`` for ``by_date``); NaN is null, dates are ISO 8601."""
        told = {name: value for name, value in vars(self).items() if name != "by_date"}
        plain: dict[str, Any] = _json(told | {"by_year": self.by_year, "daily": self.daily})
        return plain


def judge(forecasts: pa.Table, labels: pa.Table, sessions: Sessions | None = None) -> Judgement:
    """Compare forecasts with what happened.

    Parameters
    ----------
    forecasts
        Schema ``FORECASTS``, of one run and one model.
    labels
        Schema ``LABELS``, of the forecasts' horizon. Forecasts without a label (the last ones) are not judged.
    sessions
        The calendar's sessions, for ``coverage``.

    Raises
    ------
    DataError
        When the forecasts are of several models, runs or horizons, or the labels of another horizon.
    """
    run_id, model, horizon = _whose(forecasts)
    pairs = _pairs(forecasts, labels, horizon)
    daily, skipped = _daily(pairs)
    rank_ic, lag = daily["rank_ic"].to_numpy(), lags(len(daily), horizon)
    mean, std, t = _estimate(rank_ic, lag)
    ic, _, ic_t = _estimate(daily["ic"].to_numpy(), lag)
    spread, _, spread_t = _estimate(daily["spread"].to_numpy(), lag)
    return Judgement(
        run_id=run_id,
        model=model,
        horizon=horizon,
        rank_ic=mean,
        rank_ic_std=std,
        rank_ic_t=t,
        icir=_over(mean, std),
        ic=ic,
        ic_t=ic_t,
        hit_rate=float(np.mean(rank_ic > 0)) if len(daily) else math.nan,
        spread=spread,
        spread_t=spread_t,
        quantiles=_quantiles(pairs, daily),
        lag=lag,
        breadth=float(np.median(daily["symbols"].to_numpy())) if len(daily) else 0.0,
        dates=len(daily),
        skipped=skipped,
        coverage=_coverage(daily, sessions),
        first=daily["date"][0] if len(daily) else None,
        last=daily["date"][-1] if len(daily) else None,
        years=_years(daily, horizon),
        by_date=daily.to_arrow(),
    )


def newey_west(values: NDArray[np.float64], lag: int) -> float:
    """Standard error of the mean of a series that is correlated with its own past.

    The long-run variance is S = γ₀ + 2 Σ_{j=1..L} (1 − j/(L+1)) γ_j, with γ_j = Σ_t (x_t − x̄)(x_{t−j} − x̄) / n
    (Bartlett weights, no correction for small samples); the error is √(S/n).

    W. K. Newey, K. D. West, *A Simple, Positive Semi-definite, Heteroskedasticity and Autocorrelation Consistent
    Covariance Matrix*, Econometrica 55 (1987), 703–708.

    Parameters
    ----------
    values
        ``float64``, shape (n,), in order of time.
    lag
        L, cut to n − 1.
    """
    n = len(values)
    if n < 2:
        return math.nan
    centred = values - values.mean()
    long_run = float(centred @ centred) / n
    for j in range(1, min(lag, n - 1) + 1):
        long_run += 2 * (1 - j / (lag + 1)) * float(centred[j:] @ centred[:-j]) / n
    return math.sqrt(max(long_run, 0.0) / n)


def lags(n: int, horizon: int) -> int:
    """Lags for :func:`newey_west`: as long as labels overlap (horizon − 1), at least ⌊4 (n/100)^{2/9}⌋.

    The rule of thumb is that of W. K. Newey, K. D. West, *Automatic Lag Selection in Covariance Matrix Estimation*,
    Review of Economic Studies 61 (1994), 631–653, for Bartlett weights.
    """
    return max(horizon - 1, math.floor(4 * (n / 100) ** (2 / 9))) if n else horizon - 1


def _whose(forecasts: pa.Table) -> tuple[str, str, int]:
    found = (
        forecasts.select(["run_id", "model", "horizon"])
        .group_by(["run_id", "model", "horizon"])
        .aggregate([])
        .to_pylist()
    )
    if len(found) != 1:
        raise DataError(
            f"forecasts of {len(found)} runs, models and horizons cannot be judged together",
            "train first" if not found else "judge one model of one run at a time",
        )
    return found[0]["run_id"], found[0]["model"], found[0]["horizon"]


def _pairs(forecasts: pa.Table, labels: pa.Table, horizon: int) -> pl.DataFrame:
    told = labels["horizon"].unique().to_pylist()
    if told not in ([], [horizon]):
        raise DataError(f"forecasts of horizon {horizon} cannot be judged by labels of horizon(s) {told}")
    forecast = pl.DataFrame(pl.from_arrow(forecasts.select(["symbol", "date", "event_time", "forecast"])))
    label = pl.DataFrame(pl.from_arrow(labels.select(["symbol", "event_time", "forward_return"])))
    finite = label.filter(pl.col("forward_return").is_finite())
    return forecast.join(finite, on=["symbol", "event_time"], how="inner").sort("event_time", "symbol")


def _daily(pairs: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """One row per date that can be judged, and how many cannot."""
    ranked = pairs.with_columns(
        pl.col("forecast").rank("average").over("event_time").alias("forecast_rank"),
        pl.col("forward_return").rank("average").over("event_time").alias("return_rank"),
        _fifth().alias("fifth"),
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


def _fifth() -> pl.Expr:
    """Fifth of the forecasts within the date, 0 lowest; equal forecasts stand together."""
    place = (pl.col("forecast").rank("average") - 0.5) / pl.len()
    return (place * len(QUANTILES)).floor().cast(pl.Int8).over("event_time")


def _spread() -> pl.Expr:
    returns = pl.col("forward_return")
    return returns.filter(pl.col("fifth") == len(QUANTILES) - 1).mean() - returns.filter(pl.col("fifth") == 0).mean()


def _quantiles(pairs: pl.DataFrame, daily: pl.DataFrame) -> dict[str, float]:
    """Mean over dates of each fifth's mean return less the date's."""
    judged = pairs.join(daily.select("event_time"), on="event_time", how="semi").with_columns(_fifth().alias("fifth"))
    judged = judged.sort("event_time", "symbol")
    returns = judged["forward_return"].to_numpy()
    times, dates = np.unique(judged["event_time"].to_numpy(), return_inverse=True)
    excess = returns - _means(returns, dates, len(times))[dates]
    fifths = judged["fifth"].to_numpy()
    found = {}
    for fifth, name in enumerate(QUANTILES):
        own = fifths == fifth
        each = _means(excess[own], dates[own], len(times))
        found[name] = float(each[np.isfinite(each)].mean()) if own.any() else math.nan
    return found


def _means(values: NDArray[np.float64], group: NDArray[np.intp], groups: int) -> NDArray[np.float64]:
    """Mean by group, NaN where a group is empty. Summed in the order of rows: the means of a frame that is aggregated
    on several threads differ in their last bit from run to run."""
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = np.bincount(group, values, groups) / np.bincount(group, minlength=groups)
    return means


def _estimate(values: NDArray[np.float64], lag: int) -> tuple[float, float, float]:
    """Mean, deviation (one degree of freedom taken off) and t-statistic (Newey–West) of the values that are finite."""
    values = values[np.isfinite(values)]
    if not len(values):
        return math.nan, math.nan, math.nan
    mean = float(values.mean())
    std = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return mean, std, _over(mean, newey_west(values, lag))


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def _years(daily: pl.DataFrame, horizon: int) -> tuple[dict[str, float], ...]:
    years: list[dict[str, float]] = []
    dated = daily.with_columns(pl.col("date").dt.year().alias("year"))
    for rows in dated.partition_by("year", maintain_order=True):
        rank_ic, _, t = _estimate(rows["rank_ic"].to_numpy(), lags(len(rows), horizon))
        told = {"year": rows["date"][0].year, "rank_ic": rank_ic, "rank_ic_t": t}
        means = {name: _estimate(rows[name].to_numpy(), 0)[0] for name in ("ic", "spread")}
        years.append(told | means | {"dates": len(rows)})
    return tuple(years)


def _coverage(daily: pl.DataFrame, sessions: Sessions | None) -> float | None:
    if sessions is None or daily.is_empty():
        return None
    first, last = (np.datetime64(day, "D") for day in (daily["date"][0], daily["date"][-1]))
    between = int(((sessions.dates >= first) & (sessions.dates <= last)).sum())
    return daily["date"].n_unique() / between if between else None


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _json(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, date):
        return value.isoformat()
    return value
