"""Ticks of the lake → bars of the lake; late ticks correct their bars."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from aiquant import schemas
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace


@dataclass
class TickBars:
    """What a run did: dates that were looked at, and what became of their bars in the lake."""

    interval: str
    dates: int = 0
    ticks: int = 0
    inserted: int = 0
    revised: int = 0
    unchanged: int = 0
    version: int | None = None


def build(
    workspace: Workspace,
    journal: Journal,
    interval: str = "1m",
    final: bool = False,
    since: int | None = None,
) -> TickBars:
    """Make the bars of all dates whose ticks changed after Delta version ``since`` of the ticks, or of all dates.

    May be run again at any time: bars that are stored with equal values are left alone, those that late ticks change
    become new versions, known from the time of the run.

    Parameters
    ----------
    final
        Close all windows, those that the watermark has not reached as well: for days that are over.

    Raises
    ------
    UsageError
        When the interval does not divide a day.
    """
    from aiquant.lake.ledger import touched_dates
    from aiquant.streams import bars

    bars.seconds(interval)
    done = TickBars(interval)
    with journal.station(f"bars of {interval}") as station:
        dates, done.version = touched_dates(workspace.lake, "ticks", since)
        mark = None if final or not dates else _watermark(workspace, max(dates))
        for day in sorted(dates):
            ticks = workspace.lake.read("ticks", where={"date": day})
            made = bars.from_ticks(ticks, interval, mark)
            if made.num_rows:
                written = workspace.lake.write(schemas.BARS, made)
                done.inserted += written.inserted
                done.revised += written.revised
                done.unchanged += written.unchanged
            done.dates += 1
            done.ticks += ticks.num_rows
            journal.progress(station.name)(done.dates, len(dates))
        station.rows = done.inserted + done.revised
    return done


def follow(
    workspace: Workspace,
    journal: Journal,
    interval: str = "1m",
    every: float = 5.0,
    stop: threading.Event | None = None,
) -> TickBars:
    """Run :func:`build` every so many seconds, over the dates that changed, until ``stop`` is set."""
    stop = stop or threading.Event()
    total = TickBars(interval)
    while True:
        done = build(workspace, journal, interval, since=total.version)
        for name in ("dates", "ticks", "inserted", "revised", "unchanged"):
            setattr(total, name, getattr(total, name) + getattr(done, name))
        total.version = done.version
        if stop.wait(every):
            return total


def _watermark(workspace: Workspace, newest: date) -> datetime | None:
    """By the newest date alone: an earlier one has no later event."""
    from aiquant.streams import bars

    ticks = workspace.lake.scan("ticks", ["event_time"], where=pl.col("date") >= newest, ordered=False)
    return bars.watermark(ticks, timedelta(seconds=workspace.settings.stream.lateness_seconds))
