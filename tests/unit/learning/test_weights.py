"""Weights of rows: uniqueness worked out by hand and against a plain count, decay as in the book."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiquant.learning import weights
from aiquant.learning.panel import Panel


def moments(values: list[int]) -> NDArray[np.datetime64]:
    return np.array(values, dtype="datetime64[us]")


def test_uniqueness_by_hand() -> None:
    # One symbol, labels over the times {1,2,3}, {3,4} and {6}: at 3 two are at work.
    times = moments(list(range(8)))
    told = weights.average_uniqueness(np.zeros(3, dtype=np.int32), moments([0, 2, 5]), moments([3, 4, 6]), times)
    np.testing.assert_allclose(told, [(1 + 1 + 1 / 2) / 3, (1 / 2 + 1) / 2, 1])


def test_labels_of_other_symbols_do_not_share() -> None:
    times = moments(list(range(8)))
    told = weights.average_uniqueness(
        np.array([0, 1, 0, 1], dtype=np.int32), moments([0, 0, 1, 4]), moments([3, 3, 4, 6]), times
    )
    # symbol 0: {1,2,3} and {2,3,4}; symbol 1: {1,2,3} and {5,6}
    np.testing.assert_allclose(told, [(1 + 1 / 2 + 1 / 2) / 3, 1, (1 / 2 + 1 / 2 + 1) / 3, 1])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, 8)), min_size=1, max_size=40).map(
        lambda rows: sorted(rows, key=lambda row: row[1])
    )
)
def test_uniqueness_is_the_mean_of_one_over_the_labels_at_work(rows: list[tuple[int, int, int]]) -> None:
    times = moments(list(range(0, 30, 2)))  # windows may begin and end between the times, and hold none
    symbols = np.array([row[0] for row in rows], dtype=np.int32)
    told = weights.average_uniqueness(
        symbols, moments([row[1] for row in rows]), moments([row[1] + row[2] for row in rows]), times
    )
    windows = [{t for t in range(0, 30, 2) if start < t <= start + length} for _, start, length in rows]
    for row, window in enumerate(windows):
        shared = [
            sum(t in other for other, s in zip(windows, symbols, strict=True) if s == symbols[row]) for t in window
        ]
        expected = np.mean([1 / count for count in shared]) if shared else 1.0
        assert told[row] == pytest.approx(expected)


def test_decay_runs_from_the_oldest_to_one_along_the_uniqueness() -> None:
    times = moments([0, 1, 1, 2])
    unique = np.array([1.0, 0.5, 0.5, 2.0])  # together 1, 2, 2 and 4 of 4
    np.testing.assert_allclose(weights.decay(times, unique, 0.2), [0.2 + 0.8 / 4, 0.6, 0.6, 1])
    np.testing.assert_allclose(weights.decay(times, unique, 1.0), 1)
    # Snippet 4.11: with c = −0.5 the line is 0 at half of the uniqueness.
    np.testing.assert_allclose(weights.decay(times, unique, -0.5), [0, 0, 0, 1])


def panel(count: int, ends: list[int]) -> Panel:
    times = moments(list(range(count)))
    return Panel(
        X=np.zeros((count, 1), dtype=np.float32),
        features=("x",),
        y=np.arange(count, dtype=np.float32),
        target="return",
        horizon=1,
        forward_return=np.arange(count, dtype=np.float64),
        symbols=np.zeros(count, dtype=np.int32),
        symbol_names=("A",),
        dates=times.astype("datetime64[D]"),
        event_time=times,
        label_start=times,
        label_end=moments(ends),
    )


def test_weights_have_mean_one_and_know_their_rows_only() -> None:
    built = panel(6, [2, 3, 3, 4, 5, 6])
    rows = np.arange(4)
    told = weights.of(built, rows, "uniqueness", 0.5)
    assert told is not None and told.dtype == np.float32 and told.mean() == pytest.approx(1)
    longer = panel(9, [2, 3, 3, 4, 5, 6, 8, 9, 9])
    np.testing.assert_array_equal(weights.of(longer, rows, "uniqueness", 0.5), told)
    assert weights.of(built, rows, "equal", 1.0) is None
    decayed = weights.of(built, rows, "equal", 0.0)
    np.testing.assert_allclose(decayed, np.array([1, 2, 3, 4]) / 2.5)
