"""Calibration and error against the zero forecast: by hand, and against the sandwich written out with matrices."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from aiquant.learning.accuracy import accuracy
from aiquant.learning.inference import lags
from aiquant.schemas import FORECASTS

FIRST = datetime(2020, 1, 1, 21, tzinfo=UTC)


def judged(forecast: NDArray[np.float64], learnt: NDArray[np.float64], horizon: int = 1) -> dict[str, Any]:
    """Arrays of shape (dates, symbols)."""
    rows, told = [], []
    for t, s in np.ndindex(*forecast.shape):
        moment = FIRST + timedelta(days=int(t))
        key = {"symbol": f"S{s:03d}", "event_time": moment}
        whose = {"run_id": "r", "model": "m", "date": moment.date(), "horizon": horizon, "fold": 0}
        rows.append(key | whose | {"forecast": float(forecast[t, s])})
        told.append(key | {"learnt": float(learnt[t, s])})
    return accuracy(pa.Table.from_pylist(rows, schema=FORECASTS.schema), pa.Table.from_pylist(told), horizon)


def long_run(values: NDArray[np.float64], lag: int) -> float:
    """Newey and West (1987), term by term, as a variance of the sum."""
    centred = values - values.mean()
    total = sum(v * v for v in centred)
    for j in range(1, lag + 1):
        total += 2 * (1 - j / (lag + 1)) * sum(centred[t] * centred[t - j] for t in range(j, len(centred)))
    return float(total)


def test_r2_against_the_zero_forecast_by_hand() -> None:
    told = judged(np.array([[0.1, -0.1], [0.2, math.nan]]), np.array([[0.2, 0.1], [0.2, 0.3]]))
    # errors 0.1, 0.2, 0 against 0.2, 0.1, 0.2: 1 − (0.01 + 0.04) / (0.04 + 0.01 + 0.04)
    assert told["r2"] == pytest.approx(1 - 0.05 / 0.09)
    assert (told["rows"], told["dates"]) == (3, 2)
    assert math.isnan(told["dm_t"])  # two dates are no test
    assert told["deciles"] == []


def test_the_test_of_diebold_and_mariano_date_by_date() -> None:
    rng = np.random.default_rng(1)
    learnt = rng.normal(size=(60, 7))
    forecast = 0.3 * learnt + rng.normal(0, 0.3, size=(60, 7))
    told = judged(forecast, learnt, horizon=4)
    gain = (learnt**2 - (learnt - forecast) ** 2).mean(axis=1)
    lag = lags(60, 4)
    assert told["dm_t"] == pytest.approx(gain.mean() / (math.sqrt(long_run(gain, lag)) / 60))
    assert told["r2"] == pytest.approx(1 - ((learnt - forecast) ** 2).sum() / (learnt**2).sum())


def test_the_slope_and_its_error_are_those_of_least_squares() -> None:
    rng = np.random.default_rng(2)
    forecast = rng.normal(size=(80, 3))
    learnt = 0.1 + 0.5 * forecast + rng.normal(size=(80, 3))
    told = judged(forecast, learnt, horizon=3)
    slope, intercept = np.polyfit(forecast.ravel(), learnt.ravel(), 1)
    assert told["slope"] == pytest.approx(slope)
    assert told["intercept"] == pytest.approx(intercept)
    # The sandwich with both regressors: bread (X'X)⁻¹, and the long-run variance of the summed scores between.
    X = np.column_stack([np.ones(240), forecast.ravel()])
    scores = (X * (learnt.ravel() - X @ [intercept, slope])[:, None]).reshape(80, 3, 2).sum(axis=1)
    lag = lags(80, 3)
    meat = scores.T @ scores
    for j in range(1, lag + 1):
        cross = scores[j:].T @ scores[:-j]
        meat += (1 - j / (lag + 1)) * (cross + cross.T)
    bread = np.linalg.inv(X.T @ X)
    assert told["slope_error"] == pytest.approx(math.sqrt((bread @ meat @ bread)[1, 1]))


def test_deciles_hold_a_tenth_each_and_say_what_came() -> None:
    forecast = np.arange(1000, dtype=float).reshape(50, 20) / 1000
    told = judged(forecast, 2 * forecast)["deciles"]
    assert [row["rows"] for row in told] == [100] * 10
    assert [row["forecast"] for row in told] == pytest.approx([0.0495 + 0.1 * i for i in range(10)])
    assert [row["realised"] for row in told] == pytest.approx([0.099 + 0.2 * i for i in range(10)])


def test_the_error_of_a_decile_knows_that_a_date_is_one_draw() -> None:
    rng = np.random.default_rng(3)
    common = np.repeat(rng.normal(size=(100, 1)), 30, axis=1)  # all symbols of a date share their surprise
    forecast = rng.normal(size=(100, 30))
    errors = [row["error"] for row in judged(forecast, common)["deciles"]]
    naive = 1 / math.sqrt(300)  # as if 300 rows of a decile were independent
    assert np.mean(errors) > 1.4 * naive


def test_equal_forecasts_stay_together_and_constant_ones_have_no_calibration() -> None:
    forecast = np.where(np.arange(1000).reshape(50, 20) % 2, 1.0, -1.0)
    told = judged(forecast, forecast)
    assert [(row["forecast"], row["rows"]) for row in told["deciles"]] == [(-1, 500), (1, 500)]
    assert (told["slope"], told["r2"]) == (pytest.approx(1), pytest.approx(1))
    flat = judged(np.zeros((50, 20)), forecast)
    assert flat["deciles"] == [] and math.isnan(flat["slope"]) and flat["r2"] == 0
    nothing = judged(forecast, np.full_like(forecast, np.nan))
    assert nothing["rows"] == 0 and math.isnan(nothing["r2"]) and math.isnan(nothing["dm_t"])
