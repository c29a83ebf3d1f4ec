"""Target weights from files: the whole book or none of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from aiquant.errors import DataError, MissingError
from aiquant.sources.files import read_weights


def put(folder: Path, text: str) -> Path:
    path = folder / "w.csv"
    path.write_text(text)
    return path


BOOK = [
    {"date": date(2020, 1, 2), "symbol": "A", "weight": 0.5},
    {"date": date(2020, 1, 2), "symbol": "B", "weight": -0.5},
    {"date": date(2020, 1, 3), "symbol": "B", "weight": 1.0},
]


@pytest.mark.parametrize(
    "text",
    [
        "date,symbol,weight\n2020-01-03,B,1\n2020-01-02,b,-0.5\n2020-01-02,a,0.5\n",
        "Date,Ticker,target_weight,note\n2020-01-03,B,1,x\n2020-01-02,B,-0.5,\n2020-01-02,A,0.5,\n",
        "date,A,B\n2020-01-02,0.5,-0.5\n2020-01-03,,1\n",
    ],
)
def test_long_and_wide_books(tmp_path: Path, text: str) -> None:
    assert read_weights(put(tmp_path, text)).to_pylist() == BOOK


def test_parquet(tmp_path: Path) -> None:
    pl.DataFrame(BOOK).write_parquet(tmp_path / "w.parquet")
    assert read_weights(tmp_path / "w.parquet").to_pylist() == BOOK


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("date,symbol,weight\n2020-01-02,A,1\n2020-01-03,A,nan\n", "w.csv:3: weight is not a finite number"),
        ("date,symbol,weight\n2020-01-02,A,\n", "w.csv:2: weight is not a finite number"),
        ("date,symbol,weight\n2020-01-02,A,inf\n", "w.csv:2: weight is not a finite number"),
        ("date,symbol,weight\n2020-01-02,,1\n", "w.csv:2: symbol is empty"),
        ("date,symbol,weight\nsoon,A,1\n", "w.csv:2: date cannot be read"),
        ("date,symbol,weight\n2020-01-02,A\n", "w.csv:2: the row has 2 values, the header 3"),
        (
            "date,symbol,weight\n2020-01-02,A,1\n2020-01-03,A,1\n2020-01-02,a,1\n",
            "w.csv:4: A on 2020-01-02 has a weight already, in w.csv:2",
        ),
        ("date,symbol\n2020-01-02,A\n", "w.csv: no column for weight"),
        ("symbol,weight\nA,1\n", "w.csv: no column for date"),
        ("date,symbol,weight\n", "w.csv holds a header and no rows"),
        ("date,A\n2020-01-02,x\n", "w.csv:2: weight is not a finite number"),
    ],
)
def test_one_bad_row_refuses_the_book_by_name(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        read_weights(put(tmp_path, text))
    assert str(caught.value).startswith(problem)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no file"):
        read_weights(tmp_path / "none.csv")
