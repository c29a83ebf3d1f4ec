"""Messages: what goes in comes out, and what is none of ours is a letter."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiquant import deadletters, schemas
from aiquant.errors import UsageError
from aiquant.streams import envelope

NOW = datetime(2024, 3, 4, 15, 0, 0, 5, tzinfo=UTC)


def tick(number: int = 1, **more: Any) -> dict[str, Any]:
    row = {
        "symbol": "AAPL",
        "date": date(2024, 3, 4),
        "event_time": NOW,
        "event_ns": 1_709_564_400_000_005_123,
        "price": 170.25,
        "size": 0.5,
        "exchange": "11",
        "trade_id": str(number),
        "sequence": number,
        "conditions": "14,37",
        "ingest_time": NOW,
        "source": "test",
    }
    return {**row, **more}


def ticks(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schemas.TICKS.schema)


def article(**more: Any) -> pa.Table:
    row = {
        "article_id": "a1",
        "date": date(2024, 3, 4),
        "event_time": NOW,
        "known_from": NOW,
        "symbols": "AAPL,MSFT",
        "title": 'Line one\nline "two" – ünï',
        "url": "https://example.com/1",
        "publisher": "Example",
        "source": "test",
    }
    return pa.Table.from_pylist([{**row, **more}], schema=schemas.NEWS.schema)


def decode(values: list[bytes | None], table: str = "ticks") -> envelope.Decoded:
    return envelope.decode(table, values, [3] * len(values), list(range(100, 100 + len(values))), "topic")


def message(**more: Any) -> bytes:
    told = json.loads(envelope.encode("ticks", ticks(tick()))[1][0])
    told.update(more)
    return json.dumps({k: v for k, v in told.items() if v is not ...}).encode()


def test_a_message_is_one_flat_object() -> None:
    keys, values = envelope.encode("ticks", ticks(tick()))
    assert keys == [b"AAPL"]
    assert json.loads(values[0]) == {
        "v": 1,
        "table": "ticks",
        "symbol": "AAPL",
        "date": "2024-03-04",
        "event_time": 1_709_564_400_000_005,
        "event_ns": 1_709_564_400_000_005_123,
        "price": 170.25,
        "size": 0.5,
        "exchange": "11",
        "trade_id": "1",
        "sequence": 1,
        "conditions": "14,37",
        "ingest_time": 1_709_564_400_000_005,
        "source": "test",
    }


def test_rows_come_back_as_they_were_with_their_place_in_the_log() -> None:
    rows = ticks(tick(1), tick(2, conditions=None, sequence=None, price=1e-7))
    decoded = decode(envelope.encode("ticks", rows)[1])
    assert decoded.letters.num_rows == 0
    assert decoded.rows.drop_columns(["log_partition", "log_offset"]).equals(
        rows.drop_columns(["log_partition", "log_offset"])
    )
    assert decoded.rows["log_partition"].to_pylist() == [3, 3]
    assert decoded.rows["log_offset"].to_pylist() == [100, 101]
    assert decoded.rows.schema.equals(schemas.TICKS.schema)


def test_news_carries_a_sequence_and_a_time_of_receipt_besides() -> None:
    keys, values = envelope.encode("news", article(), sequence=41, now=NOW)
    told = json.loads(values[0])
    assert (keys, told["sequence"], told["ingest_time"]) == ([b"AAPL"], 41, 1_709_564_400_000_005)
    assert decode(values, "news").rows["title"].to_pylist() == ['Line one\nline "two" – ünï']


def test_the_key_without_a_symbol_is_the_publisher() -> None:
    assert envelope.encode("news", article(symbols=""))[0] == [b"Example"]
    assert envelope.encode("news", article(symbols="", publisher=None))[0] == [b"test"]


def test_dead_letters_travel_too() -> None:
    letters = deadletters.collect([deadletters.letter(schemas.TICKS, "s", "t/0/1", "bad", "{}")])
    values = envelope.encode("dead_letters", letters)[1]
    told = json.loads(values[0])
    assert (told["table"], told["meant_for"]) == ("dead_letters", "ticks")
    assert decode(values, "dead_letters").rows.equals(letters)


def test_fields_may_be_added_and_optional_ones_left_out() -> None:
    decoded = decode([message(new_field={"deep": [1, 2]}, conditions=..., sequence=...)])
    assert decoded.letters.num_rows == 0
    assert decoded.rows["conditions"].to_pylist() == [None]


def test_a_message_over_several_lines_is_read() -> None:
    spread = json.dumps(json.loads(message()), indent=2).encode()
    assert decode([spread, message()]).rows.num_rows == 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the message is empty"),
        (b"", "the message is empty"),
        (b"  ", "the message is empty"),
        (b"\xff\xfe", "the message is not UTF-8"),
        (b'{"v":1,', "the message is not JSON"),
        (b"[1]", "the message is not a JSON object"),
        (message() + b"\n" + message(), "the message is not JSON"),
        (message() + message(), "the message is not JSON"),
        (message(v=2), "the version of the message is not 1"),
        (message(v=...), "the version of the message is not 1"),
        (message(table="news"), "the message is not for the table ticks"),
        (message(price="170"), "of another type than the schema's: price"),
        (message(price=True), "of another type than the schema's: price"),
        (message(sequence=1.5), "of another type than the schema's: sequence"),
        (message(event_time="2024-03-04"), "of another type than the schema's: event_time"),
        (message(event_ns=2**70), "of another type than the schema's: event_ns"),
        (message(symbol=None), "symbol is absent or of another form"),
        (message(trade_id=...), "trade_id is absent or of another form"),
        (message(date="04.03.2024"), "date is absent or of another form"),
        (message().replace(b"170.25", b"NaN"), "the message is not JSON"),
        (message(price=0), "price is not a positive number"),
        (message(event_time=1_709_564_400_000), "date lies more than a day from event_time"),
    ],
)
def test_what_is_none_of_ours_is_a_letter_and_spares_the_others(value: bytes | None, reason: str) -> None:
    decoded = decode([message(), value, message(trade_id="2")])
    assert decoded.rows["log_offset"].to_pylist() == [100, 102]
    (letter,) = decoded.letters.to_pylist()
    assert letter["reason"].startswith(reason)
    assert letter["place"] == "topic/3/101"
    assert letter["table"] == "ticks"
    if value is not None and reason != "the message is not UTF-8":
        assert letter["payload"] == value.decode()


def test_a_line_too_many_does_not_hide_behind_one_too_few() -> None:
    """Two objects in one message and none in the next make as many lines as messages."""
    decoded = decode([message() + b"\n" + message(trade_id="2"), b""])
    assert (decoded.rows.num_rows, decoded.letters.num_rows) == (0, 2)


def test_many_bad_ones_among_many() -> None:
    values = [b"x" if i % 7 == 0 else message(trade_id=str(i)) for i in range(2000)]
    decoded = decode(values)
    assert decoded.letters.num_rows == 286
    assert decoded.rows["trade_id"].to_pylist() == [str(i) for i in range(2000) if i % 7]


def test_tables_without_a_topic_are_refused() -> None:
    with pytest.raises(UsageError, match="do not travel through Kafka"):
        envelope.encode("equity", schemas.EQUITY.schema.empty_table())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_FIELDS = st.dictionaries(st.sampled_from(list(json.loads(message()))), _JSON, min_size=1, max_size=3)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=40) | _FIELDS.map(lambda told: message(**told)), min_size=1, max_size=12))
def test_whatever_comes_each_message_is_one_row_or_one_letter(values: list[bytes]) -> None:
    decoded = decode(list(values))
    places = [int(place.rsplit("/", 1)[1]) for place in decoded.letters["place"].to_pylist()]
    assert sorted([*places, *decoded.rows["log_offset"].to_pylist()]) == list(range(100, 100 + len(values)))
