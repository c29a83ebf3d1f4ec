"""What every operator of one's own has to keep: a suite that the author of a plug-in runs on it.

Derive a class, say which operator, and let pytest collect it::

    from aiquant.features.own_contract import OperatorContract

    class TestUpShare(OperatorContract):
        operator = UpShare
        numbers = ()  # values of the numbers that follow the window

The suite computes it on made-up histories: gaps, ties, flat stretches, very small and very large values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.features import rolling
from aiquant.features.expressions import apply, field
from aiquant.features.own import OwnOperator

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OperatorContract:
    """For an :class:`~aiquant.features.own.OwnOperator`."""

    operator: OwnOperator
    numbers: tuple[float, ...] = ()
    """Values of the numbers that follow the window."""
    window = 12

    def compute(self, series: list[NDArray[np.float64]], partial: bool = True) -> NDArray[np.float64]:
        """Values on one symbol's history."""
        node = apply(self.operator, *[field("close")] * self.operator.series, self._window, *self.numbers)
        starts = np.array([0, len(series[0])])
        return rolling.compute([node], series, starts, 0, rolling.Policy(partial, False))[0]

    @property
    def _window(self) -> int:
        return max(self.window, self.operator.smallest)

    def histories(self) -> list[list[NDArray[np.float64]]]:
        """Histories of as many series as the operator reads."""
        rng = np.random.default_rng(20)
        n = 6 * self._window
        walk = [np.exp(rng.normal(0, 0.02, n).cumsum()) * 50 for _ in range(self.operator.series)]
        gaps = [np.where(rng.random(n) < 0.3, np.nan, x) for x in walk]
        ties = [np.round(rng.normal(0, 1, n)) for _ in walk]
        flat = [np.full(n, 3.0) for _ in walk]
        scales = [x * s for x, s in zip(walk, (1e-9, 1e9, 1.0), strict=False)]
        empty = [np.full(n, np.nan) for _ in walk]
        return [walk, gaps, ties, flat, scales, empty]

    def test_it_gives_a_number_or_nothing(self) -> None:
        for series in self.histories():
            values = self.compute(series)
            assert not np.isinf(values).any()
        assert np.isfinite(self.compute(self.histories()[0])).any(), "it has no value even on a plain history"

    def test_the_same_window_gives_the_same_value(self) -> None:
        for series in self.histories():
            assert self.compute(series).tobytes() == self.compute(series).tobytes(), "it depends on something else"

    def test_a_value_depends_on_its_window_alone(self) -> None:
        start = 2 * self._window
        for series in self.histories():
            whole = self.compute(series)
            later = self.compute([x[start:] for x in series])
            inside = self._window - 1
            assert whole[start + inside :].tobytes() == later[inside:].tobytes(), "it depends on what came before"
            until = 4 * self._window
            assert whole[:until].tobytes() == self.compute([x[:until] for x in series]).tobytes(), "it looks ahead"

    def test_it_leaves_what_it_is_given(self) -> None:
        for series in self.histories():
            before: list[Any] = [x.copy() for x in series]
            self.compute(series)
            for x, kept in zip(series, before, strict=True):
                assert x.tobytes() == kept.tobytes()

    def test_windows_without_enough_values_have_none(self) -> None:
        values = self.compute(self.histories()[-1], partial=False)
        assert np.isnan(values).all()

    def test_it_is_described_and_named_by_its_source(self) -> None:
        assert self.operator.meaning, "say what it means: operator(meaning=…)"
        assert len(self.operator.digest) == 16
