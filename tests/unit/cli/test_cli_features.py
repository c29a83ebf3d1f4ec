"""Moments as they are written, several sets at once, sets of one's own, and what is missing online."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from aiquant.cli import options
from aiquant.cli.main import app
from aiquant.errors import UsageError
from aiquant.jobs import workspace
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2024-06-28", datetime(2024, 6, 28, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2024-06-28T00:00", datetime(2024, 6, 28, tzinfo=UTC)),
        ("2024-06-28T14:30", datetime(2024, 6, 28, 14, 30, tzinfo=UTC)),
        ("2024-06-28T14:30:05Z", datetime(2024, 6, 28, 14, 30, 5, tzinfo=UTC)),
        ("2024-06-28T14:30+02:00", datetime(2024, 6, 28, 12, 30, tzinfo=UTC)),
    ],
)
def test_moments(text: str, want: datetime) -> None:
    assert options.moment(text, "--to") == want
    if "T" not in text:
        assert options.moment(text, "--from", begin=True) == want.replace(hour=0, minute=0, second=0, microsecond=0)


def test_no_moment_and_the_present_day() -> None:
    with pytest.raises(UsageError, match="--to yesterday: not a date or a time"):
        options.moment("yesterday", "--to")
    now = options.moment(datetime.now(UTC).date().isoformat(), "--as-of")
    assert now is not None and now <= datetime.now(UTC), "its end has not come yet"


@pytest.fixture
def home(tmp_path: Path, make_bars: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = workspace.create(tmp_path / "home")
    made.lake.write(BARS, make_bars(2, date(2019, 1, 2), date(2019, 3, 29)))
    (made.root / "mine.toml").write_text('[features.gap20]\nformula = "$close / Mean($close, 20) - 1"\n')
    monkeypatch.chdir(made.root)
    return made


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_sets_of_ones_own_by_name(home: Workspace) -> None:
    code, out = run("features", "list", "--json")
    told = {each["name"]: each for each in json.loads(out)["sets"]}
    assert code == 0 and told["mine"]["file"] == "mine.toml" and told["core"]["file"] is None
    assert run("features", "build", "--set", "mine,calendar")[0] == 0
    assert home.lake.version("features_mine") is not None and home.lake.version("features_calendar") is not None
    assert run("features", "materialize", "--set", "mine")[0] == 0
    code, out = run("features", "get", "--set", "mine", "--symbols", "S001,FOO")
    assert code == 0 and "1 of 2 symbols are stale" in out and "1 of 2 symbols are not in the store: FOO." in out
    with pytest.raises(UsageError, match="one file holds one set"):
        CliRunner().invoke(app, ["features", "build", "--set", "mine,core", "--out", "x.csv"], catch_exceptions=False)


def test_a_panel_of_the_future_is_refused(home: Workspace) -> None:
    from aiquant.jobs import features
    from aiquant.jobs.journal import Journal

    with pytest.raises(UsageError, match="2100-01-01 00:00 UTC lies in the future"):
        features.build(home, Journal(), home.root / "x.csv", as_of=datetime(2100, 1, 1, tzinfo=UTC))


def test_a_check_of_nothing_that_is_kept_fails(home: Workspace) -> None:
    code, out = run("check", "parity", "--set", "core")
    assert code == 1 and "Nothing that is kept was compared" in out and "core lake: there is no such table" in out
