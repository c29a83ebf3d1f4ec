"""Bars of the lake, slot by slot: where live features begin, and what they go back to when a bar comes late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import calendars, deadletters, schemas
from aiquant.features import attaching, fields, grid
from aiquant.features.catalogue import FeatureSet
from aiquant.features.live import LiveSet
from aiquant.jobs import feature_plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.lake import Lake
    from aiquant.settings import Settings

AHEAD = timedelta(days=800)
"""How far the calendar of a process reaches: it is read anew at each start."""
_TOGETHER = 400
"""Slots that are read from the lake at a time."""
SOURCE = "live"
"""Source of dead letters of bars that have no slot."""
SLOT = "slot"


def axis(settings: Settings) -> grid.Axis:
    """The slots of the workspace's bars, from the calendar's beginning on, so that a slot keeps its number."""
    last = datetime.now(UTC).date() + AHEAD
    sessions = calendars.sessions(settings.data.calendar, calendars.FIRST_SESSION, last)
    return grid.Axis(sessions, settings.data.interval)


def placed(bars: pa.Table, where: grid.Axis) -> tuple[pl.DataFrame, pa.Table]:
    """Bars with the number of their slot, the newest version of each, and dead letters of those that have none.

    Of two bars of a symbol that close in one slot the earlier counts.

    Returns
    -------
    good, letters
        ``good`` has the columns of the bars and ``slot``, sorted by slot and symbol.
    """
    frame = pl.DataFrame(pl.from_arrow(bars)).sort("known_from", maintain_order=True)
    frame = frame.unique(list(schemas.BARS.key), keep="last", maintain_order=True)
    moment = frame["event_time"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
    slot = pl.Series(SLOT, where.place(frame["date"].to_numpy(), moment.astype("datetime64[us]")), pl.Int64)
    frame = frame.with_columns(slot).sort(SLOT, "symbol", "event_time")
    second = (
        (pl.col(SLOT) >= 0) & pl.struct(SLOT, "symbol").is_duplicated() & ~pl.struct(SLOT, "symbol").is_first_distinct()
    )
    calendar = where.sessions.calendar
    reason = (
        pl.when(pl.col(SLOT) == grid.NO_SESSION)
        .then(pl.lit(f"no features: its day is no session of {calendar}"))
        .when(pl.col(SLOT) == grid.OUTSIDE)
        .then(pl.lit(f"no features: it lies outside of the trading hours of {calendar}"))
        .when(second)
        .then(pl.lit("no features: another bar of the symbol closed in the same slot before"))
    )
    told = frame.with_columns(reason.alias("reason"))
    bad = told.filter(pl.col("reason").is_not_null()).drop(SLOT)
    name = pl.format("bars: {} at {}", "symbol", pl.col("event_time").dt.to_string("iso:strict"))
    letters = deadletters.from_frame(bad.with_columns(name.alias("place")), schemas.BARS, SOURCE)
    return told.filter(pl.col("reason").is_null()).drop("reason"), letters


@dataclass(frozen=True)
class History:
    """Bars of one interval in the lake, their newest versions.

    Attributes
    ----------
    axis
        Numbers their slots.
    sentiment_model
        Whose scores count, where several models scored the news.
    """

    lake: Lake
    axis: grid.Axis
    sentiment_model: str | None = None
    _events: dict[str, tuple[int, pa.Table]] = field(default_factory=dict, repr=False, compare=False)

    def ready(self, bars: pl.DataFrame, chosen: FeatureSet) -> pa.Table:
        """Bars with slots as a set takes them: with the attached fields that it reads.

        An event counts in the first bar that closes after it, so the bars of the session before are looked at too.
        """
        if not fields.tables(chosen.fields):
            return as_bars(bars)
        first = int(bars[SLOT].min())  # type: ignore[arg-type]
        session = int(np.searchsorted(self.axis.first, first, side="right")) - 1
        earlier = list(self.bars(int(self.axis.first[max(0, session - 1)]), first - 1))
        whole = pl.concat([*earlier, bars.select(SLOT, *(n for n in bars.columns if n != SLOT))], how="diagonal")
        return self.attach(as_bars(whole), chosen).slice(whole.height - bars.height)

    def attach(self, bars: pa.Table, chosen: FeatureSet) -> pa.Table:
        """Bars with the attached fields of the set, an event counting in the first of these that closes after it."""
        found: dict[str, pa.Table | None] = {}
        for name in fields.tables(chosen.fields):
            version = self.lake.version(feature_plan.named(name))
            if version is not None and self._events.get(name, (-1, None))[0] != version:
                self._events[name] = version, self.lake.read(feature_plan.named(name), version=version, history=True)
            found[name] = None if version is None else self._events[name][1]
        return attaching.attach(bars, chosen.fields, found, self.axis.sessions, self.sentiment_model)

    def bars(
        self, first: int, last: int | None = None, letters: list[pa.Table] | None = None
    ) -> Iterator[pl.DataFrame]:
        """The bars of the slots ``first`` to ``last`` (both included; None: to the newest), some slots at a time.

        Parameters
        ----------
        letters
            Takes the dead letters of bars of these days that have no slot.

        Yields
        ------
        polars.DataFrame
            As :func:`placed`; bars without a slot are left out.
        """
        days = self.days(first, last)
        step = max(1, _TOGETHER // int(np.diff(self.axis.first).max(initial=1)))
        for at in range(0, len(days), step):
            part = days[at : at + step]
            where = (pl.col("interval") == self.axis.interval) & pl.col("date").is_between(part[0], part[-1])
            good, bad = placed(self.lake.read(schemas.BARS, where=where), self.axis)
            if letters is not None:
                letters.append(bad)
            good = good.filter(pl.col(SLOT) >= first)
            good = good if last is None else good.filter(pl.col(SLOT) <= last)
            if good.height:
                yield good

    def begun(self) -> pl.DataFrame:
        """``symbol``, ``date``, ``event_time`` of the first bar of each symbol that has a slot."""
        rows = self.lake.scan(schemas.BARS, ["symbol", "date", "event_time"], self._own(), ordered=False, history=True)
        sessions = self.axis.sessions
        days = pl.DataFrame({"date": sessions.dates, "open": sessions.opens, "close": sessions.closes}).with_columns(
            pl.col("open", "close").dt.replace_time_zone("UTC")
        )
        rows = rows.join(days.lazy(), on="date")
        if not self.axis.daily:
            end = pl.col("close") + (timedelta(microseconds=sessions.after_close) or timedelta(hours=1))
            rows = rows.filter((pl.col("event_time") > pl.col("open")) & (pl.col("event_time") <= end))
        first = rows.group_by("symbol").agg(pl.col("date", "event_time").sort_by("event_time").first())
        return first.sort("symbol").collect()

    def first(self) -> dict[str, int]:
        """Slot of the first bar of each symbol."""
        found = self.begun()
        moment = found["event_time"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        slots = self.axis.place(found["date"].to_numpy(), moment.astype("datetime64[us]"))
        return {symbol: int(slot) for symbol, slot in zip(found["symbol"], slots, strict=True) if slot >= 0}

    def slot_of(self, day: date, moment: datetime) -> int:
        """Slot of a bar that closed at ``moment`` (UTC) of a session's ``day``; negative where there is none."""
        when = np.array([moment.astimezone(UTC).replace(tzinfo=None)], dtype="datetime64[us]")
        return int(self.axis.place(np.array([day], dtype="datetime64[D]"), when)[0])

    def first_of(self, day: date) -> int:
        """The first slot of the session of a day, or of the next one."""
        return int(self.axis.first[np.searchsorted(self.axis.sessions.dates, np.datetime64(day, "D"))])

    def before(self, slot: int, feature_set: FeatureSet, actions: pa.Table | None, qlib_compat: bool) -> LiveSet:
        """A set that has seen all that it looks back at from ``slot`` on: what it is to be pushed next."""
        live = LiveSet(feature_set, self.axis.sessions, self.axis.interval, actions, qlib_compat)
        start = max(0, slot - live.lookback)
        live.begin(start, {symbol: first for symbol, first in self.first().items() if first < start})
        for bars in self.bars(start, slot - 1):
            live.push(self.ready(bars, feature_set))
        return live

    def _own(self) -> pl.Expr:
        return pl.col("interval") == self.axis.interval

    def days(self, first: int, last: int | None = None) -> list[date]:
        """Dates of sessions with bars that hold these slots."""
        sessions = np.searchsorted(self.axis.first, [first, len(self) - 1 if last is None else last], side="right") - 1
        dates: NDArray[np.datetime64] = self.axis.sessions.dates[max(0, sessions[0]) : sessions[1] + 1]
        if not len(dates):
            return []
        low, high = dates[0].item(), dates[-1].item()
        within = self._own() & pl.col("date").is_between(low, high)
        rows = self.lake.scan(schemas.BARS, ["date"], within, ordered=False, history=True)
        return rows.unique().sort("date").collect()["date"].to_list()

    def __len__(self) -> int:
        return int(self.axis.first[-1])


def as_bars(frame: pl.DataFrame) -> pa.Table:
    """Bars as Arrow, without their slots."""
    return frame.drop(SLOT).to_arrow(compat_level=pl.CompatLevel.oldest())
