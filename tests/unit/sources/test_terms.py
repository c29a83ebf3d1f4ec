"""Orders, terms of symbols and exchange rates from files: read as a person would, refused with their place."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from aiquant.errors import DataError
from aiquant.schemas import FX_RATES, INSTRUMENTS
from aiquant.sources import files


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "given.csv"
    path.write_text(text)
    return path


def test_orders_keep_several_of_a_day(tmp_path: Path) -> None:
    rows = files.read_orders(
        written(tmp_path, "date,symbol,quantity\n2020-01-02,b,5\n2020-01-02,a,-3\n2020-01-02,a,1\n")
    )
    assert rows.column_names == ["date", "symbol", "shares"]
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        (date(2020, 1, 2), "A", -3),
        (date(2020, 1, 2), "A", 1),
        (date(2020, 1, 2), "B", 5),
    ]


def test_times_with_a_zone_are_kept_as_the_moment_of_the_decision(tmp_path: Path) -> None:
    path = written(tmp_path, "time,symbol,weight\n2020-01-02T10:30:00-05:00,A,0.5\n2020-01-02T16:30:00Z,A,0.1\n")
    rows = files.read_weights(path)
    assert rows["event_time"].to_pylist() == [
        datetime(2020, 1, 2, 15, 30, tzinfo=UTC),
        datetime(2020, 1, 2, 16, 30, tzinfo=UTC),
    ]


def test_instruments_may_leave_cells_empty(tmp_path: Path) -> None:
    path = written(tmp_path, "ticker,ccy,lot,spread\nsap,eur,100,\nibm,,,4.5\n")
    rows = files.read_instruments(path)
    assert rows.schema == INSTRUMENTS.schema
    assert rows.select(["symbol", "currency", "lot", "spread_bps", "locate"]).to_pylist() == [
        {"symbol": "SAP", "currency": "EUR", "lot": 100.0, "spread_bps": None, "locate": None},
        {"symbol": "IBM", "currency": None, "lot": None, "spread_bps": 4.5, "locate": None},
    ]


def test_rates(tmp_path: Path) -> None:
    rows = files.read_rates(written(tmp_path, "date,currency,rate\n2020-01-02,EUR,1.1\n"))
    assert rows.schema == FX_RATES.schema
    assert rows.to_pylist() == [{"currency": "EUR", "date": date(2020, 1, 2), "rate": 1.1}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,lot\nA,-5\n", "given.csv:2: lot is not a positive number"),
        ("symbol,locate\nA,many\n", "given.csv:2: locate is not a number"),
        ("symbol,locate\n,5\n", "given.csv:2: symbol is empty"),
        ("name,locate\nA,5\n", "given.csv: no column for symbol"),
        ("symbol,lot\n", "given.csv holds"),
    ],
)
def test_bad_instruments_are_refused_with_their_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        files.read_instruments(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date,currency,rate\n2020-01-02,EUR,0\n", "given.csv:2: rate is not a positive number"),
        ("date,currency,rate\nsoon,EUR,1\n", "given.csv:2: date cannot be read"),
        ("date,rate\n2020-01-02,1\n", "no column for currency"),
    ],
)
def test_bad_rates_are_refused_with_their_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        files.read_rates(written(tmp_path, text))
