"""The account over random markets: nothing is created or lost, and kernel and reference agree to the last bit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiquant.backtest import kernel
from aiquant.backtest.kernel import Tape
from aiquant.backtest.reference import Reference
from aiquant.backtest.rules import (
    DELISTING_ACTION,
    DIVIDEND_ACTION,
    FLOWS,
    MOST_SLIPPAGE,
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
    in_shares: bool = False


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
    account, journal, played = kernel.play(
        case.tape, case.weights, case.decision, case.rules, case.capital, room=0, in_shares=case.in_shares
    )
    return Outcome(
        played,
        journal.book[:played].copy(),
        journal.fills[: journal.counts[0]].copy(),
        journal.flows[: journal.counts[1]].copy(),
        account.shares,
        float(account.cash[0]),
    )


plain_rules = st.fixed_dictionaries(
    {
        "commission": st.sampled_from([0.0, 0.001, 0.02]),
        "slippage": st.sampled_from([0.0, 0.0005, 0.05]),
        "borrow": st.sampled_from([0.0, 0.0001, 0.01]),
        "whole": st.booleans(),
        "margin": st.booleans(),
        "patience": st.sampled_from([2, 20]),
    }
).map(lambda chosen: Rules(**chosen))


@st.composite
def all_rules(draw: st.DrawFn) -> Rules:
    """Each rule is on in about half of the cases."""

    def some(*values: float) -> float:
        return draw(st.sampled_from([0.0, *values]))

    plain = draw(plain_rules)
    limits = [draw(st.sampled_from([math.inf, value])) for value in (0.3, 0.8, 0.4)]
    stops = [some(0.03, 0.2), some(0.05, 0.5), some(0.04, 0.3)]
    return plain._replace(
        per_share=some(0.01),
        minimum=some(1.0),
        by_bar=draw(st.booleans()),
        impact=some(0.5),
        participation=some(0.1, 0.5),
        wait=draw(st.booleans()),
        by_symbol=draw(st.booleans()),
        lots=plain.whole and draw(st.booleans()),
        interest=some(0.0002, -0.0001),
        margin_interest=some(0.0005),
        limited=any(map(math.isfinite, limits)),
        max_position=limits[0],
        max_gross=limits[1],
        max_net=limits[2],
        shorts=draw(st.booleans()),
        stops=any(stops),
        stop_loss=stops[0],
        take_profit=stops[1],
        trailing_stop=stops[2],
        stops_first=draw(st.booleans()),
    )


rules = st.one_of(plain_rules, all_rules())


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
    in_shares = draw(st.booleans()) and shorts
    if in_shares:
        weights = np.round(weights * CAPITAL / 50, draw(st.sampled_from([0, 3])))
    tape = full_tape(rng, tape_of(rng, fill, close, draw(st.integers(0, 6)) if actions else 0), volatility)
    return Case(tape, weights, decision, draw(rule), in_shares=in_shares)


def full_tape(rng: np.random.Generator, tape: Tape, volatility: float) -> Tape:
    """With everything that any rule reads."""
    close, symbols = tape.close, tape.close.shape[1]
    first = np.where(np.isfinite(tape.fill), tape.fill, close)
    spread = np.exp(np.abs(rng.normal(0, volatility / 2, (2, *close.shape))))
    return tape._replace(
        open=first,
        high=np.maximum(first, close) * spread[0],
        low=np.minimum(first, close) / spread[1],
        volume=np.floor(rng.exponential(300, close.shape)) * (rng.random(close.shape) < 0.9),
        slippage=rng.uniform(0, 0.01, close.shape),
        impact=rng.uniform(0, 0.005, close.shape),
        borrow=rng.uniform(0, 0.01, symbols),
        locate=rng.choice([0.0, 20.0, math.inf], symbols),
        lot=rng.choice([1.0, 10.0], symbols),
        session_end=rng.random(len(close)) < 0.7,
    )


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
    plain.play(case.tape, case.weights, case.decision, in_shares=case.in_shares)
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
    turned = {
        name: np.ascontiguousarray(getattr(case.tape, name)[..., order])
        for name in ("fill", "close", "open", "high", "low", "volume", "slippage", "impact", "borrow", "locate", "lot")
    }
    tape = case.tape._replace(
        **turned,
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
    later = {}
    for name in ("open", "high", "low", "volume", "slippage", "impact"):
        later[name] = getattr(case.tape, name).copy()
        later[name][cut:] *= rng.uniform(0.5, 2, close[cut:].shape)
    other = simulate(replace(case, tape=case.tape._replace(fill=fill, close=close, **later), weights=weights))
    one = simulate(case)
    before = min(cut, one.played, other.played)
    assert np.array_equal(one.book[:before], other.book[:before])
    assert np.array_equal(one.fills[one.fills[:, 0] < before], other.fills[other.fills[:, 0] < before])
    assert min(one.played, cut) == min(other.played, cut)


@checked
@given(cases(), st.sampled_from([0.25, 2.0, 1024.0]))
def test_fractional_results_scale_with_capital(case: Case, scale: float) -> None:
    linear = {"whole": False, "lots": False, "minimum": 0.0, "impact": 0.0, "participation": 0.0, "by_symbol": False}
    assume(not case.in_shares)
    case = replace(case, rules=case.rules._replace(**linear))
    one, other = simulate(case), simulate(replace(case, capital=case.capital * scale))
    # Powers of two scale without any rounding, so the equality is exact.
    assert np.array_equal(one.book[:, :2] * scale, other.book[:, :2])
    assert np.array_equal(one.book[:, 2:5], other.book[:, 2:5])


COSTS = {"commission": 0.01, "slippage": 0.01, "per_share": 0.01, "minimum": 1.0, "impact": 0.5, "by_bar": True}


@checked
@given(cases(shorts=False, actions=False, rule=plain_rules), st.sampled_from(sorted(COSTS)))
def test_zero_cost_beats_cost_where_prices_stand_still(case: Case, cost: str) -> None:
    """With constant prices nothing but costs can move the account: each cost is a loss, and none leaves it unmoved."""
    still = np.full_like(case.tape.close, 50.0)
    free = replace(
        case,
        tape=case.tape._replace(fill=still, close=still, trading=np.ones(len(still), dtype=bool)),
        rules=case.rules._replace(commission=0.0, slippage=0.0),
    )
    dear = replace(free, rules=free.rules._replace(**{cost: COSTS[cost]}))
    np.testing.assert_allclose(simulate(free).book[:, 0], CAPITAL, rtol=1e-12)
    costly = simulate(dear)
    spent = np.cumsum(costly.book[:, 5])
    np.testing.assert_allclose(costly.book[:, 0], CAPITAL - spent, rtol=1e-9)
    assert len(costly.fills) == 0 or costly.book[-1, 0] < CAPITAL


@checked
@given(cases(shorts=False))
def test_buying_never_makes_cash_negative_without_margin(case: Case) -> None:
    # The least commission of a small sale can be more than the sale brings: that is no purchase.
    case = replace(case, rules=case.rules._replace(margin=False, minimum=0.0))
    assert (simulate(case).book[:, 1] >= 0).all()


@checked
@given(cases())
def test_no_position_is_shorter_than_its_locate_and_no_fill_larger_than_its_volume(case: Case) -> None:
    located = case.tape._replace(
        action_kind=np.where(case.tape.action_kind == SPLIT, DIVIDEND_ACTION, case.tape.action_kind)
    )
    share = case.rules.participation or 0.2
    outcome = simulate(replace(case, tape=located, rules=case.rules._replace(by_symbol=True, participation=share)))
    assert (outcome.shares >= -case.tape.locate - 1e-9).all()
    for t, symbol, shares, *_, reason in outcome.fills.tolist():
        if REASONS[int(reason)] not in ("delisting", "stale", "bankruptcy"):
            assert abs(shares) <= share * case.tape.volume[int(t), int(symbol)] * (1 + 1e-12)


@checked
@given(cases(rule=all_rules()))
def test_a_decision_is_sized_within_the_limits(case: Case) -> None:
    """Played bar by bar: right after a decision in weights the wanted book is within position, gross and net."""
    rules = case.rules._replace(limited=True, max_position=0.25, max_gross=0.6, max_net=0.3)
    account = kernel.open_account(case.tape.close.shape[1], case.capital)
    journal = kernel.open_journal(len(case.decision), fills=3000, flows=300)
    for t in range(len(case.decision)):
        if not kernel.step(case.tape, rules, account, journal, t):
            return
        if case.decision[t] >= 0 and not case.in_shares:
            kernel.decide(case.weights[case.decision[t]], rules, account, journal)
            wanted = np.nan_to_num(account.target * account.mark) / account.equity[0]
            assert (np.abs(wanted) <= 0.25 + 1e-12).all()
            assert np.abs(wanted).sum() <= 0.6 + 1e-12
            # What has no price is not wanted, so the net of what has one can be larger; else it is within its limit.
            if np.isfinite(account.mark).all() and (account.silent < rules.patience).all():
                assert abs(wanted.sum()) <= 0.3 + 1e-12


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
    for t, symbol, shares, price, _, _, reason in outcome.fills.tolist():
        if REASONS[int(reason)] == "rebalance":
            raw = case.tape.fill[int(t), int(symbol)]
            lost = (price / raw - 1) * (1 if shares > 0 else -1)
            assert (
                -1e-12
                <= lost
                <= (MOST_SLIPPAGE if case.rules.by_bar or case.rules.impact else case.rules.slippage) + 1e-12
            )
            assert len(decided) and t > decided[0]
