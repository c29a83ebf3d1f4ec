"""A strategy by its name → its decisions over the history of the workspace → an account, a report, and a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from aiquant import schemas
from aiquant.errors import DataError, MissingError, UsageError
from aiquant.jobs import backtest, digests, manifest, tables, trials
from aiquant.jobs import terms as symbol_terms
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, read
from aiquant.jobs.terms import Terms
from aiquant.jobs.workspace import Workspace, write_json, write_text
from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.backtest.engine import Result
    from aiquant.portfolio.strategies import Strategy
    from aiquant.portfolio.strategies.feed import Feed, Tables
    from aiquant.portfolio.strategies.loading import Definition

FOLDER = "backtests"
"""Folder of the workspace with one folder for each backtest of a strategy."""


@dataclass(frozen=True)
class Chosen:
    """A strategy of a workspace with its parameters.

    Attributes
    ----------
    params
        Those that were told, as the types that they have.
    terms
        On which single symbols are traded.
    """

    definition: Definition
    params: dict[str, Any]
    settings: Settings
    terms: Terms = field(default_factory=dict)

    def make(self, params: Mapping[str, Any] | None = None) -> Strategy:
        """A new instance; ``params`` win over those that were told."""
        return self.definition.make({**self.params, **(params or {})}, self.settings)

    def fresh(self) -> Strategy:
        """A new instance that shares nothing with an earlier one."""
        return self.definition.fresh(self.params, self.settings)


@dataclass(frozen=True)
class Material:
    """What strategies of a workspace look at.

    Attributes
    ----------
    forecasts_of
        The run whose forecasts they see; None where there is none.
    """

    inputs: Inputs
    forecasts: Any = None
    forecasts_of: str | None = None

    def tables(self) -> Tables:
        """All of it."""
        from aiquant.portfolio.strategies.feed import Tables

        return Tables(self.inputs.bars, self.inputs.actions, self.forecasts, self.inputs.universe)


def choose(
    workspace: Workspace,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    terms: Terms | None = None,
) -> Chosen:
    """The strategy that is named, or that of the settings; ``params`` win over those of the settings.

    Raises
    ------
    UsageError
        When there is no such strategy, or a parameter does not fit.
    """
    from aiquant.portfolio.strategies import loading

    own = workspace.settings.strategy
    definition = loading.find(name or own.name, workspace.root)
    told = {**(own.params if definition.name == own.name else {}), **(params or {})}
    return Chosen(definition, definition.read(told), workspace.settings, terms or {})


def material(workspace: Workspace, run_id: str | None = None) -> Material:
    """The newest data of the workspace, and the forecasts of a run; default: of the newest, where there is one."""
    inputs = read(workspace.lake, workspace.settings)
    if run_id is not None:
        workspace.run_folder(run_id)
    named = run_id or next(iter(reversed(workspace.run_ids())), None)
    if named is None:
        return Material(inputs)
    own = (pl.col("run_id") == named) & (pl.col("fold") >= 0)
    forecasts = workspace.lake.read(schemas.FORECASTS, where=own, missing_ok=True)
    if run_id is not None and not forecasts.num_rows:
        raise MissingError(f"the lake holds no forecasts of run {run_id}", "make them with: aiquant train")
    return Material(inputs, forecasts, named) if forecasts.num_rows else Material(inputs)


def run(
    workspace: Workspace,
    journal: Journal,
    chosen: Chosen,
    *,
    run_id: str | None = None,
    first: date | None = None,
    out: Path | None = None,
) -> backtest.Backtested:
    """Backtest a strategy: its weights (of orders there are none), fills and equity go to the lake, its report to
    ``backtests``, and it counts as a trial.

    Parameters
    ----------
    run_id
        Run whose forecasts the strategy sees; default: the newest, where there is one.
    first
        First date of a decision; what was before is known at it.

    Raises
    ------
    UsageError
        When the strategy raises or gives neither a book nor orders: see :mod:`aiquant.portfolio.strategies.runner`.
    DataError
        When it decides nothing, or the account refuses what it decided.
    """
    from aiquant.portfolio.strategies import runner

    if out is not None:
        tables.writer_of(out)
    with journal.station("read") as station:
        told = material(workspace, run_id)
        feed = told.tables().feed()
        station.rows = told.inputs.bars.num_rows
    with journal.station("strategy") as station:
        begin = begin_at(feed, first)
        name = chosen.definition.name
        made = runner.decisions(chosen.make(), feed, name, first=begin, progress=journal.progress("strategy"))
        seen = told.forecasts_of if feed.forecasts_read else None
        key = identity(chosen, told.inputs.versions, seen, first)
        decided = runner.tables_of(made, feed, key)
        station.rows = decided.rows.num_rows
        what = "books" if decided.unit == "weight" else "times with orders"
        station.note = f"{decided.decided} {what} at {decided.asked:,} decision times"
    if not decided.decided:
        raise DataError(
            f"strategy {name} decided nothing at {decided.asked:,} decision times, the first on {feed.dates[begin]}",
            "see how much history it needs: aiquant check recursive --strategy " + name,
        )
    with journal.station("backtest") as station:
        inputs = told.inputs
        more: dict[str, Any] = {"orders": decided.orders, **chosen.terms}
        account = (chosen.settings, decided.weights, inputs.newest, inputs.sessions, inputs.actions)
        results = backtest.simulate(*account, **more)
        done = backtest.summed_up(results, inputs.sessions, chosen.settings)
        done.run_id, done.kept = key, True
        fills = results[backtest.STRATEGY].fills
        done.traded = backtest.Traded(*account, fills, more)
        station.rows = fills.num_rows
        station.note = "fills of the strategy"
        backtest.keep(workspace, key, decided.weights, results)
        record(workspace, chosen, configuration(chosen, seen), key, results[backtest.STRATEGY])
    with journal.station("report") as station:
        station.note = str(_leave(workspace, chosen, told, seen, done, results))
    backtest.write_out(done, out)
    return done


def begin_at(feed: Feed, first: date | None) -> int:
    """The decision time from which on a strategy is asked."""
    begin = 0 if first is None else int(np.searchsorted(feed.dates, np.datetime64(first)))
    if begin >= len(feed):
        raise UsageError(f"there is no bar on or after {first}", f"the last one is of {feed.dates[-1]}")
    return begin


def identity(chosen: Chosen, versions: Mapping[str, int | None], forecasts_of: str | None, first: date | None) -> str:
    """Name of a backtest: the same strategy, parameters, rules and data have the same one."""
    told = {**_makes(chosen, forecasts_of), "versions": dict(versions), "first": first, "code": digests.of_code()}
    return f"{chosen.definition.name}-{digests.of_json(told)[:12]}"


def configuration(chosen: Chosen, forecasts_of: str | None, params: Mapping[str, Any] | None = None) -> str:
    """Digest of what makes the book and the account, as the ledger of trials counts: newer data make no other trial."""
    return digests.of_json(_makes(chosen, forecasts_of, params))


def _makes(chosen: Chosen, forecasts_of: str | None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    definition, settings = chosen.definition, chosen.settings
    defaults = {p.name: p.default for p in definition.parameters}
    sections = ["data", "backtest"]
    if definition.name == "forecasts":  # the one that is made by settings beside its parameters
        sections += ["portfolio", "labels"]
    return {
        "strategy": definition.name,
        "version": definition.version,
        "params": {**defaults, **chosen.params, **(params or {})},
        "forecasts_of": forecasts_of,
        **{name: getattr(settings, name).model_dump(mode="json") for name in sections},
        **_told_terms(chosen),
    }


def _told_terms(chosen: Chosen) -> dict[str, Any]:
    """Nothing where no terms were given, so that what was counted before they could be is counted as the same."""
    return {"terms": symbol_terms.digests(chosen.terms)} if chosen.terms else {}


def record(workspace: Workspace, chosen: Chosen, configured: str, key: str, result: Result) -> None:
    """Write the backtest down as a trial: whoever looks at ten strategies has tried ten."""
    from aiquant.learning.trials import STRATEGIES, Trial

    trial = Trial(STRATEGIES, key, chosen.definition.name, configured, chosen.params)
    trials.record(workspace.lake, trial, result.equity)


def _leave(
    workspace: Workspace,
    chosen: Chosen,
    told: Material,
    seen: str | None,
    done: backtest.Backtested,
    results: Mapping[str, Result],
) -> Path:
    """Manifest, figures and tearsheet of a backtest; returns the tearsheet's path."""
    from aiquant.backtest import tearsheet
    from aiquant.backtest.story import Story, Track

    assert done.run_id is not None
    folder, definition = workspace.root / FOLDER / done.run_id, chosen.definition
    about = {
        "strategy": definition.name,
        "place": definition.place,
        "version": definition.version,
        "params": chosen.params,
        "forecasts_of": seen,
        "data": {name: {"version": version} for name, version in told.inputs.versions.items()},
        **manifest.origin(chosen.settings),
        **_told_terms(chosen),
    }
    write_json(folder / "manifest.json", about)
    write_json(folder / "backtest.json", backtest.plain(done))
    params = ", ".join(f"{name} = {value}" for name, value in chosen.params.items())
    page = tearsheet.render(
        Story(
            title=f"{chosen.settings.name}: strategy {definition.name}",
            run_id=done.run_id,
            made_at=datetime.now(UTC),
            strategies={
                name.capitalize(): Track(result.equity, done.figures.get(name)) for name, result in results.items()
            },
            description=f"{definition.about} {f'Parameters: {params}.' if params else ''}".strip(),
            conventions=done.conventions,
            manifest=about,
            notes=done.notes,
            fills=results[backtest.STRATEGY].fills,
        )
    )
    write_text(folder / "report.html", page)
    return folder / "report.html"
