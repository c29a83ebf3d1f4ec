"""Everything that was tried: a result can only be judged beside what it was chosen from.

A trial is a *configuration* (all settings that make its forecasts and its book) that somebody looked at: each training
run of a workspace, each other book that was backtested for one, each trial of a tuning. The same configuration tried
again, on newer data or by a tuning and then by a training, is one trial.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from aiquant.schemas import TRIAL_RETURNS, TRIALS, conform

RUNS, BACKTESTS, STRATEGIES = "runs", "backtests", "strategies"
"""The studies of trainings, of books that were tried for one, and of strategies that need none; other studies are
tunings and sweeps, by their names."""

State = Literal["complete", "pruned", "failed"]
Dates = NDArray[np.datetime64]


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes
    ----------
    study, trial
        Together they name it; recording it twice is recording it once.
    model
        Name of the forecaster.
    configuration
        ``aiquant.jobs.trials.configuration(settings)``: a digest of all settings that make its forecasts and its book.
    params
        What was set for it, for people.
    run_id
        The training run that it is, or belongs to.
    objective
        Mean rank IC out of sample.
    tried
        When; UTC.
    """

    study: str
    trial: str
    model: str
    configuration: str
    params: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    objective: float | None = None
    state: State = "complete"
    tried: datetime = field(default_factory=lambda: datetime.now(UTC))


def rows(trials: Iterable[Trial]) -> pa.Table:
    """Trials in the schema ``TRIALS``; an objective that is not a finite number is null."""
    told = [
        {
            "study": trial.study,
            "trial": trial.trial,
            "run_id": trial.run_id,
            "model": trial.model,
            "configuration": trial.configuration,
            "params": json.dumps(dict(trial.params), sort_keys=True, default=str),
            "objective": trial.objective if trial.objective is not None and np.isfinite(trial.objective) else None,
            "state": trial.state,
            "ingest_time": trial.tried,
        }
        for trial in trials
    ]
    return pa.Table.from_pylist(told, schema=TRIALS.schema)


def returns(equity: pa.Table, study: str, trial: str) -> pa.Table:
    """The net returns of an account from close to close, in the schema ``TRIAL_RETURNS``.

    Parameters
    ----------
    equity
        Table ``equity`` of one account, at least one row; its first mark gives no return.
    """
    marks = pl.DataFrame(pl.from_arrow(equity.select(["date", "equity"]))).sort("date")
    told = marks.select(
        pl.lit(study).alias("study"),
        pl.lit(trial).alias("trial"),
        "date",
        net_return=pl.col("equity") / pl.col("equity").shift(1) - 1.0,
    ).slice(1)
    return conform(told.filter(pl.col("net_return").is_finite()).to_arrow(), TRIAL_RETURNS)


@dataclass(frozen=True, eq=False)
class Tried:
    """All configurations that were tried, each once.

    Attributes
    ----------
    names
        ``configuration`` of each column of ``matrix``.
    dates
        ``datetime64[D]``, shape (n,), ascending: sessions with a return of any trial.
    matrix
        ``float64``, shape (n, m): net returns; NaN where a trial has none. Trials without any return (pruned, failed,
        or never traded) have no column.
    count
        Configurations, those without a column too.
    """

    names: tuple[str, ...]
    dates: Dates
    matrix: NDArray[np.float64]
    count: int

    def on(self, dates: Dates, share: float = 0.9) -> Tried:
        """The trials that traded on at least ``share`` of ``dates``, on those of them that all of these share."""
        at = np.flatnonzero(np.isin(self.dates, dates))
        there = np.isfinite(self.matrix[at])
        enough = there.sum(axis=0) >= max(share * len(dates), 1.0)
        common = at[there[:, enough].all(axis=1)] if enough.any() else at[:0]
        names = tuple(name for name, kept in zip(self.names, enough, strict=True) if kept)
        return Tried(names, self.dates[common], self.matrix[np.ix_(common, enough)], self.count)

    def beside(self, name: str, dates: Dates, returns: NDArray[np.float64]) -> Tried:
        """With these net returns (shape of ``dates``, ascending) as the configuration's only record."""
        others = [other != name for other in self.names]
        everything = np.union1d(self.dates, dates)
        matrix = np.full((len(everything), sum(others) + 1), np.nan)
        matrix[np.searchsorted(everything, self.dates), :-1] = self.matrix[:, others]
        matrix[np.searchsorted(everything, dates), -1] = returns
        known = all(others)
        names = (*(other for other, kept in zip(self.names, others, strict=True) if kept), name)
        return Tried(names, everything, matrix, max(self.count + known, len(names)))


def gather(trials: pa.Table, net_returns: pa.Table) -> Tried:
    """Read the ledger: of a configuration that was tried more than once, the trial with the most sessions counts.

    Parameters
    ----------
    trials, net_returns
        In the schemas ``TRIALS`` and ``TRIAL_RETURNS``; returns without a trial do not count.
    """
    told = pl.DataFrame(pl.from_arrow(trials.select(["study", "trial", "configuration"])))
    values = pl.DataFrame(pl.from_arrow(net_returns))
    lengths = values.group_by("study", "trial").agg(pl.len().alias("sessions"))
    ranked = told.join(lengths, on=["study", "trial"], how="left").sort(
        ["configuration", "sessions", "study", "trial"], descending=[False, True, False, False], nulls_last=True
    )
    one_each = ranked.unique("configuration", keep="first", maintain_order=True)
    traded = one_each.filter(pl.col("sessions").is_not_null())
    names = tuple(traded["configuration"])
    placed = values.join(traded.with_row_index("column"), on=["study", "trial"], how="inner")
    dates = np.unique(placed["date"].to_numpy()).astype("datetime64[D]")
    matrix = np.full((len(dates), len(names)), np.nan)
    rows_at = np.searchsorted(dates, placed["date"].to_numpy().astype("datetime64[D]"))
    matrix[rows_at, placed["column"].to_numpy()] = placed["net_return"].to_numpy()
    return Tried(names, dates, matrix, len(one_each))
