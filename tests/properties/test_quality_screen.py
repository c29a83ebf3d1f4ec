"""Screening never loses, alters or invents a bar."""

from __future__ import annotations

from datetime import UTC, date

import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from aiquant import calendars
from aiquant.lake import quality
from aiquant.schemas import BARS

SESSIONS = calendars.sessions("XNYS", date(2020, 1, 2), date(2020, 3, 31))
prices = st.one_of(st.floats(1e-6, 1e9), st.sampled_from([1.0, 10.0, 100.0, 9.9, 101.0]))


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = []
    for symbol in ("AAA", "BBB"):
        for i in sorted(draw(st.sets(st.integers(0, len(SESSIONS) - 1), max_size=20))):
            close = draw(prices)
            with_range = draw(st.booleans())
            rows.append(
                {
                    "symbol": symbol,
                    "interval": "1d",
                    "period": "2020",
                    "date": SESSIONS.dates[i].astype(object),
                    "event_time": SESSIONS.closes[i].astype(object).replace(tzinfo=UTC),
                    "known_from": SESSIONS.closes[i].astype(object).replace(tzinfo=UTC),
                    "open": close if with_range else None,
                    "high": close * draw(st.floats(1, 20)) if with_range else None,
                    "low": close * draw(st.floats(0.05, 1)) if with_range else None,
                    "close": close,
                    "volume": draw(st.sampled_from([None, 0.0, 100.0])),
                    "adjustment": "none",
                    "source": "test",
                }
            )
    return pa.Table.from_pylist(draw(st.permutations(rows)), schema=BARS.schema)


@settings(max_examples=80, deadline=None)
@given(tables())
def test_bars_are_kept_or_set_aside_and_only_volume_changes(bars: pa.Table) -> None:
    screened = quality.screen(bars, SESSIONS, "test")
    assert screened.rows.num_rows + screened.letters.num_rows == bars.num_rows
    before, after = pl.DataFrame(bars), pl.DataFrame(screened.rows)
    aside = pl.DataFrame(screened.letters).select("symbol", "date")
    kept = before.join(aside, on=["symbol", "date"], how="anti", maintain_order="left")
    assert after.drop("volume").equals(kept.drop("volume"))
    changed = (after["volume"].is_null() & kept["volume"].is_not_null()).fill_null(False)
    assert (kept.filter(changed)["volume"] == 0).all()
    assert after.filter(~changed).equals(kept.filter(~changed))
    told = pl.DataFrame(screened.findings)
    assert not told.select("table", "symbol", "date", "kind").is_duplicated().any()
    assert len(told.filter(pl.col("kind") == "scale_error")) == screened.letters.num_rows


@settings(max_examples=80, deadline=None)
@given(tables())
def test_missing_sessions_agree_with_a_plain_count(bars: pa.Table) -> None:
    screened = quality.screen(bars, SESSIONS, "test")
    told = {(f["symbol"], f["date"]) for f in screened.findings.to_pylist() if f["kind"] == "missing_session"}
    expected = set()
    every = [day.astype(object) for day in SESSIONS.dates]
    for symbol in ("AAA", "BBB"):
        there = [row["date"] for row in bars.to_pylist() if row["symbol"] == symbol]
        expected |= {(symbol, day) for day in every if there and min(there) < day < max(there) and day not in there}
    assert told == expected


@settings(max_examples=40, deadline=None)
@given(tables())
def test_the_order_of_rows_changes_no_finding(bars: pa.Table) -> None:
    backwards = bars.take(pa.array(range(bars.num_rows)[::-1], pa.int64()))
    assert quality.screen(bars, SESSIONS, "t").findings.equals(quality.screen(backwards, SESSIONS, "t").findings)
