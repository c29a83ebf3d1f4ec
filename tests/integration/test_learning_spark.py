"""XGBoost on Spark beside XGBoost here: the same panel, the same splits. Needs the extra ``spark`` and Java 17."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from aiquant.errors import UsageError
from aiquant.learning import forecasters
from aiquant.learning.forecasters import Forecaster
from aiquant.settings import LearningSettings, Settings, SparkSettings, XGBoostSettings

pytestmark = pytest.mark.slow

NAMES = ("edge", "noise", "missing")
TOLERANCE = 1e-6
"""Of the forecasts' deviation, with one task."""
ALIKE = 0.98
"""Correlation of the forecasts with two tasks, which find bin edges together."""


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    pytest.importorskip("pyspark", reason="needs the extra spark: pip install 'aiquant[spark]'")
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.getActiveSession() or (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def made(engine: str, workers: int = 1, **told: Any) -> Forecaster:
    learning = LearningSettings(engine=engine)  # type: ignore[arg-type]
    # No draw by chance: tasks of Spark draw each for itself.
    own = XGBoostSettings(n_estimators=25, min_child_weight=5, subsample=1, colsample_bytree=1, **told)
    return forecasters.create(
        "xgboost", Settings(learning=learning, xgboost=own, spark=SparkSettings(train_workers=workers))
    )


def fitted(forecaster: Forecaster) -> tuple[Forecaster, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(3000, 3)).astype(np.float32)
    y = (X[:, 0] + rng.normal(size=3000)).astype(np.float32)
    X[rng.random(3000) < 0.1, 0] = np.nan
    X[:, 2] = np.nan
    times = np.repeat(np.arange(150), 20).astype("datetime64[D]").astype("datetime64[us]")
    weight = np.linspace(0.5, 1.5, 3000, dtype=np.float32)
    forecaster.fit(X, y, features=NAMES, times=times, seed=7, weight=weight)
    return forecaster, forecaster.predict(X)


def test_spark_grows_the_trees_that_grow_here(spark: Any) -> None:
    local, here = fitted(made("local"))
    there, alone = fitted(made("spark"))
    np.testing.assert_allclose(alone, here, rtol=0, atol=TOLERANCE * here.std())
    assert there.importance() == pytest.approx(local.importance())
    assert np.corrcoef(fitted(made("spark", workers=2))[1], here)[0, 1] > ALIKE


def test_what_spark_cannot_do_is_told() -> None:
    for told in ({"objective": "rank:ndcg"}, {"early_stopping_rounds": 5}):
        with pytest.raises(UsageError, match="[Ss]park"):
            fitted(made("spark", **told))
