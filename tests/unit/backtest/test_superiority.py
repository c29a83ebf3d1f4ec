"""The test for superior ability: against a slow plain version, another program, and where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiquant.backtest import bootstrap
from aiquant.backtest.superiority import superior_predictive_ability
from aiquant.errors import DataError


def slow(excess: np.ndarray, block: float, seed: int, draws: int) -> tuple[float, list[float]]:
    """The paper's recipe, sum by sum."""
    n, m = excess.shape
    mean = [sum(excess[:, k]) / n for k in range(m)]
    omega = []
    for k in range(m):
        total = 0.0
        for i in range(n):
            gamma = sum((excess[t, k] - mean[k]) * (excess[t + i, k] - mean[k]) for t in range(n - i)) / n
            stay = 1 - 1 / block
            kappa = (n - i) / n * stay**i + i / n * stay ** (n - i) if i else 0.5
            total += 2 * kappa * gamma
        omega.append(math.sqrt(total))
    statistic = max(0.0, *(math.sqrt(n) * mean[k] / omega[k] for k in range(m)))
    edge = [-omega[k] * math.sqrt(2 * math.log(math.log(n)) / n) for k in range(m)]
    centres = [[max(0.0, x) for x in mean], [x if x >= e else 0.0 for x, e in zip(mean, edge, strict=True)], mean]
    at = np.concatenate(list(bootstrap.resamples(n, block, draws, seed)))
    p = []
    for centre in centres:
        beyond = 0
        for row in at:
            drawn = max(0.0, *(math.sqrt(n) * (excess[row, k].mean() - centre[k]) / omega[k] for k in range(m)))
            beyond += drawn > statistic
        p.append(beyond / draws)
    return statistic, p


def test_equals_the_recipe_of_the_paper() -> None:
    rng = np.random.default_rng(6)
    excess = rng.normal(0, 0.01, (60, 4)) + np.array([0.001, 0.0, 0.0005, -0.01])
    statistic, p = slow(excess, 3.0, seed=2, draws=200)
    found = superior_predictive_ability(excess, seed=2, draws=200, block=3.0)
    assert found.statistic == pytest.approx(statistic)
    assert [found.lower, found.consistent, found.upper] == pytest.approx(p)
    assert p[0] < p[2], "the bad trial makes the bounds differ"


def test_equals_another_program() -> None:
    # SPA of the package arch 8.0, three times 20,000 resamples: 0.679, 0.755, 0.827.
    rng = np.random.default_rng(8)
    excess = rng.normal(0, 0.01, (500, 6))
    excess[:, 2] += 0.0009
    excess[:, 5] -= 0.003
    found = superior_predictive_ability(excess, seed=1, draws=8000, block=5.0)
    assert [found.lower, found.consistent, found.upper] == pytest.approx([0.679, 0.755, 0.827], abs=0.02)


def test_a_trial_that_is_truly_better_is_found_and_bad_ones_do_not_hide_it() -> None:
    rng = np.random.default_rng(1)
    excess = rng.normal(0, 0.01, (1000, 30))
    excess[:, 7] += 0.002
    found = superior_predictive_ability(excess, seed=1)
    assert found.best == 7 and found.consistent < 0.01
    worse = np.column_stack([excess, rng.normal(-0.01, 0.05, (1000, 200))])
    with_bad = superior_predictive_ability(worse, seed=1)
    assert with_bad.consistent < 0.02 and with_bad.best == 7


def test_the_best_of_many_that_are_worth_nothing_is_called_so_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    p = [
        superior_predictive_ability(rng.normal(size=(200, 20)), seed=i, draws=300, block=1.0).consistent
        for i in range(200)
    ]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.064)  # three standard errors


def test_trials_that_equal_the_benchmark_cannot_be_better() -> None:
    excess = np.zeros((50, 2))
    assert superior_predictive_ability(excess, seed=1).consistent == 1.0
    excess[:, 1] = np.random.default_rng(0).normal(1.0, 0.1, 50)
    found = superior_predictive_ability(excess, seed=1)
    assert (found.best, found.consistent) == (1, 0.0)
    assert superior_predictive_ability(-excess, seed=1).lower == 1.0, "the best is no better than 0"


@pytest.mark.parametrize(
    ("excess", "said"),
    [
        (np.zeros((20, 0)), "at least one trial"),
        (np.zeros((7, 2)), "too few"),
        (np.full((20, 2), np.nan), "not finite"),
    ],
)
def test_what_cannot_be_tested_is_refused(excess: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        superior_predictive_ability(excess, seed=1)
