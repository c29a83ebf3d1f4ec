"""Forecasts out of sample, and all that they are judged beside: what was learnt, other horizons, groups of symbols."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from aiquant.jobs.pipeline import Inputs, Pipeline
from aiquant.schemas import CLASSIFICATION

if TYPE_CHECKING:
    from aiquant.learning.judgement import Judgement
    from aiquant.learning.panel import Panel


def judge(pipeline: Pipeline, inputs: Inputs, panel: Panel, forecasts: pa.Table, labels: pa.Table) -> Judgement:
    """Judge the forecasts of a training by all that the settings ask for.

    Parameters
    ----------
    panel
        That the forecasts are of.
    forecasts
        Schema ``FORECASTS``, out of sample.
    labels
        As :meth:`Pipeline.labels` gives them.
    """
    from aiquant.learning import judgement

    return judgement.judge(
        forecasts,
        labels,
        inputs.sessions,
        learnt=panel.learnt(),
        horizons=_horizons(pipeline, inputs, labels),
        groups=_groups(pipeline, inputs, forecasts),
    )


def _horizons(pipeline: Pipeline, inputs: Inputs, labels: pa.Table) -> Iterator[pa.Table]:
    """Forward returns over each horizon, one table at a time."""
    own = pipeline.settings.labels.horizon
    for horizon in sorted({own, *pipeline.settings.judgement.horizons}):
        yield labels if horizon == own else pipeline.labels(inputs, horizon)


def _groups(pipeline: Pipeline, inputs: Inputs, forecasts: pa.Table) -> dict[str, pa.Table]:
    from aiquant.learning import breakdown

    conditions = pipeline.conditions(inputs)
    found = {
        "size": breakdown.size_thirds(conditions),
        "volatility": breakdown.volatility_thirds(conditions, forecasts),
    }
    classes = inputs.attached.get(CLASSIFICATION.name)
    if classes is not None:  # it is read where a feature of the set compares symbols by it
        found["sector"] = breakdown.sectors(classes, forecasts)
    return found
