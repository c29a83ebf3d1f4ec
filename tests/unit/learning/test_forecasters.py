"""The contract of every forecaster, and what each one promises by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aiquant import plugins
from aiquant.errors import DataError, MissingError, RefusedError, UsageError
from aiquant.learning import forecasters
from aiquant.learning.forecasters import Forecaster, baselines, blocks, holdout, ridge, trees
from aiquant.learning.forecasters.contract import ForecasterContract
from aiquant.learning.scores import daily_rank_ic, rank_ic
from aiquant.settings import LearningSettings, Settings, XGBoostSettings

NAMES = ("quality", "momentum_12_1", "always_missing", "constant")


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


class TestXGBoostContract(ForecasterContract):
    def forecaster(self) -> Forecaster:
        return forecasters.create("xgboost", Settings())


class TestXGBoostRankingContract(ForecasterContract):
    def forecaster(self) -> Forecaster:
        told = XGBoostSettings(objective="rank:ndcg", n_estimators=20)
        return forecasters.create("xgboost", Settings(xgboost=told))


class TestXGBoostStoppedEarlyContract(ForecasterContract):
    def forecaster(self) -> Forecaster:
        return forecasters.create("xgboost", Settings(xgboost=XGBoostSettings(early_stopping_rounds=3)))


class TestXGBoostOutOfCoreContract(ForecasterContract):
    def forecaster(self) -> Forecaster:
        learning = LearningSettings(out_of_core=True)
        return forecasters.create("xgboost", Settings(learning=learning, xgboost=XGBoostSettings(n_estimators=20)))


class TestRidgeContract(ForecasterContract):
    def forecaster(self) -> Forecaster:
        return forecasters.create("ridge", Settings())


class TestMomentumContract(ForecasterContract):
    def forecaster(self) -> Forecaster:
        return forecasters.create("momentum", Settings())


class TestZeroContract(ForecasterContract):
    def forecaster(self) -> Forecaster:
        return forecasters.create("zero", Settings())


class TestAverageContract(ForecasterContract):
    def forecaster(self) -> Forecaster:
        return forecasters.create("average:xgboost,ridge,momentum", Settings())


class TestTheContract:
    """It has to notice a forecaster that breaks it."""

    class Peeking(baselines.Momentum):
        """Forecasts by the rank among the rows it is asked about."""

        def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
            return super().predict(X).argsort().argsort().astype(np.float64)

    class Forgetful(baselines.Momentum):
        """Explains something else than its forecasts."""

        def explain(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
            return super().explain(X) * 2

    def suite(self, kind: type[baselines.Momentum]) -> ForecasterContract:
        class Suite(ForecasterContract):
            def forecaster(self) -> Forecaster:
                return kind()

        return Suite()

    def test_it_notices_one_that_looks_at_the_other_rows(self) -> None:
        with pytest.raises(AssertionError):
            self.suite(self.Peeking).test_a_forecast_does_not_depend_on_the_other_rows()

    def test_it_notices_an_explanation_of_something_else(self) -> None:
        with pytest.raises(AssertionError):
            self.suite(self.Forgetful).test_contributions_sum_to_the_forecast()


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
    assert {"momentum", "ridge", "xgboost", "zero"} <= set(forecasters.names())
    with pytest.raises(UsageError, match="no forecaster is named 'xgbost'; did you mean 'xgboost'?"):
        forecasters.create("xgbost", Settings())


def test_a_package_can_bring_its_own_forecaster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point = EntryPoint("mine", "aiquant.learning.forecasters.baselines:Zero", forecasters.ENTRY_POINTS)
    monkeypatch.setattr(plugins, "entry_points", lambda group: EntryPoints([point]))
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
    with pytest.raises(RefusedError, match="outside of the folder"):
        forecasters.load(tmp_path / "a")
    header.write_text(json.dumps(told | {"format": 99}))
    with pytest.raises(DataError, match="later aiquant"):
        forecasters.load(tmp_path / "a")


def test_no_model_and_no_header_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no model in"):
        forecasters.load(tmp_path)
    (tmp_path / "model.json").write_text("{half")
    with pytest.raises(RefusedError, match="cannot be read"):
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

    def test_a_gpu_that_is_not_there_is_refused_not_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import xgboost

        monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": True})
        X, y, times = rows(100)
        with warnings.catch_warnings(), pytest.raises(MissingError, match="found no GPU.*nvidia-smi"):
            warnings.simplefilter("ignore")
            trees.XGBoost(XGBoostSettings(device="cuda")).fit(X, y, features=NAMES, times=times, seed=7)

    def test_weights_count(self) -> None:
        X, y, times = rows()
        y = np.where(np.arange(len(y)) % 2, 1.0, -1.0).astype(np.float32)
        weight = np.where(y > 0, 3.0, 1.0).astype(np.float32)
        forecaster = trees.XGBoost(XGBoostSettings(n_estimators=50, learning_rate=0.3))
        forecaster.fit(X, y, features=NAMES, times=times, seed=7, weight=weight)
        # three of four parts of the weight say +1, one says −1
        assert forecaster.predict(X).mean() == pytest.approx(0.5, abs=0.1)

    def test_a_ranking_is_learnt_within_dates_whatever_the_level_of_a_date(self) -> None:
        rng = np.random.default_rng(5)
        date = np.repeat(np.arange(100), 30)
        X = rng.normal(size=(3000, 2)).astype(np.float32)
        level = np.repeat(rng.normal(scale=50, size=100), 30)
        y = (X[:, 0] + level).astype(np.float32)
        times = date.astype("datetime64[D]").astype("datetime64[us]")
        for objective in ("rank:pairwise", "rank:ndcg"):
            told = XGBoostSettings(objective=objective, min_child_weight=1, n_estimators=60, subsample=1)
            forecaster = trees.XGBoost(told)
            forecaster.fit(X, y, features=("a", "b"), times=times, seed=7)
            assert rank_ic(times, forecaster.predict(X), y) > 0.8

    def test_a_ranking_needs_two_symbols_a_date(self) -> None:
        X, y, times = rows(100)
        with pytest.raises(DataError, match="no date has two"):
            trees.XGBoost(XGBoostSettings(objective="rank:ndcg")).fit(X, y, features=NAMES, times=times, seed=7)

    def test_early_stopping_keeps_noise_short_and_a_signal_long(self) -> None:
        rng = np.random.default_rng(3)
        times = np.repeat(np.arange(300), 10).astype("datetime64[D]").astype("datetime64[us]")
        X = rng.normal(size=(3000, 3)).astype(np.float32)
        trees_of = {}
        for name, signal in (("noise", 0.0), ("signal", 1.0)):
            y = (signal * X[:, 0] + rng.normal(size=3000)).astype(np.float32)
            told = XGBoostSettings(early_stopping_rounds=5, n_estimators=200, min_child_weight=10, learning_rate=0.1)
            forecaster = trees.XGBoost(told, embargo=2)
            forecaster.fit(X, y, features=("a", "b", "c"), times=times, seed=7)
            trees_of[name] = forecaster.trees
        assert trees_of["noise"] < trees_of["signal"] < 200

    def test_too_few_dates_to_hold_some_out_are_told(self) -> None:
        X, y, _ = rows(100)
        times = np.repeat(np.arange(4), 25).astype("datetime64[D]").astype("datetime64[us]")
        with pytest.raises(DataError, match="4 training dates are too few"):
            trees.XGBoost(XGBoostSettings(early_stopping_rounds=5), embargo=3).fit(
                X, y, features=NAMES, times=times, seed=7
            )

    @pytest.mark.parametrize(
        ("objective", "weighted"), [("reg:squarederror", True), ("rank:ndcg", False), ("rank:ndcg", True)]
    )
    def test_block_by_block_it_grows_the_trees_of_memory(
        self, objective: Any, weighted: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(blocks, "BLOCK", 333)  # a date has 25 rows: blocks end where dates do
        X, y, _ = rows(4000)
        times = np.repeat(np.arange(160), 25).astype("datetime64[D]").astype("datetime64[us]")
        weight = np.linspace(0.5, 1.5, 4000, dtype=np.float32) if weighted else None
        told = XGBoostSettings(objective=objective, n_estimators=40, min_child_weight=5)
        forecasts = []
        for out_of_core in (False, True):
            forecaster = trees.XGBoost(told, out_of_core=out_of_core)
            forecaster.fit(X, y, features=NAMES, times=times, seed=7, weight=weight, threads=2)
            forecasts.append(forecaster.predict(X))
        assert forecasts[0].std() > 0.01
        if objective.startswith("rank") and weighted:  # block by block XGBoost weighs the edges of bins otherwise
            assert np.corrcoef(forecasts)[0, 1] > 0.99
        else:
            np.testing.assert_array_equal(*forecasts)

    def test_blocks_hold_each_row_once_and_whole_dates(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blocks, "BLOCK", 10)
        day = np.sort(np.random.default_rng(1).integers(0, 9, 60))
        told = blocks.Rows(np.zeros((60, 1), np.float32), np.arange(60, dtype=np.float32), day.astype("M8[D]"), None)
        starts = told.starts()
        parts = [told.block(*ends)["label"] for ends in zip(starts, starts[1:], strict=False)]
        np.testing.assert_array_equal(np.concatenate(parts), told.y)
        days = [set(day[part.astype(int)]) for part in parts]
        assert len(days) > 2 and all(not a & b for a, b in zip(days, days[1:], strict=False))


class TestHoldout:
    def test_on_ten_dates_index_by_index(self) -> None:
        """Two symbols; labels end two dates later; a fifth is held out, one date is embargoed."""
        day = np.repeat(np.arange(10), 2)
        times = day.astype("datetime64[D]").astype("datetime64[us]")
        known = (day + 2).astype("datetime64[D]").astype("datetime64[us]")
        head, tail = holdout.split(times, known, 0.2, 1)
        # held out: dates 8 and 9. A label of date 6 ends on 8, that of date 5 on 7, which the embargo keeps free.
        assert sorted(set(day[tail])) == [8, 9]
        assert sorted(set(day[head])) == [0, 1, 2, 3, 4]
        assert sorted(set(day[holdout.split(times, known, 0.2, 0)[0]])) == [0, 1, 2, 3, 4, 5]


class TestRankIC:
    def test_it_equals_scipy_date_by_date(self) -> None:
        from scipy.stats import spearmanr

        rng = np.random.default_rng(8)
        times = np.repeat(np.arange(6), 12).astype("datetime64[D]")
        forecast, outcome = rng.integers(0, 5, 72).astype(float), rng.normal(size=72)
        outcome[[3, 20]] = np.nan
        forecast[times == times[-1]] = 1.0  # the last date says nothing
        outcome[12 : 12 + 8] = np.nan  # the second has four left
        found = daily_rank_ic(times, forecast, outcome)
        for date in (0, 2, 3, 4):
            rows = slice(12 * date, 12 * date + 12)
            known = np.isfinite(outcome[rows])
            expected = spearmanr(forecast[rows][known], outcome[rows][known]).statistic
            assert found[date] == pytest.approx(expected, abs=1e-12)
        assert np.isnan(found[[1, 5]]).all()
        assert rank_ic(times, forecast, outcome) == pytest.approx(np.nanmean(found))

    def test_nothing_to_judge_is_nan(self) -> None:
        nothing = np.empty(0)
        assert np.isnan(rank_ic(nothing.astype("datetime64[us]"), nothing, nothing))


class TestAverage:
    def test_members_count_alike_whatever_their_units(self) -> None:
        X, y, times = rows()
        whole = forecasters.create("average:ridge,momentum", Settings())
        whole.fit(X, y, features=NAMES, times=times, seed=7)
        scaled = []
        for name in ("ridge", "momentum"):
            member = fitted(name)
            own = member.predict(X)
            scaled.append((member.predict(X) - own.mean()) / own.std())
        np.testing.assert_allclose(whole.predict(X), np.mean(scaled, axis=0), rtol=1e-9, atol=1e-12)

    def test_a_member_without_a_forecast_leaves_it_to_the_others(self) -> None:
        X, y, times = rows()
        whole = forecasters.create("average:ridge,momentum", Settings())
        whole.fit(X, y, features=NAMES, times=times, seed=7)
        X = X[:5].copy()
        X[:, 1] = np.nan
        assert np.isfinite(whole.predict(X)).all()

    @pytest.mark.parametrize("name", ["average:", "average:ridge", "average:ridge,ridge"])
    def test_one_alone_is_no_average(self, name: str) -> None:
        with pytest.raises(UsageError, match="names no average of several forecasters"):
            forecasters.create(name, Settings())


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


def test_a_package_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("broken", "no.such.module:Class", forecasters.ENTRY_POINTS)
    monkeypatch.setattr(plugins, "entry_points", lambda group: EntryPoints([point]))
    with pytest.raises(MissingError, match=r"forecaster 'broken' \(no.such.module:Class\) cannot be loaded"):
        forecasters.create("broken", Settings())
