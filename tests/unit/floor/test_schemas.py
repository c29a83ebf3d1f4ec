"""Schemas cast safely, and say which row breaks which invariant."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from aiquant import deadletters, schemas
from aiquant.errors import DataError, MissingExtra, require


def _bar(**changes: Any) -> dict[str, Any]:
    close = datetime(2024, 1, 2, 21, tzinfo=UTC)
    row = {
        "symbol": "AAPL",
        "interval": "1d",
        "period": "2024",
        "date": date(2024, 1, 2),
        "event_time": close,
        "known_from": close,
        "open": 10.0,
        "high": 11.0,
        "low": 9.0,
        "close": 10.5,
        "volume": 100.0,
        "vwap": None,
        "trades": None,
        "adjustment": "none",
        "source": "test",
    }
    return row | changes


def _reason(**changes: Any) -> str | None:
    rows = pl.DataFrame(pa.Table.from_pylist([_bar(**changes)], schema=schemas.BARS.schema))
    reason: str | None = schemas.reasons(rows, schemas.BARS.invariants)[0]
    return reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"open": None, "high": None, "low": None, "volume": None}, None),
        ({"volume": 0.0}, None),
        ({"close": -1.0}, "close is not a positive number"),
        ({"close": float("nan")}, "close is not a positive number"),
        ({"close": float("inf")}, "close is not a positive number"),
        ({"open": 0.0}, "open is not a positive number"),
        ({"high": 8.0}, "high is below low"),
        ({"close": 11.5}, "close lies outside of low to high"),
        ({"open": 8.5}, "open lies outside of low to high"),
        ({"close": 11.0005}, None),  # rounding of an adjusted price to five digits
        ({"volume": -1.0}, "volume is negative or not a number"),
        ({"symbol": ""}, "symbol is empty"),
    ],
)
def test_invariants_of_a_bar(changes: dict[str, Any], reason: str | None) -> None:
    found = _reason(**changes)
    assert found is None if reason is None else reason in (found or "")


def test_all_reasons_are_told() -> None:
    assert (_reason(close=-1.0, volume=-1.0) or "").count(";") >= 1


def test_conform_orders_fills_and_casts() -> None:
    rows = pa.table({"kind": ["split"], "symbol": ["A"], "date": [date(2024, 1, 2)], "ratio": [2], "source": ["t"]})
    moment = pa.array([datetime(2024, 1, 2, tzinfo=UTC)], schemas.TIME)
    rows = rows.append_column("event_time", moment).append_column("known_from", moment)
    told = schemas.conform(rows, schemas.CORPORATE_ACTIONS)
    assert told.schema == schemas.CORPORATE_ACTIONS.schema
    assert told["ratio"].to_pylist() == [2.0] and told["amount"].to_pylist() == [None]


def test_conform_never_truncates() -> None:
    rows = pa.Table.from_pylist([_bar()], schema=schemas.BARS.schema).drop_columns(["trades"])
    rows = rows.append_column("trades", pa.array([1.5]))
    with pytest.raises(DataError, match="trades"):
        schemas.conform(rows, schemas.BARS)


@pytest.mark.parametrize("change", ["missing", "null", "extra"])
def test_conform_refuses(change: str) -> None:
    rows = pa.Table.from_pylist([_bar()], schema=schemas.BARS.schema)
    if change == "missing":
        rows = rows.drop_columns(["close"])
    elif change == "null":
        rows = rows.drop_columns(["symbol"]).append_column("symbol", pa.nulls(1, pa.string()))
    else:
        rows = rows.append_column("colour", pa.array(["red"]))
    with pytest.raises(DataError, match="close|symbol|colour"):
        schemas.conform(rows, schemas.BARS)


def test_sort_out_sets_bad_rows_aside_once() -> None:
    rows = [_bar(), _bar(close=-1.0), _bar(symbol="")]
    frame = pl.DataFrame(pa.Table.from_pylist(rows, schema=schemas.BARS.schema)).with_columns(
        pl.Series("place", ["f.csv:2", "f.csv:3", "f.csv:4"])
    )
    good, letters = deadletters.sort_out(frame, schemas.BARS, "files")
    again = deadletters.sort_out(frame, schemas.BARS, "files")[1]
    assert good.height == 1 and "place" not in good.columns
    assert letters["place"].to_pylist() == ["f.csv:3", "f.csv:4"]
    assert letters["letter_id"].to_pylist() == again["letter_id"].to_pylist()
    assert len(set(letters["letter_id"].to_pylist())) == 2
    assert '"close":-1.0' in letters["payload"][0].as_py()


def test_a_missing_extra_is_one_line() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'aiquant\[png\]'"):
        require("no_such_library", "png")
