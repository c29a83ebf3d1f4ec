"""Massive's payloads: units, days, keys and bad values, worked out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from aiquant.errors import UsageError
from aiquant.sources.polygon import parse, universe
from aiquant.sources.polygon.tickers import to_symbol, to_ticker

BAR = {"v": 10.0, "o": 2.0, "h": 3.0, "l": 1.0, "c": 2.5}
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ticker", "symbol"),
    [
        ("AAPL", "AAPL"),
        ("BRK.B", "BRK-B"),
        ("KIMpL", "KIM-PL"),
        ("ABCp", "ABC-P"),
        ("ABCw", "ABC-WI"),
        ("ABCr", "ABC-RT"),
    ],
)
def test_tickers_and_symbols(ticker: str, symbol: str) -> None:
    assert to_symbol(ticker) == symbol and to_ticker(symbol) == ticker
    assert to_symbol("a b") is None and to_symbol("") is None


def test_a_day_bar_closes_with_its_session() -> None:
    """2019-07-03 closed at 13:00 New York; its bar starts at midnight there, 04:00 UTC."""
    start = int(datetime(2019, 7, 3, 4, tzinfo=UTC).timestamp() * 1000)
    row = parse.bars([{**BAR, "t": start}], "p", "1d", False, "AAPL").rows.to_pylist()[0]
    assert (row["date"], row["event_time"]) == (date(2019, 7, 3), datetime(2019, 7, 3, 17, tzinfo=UTC))
    assert (row["known_from"], row["period"], row["adjustment"]) == (row["event_time"], "2019", "none")


def test_a_day_that_is_no_session_is_set_aside() -> None:
    start = int(datetime(2019, 7, 4, 4, tzinfo=UTC).timestamp() * 1000)
    batch = parse.bars([{**BAR, "t": start}], "p", "1d", False, "AAPL")
    assert batch.letters["reason"].to_pylist() == ["its date is no session of XNYS"]


def test_intraday_bars_end_with_their_window() -> None:
    start = datetime(2019, 7, 3, 14, 35, tzinfo=UTC)
    row = parse.bars([{**BAR, "t": int(start.timestamp() * 1000)}], "p", "5m", True, "AAPL").rows.to_pylist()[0]
    assert row["event_time"] == datetime(2019, 7, 3, 14, 40, tzinfo=UTC)
    assert (row["period"], row["adjustment"], row["trades"], row["vwap"]) == ("2019-07-03", "splits", None, None)


def test_a_bar_that_still_forms_is_left_out() -> None:
    start = int(datetime(2019, 7, 3, 4, tzinfo=UTC).timestamp() * 1000)
    batch = parse.bars([{**BAR, "t": start}], "p", "1d", False, "AAPL", datetime(2019, 7, 3, 16, 59, tzinfo=UTC))
    assert (batch.rows.num_rows, batch.left_out) == (0, 1)


def test_one_bad_bar_never_loses_the_others() -> None:
    start = int(datetime(2019, 7, 3, 14, 35, tzinfo=UTC).timestamp() * 1000)
    good = [{**BAR, "t": start + i * 60_000} for i in range(3)]
    bad: list[Any] = [
        {**good[0], "c": float("nan")},
        {**good[0], "c": "2.5"},
        {**good[0], "h": 0.5},
        {**good[0], "c": -1.0},
        {**good[0], "t": start * 1000},
        {**good[0], "t": True},
        {**good[0], "v": None},
        "bar",
        None,
    ]
    batch = parse.bars([good[0], *bad, good[1], good[1], good[2]], "p", "1m", False, "AAPL")
    assert (batch.rows.num_rows, batch.duplicates) == (3, 1)
    assert [letter["reason"].split(";")[0] for letter in batch.letters.to_pylist()] == [
        "c is not finite",
        "c is not a number",
        "high is below low",
        "close is not a positive number",
        "t is out of range",
        "t is not a number",
        "v is missing",
        "not a JSON object",
        "not a JSON object",
    ]


def test_of_bars_that_contradict_each_other_the_last_counts() -> None:
    start = int(datetime(2019, 7, 3, 14, 35, tzinfo=UTC).timestamp() * 1000)
    batch = parse.bars([{**BAR, "t": start, "v": 1.0}, {**BAR, "t": start, "v": 2.0}], "p", "1m", False, "AAPL")
    assert batch.rows["volume"].to_pylist() == [2.0]
    assert batch.letters["reason"].to_pylist() == ["contradicted by a later row of its key"]


TRADE = {"sip_timestamp": 1549895402719248565, "price": 171.0, "size": 100.0, "exchange": 10, "id": "7"}


def test_a_trade_keeps_its_nanoseconds() -> None:
    row = parse.trades([TRADE], "p", "AAPL", NOW).rows.to_pylist()[0]
    assert row["event_ns"] == 1549895402719248565
    assert row["event_time"] == datetime(2019, 2, 11, 14, 30, 2, 719248, tzinfo=UTC)
    assert (row["date"], row["ingest_time"]) == (date(2019, 2, 11), NOW)


def test_rest_and_stream_give_a_trade_the_same_key() -> None:
    rest = parse.trades([{**TRADE, "exchange": 4, "trf_id": 202}], "p", "BRK-B").rows.to_pylist()[0]
    told = {"ev": "T", "sym": "BRK.B", "i": "7", "x": 4, "trfi": 202, "p": 171.0, "s": 100, "t": 1549895402719, "z": 3}
    live = parse.stream_trades([told], "s").rows.to_pylist()[0]
    for name in ("symbol", "date", "exchange", "trade_id", "price", "size"):
        assert rest[name] == live[name]


@pytest.mark.parametrize(("correction", "kept"), [(None, 1), (0, 1), (1, 1), (7, 0), (8, 0), (10, 0), (11, 0), (12, 0)])
def test_cancelled_trades_are_set_aside(correction: int | None, kept: int) -> None:
    batch = parse.trades([{**TRADE, "correction": correction}], "p", "AAPL")
    assert (batch.rows.num_rows, batch.letters.num_rows) == (kept, 1 - kept)


def test_a_trade_after_the_days_end_in_utc_belongs_to_new_yorks_day() -> None:
    late = int(datetime(2019, 2, 12, 0, 30, tzinfo=UTC).timestamp()) * 10**9  # 19:30 in New York
    row = parse.trades([{**TRADE, "sip_timestamp": late}], "p", "AAPL").rows.to_pylist()[0]
    assert row["date"] == date(2019, 2, 11)


def test_splits_and_dividends() -> None:
    split = {"ticker": "AAPL", "execution_date": "2014-06-09", "split_from": 1, "split_to": 7}
    row = parse.splits([split, {**split, "split_to": 0}], "p").rows.to_pylist()[0]
    assert (row["ratio"], row["event_time"]) == (7.0, datetime(2014, 6, 9, 13, 30, tzinfo=UTC))
    cash = {"ticker": "AAPL", "ex_dividend_date": "2015-11-05", "cash_amount": 0.52, "declaration_date": "2015-10-27"}
    special = {**cash, "cash_amount": 1.0, "declaration_date": None}
    foreign = {**cash, "currency": "CAD"}
    batch = parse.dividends([cash, cash, special, foreign], "p")
    row = batch.rows.to_pylist()[0]
    assert (batch.rows.num_rows, batch.letters.num_rows) == (1, 1)
    assert row["amount"] == pytest.approx(1.52)
    assert row["known_from"] == datetime(2015, 11, 5, 14, 30, tzinfo=UTC)  # the later of the two
    alone = parse.dividends([cash], "p").rows.to_pylist()[0]
    assert alone["known_from"] == datetime(2015, 10, 28, 4, tzinfo=UTC)  # the end of 27 October in New York


def test_a_universe_without_survivorship() -> None:
    listed = [{"ticker": "A"}, {"ticker": "B"}]
    gone = [
        {"ticker": "B", "delisted_utc": "2020-03-02T21:00:00Z"},
        {"ticker": "C", "delisted_utc": "2010-03-02T21:00:00Z"},
    ]
    later = [{"ticker": "A"}, {"ticker": "N", "list_date": "2020-06-01"}, {"ticker": "U"}]
    batch = universe.members(listed, date(2020, 1, 2), "p", gone, later)
    rows = sorted(
        (r["symbol"], str(r["member_from"]), str(r["member_to"]), r["known_from"].date().isoformat())
        for r in batch.rows.to_pylist()
    )
    assert rows == [
        ("A", "2020-01-02", "None", "2020-01-02"),
        ("B", "2020-01-02", "2020-03-02", "2020-03-02"),
        ("B", "2020-01-02", "None", "2020-01-02"),
        ("N", "2020-06-01", "None", "2020-06-01"),
    ]
    assert batch.left_out == 3


@pytest.mark.parametrize("interval", ["2d", "1w", "m", "0m", ""])
def test_intervals_that_it_does_not_have(interval: str) -> None:
    with pytest.raises(UsageError, match="is asked for minutes, hours or one day"):
        parse.span_of(interval)
