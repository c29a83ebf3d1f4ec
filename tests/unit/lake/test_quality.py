"""Screening: true errors are found, real crashes are kept, nothing is altered."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.lake import quality
from aiquant.schemas import BARS, DEAD_LETTERS, FINDINGS

SESSIONS = calendars.sessions("XNYS", date(2020, 1, 2), date(2020, 6, 30))


def bars(closes: list[float | None], symbol: str = "AAA", **changes: Any) -> list[dict[str, Any]]:
    """Daily bars on consecutive sessions; None leaves a session out."""
    return [
        {
            "symbol": symbol,
            "interval": "1d",
            "period": "2020",
            "date": SESSIONS.dates[i].astype(object),
            "event_time": SESSIONS.closes[i].astype(object).replace(tzinfo=UTC),
            "known_from": SESSIONS.closes[i].astype(object).replace(tzinfo=UTC),
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": 1000.0,
            "vwap": None,
            "trades": None,
            "adjustment": "none",
            "source": "test",
        }
        | changes
        for i, close in enumerate(closes)
        if close is not None
    ]


def screen(rows: list[dict[str, Any]], **more: Any) -> quality.Screened:
    return quality.screen(pa.Table.from_pylist(rows, schema=BARS.schema), SESSIONS, "test", **more)


def found(screened: quality.Screened) -> list[tuple[str, str, str]]:
    return [(f["kind"], f["action"], f["date"].isoformat()) for f in screened.findings.to_pylist()]


CALM = [100.0, 101.0, 99.5, 100.5, 101.5, 100.0, 99.0, 100.0, 101.0, 100.0, 99.5, 100.0]


def test_calm_bars_pass_unchanged() -> None:
    rows = bars(CALM) + bars([c / 7 for c in CALM], "BBB")
    screened = screen(rows)
    assert screened.rows.to_pylist() == rows
    assert screened.letters.num_rows == screened.findings.num_rows == 0
    assert screened.letters.schema.equals(DEAD_LETTERS.schema)
    assert screened.findings.schema.equals(FINDINGS.schema)


@pytest.mark.parametrize("factor", [0.01, 0.1, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("at", [1, 5, 10])
def test_a_close_of_wrong_scale_is_set_aside(factor: float, at: int) -> None:
    closes_only: dict[str, Any] = {"open": None, "high": None, "low": None, "volume": None}
    rows = bars([c * (factor if i == at else 1) for i, c in enumerate(CALM)], **closes_only)
    screened = screen(rows)
    assert found(screened) == [("scale_error", "set_aside", rows[at]["date"].isoformat())]
    assert screened.rows.to_pylist() == rows[:at] + rows[at + 1 :]
    (letter,) = screened.letters.to_pylist()
    assert "scale error: close" in letter["reason"]
    assert (letter["symbol"], letter["date"], letter["source"]) == ("AAA", rows[at]["date"], "test")
    assert letter["place"] == f"AAA/1d/{rows[at]['event_time']:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
def test_one_price_of_wrong_scale_is_found_inside_of_its_bar(field: str) -> None:
    rows = bars(CALM)
    rows[4][field] *= 0.1
    screened = screen(rows)
    assert [f for f in found(screened) if f[0] == "scale_error"] == [("scale_error", "set_aside", "2020-01-08")]
    assert f"{field} " in screened.findings["detail"][0].as_py()


def test_a_whole_bar_of_wrong_scale() -> None:
    rows = bars([c * (100 if i == 6 else 1) for i, c in enumerate(CALM)])
    assert found(screen(rows)) == [("scale_error", "set_aside", "2020-01-10")]


def test_five_bars_in_a_row_of_wrong_scale() -> None:
    rows = bars([c * (100 if 8 <= i < 13 else 1) for i, c in enumerate(CALM * 2)])
    assert [f[:2] for f in found(screen(rows))] == [("scale_error", "set_aside")] * 5


def test_a_split_that_was_not_applied_is_named() -> None:
    rows = bars([c * (0.25 if i >= 6 else 1) for i, c in enumerate(CALM)])
    assert "(as an unadjusted 4:1 split)" in screen(rows).findings["detail"][0].as_py()


def test_a_symbol_with_three_rows() -> None:
    rows = bars([10.0, 100.0, 10.1])
    assert found(screen(rows)) == [("scale_error", "set_aside", "2020-01-03")]
    assert found(screen(bars([10.0, 10.2, 10.1]))) == []
    assert screen(bars([10.0])).rows.num_rows == 1


def test_a_crash_inside_of_a_bar_is_kept() -> None:
    rows = bars(CALM)
    rows[5]["low"] = 30.0  # 30 % of the price and back, as CTL on 2010-05-06
    screened = screen(rows)
    assert found(screened) == [("extreme_move", "kept", "2020-01-09")]
    assert screened.rows.to_pylist() == rows


def test_a_crash_to_a_tenth_that_does_not_fit_the_bar_is_kept() -> None:
    rows = bars(CALM)
    rows[5]["low"] = 8.6  # times ten it would lie 14 % under open and close: no slip of the decimal point
    assert [f[:2] for f in found(screen(rows))] == [("extreme_move", "kept")]


@pytest.mark.parametrize("factor", [0.1, 0.5, 10.0])
def test_a_level_that_stays_is_kept(factor: float) -> None:
    rows = bars([c * (factor if i >= 6 else 1) for i, c in enumerate(CALM)])
    screened = screen(rows)
    assert screened.letters.num_rows == 0
    assert found(screened) == [("extreme_move", "kept", "2020-01-10")]


def test_the_newest_bar_is_not_judged_yet() -> None:
    rows = bars([*CALM, 1000.0])
    assert [f[:2] for f in found(screen(rows))] == [("extreme_move", "kept")]


def test_dead_volume_becomes_missing_and_the_bar_stays() -> None:
    rows = bars(CALM)
    rows[3]["volume"] = 0.0
    screened = screen(rows)
    assert found(screened) == [("zero_volume", "missing", "2020-01-07")]
    assert screened.rows.to_pylist() == rows[:3] + [rows[3] | {"volume": None}] + rows[4:]


def test_a_day_without_trades_keeps_its_zero() -> None:
    rows = bars([100.0, 100.0, 100.0])
    rows[1] |= {"volume": 0.0, "high": 100.0, "low": 100.0}
    screened = screen(rows)
    assert found(screened) == [("zero_volume", "kept", "2020-01-03")]
    assert screened.rows.to_pylist() == rows


def test_missing_sessions_lie_between_the_first_and_the_last_bar() -> None:
    rows = bars([None, 100.0, None, None, 100.0, 100.0, None]) + bars([None, None, None, 5.0, 5.0], "BBB")
    assert found(screen(rows)) == [
        ("missing_session", "missing", "2020-01-06"),
        ("missing_session", "missing", "2020-01-07"),
    ]


def test_what_the_reader_set_aside_is_not_missing() -> None:
    letter = {"symbol": "AAA", "date": date(2020, 1, 3)}
    filled = {
        f.name: letter.get(f.name, "" if f.type == pa.string() else datetime.now(UTC)) for f in DEAD_LETTERS.schema
    }
    letters = pa.Table.from_pylist([filled], schema=DEAD_LETTERS.schema)
    rows = bars([100.0, None, None, 100.0])
    assert found(screen(rows, set_aside=letters)) == [("missing_session", "missing", "2020-01-06")]


def test_series_do_not_touch_one_another() -> None:
    rows = bars([10.0] * 6) + bars([1000.0] * 6, "BBB") + bars([100_000.0] * 6, interval="1w")
    assert screen(rows).findings.num_rows == 0


def test_the_order_of_rows_does_not_matter() -> None:
    rows = bars([c * (10 if i == 6 else 1) for i, c in enumerate(CALM)]) + bars(CALM, "BBB")
    shuffled = [rows[i] for i in np.random.default_rng(3).permutation(len(rows))]
    assert screen(shuffled).findings.equals(screen(rows).findings)
    assert screen(shuffled).rows.to_pylist() == [r for r in shuffled if r["close"] < 500]


def test_no_bars_at_all() -> None:
    screened = screen([])
    assert screened.rows.num_rows == screened.letters.num_rows == screened.findings.num_rows == 0


def test_minutes_without_trades_are_not_findings_and_dead_volume_is_told_once_a_day() -> None:
    rows = bars([100.0] * 6, interval="1m", high=100.0, low=100.0, open=100.0)
    for i, row in enumerate(rows):
        row |= {"date": date(2020, 1, 2), "event_time": datetime(2020, 1, 2, 15, tzinfo=UTC) + timedelta(minutes=i)}
    rows[1]["volume"] = 0.0
    assert found(screen(rows)) == []
    rows[2] |= {"volume": 0.0, "high": 100.5}
    rows[4] |= {"volume": 0.0, "high": 100.5}
    screened = screen(rows)
    assert found(screened) == [("zero_volume", "missing", "2020-01-02")]
    assert screened.rows["volume"].to_pylist() == [1000.0, 0.0, None, 1000.0, None, 1000.0]


def test_known_defects_of_the_shared_file_are_found_and_crashes_kept(shared_data: Any) -> None:
    day = pl.col("date").cast(pl.Datetime("us", "UTC"))
    raw = pl.read_parquet(shared_data / "prices_daily.parquet").select(
        pl.exclude("kind", "volume"),
        pl.col("volume").cast(pl.Float64),
        interval=pl.lit("1d"),
        period=pl.col("date").dt.year().cast(pl.String),
        event_time=day,
        known_from=day,
        vwap=pl.lit(None, dtype=pl.Float64),
        trades=pl.lit(None, dtype=pl.Int64),
        adjustment=pl.lit("splits+dividends"),
        source=pl.lit("test"),
    )
    sessions = calendars.sessions("XNYS", date(2008, 1, 1), date(2015, 12, 31))
    table = raw.select(BARS.schema.names).to_arrow().cast(BARS.schema)
    screened = quality.screen(table, sessions, "test")
    told = pl.DataFrame(screened.findings)
    known = pl.read_csv(shared_data / "prices_daily_known_defects.csv", try_parse_dates=True)
    for kind in ("scale_error", "zero_volume", "missing_session"):
        ours = set(told.filter(pl.col("kind") == kind).select("symbol", "date").rows())
        assert ours == set(known.filter(pl.col("kind") == kind).select("symbol", "date").rows()), kind
    kept = set(told.filter(pl.col("kind") == "extreme_move").select("symbol", "date").rows())
    assert set(known.filter(pl.col("kind") == "extreme_print").select("symbol", "date").rows()) <= kept
    assert screened.letters.num_rows == 14
    ppl = pl.DataFrame(screened.rows).filter((pl.col("symbol") == "PPL") & (pl.col("date") == date(2015, 6, 2)))
    assert len(ppl) == 1
