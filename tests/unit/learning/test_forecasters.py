"""The contract of every forecaster, and what each one promises by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aiquant.errors import DataError, MissingError, RefusedError, UsageError
from aiquant.learning import forecasters
from aiquant.learning.forecasters import Forecaster, baselines, ridge, trees
from aiquant.settings import Settings, XGBoostSettings

NAMES = ("quality", "momentum_12_1", "always_missing", "constant")
BUILT_IN = ["momentum", "ridge", "xgboost", "zero"]


def rows(n: int = 4000, seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.datetime64]]:
    """The target follows the first column; a tenth of it is missing, one column always is, one never changes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    y = (0.5 * X[:, 0] + rng.normal(scale=0.5, size=n)).astype(np.float32)
    X[rng.random(n) < 0.1, 0] = np.nan
    X[:, 2], X[:, 3] = np.nan, 3.0
    return X, y, np.arange(n).astype("datetime64[us]")


def fitted(name: str, seed: int = 7, threads: int = 1) -> Forecaster:
    forecaster = forecasters.create(name, Settings())
    X, y, times = rows()
    forecaster.fit(X, y, features=NAMES, times=times, seed=seed, threads=threads)
    return forecaster


@pytest.mark.parametrize("name", BUILT_IN)
class TestContract:
    def test_forecasts_are_one_float64_a_row(self, name: str) -> None:
        X = rows(50)[0]
        forecast = fitted(name).predict(X)
        assert forecast.shape == (50,) and forecast.dtype == np.float64
        assert fitted(name).predict(X[:0]).shape == (0,)

    def test_a_forecast_does_not_depend_on_the_other_rows(self, name: str) -> None:
        X, forecaster = rows(50)[0], fitted(name)
        alone = np.concatenate([forecaster.predict(X[i : i + 1]) for i in range(len(X))])
        np.testing.assert_array_equal(alone, forecaster.predict(X))

    def test_the_same_seed_gives_the_same_artefact(self, name: str, tmp_path: Path) -> None:
        assert fitted(name).save(tmp_path / "a") == fitted(name, threads=4).save(tmp_path / "b")

    def test_what_is_loaded_forecasts_as_what_was_saved(self, name: str, tmp_path: Path) -> None:
        forecaster, X = fitted(name), rows(200, seed=2)[0]
        digest = forecaster.save(tmp_path)
        loaded = forecasters.load(tmp_path, digest)
        assert (loaded.name, loaded.features) == (name, NAMES)
        np.testing.assert_array_equal(loaded.predict(X), forecaster.predict(X))
        assert loaded.importance() == forecaster.importance()
        assert loaded.save(tmp_path / "again") == digest

    def test_a_changed_artefact_is_refused(self, name: str, tmp_path: Path) -> None:
        fitted(name).save(tmp_path)
        header = json.loads((tmp_path / "model.json").read_text())
        payload = tmp_path / header["payload"]
        payload.write_bytes(payload.read_bytes() + b" ")
        with pytest.raises(RefusedError, match="is not the one that was saved"):
            forecasters.load(tmp_path)

    def test_nothing_is_pickled(self, name: str, tmp_path: Path) -> None:
        fitted(name).save(tmp_path)
        assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".ubj", ".bin"}
        assert not any(path.read_bytes().startswith(b"\x80") for path in tmp_path.iterdir())

    def test_rows_of_another_width_are_refused(self, name: str) -> None:
        with pytest.raises(DataError, match="fitted on 4 features"):
            fitted(name).predict(np.zeros((3, 5), dtype=np.float32))

    def test_before_it_is_fitted_it_says_so(self, name: str, tmp_path: Path) -> None:
        forecaster = forecasters.create(name, Settings())
        for ask in (lambda: forecaster.predict(rows(3)[0]), lambda: forecaster.save(tmp_path)):
            with pytest.raises(DataError, match="was not fitted"):
                ask()

    def test_importance_is_a_share(self, name: str) -> None:
        told = fitted(name).importance()
        assert not told or (set(told) == set(NAMES) and sum(told.values()) == pytest.approx(1))


