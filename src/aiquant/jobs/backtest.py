"""Forecasts of a run, or a file of weights → an account, and the plain books it has to beat."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.calendars import Sessions
from aiquant.errors import DataError, MissingError
from aiquant.jobs import books, digests, manifest, tables
from aiquant.jobs import terms as symbol_terms
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, read, sessions_of
from aiquant.jobs.terms import Terms
from aiquant.jobs.workspace import Workspace, read_json, write_json
from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.backtest.engine import Result

STRATEGY = "strategy"
BASELINES = ("equal weight", "buy and hold")


@dataclass(frozen=True)
class Traded:
    """What an account was made of, so that it can be evaluated and traded again by other rules.

    Attributes
    ----------
    weights
        Decisions; None where they are not target weights.
    fills
        Of the strategy.
    more
        What else the engine was given: ``orders``, ``instruments``, ``fx``.
    """

    settings: Settings
    weights: pa.Table | None
    bars: pa.Table
    sessions: Sessions
    actions: pa.Table | None
    fills: pa.Table
    more: dict[str, pa.Table | None] = field(default_factory=dict)


@dataclass
class Backtested:
    """What a backtest gave.

    Attributes
    ----------
    figures
        For the strategy and each baseline the figures of :mod:`aiquant.backtest.statistics`.
    digest
        Digest of the strategy's equity.
    kept
        Whether it was kept as the run's own: only a backtest by the rules and costs of the run's manifest is.
    decisions
        How many books were decided, how many kept the old one, and how many fell back; empty for weights of a file.
    evaluation
        What :mod:`aiquant.jobs.strategy_evaluation` found; None where that was not asked for.
    report
        The tearsheet; None where none was asked for.
    traded
        What the account was made of.
    """

    figures: dict[str, dict[str, Any]]
    conventions: dict[str, str]
    notes: list[str]
    digest: str
    run_id: str | None = None
    bankrupt: date | None = None
    out: Path | None = None
    kept: bool = False
    decisions: dict[str, int] = field(default_factory=dict)
    evaluation: dict[str, Any] | None = field(default=None, repr=False)
    report: Path | None = None
    equity: dict[str, pa.Table] = field(default_factory=dict, repr=False)
    traded: Traded | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All but the tables, for JSON; an evaluation and a report only where they were asked for."""
        asked = {name for name in ("evaluation", "report") if getattr(self, name) is not None}
        left_out = {"equity", "traded", "evaluation", "report"} - asked
        return {name: value for name, value in vars(self).items() if name not in left_out}


def of_run(
    workspace: Workspace,
    journal: Journal,
    run_id: str,
    out: Path | None = None,
    inputs: Inputs | None = None,
    terms: Terms | None = None,
) -> Backtested:
    """Trade the out-of-sample forecasts of a run on the data version of its manifest.

    By the rules and costs of the manifest it is the run's own: weights, fills and equity go to the lake, and the gate
    judges it. By others it is a question of what would have been, which is answered and not kept; so it is with
    ``terms`` of single symbols, which no manifest has.

    Raises
    ------
    MissingError
        When the run has no forecasts.
    """
    if out is not None:
        tables.writer_of(out)
    folder = workspace.run_folder(run_id)
    told = read_json(folder / "manifest.json")
    own = manifest.settings_of(told)
    asked = {"portfolio": workspace.settings.portfolio, "backtest": workspace.settings.backtest}
    settings, terms = own.model_copy(update=asked), terms or {}
    with journal.station("signals and weights") as station:
        books.check(settings)
        if inputs is None or settings != own:
            inputs = read(workspace.lake, settings, manifest.versions_of(told))
        made = books.build(settings, forecasts_of(workspace, run_id), inputs, run_id)
        weights = made.weights
        station.rows = weights.num_rows
        station.note = f"{made.decisions['fallbacks']:,} fallback(s)" * (made.decisions["fallbacks"] > 0)
    with journal.station("backtest") as station:
        results = simulate(settings, weights, inputs.newest, inputs.sessions, inputs.actions, **terms)
        done = summed_up(results, inputs.sessions, settings)
        done.run_id, done.kept, done.decisions = run_id, settings == own and not terms, made.decisions
        done.notes += made.notes
        fills = results[STRATEGY].fills
        asked_now = _evaluated(settings, workspace)
        done.traded = Traded(asked_now, weights, inputs.newest, inputs.sessions, inputs.actions, fills, {**terms})
        station.rows = results[STRATEGY].fills.num_rows
        station.note = "fills of the strategy"
        if done.kept:
            keep(workspace, run_id, weights, results)
    if done.kept:
        write_json(folder / "backtest.json", {**plain(done), "origin": manifest.origin(settings)})
    else:
        _record_trial(workspace, settings, terms, told, results[STRATEGY].equity)
        done.notes.append("by other rules or costs than the run's own: not kept, and not what the gate judges")
    write_out(done, out)
    return done


