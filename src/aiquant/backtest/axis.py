"""The bars that an account steps through: sessions, or the bars inside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aiquant.backtest.targets import Targets
from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.settings.base import span

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Axis:
    """Bars in ascending order, shape (t,) each.

    Attributes
    ----------
    session
        Place of each bar's session among all sessions, int64.
    dates
        ``datetime64[D]``: of the sessions.
    opens, closes
        ``datetime64[us]``, UTC.
    daily
        Whether each bar is a session.
    """

    session: NDArray[np.int64]
    dates: NDArray[np.datetime64]
    opens: NDArray[np.datetime64]
    closes: NDArray[np.datetime64]
    daily: bool

    def __len__(self) -> int:
        return len(self.dates)

    @property
    def session_end(self) -> NDArray[np.bool_]:
        """Whether a session ends with the bar."""
        return np.append(self.session[1:] != self.session[:-1], True)[: len(self)]

    @property
    def bars_a_session(self) -> int:
        """Bars of the longest session."""
        return 1 if self.daily or not len(self) else int(np.unique(self.session, return_counts=True)[1].max())

    def part(self, first: int, end: int) -> Axis:
        """The bars from ``first`` to before ``end``."""
        s = slice(first, end)
        return Axis(self.session[s], self.dates[s], self.opens[s], self.closes[s], self.daily)

    def places(self, targets: Targets) -> NDArray[np.int64]:
        """The bar at whose close each decision of ``targets`` is made, int64, shape (d,).

        A decision of a date is made at the close of the session's last bar. One of a moment is made at the last close
        before it, unless the next bar has opened by then: it could not fill at that open, so it is made at that bar's
        close.

        Raises
        ------
        DataError
            When two decisions fall on the same bar.
        """
        if self.daily:
            return targets.sessions
        last = np.searchsorted(self.session, targets.sessions, side="right") - 1
        if targets.moments is None:
            return np.maximum(last, 0).astype(np.int64)
        at = np.searchsorted(self.closes, targets.moments, side="right") - 1
        following = np.minimum(at + 1, len(self) - 1)
        at = np.where((at + 1 < len(self)) & (self.opens[following] < targets.moments), following, at)
        again = np.flatnonzero(np.diff(at) == 0)
        if len(again):
            raise DataError(
                f"two decisions, of {targets.moments[again[0]]} and {targets.moments[again[0] + 1]}, fall on one bar",
                "decide once a bar",
            )
        return np.maximum(at, 0).astype(np.int64)


def of_sessions(sessions: Sessions) -> Axis:
    """A bar for each session."""
    return Axis(np.arange(len(sessions)), sessions.dates, sessions.opens, sessions.closes, daily=True)


def of_moments(moments: NDArray[np.datetime64], sessions: Sessions, session: NDArray[np.int64], interval: str) -> Axis:
    """A bar for each distinct close.

    Parameters
    ----------
    moments, session
        Closes of bars and the places of their sessions, in any order, with repetitions.
    """
    closes, first = np.unique(moments.astype("datetime64[us]"), return_index=True)
    at = session[first].astype(np.int64)
    if (np.diff(at) < 0).any():
        wrong = int(np.flatnonzero(np.diff(at) < 0)[0])
        raise DataError(
            f"bars: one that closes at {closes[wrong + 1]} belongs to an earlier date than one of {closes[wrong]}",
            "take the bars in with the calendar of their exchange",
        )
    return Axis(
        at, sessions.dates[at], (closes - np.timedelta64(span(interval))).astype("datetime64[us]"), closes, daily=False
    )
