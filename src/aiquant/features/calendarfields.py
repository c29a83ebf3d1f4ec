"""Calendar fields: what a slot knows of its place in the session, the month and the quarter.

They come from the exchange's calendar, which is published ahead; a closing that nobody expected is in it as it is known
today.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant import calendars
from aiquant.features.grid import Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MINUTE = np.timedelta64(1, "m")
_MARGIN = timedelta(days=40)
"""No exchange is closed for longer between two sessions."""


def column(axis: Axis, name: str) -> NDArray[np.float64]:
    """The calendar field ``name`` of every slot of ``axis``, float64, (slots,)."""
    if name not in axis.cache:
        sessions = axis.sessions
        if not len(sessions):
            axis.cache[name] = np.zeros(0)
        elif name in _OF_SLOT:
            axis.cache[name] = _OF_SLOT[name](axis)
        else:
            wide = _around(sessions)
            inside = wide.index_of(sessions.dates)
            axis.cache[name] = np.repeat(_OF_SESSION[name](wide)[inside].astype(np.float64), np.diff(axis.first))
    found: NDArray[np.float64] = axis.cache[name]
    return found


def _around(sessions: calendars.Sessions) -> calendars.Sessions:
    """The sessions with those of the whole quarters around, and of one more on either side: what is left in a month
    must not depend on where the bars end."""
    first, last = sessions.dates[0].item(), sessions.dates[-1].item()
    start = date(first.year, 3 * ((first.month - 1) // 3) + 1, 1) - _MARGIN
    return calendars.sessions(
        sessions.calendar, max(start, calendars.FIRST_SESSION), last + timedelta(days=92) + _MARGIN
    )


def _months(sessions: calendars.Sessions) -> NDArray[np.int64]:
    return sessions.dates.astype("datetime64[M]").astype(np.int64)


def _place(sessions: calendars.Sessions) -> NDArray[Any]:
    month = _months(sessions)
    return np.arange(len(month)) - np.searchsorted(month, month) + 1


def _left(period: NDArray[np.int64]) -> NDArray[Any]:
    return np.searchsorted(period, period, side="right") - 1 - np.arange(len(period))


def _gap(sessions: calendars.Sessions) -> NDArray[np.float64]:
    days = np.diff(sessions.dates).astype(np.float64)
    return np.concatenate([[np.nan], days, [np.nan]])


_OF_SESSION: dict[str, Callable[[calendars.Sessions], NDArray[Any]]] = {
    "weekday": lambda s: (s.dates.astype(np.int64) + 3) % 7 + 1,  # 1970-01-01 was a Thursday
    "month": lambda s: _months(s) % 12 + 1,
    "session_of_month": _place,
    "sessions_left_in_month": lambda s: _left(_months(s)),
    "sessions_left_in_quarter": lambda s: _left(_months(s) // 3),
    "days_since_session": lambda s: _gap(s)[:-1],
    "days_to_session": lambda s: _gap(s)[1:],
    "session_minutes": lambda s: (s.closes - s.opens) / _MINUTE,
}


def _since_open(axis: Axis) -> NDArray[np.float64]:
    opens = np.repeat(axis.sessions.opens, np.diff(axis.first))
    minutes: NDArray[np.float64] = (axis.slots.closes - opens) / _MINUTE
    return minutes


def _to_close(axis: Axis) -> NDArray[np.float64]:
    closes = np.repeat(axis.sessions.closes, np.diff(axis.first))
    minutes: NDArray[np.float64] = (closes - axis.slots.closes) / _MINUTE
    return np.maximum(minutes, 0.0)


_OF_SLOT: dict[str, Callable[[Axis], NDArray[np.float64]]] = {
    "minute_of_session": _since_open,
    "minutes_left": _to_close,
}
