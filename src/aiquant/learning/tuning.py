"""The search for parameters: Optuna's, made so that it can be killed at any time, and shared by processes and machines.

A study has *places* 0 … n − 1, one for each trial that was asked for. A place is taken by one trial that came to an
end; a trial whose process died gives its place back. What is drawn at a place follows from the seed, the place and what
has ended before: one process alone finds the same however often it is stopped on the way.
"""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.errors import MissingError, Unreachable
from aiquant.learning.spaces import Params, Range

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

STORE = "optuna.db"
_PLACE, _WORKER = "place", "worker"
_PATIENCE = 2.0
"""Seconds that a trial may take to say which process it belongs to."""


@dataclass(frozen=True)
class Plan:
    """What is searched, and how.

    Attributes
    ----------
    name
        Of the study; equal names are the same study.
    space
        Ranges by the name of the parameter.
    first
        Parameters of place 0: what the settings say now, as far as it lies in the space.
    trials
        Places.
    startup
        Places that are drawn at random before the sampler learns from the ended ones.
    prune
        Whether a trial is given up that is worse than the median of the others after as many folds.
    """

    name: str
    space: Mapping[str, Range]
    first: Params
    trials: int
    seed: int
    startup: int
    prune: bool


@dataclass(frozen=True)
class Outcome:
    """A trial that came to its end.

    Attributes
    ----------
    objective
        What was reached (the higher, the better), of a pruned trial as far as it went; NaN where it is not defined.
    state
        ``complete`` or ``pruned``.
    """

    place: int
    params: Params
    objective: float
    state: str
    seconds: float


Measure = Callable[[int, Params], Iterator[float]]
"""Gives the objective after each fold, of the folds so far."""


def work(
    storage: str,
    plan: Plan,
    measure: Measure,
    keep: Callable[[Outcome], None],
    *,
    until: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Take place after place until none is left, or the time is over.

    Parameters
    ----------
    storage
        Address of the database, as SQLAlchemy takes it.
    keep
        Called with each trial at its end, before the study counts it: if it is killed in between, the place is given
        back, and ``keep`` is called with the same again.
    until
        Seconds since 1970; after that no trial is begun.
    progress
        Called with the trials that have ended and all places.

    Raises
    ------
    Unreachable
        When the database does not answer.
    MissingError
        When its driver is not installed.
    """
    parent = os.getppid()
    with _reaching(storage):
        study = _open(storage, plan)
        while (until is None or time.time() < until) and os.getppid() == parent:
            if progress is not None:
                progress(len(_ended(study)), plan.trials)
            with _alone(storage):
                trial = _next(study, plan)
            if trial is None:
                break
            _run(study, plan, trial, measure, keep)
        if progress is not None:
            progress(len(_ended(study)), plan.trials)


def give_back(storage: str, plan: Plan) -> int:
    """Give back the places of trials whose process on this machine is dead, and tell how many trials have ended.

    Raises
    ------
    Unreachable
        When the database does not answer.
    MissingError
        When its driver is not installed.
    """
    from optuna.trial import TrialState

    with _reaching(storage):
        study = _open(storage, plan)
        for _ in range(2):
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if all(_WORKER in trial.user_attrs for trial in running):
                break
            time.sleep(_PATIENCE)
        for trial in running:
            if _is_dead(trial.user_attrs.get(_WORKER)):
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        return len(_ended(study))


def studies(storage: str) -> list[str]:
    """The names of the studies that a database holds; none where its file is not there.

    Raises
    ------
    Unreachable
        When the database does not answer.
    MissingError
        When its driver is not installed.
    """
    import optuna

    if storage.startswith("sqlite:///") and not Path(storage.removeprefix("sqlite:///")).is_file():
        return []
    with _reaching(storage):
        return list(optuna.get_all_study_names(storage))


def outcomes(storage: str, plan: Plan) -> list[Outcome]:
    """The trials of the plan's places that came to their end, by place."""
    with _reaching(storage):
        found = [_outcome(trial) for trial in _ended(_open(storage, plan))]
    return sorted((each for each in found if each.place < plan.trials), key=lambda each: each.place)


def best(found: list[Outcome]) -> Outcome | None:
    """The complete trial with the highest objective, the earliest of equals; None where no objective is defined."""
    complete = [each for each in found if each.state == "complete" and np.isfinite(each.objective)]
    return max(complete, key=lambda each: (each.objective, -each.place)) if complete else None


def local_storage(folder: Path) -> str:
    """Address of the SQLite file in a folder."""
    return f"sqlite:///{folder.resolve() / STORE}"


def _run(study: Study, plan: Plan, trial: Trial, measure: Measure, keep: Callable[[Outcome], None]) -> None:
    from optuna.trial import TrialState

    began, place, value, state = time.time(), trial.user_attrs[_PLACE], float("nan"), TrialState.COMPLETE
    try:
        params = _draw(trial, plan.space)
        for step, value in enumerate(measure(place, params)):
            trial.report(float(np.nan_to_num(value)), step)
            if plan.prune and trial.should_prune():
                state = TrialState.PRUNED
                break
        trial.set_user_attr("defined", bool(np.isfinite(value)))
        keep(Outcome(place, params, value, state.name.lower(), time.time() - began))
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise
    # A forecast without any order within its dates is as good as none.
    study.tell(trial, None if state == TrialState.PRUNED else float(np.nan_to_num(value)), state=state)


def _next(study: Study, plan: Plan) -> Trial | None:
    """A trial with a place of its own; None when all are taken."""
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    while True:
        alive = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.FAIL]
        if not any(t.state == TrialState.WAITING for t in alive):
            taken = {t.user_attrs.get(_PLACE) for t in alive}
            place = next((p for p in range(plan.trials) if p not in taken), None)
            if place is None:
                return None
            study.enqueue_trial(plan.first if place == 0 else {}, user_attrs={_PLACE: place})
        trial = study.ask()
        place = trial.user_attrs.get(_PLACE, plan.trials)
        before = study.get_trials(deepcopy=False)[: trial.number]
        rivals = any(t.user_attrs.get(_PLACE) == place and t.state != TrialState.FAIL for t in before)
        if place >= plan.trials or rivals:  # another process was quicker
            study.tell(trial, state=TrialState.FAIL)
            continue
        trial.set_user_attr(_WORKER, f"{socket.gethostname()}:{os.getpid()}")
        seed = int(np.random.SeedSequence([plan.seed, place]).generate_state(1)[0])
        # Running trials count as bad ones, so that processes beside one another do not all try the same.
        study.sampler = TPESampler(seed=seed, n_startup_trials=plan.startup, constant_liar=True)
        return trial


