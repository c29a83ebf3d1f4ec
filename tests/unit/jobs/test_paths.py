"""Paths through the folds of a cross-validation: each row once, from the fold that the path takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.errors import UsageError
from aiquant.jobs import paths
from aiquant.schemas import FORECASTS
from aiquant.settings import CombinatorialSettings

FIRST = datetime(2020, 1, 1, 21, tzinfo=UTC)


def test_a_path_takes_each_group_from_one_fold() -> None:
    # Six decisions in three groups of two; folds 0, 1 and 2 test the groups {0,1}, {0,2} and {1,2}.
    tested = {0: (0, 1, 2, 3), 1: (0, 1, 4, 5), 2: (2, 3, 4, 5)}
    rows = [
        {
            "run_id": "r",
            "model": "m",
            "symbol": "A",
            "date": (FIRST + timedelta(days=t)).date(),
            "event_time": FIRST + timedelta(days=t),
            "horizon": 1,
            "forecast": 10.0 * fold + t,
            "fold": fold,
        }
        for fold, times in tested.items()
        for t in times
    ]
    starts = np.array([FIRST.replace(tzinfo=None) + timedelta(days=t) for t in (0, 2, 4)], dtype="datetime64[us]")
    table = pa.Table.from_pylist(rows, schema=FORECASTS.schema)
    told = pl.DataFrame(paths._along(table, {0: 1, 1: 0, 2: 2}, starts)).sort("event_time")
    assert told["forecast"].to_list() == [10, 11, 2, 3, 24, 25]


def test_the_spread_leaves_out_what_is_not_known() -> None:
    assert paths._spread([0.5, None, -0.1, 0.2]) == pytest.approx(
        {"mean": 0.2, "std": 0.3, "lowest": -0.1, "highest": 0.5, "above_0": 2 / 3}
    )
    assert set(paths._spread([None]).values()) == {None}


@pytest.mark.parametrize(
    ("groups", "tested", "said"), [(4, 4, "one must be left to learn from"), (20, 5, "15,504 fits, and at most 100")]
)
def test_what_is_refused(groups: int, tested: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        paths._check(CombinatorialSettings(groups=groups, tested=tested))