@pytest.mark.parametrize("name", ["xgboost", "ridge"])
def test_where_there_is_nothing_to_learn_no_feature_is_important(name: str) -> None:
    forecaster = forecasters.create(name, Settings())
    X = np.full((100, 4), np.nan, dtype=np.float32)
    X[:, 3] = 1.0
    y = np.full(100, 0.25, dtype=np.float32)
    forecaster.fit(X, y, features=NAMES, times=np.arange(100).astype("datetime64[us]"), seed=7)
    assert forecaster.predict(X) == pytest.approx(np.full(100, 0.25))
    assert forecaster.importance() == {}


def test_names_are_listed_and_an_unknown_one_gets_the_nearest() -> None:
    assert set(BUILT_IN) <= set(forecasters.names())
    with pytest.raises(UsageError, match="no forecaster is named 'xgbost'; did you mean 'xgboost'?"):
        forecasters.create("xgbost", Settings())


def test_a_package_can_bring_its_own_forecaster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point = EntryPoint("mine", "aiquant.learning.forecasters.baselines:Zero", forecasters.ENTRY_POINTS)
    monkeypatch.setattr(forecasters, "entry_points", lambda group: EntryPoints([point]))
    assert "mine" in forecasters.names()
    assert isinstance(forecasters.create("mine", Settings()), baselines.Zero)


def test_a_header_cannot_point_outside_of_its_folder_or_be_exchanged(tmp_path: Path) -> None:
    digest = fitted("ridge").save(tmp_path / "a")
    fitted("momentum").save(tmp_path / "b")
    with pytest.raises(RefusedError, match="is not the one"):
        forecasters.load(tmp_path / "b", digest)
    header = tmp_path / "a" / "model.json"
    told = json.loads(header.read_text())
    header.write_text(json.dumps(told | {"features": list(reversed(told["features"]))}))
    with pytest.raises(RefusedError):
        forecasters.load(tmp_path / "a")
    header.write_text(json.dumps(told | {"payload": "../b/model.bin"}))
    with pytest.raises(DataError, match="outside of the folder"):
        forecasters.load(tmp_path / "a")
    header.write_text(json.dumps(told | {"format": 99}))
    with pytest.raises(DataError, match="later aiquant"):
        forecasters.load(tmp_path / "a")


def test_no_model_and_no_header_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no model in"):
        forecasters.load(tmp_path)
    (tmp_path / "model.json").write_text("{half")
    with pytest.raises(DataError, match="cannot be read"):
        forecasters.load(tmp_path)


