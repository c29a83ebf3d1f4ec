"""Search a forecaster's parameters on the training period alone, and remember all that was tried."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiquant.errors import MissingError, Unreachable
from aiquant.jobs import track, tune_bench, tuned
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.learning.tuning import Outcome


_BEGIN = "begin it without --resume"


@dataclass(frozen=True)
class Tuned:
    """What a tuning found.

    Attributes
    ----------
    best, best_rank_ic
        Parameters of the best trial and its rank IC on the folds of the training period; None where no trial's
        forecasts had an order.
    first_rank_ic
        That of the settings with which the study began (trial 0), as far as they lay in the space.
    complete, pruned
        Trials by how they ended.
    found_before
        Trials that had ended before this call.
    trials
        All of them, by number: ``trial``, ``state``, ``rank_ic``, ``seconds`` and the parameters.
    applied
        The file that the best parameters were written to.
    """

    study: str
    model: str
    best: dict[str, float] | None
    best_trial: int | None
    best_rank_ic: float | None
    first_rank_ic: float | None
    complete: int
    pruned: int
    found_before: int
    trials: list[dict[str, Any]]
    applied: Path | None = None


def tune(workspace: Workspace, journal: Journal, *, resume: bool = False, apply: bool = False) -> Tuned:
    """Try parameters until ``tuning.trials`` have ended or ``tuning.timeout`` is over.

    The same data, settings and code are the same study: run again it goes on, and raising ``tuning.trials`` adds to it.

    Parameters
    ----------
    resume
        Whether there has to be a study to go on with.
    apply
        Whether the best parameters are written to ``tuned.toml`` in the workspace.

    Raises
    ------
    UsageError
        When the forecaster has nothing to tune.
    MissingError
        When there is nothing to resume, or a worker was killed.
    """
    from aiquant.learning import tracking, tuning

    settings = workspace.settings
    opening = tracking.warm_up(settings.tracking, workspace.root)
    searched = search(workspace, journal, resume=resume)
    found = searched.outcomes
    best, first = tuning.best(found), next((each for each in found if each.place == 0), None)
    model, applied = settings.learning.model, None
    if apply and best is not None:
        applied = tuned.write(workspace, model, searched.study, best)
        for name in tuned.outvoted(workspace, model, best):
            journal.note(f"{name} wins over {applied.name}")
    done = Tuned(
        study=searched.study,
        model=model,
        best=dict(best.params) if best else None,
        best_trial=best.place if best else None,
        best_rank_ic=best.objective if best else None,
        first_rank_ic=first.objective if first and first.state == "complete" else None,
        complete=sum(each.state == "complete" for each in found),
        pruned=sum(each.state == "pruned" for each in found),
        found_before=searched.found_before,
        trials=[_line(each) for each in found],
        applied=applied,
    )
    with journal.station("log to MLflow"):
        try:
            track.log_study(workspace, opening.result(), done)
        except Unreachable as error:
            journal.note(f"{error.problem}: nothing is lost; run `aiquant tune` again to send it")
    return done


@dataclass(frozen=True)
class Searched:
    """A search: the study, the trials that had ended before, and all that have ended now."""

    study: str
    found_before: int
    outcomes: list[Outcome]


def search(workspace: Workspace, journal: Journal, *, resume: bool = False) -> Searched:
    """Try parameters; every trial goes into the ledger of the lake, and nothing to MLflow.

    Raises
    ------
    As :func:`tune`.
    """
    from aiquant.learning import tuning

    settings, storage = workspace.settings, tune_bench.storage_of(workspace)
    until = time.time() + settings.tuning.timeout if settings.tuning.timeout else None
    known = tuning.studies(storage) if resume else []
    if resume and not any(name.startswith(f"{settings.learning.model}-") for name in known):
        raise MissingError(f"there is no study of {settings.learning.model} to go on with", _BEGIN)
    started = tune_bench.start(workspace, journal)
    plan = started.plan
    if resume and plan.name not in known:
        raise MissingError(f"there is no study {plan.name} to go on with: data, settings or code are others", _BEGIN)
    before = tuning.give_back(storage, plan)
    bench = tune_bench.build(workspace, journal, started)
    with journal.station("trials") as station:
        tune_bench.work(workspace, bench, storage, until, journal.progress("trials"))
        found = tuning.outcomes(storage, plan)
        station.rows = len(found)
        station.note = f"{before} of them found, {sum(each.state == 'pruned' for each in found)} pruned"
    return Searched(plan.name, before, found)


def _line(outcome: Outcome) -> dict[str, Any]:
    told = {"trial": outcome.place, "state": outcome.state, "rank_ic": outcome.objective}
    return {**told, "seconds": round(outcome.seconds, 3), **outcome.params}
