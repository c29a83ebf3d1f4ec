from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from aiquant import schemas
from aiquant.errors import DataError, MissingError, Unreachable, UsageError
from aiquant.lake import Lake, Written
from aiquant.lake import delta as delta_files
from aiquant.schemas import BARS, EQUITY, TIME, UNIVERSE


def close_of(day: int, year: int = 2020) -> datetime:
    return datetime(year, 1, day, 21, tzinfo=UTC)


def bars(*rows: tuple[str, int, float], year: int = 2020, known: datetime | None = None) -> pa.Table:
    """Daily bars of January: (symbol, day, close)."""
    told = [
        {
            "symbol": symbol,
            "interval": "1d",
            "period": str(year),
            "date": close_of(day, year).date(),
            "event_time": close_of(day, year),
            "known_from": known or close_of(day, year),
            "close": close,
            "adjustment": "none",
            "source": "test",
        }
        for symbol, day, close in rows
    ]
    return pa.Table.from_pylist(told, schema=BARS.schema)


def features(days: int, **columns: float | None) -> pa.Table:
    moments = [close_of(day) for day in range(1, days + 1)]
    table = pa.table(
        {
            "symbol": pa.array(["A"] * days, pa.string()),
            "date": pa.array([m.date() for m in moments], pa.date32()),
            "event_time": pa.array(moments, TIME),
            "known_from": pa.array(moments, TIME),
        }
    )
    for name, value in columns.items():
        table = table.append_column(name, pa.array([value] * days, pa.float32()))
    return table


def equity(run: str, days: int, value: float) -> pa.Table:
    rows = [
        {
            "run_id": run,
            "date": close_of(day).date(),
            "event_time": close_of(day),
            "equity": value,
            "cash": value,
            "gross_exposure": 0.0,
            "net_exposure": 0.0,
            "turnover": 0.0,
            "costs": 0.0,
        }
        for day in range(1, days + 1)
    ]
    return pa.Table.from_pylist(rows, schema=EQUITY.schema)


def closes(table: pa.Table) -> list[tuple[str, int, float]]:
    return [(row["symbol"], row["date"].day, row["close"]) for row in table.to_pylist()]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


