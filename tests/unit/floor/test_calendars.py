"""Sessions: half days, holidays, time zones, and years that are counted."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from aiquant import calendars
from aiquant.errors import DataError, SettingsError


def test_closes_follow_daylight_saving_and_half_days() -> None:
    found = calendars.sessions("XNYS", date(2024, 11, 25), date(2024, 12, 2))
    # Thanksgiving (28th) is closed, the day after it closes at 13:00 New York time.
    assert [str(d) for d in found.dates] == ["2024-11-25", "2024-11-26", "2024-11-27", "2024-11-29", "2024-12-02"]
    assert str(found.closes[0]) == "2024-11-25T21:00:00.000000"
    assert str(found.closes[3]) == "2024-11-29T18:00:00.000000"
    summer = calendars.sessions("XNYS", date(2024, 7, 1), date(2024, 7, 1))
    assert str(summer.closes[0]) == "2024-07-01T20:00:00.000000"
    assert str(summer.opens[0]) == "2024-07-01T13:30:00.000000"


def test_the_storm_of_2012_has_no_sessions() -> None:
    found = calendars.sessions("XNYS", date(2012, 10, 26), date(2012, 10, 31))
    assert [str(d) for d in found.dates] == ["2012-10-26", "2012-10-31"]


def test_a_year_is_what_the_calendar_counts() -> None:
    assert calendars.sessions("XNYS", date(1990, 1, 1), date(2022, 12, 31)).per_year == pytest.approx(251.7)
    assert calendars.sessions("24/7", date(2015, 1, 1), date(2022, 12, 31)).per_year == pytest.approx(365.25, abs=0.3)


def test_index_of_tells_sessions_from_other_days() -> None:
    found = calendars.sessions("XNYS", date(2024, 1, 1), date(2024, 1, 5))
    asked = np.array(["2023-12-29", "2024-01-01", "2024-01-02", "2024-01-05", "2024-01-06"], dtype="datetime64[D]")
    assert found.index_of(asked).tolist() == [-1, -1, 0, 3, -1]


def test_an_unknown_calendar_is_named() -> None:
    with pytest.raises(SettingsError, match="XNYC"):
        calendars.sessions("XNYC", date(2024, 1, 1), date(2024, 1, 5))


def test_dates_before_the_calendar_are_refused() -> None:
    with pytest.raises(DataError, match="1970"):
        calendars.sessions("XNYS", date(1970, 1, 1), date(2024, 1, 5))
