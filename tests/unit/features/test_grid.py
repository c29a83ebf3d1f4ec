from __future__ import annotations

from datetime import date

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
