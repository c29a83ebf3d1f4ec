"""Many strategies side by side: runs of the workspace, and equity curves in files."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from aiquant import schemas
from aiquant.calendars import Sessions
from aiquant.errors import MissingError, UsageError
from aiquant.jobs.backtest import BASELINES
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import sessions_of
from aiquant.jobs.strategies import FOLDER as STRATEGIES
from aiquant.jobs.workspace import Workspace, write_text
from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.backtest.evaluation.comparison import Comparison


@dataclass(frozen=True)
class ComparedStrategies:
    """What was found, and where its page lies; None where none was asked for."""

    comparison: Comparison
    report: Path | None
    curves: dict[str, pa.Table] = field(repr=False)


def compare(
    settings: Settings,
    journal: Journal,
    names: list[str],
    workspace: Workspace | None,
    baselines: bool = False,
    out: Path | None = None,
) -> ComparedStrategies:
    """Compare strategies on the dates that they have in common; the first is the reference.

    Parameters
    ----------
    names
        Runs and backtests of strategies (id, or the beginning of one), or files with date and equity.
    workspace
        Where the runs are; None where all are files.
    baselines
        Compare the plain books of the first run, too.
    out
        Write the page to this file.

    Raises
    ------
    UsageError
        When a name stands twice.
    MissingError
        When there is no such run or file, or the run was not backtested.
    """
    from aiquant.backtest import comparison_page
    from aiquant.backtest.evaluation import comparison

    with journal.station("read") as station:
        curves: dict[str, pa.Table] = {}
        for name in names:
            for label, table in _curves(name, workspace, baselines and name == names[0]).items():
                if label in curves:
                    raise UsageError(f"{label} is named twice", "name each strategy once")
                curves[label] = table
        station.rows = sum(table.num_rows for table in curves.values())
    with journal.station("compare") as station:
        kept, _ = comparison.common(curves)
        sessions = _sessions(settings, next(iter(kept.values())))
        found = comparison.compare(curves, settings.evaluation, sessions.per_year, settings.backtest.risk_free)
        station.rows = found.sessions
        station.note = "common sessions"
    if out is not None:
        with journal.station("report") as station:
            write_text(out, comparison_page.render(found, kept, datetime.now(UTC)))
            station.note = str(out)
    return ComparedStrategies(found, out, kept)


def _sessions(settings: Settings, equity: pa.Table) -> Sessions:
    return sessions_of(equity, settings.data.calendar)


def _curves(name: str, workspace: Workspace | None, baselines: bool) -> dict[str, pa.Table]:
    from aiquant.sources import curves

    if Path(name).is_file():
        return {Path(name).stem: curves.read_equity(name)}
    if workspace is None:
        raise MissingError(f"there is no file {name}, and no workspace whose run it could be", "name a file of equity")
    run_id = _run_id(workspace, name)
    found = {}
    for part in ("", *(BASELINES if baselines else ())):
        table = workspace.lake.read(schemas.EQUITY, where={"run_id": f"{run_id}:{part}" if part else run_id})
        if table.num_rows:
            found[part or run_id] = table
    if run_id not in found:
        raise MissingError(f"run {run_id} was not backtested", f"do it with: aiquant backtest --run {run_id}")
    return found


def _run_id(workspace: Workspace, name: str) -> str:
    known = [*workspace.run_ids(), *(path.name for path in sorted((workspace.root / STRATEGIES).glob("*")))]
    found = [run_id for run_id in known if run_id.startswith(name)]
    if len(found) == 1 or name in found:
        return name if name in found else found[0]
    if found:
        raise UsageError(f"{name} is the beginning of {len(found)} runs", "write more of the id")
    workspace.run_folder(name)  # says what there is
    raise AssertionError("a run that is not among the runs")
