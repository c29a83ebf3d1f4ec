"""Combinatorial purged cross-validation of a run: not one history but several, each traded, for a spread of results."""

from __future__ import annotations

from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import UsageError
from aiquant.jobs import backtest, books
from aiquant.jobs import features as feature_job
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline
from aiquant.jobs.workspace import Workspace, read_optional, write_json

if TYPE_CHECKING:
    from aiquant.learning.panel import Panel
    from aiquant.learning.splits import Fold
    from aiquant.portfolio.history import History
    from aiquant.settings import CombinatorialSettings

MAX_FITS = 100
"""Fits that a cross-validation may ask for."""

FILE = "paths.json"
"""Where a run keeps what was found."""


def keep(workspace: Workspace, journal: Journal, pipeline: Pipeline, inputs: Inputs, folder: Path) -> None:
    """Write what :func:`examine` finds into the folder of a run, if the settings ask for it and it is not there."""
    asked = workspace.settings.cpcv
    if not asked.enabled:
        return
    known = read_optional(folder / FILE)
    if known is None or (known["groups"], known["tested"]) != (asked.groups, asked.tested):
        write_json(folder / FILE, examine(workspace, journal, pipeline, inputs))


def examine(workspace: Workspace, journal: Journal, pipeline: Pipeline, inputs: Inputs) -> dict[str, Any]:
    """Fit every combination of groups, and judge and trade every path through them.

    M. López de Prado, *Advances in Financial Machine Learning* (2018), section 12.4. The model of a test may have been
    taught by later years, never by labels that meet it: this asks how much of a result hangs on the one order in which
    history happened, and is no forecast that could have been made. Paths share their data, so that their spread is not
    the error of a mean.

    Returns
    -------
    dict
        ``groups``, ``tested``, ``fits``; ``paths``: for each its ``rank_ic``, ``rank_ic_t``, ``sharpe`` (annualised,
        net of costs), ``annual_return`` and ``max_drawdown``; ``spread``: of ``rank_ic`` and ``sharpe`` the ``mean``,
        ``std``, ``lowest``, ``highest`` and the share ``above_0``; ``folds``: what each fit was taught and tested by.

    Raises
    ------
    UsageError
        When the settings ask for more than :data:`MAX_FITS` fits, or for as many tested groups as there are.
    """
    from aiquant.learning import splits

    asked = workspace.settings.cpcv
    _check(asked)
    features = feature_job.current(workspace, journal, pipeline, inputs)
    name = "cross-validation"
    with journal.station(name) as station:
        labels = pipeline.labels(inputs)
        panel = pipeline.panel(features, pipeline.learnt(inputs, labels), pipeline.universe(inputs))
        del features
        folds = splits.combinatorial(panel, asked.groups, asked.tested, pipeline.settings.learning.embargo)
        forecasts = pipeline.train(panel, folds, name, journal.progress(name)).forecasts
        starts = splits.group_starts(panel.event_time, asked.groups)
        routes = splits.paths(folds, asked.groups, asked.tested)
        past = books.past(pipeline.settings, inputs)
        told = [_judged(pipeline, inputs, _along(forecasts, route, starts), labels, past) for route in routes]
        station.rows = forecasts.num_rows
        station.note = f"{len(folds)} fits, {len(routes)} paths"
    return {
        "groups": asked.groups,
        "tested": asked.tested,
        "fits": len(folds),
        "paths": told,
        "spread": {figure: _spread([path[figure] for path in told]) for figure in ("rank_ic", "sharpe")},
        "folds": [_told(panel, fold) for fold in folds],
    }


def _check(asked: CombinatorialSettings) -> None:
    if asked.tested >= asked.groups:
        raise UsageError(
            f"setting cpcv.tested = {asked.tested}: of cpcv.groups = {asked.groups} one must be left to learn from",
            "test fewer groups at a time",
        )
    fits = comb(asked.groups, asked.tested)
    if fits > MAX_FITS:
        raise UsageError(
            f"settings cpcv.groups and tested: {asked.tested} of {asked.groups} groups are {fits:,} fits, and at most "
            f"{MAX_FITS} are made",
            "set fewer groups",
        )


def _along(forecasts: pa.Table, route: dict[int, int], starts: np.ndarray[Any, np.dtype[np.datetime64]]) -> pa.Table:
    """The forecasts that a path takes: of each group those of one fold."""
    rows = pl.DataFrame(pl.from_arrow(forecasts))
    times = rows["event_time"].dt.replace_time_zone(None).to_numpy()
    group = np.searchsorted(starts, times, side="right") - 1
    taken = np.array([route[g] for g in range(len(starts))])[group]
    return rows.filter(pl.Series(rows["fold"].to_numpy() == taken)).to_arrow().cast(schemas.FORECASTS.schema)


def _judged(
    pipeline: Pipeline, inputs: Inputs, forecasts: pa.Table, labels: pa.Table, past: History | None
) -> dict[str, float | None]:
    from aiquant.backtest import statistics
    from aiquant.learning import judgement

    settings = pipeline.settings
    judged = judgement.judge(forecasts, labels).to_dict()
    book = books.build(settings, forecasts, inputs, "path", known=past)
    equity = backtest.account(settings, book.weights, inputs.newest, inputs.sessions, inputs.actions).equity
    figures = statistics.summarise(equity, inputs.sessions.per_year, settings.backtest.risk_free).to_dict()
    return {name: judged[name] for name in ("rank_ic", "rank_ic_t")} | {
        name: figures[name] for name in ("sharpe", "annual_return", "max_drawdown")
    }


def _spread(values: list[float | None]) -> dict[str, float | None]:
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return dict.fromkeys(("mean", "std", "lowest", "highest", "above_0"))
    return {
        "mean": float(known.mean()),
        "std": float(known.std(ddof=1)) if len(known) > 1 else None,
        "lowest": float(known.min()),
        "highest": float(known.max()),
        "above_0": float((known > 0).mean()),
    }


def _told(panel: Panel, fold: Fold) -> dict[str, Any]:
    from aiquant.learning import splits

    parts = {"train": fold.train, "test": fold.test, "purge": fold.purged, "embargo": fold.embargoed}
    return {
        "fold": fold.number,
        "groups": list(fold.groups),
        "purged": len(fold.purged),
        "embargoed": len(fold.embargoed),
        "spans": {name: splits.spans(panel, rows) for name, rows in parts.items()},
    }
