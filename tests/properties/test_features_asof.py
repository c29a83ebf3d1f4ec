"""The as-of join against a search through all pairs, on any history: late rows, restatements, gaps, ties, TTL edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from aiquant.features import asof

T = datetime(2024, 3, 1, 21, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
HOURS = st.integers(0, 12)
ROWS = st.lists(st.tuples(st.sampled_from("ABC"), HOURS, HOURS), max_size=40, unique=True)
ENTITIES = st.lists(st.tuples(st.sampled_from("ABCX"), st.integers(-1, 26)), max_size=30)
TTLS = st.one_of(st.none(), st.integers(0, 8))


def hour(at: int, micro: int = 0) -> datetime:
    return T + timedelta(hours=at, microseconds=micro)


def table(rows: list[tuple[str, int, int]]) -> pl.DataFrame:
    """``(symbol, hour of the event, hours until it was known)``; the value is the number of the row."""
    columns: dict[str, Any] = {
        "symbol": [symbol for symbol, _, _ in rows],
        "event_time": [hour(event) for _, event, _ in rows],
        "known_from": [hour(event + late) for _, event, late in rows],
        "value": [float(at) for at in range(len(rows))],
    }
    schema = {"symbol": pl.String, "event_time": TIME, "known_from": TIME, "value": pl.Float32}
    return pl.DataFrame(columns, schema)


def best(rows: pl.DataFrame, symbol: str, moment: datetime, ttl: timedelta | None) -> float | None:
    """The plain definition: of all rows that count the greatest (event_time, known_from)."""
    counting = [
        (event, known, value)
        for s, event, known, value in rows.select("symbol", "event_time", "known_from", "value").rows()
        if s == symbol and event <= moment and known <= moment and (ttl is None or event + ttl >= moment)
    ]
    return max(counting)[2] if counting else None


@settings(max_examples=400, deadline=None)
@given(rows=ROWS, entities=ENTITIES, ttl=TTLS, order=st.randoms(use_true_random=False), tidy=st.booleans())
def test_equals_the_search_through_all_pairs(rows: Any, entities: Any, ttl: Any, order: Any, tidy: bool) -> None:
    history = table(rows)
    history = history.sort("symbol", "event_time", "known_from") if tidy else history
    span = None if ttl is None else timedelta(hours=ttl)
    asked = [(symbol, hour(at, micro)) for symbol, at in entities for micro in (0, order.choice((-1, 0, 1)))]
    order.shuffle(asked)
    schema = {"symbol": pl.String, "event_time": TIME}
    frame = pl.DataFrame(asked, schema, orient="row").with_row_index("label")
    joined = asof.join(frame, [asof.FeatureTable("set", history, span)])
    assert joined.columns == ["label", "symbol", "event_time", "value"]
    assert joined.select(frame.columns).equals(frame)
    assert joined["value"].to_list() == [best(history, symbol, moment, span) for symbol, moment in asked]


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, entities=ENTITIES, cut=st.integers(0, 24))
def test_what_becomes_known_later_changes_no_row_before(rows: Any, entities: Any, cut: int) -> None:
    history = table(rows)
    known = history.filter(pl.col("known_from") <= hour(cut))
    schema = {"symbol": pl.String, "event_time": TIME}
    frame = pl.DataFrame([(s, hour(min(at, cut))) for s, at in entities], schema, orient="row")
    whole, before = (asof.join(frame, [asof.FeatureTable("set", rows_)]) for rows_ in (history, known))
    assert whole.equals(before)
