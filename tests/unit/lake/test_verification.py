from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from aiquant import calendars
from aiquant.calendars import Sessions
from aiquant.errors import MissingError
from aiquant.lake import Lake, maintenance, verification
from aiquant.lake.sealing import Vault
from aiquant.schemas import BARS, TWEETS


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def sessions(first: date, last: date) -> Sessions:
    return calendars.sessions("XNYS", first, last)


def found(lake: Lake, table: str = "bars") -> dict[str, tuple[str, int, str]]:
    return {f.kind: (f.verdict, f.count, f.detail) for f in verification.verify(lake, table, sessions)}


@pytest.fixture
def bars(make_bars) -> pa.Table:
    """Two symbols, 252 sessions of 2019."""
    return make_bars(symbols=2, first=date(2019, 1, 2), last=date(2019, 12, 31))


def forced(lake: Lake, rows: pa.Table, table: str = "bars", **more: object) -> None:
    """Put rows past our checks, as a foreign writer does."""
    write_deltalake(lake.place(table), rows, mode="append", **more)  # type: ignore[call-overload]


def test_a_sound_table(lake: Lake, bars: pa.Table) -> None:
    lake.write("bars", bars)
    seen: list[int] = []
    assert verification.verify(lake, "bars", sessions, seen.append) == []
    assert seen[-1] == bars.num_rows


def test_versions_of_a_row_are_no_repetition(lake: Lake, bars: pa.Table) -> None:
    lake.write("bars", bars)
    corrected = pl.DataFrame(bars.slice(0, 1)).with_columns(volume=pl.lit(5.0)).to_arrow()
    assert lake.write("bars", corrected.cast(BARS.schema)).revised == 1
    assert found(lake) == {}


def test_a_repeated_key(lake: Lake, bars: pa.Table) -> None:
    lake.write("bars", bars)
    forced(lake, pa.concat_tables([bars.slice(3, 2), bars.slice(3, 1)]))
    verdict, count, detail = found(lake)["repeated_key"]
    assert (verdict, count) == ("broken", 2)
    assert bars["symbol"][3].as_py() in detail and "1d" in detail


def test_a_repeated_key_in_a_table_whose_partition_is_in_the_key(lake: Lake, make_trades) -> None:
    lake.write("ticks", make_trades(10))
    forced(lake, make_trades(1), "ticks")
    assert found(lake, "ticks")["repeated_key"][1] == 1


def test_a_key_repeated_in_another_partition(lake: Lake, bars: pa.Table) -> None:
    lake.write("bars", bars)
    moved = pl.DataFrame(bars.slice(0, 1)).with_columns(period=pl.lit("2018")).to_arrow().cast(BARS.schema)
    forced(lake, moved)
    assert found(lake)["repeated_key"][1] == 1


def test_a_broken_invariant_and_a_null(lake: Lake, bars: pa.Table) -> None:
    lake.write("bars", bars)
    bad = pl.DataFrame(bars.slice(0, 2)).with_columns(
        event_time=pl.col("event_time") + pl.duration(seconds=1), close=-1.0, open=None, high=None, low=None
    )
    forced(lake, bad.to_arrow().cast(BARS.schema))
    verdict, count, detail = found(lake)["invariant"]
    assert (verdict, count) == ("broken", 2)
    assert detail.startswith("close is not a positive number: ")


def test_a_column_of_another_type(lake: Lake, bars: pa.Table) -> None:
    other = bars.set_column(bars.column_names.index("trades"), "trades", pa.nulls(len(bars), pa.float64()))
    write_deltalake(lake.place("bars"), other.append_column("more", pa.nulls(len(bars), pa.string())))
    verdict, count, detail = found(lake)["schema"]
    assert (verdict, count) == ("broken", 3)
    assert "trades is Float64, not Int64" in detail and "unknown column more" in detail and "partitioned by" in detail


def test_a_session_that_nobody_has_and_one_that_a_symbol_lacks(lake: Lake, bars: pa.Table) -> None:
    holiday, day = date(2019, 7, 4), date(2019, 3, 5)
    frame = pl.DataFrame(bars)
    symbol = frame["symbol"][0]
    assert holiday not in frame["date"].to_list()
    frame = frame.filter(
        (pl.col("date") != date(2019, 6, 3)) & ((pl.col("symbol") != symbol) | (pl.col("date") != day))
    )
    lake.write("bars", frame.to_arrow().cast(BARS.schema))
    told = found(lake)
    assert told["empty_session"] == ("broken", 1, "1d: 2019-06-03")
    assert told["gap"] == ("note", 1, f"1d: 1 symbol(s): {symbol} 2019-03-05")


def test_files_that_are_gone_or_cut_off(lake: Lake, bars: pa.Table) -> None:
    lake.write("bars", bars)
    file = next(Path(lake.place("bars")).rglob("*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    assert found(lake)["dead_file"][2].endswith("was cut off or changed")
    file.unlink()
    verdict, count, detail = found(lake)["dead_file"]
    assert (verdict, count) == ("broken", 1) and detail.endswith(f"{file.name} is gone")


def test_orphans_and_old_files_are_notes(lake: Lake, make_trades) -> None:
    for n in range(2):
        lake.write("ticks", make_trades(4, first=4 * n))
    maintenance.compact(lake, "ticks")
    (Path(lake.place("ticks")) / "date=2024-01-02" / "part-x.parquet").write_bytes(b"half")
    told = found(lake, "ticks")
    assert {kind: (v, n) for kind, (v, n, _) in told.items()} == {"orphan_file": ("note", 1), "old_file": ("note", 2)}


def test_a_log_that_cannot_be_read(lake: Lake, bars: pa.Table) -> None:
    lake.write("bars", bars)
    (Path(lake.place("bars")) / "_delta_log" / f"{1:020}.json").write_text("{garbage")
    assert found(lake)["unreadable"][:2] == ("broken", 1)


def test_text_under_a_key_that_is_not_here(lake: Lake, make_posts) -> None:
    Lake(lake.root, vault=Vault({"k1": b"1" * 32}, "k1")).write("tweets", make_posts(("1", "u_a", "fox")))
    assert found(lake, "tweets") == {"unknown_key": ("note", 1, "values under the key 'k1'; not among privacy.keys")}


def test_a_table_of_others_and_one_that_is_not_there(lake: Lake) -> None:
    write_deltalake(str(Path(lake.root) / "theirs"), pa.table({"a": [1]}))
    assert found(lake, "theirs") == {}
    with pytest.raises(MissingError):
        found(lake, "bars")


def test_nulls_in_a_required_column(lake: Lake, make_posts) -> None:
    schema = pa.schema([pa.field(f.name, f.type) for f in TWEETS.schema])
    rows = make_posts(("1", "u_a", "fox")).cast(schema)
    without = rows.set_column(rows.column_names.index("symbols"), "symbols", pa.nulls(1, pa.string()))
    DeltaTable.create(lake.place("tweets"), schema, partition_by=["date"])
    forced(lake, without, "tweets")
    assert found(lake, "tweets")["null"] == ("broken", 1, "column symbols must be filled in each row")
