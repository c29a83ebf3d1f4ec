"""Against the examples that the papers print, and against plain formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiquant.backtest import sharpe
from aiquant.backtest.sharpe import Moments


def of(ratio: float, count: int, skewness: float = 0.0, kurtosis: float = 3.0) -> Moments:
    return Moments(count, ratio, 1.0, skewness, kurtosis)


def test_moments_of_four_returns_by_hand() -> None:
    # Mean 2, deviations −1 −1 −1 3: squares 1 1 1 9 sum to 12, cubes −1 −1 −1 27 to 24, fourth powers 1 1 1 81 to 84.
    found = sharpe.moments(np.array([1.0, 1.0, 1.0, 5.0]))
    assert found.mean == 2
    assert found.deviation == pytest.approx(math.sqrt(12 / 3))
    assert found.skewness == pytest.approx((24 / 4) / (12 / 4) ** 1.5)
    assert found.kurtosis == pytest.approx((84 / 4) / (12 / 4) ** 2)
    assert found.sharpe == pytest.approx(1.0)


def test_standard_error_of_normal_returns_is_that_of_lo() -> None:
    # Lo (2002), table 1: a monthly ratio of 0.50 over 60 months has the standard error 0.137.
    assert of(0.5, 61).standard_error == pytest.approx(0.137, abs=5e-4)


def test_probabilistic_ratio_of_the_papers_example() -> None:
    # Bailey and López de Prado (2012): 24 months, monthly ratio 0.458, skewness −2.448, kurtosis 10.164: the
    # probability is 0.982 under normality and 0.913 with the moments as they are.
    assert sharpe.probability(of(0.458, 24)) == pytest.approx(0.982, abs=5e-4)
    assert sharpe.probability(of(0.458, 24, -2.448, 10.164)) == pytest.approx(0.913, abs=5e-4)


def test_deflated_ratio_of_the_papers_example() -> None:
    # Bailey and López de Prado (2014): annual ratio 2.5 over 1,250 days, skewness −3, kurtosis 10, the best of 100
    # trials whose annual ratios have variance 1/2: luck alone gives 0.1132 a day, the deflated ratio is 0.9004.
    variance = 0.5 / 250
    assert sharpe.expected_maximum(variance, 100) == pytest.approx(0.1132, abs=5e-5)
    best = of(2.5 / math.sqrt(250), 1250, -3.0, 10.0)
    assert sharpe.deflated(best, variance, 100) == pytest.approx(0.9004, abs=5e-5)
    # And with 46 trials it would be 0.9505.
    assert sharpe.deflated(best, variance, 46) == pytest.approx(0.9505, abs=5e-4)


def test_a_single_trial_is_not_deflated() -> None:
    assert sharpe.deflated(of(0.1, 500), 0.01, 1) == sharpe.probability(of(0.1, 500))


def test_minimum_track_record_of_the_papers_example() -> None:
    # Bailey and López de Prado (2012): an annual ratio of 2 against a benchmark of 1 at 95 % takes 2.73 years of normal
    # daily returns, 2.83 of weekly and 3.24 of monthly ones; 4.99 of monthly ones with skewness −0.72, kurtosis 5.78.
    for a_year, shape, years in (
        (252, (0.0, 3.0), 2.73),
        (52, (0.0, 3.0), 2.83),
        (12, (0.0, 3.0), 3.24),
        (12, (-0.72, 5.78), 4.99),
    ):
        root = math.sqrt(a_year)
        needed = sharpe.min_track_record(of(2.0 / root, 100, *shape), 1.0 / root, 0.95)
        assert needed / a_year == pytest.approx(years, abs=6e-3)


def test_minimum_track_record_is_where_the_probability_reaches_the_confidence() -> None:
    needed = sharpe.min_track_record(of(0.1, 500, -1.0, 6.0), confidence=0.95)
    assert sharpe.probability(of(0.1, round(needed), -1.0, 6.0)) == pytest.approx(0.95, abs=1e-3)
    assert sharpe.min_track_record(of(-0.1, 500)) == math.inf
    assert math.isnan(sharpe.min_track_record(sharpe.moments(np.zeros(5))))


def test_interval_is_symmetric_and_of_the_normal_distribution() -> None:
    low, high = sharpe.interval(of(0.1, 401), 0.95)
    error = math.sqrt((1 + 0.1**2 / 2) / 400)
    assert (low, high) == pytest.approx((0.1 - 1.959964 * error, 0.1 + 1.959964 * error), abs=1e-7)


@pytest.mark.parametrize("returns", [[], [0.01], [0.01] * 8, [0.0] * 8])
def test_ratios_to_no_variance_do_not_exist(returns: list[float]) -> None:
    found = sharpe.moments(np.array(returns, dtype=np.float64))
    assert math.isnan(found.sharpe)
    assert math.isnan(sharpe.probability(found))
    assert all(math.isnan(end) for end in sharpe.interval(found, 0.95))
    assert all(math.isnan(end) for end in sharpe.bootstrap_interval(np.array(returns, dtype=np.float64), 0.95, seed=1))


def test_bootstrap_of_independent_normal_returns_agrees_with_the_formula() -> None:
    returns = np.random.default_rng(11).normal(0.001, 0.01, 1000)
    low, high = sharpe.bootstrap_interval(returns, 0.95, seed=5, draws=4000, block=1.0)
    expected = sharpe.interval(sharpe.moments(returns), 0.95)
    assert (low, high) == pytest.approx(expected, abs=0.006)
    assert sharpe.bootstrap_interval(returns, 0.95, seed=5, draws=4000, block=1.0) == (low, high)


def test_bootstrap_sees_serial_dependence_that_the_formula_does_not() -> None:
    noise = np.random.default_rng(2).normal(0.0, 0.01, 3000)
    trending = np.convolve(noise, np.ones(10) / 10, mode="valid")
    low, high = sharpe.interval(sharpe.moments(trending), 0.95)
    wide_low, wide_high = sharpe.bootstrap_interval(trending, 0.95, seed=1, draws=500, block=50.0)
    assert wide_high - wide_low > 1.8 * (high - low)


def test_normal_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(400):
        low, high = sharpe.interval(sharpe.moments(rng.normal(0.05, 1.0, 300)), 0.9)
        hits += low <= 0.05 <= high
    assert hits / 400 == pytest.approx(0.9, abs=0.045)  # three standard errors
