"""Judgement against examples worked by hand and against SciPy and NumPy."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats

from aiquant import calendars
from aiquant.errors import DataError
from aiquant.learning import inference, judgement
from aiquant.schemas import FORECASTS, LABELS, conform

FIRST = date(2019, 12, 2)


def tables(
    forecast: NDArray[np.float64], returns: NDArray[np.float64], horizon: int = 1, first: date = FIRST
) -> tuple[pa.Table, pa.Table]:
    """Arrays of shape (dates, symbols); a NaN is a row that is not there. Dates are days in a row."""
    told: dict[str, list[dict[str, object]]] = {"f": [], "l": []}
    for t, s in np.ndindex(*forecast.shape):
        day = first + timedelta(days=int(t))
        time = datetime(day.year, day.month, day.day, 21, tzinfo=UTC)
        row = {"symbol": f"S{s:02d}", "date": day, "event_time": time, "horizon": horizon}
        if math.isfinite(forecast[t, s]):
            told["f"].append(row | {"run_id": "r", "model": "m", "forecast": float(forecast[t, s]), "fold": 0})
        if math.isfinite(returns[t, s]):
            end = {"label_start": time + timedelta(days=1), "label_end": time + timedelta(days=1 + horizon)}
            told["l"].append(row | end | {"forward_return": float(returns[t, s])})
    return (
        pa.Table.from_pylist(told["f"], schema=FORECASTS.schema),
        pa.Table.from_pylist(told["l"], schema=LABELS.schema),
    )


def test_one_date_by_hand() -> None:
    forecast = np.array([[1.0, 2, 3, 4, 5]])
    returns = np.array([[0.02, 0.01, 0.03, 0.05, 0.04]])
    # rank differences 1, −1, 0, 1, −1: ρ = 1 − 6·4 / (5·24) = 0.8
    told = judgement.judge(*tables(forecast, returns))
    assert told.rank_ic == pytest.approx(0.8)
    assert (told.dates, told.skipped, told.breadth) == (1, 0, 5)
    assert told.spread == pytest.approx(0.04 - 0.02)
    assert told.quantiles == pytest.approx(
        {"lowest fifth": -0.01, "second": -0.02, "third": 0, "fourth": 0.02, "highest fifth": 0.01}
    )
    assert math.isnan(told.rank_ic_t) and math.isnan(told.icir)


def test_correlations_agree_with_scipy_ties_and_missing_rows_included() -> None:
    rng = np.random.default_rng(0)
    forecast = rng.integers(0, 6, size=(40, 12)).astype(float)
    returns = np.round(rng.normal(0, 0.02, size=(40, 12)) + 0.002 * forecast, 2)
    forecast[rng.random(forecast.shape) < 0.1] = np.nan
    returns[rng.random(forecast.shape) < 0.1] = np.nan
    told = judgement.judge(*tables(forecast, returns))
    both = [np.isfinite(f) & np.isfinite(r) for f, r in zip(forecast, returns, strict=True)]
    spearman = [stats.spearmanr(f[b], r[b]).statistic for f, r, b in zip(forecast, returns, both, strict=True)]
    pearson = [stats.pearsonr(f[b], r[b]).statistic for f, r, b in zip(forecast, returns, both, strict=True)]
    np.testing.assert_allclose(told.by_date["rank_ic"], spearman, atol=1e-12)
    assert told.rank_ic == pytest.approx(np.mean(spearman), abs=1e-12)
    assert told.ic == pytest.approx(np.mean(pearson), abs=1e-12)
    assert told.icir == pytest.approx(np.mean(spearman) / np.std(spearman, ddof=1))
    assert told.hit_rate == np.mean(np.array(spearman) > 0)
    assert told.breadth == np.median([b.sum() for b in both])


def oracle(values: list[float], lag: int) -> float:
    """Newey and West (1987), term by term."""
    n, mean = len(values), sum(values) / len(values)

    def covariance(j: int) -> float:
        return sum((values[t] - mean) * (values[t - j] - mean) for t in range(j, n)) / n

    return math.sqrt((covariance(0) + 2 * sum((1 - j / (lag + 1)) * covariance(j) for j in range(1, lag + 1))) / n)


def test_newey_west_by_hand_and_against_the_plain_sum() -> None:
    # mean 2; γ₀ = (1+0+1)/3 = 2/3; γ₁ = (0·(−1) + 1·0)/3 = 0; so with one lag √(2/9)
    assert inference.newey_west(np.array([1.0, 2, 3]), 1) == pytest.approx(math.sqrt(2 / 9))
    # mean 0; γ₀ = 1, γ₁ = −3/4: 1 + 2·½·(−3/4) = 1/4, over 4
    assert inference.newey_west(np.array([1.0, -1, 1, -1]), 1) == pytest.approx(0.25)
    values = np.random.default_rng(1).normal(size=60).cumsum()
    for lag in (0, 1, 4, 12):
        assert inference.newey_west(values, lag) == pytest.approx(oracle(values.tolist(), lag))
    assert math.isnan(inference.newey_west(np.array([1.0]), 2))


def test_the_error_of_a_ratio_is_that_of_mertens_where_nothing_depends_on_the_past() -> None:
    values = np.random.default_rng(8).gamma(2.0, size=400) - 1.5  # skewed, fat on one side
    ratio = values.mean() / values.std()
    skew, kurtosis = stats.skew(values), stats.kurtosis(values, fisher=False)
    # Mertens (2002): variance of the Sharpe ratio of independent returns.
    expected = math.sqrt((1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2) / 400)
    assert inference.ratio_error(values, 0) == pytest.approx(expected)
    assert math.isnan(inference.ratio_error(np.ones(5), 0)) and math.isnan(inference.ratio_error(np.ones(1), 0))


def test_errors_stand_beside_their_figures() -> None:
    rng = np.random.default_rng(9)
    forecast = rng.normal(size=(80, 10))
    told = judgement.judge(*tables(forecast, 0.01 * (forecast + rng.normal(0, 3, size=(80, 10))), horizon=3))
    assert told.rank_ic_t == pytest.approx(told.rank_ic / told.rank_ic_error)
    assert told.ic_t == pytest.approx(told.ic / told.ic_error)
    assert told.spread_t == pytest.approx(told.spread / told.spread_error)
    assert told.rank_ic_error == pytest.approx(oracle(told.by_date["rank_ic"].to_pylist(), told.lag))
    assert set(told.quantile_errors) == set(told.quantiles) and all(e > 0 for e in told.quantile_errors.values())


def test_without_lags_the_error_is_the_plain_one() -> None:
    values = np.random.default_rng(2).normal(size=50)
    assert inference.newey_west(values, 0) == pytest.approx(values.std() / math.sqrt(50))


def test_overlapping_labels_widen_the_error() -> None:
    """A moving sum of noise: the plain t-statistic is far too large, that of Newey and West is not."""
    rng = np.random.default_rng(3)
    plain, robust = [], []
    for _ in range(200):
        values = np.convolve(rng.normal(size=400), np.ones(20), mode="valid")
        plain.append(abs(values.mean() / inference.newey_west(values, 0)))
        robust.append(abs(values.mean() / inference.newey_west(values, inference.lags(len(values), 20))))
    assert np.mean(np.array(plain) > 1.96) > 0.5
    assert np.mean(np.array(robust) > 1.96) < 0.25


def test_lags_follow_the_horizon_and_the_length() -> None:
    assert inference.lags(100, 1) == 4  # 4 · 1^(2/9)
    assert inference.lags(100, 21) == 20
    assert inference.lags(7500, 5) == math.floor(4 * 75 ** (2 / 9)) == 10


def test_t_is_the_mean_over_its_error() -> None:
    rng = np.random.default_rng(4)
    forecast, noise = rng.normal(size=(120, 8)), rng.normal(size=(120, 8))
    told = judgement.judge(*tables(forecast, 0.01 * (0.3 * forecast + noise), horizon=6))
    ics = told.by_date["rank_ic"].to_pylist()
    assert told.lag == 5
    assert told.rank_ic_t == pytest.approx(np.mean(ics) / oracle(ics, 5))
    assert told.rank_ic_t > 3


def test_dates_that_say_nothing_are_skipped_and_counted() -> None:
    rng = np.random.default_rng(5)
    forecast, returns = rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    forecast[0] = 1.0  # no order at all
    returns[1] = 0.0
    forecast[2, :2] = np.nan  # four symbols are left
    told = judgement.judge(*tables(forecast, returns))
    assert (told.dates, told.skipped) == (1, 3)
    assert told.rank_ic == pytest.approx(stats.spearmanr(forecast[3], returns[3]).statistic)


def test_forecasts_that_are_all_equal_have_no_value_and_no_error_either() -> None:
    told = judgement.judge(*tables(np.zeros((3, 6)), np.random.default_rng(6).normal(size=(3, 6))))
    assert math.isnan(told.rank_ic) and math.isnan(told.rank_ic_t)
    assert (told.dates, told.skipped, told.breadth, told.first) == (0, 3, 0, None)
    json.dumps(told.to_dict(), allow_nan=False)


def test_years_are_told_apart_and_everything_is_json() -> None:
    rng = np.random.default_rng(7)
    forecast, returns = rng.normal(size=(60, 6)), rng.normal(size=(60, 6))
    told = judgement.judge(*tables(forecast, returns))  # 30 days of December 2019, 30 of January 2020
    ics = [stats.spearmanr(f, r).statistic for f, r in zip(forecast, returns, strict=True)]
    assert told.by_year == pytest.approx({2019: np.mean(ics[:30]), 2020: np.mean(ics[30:])})
    assert told.years[1]["rank_ic_t"] == pytest.approx(np.mean(ics[30:]) / oracle(ics[30:], 3))
    plain = json.loads(json.dumps(told.to_dict(), allow_nan=False))
    assert plain["first"] == "2019-12-02" and plain["by_year"]["2019"] == told.by_year[2019]
    assert plain["daily"]["2019-12-02"] == pytest.approx(ics[0])
    assert list(plain["quantiles"]) == ["lowest fifth", "second", "third", "fourth", "highest fifth"]


def test_quantiles_are_fifths_and_their_spread_is_the_mean_over_dates() -> None:
    forecast = np.tile(np.arange(10.0), (2, 1))
    returns = np.array([np.arange(10) / 100, np.arange(10)[::-1] / 50])
    told = judgement.judge(*tables(forecast, returns))
    # fifths of two: 0.005, 0.025, … 0.085, and 0.17, … 0.01 on the second date
    assert told.spread == pytest.approx(((0.085 - 0.005) + (0.01 - 0.17)) / 2)
    assert told.quantiles["lowest fifth"] == pytest.approx(((0.005 - 0.045) + (0.17 - 0.09)) / 2)


def test_coverage_counts_the_sessions_of_the_calendar() -> None:
    rng = np.random.default_rng(8)
    sessions = calendars.sessions("XNYS", date(2019, 11, 1), date(2020, 2, 1))
    forecast, returns = rng.normal(size=(5, 6)), rng.normal(size=(5, 6))
    forecast[2] = np.nan  # Monday 2 to Friday 6 December, without the Wednesday
    assert judgement.judge(*tables(forecast, returns), sessions).coverage == pytest.approx(4 / 5)
    assert judgement.judge(*tables(forecast, returns)).coverage is None


def test_forecasts_of_two_models_are_not_judged_together() -> None:
    one, labels = tables(np.ones((1, 5)), np.ones((1, 5)))
    other = one.set_column(1, "model", pa.array(["n"] * 5))
    with pytest.raises(DataError, match="of 2 runs, models and horizons"):
        judgement.judge(pa.concat_tables([one, other.cast(one.schema)]), labels)
    with pytest.raises(DataError, match="of 0 runs.*train first"):
        judgement.judge(one.slice(0, 0), labels)
    with pytest.raises(DataError, match="horizon 1 cannot be judged by labels of horizon.s. .3"):
        judgement.judge(one, tables(np.ones((1, 5)), np.ones((1, 5)), horizon=3)[1])


def test_the_same_forecasts_are_judged_the_same_every_time() -> None:
    """To the last bit, however the work is shared among threads: a run is reproduced by comparing these numbers."""
    rng = np.random.default_rng(3)
    days = [datetime(2015, 1, 1, 21, tzinfo=UTC) + timedelta(days=d) for d in range(1500)]
    rows = [(f"S{s:02d}", day) for day in days for s in range(20)]
    own = {"symbol": [s for s, _ in rows], "date": [d.date() for _, d in rows], "event_time": [d for _, d in rows]}
    n = len(rows)
    forecasts = conform(
        pa.table(
            {
                "run_id": ["r"] * n,
                "model": ["m"] * n,
                **own,
                "horizon": [5] * n,
                "forecast": rng.normal(size=n),
                "fold": [0] * n,
            }
        ),
        FORECASTS,
    )
    ends = {"label_start": own["event_time"], "label_end": own["event_time"]}
    labels = conform(pa.table({**own, "horizon": [5] * n, **ends, "forward_return": rng.normal(size=n)}), LABELS)
    told = [judgement.judge(forecasts, labels).to_dict() for _ in range(12)]
    assert all(other == told[0] for other in told[1:])
