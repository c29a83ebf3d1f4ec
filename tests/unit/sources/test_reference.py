"""Corporate actions and universes from files."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from aiquant.errors import DataError
from aiquant.schemas import CLASSIFICATION, CORPORATE_ACTIONS, UNIVERSE
from aiquant.settings import DataSettings
from aiquant.sources.files import read_actions, read_classification, read_universe

DATA = DataSettings()


def put(folder: Path, text: str, name: str = "actions.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_actions_are_known_at_the_open_of_their_session(tmp_path: Path) -> None:
    text = "symbol,kind,date,ratio,amount\naapl,split,2020-08-31,4,\nKO,Dividend,2020-03-13,,0.41\n"
    batch = read_actions(put(tmp_path, text), DATA)
    assert batch.rows.schema.equals(CORPORATE_ACTIONS.schema)
    split, dividend = batch.rows.to_pylist()
    assert (split["symbol"], split["kind"], split["ratio"], split["amount"]) == ("AAPL", "split", 4.0, None)
    assert split["event_time"] == split["known_from"] == datetime(2020, 8, 31, 13, 30, tzinfo=UTC)
    assert (dividend["kind"], dividend["amount"]) == ("dividend", 0.41)


def test_an_announcement_is_known_from_its_time_and_a_bare_day_from_its_end(tmp_path: Path) -> None:
    text = (
        "symbol,kind,ex_date,ratio,announced\n"
        "A,split,2020-08-31,4,2020-07-30T20:30:00Z\nB,split,2020-08-31,2,2020-07-30\nC,split,2020-08-31,2,\n"
    )
    got = {r["symbol"]: r["event_time"] for r in read_actions(put(tmp_path, text), DATA).rows.to_pylist()}
    assert got == {
        "A": datetime(2020, 7, 30, 20, 30, tzinfo=UTC),
        "B": datetime(2020, 7, 31, 4, tzinfo=UTC),  # midnight in New York
        "C": datetime(2020, 8, 31, 13, 30, tzinfo=UTC),
    }


@pytest.mark.parametrize(("text", "ratio"), [("4:1", 4.0), ("3-for-2", 1.5), ("1/10", 0.1), ("2", 2.0)])
def test_ratios_as_they_are_written(tmp_path: Path, text: str, ratio: float) -> None:
    batch = read_actions(put(tmp_path, f"symbol,date,kind,ratio\nA,2020-08-31,split,{text}\n"), DATA)
    assert batch.rows["ratio"].to_pylist() == [ratio]


def test_without_a_kind_values_say_what_happened(tmp_path: Path) -> None:
    lines = ["Symbol,Date,Dividends,Stock Splits", "A,2020-08-31,0.5,0", "B,2020-08-31,0,2", "C,2020-08-31,0.5,2"]
    text = "\n".join([*lines, "D,2020-08-31,0,0", ""])
    batch = read_actions(put(tmp_path, text), DATA)
    got = {(r["symbol"], r["kind"]): (r["ratio"], r["amount"]) for r in batch.rows.to_pylist()}
    assert got == {
        ("A", "dividend"): (None, 0.5),
        ("B", "split"): (2.0, None),
        ("C", "split"): (2.0, None),
        ("C", "dividend"): (None, 0.5),
    }
    assert [(x["place"], x["symbol"]) for x in batch.letters.to_pylist()] == [("actions.csv:5", "D")]


def test_bad_actions_are_letters(tmp_path: Path) -> None:
    text = (
        "symbol,kind,date,ratio,amount\nA,split,2020-08-30,4,\nA,split,2020-08-31,-4,\nA,merger,2020-08-31,,\n"
        "A,split,soon,2,\nA,dividend,2020-08-31,,1\nA,dividend,2020-08-31,,1\n"
        "B,split,2020-08-31,2,\nB,split,2020-08-31,3,\n"
    )
    path = put(tmp_path, text)
    batch = read_actions(path, DATA)
    told = {x["place"].split(":")[1]: x["reason"] for x in batch.letters.to_pylist()}
    assert told == {
        "2": "2020-08-30 is no session of XNYS",
        "3": "a split needs a positive ratio",
        "4": "kind is not split, dividend or delisting",
        "5": "date is missing or cannot be read",
        "8": "contradicts another row of the same key",
        "9": "contradicts another row of the same key",
    }
    assert (batch.rows.num_rows, batch.duplicates) == (1, 1)
    with pytest.raises(DataError, match="actions.csv:2: 2020-08-30 is no session"):
        read_actions(path, DATA, strict=True)


def test_actions_without_their_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column for date; found: 'symbol', 'kind'; name it 'date' or 'ex_date'"):
        read_actions(put(tmp_path, "symbol,kind\nA,split\n"), DATA)
    with pytest.raises(DataError, match="no column for kind, ratio or amount"):
        read_actions(put(tmp_path, "symbol,date\nA,2020-08-31\n"), DATA)


def test_universe(tmp_path: Path) -> None:
    text = (
        "ticker,from,to\nge,2000-01-03,2018-06-25\nAAPL,2015-03-19,\nX,2020-01-02,2019-01-02\nY,,\nZ,2020-01-02,never\n"
    )
    batch = read_universe(put(tmp_path, text, "dow.csv"), DATA)
    assert batch.rows.schema.equals(UNIVERSE.schema)
    assert [(r["universe"], r["symbol"], r["member_from"], r["member_to"]) for r in batch.rows.to_pylist()] == [
        ("dow", "GE", date(2000, 1, 3), date(2018, 6, 25)),
        ("dow", "AAPL", date(2015, 3, 19), None),
    ]
    assert batch.rows["event_time"].to_pylist()[0] == datetime(2000, 1, 3, 5, tzinfo=UTC)  # midnight in New York
    assert {x["place"]: x["reason"] for x in batch.letters.to_pylist()} == {
        "dow.csv:4": "member_to lies before member_from",
        "dow.csv:5": "member_from is missing or cannot be read",
        "dow.csv:6": "member_to cannot be read",
    }


def test_the_universe_can_be_named(tmp_path: Path) -> None:
    path = put(tmp_path, "symbol,member_from\nA,2020-01-02\n", "u.csv")
    assert read_universe(path, DATA, name="mine").rows["universe"].to_pylist() == ["mine"]
    assert read_universe(path, DataSettings(universe="set")).rows["universe"].to_pylist() == ["set"]
    own = put(tmp_path, "symbol,member_from,universe\nA,2020-01-02,own\n", "o.csv")
    assert read_universe(own, DATA, name="mine").rows["universe"].to_pylist() == ["own"]


def test_classes(tmp_path: Path) -> None:
    text = (
        "ticker,from,sector,industry,shares outstanding,announced\n"
        "aapl,2020-01-02,Technology,Hardware,1000,\n"
        "GE,2020-01-02,,,,\n"
        "X,2020-03-02,Materials,,,2020-02-20\n"
        "Y,,Energy,,,\n"
        "Z,2020-01-02,Energy,,-5,\n"
        "W,2020-01-02,Energy,,,soon\n"
    )
    told = {"shares": "shares outstanding"}
    batch = read_classification(put(tmp_path, text, "sectors.csv"), DATA, columns=told)
    assert batch.rows.schema.equals(CLASSIFICATION.schema)
    rows = {row["symbol"]: row for row in batch.rows.to_pylist()}
    assert (rows["AAPL"]["sector"], rows["AAPL"]["industry"], rows["AAPL"]["shares"]) == (
        "Technology",
        "Hardware",
        1000,
    )
    assert rows["AAPL"]["event_time"] == datetime(2020, 1, 2, 5, tzinfo=UTC)  # midnight in New York
    assert rows["X"]["known_from"] == rows["X"]["event_time"] == datetime(2020, 2, 21, 5, tzinfo=UTC)
    assert {x["place"]: x["reason"] for x in batch.letters.to_pylist()} == {
        "sectors.csv:3": "it names no sector, industry, subindustry or number of shares",
        "sectors.csv:5": "valid_from is missing or cannot be read",
        "sectors.csv:6": "shares is not a positive number",
        "sectors.csv:7": "the time of the announcement cannot be read, or has no time zone",
    }
    with pytest.raises(DataError, match="no column for sector, industry, subindustry or shares"):
        read_classification(put(tmp_path, "symbol,valid_from\nA,2020-01-02\n", "none.csv"), DATA)
