"""What all tests share. Real data is used where it lies beside the project, and never copied into it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data beside the project; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the project: this test needs real market data")
    return folder


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of the person who runs the tests must not reach them."""
    for name in list(os.environ):
        if name.startswith("AIQUANT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AIQUANT_SECRETS_DIR", str(tmp_path / "no-secrets"))


MakeBars = Callable[..., pa.Table]


@pytest.fixture(scope="session")
def make_bars() -> MakeBars:
    """Random daily bars of a small market: ``make_bars(symbols=8, first=date(2015, 1, 2), last=…, seed=0)``."""
    return random_bars


def random_bars(
    symbols: int = 8,
    first: date = date(2015, 1, 2),
    last: date = date(2019, 12, 31),
    seed: int = 0,
    signal: float = 0.0,
) -> pa.Table:
    """Bars of a seeded random walk in the schema ``bars``; ``signal`` makes yesterday's return repeat in part."""
    from aiquant import calendars, schemas

    sessions = calendars.sessions("XNYS", first, last)
    n, rng = len(sessions), np.random.default_rng(seed)
    shocks = rng.normal(0.0003, 0.02, (symbols, n))
    for t in range(1, n):
        shocks[:, t] += signal * shocks[:, t - 1]
    close = 50 * np.exp(np.cumsum(shocks, axis=1)) * rng.uniform(0.5, 4, (symbols, 1))
    open_ = np.concatenate([close[:, :1], close[:, :-1]], axis=1) * np.exp(rng.normal(0, 0.004, (symbols, n)))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.004, (symbols, n))))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.004, (symbols, n))))
    volume = np.floor(rng.lognormal(13, 0.5, (symbols, n)))
    dates = pl.Series(np.tile(sessions.dates, symbols)).cast(pl.Date)
    closes = pl.Series(np.tile(sessions.closes, symbols)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    frame = pl.DataFrame(
        {
            "symbol": np.repeat([f"S{i:03d}" for i in range(symbols)], n),
            "interval": "1d",
            "period": dates.dt.year().cast(pl.String),
            "date": dates,
            "event_time": closes,
            "known_from": closes,
            "open": open_.ravel(),
            "high": high.ravel(),
            "low": low.ravel(),
            "close": close.ravel(),
            "volume": volume.ravel(),
            "adjustment": "none",
            "source": "test",
        }
    )
    return schemas.conform(frame.to_arrow(), schemas.BARS)
