"""The drill of the gate in small: its markets, its trials, its sums; the whole of it is ``make drill-gate``."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@pytest.fixture(scope="module")
def drill() -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))
    try:
        import drill_gate
    finally:
        sys.path.remove(str(SCRIPTS))
    return drill_gate  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def returns(drill: ModuleType) -> np.ndarray:
    bars = pl.DataFrame(drill.gate_market.bars(3, symbols=30, last=date(2015, 12, 31)))
    close = bars["close"].to_numpy().reshape(30, -1)
    return np.diff(np.log(close), axis=1)


def test_a_market_is_that_of_its_seed(drill: ModuleType) -> None:
    make = drill.gate_market.bars
    last = date(2012, 12, 31)
    assert make(3, symbols=4, last=last).equals(make(3, symbols=4, last=last))
    assert not make(3, symbols=4, last=last).equals(make(4, symbols=4, last=last))
    assert not make(3, 0.1, 4, last)["close"].equals(make(3, symbols=4, last=last)["close"])


def test_prices_have_fat_tails_clusters_and_a_market(returns: np.ndarray) -> None:
    each = (returns - returns.mean(axis=1, keepdims=True)) / returns.std(axis=1, keepdims=True)
    assert (each**4).mean() > 4.0
    size = np.abs(each)
    follows = np.mean([np.corrcoef(row[1:], row[:-1])[0, 1] for row in size])
    assert follows > 0.05, "a wild day follows a wild day"
    together = np.corrcoef(returns)[np.triu_indices(len(returns), 1)].mean()
    assert 0.15 < together < 0.8
    alone = np.mean([np.corrcoef(row[1:], row[:-1])[0, 1] for row in returns])
    assert abs(alone) < 0.03, "nothing of a return can be told from the one before"


def test_a_signal_shows_in_the_volume_and_leads_the_return(drill: ModuleType) -> None:
    def correlation(signal: float) -> float:
        bars = pl.DataFrame(drill.gate_market.bars(3, signal, 30, date(2015, 12, 31)))
        volume = np.log(bars["volume"].to_numpy().reshape(30, -1))
        moves = np.diff(np.log(bars["close"].to_numpy().reshape(30, -1)), axis=1)
        own = moves - moves.mean(axis=0)
        return float(np.mean([np.corrcoef(volume[i, :-1], own[i])[0, 1] for i in range(30)]))

    assert correlation(0.3) > 0.15
    assert abs(correlation(0.0)) < 0.02


@pytest.mark.slow
def test_the_best_of_what_was_tried_on_noise_is_refused_and_a_signal_is_found(drill: ModuleType) -> None:
    noise = drill.judge([drill.Case(0, 0.0), drill.Case(0, 0.0, costs=False)])
    found = drill.judge([drill.Case(0, 0.12)])
    for told in noise:
        assert not told["promoted"] and told["failed"]
        tuned = int(drill.SEARCH["tuning.trials"])
        # The best of the search is tried again; without costs it is another configuration.
        assert told["trials"] == len(drill.TRIES) + tuned - told["costs"], "all that was tried is held against the best"
        assert told["luck_sharpe"] > 0.2 and 0.05 < told["trial_correlation"] < 0.9
    assert noise[1]["sharpe"] > noise[0]["sharpe"], "costs are taken off"
    assert found[0]["promoted"] and not found[0]["failed"]
    json.dumps([*noise, *found], allow_nan=False)


def test_what_was_judged_is_not_judged_again(
    drill: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "kept.jsonl"
    case = drill.Case(1, 0.0)
    told = {"key": case.key, "code": drill.digests.of_code(), "promoted": False}
    out.write_text(json.dumps(told) + "\n" + '{"key": "half a li', encoding="utf-8")
    monkeypatch.setattr(drill, "judge", None)  # would fail when asked
    assert drill.run([[case]], 1, out) == [told]


def test_wilson_intervals(drill: ModuleType) -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81/263 → 0.2553 to 0.3662, 0/20 → 0 to 0.1611.
    assert drill.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert drill.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(("noise", "signal", "kept"), [(0, 20, True), (1, 18, True), (2, 20, False), (0, 17, False)])
def test_a_broken_promise_is_said(
    drill: ModuleType, capsys: pytest.CaptureFixture[str], noise: int, signal: int, kept: bool
) -> None:
    def results(size: float, hits: int) -> list[dict[str, Any]]:
        figures = {"rank_ic": 0.0, "sharpe": 0.0, "luck_sharpe": 0.0, "failed": ["rank_ic_t"], "alone": False}
        return [{"signal": size, "costs": True, "promoted": i < hits, **figures} for i in range(20)]

    assert drill.report(results(0.0, noise) + results(drill.PLANTED, signal)) is kept
    assert ("kept" if kept else "BROKEN") in capsys.readouterr().out
