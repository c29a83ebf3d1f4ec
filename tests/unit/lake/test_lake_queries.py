from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from aiquant.errors import DataError, MissingError, RefusedError, UsageError
from aiquant.lake import Lake
from aiquant.schemas import BARS, FINDINGS


def _bars(close: float, symbols: str = "AB", year: int = 2020) -> pa.Table:
    moment = datetime(year, 1, 2, 21, tzinfo=UTC)
    rows = [
        {
            "symbol": symbol,
            "interval": "1d",
            "period": str(year),
            "date": moment.date(),
            "event_time": moment,
            "known_from": moment,
            "close": close,
            "adjustment": "none",
            "source": "test",
        }
        for symbol in symbols
    ]
    return pa.Table.from_pylist(rows, schema=BARS.schema)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.write("bars", _bars(1.0))
    lake.write("bars", _bars(2.0, "A"))
    lake.write("findings", FINDINGS.schema.empty_table())
    return lake


def _rows(lake: Lake, query: str, **more: dict[str, int]) -> list[dict[str, object]]:
    return lake.sql(query, **more).read_all().to_pylist()  # type: ignore[arg-type, no-any-return]


def test_a_view_shows_the_newest_version_and_versions_shows_all(lake: Lake) -> None:
    assert _rows(lake, "select symbol, close from bars order by symbol") == [
        {"symbol": "A", "close": 2.0},
        {"symbol": "B", "close": 1.0},
    ]
    assert _rows(lake, "select count(*) as n from bars_versions") == [{"n": 3}]
    assert _rows(lake, "select count(*) as n from BARS b join findings f using (symbol)") == [{"n": 0}]


def test_a_delta_version(lake: Lake) -> None:
    assert _rows(lake, "select sum(close) as s from bars", versions={"bars": 1}) == [{"s": 2.0}]
    with pytest.raises(DataError, match="versions 0 to 2"):
        lake.sql("select * from bars", versions={"bars": 9})


def test_times_are_utc(lake: Lake) -> None:
    reader = lake.sql("select event_time, event_time::text as told from bars limit 1")
    assert reader.schema.field("event_time").type == pa.timestamp("us", "UTC")
    assert reader.read_all()["told"][0].as_py().startswith("2020-01-02 21:00:00")


def test_filters_on_partitions_spare_the_other_files(lake: Lake) -> None:
    lake.write("bars", _bars(5.0, "C", 2019))
    for file in (Path(lake.place("bars")) / "interval=1d" / "period=2020").iterdir():
        file.write_bytes(bytes(file.stat().st_size))
    assert _rows(lake, "select symbol from bars where period = '2019'") == [{"symbol": "C"}]
    assert _rows(lake, "select symbol from bars where date < '2019-06-01'") == [{"symbol": "C"}]
    with pytest.raises(DataError, match="cannot be read"):
        lake.sql("select * from bars").read_all()


def test_results_stream(lake: Lake) -> None:
    reader = lake.sql("select i from range(1000000000000) t(i)")
    assert reader.read_next_batch()["i"][0].as_py() == 0
    reader.close()


