"""Resampling: block lengths against theory and an independent program, differences where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiquant.backtest import bootstrap


def autoregressive(rho: float, count: int, seed: int) -> np.ndarray:
    shocks = np.random.default_rng(seed).normal(size=count)
    values = np.zeros(count)
    for t in range(1, count):
        values[t] = rho * values[t - 1] + shocks[t]
    return values


def test_block_length_of_noise_is_that_of_another_program() -> None:
    # optimal_block_length of the package arch 8.0 gives 2.359007 for these numbers.
    assert bootstrap.block_length(np.random.default_rng(5).normal(size=1000)) == pytest.approx(2.359007, abs=1e-6)


def test_block_length_of_an_autoregression_is_that_of_theory() -> None:
    # γ_k = ρ^k·γ₀: G = 2ρ/(1 − ρ)²·γ₀, Σγ = (1 + ρ)/(1 − ρ)·γ₀, so b = (2ρ/(1 − ρ²))^(2/3)·n^(1/3).
    found = np.median([bootstrap.block_length(autoregressive(0.6, 8000, seed)) for seed in range(15)])
    assert found == pytest.approx((1.2 / 0.64) ** (2 / 3) * 20, rel=0.15)


def test_block_length_is_that_of_the_series_that_needs_the_longest() -> None:
    both = np.column_stack([autoregressive(0.0, 500, 1), autoregressive(0.8, 500, 2)])
    assert bootstrap.block_length(both) == bootstrap.block_length(both[:, 1]) > bootstrap.block_length(both[:, 0])


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(50), np.ones(50), np.array([1.0, 2.0]), np.arange(30.0)])
def test_block_length_stays_in_its_bounds(values: np.ndarray) -> None:
    assert 1.0 <= bootstrap.block_length(values) <= max(1.0, math.ceil(len(values) / 3))


def test_bootstrap_indices_are_blocks_of_the_wanted_length_that_wrap() -> None:
    drawn = bootstrap.stationary_indices(np.random.default_rng(3), 400, 50, 5.0)
    assert drawn.shape == (400, 50)
    assert drawn.min() == 0 and drawn.max() == 49
    follows = (np.diff(drawn, axis=1) % 50 == 1).mean()
    assert follows == pytest.approx(1 - 1 / 5 + 1 / 5 / 50, abs=0.01)  # a new block follows on by chance 1 in 50
    assert np.bincount(drawn.ravel(), minlength=50) / drawn.size == pytest.approx(np.full(50, 0.02), abs=0.004)


def test_means_of_resamples_are_those_of_the_drawn_rows_and_of_one_place_for_all_series() -> None:
    values = np.random.default_rng(1).normal(size=(60, 3))
    drawn = np.concatenate(list(bootstrap.resamples(60, 4.0, 25, seed=9)))
    assert bootstrap.means(values, 4.0, seed=9, draws=25) == pytest.approx(values[drawn].mean(axis=1))


def test_a_batch_does_not_change_what_is_drawn_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_BATCH", 500)
    assert sum(len(part) for part in bootstrap.resamples(60, 4.0, 100, seed=9)) == 100


def test_difference_of_paired_series_sees_what_unpaired_noise_hides() -> None:
    rng = np.random.default_rng(3)
    market = rng.normal(0, 0.02, 1000)
    first, second = market + rng.normal(0.0003, 0.001, 1000), market
    found = bootstrap.difference(first, second, seed=1)
    assert found.probability > 0.99
    assert found.mean == pytest.approx((first - second).mean())
    assert found.low < found.mean < found.high
    assert bootstrap.difference(second, first, seed=1).probability < 0.01
    assert bootstrap.difference(first, second, seed=1) == found


def test_probability_of_no_difference_is_uniform() -> None:
    rng = np.random.default_rng(4)
    found = [
        bootstrap.difference(rng.normal(size=150), rng.normal(size=150), seed=i, draws=300).probability
        for i in range(300)
    ]
    assert np.mean(np.array(found) >= 0.95) == pytest.approx(0.05, abs=0.038)  # three standard errors
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_serial_dependence_is_kept() -> None:
    slow = np.convolve(np.random.default_rng(2).normal(size=3000), np.ones(20), mode="valid")
    drawn = bootstrap.means(slow[:, None], bootstrap.block_length(slow), seed=1, draws=500)
    plain = slow.std() / math.sqrt(len(slow))
    assert drawn.std() > 3 * plain  # a moving sum of 20 has a long-run variance 20 times its own


@pytest.mark.parametrize(
    ("first", "second", "probability"),
    [
        ([0.0] * 9, [0.0] * 9, 0.0),
        ([0.01] * 9, [0.01] * 9, 0.0),
        ([0.02] * 9, [0.01] * 9, 1.0),
        ([0.01] * 9, [0.02] * 9, 0.0),
    ],
)
def test_series_that_never_vary(first: list[float], second: list[float], probability: float) -> None:
    assert bootstrap.difference(np.array(first), np.array(second), seed=1).probability == probability


def test_times_without_a_value_are_left_out_and_too_few_give_nothing() -> None:
    first, second = np.array([1.0, np.nan, 3.0, 2.0]), np.array([0.0, 5.0, 1.0, np.inf])
    found = bootstrap.difference(first, second, seed=1)
    assert (found.count, found.mean) == (2, 1.5)
    assert math.isnan(bootstrap.difference(first[:1], second[:1], seed=1).probability)
