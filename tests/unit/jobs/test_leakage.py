"""The leakage check passes the honest pipeline and catches each planted leak."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest

from aiquant import settings
from aiquant.jobs import leakage, vintages
from aiquant.jobs.pipeline import Inputs, Pipeline, sessions_of
from aiquant.schemas import FEATURES

if TYPE_CHECKING:
    from aiquant.learning.panel import Panel
    from aiquant.learning.splits import Fold

FAST = {
    "learning.min_train_years": "2",
    "learning.threads": "1",
    "xgboost.n_estimators": "15",
    "xgboost.max_depth": "2",
}
SETTINGS = settings.load(None, FAST)
CUTS = 3


@pytest.fixture(scope="module")
def inputs(make_bars) -> Inputs:  # type: ignore[no-untyped-def]
    """Four years of twelve symbols, one of which stops in the third year, and a bar corrected long after its close."""
    bars = pl.DataFrame(make_bars(symbols=12, first=date(2015, 1, 2), last=date(2018, 12, 31), seed=5))
    gone = (pl.col("symbol") == "S003") & (pl.col("date") > date(2017, 6, 30))
    bars = bars.filter(~gone)
    wrong = bars.filter((pl.col("symbol") == "S001") & pl.col("date").is_between(date(2017, 3, 1), date(2017, 3, 10)))
    late = wrong.with_columns(
        pl.col("known_from") + timedelta(days=500), *(pl.col(c) * 1.2 for c in ("open", "high", "low", "close"))
    )
    versions = pl.concat([bars, late]).to_arrow()
    stated = {"bars": 0, "corporate_actions": None, "universe": None}
    return Inputs(versions, None, None, sessions_of(versions, "XNYS"), stated)


def _verdict(pipeline: Pipeline, inputs: Inputs) -> leakage.Verdict:
    return leakage.examine(pipeline, inputs, CUTS, seed=3)


def test_the_honest_pipeline_passes(inputs: Inputs) -> None:
    verdict = _verdict(Pipeline(SETTINGS), inputs)
    assert verdict.passed, [c for c in verdict.comparisons if c.differing]
    compared = {what: sum(c.compared for c in verdict.comparisons if c.what == what) for what in _WHAT}
    assert all(count > 1000 for count in compared.values()), compared
    assert "No leak" in verdict.sentence()


_WHAT = ("features", "labels", "forecasts", "splits")


def test_barriers_conditions_weights_and_refits_do_not_leak_either(inputs: Inputs) -> None:
    asked = {
        "labels.window": "triple-barrier",
        "labels.upper": "1",
        "labels.lower": "1",
        "labels.target": "beta-neutral",
        "labels.scaled": "true",
        "labels.weights": "uniqueness",
        "labels.time_decay": "0.3",
        "learning.refit": "60",
        "learning.train_years": "2",
    }
    verdict = _verdict(Pipeline(settings.load(None, FAST | asked)), inputs)
    assert verdict.passed, [c for c in verdict.comparisons if c.differing]
    assert sum(c.compared for c in verdict.comparisons if c.what == "forecasts") > 300


class CentredWindow(Pipeline):
    """A feature that smooths with the days to come."""

    def features(self, inputs: Inputs) -> pa.Table:
        frame = pl.DataFrame(super().features(inputs))
        name = frame.columns[len(FEATURES.schema)]
        smooth = pl.col(name).rolling_mean(5, center=True, min_samples=1).over("symbol").cast(pl.Float32)
        return frame.with_columns(smooth.alias(name)).to_arrow()


class GlobalNormalisation(Pipeline):
    """A feature scaled by its mean and deviation over all of history."""

    def features(self, inputs: Inputs) -> pa.Table:
        frame = pl.DataFrame(super().features(inputs))
        name = frame.columns[len(FEATURES.schema)]
        kept = pl.col(name).fill_nan(None)
        return frame.with_columns(((kept - kept.mean()) / kept.std()).cast(pl.Float32).alias(name)).to_arrow()


class LabelOverTheSplit(Pipeline):
    """Training rows whose label windows reach into the test window."""

    def folds(self, panel: Panel) -> list[Fold]:
        from dataclasses import replace

        import numpy as np

        found = []
        for fold in super().folds(panel):
            before = np.flatnonzero(panel.labelled & (panel.event_time < fold.test_start))
            found.append(replace(fold, train=before))
        return found


class RevisedPrice(Pipeline):
    """Features from the newest version of each bar, whenever it became known."""

    def features(self, inputs: Inputs) -> pa.Table:
        from dataclasses import replace

        bars = pl.DataFrame(vintages.newest(inputs.bars)).with_columns(known_from=pl.col("event_time"))
        return super().features(replace(inputs, bars=bars.to_arrow().cast(inputs.bars.schema)))


class FutureUniverse(Pipeline):
    """Only the symbols that still trade on the last day."""

    def features(self, inputs: Inputs) -> pa.Table:
        frame = pl.DataFrame(super().features(inputs))
        alive = frame.filter(pl.col("date") == frame["date"].max())["symbol"]
        return frame.filter(pl.col("symbol").is_in(alive.to_list())).to_arrow()


class OneDayPeek(Pipeline):
    """Tomorrow's value in today's row."""

    def features(self, inputs: Inputs) -> pa.Table:
        frame = pl.DataFrame(super().features(inputs))
        name = frame.columns[len(FEATURES.schema)]
        return frame.with_columns(pl.col(name).shift(-1).over("symbol")).to_arrow()


class LabelsKnownTooEarly(Pipeline):
    """Labels that are offered before the position they describe is closed."""

    def labels(self, inputs: Inputs) -> pa.Table:
        frame = pl.DataFrame(super().labels(inputs))
        return frame.with_columns(label_end=pl.col("label_end") - timedelta(days=4)).to_arrow()


@pytest.mark.parametrize(
    ("plant", "shows_in"),
    [
        (CentredWindow, "features"),
        (GlobalNormalisation, "features"),
        (LabelOverTheSplit, "splits"),
        (LabelOverTheSplit, "forecasts"),
        (RevisedPrice, "features"),
        (FutureUniverse, "features"),
        (OneDayPeek, "features"),
        (LabelsKnownTooEarly, "labels"),
    ],
)
def test_each_planted_leak_is_caught(plant: type[Pipeline], shows_in: str, inputs: Inputs) -> None:
    verdict = _verdict(plant(SETTINGS), inputs)
    assert not verdict.passed
    assert shows_in in verdict.leaking
    assert all(c.example for c in verdict.comparisons if c.differing)
    assert "Leak" in verdict.sentence()


def test_nothing_compared_is_not_a_pass() -> None:
    assert not leakage.Verdict().passed