def test_what_does_not_fit_into_memory_is_spilled(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reader = lake.sql("select hash(i) as h from range(6000000) t(i) order by h", memory_limit="40MB")
    assert [f for f in tmp_path.glob("aiquant-sql-*")], "it spilled"
    total = sum(batch.num_rows for batch in reader)
    assert total == 6_000_000
    assert not list(tmp_path.glob("aiquant-sql-*")), "and tidied up"


def test_show_and_describe_and_explain(lake: Lake) -> None:
    assert [row["name"] for row in _rows(lake, "show tables")] == ["bars", "bars_versions", "findings"]
    assert _rows(lake, "describe bars")[0]["column_name"] == "symbol"
    assert _rows(lake, "explain select 1")


def test_a_table_of_others_is_shown_as_it_is(lake: Lake) -> None:
    write_deltalake(lake.place("mine"), pa.table({"x": [1, 2]}))
    assert _rows(lake, "select sum(x) as s from mine") == [{"s": 3}]


@pytest.mark.parametrize(
    "query",
    [
        "copy (select 1) to '{here}/out.csv'",
        "copy bars to '{here}/out.parquet' (format parquet)",
        "attach '{here}/other.db'",
        "export database '{here}/out'",
        "create table t as select 1",
        "drop view bars",
        "insert into bars select * from bars",
        "delete from bars",
        "update bars set close = 1",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "pragma enable_profiling",
        "call pragma_version()",
        "select * from read_csv('{here}/secret.csv')",
        "select * from read_text('{here}/secret.csv')",
        "select * from read_parquet('{here}/**/*.parquet')",
        "select * from glob('{here}/*')",
        "select * from '{here}/secret.csv'",
        "select * from bars, read_blob('{here}/secret.csv')",
        "select * from read_csv('https://localhost:1/x.csv')",
        "select * from delta_scan('{here}/lake/bars')",
        "select * from duckdb_secrets()",
    ],
)
def test_a_query_reads_the_lake_and_nothing_else(lake: Lake, tmp_path: Path, query: str) -> None:
    (tmp_path / "secret.csv").write_text("password\nx\n")
    before = lake.versions(), sorted(str(f) for f in tmp_path.rglob("*"))
    with pytest.raises((RefusedError, MissingError, UsageError)) as caught:
        lake.sql(query.format(here=tmp_path)).read_all()
    assert caught.value.remedy
    assert before == (lake.versions(), sorted(str(f) for f in tmp_path.rglob("*")))


@pytest.mark.parametrize("query", ["copy bars to 'x.csv'", "select * from read_csv('x.csv')", "attach 'x.db'"])
def test_writing_and_files_are_refused_by_policy(lake: Lake, query: str) -> None:
    with pytest.raises(RefusedError) as caught:
        lake.sql(query)
    assert caught.value.exit_code == 4


def test_variables_of_the_caller_are_no_tables(lake: Lake) -> None:
    hidden = pa.table({"x": [1]})
    with pytest.raises(MissingError, match="no table hidden"):
        lake.sql("select * from hidden")
    assert hidden.num_rows == 1


@pytest.mark.parametrize(
    ("query", "error", "words"),
    [
        ("selct 1", UsageError, 'syntax error at or near "selct"'),
        ("select * from barz", MissingError, "no table barz; did you mean bars?"),
        ("select * from zebra", MissingError, "no table zebra; tables: bars, findings"),
        ("select clos from bars", UsageError, '"clos" not found.*"close"'),
        ("", UsageError, "one SQL statement"),
        ("select 1; select 2", UsageError, "one SQL statement"),
        ("select 'a'::int", UsageError, "Could not convert"),
        ("select error('no') from bars", UsageError, "no"),
    ],
)
def test_mistakes_are_told_in_one_line(lake: Lake, query: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        lake.sql(query).read_all()
    assert "\n" not in str(caught.value)


def test_an_error_in_the_middle_of_a_stream_is_told_as_well(lake: Lake) -> None:
    reader = lake.sql("select case when i < 400000 then 1 else error('too far') end as x from range(500000) t(i)")
    with pytest.raises(UsageError, match="too far"):
        for _ in reader:
            pass


def test_an_empty_lake(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no table bars.*aiquant ingest bars"):
        Lake(tmp_path / "none").sql("select * from bars")
    assert _rows(Lake(tmp_path / "none"), "select 1 as x") == [{"x": 1}]


def test_a_damaged_table_does_not_hinder_queries_on_others(lake: Lake) -> None:
    (Path(lake.place("findings")) / "_delta_log" / f"{0:020}.json").write_text("{")
    assert _rows(lake, "select count(*) as n from bars") == [{"n": 2}]
    with pytest.raises(DataError, match="findings"):
        lake.sql("select * from findings")


def test_a_reader_that_is_not_read_to_its_end_leaves_nothing(lake: Lake) -> None:
    before = datetime.now()
    for _ in range(20):
        lake.sql("select * from bars")
    assert datetime.now() - before < timedelta(seconds=20)
