"""Many strategies side by side: on the same dates, pair by pair, and as what one chose from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest import bootstrap, sharpe
from aiquant.backtest.evaluation.selection import combinatorial_paths, walk_forward
from aiquant.backtest.overfitting import probability_of_overfitting
from aiquant.backtest.statistics import Summary, summarise
from aiquant.backtest.superiority import superior_predictive_ability
from aiquant.errors import DataError
from aiquant.settings import EvaluationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SESSIONS = 10
"""Returns on common dates that a comparison needs."""


@dataclass(frozen=True)
class Compared:
    """One strategy among those that are compared; figures over the common dates.

    Attributes
    ----------
    probability
        Probabilistic Sharpe ratio against 0.
    deflated
        The same against what the best of all compared would show by luck.
    """

    name: str
    summary: Summary
    probability: float
    deflated: float


@dataclass(frozen=True)
class Pair:
    """A strategy against the reference on the same dates, by the paired stationary bootstrap.

    Attributes
    ----------
    return_difference, return_low, return_high
        Difference of the mean returns, annualised, with its interval at 95 %.
    probability
        One less the p-value of the hypothesis that the strategy's mean return is not above the reference's.
    sharpe_difference, sharpe_low, sharpe_high
        Difference of the annualised Sharpe ratios, with its interval at 95 %.
    """

    name: str
    reference: str
    return_difference: float
    return_low: float
    return_high: float
    probability: float
    sharpe_difference: float
    sharpe_low: float
    sharpe_high: float


@dataclass(frozen=True)
class Choice:
    """What choosing the best of the past among the strategies would have earned.

    Attributes
    ----------
    train, test
        Sessions that were chosen on, and held for.
    first
        First date that was held.
    sharpe, annual_return
        Of the choice by walk-forward, out of sample.
    best_sharpe
        Of the strategy that was best over the same sessions, by hindsight.
    switches
        How often the choice changed.
    paths
        Annualised Sharpe ratios of the combinatorial paths, ascending.
    """

    train: int
    test: int
    first: date
    sharpe: float
    annual_return: float
    best_sharpe: float
    switches: int
    paths: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes
    ----------
    first, last, sessions
        Common dates; sessions are returns.
    strategies
        In the order they were given; the first is the reference.
    correlation
        Of the returns, rows and columns in that order.
    pairs
        Each of the others against the reference.
    overfitting
        Probability that the best in sample is below the median out of sample (PBO); NaN where it cannot be reckoned.
    overfitting_blocks
        Blocks it was reckoned with.
    superiority
        p-value of Hansen's SPA that none of the others is better than the reference; ``superiority_best`` names the
        best. NaN and "" with a single strategy.
    choice
        None where the history is too short.
    notes
        What was left out.
    """

    first: date
    last: date
    sessions: int
    strategies: tuple[Compared, ...]
    correlation: tuple[tuple[float, ...], ...]
    pairs: tuple[Pair, ...]
    overfitting: float
    overfitting_blocks: int
    superiority: float
    superiority_best: str
    choice: Choice | None
    notes: tuple[str, ...]


def common(curves: Mapping[str, pa.Table]) -> tuple[dict[str, pa.Table], list[str]]:
    """The accounts on the dates that all of them have, and a note for each that loses dates by it.

    Raises
    ------
    DataError
        When there are fewer than two accounts, or too few common dates.
    """
    if len(curves) < 2:
        raise DataError("a comparison needs at least two strategies", "name another run or file of equity")
    frames = {name: pl.DataFrame(pl.from_arrow(table)).sort("date") for name, table in curves.items()}
    days = None
    for frame in frames.values():
        own = frame.select("date")
        days = own if days is None else days.join(own, on="date", how="inner", maintain_order="left")
    assert days is not None
    if len(days) <= LEAST_SESSIONS:
        raise DataError(f"the strategies have {len(days)} date(s) in common, too few to compare them")
    notes = []
    for name, frame in frames.items():
        inside = frame.filter(pl.col("date").is_between(days["date"][0], days["date"][-1]))
        outside, between = len(frame) - len(inside), len(inside) - len(days)
        if outside or between:
            inner = f" and {between} between them" if between else ""
            notes.append(f"{name}: {outside} date(s) outside of the common ones{inner} were left out")
    kept = {name: frame.join(days, on="date", how="semi").sort("date").to_arrow() for name, frame in frames.items()}
    return kept, notes


