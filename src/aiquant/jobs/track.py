"""What MLflow is told about a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.errors import Unreachable
from aiquant.jobs.journal import Journal
from aiquant.jobs.train import EXAMPLE, FINAL, IMPORTANCE, PICTURE
from aiquant.jobs.workspace import Workspace, read_json, read_optional

if TYPE_CHECKING:
    from concurrent.futures import Future

    from aiquant.jobs.tune import Tuned
    from aiquant.learning.gate import Verdict
    from aiquant.learning.registry import Version
    from aiquant.learning.tracking import Logged, Part, Record, Tracking


def log(workspace: Workspace, tracking: Tracking, run_id: str) -> Logged:
    """Log a training from what it left on disk, unless MLflow knows it: settings, data versions, metrics, a run below
    it for each fold, manifest, importance, and the final model.

    Raises
    ------
    Unreachable
        When MLflow does not answer; nothing is lost, it can be logged later.
    """
    from aiquant.learning import tracking as mlflow

    return mlflow.log_run(tracking, _record(workspace, run_id))


def log_or_keep(workspace: Workspace, opening: Future[Tracking], journal: Journal, run_id: str) -> bool:
    """As :func:`log`; where MLflow does not answer it is noted how to send the run later.

    Returns
    -------
    bool
        Whether MLflow knows the run.
    """
    try:
        log(workspace, opening.result(), run_id)
    except Unreachable as error:
        journal.note(f"{error.problem}: the run is kept here; send it later with: aiquant runs send")
        return False
    return True


def send(workspace: Workspace) -> list[str]:
    """Log all runs of the workspace that MLflow does not know yet, the oldest first, and give their ids.

    Raises
    ------
    Unreachable
        When MLflow does not answer; those that were sent by then stay sent.
    """
    from aiquant.learning import tracking as mlflow

    tracking = mlflow.connect(workspace.settings.tracking, workspace.root)
    missing = [run_id for run_id in workspace.run_ids() if mlflow.find(tracking, run_id) is None]
    for run_id in missing:
        log(workspace, tracking, run_id)
    return missing


def log_study(workspace: Workspace, tracking: Tracking, tuned: Tuned) -> Logged:
    """Log a tuning with a run below it for each trial, in place of what MLflow knew of the study."""
    from aiquant.learning import tracking as mlflow
    from aiquant.learning.tracking import Part, Record

    parts = []
    for trial in tuned.trials:
        params = {name: trial[name] for name in trial if name not in ("trial", "state", "rank_ic", "seconds")}
        metrics = {"rank_ic": trial["rank_ic"], "seconds": trial["seconds"]}
        parts.append(Part(f"trial {trial['trial']}", params, metrics, {"aiquant.state": trial["state"]}))
    found = {"rank_ic": tuned.best_rank_ic, "first_rank_ic": tuned.first_rank_ic}
    metrics = {name: value for name, value in found.items() if value is not None}
    record = Record(
        run_id=tuned.study,
        params={"learning.model": tuned.model, **(tuned.best or {})},
        metrics=metrics | {"complete": tuned.complete, "pruned": tuned.pruned},
        tags={"aiquant.kind": "tuning"},
        parts=parts,
    )
    return mlflow.log_run(tracking, record, anew=True)


def log_verdict(workspace: Workspace, tracking: Tracking, run_id: str, verdict: Verdict) -> Version | None:
    """Add backtest and verdict to a run that was logged; register its model if the gate let it pass.

    Returns
    -------
    Version or None
        The run's version in the registry; None where the gate refused and it was not registered before.
    """
    from aiquant.learning import registry
    from aiquant.learning import tracking as mlflow

    logged = log(workspace, tracking, run_id)
    folder = workspace.run_folder(run_id)
    metrics = _net(folder)
    judged = {f"gate_{name}": value for name, value in verdict.figures.items() if value is not None}
    tags = {
        "aiquant.gate": "promoted" if verdict.promoted else "refused",
        "aiquant.reasons": "; ".join(verdict.reasons),
    }
    kept = [folder / name for name in ("backtest.json", "leakage.json")]
    mlflow.add(tracking, logged, metrics | judged, tags, [path for path in kept if path.is_file()])
    if not verdict.promoted:
        return registry.restate(tracking, logged, verdict)
    return registry.register(tracking, logged, verdict, _scores(folder, metrics))


def register_anyway(workspace: Workspace, tracking: Tracking, run_id: str, verdict: Verdict, why: str) -> int:
    """Register a run that the gate refused, and promote it; the reason is kept with the version."""
    from aiquant.learning import registry

    folder = workspace.run_folder(run_id)
    scores = _scores(folder, _net(folder))
    return registry.register(tracking, log(workspace, tracking, run_id), verdict, scores, override=why).version


_NET = (
    "sharpe",
    "sharpe_probability",
    "annual_return",
    "volatility",
    "max_drawdown",
    "annual_turnover",
    "annual_costs",
)


def _net(folder: Path) -> dict[str, float]:
    figures = read_json(folder / "backtest.json")["figures"]["strategy"]
    return {f"net_{name}": float(figures[name]) for name in _NET if figures[name] is not None}


def _scores(folder: Path, net: dict[str, float]) -> dict[str, float]:
    told = read_json(folder / "manifest.json")["results"]
    return {"rank_ic": told["rank_ic"], "rank_ic_t": told["rank_ic_t"], **net}


def _record(workspace: Workspace, run_id: str) -> Record:
    from aiquant.learning.tracking import Data, Record

    folder = workspace.run_folder(run_id)
    told, judged = read_json(folder / "manifest.json"), read_json(folder / "judgement.json")
    example = read_optional(folder / EXAMPLE)
    files = ("manifest.json", "judgement.json", "folds.json", IMPORTANCE, PICTURE)
    parts = _folds(read_json(folder / "folds.json")["folds"], judged["daily"])
    return Record(
        run_id=run_id,
        params=told["settings"],
        metrics={name: judged[name] for name in ("rank_ic", "rank_ic_t", "icir", "spread") if judged[name] is not None},
        by_fold={f"fold_{name}": [part.metrics[name] for part in parts] for name in ("rank_ic", "train_rows")},
        tags=_tags(told),
        data=[
            Data(name, workspace.lake.place(name), table["version"], table["rows"], table["digest"])
            for name, table in told["data"].items()
        ],
        parts=parts,
        files=[folder / name for name in files if (folder / name).is_file()],
        model=folder / "models" / FINAL,
        example=np.array(example["rows"] if example else [[0.0] * told["features"]["count"]]),
    )


def _folds(folds: list[dict[str, Any]], daily: dict[str, float | None]) -> list[Part]:
    from aiquant.learning.tracking import Part

    parts = []
    for fold in folds:
        first, last = fold["test_start"][:10], fold["test_end"][:10]
        scores = [value for day, value in daily.items() if first <= day <= last and value is not None]
        window = {name: fold[name] for name in ("train_start", "train_end", "test_start", "test_end")}
        counts = {name: float(fold[name]) for name in ("train_rows", "test_rows", "purged", "embargoed", "seconds")}
        rank_ic = float(np.mean(scores)) if scores else float("nan")
        parts.append(Part(f"fold {fold['fold']}", window, {"rank_ic": rank_ic, **counts}))
    return parts


def _tags(told: dict[str, Any]) -> dict[str, str]:
    return {
        "aiquant.code": told["code"]["version"],
        "aiquant.code_digest": told["code"]["digest"],
        "aiquant.git": str(told["code"]["git"]),
        "aiquant.settings_hash": told["settings_hash"],
        "aiquant.features": f"{told['features']['set']} {told['features']['version']}",
        "aiquant.bars_version": str(told["data"]["bars"]["version"]),
    }
