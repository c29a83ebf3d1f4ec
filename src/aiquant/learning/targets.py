"""What is learnt from a forward return: the return, or how it compares with the others of its date."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiquant.errors import DataError

Target = Literal["rank", "return", "excess", "beta-neutral"]

MIN_CROSS_SECTION = 2
"""Symbols with a label that a date needs before anything that compares them means something."""

CONDITIONS = ("volatility", "beta")
"""Columns that may stand beside labels: what was known of the symbol when the position was decided."""


def compares(target: Target) -> bool:
    """Whether the target of a symbol depends on the others of its date."""
    return target != "return"


def needs(target: Target, scaled: bool) -> tuple[str, ...]:
    """Those of :data:`CONDITIONS` that a target reads."""
    return (*(["volatility"] if scaled else []), *(["beta"] if target == "beta-neutral" else []))


def learnt(rows: pl.DataFrame, target: Target, horizon: int, scaled: bool = False) -> NDArray[np.float32]:
    """The target of each row.

    Parameters
    ----------
    rows
        ``event_time``, ``forward_return`` and what :func:`needs` names (``volatility`` of a bar's return; ``beta`` on
        the mean return of all symbols).
    target
        ``return``: the forward return r; ``excess``: r less the mean of the date; ``beta-neutral``: r less beta times
        that mean; ``rank``: the rank of r within the date, −0.5 to 0.5, ties shared.
    horizon
        Bars held.
    scaled
        Divide by the deviation of a return over the horizon, volatility × √horizon, before anything is ranked: a move
        counts for as much as it is unusual.

    Returns
    -------
    NDArray
        ``float32``, shape (n,); NaN where the return, or a condition that is needed, is not known or not finite, and
        where a date has fewer than two rows left to compare.

    Raises
    ------
    DataError
        When a column that the target needs is not there.
    """
    missing = [name for name in needs(target, scaled) if name not in rows.columns]
    if rows["forward_return"].null_count() == len(rows):
        return np.full(len(rows), np.nan, dtype=np.float32)
    if missing:
        raise DataError(
            f"the target {target!r} needs the {' and '.join(missing)} of each label, which the labels do not have",
            "give labels with the conditions of their decisions",
        )
    value: pl.Expr = pl.when(pl.col("forward_return").is_finite()).then("forward_return")
    mean = value.mean().over("event_time")
    if target == "excess":
        value = value - mean
    elif target == "beta-neutral":
        value = value - _finite("beta") * mean
    if scaled:
        value = value / pl.when(_finite("volatility") > 0).then(pl.col("volatility") * math.sqrt(horizon))
    if target == "rank":
        value = (value.rank("average").over("event_time") - 1) / (value.count().over("event_time") - 1) - 0.5
    if compares(target):
        value = pl.when(value.count().over("event_time") >= MIN_CROSS_SECTION).then(value)
    series = rows.select(value.cast(pl.Float32).fill_null(np.nan)).to_series()
    return np.ascontiguousarray(series.to_numpy())


def _finite(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_finite()).then(pl.col(name).cast(pl.Float64))
