"""Volatility and mean volume before each bar: what slippage and market impact are reckoned from.

Each value is made anew from the bars of its own window, so it does not depend on where an array begins: an account that
goes on session by session sees the same numbers as a backtest of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def returns_of(close: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Returns from the last known close, at most ``window`` bars old; NaN where there is none. Shape (t, n)."""
    known, age = np.full(close.shape[1], np.nan), np.zeros(close.shape[1], dtype=np.int64)
    returns = np.full(close.shape, np.nan)
    for t in range(len(close)):
        there = np.isfinite(close[t])
        returns[t] = np.where(there & (age <= window), close[t] / known - 1.0, np.nan)
        known, age = np.where(there, close[t], known), np.where(there, 1, age + 1)
    return returns


def volatility_before(returns: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Standard deviation of the returns of the ``window`` bars before each bar; NaN for fewer than two of them."""
    mean, count = _mean_before(returns, window)
    squares = np.zeros(returns.shape)
    for past in _before(returns, window):
        squares += np.where(np.isfinite(past), (past - mean) ** 2, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count >= 2, np.sqrt(squares / (count - 1)), np.nan)


def mean_volume_before(volume: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean of the known volumes of the ``window`` bars before each bar; NaN where that is not above 0."""
    mean, _ = _mean_before(volume, window)
    return np.where(mean > 0, mean, np.nan)


def median_where_unknown(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN replaced by the median of the bar's other symbols, or 0."""
    unknown = ~np.isfinite(values)
    filled = values.copy()
    for t in np.flatnonzero(unknown.any(axis=1)):
        others = values[t][~unknown[t]]
        filled[t, unknown[t]] = np.median(others) if len(others) else 0.0
    return filled


def _before(values: NDArray[np.float64], window: int) -> Iterator[NDArray[np.float64]]:
    """The values of one bar before, of two bars before …, in one array that is written anew."""
    past = np.full(values.shape, np.nan)
    for back in range(1, min(window, len(values)) + 1):
        past[back:] = values[: len(values) - back]
        past[:back] = np.nan
        yield past


def _mean_before(values: NDArray[np.float64], window: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    total, count = np.zeros(values.shape), np.zeros(values.shape, dtype=np.int64)
    for past in _before(values, window):
        there = np.isfinite(past)
        total += np.where(there, past, 0.0)
        count += there
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan), count
