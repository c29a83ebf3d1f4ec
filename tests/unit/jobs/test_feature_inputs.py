"""What a feature set, an entity file and an online store may not be, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from aiquant.errors import DataError, UsageError
from aiquant.features import asof, catalogue
from aiquant.features.online import View
from aiquant.features.online.sqlite import SqliteStore
from aiquant.jobs import features, tables, training_frames, workspace
from aiquant.jobs.journal import Journal
from aiquant.schemas import BARS


@pytest.mark.parametrize(
    ("name", "formula", "told"),
    [
        ("my gap", "$close", "cannot be named 'my gap'.*call it my_gap"),
        ("7up", "$close", "cannot be named '7up'.*choose another"),
        ("long", "Mean($close, 1000000000)", "Mean takes at most 100,000 slots, not 1,000,000,000"),
        ("far", "Ref($close, 200000)", "Ref takes at most 100,000 slots"),
    ],
)
def test_names_with_blanks_and_windows_without_bound(name: str, formula: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        catalogue.define([(name, formula, "", "")])


def test_the_nearest_set_is_named() -> None:
    with pytest.raises(UsageError, match=r"give the path of a TOML file; did you mean 'core'\?$"):
        catalogue.get("cor")


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (["2020-01-31T21:00:00Z", "soon"], r"event_time of row 2 is 'soon', not a time with a time zone"),
        (["2020-01-31T21:00:00Z", None], r"event_time is missing in 1 row\(s\), the first is row 2"),
        ([datetime(2020, 1, 31), datetime(2020, 2, 1)], "event_time has no time zone, row 1 is 2020-01-31 00:00:00"),
        ([date(2020, 1, 31), date(2020, 2, 1)], "event_time has no time zone, row 1 is 2020-01-31"),
        ([5, 6], "event_time of row 1 is '5', not a time with a time zone"),
    ],
)
def test_entity_rows_say_which_row_is_wrong(times: list[object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        asof.demand_entities(pl.DataFrame({"symbol": ["A", "B"], "event_time": times}))


def test_a_folder_or_a_file_of_something_else_is_no_online_store(tmp_path: Path) -> None:
    view = View("v", "0" * 16, ("a",))
    (tmp_path / "online.db").mkdir()
    with pytest.raises(DataError, match="a folder is there; remove the folder, or set online.path"):
        SqliteStore(tmp_path / "online.db").symbols(view)
    (tmp_path / "other.db").write_bytes(b"something else" * 100)
    with pytest.raises(DataError, match="not an online store of aiquant.*move it elsewhere"):
        SqliteStore(tmp_path / "other.db").symbols(view)


def test_entity_files_and_cells_without_a_value(tmp_path: Path, make_bars: Callable[..., pa.Table]) -> None:
    home = workspace.create(tmp_path / "home")
    home.lake.write(BARS, make_bars(2, date(2019, 1, 2), date(2019, 3, 29)))
    features.build(home, Journal(), tmp_path / "all.csv")
    first = (tmp_path / "all.csv").read_text().splitlines()[1]
    assert "nan" not in first.lower() and first.endswith(","), "what has no value is an empty cell"
    asked, out = tmp_path / "asked.csv", tmp_path / "out.csv"
    asked.write_text("symbol,event_time\n")
    with pytest.raises(DataError, match="asked.csv holds no row"):
        training_frames.frame(home, Journal(), asked, ["core"], out)
    asked.write_text("symbol,event_time\nS001,2019-03-29T21:00:00Z\ns000,2019-03-29T21:00:00Z\n")
    journal = Journal()
    assert training_frames.frame(home, journal, asked, ["core"], out).matched == {"core": 1}
    assert journal.notes == ["set core has no row of 1 of the symbols: 's000'; symbols are written in capitals"]
    assert tables.read(out).height == 2


def test_two_workspaces_of_one_name_keep_their_online_values_apart(tmp_path: Path) -> None:
    a, b = (workspace.create(tmp_path / folder / "Research 7").settings for folder in ("a", "b"))
    assert a.online.project != b.online.project and a.online.project.startswith("research_7_")
    assert a.fingerprint() == b.fingerprint()
    assert workspace.create(tmp_path / "7").settings.online.project.startswith("ws_7_")
