"""Forecasts and past returns for tests of portfolio construction."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiquant.portfolio.history import History
from aiquant.schemas import FORECASTS, conform

FIRST = date(2020, 1, 1)


def day(place: int) -> date:
    return FIRST + timedelta(days=place)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"S{k:02d}" for k in range(count))


def with_covariance(covariance: Any, bars: int = 200, mean: Any = 0.0, seed: int = 1) -> NDArray[np.float64]:
    """Returns whose sample mean and covariance (n − 1) are exactly those that are asked for."""
    wanted = np.asarray(covariance, dtype=float)
    raw = np.random.default_rng(seed).normal(size=(bars, len(wanted)))
    orthogonal = np.linalg.qr(raw - raw.mean(axis=0))[0] * np.sqrt(bars - 1)
    return np.asarray(orthogonal @ np.linalg.cholesky(wanted).T + mean)


def history(returns: Any, volume: Any = 1e9, classes: pa.Table | None = None) -> History:
    returns = np.asarray(returns, dtype=float)
    bars, count = returns.shape
    days = np.datetime64(FIRST) + np.arange(bars)
    laid = pa.table(
        {
            "symbol": [s for _ in range(bars) for s in names(count)],
            "date": pa.array(np.repeat(days, count)),
            "past_return": pa.array(returns.ravel(), from_pandas=True),
            "dollar_volume": pa.array(np.broadcast_to(np.asarray(volume, float), returns.shape).ravel()),
        }
    )
    return History.of(laid, classes)


def forecasts(by_day: dict[int, Any], expected: Any = None) -> pa.Table:
    """``by_day``: place of the day → a forecast for each symbol, None for a symbol without one."""
    rows = [
        {
            "run_id": "r",
            "model": "m",
            "symbol": symbol,
            "date": day(place),
            "event_time": datetime.combine(day(place), datetime.min.time(), UTC) + timedelta(hours=21),
            "horizon": 5,
            "forecast": float(value),
            "fold": 0,
        }
        for place, values in by_day.items()
        for symbol, value in zip(names(len(values)), values, strict=True)
        if value is not None
    ]
    table = conform(pa.Table.from_pylist(rows), FORECASTS)
    if expected is not None:
        table = table.append_column("expected", pa.array(np.tile(expected, len(by_day)), pa.float64()))
    return table


def books(table: pa.Table) -> dict[int, dict[str, float]]:
    """Place of the day → weight of each symbol."""
    found: dict[int, dict[str, float]] = {}
    for row in table.to_pylist():
        found.setdefault((row["date"] - FIRST).days, {})[row["symbol"]] = row["weight"]
    return found
