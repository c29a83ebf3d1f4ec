"""Triple-barrier labels against a walk through the bars in plain Python, and the cases that hurt."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from aiquant.calendars import Sessions
from aiquant.errors import UsageError
from aiquant.features import barriers, labels
from aiquant.schemas import CORPORATE_ACTIONS, LABELS, conform

MakeBars = Callable[..., pa.Table]
QUARTER = 63


def walk(seed: int, count: int, volatility: float = 0.02) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, volatility, count)))
    return np.round(close * np.exp(rng.normal(0, 0.004, count)), 4), np.round(close, 4)


def oracle(
    opened: NDArray[np.float64], close: NDArray[np.float64], horizon: int, upper: float, lower: float
) -> dict[int, tuple[int, int, float]]:
    """Row → fill that opens, fill that closes, return; every session has a bar."""
    found = {}
    for row in range(QUARTER, len(close) - 1):
        moves = [close[i] / close[i - 1] - 1 for i in range(row - QUARTER + 1, row + 1)]
        width = float(np.std(moves, ddof=1)) * math.sqrt(horizon)
        entry = row + 1
        leave = entry + horizon
        for at in range(entry, min(entry + horizon, len(close))):
            gain = close[at] / opened[entry] - 1
            if gain >= upper * width or gain <= -lower * width:
                leave = at + 1
                break
        if leave < len(close):
            found[row] = (entry, leave, opened[leave] / opened[entry] - 1)
    return found


def test_the_first_touch_ends_the_label(make_bars: MakeBars, sessions: Sessions) -> None:
    count = 140
    opened, close = walk(1, count)
    other = walk(2, count)
    bars = make_bars(
        {
            "A": {"at": range(count), "open": opened, "close": close},
            "B": {"at": range(count), "open": other[0], "close": other[1]},
        }
    )
    table = barriers.triple_barrier(bars, sessions, 10, upper=0.8, lower=0.6)
    assert table.schema == LABELS.schema
    for symbol, (o, c) in {"A": (opened, close), "B": other}.items():
        expected = oracle(o, c, 10, 0.8, 0.6)
        rows = [row for row in table.to_pylist() if row["symbol"] == symbol]
        days = {day.item(): at for at, day in enumerate(sessions.dates[:count])}
        told = {days[r["date"]]: r for r in rows}
        assert told.keys() == expected.keys()
        for row, (entry, leave, value) in expected.items():
            assert told[row]["label_start"].replace(tzinfo=None) == sessions.opens[entry].item()
            assert told[row]["label_end"].replace(tzinfo=None) == sessions.opens[leave].item()
            assert told[row]["forward_return"] == pytest.approx(value, rel=1e-12)
        lengths = {leave - entry for entry, leave, _ in expected.values()}
        assert min(lengths) <= 2 and max(lengths) == 10 and len(lengths) > 5


def test_without_barriers_it_is_the_forward_return(make_bars: MakeBars, sessions: Sessions) -> None:
    opened, close = walk(3, 120)
    bars = make_bars({"A": {"at": range(120), "open": opened, "close": close}})
    plain = labels.forward_returns(bars, sessions, 5).slice(QUARTER)
    assert barriers.triple_barrier(bars, sessions, 5, None, None).equals(plain)


def test_one_sided(make_bars: MakeBars, sessions: Sessions) -> None:
    opened, close = walk(3, 120)
    bars = make_bars({"A": {"at": range(120), "open": opened, "close": close}})
    stopped = barriers.triple_barrier(bars, sessions, 8, None, 0.5).to_pylist()
    expected = oracle(opened, close, 8, math.inf, 0.5)
    assert [row["forward_return"] for row in stopped] == pytest.approx([value for _, _, value in expected.values()])


def test_a_split_is_no_loss(make_bars: MakeBars, sessions: Sessions) -> None:
    count, at = 120, 90
    opened, close = walk(4, count)
    whole = make_bars({"A": {"at": range(count), "open": opened, "close": close}})
    after = np.arange(count) >= at
    halved = make_bars(
        {"A": {"at": range(count), "open": opened / np.where(after, 2, 1), "close": close / np.where(after, 2, 1)}}
    )
    moment = sessions.opens[at].astype("datetime64[us]").item()
    split: dict[str, Any] = {
        "symbol": "A",
        "kind": "split",
        "date": sessions.dates[at].item(),
        "event_time": moment,
        "known_from": moment,
        "ratio": 2.0,
        "amount": None,
        "source": "test",
    }
    actions = conform(pa.Table.from_pylist([split], schema=CORPORATE_ACTIONS.schema), CORPORATE_ACTIONS)
    plain = barriers.triple_barrier(whole, sessions, 6, 0.7, 0.7)
    told = barriers.triple_barrier(halved, sessions, 6, 0.7, 0.7, actions=actions)
    assert told["label_end"].equals(plain["label_end"])
    np.testing.assert_allclose(told["forward_return"], plain["forward_return"], rtol=1e-9, atol=1e-12)


def test_a_touch_on_the_last_bar_before_a_pause_is_traded_behind_it(make_bars: MakeBars, sessions: Sessions) -> None:
    close = np.where(np.arange(66) % 2, 101.0, 100.0)
    opened = close.copy()
    close[65] = 140.0  # far above the barrier
    bars = make_bars(
        {
            "A": {"at": [*range(66), 70, 71], "open": [*opened, 150.0, 151.0], "close": [*close, 150.0, 151.0]},
            "M": {"at": range(72), "open": [1.0] * 72, "close": [1.0] * 72},
        }
    )
    table = barriers.triple_barrier(bars, sessions, 20, 2.0, 2.0).to_pylist()
    (row,) = [r for r in table if r["symbol"] == "A" and r["date"] == sessions.dates[64].item()]
    assert row["label_start"].replace(tzinfo=None) == sessions.opens[65].item()
    assert row["label_end"].replace(tzinfo=None) == sessions.opens[70].item()
    assert row["forward_return"] == pytest.approx(150 / 101 - 1)


def test_what_is_refused(make_bars: MakeBars, sessions: Sessions) -> None:
    bars = make_bars({"A": {"at": range(8), "close": range(1, 9)}})
    with pytest.raises(UsageError, match="upper barrier is a positive number"):
        barriers.triple_barrier(bars, sessions, 5, 0.0, 1.0)
    with pytest.raises(UsageError, match="horizon of 1 or more"):
        barriers.triple_barrier(bars, sessions, 0, 1.0, 1.0)
    assert barriers.triple_barrier(bars, sessions, 5, 1.0, 1.0).num_rows == 0  # no volatility is known yet
