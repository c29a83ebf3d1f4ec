"""Books that need no forecast."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from aiquant.backtest import baselines, engine
from aiquant.errors import DataError
from aiquant.schemas import TARGET_WEIGHTS

CLOSES: dict[str, list[float | None]] = {"A": [10, 10, 20, 20, 20], "B": [10, 10, 10, 10, 10], "C": [None, 5, 5, 5, 5]}


def books(table: pa.Table) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for row in table.to_pylist():
        found.setdefault(row["date"].day - 1, {})[row["symbol"]] = row["weight"]
    return found


def test_equal_weight_takes_who_has_a_bar_and_decides_every_few_sessions(tiny: SimpleNamespace) -> None:
    table = baselines.equal_weight(tiny.bars(CLOSES), tiny.day(0), tiny.day(4), 2)
    third = pytest.approx(1 / 3)
    assert books(table) == {0: {"A": 0.5, "B": 0.5}, 2: dict.fromkeys("ABC", third), 4: dict.fromkeys("ABC", third)}
    assert table.schema == TARGET_WEIGHTS.schema
    assert sorted(books(baselines.equal_weight(tiny.bars(CLOSES), tiny.day(1), tiny.day(3), 2))) == [1, 3]


def test_buy_and_hold_decides_once(tiny: SimpleNamespace) -> None:
    table = baselines.buy_and_hold(tiny.bars(CLOSES), tiny.day(0), tiny.day(4))
    assert books(table) == {0: {"A": 0.5, "B": 0.5}}


def test_both_run_through_the_same_account(tiny: SimpleNamespace) -> None:
    bars: pa.Table = tiny.bars({"A": [10, 10, 20, 20], "B": [10, 10, 10, 10]})
    run: Callable[[pa.Table], list[Any]] = (
        lambda table: engine.run(table, bars, tiny.sessions(4), tiny.free()).equity["equity"].to_pylist()  # noqa: E731
    )
    # 50 of each; day 2: 1500. Rebalanced on day 2 to 37.5 A and 75 B, which changes nothing at constant prices.
    assert run(baselines.buy_and_hold(bars, tiny.day(0), tiny.day(3))) == [1000, 1000, 1500, 1500]
    assert run(baselines.equal_weight(bars, tiny.day(0), tiny.day(3), 2)) == [1000, 1000, 1500, 1500]


def test_dates_without_bars_are_refused(tiny: SimpleNamespace) -> None:
    with pytest.raises(DataError, match="no bars between 2030-01-01 and 2030-12-31"):
        baselines.equal_weight(tiny.bars(CLOSES), date(2030, 1, 1), date(2030, 12, 31), 5)
