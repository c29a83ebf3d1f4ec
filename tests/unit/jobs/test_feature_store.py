"""What comes out of the lake for serving and training, on tables small enough to check by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiquant import schemas
from aiquant.errors import DataError, MissingError
from aiquant.features import catalogue, online
from aiquant.jobs import feature_store as job
from aiquant.jobs import tables, training_frames
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace, create
from aiquant.lake.derived import Derived

T = datetime(2024, 3, 4, 21, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = [feature.name for feature in catalogue.get("core").features]
TIME = pl.Datetime("us", "UTC")


def features(*rows: tuple[str, datetime, datetime, float]) -> pl.DataFrame:
    """``(symbol, event_time, known_from, value of every feature)``."""
    schema = {"symbol": pl.String, "event_time": TIME, "known_from": TIME, "value": pl.Float32}
    frame = pl.DataFrame(rows, schema, orient="row").with_columns(date=pl.col("event_time").dt.date())
    return frame.with_columns(pl.col("value").alias(name) for name in NAMES).drop("value")


def put(workspace: Workspace, frame: pl.DataFrame) -> None:
    workspace.lake.overwrite("features_core", schemas.conform(frame.to_arrow(), schemas.FEATURES))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = create(tmp_path / "w")
    rows = [("A", T, T, 1), ("A", T + DAY, T + DAY, 2), ("A", T, T + 2 * DAY, 9), ("B", T, T, 4), ("B", T, T + DAY, 5)]
    put(made, features(*rows))
    return made


def served(workspace: Workspace) -> dict[str, float]:
    view = online.View.of(catalogue.get("core"))
    read = online.open_store(workspace.settings.online, workspace.root).read(view, ["A", "B"], NAMES[:1])
    return dict(zip(read["symbol"].to_pylist(), read[NAMES[0]].to_pylist(), strict=True))


def test_the_newest_row_of_each_symbol_is_served_in_its_latest_version(workspace: Workspace) -> None:
    done = job.materialize(workspace, Journal())
    assert (done.symbols, done.rows, done.newest) == (2, 2, T + DAY)
    assert served(workspace) == {"A": 2.0, "B": 5.0}


def test_a_span_that_ends_in_the_past_is_served_as_it_was_known_then(workspace: Workspace) -> None:
    job.materialize(workspace, Journal(), end=T + DAY - timedelta(microseconds=1))
    assert served(workspace) == {"A": 1.0, "B": 4.0}
    assert job.materialize(workspace, Journal(), start=T + DAY).symbols == 1
    assert served(workspace) == {"A": 2.0, "B": 4.0}
    job.materialize(workspace, Journal(), end=T, anew=True)  # the past comes back only when it is asked for so
    assert served(workspace) == {"A": 1.0, "B": 4.0}
    none = job.materialize(workspace, Journal(), start=T + 900 * DAY)
    assert (none.symbols, none.rows, none.newest) == (0, 0, None)


def test_values_of_other_versions_stay_until_they_are_pruned(workspace: Workspace) -> None:
    store = online.open_store(workspace.settings.online, workspace.root)
    old = online.View("core", "0" * 16, tuple(NAMES))
    rows = features(("A", T, T, 3)).to_arrow()
    store.write(old, rows)
    assert job.materialize(workspace, Journal()).pruned == ()
    assert store.read(old, ["A"])[NAMES[0]].to_pylist() == [3.0]
    assert job.materialize(workspace, Journal(), prune=True).pruned == ("0" * 16,)
    assert store.versions("core") == [catalogue.get("core").version]


def test_a_symbol_that_came_late_to_the_lake_is_served_too(workspace: Workspace) -> None:
    job.materialize(workspace, Journal())
    put(workspace, features(("A", T + DAY, T + DAY, 2), ("B", T, T + DAY, 5), ("C", T - DAY, T - DAY, 7)))
    assert job.materialize(workspace, Journal()).rows == 1
    assert job.get(workspace, None, now=T).values["symbol"].to_pylist() == ["A", "B", "C"]


def test_age_decides_what_is_stale(workspace: Workspace) -> None:
    job.materialize(workspace, Journal())
    found = job.get(workspace, ["B", "X", "A"], now=T + 5 * DAY + timedelta(microseconds=1))
    assert found.values["state"].to_pylist() == ["stale", "missing", "fresh"]
    assert found.values["age"].to_pylist()[2] == 4 * DAY + timedelta(microseconds=1)
    assert job.get(workspace, ["B"], now=T + 5 * DAY).values["state"].to_pylist() == ["fresh"]


def test_a_table_of_another_definition_is_refused(workspace: Workspace) -> None:
    put(workspace, features(("A", T, T, 1)).drop(NAMES[2]))
    with pytest.raises(DataError, match=f"lacks {NAMES[2]}.*aiquant features build --set core"):
        job.materialize(workspace, Journal())
    with pytest.raises(DataError, match="another definition"):
        training_frames.training_frame(workspace, pl.DataFrame({"symbol": ["A"], "event_time": [T]}), ["core"])


def test_a_table_that_says_it_was_made_in_another_way_is_refused(workspace: Workspace) -> None:
    rows = workspace.lake.read("features_core", history=True)
    derived = Derived(workspace.lake, schemas.features_table("core"))
    derived.write(rows.schema, lambda: [rows], {"recipe": 1})
    with pytest.raises(DataError, match="made by other definitions.*aiquant features build --set core"):
        job.materialize(workspace, Journal())


def test_a_frame_takes_what_was_known_and_reads_no_more_than_it_needs(workspace: Workspace) -> None:
    moments = [T + DAY, T + 3 * DAY, T - DAY]
    entities = pl.DataFrame({"symbol": ["A", "A", "B"], "event_time": moments, "label": [1, 2, 3]})
    joined = training_frames.training_frame(workspace, entities.with_columns(pl.col("event_time").cast(TIME)), ["core"])
    assert joined[NAMES[0]].to_list() == [2.0, 2.0, None] and joined["label"].to_list() == [1, 2, 3]
    shorter = training_frames.training_frame(workspace, entities, ["core"], timedelta(days=2))
    assert shorter[NAMES[0]].to_list() == [2.0, 2.0, None]
    empty = entities.clear()
    assert training_frames.training_frame(workspace, empty, ["core"]).height == 0


def test_files_of_entity_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame({"symbol": ["600000", "TRUE"], "event_time": [T, T], "x": [0.5, np.inf]})
    frame = frame.with_columns(pl.col("event_time").cast(TIME))
    for name in ("rows.parquet", "rows.csv", "rows.arrow"):
        tables.write(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), tmp_path / name)
        assert tables.read(tmp_path / name).equals(frame), name
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="bad.parquet: not readable"):
        tables.read(tmp_path / "bad.parquet")
    with pytest.raises(MissingError):
        tables.read(tmp_path / "gone.csv")
