"""Runs in MLflow: what was tried, on which data, with what result. SQLite in the workspace, or a server by one setting.

Only the client is used, never MLflow's global state: no active run, no tracking URI of the process, nothing in the
current folder. A run is found by its ``run_id`` (a tag), so that logging it twice is logging it once; what a killed
process left half-logged is taken away and logged anew.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiquant.errors import DataError, Unreachable
from aiquant.learning.forecasters import artefacts
from aiquant.settings import TrackingSettings

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

STORE = "mlflow.db"
ARTEFACTS = "mlartifacts"
RUN_ID = "aiquant.run_id"
MODEL_ID = "aiquant.model_id"
DIGEST = "aiquant.digest"
MODEL_DATA = "data/forecaster"
"""Folder of the forecaster's own artefact inside of MLflow's model."""

_METRICS_AT_ONCE, _WORDS_AT_ONCE = 1000, 100  # what MLflow's interface takes at a time
_LONGEST_PARAM, _PARTS_AT_MOST = 6000, 10_000
_PARENT = "mlflow.parentRunId"
_SILENCE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default keeps a user waiting for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


@dataclass(frozen=True, eq=False)
class Tracking:
    """An open tracking store.

    Attributes
    ----------
    uri
        Of the store.
    experiment_id
        Of the experiment that the settings name.
    model_name
        Of the registered model that the settings name.
    """

    client: MlflowClient
    uri: str
    experiment_id: str
    model_name: str


@dataclass(frozen=True)
class Data:
    """A table that a run read.

    Attributes
    ----------
    version
        Delta version.
    digest
        Of the content; at most 36 characters are kept.
    """

    name: str
    path: str
    version: int | None
    rows: int
    digest: str


@dataclass(frozen=True)
class Part:
    """A part of a run that stands below it: a fold, or a trial of a tuning.

    Attributes
    ----------
    name
        Shown in MLflow.
    params
        What was set for it.
    metrics
        Those that are not finite are left out.
    """

    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Record:
    """What is to be told about a run.

    Attributes
    ----------
    run_id
        Its name in aiquant.
    params
        Settings by dotted name.
    metrics
        Numbers of the whole run; those that are not finite are left out.
    by_fold
        Metric → its value for each fold, from fold 0 on.
    tags
        Versions of code and data, the verdict …
    data
        What was read.
    parts
        Runs below it.
    files
        Files and folders to keep beside the run (manifest, judgement, tables).
    model
        Folder of the final forecaster, as :meth:`Forecaster.save` wrote it; None where there is none.
    example
        Rows of features (``float``, shape (m, k), few): kept with the model to show what it takes.
    """

    run_id: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    by_fold: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    data: Sequence[Data] = ()
    parts: Sequence[Part] = ()
    files: Sequence[Path] = ()
    model: Path | None = None
    example: Any = None


@dataclass(frozen=True)
class Logged:
    """A run that MLflow knows: its id there, and that of its model (None where it has none) with the digest."""

    run_id: str
    mlflow_run_id: str
    model_id: str | None
    digest: str | None


def warm_up(settings: TrackingSettings, workspace: Path) -> Future[Tracking]:
    """:func:`connect` in the background: importing MLflow and making its store take seconds that a training hides."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
    try:
        return pool.submit(connect, settings, workspace)
    finally:
        pool.shutdown(wait=False)


def connect(settings: TrackingSettings, workspace: Path) -> Tracking:
    """Open the tracking store, making it (and the experiment) where it is not there yet.

    Raises
    ------
    Unreachable
        When the server or the file does not answer.
    """
    _prepare(settings)
    from mlflow.tracking import MlflowClient

    workspace = workspace.resolve()
    uri = settings.uri or f"sqlite:///{workspace / STORE}"
    kept = None if settings.uri else (workspace / ARTEFACTS).as_uri()
    with reaching(uri):
        if settings.uri is None:
            _make_store(workspace / STORE, workspace / ARTEFACTS)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        return Tracking(client, uri, _experiment(client, settings.experiment, kept), settings.model_name)


