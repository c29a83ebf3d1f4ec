"""A walk-forward: what is forecast, from what, and that it is the same however it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning import forecasters, panel, splits, training
from aiquant.learning.forecasters import Forecaster
from aiquant.learning.forecasters.baselines import Momentum, Zero
from aiquant.learning.panel import Panel
from aiquant.schemas import FEATURES, FORECASTS
from aiquant.settings import LearningSettings, Settings, XGBoostSettings

DAYS = [date(year, month, day) for year in (2018, 2019, 2020, 2021) for month in range(1, 13) for day in (3, 13, 23)]
SETTINGS = Settings(xgboost=XGBoostSettings(n_estimators=20, min_child_weight=5))


class Spy(Zero):
    """Remembers what it was shown."""

    seen: list[tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Any]]] = []

    def fit(self, X: NDArray[np.float32], y: NDArray[np.float32], **told: Any) -> None:
        Spy.seen.append((X, y, told))
        super().fit(X, y, **told)


@pytest.fixture
def built(market: Callable[..., Any]) -> Panel:
    return panel.build(*market(DAYS, symbols=6, horizon=2))


@pytest.fixture
def folds(built: Panel) -> list[splits.Fold]:
    return splits.walk_forward(built, LearningSettings(min_train_years=2, embargo=1))


def xgboost() -> Forecaster:
    return forecasters.create("xgboost", SETTINGS)


def test_forecasts_cover_each_tested_row_once(built: Panel, folds: list[splits.Fold]) -> None:
    trained = training.walk_forward(built, folds, xgboost, run_id="r1", seed=7)
    assert trained.forecasts.schema == FORECASTS.schema
    rows = trained.forecasts.to_pylist()
    assert len(rows) == 2 * 36 * 6
    assert [(row["event_time"], row["symbol"]) for row in rows] == sorted((r["event_time"], r["symbol"]) for r in rows)
    assert {(row["fold"], row["date"].year) for row in rows} == {(0, 2020), (1, 2021)}
    assert {(row["run_id"], row["model"], row["horizon"]) for row in rows} == {("r1", "xgboost", 2)}


def test_threads_do_not_change_forecasts(built: Panel, folds: list[splits.Fold]) -> None:
    one = training.walk_forward(built, folds, xgboost, run_id="r", seed=7, threads=1)
    many = training.walk_forward(built, folds, xgboost, run_id="r", seed=7, threads=5)
    assert one.forecasts.equals(many.forecasts)


def test_each_fold_sees_its_own_training_rows_alone(built: Panel, folds: list[splits.Fold]) -> None:
    Spy.seen.clear()
    training.walk_forward(built, folds, Spy, run_id="r", seed=3, threads=1)
    assert len(Spy.seen) == 2
    for (X, y, told), fold in zip(Spy.seen, reversed(folds), strict=True):  # the longest is fitted first
        np.testing.assert_array_equal(X, built.X[fold.train])
        np.testing.assert_array_equal(y, built.y[fold.train])
        np.testing.assert_array_equal(told["times"], built.event_time[fold.train])
        assert (told["features"], told["seed"]) == (built.features, 3)


def test_what_happens_after_the_training_rows_cannot_move_a_forecast(market: Callable[..., Any]) -> None:
    """Replace all labels and features from the second test year on: forecasts of the first must not move."""
    learning = LearningSettings(min_train_years=2, embargo=1)
    before = panel.build(*market(DAYS, symbols=6, horizon=2))
    folds = splits.walk_forward(before, learning)
    changed = panel.build(*market(DAYS, symbols=6, horizon=2))
    late = changed.dates >= np.datetime64("2021-01-01")
    changed = replace(
        changed, X=np.where(late[:, None], np.float32(99), changed.X), y=np.where(late, np.float32(0), changed.y)
    )
    one = training.walk_forward(before, folds, xgboost, run_id="r", seed=7).forecasts
    two = training.walk_forward(changed, folds, xgboost, run_id="r", seed=7).forecasts
    first = np.array(one["fold"]) == 0
    np.testing.assert_array_equal(np.array(one["forecast"])[first], np.array(two["forecast"])[first])
    assert (np.array(one["forecast"])[~first] != np.array(two["forecast"])[~first]).any()


def test_the_table_of_folds_tells_what_was_left_out(built: Panel, folds: list[splits.Fold]) -> None:
    told = training.walk_forward(built, folds, xgboost, run_id="r", seed=7).folds.to_pylist()
    assert [row["fold"] for row in told] == [0, 1]
    # a label of two bars from the next one: the last three dates before the test are purged, one more embargoed
    assert [(row["purged"], row["embargoed"]) for row in told] == [(18, 6), (18, 6)]
    assert [row["train_rows"] for row in told] == [(72 - 4) * 6, (108 - 4) * 6]
    assert [row["test_rows"] for row in told] == [216, 216]
    assert told[0]["train_end"] < told[0]["test_start"]


def test_importances_stand_by_fold(built: Panel, folds: list[splits.Fold]) -> None:
    told = training.walk_forward(built, folds, xgboost, run_id="r", seed=7).importances.to_pylist()
    assert [(row["fold"], row["feature"]) for row in told] == [(f, n) for f in (0, 1) for n in ("edge", "noise_0")]
    assert all(row["importance"] > 0.5 for row in told if row["feature"] == "edge")


def test_progress_is_told_fold_by_fold(built: Panel, folds: list[splits.Fold]) -> None:
    told: list[tuple[int, int]] = []
    training.walk_forward(
        built, folds, xgboost, run_id="r", seed=7, progress=lambda done, whole: told.append((done, whole))
    )
    assert told == [(1, 2), (2, 2)]


def test_an_error_in_a_fold_comes_out(built: Panel, folds: list[splits.Fold]) -> None:
    with pytest.raises(DataError, match="momentum baseline needs"):
        training.walk_forward(built, folds, Momentum, run_id="r", seed=7)


def test_rows_without_a_forecast_are_left_out(built: Panel, folds: list[splits.Fold]) -> None:
    built.X[folds[0].test[:5], 0] = np.nan
    trained = training.walk_forward(built, folds, lambda: Momentum("edge"), run_id="r", seed=7)
    assert trained.forecasts.num_rows == 2 * 216 - 5


def test_the_final_model_takes_every_label_and_forecasts_the_rest(built: Panel) -> None:
    Spy.seen.clear()
    training.fit_final(built, Spy, seed=7)
    assert len(Spy.seen[0][1]) == int(built.labelled.sum()) == (len(DAYS) - 3) * 6
    final = training.fit_final(built, xgboost, seed=7)
    rows = np.flatnonzero(~built.labelled)
    table = training.predict(built, final, run_id="r", rows=rows)
    assert table.num_rows == 18 and set(table["fold"].to_pylist()) == {-1}


def test_columns_are_put_in_the_order_of_the_model(built: Panel, market: Callable[..., Any]) -> None:
    final = training.fit_final(built, xgboost, seed=7)
    features, labels = market(DAYS, symbols=6, horizon=2)
    turned = panel.build(features.select([*FEATURES.schema.names, "noise_0", "edge"]), labels)
    assert turned.features != built.features
    told = training.predict(turned, final, run_id="r")
    assert told.equals(training.predict(built, final, run_id="r"))
    with pytest.raises(DataError, match="needs the feature.s. noise_0"):
        lacking = panel.build(features.drop_columns("noise_0"), labels)
        training.predict(lacking, final, run_id="r")


def test_without_any_label_there_is_no_final_model(market: Callable[..., Any]) -> None:
    features, labels = market(DAYS[:6], horizon=2)
    with pytest.raises(DataError, match="nothing to train on"):
        training.fit_final(panel.build(features, labels.slice(0, 0), horizon=2), xgboost, seed=7)


def test_forecasters_are_given_the_weights_of_their_rows(built: Panel, folds: list[splits.Fold]) -> None:
    def weigh(panel: Panel, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return (rows + 1).astype(np.float32)

    Spy.seen.clear()
    training.walk_forward(built, folds, Spy, run_id="r", seed=1, weigh=weigh)
    training.fit_final(built, Spy, seed=1, weigh=weigh)
    given = sorted((told["weight"].tolist() for _, _, told in Spy.seen), key=len)
    rows = [*(fold.train for fold in folds), np.flatnonzero(built.labelled)]
    assert given == [(each + 1).tolist() for each in rows]


def test_labels_that_are_all_equal_teach_nothing(built: Panel, folds: list[splits.Fold]) -> None:
    flat = replace(built, y=np.where(np.isnan(built.y), np.nan, 0).astype(np.float32))
    with pytest.raises(DataError, match=r"labels from 2018-01-03 to .* are equal \(0\): there is nothing to learn"):
        training.walk_forward(flat, folds, xgboost, run_id="r", seed=1)
