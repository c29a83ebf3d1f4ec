"""The account over random markets: nothing is created or lost, and kernel and reference agree to the last bit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiquant.backtest import kernel
from aiquant.backtest.kernel import Tape
from aiquant.backtest.reference import Reference
from aiquant.backtest.rules import (
    DELISTING_ACTION,
    DIVIDEND_ACTION,
    FLOWS,
    REASONS,
    SPLIT,
    Rules,
)

CAPITAL = 10_000.0
CENT = 0.01
checked = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Case:
    """A market, decisions and rules."""

    tape: Tape
    weights: NDArray[np.float64]
    decision: NDArray[np.int64]
    rules: Rules
    capital: float = CAPITAL


@dataclass(frozen=True)
class Outcome:
    """What the kernel wrote down, cut to what was used."""

    played: int
    book: NDArray[np.float64]
    fills: NDArray[np.float64]
    flows: NDArray[np.float64]
    shares: NDArray[np.float64]
    cash: float


def simulate(case: Case) -> Outcome:
    # Room for the fills of one session only, so that the journal has to grow on the way.
    account, journal, played = kernel.play(case.tape, case.weights, case.decision, case.rules, case.capital, room=0)
    return Outcome(
        played,
        journal.book[:played].copy(),
        journal.fills[: journal.counts[0]].copy(),
        journal.flows[: journal.counts[1]].copy(),
        account.shares,
        float(account.cash[0]),
    )


rules = st.builds(
    Rules,
    commission=st.sampled_from([0.0, 0.001, 0.02]),
    slippage=st.sampled_from([0.0, 0.0005, 0.05]),
    borrow=st.sampled_from([0.0, 0.0001, 0.01]),
    whole=st.booleans(),
    margin=st.booleans(),
    patience=st.sampled_from([2, 20]),
)


@st.composite
def cases(
    draw: st.DrawFn, *, shorts: bool = True, actions: bool = True, rule: st.SearchStrategy[Rules] = rules
) -> Case:
    """Random walks with gaps, decisions on some closes, a few corporate actions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sessions, symbols = draw(st.integers(2, 30)), draw(st.integers(1, 5))
    volatility = draw(st.sampled_from([0.01, 0.1, 0.6]))
    close = 50 * np.exp(np.cumsum(rng.normal(0, volatility, (sessions, symbols)), axis=0))
    fill = close * np.exp(rng.normal(0, volatility / 2, close.shape))
    missing = rng.random(close.shape) < draw(st.sampled_from([0.0, 0.1, 0.6]))
    close[missing] = fill[missing] = np.nan
    fill[rng.random(close.shape) < 0.05] = np.nan
    decided = np.flatnonzero(rng.random(sessions) < draw(st.sampled_from([0.1, 0.5, 1.0])))
    weights = rng.random((len(decided), symbols)) - (0.5 if shorts else 0.0)
    weights *= rng.random(weights.shape) < 0.8
    weights *= draw(st.sampled_from([0.3, 1.0])) / np.maximum(np.abs(weights).sum(axis=1, keepdims=True), 1e-9)
    decision = np.full(sessions, -1, dtype=np.int64)
    decision[decided] = np.arange(len(decided))
    return Case(tape_of(rng, fill, close, draw(st.integers(0, 6)) if actions else 0), weights, decision, draw(rule))


def tape_of(rng: np.random.Generator, fill: NDArray[np.float64], close: NDArray[np.float64], actions: int) -> Tape:
    sessions, symbols = close.shape
    rows = sorted(
        (int(rng.integers(sessions)), int(kind), int(rng.integers(symbols)))
        for kind in rng.choice([SPLIT, DIVIDEND_ACTION, DELISTING_ACTION], actions)
    )
    worth = {SPLIT: (0.5, 1.5, 2.0), DIVIDEND_ACTION: (0.0, 0.37, 3.0), DELISTING_ACTION: (math.nan, 0.0, 42.0)}
    return Tape(
        fill=fill,
        close=close,
        trading=np.isfinite(close).any(axis=1),
        action_row=np.searchsorted([row[0] for row in rows], np.arange(sessions + 1)).astype(np.int64),
        action_symbol=np.array([row[2] for row in rows], dtype=np.int64),
        action_kind=np.array([row[1] for row in rows], dtype=np.int64),
        action_value=np.array([rng.choice(worth[row[1]]) for row in rows], dtype=np.float64),
    )


