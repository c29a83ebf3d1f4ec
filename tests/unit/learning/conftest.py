"""Small markets for the tests of the room: symbols A, B, C … with one decision a session at 21:00 UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from aiquant.schemas import LABELS, TIME

Market = tuple[pa.Table, pa.Table]


def close_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 21, tzinfo=UTC)


def weekdays(first: date, count: int) -> list[date]:
    days = (first + timedelta(days=i) for i in range(2 * count + 7))
    return [day for day in days if day.weekday() < 5][:count]


@pytest.fixture(scope="session")
def market() -> Callable[..., Market]:
    """``market(days, symbols, horizon, features, seed)`` → features and labels of a random walk.

    Labels run from the next session's close to the close ``horizon`` sessions later, as where there are no opens. The
    feature ``edge`` is the forward return in noise; the others are noise alone.
    """

    def make(
        days: list[date], symbols: int = 3, horizon: int = 2, features: int = 2, seed: int = 0, noise: float = 1.0
    ) -> Market:
        rng = np.random.default_rng(seed)
        n, names = len(days), [chr(ord("A") + i) for i in range(symbols)]
        logs = rng.normal(0, 0.02, size=(n, symbols)).cumsum(axis=0)
        forward = np.full((n, symbols), np.nan)
        if n > horizon + 1:
            forward[: -horizon - 1] = np.exp(logs[horizon + 1 :] - logs[1:-horizon]) - 1
        times = [close_of(day) for day in days]
        moments = pa.array([time for time in times for _ in names], TIME)
        keys = {
            "symbol": pa.array(names * n),
            "date": pa.array([day for day in days for _ in names], pa.date32()),
            "event_time": moments,
            "known_from": moments,
        }
        edge = np.nan_to_num(forward) / 0.03 + rng.normal(0, noise, size=forward.shape)
        noisy = {f"noise_{i}": pa.array(rng.normal(size=n * symbols).astype(np.float32)) for i in range(features - 1)}
        table = pa.table(keys | {"edge": pa.array(edge.reshape(-1).astype(np.float32))} | noisy)
        rows = [
            {
                "symbol": name,
                "date": days[t],
                "event_time": times[t],
                "horizon": horizon,
                "label_start": times[t + 1],
                "label_end": times[t + 1 + horizon],
                "forward_return": float(forward[t, s]),
            }
            for t in range(n - horizon - 1)
            for s, name in enumerate(names)
        ]
        return table, pa.Table.from_pylist(rows, schema=LABELS.schema)

    return make
