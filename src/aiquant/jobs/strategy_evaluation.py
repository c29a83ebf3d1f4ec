"""The evaluation of a strategy beside its backtest: of a run in the lake, or of an account that was just traded."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from aiquant import schemas
from aiquant.errors import MissingError
from aiquant.jobs import manifest, trials
from aiquant.jobs.backtest import STRATEGY, Backtested, Traded
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import read
from aiquant.jobs.strategies import FOLDER as STRATEGIES
from aiquant.jobs.workspace import Workspace, read_json, read_optional, write_json, write_text

if TYPE_CHECKING:
    from aiquant.backtest.story import Story
    from aiquant.lake import Lake

FILE = "evaluation.json"
"""Where a run keeps its evaluation."""


def of_run(workspace: Workspace, journal: Journal, run_id: str) -> dict[str, Any]:
    """Evaluate the account of a run as it stands in the lake, and keep what was found in the run's folder.

    Raises
    ------
    MissingError
        When the run was not backtested.
    """
    folder = workspace.run_folder(run_id)
    backtested = read_optional(folder / "backtest.json")
    if backtested is None:
        raise MissingError(f"run {run_id} was not backtested", f"do it with: aiquant backtest --run {run_id}")
    told = read_json(folder / "manifest.json")
    own = manifest.settings_of(told)
    inputs = read(workspace.lake, own, manifest.versions_of(told))
    tables = {t.name: workspace.lake.read(t, where={"run_id": run_id}) for t in (schemas.EQUITY, schemas.FILLS)}
    weights = workspace.lake.read(schemas.TARGET_WEIGHTS, where={"run_id": run_id}, missing_ok=True)
    traded = Traded(
        own.model_copy(update={"evaluation": workspace.settings.evaluation}),
        weights if weights.num_rows else None,
        inputs.newest,
        inputs.sessions,
        inputs.actions,
        tables[schemas.FILLS.name],
    )
    return _kept(folder, backtested["digest"], evaluate(journal, traded, tables[schemas.EQUITY.name], workspace.lake))


def of_backtest(workspace: Workspace | None, journal: Journal, done: Backtested) -> dict[str, Any]:
    """Evaluate what was just backtested; with a backtest that is the run's own it is kept in the folder of
    the run, or of the strategy's backtest."""
    assert done.traded is not None, "a backtest says what it traded"
    lake = None if workspace is None else workspace.lake
    found = evaluate(journal, done.traded, done.equity[STRATEGY], lake)
    if workspace is not None and done.kept and done.run_id is not None:
        place = workspace.root / STRATEGIES / done.run_id
        found = _kept(place if place.is_dir() else workspace.run_folder(done.run_id), done.digest, found)
    return found


def of_folder(folder: Path, digest: str) -> dict[str, Any] | None:
    """The evaluation that a run keeps; None where there is none of this backtest, or it is of another format."""
    from aiquant.backtest.evaluation.strategy import FORMAT

    told = read_optional(folder / FILE)
    return told if told and (told["digest"], told["format"]) == (digest, FORMAT) else None


def evaluate(journal: Journal, traded: Traded, equity: pa.Table, lake: Lake | None) -> dict[str, Any]:
    """Evaluate an account.

    Parameters
    ----------
    lake
        Tells sectors, and how many trials there were at least; None: neither is known.
    """
    from aiquant.backtest import engine
    from aiquant.backtest.evaluation import market_panel, strategy
    from aiquant.backtest.evaluation.replays import Replay
    from aiquant.settings import BacktestSettings

    settings, last = traded.settings, max(equity["date"].to_pylist())
    weights = traded.weights

    def again(rules: BacktestSettings, orders: pa.Table | None, instruments: pa.Table | None) -> engine.Result:
        more = {**traded.more, "orders": orders, "instruments": instruments}
        return engine.run(weights, traded.bars, traded.sessions, rules, "", traded.actions, last=last, **more)

    orders, instruments = (traded.more.get(name) for name in ("orders", "instruments"))
    replay = Replay(again, orders, instruments) if weights is not None or orders is not None else None
    with journal.station("evaluation") as station:
        asked = settings.evaluation
        classes = None
        if lake is not None:
            classes = lake.read(schemas.CLASSIFICATION, missing_ok=True)
            asked = asked.model_copy(update={"trials": max(asked.trials, trials.read(lake).count)})
        evidence = strategy.Evidence(
            equity=equity,
            fills=traded.fills,
            panel=market_panel.lay_out(traded.bars, traded.sessions, traded.actions, last),
            sessions_per_year=traded.sessions.per_year,
            rules=settings.backtest,
            replay=replay,
            classification=classes,
        )
        found = strategy.evaluate(evidence, asked)
        station.rows = equity.num_rows
        station.note = "sessions"
    return found


def _kept(folder: Path, digest: str, found: dict[str, Any]) -> dict[str, Any]:
    told = {"digest": digest, **found}
    write_json(folder / FILE, told)
    return told


def tearsheet(journal: Journal, done: Backtested, title: str, out: Path) -> Path:
    """Write the tearsheet of a backtest that belongs to no run."""
    from aiquant.backtest import tearsheet

    with journal.station("report") as station:
        write_text(out, tearsheet.render(_story(done, title)))
        station.note = str(out)
    return out


def _story(done: Backtested, title: str) -> Story:
    from aiquant.backtest.story import Story, Track

    assert done.traded is not None, "a backtest says what it traded"
    return Story(
        title=title,
        run_id=done.run_id or done.digest[:16],
        made_at=datetime.now(UTC),
        strategies={name.capitalize(): Track(table, done.figures.get(name)) for name, table in done.equity.items()},
        conventions=done.conventions,
        evaluation=done.evaluation,
        notes=done.notes,
        fills=done.traded.fills,
    )