def is_there(settings: TrackingSettings, workspace: Path) -> bool:
    """Whether something can have been tracked: a server is named, or the workspace has a store. Imports nothing."""
    return settings.uri is not None or (workspace / STORE).is_file()


def log_run(tracking: Tracking, record: Record, anew: bool = False) -> Logged:
    """Tell MLflow about a run, unless it knows it already.

    Parameters
    ----------
    anew
        Tell it even so, in place of what it knows: for what has grown since, as a tuning does.

    Raises
    ------
    Unreachable
        When the store does not answer; the run can be logged again later.
    """
    with reaching(tracking.uri):
        for found in _find(tracking, record.run_id):
            if found.info.status == "FINISHED" and not anew:
                return _told(record.run_id, found)
            _remove(tracking, found)  # a process was killed while it logged
        run = tracking.client.create_run(
            tracking.experiment_id, run_name=record.run_id, tags={**record.tags, RUN_ID: record.run_id}
        )
        name = run.info.run_id
        _log_values(tracking.client, name, record)
        _log_data(tracking.client, name, record.data)
        for path in record.files:
            tracking.client.log_artifact(name, str(path))
        for part in record.parts:
            _log_part(tracking, name, part)
        if record.model is not None:
            _log_model(tracking, name, record)
        tracking.client.set_terminated(name, "FINISHED")
        return _told(record.run_id, tracking.client.get_run(name))


def find(tracking: Tracking, run_id: str) -> Logged | None:
    """The run as MLflow knows it, or None where it was not logged to its end."""
    with reaching(tracking.uri):
        done = [run for run in _find(tracking, run_id) if run.info.status == "FINISHED"]
        return _told(run_id, done[0]) if done else None


def add(
    tracking: Tracking,
    logged: Logged,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    files: Sequence[Path] = (),
) -> None:
    """Tell more about a run that was logged: a backtest, a verdict, a report. Told twice, the last counts."""
    with reaching(tracking.uri):
        _log_values(tracking.client, logged.mlflow_run_id, Record(logged.run_id, {}, metrics, tags=tags))
        for path in files:
            tracking.client.log_artifact(logged.mlflow_run_id, str(path))


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Turn the failures of MLflow and its store into one line with a remedy; its warnings are kept from the user.

    Raises
    ------
    Unreachable
        When the store fails, the disk is full, or the server refuses.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    shown = uri.split("@")[-1]  # never a password
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        if uri.startswith("sqlite"):
            remedy = f"see that the file can be written and the disk has room; an old store: mlflow db upgrade {uri}"
        else:
            remedy = "check tracking.uri and tracking.token, and that the server runs; the run is kept, log it later"
        raise Unreachable(f"MLflow at {shown} does not answer as it should: {told[0][:300]}", remedy) from error


def _prepare(settings: TrackingSettings) -> None:
    for name, value in _SILENCE.items():
        os.environ.setdefault(name, value)
    if settings.token is not None:
        os.environ["MLFLOW_TRACKING_TOKEN"] = settings.token.get_secret_value()
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import mlflow.utils.logging_utils  # noqa: F401  sets the level of its logger when imported

    logging.getLogger("mlflow").setLevel(logging.ERROR)


def _make_store(file: Path, kept: Path) -> None:
    """A new SQLite store, whole or not at all: a process killed half-way leaves no half-migrated file."""
    if file.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        store: Any = SqlAlchemyStore(f"sqlite:///{draft}", kept.as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        try:
            os.link(draft, file)  # unlike a rename this never replaces a store that another process has just made
        except FileExistsError:
            pass
    finally:
        draft.unlink(missing_ok=True)


def _experiment(client: MlflowClient, name: str, kept: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=kept))
        except MlflowException:  # another process was quicker
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _find(tracking: Tracking, run_id: str) -> list[Run]:
    return list(tracking.client.search_runs([tracking.experiment_id], f"tags.`{RUN_ID}` = '{run_id}'", max_results=10))


