"""The final model of a run → forecasts for the newest decision, or for any date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aiquant import calendars, schemas
from aiquant.errors import DataError
from aiquant.jobs import features as feature_job
from aiquant.jobs import manifest, tables
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, read
from aiquant.jobs.train import saved_model
from aiquant.jobs.workspace import Workspace, read_json
from aiquant.settings import Settings


@dataclass(frozen=True)
class Predicted:
    """Forecasts of one decision date, the highest first."""

    run_id: str
    model: str
    date: date
    horizon: int
    in_sample: bool
    forecasts: list[tuple[str, float]]
    out: Path | None = None


def predict(
    workspace: Workspace,
    journal: Journal,
    run_id: str,
    day: date | None = None,
    out: Path | None = None,
    inputs: Inputs | None = None,
) -> Predicted:
    """Forecast every symbol that has a bar on ``day`` (default: the newest) with the final model of a run.

    Raises
    ------
    DataError
        When no bar lies on that day.
    RefusedError
        When the model's files were changed.
    """
    from aiquant.learning import training

    if out is not None:
        tables.writer_of(out)
    folder = workspace.run_folder(run_id)
    told = read_json(folder / "manifest.json")
    pipeline = Pipeline(manifest.settings_of(told))
    inputs = inputs or read(workspace.lake, pipeline.settings)
    rows = feature_job.current(workspace, journal, pipeline, inputs)
    with journal.station("predict") as station:
        model = saved_model(folder, told)
        panel = pipeline.panel(rows, schemas.LABELS.schema.empty_table(), pipeline.universe(inputs))
        asked = np.datetime64(day) if day is not None else panel.dates.max()
        chosen = np.flatnonzero(panel.dates == asked)
        if not len(chosen):
            raise DataError(
                f"no symbol has a bar on {asked}", f"the bars reach from {panel.dates.min()} to {panel.dates.max()}"
            )
        forecasts = training.predict(panel, model, run_id=run_id, rows=chosen)
        _keep(workspace, forecasts, run_id)
        station.rows = forecasts.num_rows
    if out is not None:
        tables.write(forecasts, out)
    ordered = forecasts.sort_by([("forecast", "descending"), ("symbol", "ascending")])
    pairs = list(zip(ordered["symbol"].to_pylist(), ordered["forecast"].to_pylist(), strict=True))
    moment: date = asked.astype("datetime64[D]").item()
    in_sample = _in_sample(moment, told, pipeline.settings)
    return Predicted(run_id, model.name, moment, pipeline.settings.labels.horizon, in_sample, pairs, out)


def _keep(workspace: Workspace, forecasts: pa.Table, run_id: str) -> None:
    """Beside the forecasts out of sample, told apart by their fold (−1)."""
    workspace.lake.write(schemas.FORECASTS, forecasts)


def _in_sample(day: date, told: dict[str, Any], settings: Settings) -> bool:
    """Whether the final model may have been trained on the label of that day."""
    last = date.fromisoformat(told["about"]["last"])
    if day > last:
        return False
    between = calendars.sessions(settings.data.calendar, day, last)
    return len(between) - 1 > settings.labels.horizon
