"""Bars from files: what is recognised, what becomes a dead letter, what is refused, and in which words."""

from __future__ import annotations

import gc
import gzip
from datetime import UTC, date, datetime
from pathlib import Path
from types import FunctionType
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pytest

from aiquant.errors import DataError, MissingError, SettingsError, UsageError
from aiquant.schemas import BARS, DEAD_LETTERS
from aiquant.settings import DataSettings
from aiquant.sources import files
from aiquant.sources.base import Batch

HEADER = "symbol,date,open,high,low,close,volume\n"
# 2020-01-02, -03, -06 and -07 are sessions of New York, closing at 21:00 UTC; the 4th is a Saturday.
GOOD = "AAA,2020-01-02,10,11,9,10.5,1000\nAAA,2020-01-03,10.5,12,10,11,2000\nBBB,2020-01-02,20,21,19,20,500\n"


def read(path: Path, **more: Any) -> list[Batch]:
    settings = DataSettings(**{k: more.pop(k) for k in list(more) if k in DataSettings.model_fields})
    return list(files.read_bars(path, settings, **more))


def rows(batches: list[Batch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.rows.to_pylist()]


def letters(batches: list[Batch]) -> list[dict[str, Any]]:
    return [letter for batch in batches for letter in batch.letters.to_pylist()]


def reasons(batches: list[Batch]) -> dict[str, str]:
    return {letter["place"]: letter["reason"] for letter in letters(batches)}


def put(folder: Path, text: str | bytes, name: str = "prices.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def test_a_plain_file_gives_bars_in_the_schema(tmp_path: Path) -> None:
    batches = read(put(tmp_path, HEADER + GOOD), adjustment="splits")
    assert len(batches) == 1
    assert batches[0].rows.schema.equals(BARS.schema)
    assert batches[0].letters.schema.equals(DEAD_LETTERS.schema)
    assert letters(batches) == []
    first = rows(batches)[0]
    assert first == {
        "symbol": "AAA",
        "interval": "1d",
        "period": "2020",
        "date": date(2020, 1, 2),
        "event_time": utc(2020, 1, 2, 21),
        "known_from": utc(2020, 1, 2, 21),
        "open": 10.0,
        "high": 11.0,
        "low": 9.0,
        "close": 10.5,
        "volume": 1000.0,
        "vwap": None,
        "trades": None,
        "adjustment": "splits",
        "source": "files",
    }


def test_the_close_follows_summer_time_and_half_days(tmp_path: Path) -> None:
    text = HEADER + "A,2020-07-01,1,1,1,1,1\nA,2020-11-27,1,1,1,1,1\n"  # EDT; the Friday after Thanksgiving, 13:00 EST
    assert [r["event_time"] for r in rows(read(put(tmp_path, text)))] == [utc(2020, 7, 1, 20), utc(2020, 11, 27, 18)]


@pytest.mark.parametrize(
    "header",
    [
        "Ticker;Date;Open;High;Low;Close;Vol",
        "<TICKER>\t<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>",
        "SYM|timestamp|o|h|l|c|v",
        "code,trade_date,Open Price,High Price,Low Price,Closing Price,Total Volume",
        '"Instrument","datetime","1. open","2. high","3. low","4. close","5. volume"',
    ],
)
def test_usual_names_and_delimiters(tmp_path: Path, header: str) -> None:
    delimiter = next(d for d in ";\t|," if d in header)
    body = GOOD.replace(",", delimiter)
    got = rows(read(put(tmp_path, f"{header}\n{body}")))
    assert [(r["symbol"], r["open"], r["high"], r["low"], r["close"], r["volume"]) for r in got] == [
        ("AAA", 10, 11, 9, 10.5, 1000),
        ("AAA", 10.5, 12, 10, 11, 2000),
        ("BBB", 20, 21, 19, 20, 500),
    ]


def test_columns_can_be_mapped(tmp_path: Path) -> None:
    path = put(tmp_path, "name,when,px\nAAA,2020-01-02,5\n")
    got = rows(read(path, columns={"symbol": "name", "date": "when", "close": "PX"}))
    assert (got[0]["symbol"], got[0]["close"], got[0]["open"]) == ("AAA", 5.0, None)
    with pytest.raises(DataError, match=r"has no column 'price2' \(mapped to close\); found: 'name', 'when', 'px'"):
        read(path, columns={"close": "price2"})
    with pytest.raises(UsageError, match="'clos' is not a column.*did you mean 'close'"):
        read(path, columns={"clos": "px"})


def test_a_mapped_column_wins_over_a_recognised_one(tmp_path: Path) -> None:
    path = put(tmp_path, "symbol,date,close,adj close\nAAA,2020-01-02,10,5\n")
    assert rows(read(path))[0]["close"] == 10
    assert rows(read(path, columns={"close": "adj close"}))[0]["close"] == 5


def test_further_columns_are_ignored_with_a_word(tmp_path: Path) -> None:
    batches = read(put(tmp_path, "symbol,date,close,sector,beta\nAAA,2020-01-02,1,Tech,x\n"))
    assert "prices.csv: ignored columns 'sector', 'beta'" in batches[0].notes
    assert len(rows(batches)) == 1


def test_the_file_name_is_the_symbol_where_no_column_is(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Adj Close,Volume\n2020-01-02,1,1,1,1,1,1\n"
    batches = read(put(tmp_path, text, "BRK-B.csv"))
    assert rows(batches)[0]["symbol"] == "BRK-B"
    assert any("taken as BRK-B" in note for note in batches[0].notes)
    with pytest.raises(DataError, match="no column for symbol; found: 'Date', 'Open'.*AAPL.csv"):
        read(put(tmp_path, text, "history.csv"))


def test_symbols_are_stripped_and_in_upper_case(tmp_path: Path) -> None:
    assert rows(read(put(tmp_path, "symbol,date,close\n aapl ,2020-01-02,1\n")))[0]["symbol"] == "AAPL"


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow", ".csv.gz", ".csv.zst", ".tsv"])
def test_all_formats_give_the_same_rows(tmp_path: Path, suffix: str) -> None:
    plain = put(tmp_path, HEADER + GOOD)
    expected = rows(read(plain))
    frame = pl.read_csv(plain, try_parse_dates=True)
    path = tmp_path / f"other{suffix}"
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".feather":
        pa.feather.write_feather(frame.to_arrow(), path)
    elif suffix == ".arrow":
        with pa.ipc.new_stream(path, frame.to_arrow().schema) as writer:
            writer.write_table(frame.to_arrow())
    elif suffix == ".csv.gz":
        path.write_bytes(gzip.compress(plain.read_bytes()))
    elif suffix == ".csv.zst":
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(plain.read_bytes())
    else:
        path.write_text(plain.read_text().replace(",", "\t"))
    assert rows(read(path)) == expected


def test_a_folder_is_one_input(tmp_path: Path) -> None:
    put(tmp_path, "date,close\n2020-01-02,1\n", "in/AAA.csv")
    put(tmp_path, "symbol,date,close\nBBB,2020-01-02,x\n", "in/deep/b.csv")
    put(tmp_path, "nonsense", "in/readme.md")
    put(tmp_path, "nonsense", "in/.hidden.csv")
    batches = read(tmp_path / "in")
    assert [r["symbol"] for r in rows(batches)] == ["AAA"]
    assert list(reasons(batches)) == ["deep/b.csv:2"]


# -------------------------------------------------------------------------------------------------- bad rows


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("AAA,2020-01-03,1,1,1,abc,1", "close 'abc' is not a number"),
        ("AAA,2020-01-03,1,1,1,,1", "close is missing"),
        ("AAA,2020-01-03,1,1,1,NaN,1", "close is not a positive number"),
        ("AAA,2020-01-03,1,1,1,-1,1", "close is not a positive number"),
        ("AAA,2020-01-03,1,1,1,0,1", "close is not a positive number"),
        ("AAA,2020-01-03,1,1,1,inf,1", "close is not a positive number"),
        ("AAA,2020-01-03,0,2,1,1,1", "open is not a positive number"),
        ("AAA,2020-01-03,1,1,2,1,1", "high is below low"),
        ("AAA,2020-01-03,3,2,1,1,1", "open lies outside of low to high"),
        ("AAA,2020-01-03,1,2,1,3,1", "close lies outside of low to high"),
        ("AAA,2020-01-03,1,1,1,1,-5", "volume is negative"),
        ("AAA,2020-01-03,1,1,1,1,many", "volume 'many' is not a number"),
        (",2020-01-03,1,1,1,1,1", "symbol is empty"),
        ("   ,2020-01-03,1,1,1,1,1", "symbol is empty"),
        ("AAA,,1,1,1,1,1", "date is missing"),
        ("AAA,2020-13-03,1,1,1,1,1", "date '2020-13-03' cannot be read"),
        ("AAA,2020-01-04,1,1,1,1,1", "2020-01-04 is no session of XNYS"),
        ("AAA,2999-01-04,1,1,1,1,1", "2999-01-04 lies in the future"),
        ("AAA,1929-10-29,1,1,1,1,1", "1929-10-29 lies before 1980-01-02, where the calendar XNYS begins"),
        ("AAA,2020-01-03,1,1,1", "the row has 5 values, the header 7"),
        ("AAA,2020-01-03,1,1,1,1,1,1", "the row has 8 values, the header 7"),
    ],
)
def test_a_bad_row_is_a_letter_and_the_others_pass(tmp_path: Path, row: str, reason: str) -> None:
    batches = read(put(tmp_path, f"{HEADER}AAA,2020-01-02,1,1,1,1,1\n{row}\nAAA,2020-01-06,1,1,1,1,1\n"))
    assert [r["date"] for r in rows(batches)] == [date(2020, 1, 2), date(2020, 1, 6)]
    (letter,) = letters(batches)
    assert letter["place"] == "prices.csv:3"
    assert reason in letter["reason"]
    assert letter["table"] == "bars"


def test_a_letter_holds_the_row_as_it_came(tmp_path: Path) -> None:
    (letter,) = letters(read(put(tmp_path, HEADER + "AAA,2020-01-02,1,1,1, 1x,\n")))
    assert letter["payload"] == (
        '{"symbol":"AAA","date":"2020-01-02","open":"1","high":"1","low":"1","close":" 1x","volume":""}'
    )
    assert (letter["symbol"], letter["date"]) == ("AAA", date(2020, 1, 2))


def test_the_same_bad_row_is_the_same_letter(tmp_path: Path) -> None:
    path = put(tmp_path, HEADER + "AAA,2020-01-02,1,1,1,x,\n")
    assert letters(read(path))[0]["letter_id"] == letters(read(path))[0]["letter_id"]


def test_lines_are_counted_through_blank_ragged_and_padded_ones(tmp_path: Path) -> None:
    text = "\n" + HEADER + "AAA,2020-01-02,1,1,1,1,1\n\nshort\n,,,,,,\nAAA,2020-01-03,1,1,1,x,1\n"
    batches = read(put(tmp_path, text))
    assert list(reasons(batches)) == ["prices.csv:7", "prices.csv:5"]
    assert len(rows(batches)) == 1


def test_parquet_rows_count_from_one(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pl.DataFrame(
        {"symbol": ["A", "A"], "date": [date(2020, 1, 2), date(2020, 1, 3)], "close": [1.0, -1.0]}
    ).write_parquet(path)
    assert list(reasons(read(path))) == ["p.parquet:2"]


def test_missing_optional_values_are_null_and_keep_the_row(tmp_path: Path) -> None:
    (row,) = rows(read(put(tmp_path, "symbol,date,open,high,low,close,volume,trades\nA,2020-01-02,,N/A,null,1,NaN,\n")))
    assert [row[n] for n in ("open", "high", "low", "close", "volume", "trades")] == [None, None, None, 1.0, None, None]


def test_a_trade_count_must_be_whole(tmp_path: Path) -> None:
    batches = read(put(tmp_path, "symbol,date,close,trades\nA,2020-01-02,1,3\nA,2020-01-03,1,2.5\n"))
    assert rows(batches)[0]["trades"] == 3
    assert reasons(batches) == {"prices.csv:3": "trades '2.5' is not a count"}


def test_strict_refuses_the_whole_file_and_names_the_row(tmp_path: Path) -> None:
    path = put(tmp_path, HEADER + GOOD + "AAA,2020-01-06,1,1,1,x,1\n")
    with pytest.raises(DataError, match=r"prices.csv:5: close 'x' is not a number"):
        next(files.read_bars(path, DataSettings(), strict=True))
    assert len(rows(read(put(tmp_path, HEADER + GOOD), strict=True))) == 3


def test_an_unsorted_file_is_fine(tmp_path: Path) -> None:
    lines = GOOD.splitlines()
    assert len(rows(read(put(tmp_path, HEADER + "\n".join(reversed(lines)) + "\n")))) == 3


# ------------------------------------------------------------------------------------------------ duplicates


def test_the_same_row_twice_is_one_row_and_is_counted(tmp_path: Path) -> None:
    text = HEADER + GOOD + "aaa,2020/01/02,10.0,11,9,10.50,1000\n"  # written otherwise, says the same
    batches = read(put(tmp_path, text), strict=True)
    assert len(rows(batches)) == 3
    assert batches[0].duplicates == 1
    assert "1 rows that said the same twice were collapsed" in batches[0].notes


def test_rows_that_contradict_one_another_are_all_set_aside(tmp_path: Path) -> None:
    path = put(tmp_path, HEADER + GOOD + "AAA,2020-01-02,10,11,9,10.6,1000\nAAA,2020-01-02,10,11,9,10.5,1000\n")
    batches = read(path)
    assert [(r["symbol"], r["date"].day) for r in rows(batches)] == [("AAA", 3), ("BBB", 2)]
    assert reasons(batches) == {
        "prices.csv:2": "contradicts prices.csv:5: the same symbol and time with other values",
        "prices.csv:5": "contradicts prices.csv:2: the same symbol and time with other values",
        "prices.csv:6": "contradicts prices.csv:2: the same symbol and time with other values",
    }
    with pytest.raises(DataError, match="prices.csv:2: contradicts prices.csv:5"):
        read(path, strict=True)


def test_contradictions_are_found_across_the_files_of_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "symbol,date,close\nA,2020-01-02,1\nB,2020-01-02,1\n", "in/1.csv")
    put(tmp_path, "symbol,date,close\nA,2020-01-02,2\nB,2020-01-02,1\n", "in/2.csv")
    batches = read(tmp_path / "in")
    assert [r["symbol"] for r in rows(batches)] == ["B"]
    assert sorted(reasons(batches)) == ["1.csv:2", "2.csv:2"]


def test_batches_are_bounded_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BATCH_ROWS", 2)
    monkeypatch.setattr("aiquant.sources.delimited.BLOCK_BYTES", 64)
    monkeypatch.setattr("aiquant.sources.spool.MEMORY_BYTES", 10)  # everything goes through the temporary file
    days = ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07", "2020-01-08"]
    lines = [f"{s},{d},{v}" for v, d in enumerate(days, 1) for s in ("A", "B", "C")]
    text = "symbol,date,close\n" + "\n".join([*lines, "A,2020-01-02,1", "bad,x,1", "C,2020-01-08,9"]) + "\n"
    batches = read(put(tmp_path, text))
    assert sum(b.rows.num_rows for b in batches) == 14
    assert sum(b.duplicates for b in batches) == 1
    assert sorted(reasons(batches)) == ["prices.csv:16", "prices.csv:18", "prices.csv:19"]
    assert len(batches) > 3
    assert sorted((r["symbol"], r["date"].isoformat()) for r in rows(batches)) == sorted(
        (s, d) for s in "ABC" for d in days if (s, d) != ("C", "2020-01-08")
    )


# ------------------------------------------------------------------------------------------------------ wide


def test_a_wide_file_is_closes_by_symbol(tmp_path: Path) -> None:
    batches = read(put(tmp_path, "Date,aapl,T,LOW\n2020-01-02,1.5,2,\n2020-01-03,-1,NaN,3\n"))
    got = {(r["symbol"], r["date"].day): (r["close"], r["open"]) for r in rows(batches)}
    assert got == {("AAPL", 2): (1.5, None), ("T", 2): (2.0, None), ("LOW", 3): (3.0, None)}
    assert reasons(batches) == {"prices.csv:3": "close is not a positive number"}
    assert letters(batches)[0]["symbol"] == "AAPL"


def test_a_wide_file_with_an_unnamed_index(tmp_path: Path) -> None:
    got = rows(read(put(tmp_path, ",SPY,QQQ\n2020-01-02,300,200\n")))
    assert {r["symbol"] for r in got} == {"SPY", "QQQ"}


def test_tickers_of_one_letter_do_not_make_a_file_long(tmp_path: Path) -> None:
    got = rows(
        read(put(tmp_path, "date,C,F,O,L,H,T,V,AAPL,MSFT,GE,KO,PG,JPM,BAC,WMT,XOM\n2020-01-02" + ",5" * 16 + "\n"))
    )
    assert len(got) == 16


def test_the_layout_can_be_said(tmp_path: Path) -> None:
    path = put(tmp_path, "date,open,high,low,close\n2020-01-02,1,1,1,1\n", "AAA.csv")
    assert [r["symbol"] for r in rows(read(path))] == ["AAA"]
    assert sorted(r["symbol"] for r in rows(read(path, layout="wide"))) == ["CLOSE", "HIGH", "LOW", "OPEN"]


def test_wide_parquet(tmp_path: Path) -> None:
    path = tmp_path / "w.parquet"
    pl.DataFrame({"date": [date(2020, 1, 2)], "A": [1.0], "B": [2], "C": [float("nan")]}).write_parquet(path)
    assert {r["symbol"]: r["close"] for r in rows(read(path))} == {"A": 1.0, "B": 2.0}


# ---------------------------------------------------------------------------------------------- dates, times


@pytest.mark.parametrize(
    "text",
    [
        "2020-01-02",
        "2020/01/02",
        "20200102",
        "02.01.2020",
        "02-Jan-2020",
        "2 Jan 2020",
        "Jan 02, 2020",
        "2020-01-02 00:00:00",
        "2020-01-02T00:00:00Z",
        "2020-01-02 00:00:00-05:00",
        "1577941200000",  # an epoch of midnight in New York, as Polygon stamps daily bars
    ],
)
def test_a_day_in_any_usual_form_is_the_close_of_its_session(tmp_path: Path, text: str) -> None:
    quoted = f'"{text}"'
    (row,) = rows(read(put(tmp_path, f"symbol,date,close\nA,{quoted},1\n")))
    assert (row["date"], row["event_time"]) == (date(2020, 1, 2), utc(2020, 1, 2, 21))


def test_slashed_dates_are_read_by_the_rows_that_leave_no_choice(tmp_path: Path) -> None:
    american = "symbol,date,close\nA,01/03/2020,1\nA,01/31/2020,1\n"
    assert [r["date"] for r in rows(read(put(tmp_path, american)))] == [date(2020, 1, 3), date(2020, 1, 31)]
    british = "symbol,date,close\nA,03/01/2020,1\nA,31/01/2020,1\n"
    assert [r["date"] for r in rows(read(put(tmp_path, british)))] == [date(2020, 1, 3), date(2020, 1, 31)]
    with pytest.raises(DataError, match="'02/03/2020' can be read month first or day first; write dates as YYYY"):
        read(put(tmp_path, "symbol,date,close\nA,02/03/2020,1\n"))


def test_a_given_event_time_is_the_close_but_never_before_the_session_closes(tmp_path: Path) -> None:
    text = "symbol,event_time,close\nA,2020-01-02T16:05:00-05:00,1\nB,2020-01-02T15:00:00Z,1\n"
    batches = read(put(tmp_path, text))
    assert {r["symbol"]: r["event_time"] for r in rows(batches)} == {
        "A": utc(2020, 1, 2, 21, 5),
        "B": utc(2020, 1, 2, 21),
    }
    assert any("1 times lay before the session's close" in note for note in batches[0].notes)


def test_offsets_are_taken_row_by_row_and_naive_rows_among_them_are_letters(tmp_path: Path) -> None:
    text = (
        "symbol,event_time,close\n"
        "A,2020-01-02 16:10:00-05:00,1\nB,2020-01-02 22:10:00+01:00,1\nC,2020-01-02T21:10:00Z,1\n"
        "D,2020-01-02 16:10:00,1\n"
    )
    batches = read(put(tmp_path, text))
    assert {r["symbol"]: r["event_time"] for r in rows(batches)} == dict.fromkeys("ABC", utc(2020, 1, 2, 21, 10))
    assert reasons(batches) == {"prices.csv:5": "time '2020-01-02 16:10:00' has no time zone"}


@pytest.mark.parametrize(
    ("zone", "close"),
    [("exchange", utc(2020, 7, 1, 20, 10)), ("UTC", utc(2020, 7, 1, 20)), ("Europe/Berlin", utc(2020, 7, 1, 20))],
)
def test_naive_times_need_a_zone(tmp_path: Path, zone: str, close: datetime) -> None:
    path = put(tmp_path, "symbol,event_time,close\nA,2020-07-01 16:10:00,1\n")
    with pytest.raises(DataError, match=r"no time zone \(the first is '2020-07-01 16:10:00'\); set data.time_zone"):
        read(path)
    assert rows(read(path, time_zone=zone))[0]["event_time"] == close
    with pytest.raises(SettingsError, match="data.time_zone: 'Mars/Base' is no time zone"):
        read(path, time_zone="Mars/Base")


def test_most_rows_on_no_session_points_to_the_calendar(tmp_path: Path) -> None:
    batches = read(put(tmp_path, "symbol,date,close\nA,2020-01-04,1\nA,2020-01-05,1\nA,2020-01-06,1\n"))
    assert any("2 of 3 rows lie on no session of XNYS: is data.calendar" in note for note in batches[0].notes)
    assert len(rows(read(tmp_path / "prices.csv", calendar="24/7"))) == 3


def test_a_date_and_an_event_time_together(tmp_path: Path) -> None:
    text = (
        "symbol,date,event_time,close\nA,2020-01-02,2020-01-03T08:00:00Z,1\nB,2020-01-02,2020-01-02T21:00:00Z,1\n"
        "C,soon,2020-01-02T21:00:00Z,1\n"
    )
    batches = read(put(tmp_path, text))
    assert {r["symbol"]: (r["date"].day, r["event_time"]) for r in rows(batches)} == {
        "A": (2, utc(2020, 1, 3, 8)),
        "B": (2, utc(2020, 1, 2, 21)),
    }
    assert reasons(batches) == {"prices.csv:4": "date is missing or cannot be read"}


# -------------------------------------------------------------------------------------------------- intraday


MINUTES = "symbol,{},close\nA,2020-01-02T14:31:00Z,1\nA,2020-01-02T14:32:00Z,2\nA,2020-01-02T14:33:00Z,3\n"


def test_intraday_bars_close_at_their_event_time(tmp_path: Path) -> None:
    got = rows(read(put(tmp_path, MINUTES.format("event_time")), interval="1m"))
    assert [r["event_time"].minute for r in got] == [31, 32, 33]
    assert {(r["period"], r["date"], r["interval"]) for r in got} == {("2020-01-02", date(2020, 1, 2), "1m")}


@pytest.mark.parametrize("name", ["start_utc", "t", "timestamp"])
def test_a_start_or_an_unclear_time_never_makes_a_bar_known_too_early(tmp_path: Path, name: str) -> None:
    got = rows(read(put(tmp_path, MINUTES.format(name)), interval="1m"))
    assert [r["event_time"].minute for r in got] == [32, 33, 34]


def test_intraday_bars_with_a_daily_setting_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds intraday bars, setting data.interval is '1d'; set data.interval"):
        read(put(tmp_path, MINUTES.format("event_time")))


def test_daily_bars_with_an_intraday_setting_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds dates without a time of day, setting data.interval is '5m'"):
        read(put(tmp_path, HEADER + GOOD), interval="5m")


def test_date_and_clock_in_two_columns(tmp_path: Path) -> None:
    text = "symbol,date,time,close\nA,2020-01-02,09:30,1\nA,2020-01-02,09:31,1\n"
    got = rows(read(put(tmp_path, text), interval="1m", time_zone="exchange"))
    assert [r["event_time"] for r in got] == [utc(2020, 1, 2, 14, 31), utc(2020, 1, 2, 14, 32)]


def test_bars_of_other_intervals_are_left_out_and_counted(tmp_path: Path) -> None:
    text = "symbol,interval,end_utc,close\nA,1min,2020-01-02T14:31:00Z,1\nA,15min,2020-01-02T14:45:00Z,2\n"
    batches = read(put(tmp_path, text), interval="15m")
    assert [r["close"] for r in rows(batches)] == [2.0]
    assert batches[0].left_out == 1
    with pytest.raises(DataError, match=r"holds bars of the interval\(s\) 15m, 1m only, setting data.interval is '1d'"):
        read(tmp_path / "prices.csv")


def test_a_date_that_contradicts_its_time_is_a_letter(tmp_path: Path) -> None:
    text = "symbol,date,event_time,close\nA,2020-01-02,2020-01-02T15:00:00Z,1\nA,2020-01-03,2020-01-02T15:01:00Z,1\n"
    batches = read(put(tmp_path, text), interval="1m")
    assert len(rows(batches)) == 1
    assert reasons(batches) == {"prices.csv:3": "date 2020-01-02 and the time name different sessions"}


def test_evening_bars_belong_to_the_exchange_date(tmp_path: Path) -> None:
    text = "symbol,event_time,close\nA,2020-01-03T00:30:00Z,1\n"  # 19:30 on the 2nd in New York
    assert rows(read(put(tmp_path, text), interval="1m"))[0]["date"] == date(2020, 1, 2)


# --------------------------------------------------------------------------------------------------- numbers


def test_decimal_commas(tmp_path: Path) -> None:
    text = "symbol;date;open;close;volume\nA;2020-01-02;1.234,5;1.234,56;1.000\n"
    (row,) = rows(read(put(tmp_path, text)))
    assert (row["open"], row["close"], row["volume"]) == (1234.5, 1234.56, 1000.0)


def test_thousands_separators(tmp_path: Path) -> None:
    text = 'symbol,date,close,volume\nA,2020-01-02,"1,234.50","1,000"\n'
    (row,) = rows(read(put(tmp_path, text)))
    assert (row["close"], row["volume"]) == (1234.5, 1000.0)


def test_a_comma_that_may_be_either_is_a_letter(tmp_path: Path) -> None:
    assert reasons(read(put(tmp_path, 'symbol,date,close\nA,2020-01-02,"1,234"\n'))) == {
        "prices.csv:2": "close '1,234' is not a number"
    }


# --------------------------------------------------------------------------------- files that cannot be read


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (b"", "prices.csv", "prices.csv is empty"),
        (b"\n \n", "prices.csv", "prices.csv is empty"),
        (HEADER.encode(), "prices.csv", "prices.csv holds a header and no rows"),
        (b"a,b\n1,2\n", "prices.csv", "no column for a date or time; found: 'a', 'b'"),
        (b"symbol,date\nA,2020-01-02\n", "prices.csv", "no column for close; found: 'symbol', 'date'"),
        (b"date,headline\n2020-01-02,Stocks rise\n", "prices.csv", "no column for symbol and close"),
        (b"symbol,date,close,close\nA,2020-01-02,1,2\n", "prices.csv", "2 columns are named 'close'"),
        (b"\x89PNG\x00\x00\x01", "prices.csv", "prices.csv is not a text file"),
        (b"PAR1 but not really", "prices.parquet", "prices.parquet cannot be read as Parquet"),
        (b"", "prices.parquet", "prices.parquet is empty"),
        (b"ARROW1 but not really", "prices.arrow", "prices.arrow cannot be read as Arrow"),
        (b"not gzip at all", "prices.csv.gz", "prices.csv.gz cannot be read"),
        (b"x", "prices.xlsx", "prices.xlsx has no suffix that says what it is"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, name: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        read(put(tmp_path, content, name))
    assert problem in str(caught.value)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_file_that_was_read_is_held_by_no_thread(tmp_path: Path) -> None:
    # a thread that drops a Python object while Python shuts down aborts the process
    for _ in range(20):
        with pytest.raises(DataError):
            read(put(tmp_path, HEADER))
        held = [f for f in gc.get_objects() if type(f) is FunctionType and "_batches.<locals>" in f.__qualname__]
        assert not held


def test_a_cut_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + GOOD * 50).encode())
    with pytest.raises(DataError, match="prices.csv.gz cannot be read"):
        read(put(tmp_path, whole[: len(whole) // 2], "prices.csv.gz"))


def test_no_file_and_no_readable_file(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no file or folder .*nowhere.csv; check the path"):
        read(tmp_path / "nowhere.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file that can be read; put CSV"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = "symbol,date,close,näme\nA,2020-01-02,1,Müller\n"
    data = text.encode(encoding)
    if encoding == "utf-16-le":
        data = b"\xff\xfe" + data
    batches = read(put(tmp_path, data))
    assert [r["close"] for r in rows(batches)] == [1.0]
    assert any("read as Latin-1" in note for note in batches[0].notes) == (encoding == "latin-1")


def test_windows_line_ends_and_quoted_fields(tmp_path: Path) -> None:
    text = 'symbol,date,close,name\r\nA,2020-01-02,1,"Smith, Jones\r\nand Sons"\r\nB,2020-01-02,2,x\r\n'
    assert [r["symbol"] for r in rows(read(put(tmp_path, text)))] == ["A", "B"]


@pytest.mark.parametrize("row", ['"B,2020-01-02,2,x', 'B,2020-01-02,2,"x'])
def test_a_quotation_mark_that_is_never_closed_swallows_no_rows(tmp_path: Path, row: str) -> None:
    text = f"symbol,date,close,name\nA,2020-01-02,1,x\n{row}\nC,2020-01-02,3,x\nD,2020-01-02,4,x\n"
    with pytest.raises(DataError, match=r"prices.csv: a quotation mark is opened and never closed .*in line 3\)"):
        read(put(tmp_path, text))


def test_an_unknown_calendar_is_a_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no exchange calendar is named 'XXXX'"):
        read(put(tmp_path, HEADER + GOOD), calendar="XXXX")


def test_json_lines_are_rows_too(tmp_path: Path) -> None:
    file = tmp_path / "bars.jsonl"
    file.write_text(
        '{"symbol": "A", "date": "2020-01-02", "close": 10.5, "volume": 100}\n'
        '{"symbol": "A", "date": "2020-01-03", "close": -1}\n'
        '{"symbol": "A", "date": "2020-01-06", "close": 11}\n'
    )
    batches = read(file)
    assert [(r["close"], r["volume"]) for r in rows(batches)] == [(10.5, 100.0), (11.0, None)]
    assert [place for place in reasons(batches)] == ["bars.jsonl:2"]