class TestWrite:
    def test_the_same_batch_twice_is_once_and_leaves_the_version(self, lake: Lake) -> None:
        batch = bars(("A", 1, 1.0), ("B", 1, 2.0))
        first = lake.write("bars", batch)
        assert first == Written(version=1, inserted=2, revised=0, unchanged=0)
        assert lake.write("bars", batch) == Written(version=1, inserted=0, revised=0, unchanged=2)
        assert lake.version("bars") == 1

    def test_an_overlapping_batch_adds_what_is_new(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0), ("A", 2, 2.0)))
        written = lake.write("bars", bars(("A", 2, 2.0), ("A", 3, 3.0)))
        assert (written.inserted, written.revised, written.unchanged) == (1, 0, 1)
        assert closes(lake.read("bars")) == [("A", 1, 1.0), ("A", 2, 2.0), ("A", 3, 3.0)]

    def test_order_of_rows_and_batches_does_not_show_in_what_is_read(self, tmp_path: Path) -> None:
        one, other = Lake(tmp_path / "one"), Lake(tmp_path / "other")
        one.write("bars", bars(("B", 2, 4.0), ("A", 2, 2.0), ("B", 1, 3.0), ("A", 1, 1.0)))
        for row in [("A", 2, 2.0), ("B", 1, 3.0), ("A", 1, 1.0), ("B", 2, 4.0)]:
            other.write("bars", bars(row))
        assert one.read("bars").equals(other.read("bars"))
        assert closes(one.read("bars")) == [("A", 1, 1.0), ("A", 2, 2.0), ("B", 1, 3.0), ("B", 2, 4.0)]

    def test_what_is_read_has_the_schema_of_the_table(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        assert lake.read("bars").schema.equals(BARS.schema)
        assert lake.read("bars", columns=["close", "symbol"]).schema.names == ["close", "symbol"]

    def test_a_correction_stands_beside_what_it_corrects(self, lake: Lake) -> None:
        before = datetime.now(UTC)
        lake.write("bars", bars(("A", 1, 1.0)))
        written = lake.write("bars", bars(("A", 1, 1.5)))
        assert (written.inserted, written.revised, written.unchanged) == (0, 1, 0)
        row = lake.read("bars").to_pylist()[0]
        assert row["close"] == 1.5
        assert before <= row["known_from"] <= datetime.now(UTC), "known from now: the batch did not say when"
        assert closes(lake.read("bars", as_of=before)) == [("A", 1, 1.0)]
        assert lake.tables()[0].rows == 2

    def test_a_correction_that_says_when_it_became_known_keeps_its_time(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        lake.write("bars", bars(("A", 1, 1.5), known=close_of(9)))
        assert closes(lake.read("bars", as_of=close_of(9) - timedelta(microseconds=1))) == [("A", 1, 1.0)]
        assert closes(lake.read("bars", as_of=close_of(9))) == [("A", 1, 1.5)]

    def test_a_fact_that_flips_back_is_a_third_version(self, lake: Lake) -> None:
        for close in (1.0, 2.0, 1.0, 1.0):
            last = lake.write("bars", bars(("A", 1, close)))
        assert last.version == 3 and last.unchanged == 1
        assert closes(lake.read("bars")) == [("A", 1, 1.0)]
        stored = pl.read_delta(lake.place("bars")).sort("known_from")
        assert stored["close"].to_list() == [1.0, 2.0, 1.0]
        assert stored["known_from"].is_unique().all()

    def test_a_correction_of_a_version_from_the_future_comes_after_it(self, lake: Lake) -> None:
        future = datetime(2999, 1, 1, tzinfo=UTC)
        lake.write("bars", bars(("A", 1, 1.0), known=future))
        lake.write("bars", bars(("A", 1, 2.0)))
        assert closes(lake.read("bars")) == [("A", 1, 2.0)]

    def test_a_history_of_versions_in_one_batch_is_kept_and_may_come_twice(self, lake: Lake) -> None:
        batch = pa.concat_tables(
            [
                bars(("A", 1, 2.0), known=close_of(5)),
                bars(("A", 1, 1.0)),
                bars(("A", 1, 2.0), known=close_of(6)),  # says nothing new
                bars(("A", 1, 3.0), known=close_of(7)),
            ]
        )
        assert lake.write("bars", batch) == Written(version=1, inserted=3, revised=0, unchanged=1)
        for day, close in [(1, 1.0), (5, 2.0), (6, 2.0), (7, 3.0)]:
            assert closes(lake.read("bars", as_of=close_of(day))) == [("A", 1, close)]
        assert lake.write("bars", batch) == Written(version=1, inserted=0, revised=0, unchanged=4)

    def test_of_equal_keys_in_a_batch_the_last_row_wins(self, lake: Lake) -> None:
        written = lake.write("bars", bars(("A", 1, 1.0), ("A", 1, 1.0), ("A", 1, 2.0)))
        assert (written.inserted, written.revised, written.unchanged) == (1, 0, 2)
        assert closes(lake.read("bars")) == [("A", 1, 2.0)]

    def test_nan_is_nan_and_null_is_null_but_neither_is_the_other(self, lake: Lake) -> None:
        lake.write("features_core", features(2, a=math.nan, b=None))
        assert lake.write("features_core", features(2, a=math.nan, b=None)).unchanged == 2
        assert lake.write("features_core", features(2, a=None, b=None)).revised == 2
        assert lake.write("features_core", features(2, a=None, b=math.nan)).revised == 2

    def test_without_versions_a_row_is_replaced(self, lake: Lake) -> None:
        lake.write("equity", equity("r", 3, 1.0))
        written = lake.write("equity", equity("r", 2, 9.0))
        assert (written.version, written.inserted, written.revised) == (2, 0, 2)
        assert lake.read("equity")["equity"].to_pylist() == [9.0, 9.0, 1.0]

    def test_a_batch_that_inserts_and_replaces_is_one_version(self, lake: Lake) -> None:
        lake.write("equity", equity("r", 2, 1.0))
        written = lake.write("equity", equity("r", 4, 2.0))
        assert (written.version, written.inserted, written.revised) == (2, 2, 2)
        assert lake.read("equity")["equity"].to_pylist() == [2.0] * 4

    def test_new_columns_are_added_and_absent_ones_kept(self, lake: Lake) -> None:
        lake.write("features_core", features(3, a=1.0))
        lake.write("features_core", features(2, b=2.0))
        read = lake.read("features_core")
        assert read.schema.names == ["symbol", "date", "event_time", "known_from", "a", "b"]
        assert read["a"].to_pylist() == [1.0, 1.0, 1.0]
        assert read["b"].to_pylist() == [2.0, 2.0, None]
        assert read.schema.field("b").type == pa.float32()

    def test_a_feature_that_is_not_float32_is_refused(self, lake: Lake) -> None:
        rows = features(1).append_column("a", pa.array([1.0], pa.float64()))
        with pytest.raises(DataError, match="column a of table features_core is double"):
            lake.write("features_core", rows)

    def test_rows_that_do_not_conform_are_refused_and_nothing_is_made(self, lake: Lake) -> None:
        with pytest.raises(DataError, match="close"):
            lake.write("bars", bars(("A", 1, 1.0)).drop_columns(["close"]))
        assert lake.tables() == []

    def test_no_rows_make_an_empty_table(self, lake: Lake) -> None:
        assert lake.write("bars", BARS.schema.empty_table()) == Written(0, 0, 0, 0)
        assert lake.read("bars").equals(BARS.schema.empty_table())
        assert lake.write("bars", BARS.schema.empty_table()).version == 0

    def test_the_time_of_taking_in_is_no_part_of_a_dead_letter(self, lake: Lake) -> None:
        letter = {
            "letter_id": "x",
            "table": "bars",
            "source": "s",
            "place": "p:1",
            "reason": "r",
            "payload": "{}",
        }
        for day in (1, 2):
            rows = pa.Table.from_pylist([{**letter, "ingest_time": close_of(day)}], schema=schemas.DEAD_LETTERS.schema)
            written = lake.write("dead_letters", rows)
        assert written.unchanged == 1
        assert lake.read("dead_letters")["ingest_time"].to_pylist() == [close_of(1)]

    def test_a_daily_append_reads_no_other_partition(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 2, 1.0), ("B", 2, 1.0), year=2019))
        lake.write("bars", bars(("A", 2, 2.0)))
        old = Path(lake.place("bars")) / "interval=1d" / "period=2019"
        for file in old.iterdir():
            file.write_bytes(bytes(file.stat().st_size))
        assert lake.write("bars", bars(("A", 2, 2.0), ("A", 3, 3.0))).inserted == 1
        assert closes(lake.read("bars", where={"period": "2020"})) == [("A", 2, 2.0), ("A", 3, 3.0)]

    def test_a_daily_append_reads_no_files_of_other_days(self, lake: Lake) -> None:
        lake.write("features_core", features(3, a=1.0))
        for file in Path(lake.place("features_core")).glob("*.parquet"):
            file.write_bytes(b"not readable")
        rows = features(5, a=1.0).slice(3)
        assert lake.write("features_core", rows).inserted == 2

    def test_quotes_in_values_of_partitions(self, lake: Lake) -> None:
        run = 'it\'s "one"/50%'
        lake.write("equity", equity(run, 2, 1.0))
        lake.write("equity", equity(run, 2, 2.0))
        assert lake.replace("equity", equity(run, 1, 3.0), {"run_id": run}).removed == 1
        assert lake.read("equity", where={"run_id": run})["equity"].to_pylist() == [3.0]

    @pytest.mark.parametrize("name", ["my lake", "José", "a#b?c", "50% off"])
    def test_folders_with_uncommon_characters(self, tmp_path: Path, name: str) -> None:
        lake = Lake(tmp_path / name)
        for run in ("a b", "x%20y"):
            lake.write("equity", equity(run, 2, 1.0))
            lake.write("equity", equity(run, 3, 2.0))
            assert lake.read("equity", where={"run_id": run})["equity"].to_pylist() == [2.0] * 3
        assert lake.read("equity", version=2).num_rows == 3
        assert lake.sql("select count(*) from equity").read_all().to_pydict() == {"count_star()": [6]}
        assert [f.name for f in tmp_path.iterdir()] == [name]

    def test_a_folder_that_the_engine_would_misread(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="per cent"):
            Lake(tmp_path / "a%20b")

    def test_rivals_without_pause_end_in_a_clear_error(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        rival, patient = Lake(lake.root), Lake(lake.root, commit_retries=2)
        days = iter(range(2, 20))
        commit = delta_files.append

        def beaten(handle: DeltaTable, rows: pa.Table) -> None:
            monkeypatch.setattr(delta_files, "append", commit)
            rival.write("bars", bars(("R", next(days), 1.0)))
            monkeypatch.setattr(delta_files, "append", beaten)
            commit(handle, rows)

        monkeypatch.setattr(delta_files, "append", beaten)
        with pytest.raises(Unreachable, match="each of 3 tries.*lake.commit_retries"):
            patient.write("bars", bars(("A", 2, 2.0)))

    def test_a_write_that_met_a_rival_compares_again(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        commit = delta_files.append

        def beaten_once(handle: DeltaTable, rows: pa.Table) -> None:
            monkeypatch.setattr(delta_files, "append", commit)
            Lake(lake.root).write("bars", bars(("A", 2, 2.0)))
            commit(handle, rows)

        monkeypatch.setattr(delta_files, "append", beaten_once)
        written = lake.write("bars", bars(("A", 2, 2.0), ("A", 3, 3.0)))
        assert (written.inserted, written.unchanged) == (1, 1), "the rival wrote A 2 meanwhile"
        assert lake.tables()[0].rows == 3


class TestReplace:
    def test_all_rows_with_the_values_are_replaced_and_no_others(self, lake: Lake) -> None:
        lake.write("equity", pa.concat_tables([equity("a", 3, 1.0), equity("b", 3, 5.0)]))
        written = lake.replace("equity", equity("a", 2, 2.0), {"run_id": "a"})
        assert (written.inserted, written.revised, written.unchanged, written.removed) == (0, 2, 0, 1)
        assert lake.read("equity", where={"run_id": "a"})["equity"].to_pylist() == [2.0, 2.0]
        assert lake.read("equity", where={"run_id": "b"})["equity"].to_pylist() == [5.0] * 3

    def test_equal_content_makes_no_version(self, lake: Lake) -> None:
        rows = equity("a", 3, 1.0)
        version = lake.replace("equity", rows, {"run_id": "a"}).version
        again = lake.replace("equity", rows.take([2, 0, 1]), {"run_id": "a"})
        assert again == Written(version, 0, 0, 3)

    def test_no_rows_take_all_away(self, lake: Lake) -> None:
        lake.write("equity", equity("a", 3, 1.0))
        assert lake.replace("equity", EQUITY.schema.empty_table(), {"run_id": "a"}).removed == 3
        assert lake.read("equity").num_rows == 0

    def test_rows_outside_are_refused(self, lake: Lake) -> None:
        lake.write("equity", equity("a", 3, 1.0))
        with pytest.raises(DataError, match="3 of 3 rows.*outside"):
            lake.replace("equity", equity("b", 3, 1.0), {"run_id": "a"})
        assert lake.read("equity")["run_id"].to_pylist() == ["a"] * 3

    def test_without_values_it_is_refused(self, lake: Lake) -> None:
        with pytest.raises(UsageError, match="name the values"):
            lake.replace("equity", equity("a", 1, 1.0), {})

    def test_in_a_table_with_versions_the_old_ones_go_as_well(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0), ("B", 1, 1.0)))
        lake.write("bars", bars(("A", 1, 2.0)))
        lake.replace("bars", bars(("A", 1, 2.0)), {"symbol": "A"})
        assert lake.tables()[0].rows == 2
        assert closes(lake.read("bars", as_of=close_of(2))) == [("A", 1, 2.0), ("B", 1, 1.0)]


