"""What the runs of a workspace came to, in a line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiquant.errors import DataError
from aiquant.jobs.workspace import Workspace, read_json, read_optional


@dataclass(frozen=True)
class RunLine:
    """A run in one line; None where a step was not done."""

    run_id: str
    created: str
    bars_version: int | None
    rank_ic: float | None
    rank_ic_t: float | None
    sharpe_net: float | None
    verdict: str | None


def list_runs(workspace: Workspace) -> list[RunLine]:
    """All runs, the newest last."""
    return [_line(workspace.runs / run_id) for run_id in workspace.run_ids()]


def _line(folder: Path) -> RunLine:
    try:
        return _read(folder)
    except (DataError, KeyError, TypeError):  # one damaged run must not hide the others
        return RunLine(folder.name, "", None, None, None, None, "damaged: a file of the run is not readable")


def _read(folder: Path) -> RunLine:
    told = read_json(folder / "manifest.json")
    traded, verdict = read_optional(folder / "backtest.json"), read_optional(folder / "verdict.json")
    return RunLine(
        run_id=told["run_id"],
        created=told["created"],
        bars_version=told["data"]["bars"]["version"],
        rank_ic=told["results"]["rank_ic"],
        rank_ic_t=told["results"]["rank_ic_t"],
        sharpe_net=traded["figures"]["strategy"]["sharpe"] if traded else None,
        verdict=verdict["verdict"] if verdict else None,
    )