class TestXGBoost:
    def test_it_learns_what_is_there(self) -> None:
        X, y, _ = rows(2000, seed=3)
        assert np.corrcoef(fitted("xgboost").predict(X), y)[0, 1] > 0.6
        assert fitted("xgboost").importance()["quality"] > 0.9

    @pytest.mark.parametrize("threads", [2, 3])
    def test_threads_do_not_change_the_model(
        self, threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(trees, "VALUES_PER_THREAD", 1)  # so that small data are split over the threads too
        X, y, times = rows(10_000)
        digests = []
        for count in (1, threads):
            forecaster = trees.XGBoost(XGBoostSettings(n_estimators=30))
            forecaster.fit(X, y, features=NAMES, times=times, seed=7, threads=count)
            digests.append(forecaster.save(tmp_path / str(count)))
        assert digests[0] == digests[1]

    def test_the_seed_counts(self, tmp_path: Path) -> None:
        assert fitted("xgboost", seed=1).save(tmp_path / "a") != fitted("xgboost", seed=2).save(tmp_path / "b")

    def test_a_gpu_that_cannot_be_used_is_refused_not_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import xgboost

        monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": False})
        X, y, times = rows(100)
        with pytest.raises(MissingError, match="xgboost.device = cuda"):
            trees.XGBoost(XGBoostSettings(device="cuda")).fit(X, y, features=NAMES, times=times, seed=7)

    def test_weights_count(self) -> None:
        X, y, times = rows()
        y = np.where(np.arange(len(y)) % 2, 1.0, -1.0).astype(np.float32)
        weight = np.where(y > 0, 3.0, 1.0).astype(np.float32)
        forecaster = trees.XGBoost(XGBoostSettings(n_estimators=50, learning_rate=0.3))
        forecaster.fit(X, y, features=NAMES, times=times, seed=7, weight=weight)
        # three of four parts of the weight say +1, one says −1
        assert forecaster.predict(X).mean() == pytest.approx(0.5, abs=0.1)


class TestRidge:
    def test_it_equals_scikit_learn(self) -> None:
        from sklearn.linear_model import Ridge

        rng = np.random.default_rng(5)
        X = rng.normal(size=(300, 3)).astype(np.float32) * [1, 10, 0.1]
        X[rng.random((300, 3)) < 0.1] = np.nan
        X = X.astype(np.float32)
        y = rng.normal(size=300).astype(np.float32)
        weight = rng.uniform(0.5, 2, size=300).astype(np.float32)
        forecaster = ridge.Ridge(alpha=7.0)
        forecaster.fit(X, y, features=("a", "b", "c"), times=np.arange(300).astype("M8[us]"), seed=0, weight=weight)
        filled = np.where(np.isnan(X), np.nanmedian(X, axis=0), X).astype(np.float64)
        mean = np.average(filled, axis=0, weights=weight)
        z = (filled - mean) / np.sqrt(np.average((filled - mean) ** 2, axis=0, weights=weight))
        expected = Ridge(alpha=7.0).fit(z, y.astype(np.float64), sample_weight=weight).predict(z)
        np.testing.assert_allclose(forecaster.predict(X), expected, rtol=1e-9, atol=1e-12)

    def test_blocks_of_rows_give_the_same_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = fitted("ridge").predict(rows(100)[0])
        monkeypatch.setattr(ridge, "BLOCK", 97)
        np.testing.assert_allclose(fitted("ridge").predict(rows(100)[0]), whole, rtol=1e-9)

    def test_constant_and_missing_features_get_no_weight(self) -> None:
        told = fitted("ridge").importance()
        assert told["constant"] == told["always_missing"] == 0
        assert told["quality"] > 0.9

    def test_later_rows_do_not_move_the_imputation(self) -> None:
        forecaster = fitted("ridge")
        before = forecaster.predict(rows(5)[0])
        forecaster.predict(np.full((100, 4), 1e6, dtype=np.float32))
        np.testing.assert_array_equal(forecaster.predict(rows(5)[0]), before)


class TestBaselines:
    def test_momentum_is_its_column(self) -> None:
        X = np.array([[1, 0.25, 3, 4], [1, np.nan, 3, 4]], dtype=np.float32)
        np.testing.assert_array_equal(fitted("momentum").predict(X), [0.25, np.nan])

    def test_momentum_needs_its_column(self) -> None:
        with pytest.raises(DataError, match="needs the feature momentum_12_2.*did you mean momentum_12_1"):
            X, y, times = rows(10)
            baselines.Momentum("momentum_12_2").fit(X, y, features=NAMES, times=times, seed=0)

    def test_the_default_column_is_in_the_core_set(self) -> None:
        from aiquant.features import catalogue

        assert baselines.MOMENTUM in [feature.name for feature in catalogue.get("core").features]

    def test_zero_is_zero(self) -> None:
        assert fitted("zero").predict(rows(3)[0]).tolist() == [0, 0, 0]


@pytest.fixture
def heavy() -> Iterator[tuple[str, ...]]:
    yield ("xgboost", "sklearn", "mlflow", "pandas")


def test_importing_the_room_imports_no_engine(heavy: tuple[str, ...]) -> None:
    modules = "panel splits training judgement gate registry tracking forecasters"
    code = (
        "import sys\n"
        + "".join(f"import aiquant.learning.{name}\n" for name in modules.split())
        + f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
