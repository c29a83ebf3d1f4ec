"""What must hold for the books of any rule, market and limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from portfolio_cases import books, day, forecasts, history, names

from aiquant.portfolio import rules, weights
from aiquant.portfolio.moment import Terms
from aiquant.settings import PortfolioSettings

checked = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # with a solver in each step, shrinking takes minutes
)
COUNT, BARS, DECIDED = 6, 90, (60, 65, 70, 75)
SLACK = 5e-6

RULES = [name for name in rules.RULES if name != "robust"]  # a second each; its limits are those of the others
limits = st.fixed_dictionaries(
    {},
    optional={
        "max_position": st.sampled_from([0.15, 0.3, 0.5]),
        "max_sector": st.sampled_from([0.4, 0.7]),
        "max_beta": st.sampled_from([0.5, 0.9, 1.1]),
        "max_turnover": st.sampled_from([0.05, 0.2, 0.5]),
        "max_adv": st.sampled_from([0.05, 0.3]),
        "max_names": st.integers(2, 5),
        "speed": st.sampled_from([0.3, 0.8]),
        "gross": st.sampled_from([0.5, 1.0, 1.6]),
        "top_k": st.integers(2, 5),
    },
)


def classes() -> pa.Table:
    return pa.table(
        {
            "symbol": list(names(COUNT)),
            "valid_from": pa.array([day(0)] * COUNT, pa.date32()),
            "known_from": pa.array([day(0)] * COUNT, pa.date32()).cast(pa.timestamp("us", "UTC")),
            "sector": ["A", "A", "A", "B", "B", None],
        }
    )


def market(seed: int) -> tuple[Any, Any, dict[int, Any]]:
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.01, (BARS, 1)) * rng.uniform(0.3, 1.7, COUNT) + rng.normal(0, 0.012, (BARS, COUNT))
    volume = np.tile(rng.lognormal(14.5, 1.0, COUNT), (BARS, 1))
    told: dict[int, Any] = {k: list(rng.normal(size=COUNT)) for k in DECIDED}
    for k in DECIDED:
        if rng.random() < 0.5:
            told[k][rng.integers(COUNT)] = None
    return returns, volume, told


def portfolio_of(rule: str, told: dict[str, Any], short: bool) -> PortfolioSettings:
    asked = {"rule": rule, "lookback": 50, "min_history": 30, "rebalance": 1, "ic": 0.05, **told}
    if rule == "top-k":
        asked.setdefault("top_k", 3)
    if short and rules.get(rule).sides == "short":
        asked |= {"short": True} if rules.get(rule).forecasts else {"short": True, "net": 0.5}
    return PortfolioSettings(**asked)


def build(portfolio: PortfolioSettings, returns: Any, volume: Any, told: dict[int, Any]) -> weights.Built:
    terms = Terms(5, 0.001, 1e6)
    return weights.build(forecasts(told), portfolio, terms, "r", history(returns, volume, classes()))


@checked
@given(st.sampled_from(RULES), limits, st.booleans(), st.integers(0, 10_000))
def test_every_book_obeys_every_limit(rule: str, told: dict[str, Any], short: bool, seed: int) -> None:
    portfolio = portfolio_of(rule, told, short)
    assume(not portfolio.short or (portfolio.net or 0.0) <= portfolio.gross)
    returns, volume, values = market(seed)
    made = build(portfolio, returns, volume, values)
    passed = any("turnover was passed" in note for note in made.notes)
    held, since = np.zeros(COUNT), None
    for place, book in books(made.weights).items():
        found = np.array([book.get(s, 0.0) for s in names(COUNT)])
        if since is not None:
            worth = held * np.prod(1 + returns[since + 1 : place + 1], axis=0)
            held = worth / (1 + (worth - held).sum())
        obeys(portfolio, found, held, returns[: place + 1], volume, first=not held.any(), passed=passed)
        held, since = found, place


def obeys(
    portfolio: PortfolioSettings, found: Any, held: Any, past: Any, volume: Any, first: bool, passed: bool
) -> None:
    """The limits, reckoned anew. Those that liquidity keeps a book from meeting at once are left out where it does."""
    room = np.full(COUNT, np.inf) if portfolio.max_adv is None else portfolio.max_adv * volume[0] / 1e6
    most = np.maximum(min(portfolio.max_position or 99.0, portfolio.gross), np.abs(held) - room)
    assert (np.abs(found) <= most + SLACK).all()
    assert (np.abs(found - held) <= room + SLACK).all()
    if not rules.get(portfolio.rule).may_short(portfolio):
        assert (found >= -SLACK).all()
    if portfolio.max_turnover is not None and not first and not passed:
        # Symbols that are no longer chosen from leave, as fast as liquidity lets them.
        sold = np.where(held != 0.0, np.abs(held) - np.abs(found), 0.0)
        gone = (sold > 0.0) & (sold > np.minimum(np.abs(held), room) - SLACK)
        given_up = 0.5 * sold[gone].sum()
        assert 0.5 * np.abs(found - held).sum() <= max(portfolio.max_turnover, given_up) + SLACK
    if portfolio.max_adv is not None:
        return  # what cannot be sold yet may pass the sums below
    slow = not first and (portfolio.max_turnover is not None or portfolio.speed < 1)
    assert np.abs(found).sum() <= max(portfolio.gross, np.abs(held).sum() if slow else 0.0) + SLACK
    if portfolio.max_names is not None:
        assert (found != 0.0).sum() <= portfolio.max_names
    if portfolio.max_sector is not None:
        assert abs(found[:3].sum()) <= portfolio.max_sector + SLACK
        assert abs(found[3:5].sum()) <= portfolio.max_sector + SLACK
    if portfolio.max_beta is not None:
        window = past[-portfolio.lookback :]
        mean = window.mean(axis=1)
        betas = [np.cov(window[:, k], mean)[0, 1] / mean.var(ddof=1) for k in range(COUNT)]
        assert abs(found @ betas) <= portfolio.max_beta + SLACK


@settings(parent=checked, max_examples=15)
@given(st.sampled_from(RULES), limits, st.integers(0, 10_000))
def test_changing_the_future_changes_no_book_before_it_not_by_a_bit(rule: str, told: dict[str, Any], seed: int) -> None:
    portfolio = PortfolioSettings(**{**portfolio_of(rule, told, False).model_dump(), "ic": None, "neutral": "sector"})
    returns, volume, values = market(seed)
    plain = books(build(portfolio, returns, volume, values).weights)
    other = np.random.default_rng(seed + 1)
    returns, volume = returns.copy(), volume.copy()
    returns[71:] = other.normal(0, 0.2, returns[71:].shape)
    volume[71:] *= 7
    values = {**values, 75: list(other.normal(size=COUNT))}
    changed = books(build(portfolio, returns, volume, values).weights)
    assert {k: book for k, book in changed.items() if k <= 70} == {k: book for k, book in plain.items() if k <= 70}
    cut = {k: v for k, v in values.items() if k <= 70}
    ended = books(build(portfolio, returns[:71], volume[:71], cut).weights)
    assert ended == {k: book for k, book in plain.items() if k <= 70}


@settings(parent=checked, max_examples=15)
@given(st.sampled_from(RULES), limits, st.integers(0, 10_000), st.randoms())
def test_the_same_inputs_give_the_same_bits_in_whatever_order_they_come(
    rule: str, told: dict[str, Any], seed: int, shuffled: Any
) -> None:
    portfolio = portfolio_of(rule, told, False)
    returns, volume, values = market(seed)
    plain = build(portfolio, returns, volume, values)
    rows = forecasts(values)
    order = list(range(rows.num_rows))
    shuffled.shuffle(order)
    again = weights.build(rows.take(order), portfolio, Terms(5, 0.001, 1e6), "r", history(returns, volume, classes()))
    assert again.weights == plain.weights
    assert again.notes == plain.notes


@pytest.mark.parametrize("rule", ["long-only", "equal", "inverse-volatility"])
def test_a_book_that_may_hold_nothing_is_empty_and_not_missing(rule: str) -> None:
    returns, volume, values = market(1)
    made = build(portfolio_of(rule, {"max_adv": 1e-12}, False), returns, volume, values)
    assert set(books(made.weights)) == set(DECIDED)
    assert max(made.weights["weight"].to_pylist()) < 1e-6