def _evaluated(settings: Settings, workspace: Workspace) -> Settings:
    """Settings of a run, evaluated as the workspace asks now."""
    return settings.model_copy(update={"evaluation": workspace.settings.evaluation})


def _record_trial(
    workspace: Workspace, settings: Settings, terms: Terms, told: dict[str, Any], equity: pa.Table
) -> None:
    """Another book for the same forecasts is one more trial: whoever looks at ten and trains for the best has tried
    ten."""
    from aiquant.jobs import trials
    from aiquant.learning.trials import BACKTESTS, Trial

    tried = trials.configuration(settings)
    params = manifest.plain(settings)
    if terms:
        params["terms"] = symbol_terms.digests(terms)
        tried = digests.of_json([tried, params["terms"]])
    rank_ic = told["results"]["rank_ic"]
    trial = Trial(
        BACKTESTS, f"{told['run_id']}:{tried}", settings.learning.model, tried, params, told["run_id"], rank_ic
    )
    trials.record(workspace.lake, trial, equity)


def keep(workspace: Workspace, run_id: str, weights: pa.Table | None, results: dict[str, Result]) -> None:
    """Put the accounts of a backtest into the lake; those of the baselines under ``run_id:name``."""
    lake = workspace.lake
    if weights is not None:
        lake.replace(schemas.TARGET_WEIGHTS, weights, {"run_id": run_id})
    lake.replace(schemas.FILLS, _named(results[STRATEGY].fills, run_id), {"run_id": run_id})
    lake.replace(schemas.CASH_FLOWS, _named(results[STRATEGY].flows, run_id), {"run_id": run_id})
    for name, result in results.items():
        key = run_id if name == STRATEGY else f"{run_id}:{name}"
        lake.replace(schemas.EQUITY, _named(result.equity, key), {"run_id": key})


@dataclass(frozen=True)
class Files:
    """Files that a backtest without forecasts reads.

    Attributes
    ----------
    weights, orders
        One of the two: ``date, symbol`` and ``weight``, or ``shares``.
    bars
        None for those of the workspace.
    instruments, fx
        Terms of single symbols, and exchange rates.
    """

    weights: Path | None = None
    orders: Path | None = None
    bars: Path | None = None
    instruments: Path | None = None
    fx: Path | None = None


def of_file(
    settings: Settings, journal: Journal, given: Files, workspace: Workspace | None, out: Path | None
) -> Backtested:
    """Trade a file of weights, or of orders, on a file of bars, or on the bars of the workspace.

    Raises
    ------
    MissingError
        When there are no bars.
    """
    from aiquant.sources import files

    if out is not None:
        tables.writer_of(out)
    with journal.station("read") as station:
        weights = None if given.weights is None else files.read_weights(given.weights)
        more = {
            "orders": None if given.orders is None else files.read_orders(given.orders),
            **symbol_terms.read(given.instruments, given.fx),
        }
        rows, sessions, actions = bars_of(settings, journal, given.bars, workspace)
        station.rows = rows.num_rows
    with journal.station("backtest") as station:
        results = simulate(settings, weights, rows, sessions, actions, **more)
        done = summed_up(results, sessions, settings)
        done.traded = Traded(settings, weights, rows, sessions, actions, results[STRATEGY].fills, more)
        station.rows = results[STRATEGY].fills.num_rows
        station.note = "fills"
    write_out(done, out)
    if out is not None:
        named = {name: str(path) for name, path in vars(given).items() if path is not None}
        made = {**plain(done), **manifest.origin(settings), "bars": "lake", **named}
        write_json(out.with_name(out.name + ".manifest.json"), made)
    return done


def forecasts_of(workspace: Workspace, run_id: str) -> pa.Table:
    """The out-of-sample forecasts of a run."""
    forecasts = workspace.lake.read(schemas.FORECASTS, where=(pl.col("run_id") == run_id) & (pl.col("fold") >= 0))
    if not forecasts.num_rows:
        raise MissingError(f"the lake holds no forecasts of run {run_id}", "make them with: aiquant train")
    return forecasts


