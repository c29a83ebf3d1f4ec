"""Which column means what."""

from __future__ import annotations

import pytest

from aiquant.errors import DataError
from aiquant.sources.columns import plain, recognise


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Adj Close", "adj_close"),
        ("<CLOSE>", "close"),
        ("5. volume", "volume"),
        ("\ufeffDate", "date"),
        ("n_trades", "n_trades"),
    ],
)
def test_plain_names(name: str, expected: str) -> None:
    assert plain(name) == expected


@pytest.mark.parametrize(
    ("header", "layout"),
    [
        (["symbol", "date", "close"], "long"),
        (["Date", "Close", "RSI", "MACD", "EMA", "SMA", "ATR", "ADX"], "long"),  # one symbol with its indicators
        (["t", "o", "h", "l", "c", "v", "vw", "n"], "long"),  # Polygon's names
        (["date", "AAPL", "MSFT"], "wide"),
        (["date", "C", "T", "V"], "wide"),  # Citigroup, AT&T, Visa
        (["date", "OPEN", "LOW", "AAPL"], "wide"),  # Opendoor, Lowe's
        (["date", "O", "H", "L", "C", "AAPL", "MSFT", "GE", "KO", "PG", "XOM"], "wide"),
    ],
)
def test_long_or_wide(header: list[str], layout: str) -> None:
    assert recognise("AAPL.csv", header).layout == layout


def test_polygon_names() -> None:
    found = recognise("AAPL.csv", ["v", "vw", "o", "c", "h", "l", "t", "n"])
    assert found.columns == {
        "volume": 0,
        "vwap": 1,
        "open": 2,
        "close": 3,
        "high": 4,
        "low": 5,
        "start": 6,
        "trades": 7,
    }
    assert found.symbol == "AAPL"


def test_an_adjusted_close_alone_is_the_close_with_a_note() -> None:
    found = recognise("x.csv", ["symbol", "date", "Adj Close"])
    assert found.columns["close"] == 2
    assert "'Adj Close' taken as close: set data.adjustment" in found.notes[0]


def test_a_symbol_with_two_columns_is_refused() -> None:
    with pytest.raises(DataError, match="symbol AAPL has two columns"):
        recognise("x.csv", ["date", "AAPL", "aapl"])


def test_numbers_of_rows_are_no_dates_beside_a_column_of_times() -> None:
    header = ["__index_level_0__", "symbol", "end_time", "close"]
    assert recognise("a.parquet", header).columns == {"symbol": 1, "event_time": 2, "close": 3}
    assert recognise("a.parquet", ["__index_level_0__", "symbol", "close"]).columns["date"] == 0
    assert recognise("a.csv", ["", "A", "T", "BRK"]).columns == {"date": 0}  # T is a ticker here
