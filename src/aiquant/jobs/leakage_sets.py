"""``check leakage --features``: sets of features alone, each on histories that were cut at random times.

Some symbols are computed at a time (some stretch of time, where symbols are compared), once with the future and once
without it for each cut, so that memory does not grow with the lake. Cuts fall on closes and, as often, inside of a
session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import calendars
from aiquant.errors import MissingError
from aiquant.jobs import attaching, vintages
from aiquant.jobs.feature_bars import LakeBars
from aiquant.jobs.feature_rows import Rows
from aiquant.jobs.journal import Journal
from aiquant.jobs.leakage import Comparison, Verdict, differences
from aiquant.jobs.pipeline import Inputs, Pipeline, around, versions_of
from aiquant.jobs.vintages import Reach
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS


def check(workspace: Workspace, journal: Journal, names: list[str], pipeline: type[Pipeline] = Pipeline) -> Verdict:
    """Check sets of features by name or file.

    ``all`` stands for every set of the catalogue; those whose tables have no rows are passed over, and that is noted.

    Parameters
    ----------
    pipeline
        What computes them.

    Raises
    ------
    UsageError
        When there is no such set.
    MissingError
        When there are no bars, or a set that was named has nothing to read.
    """
    from aiquant.features import catalogue

    wanted = list(dict.fromkeys(n for name in names for n in (catalogue.names() if name == "all" else [name])))
    for name in wanted:
        catalogue.get(name)
    lake, settings = workspace.lake, workspace.settings
    bars = LakeBars(lake, settings.data.interval, settings.data.calendar, lake.version(BARS))
    moments = cuts(bars.sessions, settings.leakage.cuts, settings.learning.seed)
    verdict = Verdict()
    with journal.station("check leakage") as station:
        advance = journal.progress("check leakage")
        for done, name in enumerate(wanted):
            advance(done, len(wanted))
            told = settings.model_copy(update={"features": settings.features.model_copy(update={"set": name})})
            made = pipeline(told)
            inputs = around(lake, told, versions_of(lake, told), bars.sessions)
            try:
                attaching.demand(made.feature_set, inputs.attached)
            except MissingError as error:
                if name in names:
                    raise
                journal.note(f"Not checked: {error.problem}.")
                continue
            verdict.comparisons.extend(examine(Rows(made, inputs, bars), made.feature_set.name, moments))
        station.rows = sum(c.compared for c in verdict.comparisons)
        station.note = "passed" if verdict.passed else "LEAK: " + ", ".join(verdict.leaking)
    return verdict


def cuts(sessions: calendars.Sessions, number: int, seed: int) -> list[datetime]:
    """Random times (UTC), the closes of sessions and times inside of them in turn; not in the first tenth."""
    rng = np.random.default_rng(seed)
    early = len(sessions) // 10
    picks = rng.choice(np.arange(early, len(sessions)), size=min(number, len(sessions) - early), replace=False)
    found = []
    for turn, pick in enumerate(np.sort(picks)):
        opened, closed = (moments[pick].astype("datetime64[us]") for moments in (sessions.opens, sessions.closes))
        share = 1.0 if turn % 2 == 0 else float(rng.uniform(0.05, 0.95))
        moment: datetime = (opened + (closed - opened) * share).item()
        found.append(moment.replace(tzinfo=UTC))
    return found


def examine(rows: Rows, name: str, moments: list[datetime]) -> list[Comparison]:
    """One comparison a cut, for all rows of a set."""
    found: dict[datetime, list[Comparison]] = {moment: [] for moment in moments}
    for part in rows.shape.whole():
        for bars, reach in rows.chunks(part):
            inputs = replace(rows.inputs, bars=bars)
            whole = pl.DataFrame(rows.pipeline.features(inputs, reach))
            for moment, cut in _without(rows.pipeline, inputs, reach, moments):
                until = pl.col("event_time") <= moment
                found[moment].append(differences(name, moment, whole, pl.DataFrame(cut), until))
    return [_together(name, moment, told) for moment, told in found.items() if told]


def _without(
    pipeline: Pipeline, inputs: Inputs, reach: Reach, moments: list[datetime]
) -> Iterator[tuple[datetime, pa.Table]]:
    """The rows as they are where nothing after each moment is known yet."""
    calendar, first = inputs.sessions.calendar, inputs.sessions.dates[0].item()
    for moment in moments:
        seen = vintages.known_at(inputs.bars, moment)
        last = pl.Series(seen["date"]).max()
        if last is None or (reach.since is not None and last < reach.since):  # type: ignore[operator]
            continue
        sessions = calendars.sessions(calendar, first, last)  # type: ignore[arg-type]
        cut = replace(inputs.beside_known_at(moment), bars=seen, sessions=sessions)
        yield moment, pipeline.features(cut, replace(reach, sessions=sessions))


def _together(name: str, moment: datetime, told: list[Comparison]) -> Comparison:
    example = next((c.example for c in told if c.example), None)
    return Comparison(moment, name, sum(c.compared for c in told), sum(c.differing for c in told), example)
