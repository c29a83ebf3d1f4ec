"""Bars made up for the tests of features: gaps, late listings, ties, flat stretches, days without volume."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.schemas import BARS, conform


@pytest.fixture(scope="session")
def sessions() -> calendars.Sessions:
    return calendars.sessions("XNYS", date(2020, 1, 2), date(2021, 6, 30))


@pytest.fixture(scope="session")
def make_bars(sessions: calendars.Sessions) -> Callable[..., pa.Table]:
    """``make_bars({"A": {"at": [0, 1, 3], "close": [10, 11, 12]}})``: bars on the sessions with these positions."""

    def make(histories: dict[str, dict[str, Any]], adjustment: str = "none") -> pa.Table:
        frames = []
        for symbol, columns in histories.items():
            at = np.asarray(columns["at"])
            values = {name: pl.Series(np.asarray(v, dtype=float)) for name, v in columns.items() if name != "at"}
            close_time = pl.Series(sessions.closes[at]).dt.replace_time_zone("UTC")
            frames.append(
                pl.DataFrame(
                    {
                        "symbol": [symbol] * len(at),
                        "interval": ["1d"] * len(at),
                        "period": ["2020"] * len(at),
                        "date": pl.Series(sessions.dates[at]),
                        "event_time": close_time,
                        "known_from": close_time,
                        "adjustment": [adjustment] * len(at),
                        "source": ["test"] * len(at),
                        **values,
                    }
                )
            )
        table = pl.concat(frames, how="diagonal").to_arrow()
        return conform(table, BARS)

    return make


def history(seed: int, first: int, length: int, gaps: float = 0.06) -> dict[str, Any]:
    """A random history with suspensions, ties, flat stretches and days without volume; fields as float32 would hold."""
    rng = np.random.default_rng(seed)
    close = 20.0 * np.exp(np.cumsum(rng.normal(0, 0.02, length)))
    close = np.round(close, 1)  # ties
    if length > 52:
        close[40:52] = close[40]  # flat
    spread = np.abs(rng.normal(0, 0.01, (2, length)))
    opened = np.round(close * (1 + rng.normal(0, 0.005, length)), 1)
    high = np.maximum(close, opened) * (1 + spread[0])
    low = np.minimum(close, opened) * (1 - spread[1])
    high[45:48] = low[45:48] = opened[45:48] = close[45:48]  # a bar without range
    volume = np.round(np.exp(rng.normal(10, 1, length)))
    volume[rng.random(length) < 0.04] = 0
    there = rng.random(length) >= gaps
    there[0] = there[-1] = True
    if gaps:
        there[70:80] = False  # a long suspension
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": volume, "vwap": (high + low) / 2}
    return {
        "at": first + np.flatnonzero(there),
        **{k: v.astype(np.float32).astype(float)[there] for k, v in fields.items()},
    }


@pytest.fixture(scope="session")
def histories() -> dict[str, dict[str, Any]]:
    return {
        "AAA": history(1, 0, 160),
        "BBB": history(2, 30, 130),
        "CCC": history(3, 0, 150, 0.0),
        "DDD": history(4, 90, 5),
    }


@pytest.fixture(scope="session")
def panel(make_bars: Callable[..., pa.Table], histories: dict[str, dict[str, Any]]) -> pa.Table:
    return make_bars(histories)
