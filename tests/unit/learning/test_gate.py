"""The gate: each rule by itself, and what is not known never passes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from aiquant.learning import gate
from aiquant.learning.gate import NetResult, Verdict
from aiquant.learning.judgement import Judgement
from aiquant.settings import GateSettings

SETTINGS = GateSettings(
    min_rank_ic_t=2, min_sharpe_net=0, min_sharpe_probability=0.95, min_sessions=500, min_breadth=10
)
NET = NetResult(sharpe=0.6, sharpe_probability=0.97, sessions=1000)


def judged(t: float = 2.5, breadth: float = 20) -> Judgement:
    empty = pa.table({"date": [], "rank_ic": []})
    counts: dict[str, Any] = {"lag": 4, "dates": 1000, "skipped": 0, "coverage": None, "first": None, "last": None}
    numbers = dict.fromkeys(("rank_ic", "rank_ic_std", "icir", "ic", "ic_t", "hit_rate", "spread", "spread_t"), 0.1)
    return Judgement(
        "r", "m", 5, rank_ic_t=t, breadth=breadth, quantiles={}, years=(), by_date=empty, **counts, **numbers
    )


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_a_model_that_shows_all_passes() -> None:
    verdict = gate.decide(judged(), NET, SETTINGS, leakage=True)
    assert verdict.promoted and not verdict.reasons
    assert [check.name for check in verdict.checks] == [
        "leakage",
        "rank_ic_t",
        "sharpe_net",
        "sharpe_probability",
        "sessions",
        "breadth",
    ]


@pytest.mark.parametrize(
    ("judgement", "net", "leakage", "rule"),
    [
        (judged(t=1.99), NET, True, "rank_ic_t"),
        (judged(t=math.nan), NET, True, "rank_ic_t"),
        (judged(t=math.inf), NET, True, "rank_ic_t"),
        (judged(), replace(NET, sharpe=0.0), True, "sharpe_net"),
        (judged(), replace(NET, sharpe=math.nan), True, "sharpe_net"),
        (judged(), replace(NET, sharpe_probability=0.9499), True, "sharpe_probability"),
        (judged(), replace(NET, sessions=499), True, "sessions"),
        (judged(breadth=9), NET, True, "breadth"),
        (judged(), NET, False, "leakage"),
        (judged(), NET, None, "leakage"),
    ],
)
def test_each_rule_can_refuse_alone(judgement: Judgement, net: NetResult, leakage: bool | None, rule: str) -> None:
    verdict = gate.decide(judgement, net, SETTINGS, leakage=leakage)
    assert not verdict.promoted
    assert failed(verdict) == [rule]
    assert len(verdict.reasons) == 1


def test_thresholds_are_met_by_equal_values() -> None:
    net = NetResult(sharpe=0.001, sharpe_probability=0.95, sessions=500)
    assert gate.decide(judged(t=2.0, breadth=10), net, SETTINGS, leakage=True).promoted


def test_a_leak_is_never_excused_but_a_missing_check_may_be() -> None:
    lenient = SETTINGS.model_copy(update={"require_leakage_check": False})
    assert gate.decide(judged(), NET, lenient, leakage=None).promoted
    assert failed(gate.decide(judged(), NET, lenient, leakage=False)) == ["leakage"]


def test_reasons_name_value_and_threshold() -> None:
    verdict = gate.decide(judged(t=1.234), replace(NET, sharpe=math.nan), SETTINGS, leakage=True)
    assert verdict.reasons == (
        "the t-statistic of the rank IC (Newey–West) is 1.234, at least 2 is asked for",
        "the Sharpe ratio net of costs is not defined, more than 0 is asked for",
    )
    told = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert told["promoted"] is False
    assert told["checks"][1] == {
        "name": "rank_ic_t",
        "passed": False,
        "value": 1.234,
        "threshold": 2.0,
        "why": verdict.reasons[0],
    }
    assert told["checks"][2]["value"] is None