class TestOverwrite:
    def test_rows_and_columns_are_those_of_the_last_overwrite(self, lake: Lake) -> None:
        lake.overwrite("features_core", features(3, a=1.0, b=2.0))
        written = lake.overwrite("features_core", features(2, c=3.0))
        assert (written.inserted, written.removed) == (2, 3)
        read = lake.read("features_core")
        assert read.schema.names == ["symbol", "date", "event_time", "known_from", "c"]
        assert read["c"].to_pylist() == [3.0, 3.0]
        assert lake.read("features_core", version=1).schema.names[-1] == "b"

    def test_equal_content_makes_no_version(self, lake: Lake) -> None:
        rows = features(3, a=math.nan, b=None)
        first = lake.overwrite("features_core", rows)
        assert lake.overwrite("features_core", rows.take([1, 0, 2])) == Written(first.version, 0, 0, 3)
        assert lake.overwrite("features_core", features(3, a=math.nan, b=1.0)).version == first.version + 1


class TestRead:
    def test_history_gives_every_version(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0), ("B", 1, 5.0)))
        lake.write("bars", bars(("A", 1, 2.0), known=close_of(9)))
        assert closes(lake.read("bars", history=True)) == [("A", 1, 1.0), ("A", 1, 2.0), ("B", 1, 5.0)]
        assert lake.read("bars", history=True, as_of=close_of(8)).num_rows == 2

    def test_as_of_hides_what_came_later(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0), ("A", 2, 2.0), ("A", 3, 3.0)))
        assert closes(lake.read("bars", as_of=close_of(2))) == [("A", 1, 1.0), ("A", 2, 2.0)]
        lake.write("features_core", features(3, a=1.0))
        assert lake.read("features_core", as_of=close_of(2)).num_rows == 2

    def test_as_of_needs_a_time_zone_and_may_have_any(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0), ("A", 2, 2.0)))
        with pytest.raises(UsageError, match="time zone"):
            lake.read("bars", as_of=datetime(2020, 1, 1))
        from zoneinfo import ZoneInfo

        assert lake.read("bars", as_of=datetime(2020, 1, 1, 16, tzinfo=ZoneInfo("America/New_York"))).num_rows == 1

    def test_a_filter_on_values_is_applied_to_the_newest_version(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0), ("B", 1, 9.0)))
        lake.write("bars", bars(("A", 1, 20.0)))
        assert closes(lake.read("bars", where=pl.col("close") < 5)) == []
        assert closes(lake.read("bars", where=pl.col("close") > 5)) == [("A", 1, 20.0), ("B", 1, 9.0)]

    def test_filters_by_values(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0), ("B", 1, 2.0), ("C", 2, 3.0)))
        assert closes(lake.read("bars", where={"symbol": ["A", "C"]})) == [("A", 1, 1.0), ("C", 2, 3.0)]
        assert closes(lake.read("bars", where={"date": date(2020, 1, 1), "symbol": "B"})) == [("B", 1, 2.0)]
        assert lake.read("bars", where={"volume": None}).num_rows == 3

    def test_columns_that_decide_need_not_be_asked_for(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        lake.write("bars", bars(("A", 1, 2.0)))
        assert lake.read("bars", columns=["close"], as_of=close_of(5)).to_pydict() == {"close": [1.0]}

    def test_a_version_is_read_as_it_was(self, lake: Lake) -> None:
        first = lake.write("features_core", features(2, a=1.0)).version
        lake.write("features_core", features(3, a=2.0))
        assert lake.read("features_core", version=first)["a"].to_pylist() == [1.0, 1.0]
        assert lake.version("features_core") == 2

    @pytest.mark.parametrize("version", [7, -1])
    def test_a_version_that_is_not_there(self, lake: Lake, version: int) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        with pytest.raises(DataError, match=f"bars.*no readable version {version}; versions 0 to 1 can be read"):
            lake.read("bars", version=version)

    def test_a_version_that_was_vacuumed(self, lake: Lake) -> None:
        for value in (1.0, 2.0, 3.0):
            lake.overwrite("features_core", features(2, a=value))
        DeltaTable(lake.place("features_core")).vacuum(0, dry_run=False, enforce_retention_duration=False)
        latest = lake.version("features_core")
        with pytest.raises(DataError, match="no readable version 1; versions 3 to"):
            lake.read("features_core", version=1)
        assert latest is not None and lake.read("features_core", version=latest)["a"].to_pylist() == [3.0, 3.0]

    @pytest.mark.parametrize(
        ("name", "remedy"),
        [
            ("bars", "aiquant ingest bars"),
            ("features_core", "aiquant features build"),
            ("forecasts", "aiquant train"),
            ("findings", "aiquant lake ls"),
        ],
    )
    def test_a_table_that_is_not_there(self, lake: Lake, name: str, remedy: str) -> None:
        with pytest.raises(MissingError, match=f"no table {name}.*{remedy}"):
            lake.read(name)
        assert lake.read(name, missing_ok=True).num_rows == 0
        assert lake.version(name) is None
        assert not lake.root.exists(), "a look makes no folder"

    def test_a_name_that_no_table_has(self, lake: Lake) -> None:
        with pytest.raises(UsageError, match="did you mean bars?"):
            lake.read("bar")

    @pytest.mark.parametrize("name", ["features_", "features_a/../../b", "../bars", "/bars", "features_a b", ""])
    def test_a_name_that_is_a_path(self, lake: Lake, name: str) -> None:
        with pytest.raises(UsageError, match="no table is named"):
            lake.write(name, features(1, a=1.0))

    def test_a_column_that_is_not_there(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        with pytest.raises(UsageError, match="no column x"):
            lake.read("bars", columns=["x"])
        with pytest.raises(UsageError, match="no column y"):
            lake.read("bars", where=pl.col("y") > 1)

    def test_scan_is_the_same_lazily_and_pushes_down(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0), ("B", 2, 2.0)))
        frame = lake.scan("bars", columns=["symbol", "close"], where={"symbol": "B", "period": "2020"})
        assert frame.collect().rows() == [("B", 2.0)]
        told = frame.explain()
        assert 'col("symbol") ==' in told.split("SELECTION")[1], "the filter reaches the files"
        assert "PROJECT */15" not in told
        assert lake.scan("bars", ordered=False).collect().height == 2

    def test_a_table_given_by_its_schema(self, lake: Lake) -> None:
        news = schemas.Table(
            "news", pa.schema([pa.field("id", pa.string(), nullable=False), ("title", pa.string())]), ("id",)
        )
        lake.write(news, pa.table({"id": ["b", "a"], "title": ["x", None]}))
        assert lake.read(news)["id"].to_pylist() == ["a", "b"]