@checked
@given(cases())
def test_the_kernel_equals_the_plain_reference_to_the_last_bit(case: Case) -> None:
    mine = simulate(case)
    plain = Reference(case.rules, case.capital)
    plain.play(case.tape, case.weights, case.decision)
    assert mine.book.tolist() == [list(mark) for mark in plain.book]
    assert [(*row[:6], REASONS[int(row[6])]) for row in mine.fills.tolist()] == [tuple(f) for f in plain.fills]
    assert [(*row[:2], FLOWS[int(row[2])], row[3]) for row in mine.flows.tolist()] == [tuple(f) for f in plain.flows]
    assert {j: held for j, held in enumerate(mine.shares.tolist()) if held} == plain.shares


@checked
@given(cases())
def test_cash_and_positions_reconcile_to_the_cent(case: Case) -> None:
    """Exact fractions of everything that was written down explain the final cash, the shares, and the equity."""
    outcome = simulate(case)
    cash, held = Fraction(case.capital), [Fraction(0)] * case.tape.close.shape[1]
    fills, flows = outcome.fills.tolist(), outcome.flows.tolist()
    marks: list[float] = [math.nan] * len(held)
    for t in range(outcome.played):
        for i in range(case.tape.action_row[t], case.tape.action_row[t + 1]):
            if case.tape.action_kind[i] == SPLIT:
                symbol, ratio = int(case.tape.action_symbol[i]), Fraction(float(case.tape.action_value[i]))
                held[symbol] *= ratio
                marks[symbol] /= float(ratio)
                if case.rules.whole:  # what the holder of a part of a share got is among the flows
                    held[symbol] = Fraction(math.trunc(held[symbol]))
        for _, symbol, shares, price, commission, _, _ in (row for row in fills if row[0] == t):
            cash -= Fraction(shares) * Fraction(price) + Fraction(commission)
            held[int(symbol)] += Fraction(shares)
        cash += sum(Fraction(row[3]) for row in flows if row[0] == t)
        closes = case.tape.close[t].tolist()
        marks = [old if math.isnan(new) else new for old, new in zip(marks, closes, strict=True)]
        value = sum(h * Fraction(m) for h, m in zip(held, marks, strict=True) if abs(h) > Fraction(1, 10**9))
        size = 1 + abs(float(outcome.book[t, 0])) / CAPITAL
        assert abs(float(cash) - outcome.book[t, 1]) < CENT * size
        assert abs(float(cash + value) - outcome.book[t, 0]) < CENT * size
    assert [float(h) for h in held] == pytest.approx(outcome.shares.tolist(), abs=1e-6, rel=1e-9)
    assert float(cash) == pytest.approx(outcome.cash, abs=CENT, rel=1e-9)