def _log_part(tracking: Tracking, parent: str, part: Part) -> None:
    below = tracking.client.create_run(
        tracking.experiment_id, run_name=part.name, tags={**part.tags, _PARENT: parent}
    ).info.run_id
    _log_values(tracking.client, below, Record(part.name, part.params, part.metrics))
    tracking.client.set_terminated(below, "FINISHED")


def _remove(tracking: Tracking, run: Run) -> None:
    below = f"tags.`{_PARENT}` = '{run.info.run_id}'"
    for part in tracking.client.search_runs([tracking.experiment_id], below, max_results=_PARTS_AT_MOST):
        tracking.client.delete_run(part.info.run_id)
    model_id = run.data.tags.get(MODEL_ID)
    if model_id is not None:
        tracking.client.delete_logged_model(model_id)
    tracking.client.delete_run(run.info.run_id)


def _told(run_id: str, run: Run) -> Logged:
    return Logged(run_id, run.info.run_id, run.data.tags.get(MODEL_ID), run.data.tags.get(DIGEST))


def _log_values(client: MlflowClient, name: str, record: Record) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    single = [(key, value, 0) for key, value in record.metrics.items()]
    steps = [(key, value, step) for key, values in record.by_fold.items() for step, value in enumerate(values)]
    metrics = [
        Metric(key, float(v), now, step) for key, v, step in single + steps if v is not None and math.isfinite(v)
    ]
    params = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in record.params.items()]
    tags = [RunTag(key, str(value)) for key, value in record.tags.items()]
    for start in range(0, len(metrics), _METRICS_AT_ONCE):
        client.log_batch(name, metrics=metrics[start : start + _METRICS_AT_ONCE])
    for start in range(0, max(len(params), len(tags)), _WORDS_AT_ONCE):
        part = slice(start, start + _WORDS_AT_ONCE)
        client.log_batch(name, params=params[part], tags=tags[part])


def _log_data(client: MlflowClient, name: str, tables: Sequence[Data]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = [
        DatasetInput(
            Dataset(
                name=table.name,
                digest=table.digest[:36],
                source_type="delta_table",
                source=json.dumps({"path": table.path, "delta_table_version": table.version}),
                profile=json.dumps({"num_rows": table.rows}),
            ),
            [InputTag("mlflow.data.context", "training"), InputTag("delta_version", str(table.version))],
        )
        for table in tables
    ]
    if inputs:
        client.log_inputs(name, inputs)


def _log_model(tracking: Tracking, name: str, record: Record) -> None:
    """The forecaster's own artefact, in a folder that MLflow can load, with signature and example."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model, infer_signature

    assert record.model is not None
    header, digest = artefacts.inspect(record.model)
    client = tracking.client
    logged = client.create_logged_model(
        tracking.experiment_id, name=record.run_id, source_run_id=name, tags={DIGEST: digest, RUN_ID: record.run_id}
    )
    client.set_tag(name, MODEL_ID, logged.model_id)
    example = pd.DataFrame(record.example, columns=list(header.features), dtype="float64")
    if example.empty:
        raise DataError(f"run {record.run_id}: a model is logged with an example of its rows", "give at least one row")
    with tempfile.TemporaryDirectory(prefix="aiquant-") as folder:
        half, data = Path(folder) / "model", Path(folder) / Path(MODEL_DATA).name
        shutil.copytree(record.model, data)  # MLflow keeps the name of the folder
        mlflow.pyfunc.save_model(
            path=str(half),
            loader_module="aiquant.learning.flavour",
            data_path=str(data),
            mlflow_model=Model(model_id=logged.model_id, run_id=name),
            signature=infer_signature(example, pd.DataFrame({"forecast": [0.0] * len(example)})),
            input_example=example,
            pip_requirements=_requirements(header),
            metadata={"digest": digest, "forecaster": header.forecaster},
        )
        client.log_model_artifacts(logged.model_id, str(half))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(name, [LoggedModelOutput(logged.model_id, step=0)])
    client.set_tag(name, DIGEST, digest)


def _requirements(header: artefacts.Header) -> list[str]:
    from importlib.metadata import version

    return [f"aiquant=={version('aiquant')}", *(f"{name}=={told}" for name, told in sorted(header.libraries.items()))]
