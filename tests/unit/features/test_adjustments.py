from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.calendars import Sessions
from aiquant.features import adjustments, engine, grid
from aiquant.features.catalogue import FeatureSet, define
from aiquant.schemas import CORPORATE_ACTIONS, conform

MakeBars = Callable[..., pa.Table]


def action(sessions: Sessions, kind: str, at: int, number: float, known_at: int | None = None) -> dict[str, Any]:
    moment = pl.Series(np.array([sessions.opens[at if known_at is None else known_at]])).dt.replace_time_zone("UTC")[0]
    return {
        "symbol": "A",
        "kind": kind,
        "date": sessions.dates[at].item(),
        "event_time": moment,
        "known_from": moment,
        "ratio": number if kind == "split" else None,
        "amount": number if kind == "dividend" else None,
        "source": "test",
    }


def table(*rows: dict[str, Any]) -> pa.Table:
    return conform(pa.Table.from_pylist(list(rows), schema=CORPORATE_ACTIONS.schema), CORPORATE_ACTIONS)


def column(name: str, bars: pa.Table, sessions: Sessions, acted: pa.Table, dividends: bool = False) -> list[float]:
    laid = adjustments.apply(grid.build(bars, sessions), acted, dividends)
    return laid.rows[name].to_list()


@pytest.fixture
def bars(make_bars: MakeBars) -> pa.Table:
    return make_bars({"A": {"at": [0, 1, 2, 4, 5], "close": [10, 10, 5, 5, 5], "volume": [1, 1, 2, 2, 2]}})


def test_prices_go_on_in_units_of_an_old_share(bars: pa.Table, sessions: Sessions) -> None:
    acted = table(action(sessions, "split", 2, 2.0))
    assert column("close", bars, sessions, acted) == [10, 10, 10, 10, 10]
    assert column("volume", bars, sessions, acted) == [1, 1, 1, 1, 1]
    assert column("open", bars, sessions, acted) == [None] * 5


def test_a_later_split_never_rewrites_the_past(bars: pa.Table, sessions: Sessions) -> None:
    one, two = action(sessions, "split", 2, 2.0), action(sessions, "split", 5, 3.0)
    assert column("close", bars, sessions, table(one, two))[:4] == column("close", bars, sessions, table(one))[:4]
    assert column("close", bars, sessions, table(one, two))[4] == 30


def test_an_action_counts_from_the_first_bar_that_could_know_it(bars: pa.Table, sessions: Sessions) -> None:
    # of a day without a bar: from the next one
    assert column("close", bars, sessions, table(action(sessions, "split", 3, 2.0))) == [10, 10, 5, 10, 10]
    # taken in late: from then on
    assert column("close", bars, sessions, table(action(sessions, "split", 1, 2.0, known_at=4))) == [10, 10, 5, 10, 10]
    # before the first bar: in all of them, wherever the history starts
    split = table(action(sessions, "split", 2, 2.0))
    assert column("close", bars.slice(3), sessions, split) == [10, 10]
    # after the last bar, or of another symbol: in none
    assert column("close", bars, sessions, table(action(sessions, "split", 9, 2.0))) == [10, 10, 5, 5, 5]
    other = {**action(sessions, "split", 2, 2.0), "symbol": "Z"}
    assert column("close", bars, sessions, table(other)) == [10, 10, 5, 5, 5]


def test_only_the_newest_version_of_an_action_counts(bars: pa.Table, sessions: Sessions) -> None:
    wrong = action(sessions, "split", 2, 20.0)
    right = action(sessions, "split", 2, 2.0)
    right["known_from"] += timedelta(days=1)
    assert column("close", bars, sessions, table(right, wrong)) == [10, 10, 10, 10, 10]


def test_dividends_count_only_when_asked_for(bars: pa.Table, sessions: Sessions) -> None:
    acted = table(action(sessions, "dividend", 4, 1.0))
    assert column("close", bars, sessions, acted) == [10, 10, 5, 5, 5]
    # the last close before was 5: factor 5 / (5 − 1)
    assert column("close", bars, sessions, acted, dividends=True) == [10, 10, 5, 6.25, 6.25]


def test_features_do_not_see_a_split(bars: pa.Table, sessions: Sessions) -> None:
    chosen = FeatureSet("t", define([("r", "$close/Ref($close, 1)-1", "", "")]))
    raw = np.asarray(engine.compute(chosen, bars, sessions)["r"])
    adjusted = np.asarray(engine.compute(chosen, bars, sessions, table(action(sessions, "split", 2, 2.0)))["r"])
    assert raw[2] == -0.5
    assert adjusted[2] == 0.0
