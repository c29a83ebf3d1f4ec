"""What forecasts are worth, measured as of each date."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from portfolio_cases import day, history, names

from aiquant.portfolio import expected

RETURNS = np.random.default_rng(1).normal(0, 0.02, (30, 5))


def told(values: dict[int, np.ndarray]) -> pl.DataFrame:  # type: ignore[type-arg]
    rows = [(s, day(k), float(v)) for k, each in values.items() for s, v in zip(names(5), each, strict=True)]
    return pl.DataFrame(rows, schema=["symbol", "date", "forecast"], orient="row")


def followed(place: int, horizon: int) -> np.ndarray:  # type: ignore[type-arg]
    """Return from the close after the decision over the horizon."""
    return np.prod(1 + RETURNS[place + 2 : place + 2 + horizon], axis=0) - 1


def test_forecasts_that_were_right_are_known_to_be_so_when_their_returns_are_over() -> None:
    horizon = 3
    right = {k: followed(k, horizon) for k in range(4, 12)}
    found = expected.skill(told(right), history(RETURNS), horizon)
    assert found.ics == pytest.approx([1.0] * 8)
    assert found.known == tuple(day(k + 1 + horizon) for k in range(4, 12))
    wrong = expected.skill(told({4: -followed(4, horizon)}), history(RETURNS), horizon)
    assert wrong.ics == pytest.approx([-1.0])


def test_little_measurement_is_drawn_to_the_prior_and_overlapping_ones_count_as_one() -> None:
    skill = expected.Skill((day(5), day(6), day(7), day(8)), (0.4, 0.2, 0.0, -0.2), horizon=2)
    assert skill.by(day(4)) == pytest.approx(0.02)
    assert skill.by(day(6)) == pytest.approx((1.0 * 0.3 + 12 * 0.02) / 13)  # two dates of two bars: one period
    assert skill.by(day(99)) == pytest.approx((2.0 * 0.1 + 12 * 0.02) / 14)


def test_forecasts_that_were_wrong_are_not_believed_and_not_turned_round() -> None:
    assert expected.Skill(tuple(day(k) for k in range(100)), (-0.5,) * 100, horizon=1).by(day(200)) == 0.0


def test_what_follows_a_date_does_not_count_in_its_skill() -> None:
    horizon, values = 2, {k: RETURNS[k] for k in range(3, 25)}
    whole = expected.skill(told(values), history(RETURNS), horizon)
    changed = RETURNS.copy()
    changed[16:] *= -3
    other = expected.skill(told(values), history(changed), horizon)
    assert [whole.by(day(k)) for k in range(16)] == [other.by(day(k)) for k in range(16)]
    assert whole.by(day(25)) != other.by(day(25))


def test_scores_are_standard_deviations_cut_at_three() -> None:
    assert expected.score(np.array([1.0, 2.0, 3.0])) == pytest.approx([-(1.5**0.5), 0.0, 1.5**0.5])
    assert expected.score(np.append(np.zeros(99), 1.0)).max() == 3.0
    assert not expected.score(np.full(4, 0.1)).any()
    assert len(expected.score(np.zeros(0))) == 0


def test_alpha_is_information_coefficient_times_volatility_times_score() -> None:
    # Over four bars of 1 % volatility: 0.05 x 0.02 x 2 = 0.002, a bar's share 0.0005.
    assert expected.alpha(0.05, np.array([0.01]), np.array([2.0]), 4) == pytest.approx([0.0005])
