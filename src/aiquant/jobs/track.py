"""What MLflow is told about a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.jobs.train import FINAL, TrainedRun
from aiquant.jobs.workspace import Workspace, read_json

if TYPE_CHECKING:
    from aiquant.learning.gate import Verdict
    from aiquant.learning.tracking import Logged, Record, Tracking

EXAMPLE_ROWS = 3


def log(workspace: Workspace, tracking: Tracking, trained: TrainedRun) -> Logged:
    """Log a training: settings, data versions, metrics by fold, manifest, and the final model."""
    from aiquant.learning import tracking as mlflow

    return mlflow.log_run(tracking, _record(workspace, trained))


def log_verdict(workspace: Workspace, tracking: Tracking, run_id: str, verdict: Verdict) -> int | None:
    """Add backtest and verdict to a run that was logged; register its model if the gate let it pass.

    Returns
    -------
    int or None
        The version in the registry; None where the gate refused.

    Raises
    ------
    MissingError
        When the run was never logged.
    """
    from aiquant.learning import registry
    from aiquant.learning import tracking as mlflow

    logged = _logged(tracking, run_id)
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
        registry.restate(tracking, logged, verdict)
        return None
    return registry.register(tracking, logged, verdict, _scores(folder, metrics)).version


def register_anyway(workspace: Workspace, tracking: Tracking, run_id: str, verdict: Verdict, why: str) -> int:
    """Register a run that the gate refused, and promote it; the reason is kept with the version."""
    from aiquant.learning import registry

    folder = workspace.run_folder(run_id)
    scores = _scores(folder, _net(folder))
    return registry.register(tracking, _logged(tracking, run_id), verdict, scores, override=why).version


def _logged(tracking: Tracking, run_id: str) -> Logged:
    from aiquant.errors import MissingError
    from aiquant.learning import tracking as mlflow

    logged = mlflow.find(tracking, run_id)
    if logged is None:
        raise MissingError(f"MLflow at {tracking.uri} does not know run {run_id}", "train it again: aiquant train")
    return logged


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


def _record(workspace: Workspace, trained: TrainedRun) -> Record:
    from aiquant.learning.tracking import Data, Record

    told, study, folder = trained.manifest, trained.study, trained.folder
    judged = study.judgement
    by_year = judged.by_year
    folds = study.trained.folds.to_pylist()
    years = [fold["test_start"].year for fold in folds]
    return Record(
        run_id=trained.run_id,
        params=told["settings"],
        metrics={
            "rank_ic": judged.rank_ic,
            "rank_ic_t": judged.rank_ic_t,
            "icir": judged.icir,
            "spread": judged.spread,
        },
        by_fold={
            "fold_rank_ic": [by_year.get(year, float("nan")) for year in years],
            "fold_train_rows": [float(fold["train_rows"]) for fold in folds],
        },
        tags=_tags(told),
        data=[
            Data(name, workspace.lake.place(name), table["version"], table["rows"], table["digest"])
            for name, table in told["data"].items()
        ],
        files=[folder / name for name in ("manifest.json", "judgement.json", "folds.json")],
        model=folder / "models" / FINAL,
        example=np.nan_to_num(study.panel.X[-EXAMPLE_ROWS:]),
    )


def _tags(told: dict[str, Any]) -> dict[str, str]:
    return {
        "aiquant.code": told["code"]["version"],
        "aiquant.code_digest": told["code"]["digest"],
        "aiquant.git": str(told["code"]["git"]),
        "aiquant.settings_hash": told["settings_hash"],
        "aiquant.features": f"{told['features']['set']} {told['features']['version']}",
        "aiquant.bars_version": str(told["data"]["bars"]["version"]),
    }
