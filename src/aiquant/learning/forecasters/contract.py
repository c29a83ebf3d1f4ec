"""What every forecaster has to keep: a suite that the author of a plug-in runs on it.

Derive a class, say how the forecaster is made, and let pytest collect it::

    from aiquant.learning.forecasters.contract import ForecasterContract

    class TestReversal(ForecasterContract):
        features = ("return_5", "return_21", "always_missing", "constant")

        def forecaster(self):
            return Reversal()

The target follows the first feature; a tenth of that feature is missing. Of the last two one always is, one never
changes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import DataError, RefusedError
from aiquant.learning.forecasters import artefacts
from aiquant.learning.forecasters.base import Forecaster

DATES, SYMBOLS = 200, 20
TOLERANCE = 1e-4
"""Of contributions against the forecast that they explain, as a share of the largest forecast."""


class ForecasterContract:
    """For a :class:`Forecaster`."""

    features: tuple[str, ...] = ("quality", "momentum_12_1", "always_missing", "constant")
    """Names of at least four columns."""

    def forecaster(self) -> Forecaster:
        """A new forecaster that is not fitted yet."""
        raise NotImplementedError

    def test_forecasts_are_one_float64_a_row(self) -> None:
        X, forecaster = self._rows(seed=2)[0], self._fitted()
        forecast = forecaster.predict(X)
        assert forecast.shape == (len(X),) and forecast.dtype == np.float64
        assert forecaster.predict(X[:0]).shape == (0,), "of no rows there are no forecasts"
        assert not np.isinf(forecast).any(), "no forecast is NaN, not infinite"

    def test_a_forecast_does_not_depend_on_the_other_rows(self) -> None:
        X, forecaster = self._rows(seed=2)[0][:50], self._fitted()
        alone = np.concatenate([forecaster.predict(X[i : i + 1]) for i in range(len(X))])
        np.testing.assert_array_equal(alone, forecaster.predict(X))

    def test_the_same_seed_gives_the_same_artefact_for_any_number_of_threads(self, tmp_path: Path) -> None:
        one, four = self._fitted().save(tmp_path / "a"), self._fitted(threads=4).save(tmp_path / "b")
        assert one == four, "the digest depends on the number of threads, or on chance beside the seed"

    def test_what_it_is_given_is_left_as_it_was(self) -> None:
        X, y, times = self._rows()
        before = X.copy(), y.copy(), times.copy()
        self._fit(self.forecaster(), X, y, times).explain(X)
        for given, copy in zip((X, y, times), before, strict=True):
            np.testing.assert_array_equal(given, copy)

    def test_what_is_loaded_forecasts_as_what_was_saved(self, tmp_path: Path) -> None:
        forecaster, X = self._fitted(), self._rows(seed=2)[0]
        digest = forecaster.save(tmp_path / "saved")
        loaded = type(forecaster).restore(*artefacts.read(tmp_path / "saved", digest))
        assert (loaded.name, loaded.features) == (forecaster.name, self.features)
        np.testing.assert_array_equal(loaded.predict(X), forecaster.predict(X))
        np.testing.assert_array_equal(loaded.explain(X), forecaster.explain(X))
        assert loaded.importance() == forecaster.importance()
        assert loaded.save(tmp_path / "again") == digest

    def test_a_changed_artefact_is_refused(self, tmp_path: Path) -> None:
        self._fitted().save(tmp_path)
        payload = tmp_path / artefacts.inspect(tmp_path)[0].payload
        payload.write_bytes(payload.read_bytes() + b" ")
        _raises(RefusedError, "a file that was changed must be refused", lambda: artefacts.read(tmp_path))

    def test_nothing_is_pickled(self, tmp_path: Path) -> None:
        self._fitted().save(tmp_path)
        for path in tmp_path.iterdir():
            assert path.suffix not in {".pkl", ".pickle", ".joblib", ".pt"}, f"{path.name}: name a safe format"
            assert not path.read_bytes().startswith(b"\x80"), f"{path.name} is a pickle, which can run code"

    def test_contributions_sum_to_the_forecast(self) -> None:
        X, forecaster = self._rows(seed=2)[0], self._fitted()
        told, forecast = forecaster.explain(X), forecaster.predict(X)
        assert told.shape == (len(X), len(self.features) + 1), "one column a feature, and the base"
        largest = float(np.nanmax(np.abs(forecast), initial=1e-9))
        np.testing.assert_allclose(told.sum(axis=1), forecast, rtol=0, atol=TOLERANCE * largest)
        assert np.nan_to_num(told[:, 2:4]).max() == 0.0, "a feature that says nothing adds nothing"
        assert forecaster.explain(X[:0]).shape == (0, len(self.features) + 1)

    def test_importance_is_a_share(self) -> None:
        told = self._fitted().importance()
        assert not told or set(told) == set(self.features)
        assert not told or abs(sum(told.values()) - 1) < 1e-6

    def test_a_missing_value_is_no_reason_to_stop(self) -> None:
        X = np.full((3, len(self.features)), np.nan, dtype=np.float32)
        assert self._fitted().predict(X).shape == (3,)

    def test_nothing_to_learn_from_is_told(self) -> None:
        X, y, times = self._rows()
        _raises(
            DataError,
            "fitting no rows must raise DataError",
            lambda: self._fit(self.forecaster(), X[:0], y[:0], times[:0]),
        )

    def test_rows_of_another_width_are_refused(self) -> None:
        wide = np.zeros((3, len(self.features) + 1), dtype=np.float32)
        forecaster = self._fitted()
        for ask in (forecaster.predict, forecaster.explain):
            _raises(DataError, "rows of another width must raise DataError", lambda ask=ask: ask(wide))

    def test_before_it_is_fitted_it_says_so(self, tmp_path: Path) -> None:
        forecaster, X = self.forecaster(), self._rows()[0]
        for ask in (lambda: forecaster.predict(X), lambda: forecaster.explain(X), lambda: forecaster.save(tmp_path)):
            _raises(DataError, "what was not fitted must raise DataError", ask)

    def _rows(self, seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.datetime64]]:
        rng, n = np.random.default_rng(seed), DATES * SYMBOLS
        X = rng.normal(size=(n, len(self.features))).astype(np.float32)
        y = (0.5 * X[:, 0] + rng.normal(scale=0.5, size=n)).astype(np.float32)
        X[rng.random(n) < 0.1, 0] = np.nan
        X[:, 2], X[:, 3] = np.nan, 3.0
        days = np.arange("2020-01-01", DATES, dtype="datetime64[D]")
        return X, y, np.repeat(days, SYMBOLS).astype("datetime64[us]")

    def _fit(
        self,
        forecaster: Forecaster,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        times: NDArray[np.datetime64],
        threads: int = 1,
    ) -> Forecaster:
        known = times + np.timedelta64(6, "D")
        weight = np.linspace(0.5, 1.5, len(y), dtype=np.float32)
        forecaster.fit(
            X, y, features=self.features, times=times, seed=7, weight=weight, label_end=known, threads=threads
        )
        return forecaster

    def _fitted(self, threads: int = 1) -> Forecaster:
        return self._fit(self.forecaster(), *self._rows(), threads=threads)


def _raises(kind: type[Exception], otherwise: str, ask: object) -> None:
    assert callable(ask)
    try:
        ask()
    except kind:
        return
    raise AssertionError(otherwise)