def compare(
    curves: Mapping[str, pa.Table], settings: EvaluationSettings, sessions_per_year: float, risk_free: float = 0.0
) -> Comparison:
    """Compare accounts; the first is the reference.

    Parameters
    ----------
    curves
        Name → table in the schema ``EQUITY``, two or more.

    Raises
    ------
    DataError
        When they have too few dates in common.
    """
    kept, notes = common(curves)
    names = list(kept)
    summaries = [summarise(table, sessions_per_year, risk_free) for table in kept.values()]
    marks = np.column_stack([table["equity"].to_numpy() for table in kept.values()])
    rate = (1.0 + risk_free) ** (1.0 / sessions_per_year) - 1.0
    excess = marks[1:] / marks[:-1] - 1.0 - rate
    if not np.isfinite(excess).all():
        raise DataError("a strategy was ruined within the common dates, or has a mark that is no number")
    days = kept[names[0]]["date"].to_pylist()
    shapes = [sharpe.moments(excess[:, i]) for i in range(len(names))]
    ratios = np.array([shape.sharpe for shape in shapes])
    variance = float(np.nanvar(ratios, ddof=1))
    trials = max(settings.trials, len(names))
    told = tuple(
        Compared(name, summary, sharpe.probability(shape), sharpe.deflated(shape, variance, trials))
        for name, summary, shape in zip(names, summaries, shapes, strict=True)
    )
    pairs = tuple(_pair(names, excess, i, sessions_per_year, settings) for i in range(1, len(names)))
    blocks = _blocks(len(excess), settings.blocks)
    overfitting = probability_of_overfitting(excess, blocks).probability if blocks else math.nan
    spa = superior_predictive_ability(excess[:, 1:] - excess[:, :1], seed=settings.seed, draws=settings.draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(excess.T)
    return Comparison(
        days[0],
        days[-1],
        len(excess),
        told,
        tuple(tuple(float(v) for v in row) for row in correlation),
        pairs,
        overfitting,
        blocks,
        spa.consistent,
        names[1 + spa.best],
        _choice(excess + rate, days[1:], rate, sessions_per_year, settings),
        tuple(notes),
    )


def _blocks(count: int, wanted: int) -> int:
    """Even number of blocks of at least ten sessions, at most ``wanted``; 0 where there are too few for four."""
    most = min(wanted, count // 10)
    most -= most % 2
    return most if most >= 4 else 0


def _pair(
    names: list[str], excess: NDArray[np.float64], i: int, sessions_per_year: float, settings: EvaluationSettings
) -> Pair:
    own, reference = excess[:, i], excess[:, 0]
    apart = bootstrap.difference(own, reference, seed=settings.seed, draws=settings.draws)
    root = math.sqrt(sessions_per_year)
    ratio, low, high = (part * root for part in sharpe_difference(own, reference, settings.seed, settings.draws))
    year = sessions_per_year
    return Pair(
        names[i],
        names[0],
        apart.mean * year,
        apart.low * year,
        apart.high * year,
        apart.probability,
        ratio,
        low,
        high,
    )


def sharpe_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], seed: int, draws: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Difference of two Sharpe ratios (per observation) with its percentile interval, both resampled at one's places.

    Returns
    -------
    tuple
        Difference, low and high end; NaN where one of the series does not vary.
    """
    both = np.column_stack([first, second])
    if not (both.std(axis=0) > sharpe.NO_VARIANCE).all():
        return math.nan, math.nan, math.nan
    length = bootstrap.block_length(both)
    drawn = []
    for at in bootstrap.resamples(len(both), length, draws, seed):
        picked = both[at]
        ratios = picked.mean(axis=1) / np.maximum(picked.std(axis=1, ddof=1), sharpe.NO_VARIANCE)
        drawn.append(ratios[:, 0] - ratios[:, 1])
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(np.concatenate(drawn), [tail, 1.0 - tail])
    apart = sharpe.moments(first).sharpe - sharpe.moments(second).sharpe
    return apart, float(low), float(high)


def _choice(
    returns: NDArray[np.float64], days: list[date], rate: float, sessions_per_year: float, settings: EvaluationSettings
) -> Choice | None:
    if len(returns) <= settings.train + settings.test:
        return None
    root = math.sqrt(sessions_per_year)
    held = walk_forward(returns - rate, settings.train, settings.test)
    hindsight = [sharpe.moments(column).sharpe for column in (returns[held.rows] - rate).T]
    paths = combinatorial_paths(returns - rate, settings.groups, settings.tested)
    growth = float(np.log1p(held.returns + rate).sum())
    return Choice(
        settings.train,
        settings.test,
        days[int(held.rows[0])],
        sharpe.moments(held.returns).sharpe * root,
        math.expm1(growth * sessions_per_year / len(held.rows)),
        float(np.nanmax(hindsight)) * root,
        int((np.diff(held.chosen) != 0).sum()),
        tuple(sorted(sharpe.moments(path).sharpe * root for path in paths)),
    )
