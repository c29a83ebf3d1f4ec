"""Importance: what helped out of sample is told from what did not, alone and together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from aiquant.learning import forecasters, importance, panel, splits, training
from aiquant.learning.importance import Importance
from aiquant.learning.panel import Panel
from aiquant.settings import ImportanceSettings, LearningSettings, Settings, XGBoostSettings

DAYS = [day.item() for day in np.arange("2015-01-01", "2017-12-31", dtype="datetime64[D]") if np.is_busday(day)]
Market = Callable[..., tuple[pa.Table, pa.Table]]


@pytest.fixture(scope="module")
def measured(market: Market) -> tuple[Panel, Importance]:
    features, labels = market(DAYS, symbols=12, features=4, noise=1.0)
    edge = features["edge"].to_numpy()
    rng = np.random.default_rng(2)
    twin = (edge + rng.normal(scale=0.05, size=len(edge))).astype(np.float32)
    features = features.append_column("twin", pa.array(twin))
    features = features.append_column("constant", pa.array(np.full(len(edge), 2, dtype=np.float32)))
    features = features.append_column("missing", pa.array(np.full(len(edge), np.nan, dtype=np.float32)))
    built = panel.build(features, labels)
    folds = splits.walk_forward(built, LearningSettings(min_train_years=1))
    told = Settings(xgboost=XGBoostSettings(n_estimators=60, min_child_weight=5, colsample_bytree=0.5))
    trained = training.walk_forward(
        built, folds, lambda: forecasters.create("xgboost", told), run_id="r", seed=7, threads=1
    )
    return built, importance.measure(built, folds, trained.models, ImportanceSettings(), 7)


def test_what_moves_together_is_one_cluster(measured: tuple[Panel, Importance]) -> None:
    cluster = measured[1].cluster
    assert cluster["edge"] == cluster["twin"]
    others = [cluster[name] for name in cluster if name not in ("edge", "twin")]
    assert len(set(others)) == len(others) and cluster["edge"] not in others


def test_the_edge_and_its_twin_lead_and_together_they_weigh_more_than_alone(
    measured: tuple[Panel, Importance],
) -> None:
    found = measured[1]
    lines = {line["feature"]: line for line in found.features()}
    assert {line["feature"] for line in found.features()[:2]} == {"edge", "twin"}
    (both,) = found.clusters()
    assert set(both["features"]) == {"edge", "twin"}
    assert both["permutation"] > 2 * max(lines[name]["permutation"] for name in ("edge", "twin"))
    noise = [lines[name]["permutation"] for name in lines if name.startswith("noise")]
    assert max(abs(value) for value in noise) < both["permutation"] / 10


def test_what_says_nothing_has_none(measured: tuple[Panel, Importance]) -> None:
    lines = {line["feature"]: line for line in measured[1].features()}
    for name in ("constant", "missing"):
        assert (lines[name]["gain"], lines[name]["shap"], lines[name]["permutation"]) == (0, 0, 0)


def test_shares_sum_to_one_in_each_fold(measured: tuple[Panel, Importance]) -> None:
    import polars as pl

    told = pl.DataFrame(pl.from_arrow(measured[1].by_fold)).group_by("fold").agg(pl.col("gain", "shap").sum())
    assert told["gain"].to_numpy() == pytest.approx(1)
    assert told["shap"].to_numpy() == pytest.approx(1)
    assert 0 < measured[1].stability <= 1


def test_shuffling_the_only_feature_leaves_no_skill(measured: tuple[Panel, Importance]) -> None:
    """By hand: a forecast that is one column, shuffled within dates, has a rank IC of about 0."""
    built = measured[0]
    folds = splits.walk_forward(built, LearningSettings(min_train_years=1))
    own = replace(built, X=np.ascontiguousarray(built.X[:, :1]), features=("edge",))
    trained = training.walk_forward(
        own, folds, lambda: forecasters.create("ridge", Settings()), run_id="r", seed=7, threads=1
    )
    found = importance.measure(own, folds, trained.models, ImportanceSettings(dates=10_000), 7)
    from aiquant.learning.scores import rank_ic

    for fold, line in zip(folds, found.by_fold.to_pylist(), strict=True):
        forecast = trained.models[fold.number].predict(own.X[fold.test])
        base = rank_ic(own.event_time[fold.test], forecast, own.forward_return[fold.test])
        assert line["permutation"] == pytest.approx(base, abs=0.05)
        assert line["shap"] == pytest.approx(1)


def test_the_panel_is_left_as_it_was_and_the_same_seed_finds_the_same(market: Market) -> None:
    features, labels = market(DAYS, symbols=8, features=3, noise=1.0)
    built = panel.build(features, labels)
    before = built.X.copy()
    folds = splits.walk_forward(built, LearningSettings(min_train_years=1))
    trained = training.walk_forward(
        built, folds, lambda: forecasters.create("ridge", Settings()), run_id="r", seed=7, threads=1
    )
    found = [importance.measure(built, folds, trained.models, ImportanceSettings(), s).to_dict() for s in (1, 1, 2)]
    np.testing.assert_array_equal(built.X, before)
    assert found[0] == found[1] != found[2]