def _draw(trial: Trial, space: Mapping[str, Range]) -> Params:
    params: Params = {}
    for name, told in space.items():
        if told.integer:
            params[name] = trial.suggest_int(name, int(told.low), int(told.high), log=told.log)
        else:
            params[name] = trial.suggest_float(name, told.low, told.high, log=told.log)
    return params


def _ended(study: Study) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    return list(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _outcome(trial: FrozenTrial) -> Outcome:
    last = trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else float("nan")
    value = last if trial.user_attrs.get("defined", True) else float("nan")
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    return Outcome(trial.user_attrs[_PLACE], dict(trial.params), value, trial.state.name.lower(), seconds)


def _open(storage: str, plan: Plan) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    waiting: dict[str, Any] = {"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else {}
    with _alone(storage):
        return optuna.create_study(
            storage=optuna.storages.RDBStorage(storage, engine_kwargs=waiting),
            study_name=plan.name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=plan.startup),
        )


@contextmanager
def _alone(storage: str) -> Iterator[None]:
    """One process of this machine at a time where the database is a SQLite file.

    SQLite locks no rows: two processes would both make the tables, or both take one waiting trial.
    """
    file = Path(storage.removeprefix("sqlite:///"))
    if not storage.startswith("sqlite:///") or not file.parent.is_dir():
        yield
        return
    import fcntl

    with open(f"{file}.lock", "a", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _is_dead(worker: str | None) -> bool:
    """Whether the process is known not to run: one of another machine never is."""
    if worker is None:
        return True
    host, _, pid = worker.rpartition(":")
    if host != socket.gethostname():
        return False
    if int(pid) == os.getpid():  # the number was given again: this process has begun no trial yet
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


@contextmanager
def _reaching(storage: str) -> Iterator[None]:
    """Turn failures of the database into one line; Optuna's warnings are kept from the user."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    shown = storage.split("@")[-1]  # never a password
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        raise MissingError(
            f"setting tuning.storage: {error}", "install the driver of the database, or leave the setting out"
        ) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise Unreachable(
            f"the store of the tuning at {shown} does not answer as it should: {told[0][:300]}",
            "check tuning.storage, and that the disk has room; then run it again, it goes on",
        ) from error