def account(
    settings: Settings,
    weights: pa.Table | None,
    bars: pa.Table,
    sessions: Sessions,
    actions: pa.Table | None,
    *,
    orders: pa.Table | None = None,
    instruments: pa.Table | None = None,
    fx: pa.Table | None = None,
) -> Result:
    """The account of a strategy, without the baselines; the arguments of :func:`aiquant.backtest.engine.run`.

    Raises
    ------
    DataError
        When there are no weights.
    """
    from aiquant.backtest import engine

    if weights is not None and not weights.num_rows:
        raise DataError("there are no target weights to trade", "give at least one date with a weight")
    more = {"orders": orders, "instruments": instruments, "fx": fx}
    return engine.run(weights, bars, sessions, settings.backtest, run_id=STRATEGY, actions=actions, **more)


def simulate(
    settings: Settings,
    weights: pa.Table | None,
    bars: pa.Table,
    sessions: Sessions,
    actions: pa.Table | None,
    *,
    orders: pa.Table | None = None,
    instruments: pa.Table | None = None,
    fx: pa.Table | None = None,
) -> dict[str, Result]:
    """The strategy, and the baselines over the same sessions with the same costs; the strategy comes first."""
    from aiquant.backtest import baselines, engine

    terms = {"instruments": instruments, "fx": fx}
    main = account(settings, weights, bars, sessions, actions, orders=orders, **terms)
    first, last = main.equity["date"][0].as_py(), main.equity["date"][-1].as_py()
    every = settings.portfolio.rebalance or settings.labels.horizon
    books = {
        "equal weight": baselines.equal_weight(bars, first, last, every),
        "buy and hold": baselines.buy_and_hold(bars, first, last),
    }
    results = {STRATEGY: main}
    for name, weighted in books.items():
        results[name] = engine.run(
            weighted, bars, sessions, settings.backtest, run_id=name, actions=actions, last=last, **terms
        )
    return results


def bars_of(
    settings: Settings, journal: Journal, path: Path | None, workspace: Workspace | None
) -> tuple[pa.Table, Sessions, pa.Table | None]:
    """Bars of a file, or the newest ones of the workspace, with their sessions and corporate actions."""
    if path is not None:
        from aiquant.sources import files

        batches = list(files.read_bars(path, settings.data))
        rows = pa.concat_tables([batch.rows for batch in batches])
        bad = sum(batch.letters.num_rows for batch in batches)
        if bad:
            journal.note(
                f"{bad:,} bad row(s) of {path} were left out; take the file in with `aiquant ingest` to see them"
            )
        return rows, sessions_of(rows, settings.data.calendar), None
    if workspace is None:
        raise MissingError("there are no bars to trade on", "name a file with --bars, or a workspace with --workspace")
    inputs = read(workspace.lake, settings)
    return inputs.newest, inputs.sessions, inputs.actions


def summed_up(results: dict[str, Result], sessions: Sessions, settings: Settings) -> Backtested:
    """The figures of an account and its baselines."""
    from aiquant.backtest import statistics
    from aiquant.lake.digests import digest

    rate = settings.backtest.risk_free
    figures = {name: statistics.summarise(r.equity, sessions.per_year, rate).to_dict() for name, r in results.items()}
    main = results[STRATEGY]
    return Backtested(
        figures=figures,
        conventions=main.conventions,
        notes=list(main.notes),
        digest=digest(main.equity.drop_columns(["run_id"])),
        bankrupt=main.bankrupt,
        equity={name: result.equity for name, result in results.items()},
    )


def _named(rows: pa.Table, run_id: str) -> pa.Table:
    at = rows.column_names.index("run_id")
    return rows.set_column(at, rows.schema.field(at), pa.repeat(pa.scalar(run_id), rows.num_rows))


def plain(done: Backtested) -> dict[str, Any]:
    """As plain data for JSON."""
    told = done.to_dict()
    return {**told, "out": None if done.out is None else str(done.out)}


def write_out(done: Backtested, out: Path | None) -> None:
    """Write the strategy's equity to a file, where one is named."""
    if out is not None:
        tables.write(done.equity[STRATEGY].select(["date", "equity"]), out)
        done.out = out
