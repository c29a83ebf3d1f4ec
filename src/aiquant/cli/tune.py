"""``aiquant tune``: search a forecaster's parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiquant.cli import options, summary
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from aiquant.jobs.tune import Tuned

SHOWN = 5
"""Trials that are printed, the best first."""


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant tune xgboost --trials 40 --timeout 600 --apply")(tune)


def tune(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="xgboost or ridge; default: the setting learning.model.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Parameters to try in all, those of earlier calls included.", show_default=False)
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which no trial is begun.", show_default=False)
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes beside one another.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study; stop where there is none.")] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the best parameters to tuned.toml, which counts from then on.")
    ] = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search parameters by out-of-sample rank IC on purged folds of the training period; what is tested is not seen.

    It can be killed and run again: it goes on. Every trial is remembered, and counts when a result is judged.
    """
    from aiquant.jobs import tune as job

    console = Console(as_json)
    opened = options.workspace(
        workspace, told, learning__model=model, tuning__trials=trials, tuning__timeout=timeout, tuning__jobs=jobs
    )
    done = job.tune(opened, console.journal, resume=resume, apply=apply)
    console.answer(done, *_words(done, opened.settings.learning.model))


def _words(done: Tuned, model: str) -> list[Any]:
    if not done.trials:
        return ["The time was over before a trial had ended. Run it again: it goes on."]
    ranked = sorted(done.trials, key=_worth, reverse=True)
    shown = table(list(ranked[0]), [list(each.values()) for each in ranked[:SHOWN]])
    best = f" The best {SHOWN}:" if len(ranked) > SHOWN else ""
    told = [
        f"Study {done.study}: {done.complete} trials, and {done.pruned} that were given up on the way.{best}",
        shown,
    ]
    if done.best is None:
        return [*told, "No trial's forecasts order the symbols at all: there is nothing to apply."]
    told.append(
        f"Rank IC on the purged folds of the training period: {summary.number(done.best_rank_ic, digits=4)} for trial "
        f"{done.best_trial}, {summary.number(done.first_rank_ic, digits=4)} for the settings it began with. The best "
        f"of many is flattered: what it is worth, the gate says after `aiquant run`."
    )
    if done.applied is not None:
        return [*told, f"Written to {done.applied}: `aiquant train` takes it from there."]
    # With as many trials as there are, nothing more is tried.
    return [*told, f"Take the best parameters over with: aiquant tune {model} --trials {len(done.trials)} --apply"]


def _worth(trial: dict[str, Any]) -> tuple[bool, float]:
    rank_ic = trial["rank_ic"]
    return trial["state"] == "complete", rank_ic if math.isfinite(rank_ic) else -math.inf
