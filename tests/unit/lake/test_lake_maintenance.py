from __future__ import annotations

import os
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from aiquant.errors import MissingError, RefusedError, UsageError
from aiquant.lake import Lake, delta, maintenance
from aiquant.lake.ledger import Ledger
from aiquant.schemas import DEAD_LETTERS


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def data_files(lake: Lake, table: str) -> list[Path]:
    return sorted(Path(lake.place(table)).rglob("*.parquet"))


def aged(*files: Path, days: float) -> None:
    for file in files:
        os.utime(file, (time.time() - days * 86_400,) * 2)


class TestHistory:
    def test_newest_first_with_rows_and_who(self, lake: Lake, make_trades, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOGNAME", "ada")
        lake.write("ticks", make_trades(3))
        lake.write("ticks", make_trades(2, first=3))
        made, first, second = reversed(maintenance.history(lake, "ticks"))
        assert [v.version for v in (made, first, second)] == [0, 1, 2]
        assert made.operation == "CREATE TABLE"
        assert (first.operation, first.added, second.added) == ("WRITE", 3, 2)
        assert second.who == "ada"
        assert first.time <= second.time and second.time.tzinfo is not None
        assert [v.version for v in maintenance.history(lake, "ticks", limit=1)] == [2]

    def test_a_ledger_signs_too(self, lake: Lake, make_trades, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOGNAME", "ada")
        none = DEAD_LETTERS.schema.empty_table()
        Ledger(lake, "ticks").append(make_trades(3), none, {("ticks", 0): 0}, {("ticks", 0): 3})
        assert maintenance.history(lake, "ticks")[0].who == "ada"

    def test_no_table(self, lake: Lake) -> None:
        with pytest.raises(MissingError, match="no table ticks"):
            maintenance.history(lake, "ticks")
        with pytest.raises(UsageError, match="did you mean ticks"):
            maintenance.history(lake, "tick")

    def test_of_a_table_of_others(self, lake: Lake) -> None:
        write_deltalake(str(Path(lake.root) / "theirs"), pa.table({"a": [1]}))
        assert len(maintenance.history(lake, "theirs")) == 1


class TestCompact:
    def test_small_files_become_one_a_partition_sorted_by_symbol(self, lake: Lake, make_trades) -> None:
        for part in range(6):
            lake.write("ticks", make_trades(10, first=10 * part))
        lake.write("ticks", make_trades(5, day=3))
        before = lake.read("ticks")
        done = maintenance.compact(lake, "ticks")
        assert (done.files_before, done.files_after, done.partitions) == (7, 2, 1)
        assert lake.read("ticks").equals(before)
        paths = delta.active(lake.demand("ticks"))
        big = next(path for path in paths if "2024-01-02" in path)
        symbols = pq.read_table(Path(lake.place("ticks")) / big, partitioning=None)["symbol"].to_pylist()
        assert symbols == ["A"] * 30 + ["B"] * 30

    def test_a_second_time_does_nothing(self, lake: Lake, make_trades) -> None:
        for part in range(3):
            lake.write("ticks", make_trades(10, first=10 * part))
        first = maintenance.compact(lake, "ticks")
        again = maintenance.compact(lake, "ticks")
        assert (again.version, again.partitions, again.files_before) == (first.version, 0, 1)

    def test_large_files_are_left_alone(self, lake: Lake, make_trades) -> None:
        for part in range(3):
            lake.write("ticks", make_trades(10, first=10 * part))
        assert maintenance.compact(lake, "ticks", target_bytes=2).files_after == 3

    def test_a_table_without_partitions(self, lake: Lake) -> None:
        for n in range(3):
            rows = pa.table({"letter_id": [str(n)], "table": ["t"], "source": ["s"], "place": ["p"], "reason": ["r"]})
            now = pa.array([0], pa.timestamp("us", "UTC"))
            lake.write("dead_letters", rows.append_column("payload", [["{}"]]).append_column("ingest_time", now))
        done = maintenance.compact(lake, "dead_letters")
        assert (done.files_before, done.files_after) == (3, 1)
        assert lake.read("dead_letters").num_rows == 3

    def test_a_ledger_goes_on_with_its_old_handle(self, lake: Lake, make_trades) -> None:
        none = DEAD_LETTERS.schema.empty_table()
        ledger = Ledger(lake, "ticks")
        for n in range(3):
            ledger.append(make_trades(4, first=4 * n), none, {("ticks", 0): 4 * n}, {("ticks", 0): 4 * n + 4})
        maintenance.compact(lake, "ticks")
        told = ledger.append(make_trades(4, first=12), none, {("ticks", 0): 12}, {("ticks", 0): 16})
        assert told.inserted == 4
        assert Ledger(lake, "ticks").positions([("ticks", 0)]) == {("ticks", 0): 16}
        assert lake.read("ticks")["trade_id"].to_pylist().sort() == [str(i) for i in range(16)].sort()
        assert lake.read("ticks").num_rows == 16

    def test_keeps_values_of_personal_columns_out_of_the_log(self, lake: Lake, make_posts) -> None:
        for n in range(3):
            lake.write("tweets", make_posts((str(n), "u_secret", "words that nobody else may read")))
        maintenance.compact(lake, "tweets")
        log = "".join(f.read_text() for f in (Path(lake.place("tweets")) / "_delta_log").glob("*.json"))
        assert "u_secret" not in log and "nobody else" not in log
        assert "min.event_time" in pa.table(lake.demand("tweets").get_add_actions(flatten=True)).column_names


class TestVacuum:
    @pytest.fixture
    def compacted(self, lake: Lake, make_trades) -> Lake:
        for part in range(3):
            lake.write("ticks", make_trades(10, first=10 * part))
        maintenance.compact(lake, "ticks")
        return lake

    def test_young_files_stay(self, compacted: Lake) -> None:
        assert maintenance.vacuum(compacted, "ticks", keep_days=1).paths == ()
        assert compacted.read("ticks", version=2).num_rows == 20

    def test_less_than_a_day_is_refused(self, compacted: Lake) -> None:
        with pytest.raises(RefusedError, match="at the least.*--force"):
            maintenance.vacuum(compacted, "ticks", keep_days=0.5)

    def test_a_dry_run_tells_what_a_real_one_deletes(self, compacted: Lake) -> None:
        before = data_files(compacted, "ticks")
        told = maintenance.vacuum(compacted, "ticks", 0, force=True)
        assert (len(told.paths), told.oldest, told.latest, told.deleted) == (3, 4, 4, False)
        assert told.bytes == sum((Path(compacted.place("ticks")) / p).stat().st_size for p in told.paths)
        assert data_files(compacted, "ticks") == before
        done = maintenance.vacuum(compacted, "ticks", 0, delete=True, force=True)
        assert (done.paths, done.bytes, done.deleted) == (told.paths, told.bytes, True)
        assert len(data_files(compacted, "ticks")) == 1
        assert compacted.read("ticks").num_rows == 30
        with pytest.raises(UsageError, match="versions 4 to 4 can be read"):
            compacted.read("ticks", version=2)
        assert maintenance.vacuum(compacted, "ticks", 0, delete=True, force=True).paths == ()

    def test_versions_of_runs_stay(self, compacted: Lake) -> None:
        done = maintenance.vacuum(compacted, "ticks", 0, keep_versions=[2, 99], delete=True, force=True)
        assert (len(done.paths), done.kept) == (1, (2,))
        assert compacted.read("ticks", version=2).num_rows == 20
        with pytest.raises(UsageError):
            compacted.read("ticks", version=3)

    def test_a_file_of_a_write_under_way_stays_and_an_old_orphan_goes(self, compacted: Lake) -> None:
        place = Path(compacted.place("ticks"))
        fresh, old = place / "date=2024-01-02" / "part-a.parquet", place / "date=2024-01-02" / "part-b.parquet"
        for file in (fresh, old):
            file.write_bytes(b"half")
        aged(old, days=2)
        assert (
            maintenance.vacuum(compacted, "ticks", 0, delete=True, force=True).paths.count(
                f"date=2024-01-02/{old.name}"
            )
            == 1
        )
        assert fresh.exists() and not old.exists()

    def test_after_a_checkpoint(self, compacted: Lake) -> None:
        DeltaTable(compacted.place("ticks")).create_checkpoint()
        assert len(maintenance.vacuum(compacted, "ticks", 0, force=True).paths) == 3
        assert len(maintenance.tombstones(compacted.demand("ticks"))) == 3


def test_names_with_characters_that_a_path_encodes(tmp_path: Path) -> None:
    """A run's id is a partition's value, and the engine encodes it in paths."""
    lake = Lake(tmp_path / "My lake é")
    moment = pa.array([0], pa.timestamp("us", "UTC"))
    for n in range(2):
        rows = pa.table(
            {"run_id": ["a b/c:d"], "symbol": [f"S{n}"], "date": pa.array([0], pa.date32()), "event_time": moment}
        )
        lake.write("target_weights", rows.append_column("weight", pa.array([0.5])))
    assert maintenance.compact(lake, "target_weights").files_after == 1
    done = maintenance.vacuum(lake, "target_weights", 0, delete=True, force=True)
    assert len(done.paths) == 2
    assert pl.DataFrame(lake.read("target_weights"))["symbol"].to_list() == ["S0", "S1"]
