"""Is there an edge in these forecasts? Measured date by date, with errors that know that labels overlap.

Conventions: all is reckoned per decision time (a date, for daily bars) over the symbols that have a forecast and a
label; times with fewer than five, or where all forecasts or all returns are equal, are skipped and counted
(:mod:`aiquant.learning.ordering`). Errors are those of Newey and West (:mod:`aiquant.learning.inference`). Nothing is
annualised.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.learning import breakdown, ordering, persistence
from aiquant.learning.accuracy import accuracy
from aiquant.learning.inference import estimate, lags, ratio_error


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the forecasts of one model are worth. A number that cannot be reckoned is NaN.

    Attributes
    ----------
    run_id, model, horizon
        Whose forecasts, and the bars held.
    rank_ic, rank_ic_std, rank_ic_t
        Spearman's correlation of forecast and forward return within each date (ties share their rank): mean and
        deviation over dates, and the t-statistic of the mean.
    rank_ic_error
        Standard error of the mean.
    icir, icir_error
        Mean of the rank IC over its deviation, and its standard error.
    ic, ic_error, ic_t
        Pearson's correlation likewise.
    hit_rate
        Share of dates with a rank IC above 0.
    spread, spread_error, spread_t
        Mean forward return of the highest fifth of forecasts less that of the lowest, equally weighted, before costs.
    quantiles, quantile_errors
        Fifth of the forecasts, lowest first → mean forward return less the date's mean, and its standard error.
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
    turnover
        How much forecasts change from one holding period to the next: :func:`aiquant.learning.persistence.turnover`.
    decay
        Rank IC with the returns over other horizons: :func:`aiquant.learning.breakdown.by_horizon`.
    groups
        What the symbols or dates were grouped by → rank IC within each group.
    accuracy
        Whether forecasts are right in size: :func:`aiquant.learning.accuracy.accuracy`; empty where it was not asked.
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
    rank_ic_error: float = math.nan
    icir_error: float = math.nan
    ic_error: float = math.nan
    spread_error: float = math.nan
    quantile_errors: dict[str, float] = field(default_factory=dict)
    turnover: dict[str, Any] = field(default_factory=dict)
    decay: tuple[dict[str, Any], ...] = ()
    groups: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    accuracy: dict[str, Any] = field(default_factory=dict)

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


def judge(
    forecasts: pa.Table,
    labels: pa.Table,
    sessions: Sessions | None = None,
    *,
    learnt: pa.Table | None = None,
    horizons: Iterable[pa.Table] = (),
    groups: Mapping[str, pa.Table] | None = None,
) -> Judgement:
    """Compare forecasts with what happened.

    Parameters
    ----------
    forecasts
        Schema ``FORECASTS``, of one run and one model.
    labels
        Schema ``LABELS``, of the forecasts' horizon. Forecasts without a label (the last ones) are not judged.
    sessions
        The calendar's sessions, for ``coverage``.
    learnt
        ``symbol``, ``event_time`` and ``learnt``, what the model was asked to forecast, for ``accuracy``.
    horizons
        Schema ``LABELS``, one table for each horizon of ``decay``.
    groups
        Name → ``symbol``, ``group`` and, where the group of a symbol changes, ``event_time``.

    Raises
    ------
    DataError
        When the forecasts are of several models, runs or horizons, or the labels of another horizon.
    """
    run_id, model, horizon = _whose(forecasts)
    pairs = ordering.pairs(forecasts, labels, horizon)
    daily, skipped = ordering.by_date(pairs)
    lag = lags(len(daily), horizon)
    rank_ics = daily["rank_ic"].to_numpy()
    rank_ic, ic, spread = (estimate(daily[name].to_numpy(), lag) for name in ("rank_ic", "ic", "spread"))
    fifths = ordering.quantiles(pairs, daily, lag)
    return Judgement(
        run_id=run_id,
        model=model,
        horizon=horizon,
        rank_ic=rank_ic.mean,
        rank_ic_std=rank_ic.std,
        rank_ic_error=rank_ic.error,
        rank_ic_t=rank_ic.t,
        icir=rank_ic.ratio,
        icir_error=ratio_error(rank_ics, lag),
        ic=ic.mean,
        ic_error=ic.error,
        ic_t=ic.t,
        hit_rate=float(np.mean(rank_ics > 0)) if len(daily) else math.nan,
        spread=spread.mean,
        spread_error=spread.error,
        spread_t=spread.t,
        quantiles={name: each.mean for name, each in fifths.items()},
        quantile_errors={name: each.error for name, each in fifths.items()},
        lag=lag,
        breadth=float(np.median(daily["symbols"].to_numpy())) if len(daily) else 0.0,
        dates=len(daily),
        skipped=skipped,
        coverage=_coverage(daily, sessions),
        first=daily["date"][0] if len(daily) else None,
        last=daily["date"][-1] if len(daily) else None,
        years=_years(daily, horizon),
        by_date=daily.to_arrow(),
        turnover=persistence.turnover(forecasts, horizon, rank_ic.mean, spread.mean),
        decay=breakdown.by_horizon(forecasts, horizons),
        groups={name: breakdown.by_group(pairs, table, horizon) for name, table in (groups or {}).items()},
        accuracy={} if learnt is None else accuracy(forecasts, learnt, horizon),
    )


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


def _years(daily: pl.DataFrame, horizon: int) -> tuple[dict[str, float], ...]:
    years: list[dict[str, float]] = []
    dated = daily.with_columns(pl.col("date").dt.year().alias("year"))
    for rows in dated.partition_by("year", maintain_order=True):
        found = estimate(rows["rank_ic"].to_numpy(), lags(len(rows), horizon))
        told = {"year": rows["date"][0].year, "rank_ic": found.mean, "rank_ic_t": found.t}
        means = {name: estimate(rows[name].to_numpy(), 0).mean for name in ("ic", "spread")}
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
