"""The bars that an account trades on: which sessions are complete, and how they are laid out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.calendars import Sessions
from aiquant.errors import DataError, MissingError
from aiquant.jobs import pipeline
from aiquant.jobs.workspace import Workspace


@dataclass(frozen=True)
class Seen:
    """The bars of the lake at one version of its table.

    Attributes
    ----------
    bars
        The newest version of each bar.
    version
        Delta version of the table.
    """

    bars: pa.Table
    sessions: Sessions
    actions: pa.Table | None
    version: int

    def due(self, after: date | None, last: date | None) -> list[date]:
        """Sessions with bars behind ``after``, up to ``last``."""
        days = pl.Series(self.sessions.dates).cast(pl.Date).to_list()
        return [day for day in days if (after is None or day > after) and (last is None or day <= last)]

    def complete(self, day: date, lateness: timedelta, now: datetime) -> bool:
        """Whether no bar of a session is waited for.

        A session is complete when a later one has bars, when each symbol that had a bar in the session before has one,
        or when its close lies ``lateness`` back.
        """
        at = int(self.sessions.index_of(np.array([day], dtype="datetime64[D]"))[0])
        if at < len(self.sessions) - 1:
            return True
        if now >= self.sessions.closes[at].item().replace(tzinfo=UTC) + lateness:
            return True
        if at == 0:
            return False
        rows = pl.DataFrame(pl.from_arrow(self.bars.select(["symbol", "date"])))
        there, before = (
            set(rows.filter(pl.col("date") == d.item())["symbol"]) for d in self.sessions.dates[[at, at - 1]]
        )
        return before <= there


def look(workspace: Workspace) -> Seen:
    """The newest version of each bar, and its version of the table.

    Raises
    ------
    MissingError
        When there is no bar.
    DataError
        When bars are not daily, or have two closes for a day.
    """
    lake, told = workspace.lake, workspace.settings.data
    version = lake.version(schemas.BARS)
    bars = None if version is None else lake.read(schemas.BARS, where={"interval": told.interval}, version=version)
    if version is None or bars is None or not bars.num_rows:
        raise MissingError(
            f"the lake holds no bar of interval {told.interval} to trade on", "take bars in with: aiquant ingest bars"
        )
    if told.interval != "1d":
        raise DataError(
            f"accounts that trade go from session to session, and these bars have the interval {told.interval}",
            "set data.interval = '1d'; intraday bars: aiquant backtest",
        )
    pipeline.demand_one_close(bars, told.calendar)
    known = lake.version(schemas.CORPORATE_ACTIONS) is not None
    actions = lake.read(schemas.CORPORATE_ACTIONS) if known else None
    return Seen(bars, pipeline.sessions_of(bars, told.calendar), actions, version)


def as_seen(workspace: Workspace, seen: Iterable[tuple[date, int]]) -> pa.Table | None:
    """Bars of each date in the version in which an account saw them; None when a version can no longer be read.

    Parameters
    ----------
    seen
        Dates and Delta versions of the table, in ascending order.
    """
    from aiquant.errors import AiquantError

    interval = pl.col("interval") == workspace.settings.data.interval
    frames, spans = [], _spans(seen)
    for place, (first, last, version) in enumerate(spans):
        inside = interval & (pl.col("date") <= last)
        if place:  # what lies before the first session is what it was warmed up with
            inside &= pl.col("date") >= first
        try:
            frames.append(workspace.lake.read(schemas.BARS, where=inside, version=version))
        except AiquantError:
            return None
    return pa.concat_tables(frames) if frames else None


def _spans(seen: Iterable[tuple[date, int]]) -> list[tuple[date, date, int]]:
    """Runs of dates with one version."""
    spans: list[tuple[date, date, int]] = []
    for day, version in seen:
        if spans and spans[-1][2] == version:
            spans[-1] = (spans[-1][0], day, version)
        else:
            spans.append((day, day, version))
    return spans
