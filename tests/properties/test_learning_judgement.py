"""What must hold of a judgement, whatever the forecasts are."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from random import Random

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from aiquant.learning import judgement
from aiquant.learning.judgement import Judgement
from aiquant.schemas import FORECASTS, LABELS

values = st.integers(-50, 50).map(lambda whole: whole / 1000)
matrices = st.tuples(st.integers(2, 6), st.integers(5, 9)).flatmap(
    lambda shape: st.tuples(arrays.arrays(float, shape, elements=values), arrays.arrays(float, shape, elements=values))
)


def judge(forecast: NDArray[np.float64], returns: NDArray[np.float64], order: list[int] | None = None) -> Judgement:
    rows = []
    for t, s in np.ndindex(*forecast.shape):
        day = date(2020, 1, 1) + timedelta(days=int(t))
        time = datetime(day.year, day.month, day.day, 21, tzinfo=UTC)
        rows.append(
            {
                "run_id": "r",
                "model": "m",
                "symbol": f"S{s}",
                "date": day,
                "event_time": time,
                "horizon": 1,
                "forecast": float(forecast[t, s]),
                "fold": 0,
                "label_start": time + timedelta(days=1),
                "label_end": time + timedelta(days=2),
                "forward_return": float(returns[t, s]),
            }
        )
    shuffled = [rows[i] for i in order] if order else rows
    told = [{name: row[name] for name in FORECASTS.schema.names} for row in shuffled]
    known = [{name: row[name] for name in LABELS.schema.names} for row in rows]
    return judgement.judge(
        pa.Table.from_pylist(told, schema=FORECASTS.schema), pa.Table.from_pylist(known, schema=LABELS.schema)
    )


def same(one: float, two: float) -> bool:
    return math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(two))


@given(matrices)
@settings(max_examples=60, deadline=None)
def test_only_the_order_of_forecasts_counts(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    forecast, returns = pair
    told, bent = judge(forecast, returns), judge(np.exp(40 * forecast) + 3, returns)
    assert same(told.rank_ic, bent.rank_ic) and same(told.rank_ic_t, bent.rank_ic_t) and same(told.spread, bent.spread)
    assert told.dates + told.skipped == len(forecast)
    assert math.isnan(told.rank_ic) or -1 - 1e-12 <= told.rank_ic <= 1 + 1e-12


@given(matrices)
@settings(max_examples=60, deadline=None)
def test_turning_forecasts_round_turns_the_sign(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    forecast, returns = pair
    told, turned = judge(forecast, returns), judge(-forecast, returns)
    assert same(told.rank_ic, -turned.rank_ic) and same(told.ic, -turned.ic)


@given(matrices, st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_does_not_count(
    pair: tuple[NDArray[np.float64], NDArray[np.float64]], random: Random
) -> None:
    forecast, returns = pair
    order = list(range(forecast.size))
    random.shuffle(order)
    told, shuffled = judge(forecast, returns).to_dict(), judge(forecast, returns, order).to_dict()
    assert told == shuffled
