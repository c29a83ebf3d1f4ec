"""Hold a run against the gate; register its model when the gate lets it pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiquant import schemas
from aiquant.errors import MissingError
from aiquant.jobs import leakage, manifest, paths, track
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, read
from aiquant.jobs.workspace import Workspace, read_json, read_optional, write_json


@dataclass(frozen=True)
class Evaluated:
    """The verdict of the gate on a run.

    Attributes
    ----------
    promoted
        Whether it may be used.
    checks
        Each rule with its value, threshold and reason.
    model_version
        Version in the registry, when it was registered.
    """

    run_id: str
    promoted: bool
    checks: list[dict[str, Any]]
    reasons: list[str]
    model_version: int | None = None

    @property
    def verdict(self) -> str:
        """``promoted`` or ``refused``."""
        return "promoted" if self.promoted else "refused"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"verdict": self.verdict, **vars(self)}


def findings(workspace: Workspace, run_id: str) -> dict[str, Any]:
    """What was found besides: ``judgement`` without single dates, and ``paths`` where there are any, else None."""
    folder = workspace.run_folder(run_id)
    judged = read_json(folder / "judgement.json")
    crossed = read_optional(folder / paths.FILE)
    return {
        "judgement": {name: value for name, value in judged.items() if name != "daily"},
        "paths": None if crossed is None else {name: value for name, value in crossed.items() if name != "folds"},
    }


def evaluate(workspace: Workspace, journal: Journal, run_id: str, inputs: Inputs | None = None) -> Evaluated:
    """Decide on a run that was trained and backtested; checks it for leaks if that was not done yet.

    Raises
    ------
    MissingError
        When the run was not backtested.
    """
    from aiquant.learning import gate, judgement, tracking

    folder = workspace.run_folder(run_id)
    told = read_json(folder / "manifest.json")
    settings = manifest.settings_of(told)
    if not (folder / "backtest.json").is_file():
        raise MissingError(f"run {run_id} was not backtested", f"do it with: aiquant backtest --run {run_id}")
    inputs = inputs or read(workspace.lake, settings, manifest.versions_of(told))
    pipeline = Pipeline(settings)
    if not (folder / "leakage.json").is_file():
        verdict = leakage.check(workspace, journal, pipeline, inputs)
        write_json(folder / "leakage.json", verdict.to_dict())
    paths.keep(workspace, journal, pipeline, inputs, folder)
    with journal.station("gate") as station:
        import polars as pl

        of_run = (pl.col("run_id") == run_id) & (pl.col("fold") >= 0)
        judged = judgement.judge(
            workspace.lake.read(schemas.FORECASTS, where=of_run), pipeline.labels(inputs), inputs.sessions
        )
        figures = read_json(folder / "backtest.json")["figures"]["strategy"]
        net = gate.NetResult(
            sharpe=_number(figures["sharpe"]),
            sharpe_probability=_number(figures["sharpe_probability"]),
            sessions=figures["sessions"],
        )
        leak_free = bool(read_json(folder / "leakage.json")["passed"])
        decided = gate.decide(judged, net, workspace.settings.gate, leakage=leak_free)
        station.note = "promoted" if decided.promoted else "refused"
    with journal.station("log the verdict") as station:
        store = tracking.connect(workspace.settings.tracking, workspace.root)
        version = track.log_verdict(workspace, store, run_id, decided)
        station.note = f"registered as version {version}" if version is not None else "not registered"
    done = Evaluated(
        run_id,
        decided.promoted,
        decided.to_dict()["checks"],
        list(decided.reasons),
        version,
    )
    write_json(folder / "verdict.json", done.to_dict())
    return done


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
