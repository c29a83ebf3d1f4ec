from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.errors import DataError
from aiquant.features import engine, grid, labels
from aiquant.features.catalogue import FeatureSet, define
from aiquant.schemas import BARS, conform


@pytest.fixture(scope="module")
def half_day() -> calendars.Sessions:
    """Wednesday, the half day after Thanksgiving (210 minutes), and Monday."""
    return calendars.sessions("XNYS", date(2019, 11, 27), date(2019, 12, 2))


def minutes(sessions: calendars.Sessions, *ends: tuple[int, int], step: int = 30) -> pa.Table:
    """Bars of ``step`` minutes: ``(session, n)`` is the one that ends n steps after the open."""
    times = pl.Series(
        np.array([sessions.opens[s] + np.timedelta64(n * step, "m") for s, n in ends])
    ).dt.replace_time_zone("UTC")
    rows = pl.DataFrame(
        {
            "symbol": ["A"] * len(ends),
            "interval": [f"{step}m"] * len(ends),
            "period": ["2019"] * len(ends),
            "date": pl.Series(np.array([sessions.dates[s] for s, _ in ends])),
            "event_time": times,
            "known_from": times,
            "open": [float(k + 1) for k in range(len(ends))],
            "close": [float(k + 1) for k in range(len(ends))],
            "adjustment": ["none"] * len(ends),
            "source": ["test"] * len(ends),
        }
    )
    return conform(rows.to_arrow(), BARS)


def test_intraday_windows_count_intervals_of_trading_hours(half_day: calendars.Sessions) -> None:
    bars = minutes(half_day, (0, 12), (0, 13), (1, 1), (1, 7), (2, 1), (2, 3))
    laid = grid.build(bars, half_day)
    # 13 half hours on Wednesday, 7 on the half day: the last of one day stands next to the first of the next
    assert laid.cell.tolist() == [0, 1, 2, 8, 9, 11]
    chosen = FeatureSet("t", define([("r", "Ref($close, 1)", "", "")]), partial_windows=True)
    got = np.asarray(engine.compute(chosen, bars, half_day)["r"])
    np.testing.assert_array_equal(got, [np.nan, 1, 2, np.nan, 4, np.nan])


def test_intraday_labels_carry_the_times_of_their_slots(half_day: calendars.Sessions) -> None:
    bars = minutes(half_day, (0, 12), (0, 13), (1, 1))
    frame = pl.DataFrame(pl.from_arrow(labels.forward_returns(bars, half_day, 1)))
    assert frame.height == 1
    assert frame["label_start"][0] == frame["event_time"][0]  # the next bar opens where this one closed
    assert frame["label_end"][0] == pl.Series(np.array([half_day.opens[1]])).dt.replace_time_zone("UTC")[0]
    assert frame["forward_return"][0] == pytest.approx(0.5)


def test_bars_outside_of_the_trading_hours_are_refused(half_day: calendars.Sessions) -> None:
    with pytest.raises(DataError, match="outside of the trading hours of XNYS.*A on 2019-11-29"):
        grid.build(minutes(half_day, (0, 1), (1, 8)), half_day)


def test_a_closing_auction_has_a_slot_of_its_own() -> None:
    """Xetra trades continuously up to 15:30 UTC in summer (510 minutes); its closing auction prints after that."""
    days = calendars.sessions("XETR", date(2017, 7, 27), date(2017, 7, 28))
    bars = minutes(days, (0, 509), (0, 510), (0, 515), (1, 1), step=1)
    laid = grid.build(bars, days)
    assert laid.cell.tolist() == [0, 1, 2, 3]
    close = days.closes[0]
    slots = laid.slots
    at = laid.slot[laid.cell]
    assert slots.closes[at[1]] == slots.opens[at[2]] == close
    assert slots.closes[at[2]] >= close + np.timedelta64(5, "m")  # a label that ends there is not known before the bar
    assert slots.opens[at[3]] == days.opens[1]
    assert (slots.opens <= slots.closes).all() and (slots.opens[1:] >= slots.opens[:-1]).all()


def test_two_prints_behind_one_close_are_told(half_day: calendars.Sessions) -> None:
    days = calendars.sessions("XETR", date(2017, 7, 27), date(2017, 7, 28))
    with pytest.raises(DataError, match="more than once.*A at 2017-07-27 15:40"):
        grid.build(minutes(days, (0, 515), (0, 520), step=1), days)
    with pytest.raises(DataError, match="outside of the trading hours of XETR.*at 2017-07-27 20:31"):
        grid.build(minutes(days, (0, 811), step=1), days)


def test_the_last_bar_of_an_hour_that_the_close_cuts_short_is_regular() -> None:
    days = calendars.sessions("XETR", date(2017, 7, 27), date(2017, 7, 28))
    laid = grid.build(minutes(days, (0, 8), (0, 9), (1, 1), step=60), days)  # 8.5 hours; stamped at half past the close
    assert laid.cell.tolist() == [0, 1, 3]


def test_real_minutes_of_xetra_and_new_york_go_through(shared_data: Path) -> None:
    xetra = pl.read_parquet(shared_data / "minute_xetra_20170728.parquet")
    minute = pl.col("start_utc") + pl.duration(minutes=1)
    new_york = pl.read_parquet(shared_data / "minute_us_2019w07.parquet").filter(pl.col("interval") == "1min")
    for frame, calendar, moment in (
        (xetra.unique(["symbol", "start_utc"]), "XETR", minute),
        (new_york, "XNYS", pl.col("end_utc")),
    ):
        bars = frame.select(
            "symbol",
            moment.dt.cast_time_unit("us").alias("event_time"),
            moment.dt.date().alias("date"),
            *("open", "high", "low", "close"),
            pl.lit("1m").alias("interval"),
        ).to_arrow()
        days = calendars.sessions(calendar, bars["date"][0].as_py(), date(2019, 2, 15))
        laid = grid.build(bars, days)
        assert len(laid.cell) == len(frame) > 10_000


def test_a_daily_grid_spans_each_symbol_s_own_life(panel: pa.Table, sessions: calendars.Sessions) -> None:
    laid = grid.build(panel, sessions)
    assert laid.symbols == ["AAA", "BBB", "CCC", "DDD"]
    for k in range(4):
        begin, end = laid.starts[k], laid.starts[k + 1]
        np.testing.assert_array_equal(np.diff(laid.slot[begin:end]), 1)
        assert laid.cell[laid.row_starts[k]] == begin
        assert laid.cell[laid.row_starts[k + 1] - 1] == end - 1
    close = laid.column("close")
    assert np.isfinite(close).sum() == panel.num_rows
    np.testing.assert_array_equal(laid.column("close", 1, 3), close[laid.starts[1] : laid.starts[3]])
    assert laid.age(1, 3)[0] == 0
