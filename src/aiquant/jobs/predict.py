"""The final model of a run → forecasts and a book for the newest decision, or for any date."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import calendars, schemas
from aiquant.errors import DataError
from aiquant.jobs import features as feature_job
from aiquant.jobs import books, manifest, tables
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, read
from aiquant.jobs.train import saved_model
from aiquant.jobs.workspace import Workspace, read_json
from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.portfolio.weights import Built


@dataclass(frozen=True)
class Predicted:
    """Forecasts of one decision date, the highest first, and the book that they lead to.

    Attributes
    ----------
    weights
        Target weight of each symbol that is held, the largest first; empty where the old book is kept.
    notes
        What should be known of the weights.
    """

    run_id: str
    model: str
    date: date
    horizon: int
    in_sample: bool
    forecasts: list[tuple[str, float]]
    out: Path | None = None
    weights: list[tuple[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
    asked = {"portfolio": workspace.settings.portfolio, "backtest": workspace.settings.backtest}
    settings = pipeline.settings.model_copy(update=asked)
    books.check(settings)
    inputs = inputs or read(workspace.lake, settings)
    rows = feature_job.current(workspace, journal, pipeline, inputs)
    with journal.station("predict") as station:
        model = saved_model(folder, told)
        panel = pipeline.panel(rows, schemas.LABELS.schema.empty_table(), pipeline.universe(inputs))
        wanted = np.datetime64(day) if day is not None else panel.dates.max()
        chosen = np.flatnonzero(panel.dates == wanted)
        if not len(chosen):
            raise DataError(
                f"no symbol has a bar on {wanted}", f"the bars reach from {panel.dates.min()} to {panel.dates.max()}"
            )
        forecasts = training.predict(panel, model, run_id=run_id, rows=chosen)
        _keep(workspace, forecasts, run_id)
        station.rows = forecasts.num_rows
    if out is not None:
        tables.write(forecasts, out)
    ordered = forecasts.sort_by([("forecast", "descending"), ("symbol", "ascending")])
    pairs = list(zip(ordered["symbol"].to_pylist(), ordered["forecast"].to_pylist(), strict=True))
    moment: date = wanted.astype("datetime64[D]").item()
    with journal.station("signals and weights") as station:
        book = _book(workspace, settings, inputs, run_id, forecasts, moment)
        weights = sorted((book.last.weights or {}).items(), key=_size) if book.last is not None else []
        station.rows = len(weights)
    seen = in_sample(moment, told, pipeline.settings)
    horizon = pipeline.settings.labels.horizon
    return Predicted(run_id, model.name, moment, horizon, seen, pairs, out, weights, list(book.notes))


def _book(
    workspace: Workspace, settings: Settings, inputs: Inputs, run_id: str, forecasts: pa.Table, day: date
) -> Built:
    """The book of ``day``: what the run forecast out of sample before tells what its forecasts are worth."""
    lake = workspace.lake
    own = (pl.col("run_id") == run_id) & (pl.col("fold") >= 0) & (pl.col("date") < day)
    before = lake.read(schemas.FORECASTS, where=own, missing_ok=True)
    known = books.past(settings, inputs)
    targets = lake.read(schemas.TARGET_WEIGHTS, where={"run_id": run_id}, missing_ok=True)
    held = books.held_by(targets, known, day)
    told = pa.concat_tables([before.select(forecasts.column_names), forecasts])
    return books.build(settings, told, inputs, run_id, known=known, held=held, since=day)


def _size(pair: tuple[str, float]) -> tuple[float, str]:
    return -abs(pair[1]), pair[0]


def _keep(workspace: Workspace, forecasts: pa.Table, run_id: str) -> None:
    """Beside the forecasts out of sample, told apart by their fold (−1)."""
    workspace.lake.write(schemas.FORECASTS, forecasts)


def in_sample(day: date, told: dict[str, Any], settings: Settings) -> bool:
    """Whether the final model of a run may have been trained on the label of that day.

    Parameters
    ----------
    told, settings
        The run's manifest, and its settings.
    """
    last = date.fromisoformat(told["about"]["last"])
    if day > last:
        return False
    between = calendars.sessions(settings.data.calendar, day, last)
    return len(between) - 1 > settings.labels.horizon
