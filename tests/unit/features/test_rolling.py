"""Each rolling operator against a few lines of plain Python that look at one window at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from aiquant.features import rolling
from aiquant.features.expressions import apply, field
from aiquant.features.operators import OPERATORS, decay_length

STARTS = np.array([0, 90, 91, 130], dtype=np.int64)
WINDOWS = (2, 3, 5, 8, 21, 64)


def series(seed: int) -> np.ndarray:
    """Three histories end to end, with gaps, infinities, ties and a flat stretch."""
    rng = np.random.default_rng(seed)
    x = np.round(100 + rng.normal(0, 1, 130).cumsum(), 1)
    x[rng.random(130) < 0.1] = np.nan
    x[30:45] = 7.3
    x[60:70] = np.nan
    x[100] = np.inf
    return x


def _slope(v: list[float]) -> tuple[float, float, float]:
    points = [(i, y) for i, y in enumerate(v) if math.isfinite(y)]
    n = len(points)
    if n < 2:
        return math.nan, math.nan, math.nan
    mx, my = sum(x for x, _ in points) / n, math.fsum(y for _, y in points) / n
    sxx = sum((x - mx) ** 2 for x, _ in points)
    sxy = math.fsum((x - mx) * (y - my) for x, y in points)
    syy = math.fsum((y - my) ** 2 for _, y in points)
    slope = sxy / sxx
    flat = len({y for _, y in points}) == 1
    return slope, math.nan if flat else sxy * sxy / (sxx * syy), v[-1] - (my + slope * (len(v) - 1 - mx))


def _wma(v: list[float], window: int) -> float:
    weighted = [(window - age, y) for age, y in enumerate(reversed(v)) if math.isfinite(y)]
    return sum(w * y for w, y in weighted) / sum(w for w, _ in weighted) if weighted else math.nan


def _valid(function: Callable[[list[float]], float], fewest: int = 1) -> Callable[[list[float], int], float]:
    def of_window(v: list[float], window: int) -> float:
        valid = [y for y in v if math.isfinite(y)]
        return function(valid) if len(valid) >= fewest else math.nan

    return of_window


def _place(largest: bool) -> Callable[[list[float], int], float]:
    def of_window(v: list[float], window: int) -> float:
        valid = [y for y in v if math.isfinite(y)]
        return v.index(max(valid) if largest else min(valid)) + 1.0 if valid else math.nan

    return of_window


def _rank(v: list[float], window: int) -> float:
    if not math.isfinite(v[-1]):
        return math.nan
    valid = [y for y in v if math.isfinite(y)]
    return (sum(y < v[-1] for y in valid) + (sum(y == v[-1] for y in valid) + 1) / 2) / len(valid)


def _pandas(name: str, fewest: int) -> Callable[[list[float], int], float]:
    def of(valid: list[float]) -> float:
        return math.nan if len(set(valid)) == 1 else float(getattr(pd.Series(valid), name)())

    return _valid(of, fewest)


ORACLES: dict[str, Callable[[list[float], int], float]] = {
    "Sum": _valid(math.fsum),
    "Mean": _valid(lambda v: math.fsum(v) / len(v)),
    "Count": lambda v, w: float(sum(math.isfinite(y) for y in v)),
    "Var": _valid(lambda v: float(np.var(v, ddof=1)), 2),
    "Std": _valid(lambda v: float(np.std(v, ddof=1)), 2),
    "Slope": lambda v, w: _slope(v)[0],
    "Rsquare": lambda v, w: _slope(v)[1],
    "Resi": lambda v, w: _slope(v)[2],
    "WMA": _wma,
    "Max": _valid(max),
    "Min": _valid(min),
    "IdxMax": _place(True),
    "IdxMin": _place(False),
    "Med": _valid(lambda v: float(np.median(v))),
    "Rank": _rank,
    "Skew": _pandas("skew", 3),
    "Kurt": _pandas("kurt", 4),
    "Mad": _valid(lambda v: float(np.mean(np.abs(np.array(v) - np.mean(v))))),
    "Product": _valid(math.prod),
}


def windows_of(x: np.ndarray, window: int) -> list[list[float]]:
    out = []
    for begin, end in zip(STARTS[:-1], STARTS[1:], strict=True):
        out += [x[max(begin, j + 1 - window) : j + 1].tolist() for j in range(begin, end)]
    return out


def run(op: str, x: np.ndarray, *numbers: float, partial: bool = True, compat: bool = False) -> np.ndarray:
    node = apply(op, field("close"), *numbers)
    return rolling.compute([node], [x], STARTS, 0, rolling.Policy(partial, compat))[0]


def test_every_rolling_operator_has_an_oracle() -> None:
    there = {name for name, o in OPERATORS.items() if o.family in rolling.ROLLING}
    assert there == {*ORACLES, "Quantile", "EMA", "Corr", "Cov"}


@pytest.mark.parametrize("op", ORACLES)
@pytest.mark.parametrize("partial", [True, False], ids=["partial", "half"])
def test_one_series(op: str, partial: bool) -> None:
    x = series(5)
    for window in WINDOWS:
        if window < OPERATORS[op].smallest:
            continue
        expected = [ORACLES[op](v, window) for v in windows_of(x, window)]
        if not partial and op != "Count":
            for j, v in enumerate(windows_of(x, window)):
                if sum(math.isfinite(y) for y in v) < window / 2:
                    expected[j] = math.nan
        got = run(op, x, window, partial=partial)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9, err_msg=f"{op} {window}")


def test_all_windows_in_one_pass_equal_each_alone() -> None:
    x = series(6)
    for op in ORACLES:
        nodes = [apply(op, field("close"), w) for w in (64, 5, 8, 5)]
        if len({rolling.group_key(node) for node in nodes}) > 1:
            continue  # a sorted window serves its own length only
        together = rolling.compute(nodes, [x], STARTS, 0, rolling.Policy(True, False))
        for node, got in zip(nodes, together, strict=True):
            np.testing.assert_array_equal(got, run(op, x, node.numbers[0]))


@pytest.mark.parametrize("quantile", [0.0, 0.2, 0.5, 0.83, 1.0])
def test_quantile(quantile: float) -> None:
    x = series(7)
    for window in WINDOWS:
        valid = [[y for y in v if math.isfinite(y)] for v in windows_of(x, window)]
        expected = [np.quantile(v, quantile) if v else np.nan for v in valid]
        np.testing.assert_allclose(run("Quantile", x, window, quantile), expected, rtol=1e-12)


@pytest.mark.parametrize("op", ["Corr", "Cov"])
def test_two_series(op: str) -> None:
    x, y = series(8), series(9)
    y[30:36] = 1.0
    node = apply(op, field("close"), field("volume"), 8)
    got = rolling.compute([node], [x, y], STARTS, 0, rolling.Policy(True, False))[0]
    for j, (a, b) in enumerate(zip(windows_of(x, 8), windows_of(y, 8), strict=True)):
        pairs = np.array([(p, q) for p, q in zip(a, b, strict=True) if math.isfinite(p) and math.isfinite(q)])
        flat = len(pairs) < 2 or (op == "Corr" and (np.ptp(pairs[:, 0]) == 0 or np.ptp(pairs[:, 1]) == 0))
        if flat:
            assert math.isnan(got[j]), j
        else:
            matrix = np.corrcoef(pairs.T) if op == "Corr" else np.cov(pairs.T)
            assert got[j] == pytest.approx(matrix[0, 1], abs=1e-9), j


@pytest.mark.parametrize("span", [1, 5, 26, 0.3])
def test_exponential_mean_is_pandas_but_for_a_negligible_tail(span: float) -> None:
    x = series(10)
    got = run("EMA", x, span)
    for begin, end in zip(STARTS[:-1], STARTS[1:], strict=True):
        part = pd.Series(np.where(np.isfinite(x[begin:end]), x[begin:end], np.nan))
        theirs = (part.ewm(alpha=span) if span < 1 else part.ewm(span=span)).mean()
        if decay_length(span) < 3:  # nothing is carried: pandas keeps the last value, we have none
            theirs = part
        np.testing.assert_allclose(got[begin:end], theirs, rtol=1e-8)


def test_an_outlier_leaves_no_trace_once_it_has_left() -> None:
    rng = np.random.default_rng(3)
    plain = rng.normal(0, 1e-3, 130)
    shocked = plain.copy()
    shocked[5] = 1e15
    for op in ORACLES:
        clean, after = run(op, plain, 8), run(op, shocked, 8)
        np.testing.assert_array_equal(after[13:], clean[13:], err_msg=op)


def test_a_tiny_deviation_on_a_high_level_keeps_its_digits() -> None:
    x = 1e9 + np.tile([0.0, 1.0, 2.0, 1.0], 33)[:130]
    np.testing.assert_allclose(run("Var", x, 4)[3:90], np.var([0, 1, 2, 1], ddof=1), rtol=1e-12)


def test_flat_means_relative_to_size_and_qlibs_threshold_is_absolute() -> None:
    cheap = 1e-6 * (1 + 0.01 * np.arange(130))  # a coin at a millionth: Qlib calls it flat
    assert run("Rsquare", cheap, 10)[20] == pytest.approx(1.0)
    assert math.isnan(run("Rsquare", cheap, 10, compat=True)[20])
    assert math.isnan(run("Rsquare", np.full(130, 3.3), 10)[20])


def test_qlibs_first_gap_wins_the_place_of_the_extreme() -> None:
    x = np.arange(130.0)
    x[20] = np.nan
    assert run("IdxMax", x, 5)[22] == 5.0
    assert run("IdxMax", x, 5, compat=True)[22] == 3.0


def test_qlibs_weighted_mean_is_divided_once_more() -> None:
    x = np.full(130, 6.0)
    assert run("WMA", x, 3)[10] == pytest.approx(6.0)
    assert run("WMA", x, 3, compat=True)[10] == pytest.approx(2.0)


@pytest.mark.parametrize("op", [*ORACLES, "Quantile", "EMA"])
def test_skipped_cells_do_not_change_the_others(op: str) -> None:
    x = series(11)
    numbers = (6, 0.4) if op == "Quantile" else (6,)
    node = apply(op, field("close"), *numbers)
    whole = rolling.compute([node], [x], STARTS, 0, rolling.Policy(True, False))[0]
    tail = rolling.compute([node], [x], STARTS, 10, rolling.Policy(True, False))[0]
    for begin, end in zip(STARTS[:-1], STARTS[1:], strict=True):
        np.testing.assert_array_equal(tail[begin + 10 : end], whole[begin + 10 : end])
