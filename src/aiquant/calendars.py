"""Sessions of the exchange calendar: the only source of trading days, closes and annualisation.

Sessions come from the library exchange_calendars; a name is an ISO 10383 code ("XNYS", "XETR") or "24/7".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.errors import DataError, SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

AFTER_CLOSE = frozenset(
    ("XETR", "XFRA", "XLON", "XDUB", "XPAR", "XAMS", "XBRU", "XLIS", "XMIL", "XMAD", "XWBO", "XHKG", "XASX")
)
"""Exchanges whose sessions, by the calendar, end with continuous trading: the closing auction follows."""
_AUCTION_US = 5 * 3_600_000_000

FIRST_SESSION = date(1980, 1, 1)  # exchange_calendars looks back 20 years unless told otherwise


@dataclass(frozen=True)
class Sessions:
    """Sessions of one calendar in ascending order.

    Attributes
    ----------
    calendar
        Name of the calendar.
    dates
        ``datetime64[D]``, shape (n,): the exchange-local dates of the sessions.
    opens, closes
        ``datetime64[us]``, shape (n,), UTC: the first and the last moment of each session.
    per_year
        Sessions per year, counted over the calendar's own last ten whole years before the last session.
    longest_us
        Microseconds of the longest session of the calendar, whichever sessions these are; 0 where that is not known.
    """

    calendar: str
    dates: NDArray[np.datetime64]
    opens: NDArray[np.datetime64]
    closes: NDArray[np.datetime64]
    per_year: float
    longest_us: int = 0

    @property
    def after_close(self) -> int:
        """Microseconds after each close in which bars still belong to the session; 0 where none do.

        Five hours on exchanges whose closing auction lies behind the calendar's close, which is also where their
        vendors put trades that were reported in the evening.
        """
        return _AUCTION_US if self.calendar in AFTER_CLOSE else 0

    def __len__(self) -> int:
        return len(self.dates)

    def index_of(self, days: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Position of each day among the sessions, −1 for a day that is no session. Shape as ``days``."""
        days = days.astype("datetime64[D]")
        if not len(self.dates):
            return np.full(days.shape, -1, dtype=np.int64)
        # A table of all days between the first session and the last, with one more on either side for all others.
        first = self.dates[0].astype(np.int64) - 1
        position = np.full(int(self.dates[-1].astype(np.int64) - first) + 2, -1, dtype=np.int64)
        position[self.dates.astype("datetime64[D]").astype(np.int64) - first] = np.arange(len(self.dates))
        found: NDArray[np.int64] = np.take(position, days.astype(np.int64) - first, mode="clip")
        return found


def names() -> list[str]:
    """The names of all calendars that can be asked for."""
    import exchange_calendars

    return sorted(exchange_calendars.get_calendar_names(include_aliases=True))


@lru_cache(maxsize=8)
def _calendar(name: str, last: date) -> Any:
    import exchange_calendars
    from exchange_calendars.errors import CalendarError

    try:
        return exchange_calendars.get_calendar(name, start=FIRST_SESSION.isoformat(), end=last.isoformat())
    except ValueError:  # calendars that know no day before a later one (24/7 and XNYS know all)
        return exchange_calendars.get_calendar(name, end=last.isoformat())
    except CalendarError as error:
        raise SettingsError(
            f"setting calendar: no exchange calendar is named {name!r}",
            "use an ISO 10383 code such as XNYS, XNAS, XETR, XLON, or 24/7",
        ) from error


def time_zone(calendar: str) -> str:
    """IANA name of the exchange's time zone (``XNYS`` → ``America/New_York``).

    Raises
    ------
    SettingsError
        When no calendar has that name.
    """
    return str(_calendar(calendar, date(_today().year + 1, 12, 31)).tz)


@lru_cache(maxsize=32)
def sessions(calendar: str, first: date, last: date) -> Sessions:
    """All sessions of ``calendar`` from ``first`` to ``last``, both included.

    Raises
    ------
    SettingsError
        When no calendar has that name.
    DataError
        When ``first`` lies before 1980, where no calendar is kept.
    """
    if first < FIRST_SESSION:
        raise DataError(
            f"a date of {first} lies before {FIRST_SESSION}, where the calendar {calendar} begins",
            "leave older bars out",
        )
    whole = _calendar(calendar, date(max(last, _today()).year + 1, 12, 31))
    schedule = whole.schedule.loc[first.isoformat() : last.isoformat()]
    return Sessions(
        calendar=calendar,
        dates=schedule.index.to_numpy().astype("datetime64[D]"),
        opens=_utc(schedule["open"]),
        closes=_utc(schedule["close"]),
        per_year=_per_year(whole, last),
        longest_us=int((whole.schedule["close"] - whole.schedule["open"]).max().value) // 1000,
    )


def _utc(column: Any) -> NDArray[np.datetime64]:
    moments: NDArray[np.datetime64] = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    return moments.astype("datetime64[us]")


def _today() -> date:
    return datetime.now(UTC).date()


def _per_year(calendar: Any, last: date) -> float:
    dates = calendar.schedule.index
    end = last.year - 1
    start = max(end - 9, dates[0].year + 1)
    counted = dates[(dates.year >= start) & (dates.year <= end)]
    return len(counted) / (end - start + 1) if len(counted) else len(dates) / (len(set(dates.year)) or 1)
