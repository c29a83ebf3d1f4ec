"""The gate: each rule by itself, what is not known never passes, and what many trials do to a verdict."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aiquant.backtest import sharpe
from aiquant.backtest.bootstrap import Difference
from aiquant.backtest.overfitting import Overfitting
from aiquant.learning import gate, selection
from aiquant.learning.gate import Rival, Verdict
from aiquant.learning.judgement import Judgement
from aiquant.learning.selection import NetResult
from aiquant.learning.trials import Tried
from aiquant.settings import GateSettings

SETTINGS = GateSettings()
DATES = np.arange("2015-01-01", "2018-01-01", dtype="datetime64[D]")


def earning(mean: float = 0.0015, seed: int = 0, count: int = len(DATES)) -> NetResult:
    """Returns with exactly this mean and a deviation of 1 %: about 2.3 a year by default."""
    drawn = np.random.default_rng(seed).normal(size=count)
    returns = mean + 0.01 * (drawn - drawn.mean()) / drawn.std(ddof=1) if count > 1 else drawn
    return NetResult("own", DATES[:count], returns, 0.0, 252.0, 10.0)


def tried(*columns: np.ndarray, count: int | None = None) -> Tried:
    matrix = np.column_stack(columns) if columns else np.empty((0, 0))
    names = tuple(f"other {i}" for i in range(len(columns)))
    return Tried(names, DATES[: len(matrix)], matrix, count if count is not None else len(columns))


def judged(t: float = 2.5, breadth: float = 20) -> Judgement:
    empty = pa.table({"date": [], "rank_ic": []})
    counts: dict[str, Any] = {"lag": 4, "dates": 1000, "skipped": 0, "coverage": None, "first": None, "last": None}
    numbers = dict.fromkeys(("rank_ic", "rank_ic_std", "icir", "ic", "ic_t", "hit_rate", "spread", "spread_t"), 0.1)
    return Judgement(
        "r", "m", 5, rank_ic_t=t, breadth=breadth, quantiles={}, years=(), by_date=empty, **counts, **numbers
    )


def better(probability: float) -> Difference:
    return Difference(0.01, 0.0, 0.02, probability, 3.0, 700)


RIVALS = (Rival("zero", "rank IC", better(0.99)), Rival("champion", "rank IC", better(0.95)))


def decide(**changed: Any) -> Verdict:
    told: dict[str, Any] = {
        "judgement": judged(),
        "net": earning(),
        "settings": SETTINGS,
        "leakage": True,
        "tried": tried(),
        "rivals": RIVALS,
    }
    told |= changed
    return gate.decide(told.pop("judgement"), told.pop("net"), told.pop("settings"), **told)


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_a_model_that_shows_all_passes() -> None:
    verdict = decide()
    assert verdict.promoted and not verdict.reasons
    figures = verdict.figures
    assert figures["sharpe_low"] < figures["sharpe"] < figures["sharpe_high"]
    assert [check.name for check in verdict.checks] == [
        "leakage",
        "costs",
        "rank_ic_t",
        "sharpe_net",
        "deflated_sharpe",
        "superiority",
        "overfitting",
        "beats_zero",
        "beats_champion",
        "sessions",
        "breadth",
    ]


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"judgement": judged(t=1.99)}, "rank_ic_t"),
        ({"judgement": judged(t=math.nan)}, "rank_ic_t"),
        ({"judgement": judged(t=math.inf)}, "rank_ic_t"),
        ({"judgement": judged(breadth=9)}, "breadth"),
        ({"leakage": False}, "leakage"),
        ({"leakage": None}, "leakage"),
        ({"net": replace(earning(), cost_bps=0.0)}, "costs"),
        ({"settings": SETTINGS.model_copy(update={"min_sharpe_net": 5.0})}, "sharpe_net"),
        ({"settings": SETTINGS.model_copy(update={"min_deflated_sharpe": 0.9999999})}, "deflated_sharpe"),
        ({"settings": SETTINGS.model_copy(update={"min_sessions": 5000})}, "sessions"),
        ({"rivals": [Rival("zero", "rank IC", better(0.89))]}, "beats_zero"),
        ({"rivals": [Rival("equal weight", "net return", better(math.nan))]}, "beats_equal_weight"),
        ({"rivals": [Rival("champion", "rank IC", better(0.89))]}, "beats_champion"),
        ({"rivals": [Rival("champion", "rank IC", unknown="its forecasts are gone")]}, "beats_champion"),
    ],
)
def test_each_rule_can_refuse_alone(changed: dict[str, Any], rule: str) -> None:
    verdict = decide(**changed)
    assert not verdict.promoted
    # A ratio that cannot be believed needs a longer record as well: the two rules are one formula, asked two ways.
    assert [name for name in failed(verdict) if name == rule or name != "sessions"] == [rule]


def test_thresholds_are_met_by_equal_values() -> None:
    assert decide(judgement=judged(t=2.0, breadth=10), rivals=[Rival("zero", "rank IC", better(0.9))]).promoted
    assert decide(net=replace(earning(), cost_bps=1.0)).promoted


def test_a_leak_is_never_excused_but_a_missing_check_may_be() -> None:
    lenient = SETTINGS.model_copy(update={"require_leakage_check": False})
    assert decide(settings=lenient, leakage=None).promoted
    assert failed(decide(settings=lenient, leakage=False)) == ["leakage"]


def test_a_renewal_of_the_champion_need_not_beat_it() -> None:
    verdict = decide(rivals=[Rival("champion", "rank IC", excused="the model renews the champion, version 3")])
    assert verdict.promoted
    assert next(c.why for c in verdict.checks if c.name == "beats_champion").startswith("the model renews")


def test_reasons_name_figure_threshold_and_setting() -> None:
    verdict = decide(judgement=judged(t=1.234), net=replace(earning(), cost_bps=0.5))
    assert verdict.reasons == (
        "the costs charged are 0.5 basis points a trade, at least 1 is asked for (gate.min_cost_bps)",
        "the t-statistic of the rank IC (Newey–West) is 1.234, at least 2 is asked for (gate.min_rank_ic_t)",
    )
    told = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert told["promoted"] is False
    assert told["checks"][2] == {
        "name": "rank_ic_t",
        "passed": False,
        "value": 1.234,
        "threshold": 2.0,
        "why": verdict.reasons[1],
        "setting": "gate.min_rank_ic_t",
    }
    assert told["figures"]["trials"] == 1 and told["figures"]["luck_sharpe"] == 0.0
    known = set(GateSettings.model_fields)
    assert all(check.setting.removeprefix("gate.") in known for check in verdict.checks)


def test_what_passes_alone_is_refused_as_the_best_of_many() -> None:
    net = earning(0.0012)
    assert decide(net=net).promoted
    noise = np.random.default_rng(7).normal(0, 0.01, (len(DATES), 60))
    verdict = decide(net=net, tried=tried(*noise.T))
    assert {"deflated_sharpe"} <= set(failed(verdict))
    luck = sharpe.expected_maximum(1 / (len(DATES) - 1), 61) * math.sqrt(252)
    assert verdict.figures["luck_sharpe"] == pytest.approx(luck, rel=0.25)
    assert "the best of 61 trials would show by luck" in next(r for r in verdict.reasons if "best of" in r)


def test_trials_of_a_tuning_on_other_sessions_count_too() -> None:
    verdict = decide(net=earning(0.0012), tried=tried(count=60))
    assert failed(verdict) == ["deflated_sharpe"]


def test_copies_of_one_trial_are_not_many() -> None:
    net = earning(0.0012)
    copies = [net.returns + np.random.default_rng(i).normal(0, 1e-5, len(DATES)) for i in range(40)]
    verdict = decide(net=net, tried=tried(*copies))
    assert verdict.figures["luck_sharpe"] == pytest.approx(0, abs=0.02)
    assert verdict.promoted, verdict.reasons


def test_the_own_configuration_is_not_its_own_rival() -> None:
    net = earning()
    own = Tried(("own",), DATES, net.returns[:, None], 1)
    assert decide(net=net, tried=own).figures["trials"] == 1


def test_a_choice_that_did_not_last_is_called_overfitted() -> None:
    # Six trials that are worth nothing, each good in a part of the history that the others are bad in.
    rng = np.random.default_rng(1)
    parts = np.repeat(np.arange(12), len(DATES) // 12 + 1)[: len(DATES)]
    gifted = [rng.normal(0, 0.01, len(DATES)) + np.where(parts % 6 == k, 0.01, -0.002) for k in range(6)]
    verdict = decide(net=replace(earning(0.0), returns=gifted[0]), tried=tried(*gifted[1:]))
    assert "overfitting" in failed(verdict)
    assert verdict.figures["overfitting"] > 0.5


def test_a_choice_among_equals_is_excused() -> None:
    # All earn the same but for noise: which one was best says nothing, and costs nothing.
    common = earning(0.002).returns
    alike = [common + np.random.default_rng(i).normal(0, 0.001, len(DATES)) for i in range(8)]
    verdict = decide(net=replace(earning(), returns=alike[0]), tried=tried(*alike[1:]))
    assert "overfitting" not in failed(verdict)
    assert verdict.figures["overfitting_loss"] == 0.0


def test_a_tuning_is_asked_where_it_saw_what_is_judged_and_told_where_it_did_not() -> None:
    # Trials that are worth nothing, each good where the others are bad; the run's own result does not depend on them.
    rng, net = np.random.default_rng(1), earning()
    parts = np.repeat(np.arange(12), len(DATES) // 12 + 1)[: len(DATES)]
    gifted = [rng.normal(0, 0.01, len(DATES)) + np.where(parts % 6 == k, 0.01, -0.002) for k in range(6)]
    before = tried(*gifted)
    before = replace(before, dates=DATES - np.timedelta64(10_000, "D"))
    apart = decide(net=net, tunings=[before])
    assert "overfitting" not in failed(apart) and apart.figures["tuning_overfitting"] > 0.5
    last = replace(before, dates=before.dates + (DATES[0] - before.dates[-1]))  # one session is shared
    shared = decide(net=net, tunings=[last])
    assert "overfitting" in failed(shared) and "tuning_overfitting" not in shared.figures


def test_what_excuses_one_choice_excuses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    excused, lost = Overfitting(0.6, np.zeros(2), 0.03), Overfitting(0.58, np.zeros(2), 0.9)
    monkeypatch.setattr(selection, "overfitted", lambda *_: [excused, lost])
    verdict = decide()
    assert "overfitting" in failed(verdict)
    assert verdict.figures["overfitting"] == 0.58


def test_too_few_trials_are_not_asked_for_overfitting() -> None:
    check = next(c for c in decide(tried=tried(earning(0.0, 1).returns)).checks if c.name == "overfitting")
    assert (check.passed, check.value) == (True, None)


@pytest.mark.parametrize(
    "net",
    [
        replace(earning(), returns=np.zeros(len(DATES))),
        replace(earning(), returns=np.full(len(DATES), 0.001)),
        earning(count=0),
        earning(count=1),
        earning(count=3),
    ],
    ids=["all zero", "all equal", "none", "one", "fewer than a block"],
)
def test_returns_that_say_nothing_are_refused_with_words(net: NetResult) -> None:
    others = [earning(0.0, seed).returns for seed in range(6)]
    for ledger in (tried(), tried(*others)):
        verdict = decide(net=net, tried=ledger)
        assert {"deflated_sharpe", "superiority", "sessions"} & set(failed(verdict))
        assert not verdict.promoted
        json.dumps(verdict.to_dict(), allow_nan=False)


def test_trials_that_never_traded_or_lost_all_are_borne() -> None:
    flat, ruined = np.zeros(len(DATES)), np.full(len(DATES), np.nan)
    ruined[:30] = -0.05
    verdict = decide(tried=tried(flat, ruined, count=4))
    assert verdict.figures["trials"] == 5


def test_the_same_evidence_is_the_same_verdict() -> None:
    others = tried(*np.random.default_rng(7).normal(0, 0.01, (len(DATES), 9)).T)
    assert decide(tried=others, seed=3) == decide(tried=others, seed=3)
