"""All of it in one go: features, training, the leakage check, the backtest, the gate, and the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiquant.jobs import backtest, evaluate, ingest, leakage, predict, report, train
from aiquant.jobs.backtest import Backtested
from aiquant.jobs.evaluate import Evaluated
from aiquant.jobs.ingest import Ingested
from aiquant.jobs.journal import Journal, Station
from aiquant.jobs.pipeline import Pipeline
from aiquant.jobs.predict import Predicted
from aiquant.jobs.workspace import Workspace, read_json, write_json


@dataclass(frozen=True)
class Ran:
    """What a whole run gave."""

    run_id: str
    report: Path
    judgement: dict[str, Any]
    backtest: Backtested
    evaluated: Evaluated
    predicted: Predicted
    leakage: dict[str, Any]
    about: dict[str, Any]
    stations: list[Station]
    ingested: Ingested | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: what others rely on comes first."""
        strategy = self.backtest.figures[backtest.STRATEGY]
        return {
            "run_id": self.run_id,
            "report": self.report,
            "rank_ic": self.judgement["rank_ic"],
            "rank_ic_t": self.judgement["rank_ic_t"],
            "sharpe_net": strategy["sharpe"],
            "verdict": self.evaluated.verdict,
            "reasons": self.evaluated.reasons,
            "gate": self.evaluated.to_dict(),
            "leakage": {"passed": self.leakage["passed"], "sentence": self.leakage["sentence"]},
            "judgement": {name: value for name, value in self.judgement.items() if name != "daily"},
            "backtest": self.backtest.to_dict(),
            "predicted": self.predicted,
            "ingested": self.ingested,
            "about": self.about,
            "stations": self.stations,
        }


def run(
    workspace: Workspace,
    journal: Journal,
    source: str | None = None,
    path: Path | None = None,
    columns: dict[str, str] | None = None,
) -> Ran:
    """Take data in (when a source is named), then do all steps on the bars of the workspace."""
    taken = ingest.bars(workspace, journal, source, path, columns) if source is not None else None
    trained = train.train(workspace, journal)
    run_id, folder, inputs, about = trained.run_id, trained.folder, trained.inputs, trained.manifest["about"]
    del trained  # its panel and models are on disk; their memory is for the leakage check
    traded = backtest.of_run(workspace, journal, run_id, inputs=inputs)
    verdict = leakage.check(workspace, journal, Pipeline(workspace.settings), inputs)
    write_json(folder / "leakage.json", verdict.to_dict())
    decided = evaluate.evaluate(workspace, journal, run_id, inputs)
    newest = predict.predict(workspace, journal, run_id, inputs=inputs)
    report.remember_stations(workspace, journal, run_id)
    written = report.report(workspace, journal, run_id)
    return Ran(
        run_id=run_id,
        report=written.report,
        judgement=read_json(folder / "judgement.json"),
        backtest=traded,
        evaluated=decided,
        predicted=newest,
        leakage=verdict.to_dict(),
        about=about,
        stations=journal.stations,
        ingested=taken,
    )
