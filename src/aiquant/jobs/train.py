"""Bars of the lake → a walk-forward of forecasts out of sample, a final model, and the manifest of both."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import Unreachable
from aiquant.jobs import books, digests, judging, manifest
from aiquant.jobs import features as feature_job
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, describe, read
from aiquant.jobs.workspace import Workspace, read_json, write_json, write_text

if TYPE_CHECKING:
    from aiquant.learning.forecasters import Forecaster
    from aiquant.learning.judgement import Judgement
    from aiquant.learning.matrix import Features
    from aiquant.learning.panel import Panel
    from aiquant.learning.splits import Fold
    from aiquant.learning.training import Trained

IMPORTANCE, PICTURE, EXAMPLE = "importance.json", "importance.svg", "example.json"
EXAMPLE_ROWS = 3
"""Rows of the panel that are kept with the model, to show what it takes."""

FINAL = "final"
"""Folder of the model that was fitted on all of the history."""


@dataclass(frozen=True)
class Study:
    """What a training computed, before anything is written."""

    run_id: str
    panel: Panel
    folds: list[Fold]
    labels: pa.Table
    trained: Trained
    final: Forecaster
    judgement: Judgement


@dataclass(frozen=True)
class TrainedRun:
    """A training that is on disk."""

    run_id: str
    folder: Path
    manifest: dict[str, Any]
    study: Study
    inputs: Inputs


def train(workspace: Workspace, journal: Journal) -> TrainedRun:
    """Train the forecaster that the settings name; the same data, settings and code give the same run.

    Raises
    ------
    MissingError
        When there are no bars.
    DataError
        When there is too little history.
    """
    from aiquant.jobs import track
    from aiquant.learning import tracking

    pipeline = Pipeline(workspace.settings)
    pipeline.check()
    books.check(workspace.settings)
    opening = tracking.warm_up(workspace.settings.tracking, workspace.root)
    with journal.station("read bars") as station:
        inputs = read(workspace.lake, workspace.settings)
        station.rows = inputs.bars.num_rows
        about = data_version(inputs)
    run_id = run_id_of(pipeline, about)
    # No name here holds the features: they are let go of as soon as the panel is made.
    study = compute(pipeline, inputs, feature_job.current(workspace, journal, pipeline, inputs), run_id, journal)
    if workspace.settings.importance.dates:
        with journal.station("importance") as station:
            _write_importance(workspace, study)
            station.rows = len(study.panel.features)
            station.note = "features, shuffled out of sample"
    with journal.station("write the run") as station:
        told = _write(workspace, pipeline, inputs, about, study)
        station.rows = study.trained.forecasts.num_rows
    with journal.station("record the trial") as station:
        station.note = _record_trial(workspace, pipeline, inputs, study)
    done = TrainedRun(study.run_id, workspace.runs / study.run_id, told, study, inputs)
    with journal.station("log to MLflow") as station:
        sent = track.log_or_keep(workspace, opening, journal, done.run_id)
        station.note = "" if sent else "not sent"
    return done


def compute(pipeline: Pipeline, inputs: Inputs, features: Features, run_id: str, journal: Journal) -> Study:
    """Everything from features to a judgement; writes nothing."""
    from aiquant.learning import training

    learning = pipeline.settings.learning
    with journal.station("labels") as station:
        labels = pipeline.labels(inputs)
        panel = pipeline.panel(features, pipeline.learnt(inputs, labels), pipeline.universe(inputs))
        del features
        folds = pipeline.folds(panel)
        station.rows = labels.num_rows
        station.note = f"{len(folds)} purged folds"
    name = f"train {learning.model}"
    with journal.station(name) as station:
        trained = pipeline.train(panel, folds, run_id, journal.progress(name))
        final = training.fit_final(
            panel, pipeline.make, seed=learning.seed, threads=learning.threads, weigh=pipeline.weigh
        )
        station.rows = trained.forecasts.num_rows
        station.note = "forecasts out of sample"
    with journal.station("judge") as station:
        judged = judging.judge(pipeline, inputs, panel, trained.forecasts, labels)
        station.note = f"rank IC {judged.rank_ic:+.4f}, t {judged.rank_ic_t:+.2f}"
    return Study(run_id, panel, folds, labels, trained, final, judged)


def data_version(inputs: Inputs) -> dict[str, Any]:
    """Which data: for each table its Delta version, its rows, and a digest of its content."""
    from aiquant.lake.digests import digest

    beside = {"corporate_actions": inputs.actions, "universe": inputs.universe, "classification": inputs.classes}
    tables = {"bars": inputs.bars, **beside, **inputs.attached}
    return {
        name: {"version": inputs.versions[name], "rows": rows.num_rows, "digest": digest(rows)[:16]}
        for name, rows in tables.items()
        if rows is not None
    }


def run_id_of(pipeline: Pipeline, about: dict[str, Any]) -> str:
    """A digest of data, settings, feature definitions and code: equal inputs are the same run."""
    content = {name: table["digest"] for name, table in about.items()}
    told = [content, pipeline.settings.fingerprint(), pipeline.feature_set.version, digests.of_code()]
    model = re.sub(r"[^A-Za-z0-9_.]+", "-", pipeline.settings.learning.model)  # it becomes the name of a folder
    return f"{model}-{digests.of_json(told)[:10]}"


def _write(
    workspace: Workspace, pipeline: Pipeline, inputs: Inputs, about: dict[str, Any], study: Study
) -> dict[str, Any]:
    """Forecasts, models, and last the manifest: a run without a manifest does not exist."""
    from aiquant.lake.digests import digest

    folder = workspace.runs / study.run_id
    workspace.lake.replace(schemas.FORECASTS, study.trained.forecasts, {"run_id": study.run_id})
    saved = _save_models(folder / "models", study)
    judged = study.judgement.to_dict()
    write_json(folder / "judgement.json", judged)
    write_json(
        folder / "folds.json",
        {"folds": study.trained.folds.to_pylist(), "importance": _mean_importance(study.trained.importances)},
    )
    newest = np.nan_to_num(study.panel.X[-EXAMPLE_ROWS:]).tolist()
    write_json(folder / EXAMPLE, {"features": study.panel.features, "rows": newest})
    told = {
        "run_id": study.run_id,
        **manifest.origin(workspace.settings),
        "data": about,
        "about": {**describe(inputs), "calendar": inputs.sessions.calendar},
        "features": {
            "set": pipeline.feature_set.name,
            "version": pipeline.feature_set.version,
            "count": len(study.panel.features),
        },
        "model": {"digest": saved},
        "results": {
            "forecasts": {"rows": study.trained.forecasts.num_rows, "digest": digest(study.trained.forecasts)},
            "rank_ic": judged["rank_ic"],
            "rank_ic_t": judged["rank_ic_t"],
        },
    }
    write_json(folder / "manifest.json", told)
    return read_json(folder / "manifest.json")


def _record_trial(workspace: Workspace, pipeline: Pipeline, inputs: Inputs, study: Study) -> str:
    """Whatever is trained was tried, whether it is backtested later or not."""
    from aiquant.jobs import backtest, trials
    from aiquant.learning.trials import RUNS, Trial

    settings = pipeline.settings
    trial = Trial(
        RUNS,
        study.run_id,
        settings.learning.model,
        trials.configuration(settings),
        manifest.plain(settings),
        study.run_id,
        study.judgement.rank_ic,
    )
    weights = books.build(settings, study.trained.forecasts, inputs, study.run_id).weights
    account = backtest.account(settings, weights, inputs.newest, inputs.sessions, inputs.actions)
    trials.record(workspace.lake, trial, account.equity)
    tried = trials.read(workspace.lake).count
    return f"{tried} configuration(s) tried in this workspace"


def _write_importance(workspace: Workspace, study: Study) -> None:
    from aiquant.learning import importance

    settings = workspace.settings
    found = importance.measure(
        study.panel, study.folds, study.trained.models, settings.importance, settings.learning.seed
    )
    folder = workspace.runs / study.run_id
    write_json(folder / IMPORTANCE, found.to_dict())
    write_text(folder / PICTURE, importance.picture(found))


def saved_model(folder: Path, told: dict[str, Any], name: str = FINAL) -> Forecaster:
    """A model of the run in ``folder``, the final one checked against the digest of its manifest ``told``.

    Raises
    ------
    MissingError
        When it is gone.
    RefusedError
        When it is not the one that was trained.
    """
    from aiquant.learning import forecasters

    # Manifests of earlier versions have no digest, nor has one of a fold; the model's own header has.
    digest = told.get("model", {}).get("digest") if name == FINAL else None
    return forecasters.load(folder / "models" / name, digest)


def _save_models(folder: Path, study: Study) -> str:
    """All models beside the old ones, then in their place; the digest of the final one."""
    half = folder.with_name(f".models.{os.getpid()}")
    try:
        shutil.rmtree(half, ignore_errors=True)
        for number, model in study.trained.models.items():
            model.save(half / f"fold_{number:02d}")
        digest = study.final.save(half / FINAL)
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)
        return digest
    except OSError as error:
        raise Unreachable(f"{folder}: cannot be written: {error.strerror}", "make room, and run it again") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _mean_importance(importances: pa.Table) -> dict[str, float]:
    import polars as pl

    mean = pl.DataFrame(importances).group_by("feature", maintain_order=True).agg(pl.col("importance").mean())
    return dict(mean.sort("importance", "feature", descending=[True, False]).iter_rows())
