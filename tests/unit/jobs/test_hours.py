"""Minute bars whose times do not say what they are, and bars outside of trading hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from aiquant.errors import DataError
from aiquant.jobs import features, ingest, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

OPEN = datetime(2020, 1, 2, 14, 30, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return Workspace(workspace.create(tmp_path / "home").root, {"data.interval": "1m", "data.adjustment": "none"})


def minutes(place: Path, first: int, last: int, column: str = "date") -> Path:
    """A minute's bar for each of these minutes since the open."""
    rows = [f"{(OPEN + timedelta(minutes=k)).isoformat()},A,{100 + k % 7},5" for k in range(first, last + 1)]
    file = place / "minutes.csv"
    file.write_text("\n".join([f"{column},symbol,close,volume", *rows]) + "\n")
    return file


def test_times_that_look_like_ends_are_refused_until_it_is_said_what_they_are(home: Workspace) -> None:
    file = minutes(home.root, 1, 390)  # 09:31 to 16:00: as ends are
    with pytest.raises(DataError, match=r"\(date\) reach the close of a session and never its open.*event_time=date"):
        ingest.bars(home, Journal(), "files", file)
    done = ingest.bars(home, Journal(), "files", file, columns={"event_time": "date"})
    assert (done.inserted, done.dead_letters, done.notes) == (390, 0, [])
    assert features.build(home, Journal()).rows == 390
    row = home.lake.read("bars", ["event_time"])["event_time"].to_pylist()
    assert row[0] == OPEN + timedelta(minutes=1)


def test_how_times_are_read_is_told(home: Workspace) -> None:
    done = ingest.bars(home, Journal(), "files", minutes(home.root, 0, 389))
    assert done.notes == [
        "minutes.csv: the times of date are read as the start of each bar, and 1m is added; if they are its end, say "
        "--column event_time=date"
    ]
    assert home.lake.read("bars", ["event_time"])["event_time"].to_pylist()[0] == OPEN + timedelta(minutes=1)
    assert features.build(home, Journal()).rows == 390


def test_bars_outside_of_trading_hours_are_set_aside_unless_all_are_asked_for(home: Workspace) -> None:
    file = minutes(home.root, -20, 400, "start")
    done = ingest.bars(home, Journal(), "files", file)
    assert (done.inserted, done.dead_letters) == (390, 31)
    assert list(done.reasons) == ["closes outside of the trading hours of XNYS (setting data.hours)"]
    assert features.build(home, Journal()).rows == 390
    everything = Workspace(home.root, {**home.overrides, "data.hours": "all"})
    assert ingest.bars(everything, Journal(), "files", file).inserted == 31
    with pytest.raises(DataError, match="31 bar.s. lie outside of the trading hours of XNYS.*data.hours=regular"):
        features.build(everything, Journal())


def test_daily_bars_have_no_hours(tmp_path: Path) -> None:
    home = Workspace(workspace.create(tmp_path / "home").root, {"data.adjustment": "none"})
    file = home.root / "days.csv"
    file.write_text("date,symbol,close\n2020-01-02,A,1\n2020-01-03,A,2\n")
    done = ingest.bars(home, Journal(), "files", file)
    assert (done.inserted, done.dead_letters, done.first) == (2, 0, str(date(2020, 1, 2)))