class TestTables:
    def test_what_the_log_says(self, lake: Lake) -> None:
        assert lake.tables() == []
        lake.write("bars", bars(("A", 1, 1.0), ("A", 5, 1.0)))
        lake.write("equity", equity("a", 2, 1.0))
        lake.write("findings", schemas.FINDINGS.schema.empty_table())
        told = {info.name: info for info in lake.tables()}
        assert list(told) == ["bars", "equity", "findings"]
        assert (told["bars"].rows, told["bars"].files, told["bars"].version) == (2, 1, 1)
        assert (told["bars"].first, told["bars"].last) == (date(2020, 1, 1), date(2020, 1, 5))
        size = sum(f.stat().st_size for f in Path(lake.place("bars")).rglob("*.parquet"))
        assert told["bars"].bytes == size
        assert (told["findings"].rows, told["findings"].first) == (0, None)
        assert lake.versions() == {"bars": 1, "equity": 1, "findings": 0}

    def test_no_data_is_read(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        for file in Path(lake.place("bars")).rglob("*.parquet"):
            file.unlink()
        assert lake.tables()[0].rows == 1

    def test_other_folders_are_no_tables(self, lake: Lake) -> None:
        (lake.root / "notes").mkdir(parents=True)
        (lake.root / "file").write_text("x")
        assert lake.tables() == []


class TestFaults:
    def test_a_log_that_is_damaged(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        (Path(lake.place("bars")) / "_delta_log" / f"{1:020}.json").write_text("{garbage")
        for act in (lambda: lake.read("bars"), lambda: lake.write("bars", bars(("A", 2, 1.0))), lake.tables):
            with pytest.raises(DataError, match="table bars at .*bars.*restore") as caught:
                act()
            assert "\n" not in str(caught.value)

    def test_a_file_that_is_gone(self, lake: Lake) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        for file in Path(lake.place("bars")).rglob("*.parquet"):
            file.unlink()
        with pytest.raises(DataError, match="table bars at .*part-.*is gone"):
            lake.read("bars")

    def test_a_file_that_is_damaged(self, lake: Lake, capfd: pytest.CaptureFixture[str]) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        for file in Path(lake.place("bars")).rglob("*.parquet"):
            file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(DataError, match="table bars at "):
            lake.read("bars")
        with pytest.raises(DataError, match="table bars at .*part-.*cut off"):
            lake.sql("select * from bars")
        assert capfd.readouterr() == ("", ""), "no panic of an engine is shown"

    def test_a_folder_of_someone_else_is_left_alone(self, lake: Lake) -> None:
        folder = lake.root / "bars"
        folder.mkdir(parents=True)
        (folder / "holiday.jpg").write_text("x")
        for act in (lambda: lake.read("bars"), lambda: lake.write("bars", bars(("A", 1, 1.0)))):
            with pytest.raises(DataError, match="holiday.jpg"):
                act()
        assert [f.name for f in folder.iterdir()] == ["holiday.jpg"]

    def test_a_creation_that_was_cut_short_is_completed(self, lake: Lake) -> None:
        (lake.root / "bars" / "_delta_log").mkdir(parents=True)
        assert lake.write("bars", bars(("A", 1, 1.0))).inserted == 1

    def test_a_file_where_a_folder_is_needed(self, lake: Lake) -> None:
        lake.root.parent.mkdir(exist_ok=True)
        lake.root.write_text("a file")
        with pytest.raises(Unreachable, match="table bars at .*lake.root"):
            lake.write("bars", bars(("A", 1, 1.0)))

    def test_a_table_of_others_with_other_columns(self, lake: Lake) -> None:
        lake.root.mkdir()
        write_deltalake(lake.place("bars"), pa.table({"x": [1]}))
        with pytest.raises((DataError, UsageError)):
            lake.read("bars")
        with pytest.raises((DataError, UsageError)):
            lake.write("bars", bars(("A", 1, 1.0)))

    def test_nothing_is_printed(self, lake: Lake, capfd: pytest.CaptureFixture[str]) -> None:
        lake.write("bars", bars(("A", 1, 1.0)))
        lake.write("bars", bars(("A", 1, 2.0)))
        lake.write("features_core", features(2, a=1.0))
        lake.write("features_core", features(3, a=2.0, b=1.0))
        lake.read("bars")
        lake.sql("select * from bars").read_all()
        with pytest.raises(DataError):
            lake.read("bars", version=99)
        assert capfd.readouterr() == ("", "")


def test_universe_members_are_versioned(lake: Lake) -> None:
    """Leaving a universe is a correction of the row that had no end."""
    row: dict[str, Any] = {
        "universe": "u",
        "symbol": "A",
        "member_from": date(2020, 1, 1),
        "member_to": None,
        "event_time": close_of(1),
        "known_from": close_of(1),
        "source": "test",
    }
    lake.write("universe", pa.Table.from_pylist([row], schema=UNIVERSE.schema))
    left = {**row, "member_to": date(2020, 1, 20), "known_from": close_of(18)}
    lake.write("universe", pa.Table.from_pylist([left], schema=UNIVERSE.schema))
    assert lake.read("universe", as_of=close_of(17))["member_to"].to_pylist() == [None]
    assert lake.read("universe", as_of=close_of(18))["member_to"].to_pylist() == [date(2020, 1, 20)]
