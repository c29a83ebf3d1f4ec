"""Optimisers against weights worked out by hand, or found by trying every book of a grid."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from portfolio_cases import books, day, forecasts, history, names, with_covariance

from aiquant.portfolio import optimisers, rules, weights
from aiquant.portfolio.moment import Candidates, Remarks, Terms, gather
from aiquant.portfolio.solving import frame
from aiquant.settings import PortfolioSettings

DIAGONAL = np.diag([1e-4, 4e-4, 16e-4])  # volatilities 1 %, 2 %, 4 %


def solve(returns: Any, given: Any = None, cost: float = 0.0, held: Any = None, **told: Any) -> NDArray[np.float64]:
    """Weights decided at the last bar."""
    returns = np.asarray(returns)
    asked = {"covariance": "empirical", "lookback": len(returns), "min_history": 10, **told}
    portfolio = PortfolioSettings(**asked)
    own = None if held is None else dict(zip(names(len(held)), held, strict=True))
    last = {len(returns) - 1: np.arange(returns.shape[1])}
    built = weights.build(forecasts(last, given), portfolio, Terms(1, cost), "r", history(returns), own)
    assert built.decisions["fallbacks"] == 0, built.notes
    found = books(built.weights)[len(returns) - 1]
    return np.array([found.get(symbol, 0.0) for symbol in names(returns.shape[1])])


def test_least_variance_of_two_uncorrelated_symbols() -> None:
    found = solve(with_covariance(np.diag([1e-4, 4e-4])), rule="min-variance")
    assert found == pytest.approx([0.8, 0.2], abs=1e-5)


def test_least_variance_of_three_correlated_symbols_is_the_inverse_covariance_by_hand() -> None:
    # The inverse of [[4, 1], [1, 2]] is [[2, -1], [-1, 4]] / 7: row sums 1/7 and 3/7, and 1/3 for the third.
    returns = with_covariance(np.array([[4, 1, 0], [1, 2, 0], [0, 0, 3]]) * 1e-4)
    assert solve(returns, rule="min-variance") == pytest.approx([3 / 19, 9 / 19, 7 / 19], abs=1e-5)


def test_a_symbol_that_hedges_is_sold_short_where_that_is_allowed() -> None:
    # Covariance [[1, 1.5], [1.5, 4]]: the inverse's row sums are 2.5 and -0.5 over the determinant.
    returns = with_covariance(np.array([[1, 1.5], [1.5, 4]]) * 1e-4)
    assert solve(returns, rule="min-variance") == pytest.approx([1.0, 0.0], abs=1e-5)
    found = solve(returns, rule="min-variance", short=True, net=1.0, gross=2.0)
    assert found == pytest.approx([1.25, -0.25], abs=1e-4)


@pytest.mark.parametrize("rule", ["inverse-volatility", "risk-budget", "max-diversification"])
def test_uncorrelated_symbols_of_equal_risk_are_weighed_by_one_over_volatility(rule: str) -> None:
    assert solve(with_covariance(DIAGONAL), rule=rule) == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=1e-5)


@pytest.mark.parametrize("linkage", ["ward", "single", "average", "complete"])
def test_hierarchical_risk_parity_of_a_diagonal_matrix_is_one_over_variance_however_it_is_cut(linkage: str) -> None:
    # A cluster's variance is 1 / sum(1 / variance), and clusters are weighed by its inverse: so are their members.
    found = solve(with_covariance(DIAGONAL), rule="hrp", linkage=linkage)
    assert found == pytest.approx(np.array([16, 4, 1]) / 21, abs=1e-9)


def test_hierarchical_equal_risk_contribution_of_two_symbols_is_one_over_variance() -> None:
    found = solve(with_covariance(np.diag([1e-4, 4e-4])), rule="herc")
    assert found == pytest.approx([0.8, 0.2], abs=1e-9)


def test_highest_sharpe_ratio_is_the_inverse_covariance_times_expected_returns() -> None:
    # Expected 1 and 2, variances 1 and 4: proportions 1 and 1/2.
    returns = with_covariance(np.diag([1e-4, 4e-4]))
    assert solve(returns, [1e-4, 2e-4], rule="max-sharpe") == pytest.approx([2 / 3, 1 / 3], abs=1e-4)


def test_the_highest_sharpe_ratio_of_a_neutral_book_takes_all_the_room_there_is() -> None:
    # Of net 0 with two symbols there is one direction only; its size is the gross exposure.
    returns = with_covariance(np.diag([1e-4, 4e-4]))
    found = solve(returns, [3e-4, 1e-4], rule="max-sharpe", short=True, gross=1.5)
    assert found == pytest.approx([0.75, -0.75], abs=1e-5)


def test_utility_weighs_expected_return_against_variance_by_the_first_order_condition() -> None:
    # x = (b + (m1 - m2) / 2 lambda) / (a + b) with a = 1, b = 4, m1 - m2 = -10 (all 1e-4), lambda = 5: 0.6.
    returns = with_covariance(np.diag([1e-4, 4e-4]))
    assert solve(returns, [0.0, 1e-3], rule="mean-risk", risk_aversion=5.0) == pytest.approx([0.6, 0.4], abs=1e-4)


def test_a_cost_in_the_objective_stops_the_trade_where_the_gain_of_a_further_share_is_less() -> None:
    # Least variance is 0.8; from 0.5 at cost k of each side x = (b - k) / (a + b), k = 1e-4: 0.6.
    returns = with_covariance(np.diag([1e-4, 4e-4]))
    told = {"rule": "min-variance", "risk_aversion": 5.0, "held": [0.5, 0.5]}
    assert solve(returns, cost=5e-4, **told) == pytest.approx([0.6, 0.4], abs=1e-4)
    assert solve(returns, cost=1.0, **told) == pytest.approx([0.5, 0.5], abs=1e-5)
    assert solve(returns, cost=0.0, **told) == pytest.approx([0.8, 0.2], abs=1e-4)


def test_without_skill_there_are_no_views_and_the_posterior_is_the_equilibrium() -> None:
    returns = with_covariance(np.array([[4, 1, 0], [1, 2, 0.5], [0, 0.5, 3]]) * 1e-4)
    plain = solve(returns, rule="mean-risk", expected="equilibrium")
    assert solve(returns, rule="black-litterman", ic=0.0) == pytest.approx(plain, abs=1e-6)


def test_views_on_symbols_that_do_not_move_together_add_grinolds_alpha_to_the_equilibrium() -> None:
    returns = with_covariance(DIAGONAL)
    portfolio = PortfolioSettings(rule="black-litterman", covariance="empirical", lookback=200, min_history=10, ic=0.1)
    at = datetime(2020, 7, 18, 21, tzinfo=UTC)
    found = Candidates(day(199), at, names(3), np.array([-0.5, 0.0, 0.5]))
    known, _ = gather(found, {}, history(returns), rules.get("black-litterman"), portfolio, Terms(4), None, Remarks())
    # IC x volatility x score / sqrt(horizon); the scores of three ranks are -sqrt(3/2), 0 and sqrt(3/2).
    assert known.alpha == pytest.approx(0.1 * np.array([0.01, 0.02, 0.04]) * np.array([-1, 0, 1]) * 1.5**0.5 / 2)
    posterior = optimisers.views(known, portfolio).fit(frame(known.returns)).return_distribution_
    prior = optimisers.views(known, portfolio).prior_estimator.fit(frame(known.returns)).return_distribution_
    assert posterior.mu - prior.mu == pytest.approx(known.alpha, rel=1e-6, abs=1e-12)


GRID = np.linspace(0.0, 1.0, 2001)


def cvar(earned: NDArray[np.float64], worst: int) -> Any:
    return -np.sort(earned, axis=0)[:worst].mean(axis=0)


def drawdown(earned: NDArray[np.float64]) -> Any:
    """The deepest fall of the sum of returns from its highest point, as skfolio reckons it."""
    level = np.concatenate([np.zeros((1, *earned.shape[1:])), earned.cumsum(axis=0)])
    return (np.maximum.accumulate(level, axis=0) - level).max(axis=0)


@pytest.mark.parametrize(("risk", "measure"), [("cvar", lambda e: cvar(e, 10)), ("max-drawdown", drawdown)])
def test_the_least_risk_of_two_symbols_is_that_of_the_best_of_2001_books(risk: str, measure: Any) -> None:
    returns = np.random.default_rng(3).standard_t(4, size=(200, 2)) * [0.01, 0.015]
    tried = measure(returns[:, :1] * GRID + returns[:, 1:] * (1 - GRID))
    found = solve(returns, rule="min-risk", risk=risk)
    assert found.sum() == pytest.approx(1.0, abs=1e-6)
    assert measure(returns @ found) == pytest.approx(tried.min(), rel=1e-4)


def test_without_a_radius_the_robust_book_is_that_of_mean_and_cvar() -> None:
    returns = np.random.default_rng(4).normal([5e-4, 1e-4], [0.012, 0.008], size=(100, 2))
    each = returns[:, :1] * GRID + returns[:, 1:] * (1 - GRID)
    tried = each.mean(axis=0) - 2.0 * cvar(each, 5)
    found = returns @ solve(returns, rule="robust", radius=0.0, risk_aversion=2.0)
    assert found.mean() - 2.0 * cvar(found, 5) == pytest.approx(tried.max(), rel=1e-3)


def test_a_wide_radius_makes_the_robust_book_an_equal_one() -> None:
    returns = with_covariance(np.diag([1e-4, 4e-4]), 60)
    assert solve(returns, rule="robust", radius=10.0) == pytest.approx([0.5, 0.5], abs=0.02)


def test_names_are_counted_exactly_where_the_problem_stays_linear() -> None:
    returns = np.random.default_rng(5).standard_t(4, size=(100, 4)) * [0.01, 0.011, 0.012, 0.013]
    best = min(
        cvar(returns[:, [a]] * GRID + returns[:, [b]] * (1 - GRID), 5).min() for a, b in combinations(range(4), 2)
    )
    found = solve(returns, rule="min-risk", risk="cvar", max_names=2)
    assert (found > 0).sum() == 2
    assert cvar(returns @ found, 5) == pytest.approx(best, rel=1e-4)


def test_of_a_quadratic_risk_the_largest_names_are_kept_and_weighed_again() -> None:
    found = solve(with_covariance(DIAGONAL), rule="min-variance", max_names=2)
    assert found == pytest.approx([0.8, 0.2, 0.0], abs=1e-5)


def test_shrinkage_draws_weights_of_few_observations_together() -> None:
    returns = np.random.default_rng(6).normal(0, 0.01, size=(25, 20))
    plain = solve(returns, rule="min-variance")
    shrunk = solve(returns, rule="min-variance", covariance="ledoit-wolf")
    assert shrunk.std() < 0.5 * plain.std()


@pytest.mark.parametrize("name", ["ledoit-wolf", "empirical", "oas", "denoised", "exponential", "gerber"])
def test_every_estimator_of_covariance_leads_to_a_book(name: str) -> None:
    returns = np.random.default_rng(7).normal(0, 0.01, size=(80, 4)) @ (np.eye(4) + 0.3)
    assert solve(returns, rule="min-variance", covariance=name).sum() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    "risk", ["semi-variance", "mean-absolute-deviation", "average-drawdown", "cdar", "ulcer-index"]
)
def test_every_risk_is_less_than_that_of_the_equal_book(risk: str) -> None:
    from skfolio import Portfolio

    returns = np.random.default_rng(8).normal(0, [0.005, 0.01, 0.02, 0.03], size=(120, 4))
    found = solve(returns, rule="min-risk", risk=risk)
    of = {"semi-variance": "semi_variance", "mean-absolute-deviation": "mean_absolute_deviation"}
    measure = of.get(risk, risk.replace("-", "_"))
    ours, equal = (getattr(Portfolio(X=returns, weights=w), measure) for w in (found, np.full(4, 0.25)))
    assert ours < equal


def test_solvers_say_nothing(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    solve(with_covariance(DIAGONAL), rule="min-variance")
    solve(with_covariance(DIAGONAL), rule="risk-budget")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