@checked
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_columns_changes_nothing(case: Case, random: object) -> None:
    symbols = case.tape.close.shape[1]
    order = list(range(symbols))
    random.shuffle(order)  # type: ignore[attr-defined]
    place = np.argsort(order)
    tape = case.tape._replace(
        fill=np.ascontiguousarray(case.tape.fill[:, order]),
        close=np.ascontiguousarray(case.tape.close[:, order]),
        action_symbol=place[case.tape.action_symbol].astype(np.int64),
    )
    one, other = simulate(case), simulate(
        replace(case, tape=tape, weights=np.ascontiguousarray(case.weights[:, order]))
    )
    assert one.played == other.played
    np.testing.assert_allclose(one.book, other.book, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(one.shares[order], other.shares, rtol=1e-9, atol=1e-9)


@checked
@given(cases(), st.integers(0, 29), st.integers(0, 2**32 - 1))
def test_changing_the_future_changes_nothing_before_it(case: Case, cut: int, seed: int) -> None:
    sessions = case.tape.close.shape[0]
    cut = cut % sessions
    rng = np.random.default_rng(seed)
    fill, close, weights = case.tape.fill.copy(), case.tape.close.copy(), case.weights.copy()
    fill[cut:] *= rng.uniform(0.5, 2, fill[cut:].shape)
    close[cut:] *= rng.uniform(0.5, 2, close[cut:].shape)
    close[cut:][rng.random(close[cut:].shape) < 0.3] = np.nan
    weights[case.decision[cut:][case.decision[cut:] >= 0]] *= -0.7
    other = simulate(replace(case, tape=case.tape._replace(fill=fill, close=close), weights=weights))
    one = simulate(case)
    before = min(cut, one.played, other.played)
    assert np.array_equal(one.book[:before], other.book[:before])
    assert np.array_equal(one.fills[one.fills[:, 0] < before], other.fills[other.fills[:, 0] < before])
    assert min(one.played, cut) == min(other.played, cut)


@checked
@given(cases(), st.sampled_from([0.25, 2.0, 1024.0]))
def test_fractional_results_scale_with_capital(case: Case, scale: float) -> None:
    case = replace(case, rules=case.rules._replace(whole=False))
    one, other = simulate(case), simulate(replace(case, capital=case.capital * scale))
    # Powers of two scale without any rounding, so the equality is exact.
    assert np.array_equal(one.book[:, :2] * scale, other.book[:, :2])
    assert np.array_equal(one.book[:, 2:5], other.book[:, 2:5])


@checked
@given(cases(shorts=False, actions=False), st.sampled_from(["commission", "slippage"]))
def test_zero_cost_beats_cost_where_prices_stand_still(case: Case, cost: str) -> None:
    """With constant prices nothing but costs can move the account: each cost is a loss, and none leaves it unmoved."""
    still = np.full_like(case.tape.close, 50.0)
    free = replace(
        case,
        tape=case.tape._replace(fill=still, close=still, trading=np.ones(len(still), dtype=bool)),
        rules=case.rules._replace(commission=0.0, slippage=0.0),
    )
    dear = replace(free, rules=free.rules._replace(**{cost: 0.01}))
    np.testing.assert_allclose(simulate(free).book[:, 0], CAPITAL, rtol=1e-12)
    costly = simulate(dear)
    spent = np.cumsum(costly.book[:, 5])
    np.testing.assert_allclose(costly.book[:, 0], CAPITAL - spent, rtol=1e-9)
    assert len(costly.fills) == 0 or costly.book[-1, 0] < CAPITAL


@checked
@given(cases(shorts=False))
def test_buying_never_makes_cash_negative_without_margin(case: Case) -> None:
    case = replace(case, rules=case.rules._replace(margin=False))
    assert (simulate(case).book[:, 1] >= 0).all()


@checked
@given(cases())
def test_whole_share_accounts_hold_whole_shares_only(case: Case) -> None:
    outcome = simulate(replace(case, rules=case.rules._replace(whole=True)))
    assert (outcome.shares == np.rint(outcome.shares)).all()
    assert (outcome.fills[:, 2] == np.rint(outcome.fills[:, 2])).all()


@checked
@given(cases())
def test_nothing_trades_where_there_is_no_bar_nor_before_the_next_one(case: Case) -> None:
    outcome = simulate(case)
    decided = np.flatnonzero(case.decision >= 0)
    for t, symbol, _, price, _, _, reason in outcome.fills.tolist():
        if REASONS[int(reason)] == "rebalance":
            raw = case.tape.fill[int(t), int(symbol)]
            assert abs(price / raw - 1) <= case.rules.slippage + 1e-12
            assert len(decided) and t > decided[0]
