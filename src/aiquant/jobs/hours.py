"""Intraday bars outside of trading hours: features have no slot for them, so by default they are set aside."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import calendars, deadletters
from aiquant.schemas import BARS
from aiquant.settings import DataSettings


def regular(rows: pa.Table, data: DataSettings, source: str) -> tuple[pa.Table, pa.Table]:
    """Bars that close within a session's trading hours, and dead letters of the others.

    With ``data.hours`` = ``all``, and of daily bars, all stay. A closing auction belongs to its session.

    Parameters
    ----------
    rows
        Schema ``bars``.
    source
        What the dead letters name as their source.
    """
    nothing = deadletters.collect([])
    if data.hours == "all" or not rows.num_rows:
        return rows, nothing
    frame = pl.DataFrame(rows.select(["date", "event_time", "interval"]))
    first, last = frame.select(pl.col("date").min().alias("a"), pl.col("date").max().alias("b")).row(0)
    sessions = calendars.sessions(data.calendar, max(first, calendars.FIRST_SESSION), last)
    if not len(sessions):
        return rows, nothing
    moment = frame["event_time"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
    at = sessions.index_of(frame["date"].to_numpy())
    until = sessions.closes[at] + np.timedelta64(sessions.after_close, "us")
    within = (at < 0) | ((moment > sessions.opens[at]) & (moment <= until))
    inside = pl.Series(within) | frame["interval"].str.ends_with("d")
    if inside.all():
        return rows, nothing
    told = pl.DataFrame(rows).filter(~inside)
    told = told.with_columns(
        reason=pl.lit(f"closes outside of the trading hours of {data.calendar} (setting data.hours)"),
        place=pl.format("{}/{}/{}", "symbol", "interval", pl.col("event_time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
    )
    # Without known_from the letter of the same bar, taken in again, is the same letter.
    return rows.filter(inside.to_arrow()), deadletters.from_frame(told.drop("known_from"), BARS, source)
