"""What trials of a tuning are measured on, and the processes that measure them."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import DataError, MissingError
from aiquant.jobs import backtest, books, digests, trials
from aiquant.jobs import features as feature_job
from aiquant.jobs import train as train_job
from aiquant.jobs.feature_table import FeatureTable
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, read
from aiquant.jobs.workspace import Workspace
from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.learning.panel import Panel
    from aiquant.learning.spaces import Params, Range
    from aiquant.learning.splits import Fold
    from aiquant.learning.training import Fitted
    from aiquant.learning.tuning import Outcome, Plan

POLL_S = 0.5


@dataclass(frozen=True, eq=False)
class Bench:
    """What trials are measured on: the training period of the first walk-forward fold, and its purged folds."""

    pipeline: Pipeline
    inputs: Inputs
    panel: Panel
    folds: list[Fold]
    plan: Plan


@dataclass(frozen=True)
class Assignment:
    """What another process works on: a study, and the very data that it is of.

    Attributes
    ----------
    versions
        Delta versions of the tables that were read.
    features
        Delta version of the table of features.
    """

    plan: Plan
    versions: dict[str, int | None]
    features: int


@dataclass(frozen=True, eq=False)
class Started:
    """A study before anything is reckoned for it: the data that it is of, and its plan."""

    pipeline: Pipeline
    inputs: Inputs
    plan: Plan


def start(workspace: Workspace, journal: Journal, versions: dict[str, int | None] | None = None) -> Started:
    """Read the newest bars, or those of ``versions``, and name the study that the settings make of them."""
    from aiquant.learning import spaces
    from aiquant.learning.tuning import Plan

    settings, pipeline = workspace.settings, Pipeline(workspace.settings)
    pipeline.check()
    told, model = settings.tuning, settings.learning.model
    space = spaces.space_of(model, settings)
    with journal.station("read bars") as station:
        inputs = read(workspace.lake, settings, versions)
        station.rows = inputs.bars.num_rows
    plan = Plan(
        name=f"{model}-{_digest(pipeline, inputs, space)}",
        space=space,
        first=spaces.present(settings, model, space),
        trials=told.trials,
        seed=settings.learning.seed,
        startup=told.startup,
        prune=told.prune,
    )
    return Started(pipeline, inputs, plan)


def build(workspace: Workspace, journal: Journal, started: Started, assigned: Assignment | None = None) -> Bench:
    """The bench of a study; ``assigned`` is what a process that helps has to find."""
    from aiquant.learning import splits

    pipeline, inputs, plan = started.pipeline, started.inputs, started.plan
    if assigned is None:
        features = feature_job.current(workspace, journal, pipeline, inputs)
    elif plan.name == assigned.plan.name:
        plan = assigned.plan
        features = feature_job.at_version(workspace, pipeline, inputs, assigned.features)
    else:
        raise DataError(
            f"study {assigned.plan.name} cannot be worked on by a process that finds {plan.name}: settings, code or "
            "data became others after it began",
            "run it again",
        )
    told = workspace.settings
    with journal.station("labels") as station:
        panel = pipeline.panel(features, pipeline.learnt(inputs, pipeline.labels(inputs)), pipeline.universe(inputs))
        period = pipeline.folds(panel)[0].train
        folds = splits.purged_folds(panel, told.tuning.folds, told.learning.embargo, period)
        station.rows = len(period)
        station.note = f"to learn from before {panel.dates[period[-1]]}, in {len(folds)} purged folds"
    return Bench(pipeline, inputs, panel, folds, plan)


def assignment(workspace: Workspace, bench: Bench) -> Assignment:
    """What a process that helps has to be told."""
    features = FeatureTable(workspace.lake, bench.pipeline.feature_set.name).version
    assert features is not None
    return Assignment(bench.plan, bench.inputs.versions, features)


def _digest(pipeline: Pipeline, inputs: Inputs, space: dict[str, Range]) -> str:
    """Of all that makes one trial comparable with another; not of how many there are, or of what is searched for."""
    from aiquant.learning import spaces

    settings = pipeline.settings
    section = getattr(settings, settings.learning.model)
    apart = {name: field.default for name, field in type(section).model_fields.items() if name in space}
    others = spaces.with_params(settings, settings.learning.model, apart).fingerprint()
    content = {name: table["digest"] for name, table in train_job.data_version(inputs).items()}
    how = [settings.tuning.folds, settings.tuning.startup, settings.tuning.prune, str(space)]
    return digests.of_json([content, others, pipeline.feature_set.version, digests.of_code(), how])[:10]


def storage_of(workspace: Workspace) -> str:
    """Address of the database that remembers the studies."""
    from aiquant.learning import tuning

    told = workspace.settings.tuning.storage
    return told.get_secret_value() if told is not None else tuning.local_storage(workspace.root)


def work(
    workspace: Workspace,
    bench: Bench,
    storage: str,
    until: float | None,
    progress: Callable[[int, int | None], None],
) -> None:
    """Try what is left of the plan, here or by ``tuning.jobs`` processes.

    Raises
    ------
    MissingError
        When one of the processes was killed.
    """
    jobs = min(workspace.settings.tuning.jobs, bench.plan.trials)
    if jobs == 1:
        _try(workspace, bench, storage, until, progress)
        return
    from aiquant.learning import tuning

    threads = max(1, (workspace.settings.learning.threads or os.cpu_count() or 1) // jobs)
    share = {**workspace.overrides, "learning.threads": str(threads)}
    assigned = assignment(workspace, bench)
    try:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            running = [pool.submit(_worker, workspace.root, share, storage, until, assigned) for _ in range(jobs)]
            while not all(each.done() for each in running):
                time.sleep(POLL_S)
                progress(len(tuning.outcomes(storage, bench.plan)), bench.plan.trials)
            for each in running:
                each.result()
    except BrokenProcessPool as error:
        raise MissingError(
            "a process that tried parameters was killed, perhaps for want of memory",
            "run it again: it goes on; with fewer --jobs it needs less memory",
        ) from error


def _worker(root: Path, overrides: dict[str, str], storage: str, until: float | None, assigned: Assignment) -> None:
    """One of several processes, each with a panel of its own."""
    workspace = Workspace(root, overrides)
    started = start(workspace, Journal(), assigned.versions)
    _try(workspace, build(workspace, Journal(), started, assigned), storage, until, None)


def _try(
    workspace: Workspace,
    bench: Bench,
    storage: str,
    until: float | None,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    from aiquant.learning import training, tuning

    fitted: dict[int, list[Fitted]] = {}

    def measure(place: int, params: Params) -> Iterator[float]:
        fitted.clear()
        fitted[place] = []
        yield from _folds(bench, _settings(bench, params), fitted[place])

    def keep(outcome: Outcome) -> None:
        _record(workspace, bench, outcome, fitted.pop(outcome.place))

    with training.one_thread_in_linear_algebra():
        tuning.work(storage, bench.plan, measure, keep, until=until, progress=progress)


def _folds(bench: Bench, settings: Settings, fitted: list[Fitted]) -> Iterator[float]:
    """Fit and forecast fold after fold; gives the mean rank IC over all dates so far."""
    from aiquant.learning import forecasters, training
    from aiquant.learning.scores import daily_rank_ic

    learning = settings.learning
    threads, scores = learning.threads or os.cpu_count() or 1, np.empty(0)
    for fold in bench.folds:
        done = training.fit_fold(
            bench.panel,
            fold,
            lambda: forecasters.create(learning.model, settings),
            learning.seed,
            threads,
            bench.pipeline.weigh,
        )
        fitted.append(done)
        panel, rows = bench.panel, fold.test
        found = daily_rank_ic(panel.event_time[rows], done.forecast, panel.forward_return[rows])
        scores = np.append(scores, found[np.isfinite(found)])
        yield float(scores.mean()) if len(scores) else float("nan")


def _settings(bench: Bench, params: Params) -> Settings:
    from aiquant.learning import spaces

    told = bench.pipeline.settings
    return spaces.with_params(told, told.learning.model, params)


def _record(workspace: Workspace, bench: Bench, outcome: Outcome, fitted: list[Fitted]) -> None:
    """Into the ledger of trials; one that was not pruned with what its book earned net of costs."""
    from aiquant.learning.trials import Trial

    settings = _settings(bench, outcome.params)
    equity = _equity(bench, settings, fitted) if outcome.state == "complete" else None
    trial = Trial(
        study=bench.plan.name,
        trial=str(outcome.place),
        model=settings.learning.model,
        configuration=trials.configuration(settings),
        params=outcome.params,
        objective=outcome.objective,
        state="complete" if outcome.state == "complete" else "pruned",
    )
    trials.record(workspace.lake, trial, equity)


def _equity(bench: Bench, settings: Settings, fitted: list[Fitted]) -> pa.Table | None:
    """The account that trades the forecasts of all folds, which lie one after the other in time; None without any."""
    from aiquant.learning import training

    name = bench.plan.name
    forecasts = training.assembled(bench.panel, fitted, name).forecasts
    if not forecasts.num_rows:
        return None
    inputs, last = bench.inputs, bench.panel.dates[bench.folds[-1].test[-1]].item()
    bars = inputs.newest.filter(pl.DataFrame(inputs.newest.select(["date"]))["date"].le(last).to_arrow())
    weights = books.build(settings, forecasts, inputs, name).weights
    return backtest.account(settings, weights, bars, inputs.sessions, inputs.actions).equity
