"""From decision to decision: fallbacks, limits that meet a drifting book, smoothing, and what is said of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from portfolio_cases import books, day, forecasts, history, with_covariance

from aiquant import plugins
from aiquant.errors import UsageError
from aiquant.portfolio import rules, weights
from aiquant.portfolio.moment import Terms
from aiquant.portfolio.weights import Built
from aiquant.settings import PortfolioSettings

BARS = 120
THREE = with_covariance(np.diag([1e-4, 4e-4, 16e-4]), BARS)
UP = np.arange(3.0)


def build(told: dict[str, Any], by_day: dict[int, Any], returns: Any = THREE, volume: Any = 1e9, **more: Any) -> Built:
    asked = {"covariance": "empirical", "lookback": 60, "min_history": 30, "rebalance": 1, **told}
    terms = more.pop("terms", Terms(1, 0.0, 1e6))
    return weights.build(
        forecasts(by_day),
        PortfolioSettings(**asked),
        terms,
        "r",
        history(returns, volume, more.pop("classes", None)),
        **more,
    )


def test_limits_that_no_book_obeys_fall_back_first_to_inverse_volatility_then_to_the_previous_book() -> None:
    told = {"rule": "min-variance", "max_position": 0.2}  # three positions of 0.2 are no 1
    made = build(told, {100: UP, 101: UP, 102: UP})
    inverse = 1 / THREE[41:101].std(axis=0, ddof=1)
    third = inverse[2] / inverse.sum()  # about a seventh: below the limit
    assert books(made.weights) == {100: pytest.approx({"S00": 0.2, "S01": 0.2, "S02": third}, abs=1e-6)}
    assert made.decisions == {"decisions": 3, "kept": 0, "fallbacks": 3}
    assert made.notes[0].startswith(
        "the rule min-variance found no book on 3 of 3 decision(s), the first on 2020-04-10:"
    )
    assert "3 symbols within their limits make a net of 0.6 at most, not 1" in made.notes[0]
    assert made.notes[0].endswith("instead: inverse-volatility 1×, the previous book 2×")


@pytest.mark.parametrize(("fallback", "expected"), [("cash", {"S00": 0.0, "S01": 0.0, "S02": 0.0}), ("equal", None)])
def test_the_setting_says_what_stands_in(fallback: str, expected: Any) -> None:
    made = build({"rule": "min-variance", "max_position": 0.2, "fallback": fallback}, {100: UP, 101: UP})
    for book in books(made.weights).values():
        assert book == (expected or pytest.approx({"S00": 0.2, "S01": 0.2, "S02": 0.2}, abs=1e-6))
    assert made.decisions["fallbacks"] == 2
    assert f"instead: {fallback} 2×" in made.notes[0]


def test_a_neutral_book_falls_back_to_cash_and_never_to_a_long_one() -> None:
    told = {"rule": "max-sharpe", "short": True, "ic": 0.0}  # no forecast is believed
    made = build(told, {100: UP})
    assert set(books(made.weights)[100].values()) == {0.0}
    assert "no forecast expects a return above the mean; instead: cash 1×" in made.notes[0]


def test_the_book_drifts_with_prices_between_decisions() -> None:
    returns = THREE.copy()
    returns[101] = [0.5, 0.0, 0.0]
    made = build({"rule": "min-variance", "max_turnover": 0.001}, {100: UP, 101: UP}, returns)
    first, second = books(made.weights)[100], books(made.weights)[101]
    equity = 1 + 0.5 * first["S00"]
    drifted = {"S00": 1.5 * first["S00"] / equity, **{s: first[s] / equity for s in ("S01", "S02")}}
    assert made.last is not None and made.last.held == pytest.approx(drifted, abs=1e-9)
    moved = 0.5 * sum(abs(second[s] - drifted[s]) for s in drifted)
    assert moved == pytest.approx(0.001, abs=1e-5)
    assert "turnover" in made.last.binding


def test_a_share_of_the_way_is_gone_at_each_decision() -> None:
    still = THREE.copy()
    still[100:] = 0.0
    made = build({"rule": "long-only", "quantile": 0.34, "speed": 0.25}, {100: UP, 101: -UP, 102: -UP}, still)
    found = books(made.weights)
    assert found[100] == {"S02": 1.0}
    assert found[101] == pytest.approx({"S00": 0.25, "S02": 0.75})
    assert found[102] == pytest.approx({"S00": 0.4375, "S02": 0.5625})


def test_a_trade_that_gains_less_than_it_costs_is_not_made() -> None:
    told = {"rule": "mean-risk", "trade": "gain", "cost_bps": 0.0, "ic": 0.05}
    by_day = {100: UP, 101: -UP}
    assert set(books(build(told, by_day).weights)) == {100, 101}
    dear = build({**told, "cost_bps": 5000.0}, by_day)
    assert set(books(dear.weights)) == {100}
    assert dear.decisions == {"decisions": 2, "kept": 1, "fallbacks": 0}


def test_symbols_with_too_little_history_are_not_held_and_it_is_said() -> None:
    returns = THREE.copy()
    returns[:80, 2] = np.nan  # 21 returns at day 100
    made = build({"rule": "min-variance"}, {100: UP})
    young = build({"rule": "min-variance"}, {100: UP}, returns)
    assert set(books(made.weights)[100]) == {"S00", "S01", "S02"}
    assert set(books(young.weights)[100]) == {"S00", "S01"}
    assert young.notes == ("not held for want of 30 past returns in 60 bars: S02 (1×)",)


def test_the_window_begins_where_the_youngest_symbol_does_and_a_gap_is_a_price_that_stood_still() -> None:
    returns = THREE.copy()
    returns[:60, 1], returns[90, 0] = np.nan, np.nan
    returns[41:60, 0] *= 50  # seen by a window of 60 bars, not by one that begins at 60
    short = returns[60:101].copy()
    short[30, 0] = 0.0
    assert books(build({"rule": "min-variance"}, {100: UP}, returns).weights)[100] == pytest.approx(
        books(build({"rule": "min-variance"}, {40: UP}, short).weights)[40], abs=1e-9
    )


def test_a_symbol_whose_price_never_moved_is_not_held() -> None:
    returns = THREE.copy()
    returns[:, 1] = 0.0
    assert set(books(build({"rule": "inverse-volatility"}, {100: UP}, returns).weights)[100]) == {"S00", "S02"}


def test_liquidity_limits_what_is_bought_and_how_fast_it_is_sold() -> None:
    volume = np.tile([1e6, 1e5, 1e9], (BARS, 1))
    told = {"rule": "equal", "max_adv": 0.1}
    made = build(told, {100: UP, 101: [None, None, 1.0]}, np.zeros((BARS, 3)), volume)
    first = books(made.weights)[100]
    # A tenth of 1e6 is 0.1 of the capital, a tenth of 1e5 is 0.01; the third could be bought whole.
    assert first == pytest.approx({"S00": 0.1, "S01": 0.01, "S02": 1 / 3}, abs=1e-6)
    left = build(told, {100: [None, None, 1.0]}, np.zeros((BARS, 3)), volume, held={"S00": 0.25})
    assert books(left.weights)[100]["S00"] == pytest.approx(0.15), "a tenth of its volume is 0.1"


def test_a_symbol_without_volume_is_not_traded_and_it_is_said() -> None:
    volume = np.tile([np.nan, 1e9, 1e9], (BARS, 1))
    made = build({"rule": "equal", "max_adv": 0.1}, {100: UP}, volume=volume)
    assert set(books(made.weights)[100]) == {"S01", "S02"}
    assert made.notes == ("not traded, because no volume is known: S00 (1×)",)


def test_sectors_as_they_were_known_bound_the_book_and_neutralise_signals() -> None:
    classes = pa.table(
        {
            "symbol": ["S00", "S01", "S02", "S02"],
            "valid_from": pa.array([day(0)] * 3 + [day(0)], pa.date32()),
            "known_from": pa.array([day(0), day(0), day(0), day(110)], pa.date32()).cast(pa.timestamp("us", "UTC")),
            "sector": ["Energy", "Energy", "Banks", "Energy"],
        }
    )
    told = {"rule": "min-variance", "max_sector": 0.6}
    found = books(build(told, {100: UP}, classes=classes).weights)[100]
    assert found["S00"] + found["S01"] == pytest.approx(0.6, abs=1e-6)
    # From day 110 on all three are known as Energy: no book of 1 is left.
    assert build(told, {111: UP}, classes=classes).decisions["fallbacks"] == 1
    neutral = books(build({"rule": "proportional", "neutral": "sector"}, {100: UP}, classes=classes).weights)[100]
    assert neutral == pytest.approx({"S00": -0.5, "S01": 0.5})


def test_the_beta_of_a_book_stays_within_its_limit() -> None:
    market = np.random.default_rng(2).normal(0, 0.01, (BARS, 1))
    returns = market * [0.5, 1.0, 1.5] + np.random.default_rng(3).normal(0, 0.002, (BARS, 3))
    free = build({"rule": "long-short", "quantile": 0.34}, {100: UP}, returns)
    bound = build({"rule": "long-short", "quantile": 0.34, "max_beta": 0.2}, {100: UP}, returns)
    window, mean = returns[41:101], returns[41:101].mean(axis=1)
    betas = np.array([np.cov(window[:, k], mean)[0, 1] / mean.var(ddof=1) for k in range(3)])

    def beta(made: Built) -> float:
        return sum(w * betas[int(s[1:])] for s, w in books(made.weights)[100].items())

    assert beta(free) == pytest.approx(betas[2] / 2 - betas[0] / 2)
    assert beta(bound) == pytest.approx(0.2, abs=1e-6)
    assert bound.last is not None and bound.last.binding == ("beta",)


def test_where_other_limits_ask_for_more_turnover_than_is_allowed_it_is_passed_and_said() -> None:
    made = build({"rule": "equal", "max_position": 0.3, "max_turnover": 0.01}, {100: UP}, held={"S00": 0.9})
    assert books(made.weights)[100]["S00"] <= 0.3 + 1e-6
    assert made.notes == ("the limit on turnover was passed on 1 decision(s), because other limits asked for it",)


def test_top_k_holds_the_highest_and_other_rules_choose_from_them() -> None:
    assert books(build({"rule": "top-k", "top_k": 2}, {100: UP}).weights)[100] == {"S01": 0.5, "S02": 0.5}
    assert set(books(build({"rule": "min-variance", "top_k": 2}, {100: UP}).weights)[100]) == {"S01", "S02"}


def test_signals_below_the_threshold_count_as_nothing() -> None:
    told = {"rule": "proportional", "signal": "z-score", "threshold": 1.0}
    found = books(build(told, {100: [0.0, 5.0, 10.0]}).weights)[100]
    assert found == pytest.approx({"S00": -0.5, "S02": 0.5})


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"rule": "min-varianc"}, "no rule is named 'min-varianc'; did you mean 'min-variance'?"),
        ({"rule": "hrp", "short": True}, "portfolio.short: the rule hrp only buys"),
        ({"rule": "min-variance", "short": True}, "of the books of net 0 the empty one is the best"),
        ({"rule": "mean-risk", "net": 2.0}, "no book has it with portfolio.gross = 1"),
        ({"rule": "mean-risk", "net": 0.0}, "portfolio.net = 0: a book that only buys has more"),
        ({"rule": "top-k"}, "does not know how many"),
        ({"rule": "hrp", "min_history": 300}, "more than portfolio.lookback = 252"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(told: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        rules.check(PortfolioSettings(**told))


def test_a_rule_that_needs_past_returns_says_so() -> None:
    with pytest.raises(UsageError, match="the rule hrp needs past returns; give bars"):
        weights.from_forecasts(forecasts({1: UP}), PortfolioSettings(rule="hrp"), 1, "r")


def test_every_rule_says_what_it_does() -> None:
    for name in rules.names():
        told = rules.sentence(PortfolioSettings(rule=name, top_k=3))
        assert told and "{" not in told
    assert rules.sentence(PortfolioSettings()) == "long-short: 20 % of the universe on a side"


class _Point:
    """An entry point of another package."""

    def __init__(self, name: str, value: object) -> None:
        self.name, self.value, self._loaded = name, "package:thing", value

    def load(self) -> object:
        return self._loaded


def test_rules_of_other_packages_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    first = rules.Rule(lambda moment, _: np.eye(len(moment.symbols))[0], "all of the first", forecasts=False)
    points = [_Point("first", first), _Point("wrong", 3)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == "aiquant.portfolios" else [])
    assert "first" in rules.names()
    assert books(build({"rule": "first"}, {100: UP}).weights)[100] == {"S00": 1.0}
    with pytest.raises(UsageError, match="the plug-in package:thing is no Rule"):
        rules.get("wrong")
