"""A table of features that is brought up to its bars is what a build of all of it gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.errors import UsageError
from aiquant.features import catalogue
from aiquant.jobs import feature_plan, feature_rows, features, workspace
from aiquant.jobs.feature_work import Built
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Pipeline, read
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS, CORPORATE_ACTIONS, FEATURES

FIRST, LAST = date(2018, 1, 2), date(2019, 12, 31)


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return workspace.create(tmp_path / "home")


@pytest.fixture(scope="module")
def bars(make_bars: Callable[..., pa.Table]) -> pl.DataFrame:
    return pl.DataFrame(make_bars(symbols=6, first=FIRST, last=LAST))


def put(home: Workspace, rows: pl.DataFrame) -> None:
    home.lake.write(BARS, rows.to_arrow().cast(BARS.schema))


def split(symbol: str, day: date, ratio: float = 2.0) -> pa.Table:
    known = datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC)
    row = {"symbol": symbol, "kind": "split", "date": day, "event_time": known, "known_from": known, "ratio": ratio}
    return pa.Table.from_pylist([{**row, "source": "test"}], schema=CORPORATE_ACTIONS.schema)


def build(home: Workspace, **more: object) -> Built:
    return features.build(home, Journal(), **more)  # type: ignore[arg-type]


def stored(home: Workspace, name: str = "core") -> pl.DataFrame:
    return pl.DataFrame(home.lake.read(f"features_{name}", history=True))


def same(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    """Bit for bit; NaN equals NaN."""
    return left.columns == right.columns and left.equals(right)


def rebuilt(home: Workspace) -> pl.DataFrame:
    """What a build of everything gives, computed in one piece, beside the table."""
    return pl.DataFrame(Pipeline(home.settings).features(read(home.lake, home.settings)))


def test_a_first_build_is_what_the_pipeline_computes(home: Workspace, bars: pl.DataFrame) -> None:
    put(home, bars)
    done = build(home)
    assert done.whole == "there was no table" and done.new == done.rows == len(bars)
    assert same(stored(home), rebuilt(home))


def test_new_days_are_added_and_nothing_else_is_touched(home: Workspace, bars: pl.DataFrame) -> None:
    put(home, bars.filter(pl.col("date") < date(2019, 12, 27)))
    build(home)
    files = set(Path(home.lake.place("features_core")).glob("*.parquet"))
    put(home, bars)
    done = build(home)
    assert (done.whole, done.new, done.recomputed) == (None, 6 * 3, 0)
    assert done.unchanged == len(bars) - 18
    assert files < set(Path(home.lake.place("features_core")).glob("*.parquet"))
    assert same(stored(home), rebuilt(home))
    again = build(home)
    assert (again.new, again.recomputed, again.table_version) == (0, 0, done.table_version)


def test_a_correction_changes_what_came_after_it_was_known(home: Workspace, bars: pl.DataFrame) -> None:
    put(home, bars)
    build(home)
    row = bars.filter(symbol="S002", date=date(2019, 6, 3))
    put(home, row.with_columns(pl.col("close") * 1.01, pl.col("known_from") + timedelta(days=3)))
    journal = Journal()
    done = features.build(home, journal)
    assert done.whole is None and 0 < done.recomputed < len(bars) / 6 and not done.new
    assert journal.notes == [
        "1 bar(s) were corrected, known from 2019-06-06 20:00 UTC on: that changes no row of an earlier time"
    ]
    after = stored(home)
    assert same(after, rebuilt(home))
    fresh = after.filter(symbol="S002", date=date(2019, 6, 4))
    assert same(fresh, rebuilt(home).filter(symbol="S002", date=date(2019, 6, 4)))


def test_an_action_a_late_symbol_and_a_late_bar(home: Workspace, bars: pl.DataFrame) -> None:
    late = (pl.col("symbol") == "S001") & (pl.col("date") == date(2018, 9, 4))
    put(home, bars.filter((pl.col("symbol") != "S004") & ~late))
    build(home)
    home.lake.write(CORPORATE_ACTIONS, split("S003", date(2019, 3, 1)))
    assert build(home).recomputed > 0
    assert same(stored(home), rebuilt(home))
    put(home, bars.filter(late))
    done = build(home)
    assert (done.new, done.whole) == (1, None) and done.recomputed > 0
    assert same(stored(home), rebuilt(home))
    put(home, bars.filter(symbol="S004"))
    done = build(home)
    assert (done.new, done.recomputed) == (len(bars) // 6, 0)
    assert same(stored(home), rebuilt(home))


def test_small_chunks_give_the_same(home: Workspace, bars: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_plan, "READ_ROWS", 800)
    monkeypatch.setattr(feature_rows, "VALUES", 800 * 21)
    put(home, bars.filter(pl.col("date") < date(2019, 9, 2)))
    build(home)
    put(home, bars)
    home.lake.write(CORPORATE_ACTIONS, split("S000", date(2019, 3, 1)))
    assert build(home).whole is None
    assert same(stored(home), rebuilt(home))


def test_another_recipe_is_built_whole_and_says_so(home: Workspace, bars: pl.DataFrame) -> None:
    put(home, bars.filter(pl.col("date") > date(2019, 6, 1)))
    build(home)
    journal = Journal()
    other = Workspace(home.root, {"features.qlib_compat": "true"})
    done = features.build(other, journal)
    assert done.whole == "its definitions, settings or code are not those of the table"
    assert journal.notes == [f"Set core was built whole: {done.whole}."]
    assert same(stored(home), rebuilt(other))
    assert build(other, full=True).whole == "asked for"


def test_what_a_stream_wrote_is_left_alone(home: Workspace, bars: pl.DataFrame) -> None:
    """Rows of new bars that are right stay; a row that was computed again later stands beside the first one."""
    put(home, bars.filter(pl.col("date") < date(2019, 12, 30)))
    build(home)
    put(home, bars)
    last = rebuilt(home).filter(pl.col("date") >= date(2019, 12, 30))
    later = last.filter(symbol="S000").with_columns(pl.col("known_from") + timedelta(hours=1), return_1=pl.lit(7.0))
    cast = pl.concat([last, later.cast(last.schema)]).to_arrow()  # type: ignore[arg-type]
    home.lake.write("features_core", cast)
    files = set(Path(home.lake.place("features_core")).glob("*.parquet"))
    done = build(home)
    assert (done.new, done.recomputed, done.whole) == (0, 0, None)
    assert files == set(Path(home.lake.place("features_core")).glob("*.parquet"))
    assert len(stored(home)) == len(bars) + 2
    read_back = features.current(home, Journal(), Pipeline(home.settings), read(home.lake, home.settings))
    assert same(pl.DataFrame(read_back), rebuilt(home))


def test_a_wrong_row_of_a_stream_is_put_right(home: Workspace, bars: pl.DataFrame) -> None:
    put(home, bars.filter(pl.col("date") < date(2019, 12, 30)))
    build(home)
    put(home, bars)
    last = rebuilt(home).filter(pl.col("date") >= date(2019, 12, 30)).with_columns(return_1=pl.lit(7, pl.Float32))
    home.lake.write("features_core", last.to_arrow())
    done = build(home)
    assert (done.new, done.recomputed) == (0, 12)
    assert same(stored(home), rebuilt(home))


def test_a_panel_as_of_a_time_knows_nothing_later(home: Workspace, bars: pl.DataFrame, tmp_path: Path) -> None:
    moment = datetime(2019, 7, 1, 12, tzinfo=UTC)
    put(home, bars)
    home.lake.write(CORPORATE_ACTIONS, split("S003", date(2019, 3, 1)))
    home.lake.write(CORPORATE_ACTIONS, split("S003", date(2019, 9, 3)))
    row = bars.filter(symbol="S002", date=date(2019, 6, 3))
    for days in (3, 60):
        put(home, row.with_columns(pl.col("close") * (1 + days), pl.col("known_from") + timedelta(days=days)))
    build(home)
    version = home.lake.version("features_core")
    done = build(home, as_of=moment, out=tmp_path / "panel.parquet")
    expected = Pipeline(home.settings).features(read(home.lake, home.settings).known_at(moment))
    assert same(pl.read_parquet(tmp_path / "panel.parquet"), pl.DataFrame(expected))
    assert done.table_version is None and home.lake.version("features_core") == version
    with pytest.raises(UsageError, match="to a file, not into the table"):
        build(home, as_of=moment)


@pytest.mark.parametrize("ending", ["parquet", "csv", "arrow"])
def test_the_file_holds_the_whole_table(home: Workspace, bars: pl.DataFrame, tmp_path: Path, ending: str) -> None:
    readers = {"parquet": pl.read_parquet, "csv": pl.read_csv, "arrow": pl.read_ipc}
    put(home, bars.filter(pl.col("date") < date(2019, 12, 27)))
    for name, rows in (("first", bars.height - 18), ("then", bars.height)):
        build(home, out=tmp_path / f"{name}.{ending}")
        told = readers[ending](tmp_path / f"{name}.{ending}")
        assert len(told) == rows and told.columns[:4] == FEATURES.schema.names
        put(home, bars)


def test_a_compacted_lake_is_no_change(home: Workspace, bars: pl.DataFrame) -> None:
    from aiquant.lake import maintenance

    put(home, bars.filter(pl.col("date") < date(2019, 12, 27)))
    build(home)
    put(home, bars.filter(pl.col("date") < date(2019, 12, 28)))
    put(home, bars)
    maintenance.compact(home.lake, "bars")
    maintenance.compact(home.lake, "features_core")
    done = build(home)
    assert (done.whole, done.new) == (None, 18)
    assert same(stored(home), rebuilt(home))


def test_training_takes_the_table_up_with_it(home: Workspace, bars: pl.DataFrame) -> None:
    pipeline = Pipeline(home.settings)
    put(home, bars.filter(pl.col("date") < date(2019, 12, 27)))
    for _ in range(2):
        inputs = read(home.lake, home.settings)
        assert same(pl.DataFrame(features.current(home, Journal(), pipeline, inputs)), rebuilt(home))
        put(home, bars)
    assert features.build(home, Journal()).new == 0


def test_a_table_that_is_large_is_read_in_portions_into_the_same_panel(
    home: Workspace, bars: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(home, bars)
    pipeline, inputs = Pipeline(home.settings), read(home.lake, home.settings)
    labels = pipeline.labels(inputs)
    whole = features.current(home, Journal(), pipeline, inputs)
    assert isinstance(whole, pa.Table)
    monkeypatch.setattr(features, "PORTION", 1200 * 4 * len(pipeline.feature_set.features))
    read_again = features.current(home, Journal(), pipeline, inputs)
    assert isinstance(read_again, features.Stored) and len(read_again.parts) == 3
    expected, built = (pipeline.panel(each, labels, None) for each in (whole, read_again))
    np.testing.assert_array_equal(built.X, expected.X)
    np.testing.assert_array_equal(built.event_time, expected.event_time)
    assert built.features == expected.features


@pytest.mark.parametrize("name", [name for name in catalogue.names() if name not in ("news", "social")])
def test_every_set_of_the_catalogue_step_by_step(home: Workspace, bars: pl.DataFrame, name: str) -> None:
    """Articles and posts are in the test of the check of leaks."""
    told = Workspace(home.root, {"features.set": name})
    for day in (date(2019, 10, 1), date(2019, 11, 27), date(2019, 12, 30)):
        put(told, bars.filter(pl.col("date") <= day))
        done = build(told)
    assert done.whole is None and done.new > 0
    wanted = rebuilt(told).sort("symbol", "event_time")
    assert same(stored(told, name), wanted)
