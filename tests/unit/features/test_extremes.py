"""Graphs and windows far beyond what anyone writes: a right answer, never a RecursionError."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from aiquant.calendars import Sessions
from aiquant.features import engine
from aiquant.features.catalogue import Feature, FeatureSet
from aiquant.features.expressions import Expression, apply, field
from aiquant.features.live import LiveSet
from aiquant.features.parsing import parse

CLOSE = field("close")
HISTORY = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]


@pytest.fixture
def bars(make_bars: Callable[..., pa.Table]) -> pa.Table:
    return make_bars({"A": {"at": range(6), "close": HISTORY, "open": [0.0] * 6, "volume": [3.0] * 6}})


def computed(bars: pa.Table, sessions: Sessions, *roots: Expression, partial: bool = True) -> list[list[float]]:
    named = tuple(Feature(f"f{k}", root, "") for k, root in enumerate(roots))
    table = engine.compute(FeatureSet("t", named, partial_windows=partial), bars, sessions)
    return [np.asarray(table[feature.name], dtype=float).tolist() for feature in named]


def test_a_thousand_deep_by_operators(bars: pa.Table, sessions: Sessions) -> None:
    deep = CLOSE
    for _ in range(1000):
        deep = abs(deep + 1.0)
    logs = CLOSE
    for _ in range(300):
        logs = apply("Log", logs + 1.0) + 1.0
    got = computed(bars, sessions, deep, logs)
    expected = np.array(HISTORY)
    for _ in range(300):
        expected = np.log(expected + 1.0) + 1.0
    assert got[0] == [x + 1000 for x in HISTORY]
    assert got[1] == expected.astype(np.float32).astype(float).tolist()


def test_a_thousand_deep_bar_by_bar(bars: pa.Table, sessions: Sessions) -> None:
    deep = CLOSE
    for _ in range(1000):
        deep = deep + 1.0
    live = LiveSet(FeatureSet("t", (Feature("f0", deep, ""),), partial_windows=True), sessions, "1d")
    assert np.asarray(live.push(bars)["f0"]).tolist() == [x + 1000 for x in HISTORY]


def test_five_thousand_terms_of_text(bars: pa.Table, sessions: Sessions) -> None:
    assert computed(bars, sessions, parse("+".join(["$close"] * 5000)))[0] == [x * 5000 for x in HISTORY]


def test_windows_in_windows(bars: pa.Table, sessions: Sessions) -> None:
    node = CLOSE
    for _ in range(200):
        node = apply("Max", node, 3)
    assert node.lookback == 400
    assert computed(bars, sessions, node)[0] == HISTORY
    assert np.isnan(computed(bars, sessions, node, partial=False)[0]).all()


def test_a_thousand_features_at_once(bars: pa.Table, sessions: Sessions) -> None:
    roots = [apply("Sum", CLOSE * float(k), 2) / (CLOSE + float(k)) for k in range(1, 1001)]
    got = computed(bars, sessions, *roots)
    assert got[999] == pytest.approx(
        [1000 * s / (c + 1000) for s, c in zip([1, 3, 6, 12, 24, 48], HISTORY, strict=True)]
    )


@pytest.mark.parametrize("op", ["Mean", "Std", "Slope", "Max", "IdxMax", "Med", "Rank", "Skew", "WMA", "Mad"])
def test_a_window_larger_than_history(op: str, bars: pa.Table, sessions: Sessions) -> None:
    wide, whole = apply(op, CLOSE, 100_000), apply(op, CLOSE, 6)
    if op == "WMA":  # its weights fall from the window's length
        assert computed(bars, sessions, wide)[0][-1] == pytest.approx(np.mean(HISTORY), rel=1e-3)
    else:
        assert computed(bars, sessions, wide)[0] == pytest.approx(computed(bars, sessions, whole)[0], nan_ok=True)
    assert np.isnan(computed(bars, sessions, wide, partial=False)[0]).all()


def test_division_by_zero_has_no_value(bars: pa.Table, sessions: Sessions) -> None:
    zero = field("open")
    got = computed(bars, sessions, CLOSE / zero, zero / zero, CLOSE / 0.0, 1.0 / (zero + 1e-12), zero / (zero + 1e-12))
    assert np.isnan(got[:4]).all()
    assert got[4] == [0.0] * 6
