"""The probability of overfitting: against a slow plain version, and where the answer is known."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from aiquant.backtest.overfitting import probability_of_overfitting
from aiquant.errors import DataError


def slow(returns: np.ndarray, blocks: int) -> list[float]:
    """The paper's recipe, split by split."""
    edges = np.linspace(0, len(returns), blocks + 1).astype(int)
    pieces = [returns[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([pieces[i] for i in chosen])
        outside = np.concatenate([pieces[i] for i in range(blocks) if i not in chosen])
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1)))
        ratios = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        rank = 1 + sum(r < ratios[best] for r in ratios)
        omega = rank / (len(ratios) + 1)
        logits.append(math.log(omega / (1 - omega)))
    return logits


@pytest.mark.parametrize(("sessions", "blocks"), [(80, 4), (83, 6), (101, 8)])
def test_equals_the_recipe_of_the_paper(sessions: int, blocks: int) -> None:
    returns = np.random.default_rng(sessions).normal(0.0002, 0.01, (sessions, 7))
    found = probability_of_overfitting(returns, blocks)
    assert found.logits == pytest.approx(slow(returns, blocks))
    assert found.probability == np.mean(np.array(slow(returns, blocks)) <= 0)


def test_a_trial_that_is_truly_better_is_not_overfitted() -> None:
    returns = np.random.default_rng(1).normal(0, 0.01, (1000, 20))
    returns[:, 3] += 0.005
    found = probability_of_overfitting(returns)
    assert found.probability == 0.0
    assert found.probability_of_loss == 0.0
    assert len(found.logits) == 12_870


def test_a_trial_that_is_best_only_where_it_is_looked_at_is_overfitted() -> None:
    # Two trials that alternate: what was better in one half of the blocks was worse in the other.
    rng = np.random.default_rng(2)
    sign = np.repeat([1.0, -1.0], 50)[:, None] * [1.0, -1.0]
    found = probability_of_overfitting(0.01 * sign + rng.normal(0, 0.001, (100, 2)), 2)
    assert found.probability == 1.0
    assert found.probability_of_loss == 1.0


def test_noise_is_overfitted_about_half_of_the_time() -> None:
    rng = np.random.default_rng(3)
    found = [probability_of_overfitting(rng.normal(0, 0.01, (240, 10)), 6).probability for _ in range(60)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(
    ("shape", "blocks", "said"),
    [
        ((100, 1), 4, "at least two trials"),
        ((100, 3), 5, "5 blocks cannot be halved"),
        ((10, 3), 8, "too few for 8 blocks"),
    ],
)
def test_what_cannot_be_split_is_refused(shape: tuple[int, int], blocks: int, said: str) -> None:
    with pytest.raises(DataError, match=said):
        probability_of_overfitting(np.random.default_rng(0).normal(size=shape), blocks)


def test_returns_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        probability_of_overfitting(np.full((40, 2), np.nan), 4)
