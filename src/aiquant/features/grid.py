"""Bars → a dense grid: each symbol's sessions from its first bar to its last, laid end to end.

Windows count slots of the exchange calendar, not rows: a session on which a symbol did not trade is a slot without
values. For daily bars a slot is a session; for intraday bars it is one interval of a session's trading hours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute

from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.features.fields import ATTACHED, BAR, CALENDAR

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MINUTES = {"m": 1, "h": 60}
_US = np.timedelta64(1, "us")


@dataclass(frozen=True)
class Slots:
    """The time axis: slots of the calendar in ascending order.

    Attributes
    ----------
    opens, closes
        ``datetime64[us]``, UTC: where each slot begins and ends.
    """

    opens: NDArray[np.datetime64]
    closes: NDArray[np.datetime64]


NO_SESSION, OUTSIDE = -1, -2
"""In the place of a slot: the day is no session; the bar closes outside of the session's trading hours."""


class Axis:
    """Where bars of one interval stand on the calendar.

    A daily bar stands in the slot of its session. An intraday bar stands in the slot of its session's trading hours in
    which it closes. Where trading goes on after the calendar's close (:attr:`aiquant.calendars.Sessions.after_close`:
    the closing auctions of European exchanges), each session has one more slot behind its last one for what closes
    then.

    Parameters
    ----------
    sessions
        The sessions that are numbered.
    interval
        ``1d``, ``1m``, ``5m``, ``1h`` …

    Attributes
    ----------
    first
        int64, (sessions + 1,): the slot in which each session begins.
    per_session
        The most slots that a session of this calendar has, whether or not it is among ``sessions``.
    cache
        What was computed of the axis, by name.
    """

    def __init__(self, sessions: Sessions, interval: str) -> None:
        self.sessions = sessions
        self.interval = interval
        self.daily = interval.endswith("d")
        self.cache: dict[str, Any] = {}
        self.per_session = 1
        if self.daily:
            self.first: NDArray[np.int64] = np.arange(len(sessions) + 1)
            return
        self._step = np.timedelta64(int(interval[:-1]) * _MINUTES[interval[-1]], "m")
        length = ((sessions.closes - sessions.opens) / _US).astype(np.int64)
        self._regular = -(-length // int(self._step / _US))
        more = 1 if sessions.after_close else 0
        longest = max(sessions.longest_us, int(length.max(initial=1)))
        self.per_session = -(-longest // int(self._step / _US)) + more
        self.first = np.concatenate([[0], np.cumsum(self._regular + more)]).astype(np.int64)

    def place(self, date: NDArray[np.datetime64], moment: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Slot of each bar; :data:`NO_SESSION` or :data:`OUTSIDE` where it has none.

        Parameters
        ----------
        date
            ``datetime64[D]``, (bars,).
        moment
            ``datetime64[us]``, (bars,), UTC: when each bar closed.
        """
        day = self.sessions.index_of(date)
        if self.daily or not len(self.sessions):
            return day
        close = self.sessions.closes[day]
        since = ((moment.astype("datetime64[us]") - self.sessions.opens[day]) / _US).astype(np.int64)
        within = -(-since // int(self._step / _US)) - 1  # a bar closes at the end of its slot
        regular = self._regular[day]
        late = (within >= regular) & (moment <= close + np.timedelta64(self.sessions.after_close, "us"))
        within = np.where(late, regular, within)
        inside = late | ((within >= 0) & (within < regular))
        slot: NDArray[np.int64] = np.where(day < 0, NO_SESSION, np.where(inside, self.first[day] + within, OUTSIDE))
        return slot

    def sessions_of(self, slots: int) -> int:
        """Sessions that hold that many slots, whichever they are."""
        if self.daily or not slots or not len(self.sessions):
            return slots
        return -(-slots // int(np.diff(self.first).min()))

    @cached_property
    def slots(self) -> Slots:
        """Where the slots begin and end."""
        sessions = self.sessions
        if self.daily:
            return Slots(sessions.opens, sessions.closes)
        of_session = np.repeat(np.arange(len(sessions)), np.diff(self.first))
        place = np.arange(self.first[-1]) - self.first[of_session]
        close = sessions.closes[of_session]
        opens = np.minimum(sessions.opens[of_session] + place * self._step, close)
        late = place == self._regular[of_session]
        end = close + np.timedelta64(sessions.after_close, "us")
        return Slots(opens, np.where(late, end, np.minimum(opens + self._step, close)))


@dataclass(frozen=True)
class History:
    """What is known of bars that are not given because they lie too far back to count.

    With it the values of later rows are those of a computation on all bars, however long a symbol was suspended.

    Attributes
    ----------
    origin
        Bars of this session and later ones are given.
    first
        ``symbol``, ``date``, ``event_time``: the first bar that each symbol ever had.
    """

    origin: date
    first: pl.DataFrame


@dataclass(frozen=True)
class Grid:
    """Histories of symbols, end to end.

    Attributes
    ----------
    rows
        The bars, sorted by symbol and event_time: one row each.
    symbols
        Their symbols, sorted.
    starts
        int64, (symbols + 1,): where each symbol's cells begin.
    row_starts
        int64, (symbols + 1,): where each symbol's rows begin.
    slot
        int64, (cells,): position of each cell on the time axis.
    cell
        int64, (rows,): cell of each bar.
    axis
        The time axis.
    before
        int64, (symbols,): slots between each symbol's first bar ever and its first cell.
    """

    rows: pl.DataFrame
    symbols: list[str]
    starts: NDArray[np.int64]
    row_starts: NDArray[np.int64]
    slot: NDArray[np.int64]
    cell: NDArray[np.int64]
    axis: Axis
    before: NDArray[np.int64]
    _values: dict[str, NDArray[np.float64]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def slots(self) -> Slots:
        """Where the slots of the time axis begin and end."""
        return self.axis.slots

    @property
    def size(self) -> int:
        """Number of cells."""
        return int(self.starts[-1])

    def age(self, first: int = 0, last: int | None = None) -> NDArray[np.int64]:
        """Slots since its symbol's first bar of each cell, for the symbols ``first`` to ``last`` (exclusive)."""
        starts = self.starts[first : None if last is None else last + 1]
        lengths = np.diff(starts)
        born = starts[:-1] - starts[0] - self.before[first:last]
        age: NDArray[np.int64] = np.arange(int(lengths.sum())) - np.repeat(born, lengths)
        return age

    def column(self, name: str, first: int = 0, last: int | None = None) -> NDArray[np.float64]:
        """A field on the grid, for the symbols ``first`` to ``last`` (exclusive).

        NaN where no bar is, but for calendar fields.
        """
        last = len(self.symbols) if last is None else last
        rows = slice(int(self.row_starts[first]), int(self.row_starts[last]))
        begin, end = int(self.starts[first]), int(self.starts[last])
        if name in CALENDAR:
            from aiquant.features import calendarfields

            return calendarfields.column(self.axis, name)[self.slot[begin:end]]
        if name not in self.rows.columns:  # an attached field that nothing was attached for
            return np.full(end - begin, np.nan)
        if name not in self._values:
            # What comes from Arrow cannot be written to, which the kernels' signatures do not take.
            told = self.rows[name].cast(pl.Float64).fill_null(np.nan)
            self._values[name] = told.to_numpy(writable=True)
        values = self._values[name][rows]
        if len(values) == end - begin:
            return values
        from aiquant.features.kernels.laying import lay

        grid = np.empty(end - begin)
        lay(values, self.cell[rows], begin, grid)
        return grid


def build(bars: pa.Table, sessions: Sessions, history: History | None = None) -> Grid:
    """Lay bars out on the calendar.

    Parameters
    ----------
    bars
        Rows of :data:`aiquant.schemas.BARS` of one interval, in any order.
    sessions
        The sessions in which they lie, and their symbols' first bars.
    history
        What there was before the bars; by default nothing.

    Raises
    ------
    DataError
        When bars of several intervals are mixed, a bar stands twice, or a bar lies outside of the sessions.
    """
    wanted = ["symbol", "date", "event_time", "adjustment", *BAR, *ATTACHED]
    frame = pl.DataFrame(pl.from_arrow(bars.select([c for c in wanted if c in bars.column_names])))
    frame = frame.with_columns(pl.lit(None, pl.Float64).alias(f) for f in BAR if f not in frame.columns)
    runs = frame["symbol"].rle()
    if not _in_order(frame, runs):
        frame = frame.sort("symbol", "event_time")
        runs = frame["symbol"].rle()
    axis = Axis(sessions, _interval(bars))
    slot = _slots(frame, axis)
    lengths = runs.struct.field("len").to_numpy().astype(np.int64)
    row_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    symbols = runs.struct.field("value").to_list()
    _refuse_repeats(frame, slot, row_starts)
    if not symbols:
        none = np.zeros(0, dtype=np.int64)
        return Grid(frame, [], np.zeros(1, dtype=np.int64), row_starts, none, none, axis, none)
    first, last = slot[row_starts[:-1]], slot[row_starts[1:] - 1]
    first, before = _looking_back(symbols, first, axis, history)
    starts = np.concatenate([[0], np.cumsum(last - first + 1)]).astype(np.int64)
    shift = starts[:-1] - first
    cell = slot + np.repeat(shift, lengths)
    on_axis = np.arange(starts[-1], dtype=np.int64) - np.repeat(shift, np.diff(starts))
    return Grid(frame, symbols, starts, row_starts, on_axis, cell, axis, before)


def _looking_back(
    symbols: list[str], first: NDArray[np.int64], axis: Axis, history: History | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slot of each symbol's first cell, and the slots of its history before that.

    A symbol that is older than the origin begins there, though its first given bar may come later: slots without a bar
    count as well.
    """
    if history is None:
        return first, np.zeros(len(symbols), dtype=np.int64)
    told = pl.DataFrame({"symbol": symbols}).join(history.first, on="symbol", how="left", maintain_order="left")
    known = told["date"].is_not_null().to_numpy()
    listed = first.copy()
    listed[known] = np.minimum(_slots(told.filter(known), axis), first[known])
    origin = axis.first[int(np.searchsorted(axis.sessions.dates, np.datetime64(history.origin, "D")))]
    begin = np.where(listed < origin, np.minimum(origin, first), first)
    return begin, begin - listed


def _in_order(frame: pl.DataFrame, runs: pl.Series) -> bool:
    """Whether rows stand by symbol and event_time already, as the lake gives them: sorting text is slow."""
    symbols, lengths = runs.struct.field("value"), runs.struct.field("len").to_numpy()
    if not (symbols > symbols.shift(1)).fill_null(True).all():
        return False
    later = np.diff(frame["event_time"].to_physical().to_numpy()) > 0
    later[np.cumsum(lengths[:-1], dtype=np.int64) - 1] = True
    return bool(later.all())


def _interval(bars: pa.Table) -> str:
    """The one interval of the bars."""
    intervals = pa.compute.unique(bars["interval"]).to_pylist()
    if len(intervals) > 1:
        raise DataError(
            f"bars of several intervals are mixed: {', '.join(sorted(intervals))}",
            "choose one with the setting data.interval",
        )
    return str(intervals[0]) if intervals else "1d"


def _slots(frame: pl.DataFrame, axis: Axis) -> NDArray[np.int64]:
    """Slot of each row."""
    moment = frame["event_time"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()
    slot = axis.place(frame["date"].to_numpy(), moment.view("datetime64[us]"))
    calendar = axis.sessions.calendar
    _refuse(frame, slot == NO_SESSION, f"on a day that is no session of {calendar}", _CALENDAR)
    _refuse(frame, slot == OUTSIDE, f"outside of the trading hours of {calendar}", _HOURS)
    return slot


_CALENDAR = "set data.calendar to the exchange of these bars"
_HOURS = (
    f"{_CALENDAR}; if their times are the end of each bar and were read as its start, or there is trading before or "
    "after hours among them, take them into a new workspace, with --column event_time=COLUMN and data.hours=regular"
)


def _refuse(frame: pl.DataFrame, bad: NDArray[np.bool_], where: str, remedy: str) -> None:
    if not bad.any():
        return
    row = frame.row(int(np.argmax(bad)), named=True)
    raise DataError(
        f"{int(bad.sum())} bar(s) lie {where}, the first is {row['symbol']} on {row['date']} at {row['event_time']}",
        remedy,
    )


def _refuse_repeats(frame: pl.DataFrame, slot: NDArray[np.int64], row_starts: NDArray[np.int64]) -> None:
    again = np.diff(slot, prepend=-1) <= 0
    again[row_starts[:-1]] = False
    if again.any():
        row = frame.row(int(np.argmax(again)), named=True)
        raise DataError(
            f"{int(again.sum())} bar(s) stand more than once, the first is {row['symbol']} at {row['event_time']}",
            "read the bars from the lake, which gives the newest version of each",
        )
