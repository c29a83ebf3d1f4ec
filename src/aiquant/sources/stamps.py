"""When a bar of a file closed, and to which session it belongs.

The rules, all of them on the safe side (a bar is never said to be known earlier than it was):

- A daily bar with a date (or a time of midnight, as it was written or at the exchange) closes with that session.
- A daily bar with a time closes at that time, but never before its session closes.
- An intraday bar closes at its ``event_time``. A column that names the start (``start_utc``, Polygon's ``t``) or does
  not say which edge it is (``timestamp``, ``date``) is taken as the start, and one interval is added. That is told; and
  a file is refused whose times reach a session's close and never its open, as only ends do.
- A time without a zone is read in ``data.time_zone``; where that is not set the row is bad.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from aiquant import calendars
from aiquant.calendars import Sessions
from aiquant.errors import SettingsError
from aiquant.settings import DataSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAIVE = "has no time zone"
NO_SESSION = "is no session of"

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def length(interval: str) -> timedelta:
    """``15m`` → 15 minutes."""
    return timedelta(**{_UNITS[interval[-1]]: int(interval[:-1])})


def same_interval(text: str) -> str:
    """An interval as vendors write it (``1min``, ``60 minutes``, ``daily``) in our form (``1m``, ``1h``, ``1d``)."""
    plain = text.strip().lower().replace(" ", "")
    plain = {"daily": "1d", "day": "1d", "minute": "1m", "hour": "1h", "hourly": "1h", "d": "1d"}.get(plain, plain)
    found = re.fullmatch(r"(\d+)(m|h|d)(in|ins|inute|inutes|our|ours|r|rs|ay|ays)?", plain)
    if not found:
        return plain
    count, unit = int(found[1]), found[2]
    if unit == "m" and count and count % 60 == 0:
        count, unit = count // 60, "h"
    return f"{count}{unit}"


@dataclass(frozen=True)
class Stamper:
    """Turns what :func:`aiquant.sources.times.parse` read into sessions and closes."""

    data: DataSettings
    now: datetime

    @property
    def daily(self) -> bool:
        """Whether bars are as long as a day or longer."""
        return self.data.interval.endswith("d")

    @cached_property
    def exchange_zone(self) -> str:
        """IANA name of the exchange's zone."""
        return calendars.time_zone(self.data.calendar)

    @cached_property
    def assumed_zone(self) -> str | None:
        """The zone of times that have none; None where it was not said."""
        told = self.data.time_zone
        if told is None or told.lower() == "utc":
            return "UTC" if told else None
        if told.lower() == "exchange":
            return self.exchange_zone
        try:
            return ZoneInfo(told).key
        except (KeyError, OSError, ValueError) as error:  # unknown, a folder, not a key
            raise SettingsError(
                f"setting data.time_zone: {told!r} is no time zone", "use exchange, UTC, or a name like Europe/Berlin"
            ) from error

    @cached_property
    def sessions(self) -> Sessions:
        """All sessions that bars can belong to: from the calendar's first to today."""
        return calendars.sessions(self.data.calendar, calendars.FIRST_SESSION, self.now.date() + timedelta(days=1))

    def stamp(self, told: pl.DataFrame, role: str, dates: pl.Series | None = None) -> pl.DataFrame:
        """Session and close of each bar.

        Parameters
        ----------
        told
            ``written`` and ``instant`` of :func:`aiquant.sources.times.parse`.
        role
            Of the column that was read: ``event_time``, ``start``, ``time`` or ``date``.
        dates
            Sessions (Date) where a column of its own names them.

        Returns
        -------
        ``date``, ``event_time`` (us, UTC), ``reason`` (text; null in a good row), ``timed`` (whether a clock was
        given), ``lifted`` (whether the time lay before the session's close and was moved to it), ``given`` (the time
        before that); of intraday bars whose column does not say which edge it is also ``at_open`` and ``at_close``:
        whether the time is that of a session's open or close.
        """
        instant = self._instants(told)
        if self.daily:
            frame = self._daily(told["written"], instant, role, dates)
        else:
            frame = self._intraday(told["written"], instant, role)
        torn = pl.lit(False)
        if not self.daily and dates is not None:
            torn = (pl.col("date") != dates).fill_null(True)
        return self._judged(frame.with_columns(torn=torn))

    def _instants(self, told: pl.DataFrame) -> pl.Series:
        if self.assumed_zone is None:
            return told["instant"]
        local = told["written"].dt.replace_time_zone(self.assumed_zone, ambiguous="null", non_existent="null")
        return told["instant"].fill_null(local.dt.convert_time_zone("UTC"))

    def _daily(self, written: pl.Series, instant: pl.Series, role: str, dates: pl.Series | None) -> pl.DataFrame:
        at_exchange = pl.col("instant").dt.convert_time_zone(self.exchange_zone)
        frame = pl.DataFrame({"written": written, "instant": instant, "session": self._session_of(instant)})
        closes = pl.Series(self.sessions.closes).dt.replace_time_zone("UTC").implode()
        is_close = pl.col("instant").is_in(closes) if role == "event_time" else pl.lit(False)
        midnight = pl.col("written").dt.truncate("1d") == pl.col("written")
        there = (at_exchange.dt.time() == pl.time(0, 0, 0)).fill_null(False)
        frame = frame.with_columns(is_date=(midnight | there) & ~is_close.fill_null(False), midnight=midnight)
        written_day = pl.when("midnight").then(pl.col("written").dt.date()).otherwise(at_exchange.dt.date())
        frame = frame.with_columns(date=pl.when("is_date").then(written_day).otherwise("session"))
        if dates is not None:
            frame = frame.with_columns(dates.alias("date"))
        frame = frame.with_columns(self._closes_of(frame["date"]))
        given = pl.when(~pl.col("is_date")).then("instant")
        return frame.select(
            "date",
            event_time=pl.when("is_date")
            .then("close")
            .otherwise(pl.max_horizontal(given, pl.when(given.is_not_null()).then("close"))),
            timed=~pl.col("is_date"),
            naive=pl.col("written").is_not_null() & ~pl.col("is_date") & pl.col("instant").is_null(),
            unread=pl.col("written").is_null(),
            lifted=(given < pl.col("close")).fill_null(False),
            given=given,
        )

    def _intraday(self, written: pl.Series, instant: pl.Series, role: str) -> pl.DataFrame:
        event = (
            instant
            if role == "event_time"
            else instant.to_frame("i").select(pl.col("i") + length(self.data.interval))["i"]
        )
        frame = pl.DataFrame({"written": written, "event_time": event, "date": self._session_of(event)})
        unnamed = pl.lit(role in ("time", "date"))
        opens, closes = (pl.Series(at).dt.replace_time_zone("UTC").implode() for at in self._edges())
        frame = frame.with_columns(instant.alias("at"))
        return frame.select(
            "date",
            "event_time",
            timed=pl.col("event_time").is_not_null() | (pl.col("written").dt.truncate("1d") != pl.col("written")),
            naive=pl.col("written").is_not_null() & pl.col("event_time").is_null(),
            unread=pl.col("written").is_null(),
            lifted=pl.lit(False),
            given=pl.col("event_time"),
            at_open=(unnamed & pl.col("at").is_in(opens)).fill_null(False),
            at_close=(unnamed & pl.col("at").is_in(closes)).fill_null(False),
        )

    def _edges(self) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
        """When sessions open, and when they close; neither, where trading never ends."""
        if len(self.sessions) > 1 and (self.sessions.opens[1:] == self.sessions.closes[:-1]).all():
            return self.sessions.opens[:0], self.sessions.closes[:0]
        return self.sessions.opens, self.sessions.closes

    def _session_of(self, instant: pl.Series) -> pl.Series:
        """The session in whose hours a bar closed; outside of all hours the exchange-local date."""
        local = (instant - timedelta(microseconds=1)).dt.convert_time_zone(self.exchange_zone).dt.date()
        if not len(self.sessions):
            return local
        moments = instant.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
        at = np.searchsorted(self.sessions.opens, moments, side="left") - 1
        inside = (at >= 0) & (moments <= self.sessions.closes[np.maximum(at, 0)])
        days = np.where(inside, self.sessions.dates[np.maximum(at, 0)], np.datetime64("NaT", "D"))
        return pl.Series("session", days.astype("datetime64[D]")).cast(pl.Date).fill_null(local)

    def _closes_of(self, days: pl.Series) -> pl.Series:
        at = self.sessions.index_of(days.to_numpy().astype("datetime64[D]"))
        if not len(self.sessions):
            return pl.Series("close", [None] * len(days), dtype=pl.Datetime("us", "UTC"))
        closes = np.where(at >= 0, self.sessions.closes[np.maximum(at, 0)], np.datetime64("NaT", "D"))
        return pl.Series("close", closes.astype("datetime64[us]")).dt.replace_time_zone("UTC")

    def _judged(self, frame: pl.DataFrame) -> pl.DataFrame:
        name = self.data.calendar
        first = pl.Series(self.sessions.dates[:1]).cast(pl.Date).to_list()
        began = first[0] if first else self.now.date()
        known = pl.Series("known", self.sessions.index_of(frame["date"].to_numpy().astype("datetime64[D]")) >= 0)
        late = pl.col("event_time") > self.now
        reason = (
            pl.when(pl.col("unread"))
            .then(pl.lit("unread"))
            .when("naive")
            .then(pl.lit(NAIVE))
            .when(pl.col("date").is_null())
            .then(pl.lit("date is missing or cannot be read"))
            .when("torn")
            .then(pl.format("date {} and the time name different sessions", "date"))
            .when(pl.col("date") > self.now.date())
            .then(pl.format("{} lies in the future", "date"))
            .when(pl.col("date") < began)
            .then(
                pl.format("{} lies before {}, where the calendar {} begins", "date", pl.lit(str(began)), pl.lit(name))
            )
            .when(~pl.col("known"))
            .then(pl.format("{} {} {}", "date", pl.lit(NO_SESSION), pl.lit(name)))
            .when(late)
            .then(pl.format("{} lies in the future: the bar has not closed yet", "date"))
            .when(pl.col("event_time").is_null())
            .then(pl.lit("time cannot be read"))
        )
        edges = [name for name in ("at_open", "at_close") if name in frame.columns]
        told = frame.with_columns(known)
        return told.select("date", "event_time", "timed", "lifted", "given", *edges, reason=reason)


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)
