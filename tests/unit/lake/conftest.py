"""Rows of posts, articles and trades for the tests of the lake."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from aiquant.schemas import TICKS, TWEETS

MakeRows = Callable[..., pa.Table]


@pytest.fixture(scope="session")
def make_posts() -> MakeRows:
    """``make_posts(("1", "u_…", "text"), …, day=2)``."""
    return posts


@pytest.fixture(scope="session")
def make_trades() -> MakeRows:
    """``make_trades(number, symbols=("B", "A"), day=2)``: one trade a millisecond, symbols in turn."""
    return trades


@pytest.fixture(scope="session")
def keys() -> dict[str, str]:
    """Two keys as the settings have them."""
    return {"k1": base64.b64encode(b"1" * 32).decode(), "k2": base64.b64encode(b"2" * 32).decode()}


def posts(*told: tuple[str, str, str], day: int = 2, known: datetime | None = None) -> pa.Table:
    at = datetime(2024, 1, day, 15, tzinfo=UTC)
    rows: list[dict[str, Any]] = [
        {
            "post_id": post,
            "date": at.date(),
            "event_time": at,
            "known_from": known or at,
            "symbols": "AAPL",
            "author": author,
            "text": text,
            "kind": "post",
            "source": "test",
        }
        for post, author, text in told
    ]
    return pa.Table.from_pylist(rows, schema=TWEETS.schema)


def trades(number: int, symbols: tuple[str, ...] = ("B", "A"), day: int = 2, first: int = 0) -> pa.Table:
    at = datetime(2024, 1, day, 15, tzinfo=UTC)
    rows: list[dict[str, Any]] = []
    for i in range(first, first + number):
        moment = at + timedelta(milliseconds=i)
        rows.append(
            {
                "symbol": symbols[i % len(symbols)],
                "date": date(2024, 1, day),
                "event_time": moment,
                "event_ns": int(moment.timestamp() * 1e9),
                "price": 10.0 + i % 7,
                "size": 1.0,
                "exchange": "4",
                "trade_id": str(i),
                "ingest_time": moment,
                "source": "test",
            }
        )
    return pa.Table.from_pylist(rows, schema=TICKS.schema)
