"""Forward returns on tables small enough to check on paper."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.calendars import Sessions
from aiquant.errors import DataError, UsageError
from aiquant.features import labels
from aiquant.schemas import CORPORATE_ACTIONS, LABELS, conform

MakeBars = Callable[..., pa.Table]


def actions(sessions: Sessions, *rows: tuple[str, str, int, float]) -> pa.Table:
    """``(symbol, kind, session, ratio or amount)``, known at the open of the session."""
    made = [
        {
            "symbol": symbol,
            "kind": kind,
            "date": sessions.dates[at].item(),
            "event_time": at_utc(sessions.opens[at]),
            "known_from": at_utc(sessions.opens[at]),
            "ratio": number if kind == "split" else None,
            "amount": None if kind == "split" else number,
            "source": "test",
        }
        for symbol, kind, at, number in rows
    ]
    return conform(pa.Table.from_pylist(made, schema=CORPORATE_ACTIONS.schema), CORPORATE_ACTIONS)


def at_utc(moment: np.datetime64) -> Any:
    return pl.Series(np.array([moment])).dt.replace_time_zone("UTC")[0]


def returns(table: pa.Table, symbol: str = "A") -> dict[int, tuple[datetime, datetime, float]]:
    """Slot number (days are counted below) → start, end, return."""
    rows = [row for row in table.to_pylist() if row["symbol"] == symbol]
    return {row["date"]: (row["label_start"], row["label_end"], row["forward_return"]) for row in rows}


@pytest.fixture
def plain(make_bars: MakeBars) -> pa.Table:
    at = range(8)
    return make_bars(
        {"A": {"at": at, "open": [10, 11, 12, 13, 14, 15, 16, 17], "close": [20, 21, 22, 23, 24, 25, 26, 27]}}
    )


def test_from_the_next_open_to_the_open_after_the_horizon(plain: pa.Table, sessions: Sessions) -> None:
    table = labels.forward_returns(plain, sessions, 2)
    assert table.schema == LABELS.schema
    got = returns(table)
    # Decided at the close of day 0: bought at the open of day 1 (11), sold at the open of day 3 (13).
    start, end, value = got[sessions.dates[0].item()]
    assert (start, end) == (at_utc(sessions.opens[1]), at_utc(sessions.opens[3]))
    assert value == pytest.approx(13 / 11 - 1)
    # Day 4 is sold on day 7, the last; day 5 would be sold on day 8, which is not there yet.
    assert len(got) == 5
    assert got[sessions.dates[4].item()][2] == pytest.approx(17 / 15 - 1)


def test_at_the_next_close(plain: pa.Table, sessions: Sessions) -> None:
    start, end, value = returns(labels.forward_returns(plain, sessions, 2, fill="close"))[sessions.dates[0].item()]
    assert (start, end) == (at_utc(sessions.closes[1]), at_utc(sessions.closes[3]))
    assert value == pytest.approx(23 / 21 - 1)


def test_without_opens_fills_are_at_the_next_close(plain: pa.Table, sessions: Sessions) -> None:
    closes = plain.set_column(plain.column_names.index("open"), "open", pa.nulls(plain.num_rows, pa.float64()))
    expected = labels.forward_returns(plain, sessions, 2, fill="close")
    assert labels.forward_returns(closes, sessions, 2).equals(expected)


def test_never_its_own_close(plain: pa.Table, sessions: Sessions) -> None:
    fills: list[labels.Fill] = ["next-open", "close"]
    for fill in fills:
        frame = pl.DataFrame(pl.from_arrow(labels.forward_returns(plain, sessions, 1, fill=fill)))
        assert (frame["label_start"] > frame["event_time"]).all()
        assert (frame["label_end"] > frame["label_start"]).all()


def test_a_suspended_symbol_waits_for_its_next_bar(make_bars: MakeBars, sessions: Sessions) -> None:
    bars = make_bars(
        {
            "A": {"at": [0, 2, 3, 6, 7], "open": [10, 12, 13, 16, 17], "close": [10, 12, 13, 16, 17]},
            "B": {"at": range(9), "open": [1] * 9, "close": [1] * 9},
        }
    )
    got = returns(labels.forward_returns(bars, sessions, 2))
    # Bought on day 2 (day 1 has no bar), to be sold on day 4, sold at the next bar: day 6.
    start, end, value = got[sessions.dates[0].item()]
    assert (start, end) == (at_utc(sessions.opens[2]), at_utc(sessions.opens[6]))
    assert value == pytest.approx(16 / 12 - 1)


def test_a_symbol_that_stops_trading_is_not_dropped(make_bars: MakeBars, sessions: Sessions) -> None:
    bars = make_bars(
        {
            "A": {"at": [0, 1, 2, 3], "open": [10, 11, 12, 13], "close": [10.5, 11.5, 12.5, 1.0]},
            "B": {"at": range(16), "open": [1] * 16, "close": [1] * 16},
        }
    )
    got = returns(labels.forward_returns(bars, sessions, 3))
    # Day 0: bought on day 1, to be sold on day 4; ten sessions later it is plain that A has stopped: its last close.
    assert got[sessions.dates[0].item()] == (
        at_utc(sessions.opens[1]),
        at_utc(sessions.closes[14]),
        pytest.approx(1.0 / 11 - 1),
    )
    assert sessions.dates[1].item() in got  # to be sold on day 5, and day 15 is the newest
    assert sessions.dates[2].item() not in got  # to be sold on day 6, and day 16 is not there yet
    assert sessions.dates[3].item() not in got  # nothing could be bought after its last bar
    paid = labels.forward_returns(bars, sessions, 3, actions=actions(sessions, ("A", "delisting", 3, 4.4)))
    # A delisting that is told needs no waiting.
    assert returns(paid)[sessions.dates[0].item()][1:] == (at_utc(sessions.closes[3]), pytest.approx(4.4 / 11 - 1))
    assert sessions.dates[2].item() in returns(paid)


def test_a_bar_that_is_missing_is_no_end(make_bars: MakeBars, sessions: Sessions) -> None:
    """Whether a symbol has stopped or a bar is missing must not be decided before both would look alike no more."""
    whole = {
        "A": {"at": [0, 1, 2, 3, 6, 7], "close": [10, 11, 12, 13, 16, 17]},
        "B": {"at": range(8), "close": [1] * 8},
    }
    early = {"A": {"at": [0, 1, 2, 3], "close": [10, 11, 12, 13]}, "B": {"at": range(5), "close": [1] * 5}}
    day = sessions.dates[0].item()
    assert day not in returns(labels.forward_returns(make_bars(early), sessions, 3))
    # Bought on day 1, to be sold on day 4: sold at the next bar there is, on day 6.
    assert returns(labels.forward_returns(make_bars(whole), sessions, 3))[day][2] == pytest.approx(16 / 11 - 1)


def test_a_delisting_right_after_the_fill_still_counts(make_bars: MakeBars, sessions: Sessions) -> None:
    bars = make_bars({"A": {"at": [0, 1], "close": [10, 8]}, "B": {"at": range(6), "close": [1] * 6}})
    table = labels.forward_returns(bars, sessions, 2, actions=actions(sessions, ("A", "delisting", 1, 0.0)))
    assert returns(table)[sessions.dates[0].item()][2] == pytest.approx(-1.0)


def test_splits_and_dividends_between_the_fills_count(make_bars: MakeBars, sessions: Sessions) -> None:
    bars = make_bars({"A": {"at": range(6), "open": [100, 100, 50, 52, 52, 26], "close": [100, 50, 50, 52, 52, 26]}})
    acted = actions(sessions, ("A", "split", 2, 2.0), ("A", "dividend", 3, 1.5), ("A", "split", 5, 2.0))
    got = returns(labels.forward_returns(bars, sessions, 2, actions=acted))
    # Day 0: one share bought at 100 on day 1; two from day 2 on; 1.5 each on day 3; sold at 52 on day 3.
    assert got[sessions.dates[0].item()][2] == pytest.approx((2 * 52 + 2 * 1.5) / 100 - 1)
    # Day 1: bought at 50 after the split of day 2.
    assert got[sessions.dates[1].item()][2] == pytest.approx((52 + 1.5) / 50 - 1)
    # Day 2: bought on day 3 without the dividend of that day; split again on day 5.
    assert got[sessions.dates[2].item()][2] == pytest.approx(2 * 26 / 52 - 1)


def test_actions_that_are_in_the_prices_do_not_count_twice(make_bars: MakeBars, sessions: Sessions) -> None:
    history = {"A": {"at": range(4), "close": [10, 10, 10, 10]}}
    acted = actions(sessions, ("A", "split", 2, 2.0), ("A", "dividend", 2, 1.0))
    first = sessions.dates[0].item()

    def value(adjustment: str) -> float:
        table = labels.forward_returns(make_bars(history, adjustment), sessions, 2, actions=acted)
        return returns(table)[first][2]

    assert value("splits+dividends") == 0.0
    assert value("splits") == pytest.approx(0.1)
    assert value("none") == pytest.approx((20 + 2) / 10 - 1)
    with pytest.raises(DataError, match="A do not say whether they hold the .* data.adjustment"):
        value("unknown")


def test_what_is_refused(plain: pa.Table, sessions: Sessions) -> None:
    with pytest.raises(UsageError, match="horizon of 1 or more"):
        labels.forward_returns(plain, sessions, 0)
    with pytest.raises(UsageError, match="choose next-open or close"):
        labels.forward_returns(plain, sessions, 1, fill="open")  # type: ignore[arg-type]


def test_no_bars_no_labels(plain: pa.Table, sessions: Sessions) -> None:
    assert labels.forward_returns(plain.slice(0, 0), sessions, 1).num_rows == 0
    assert labels.forward_returns(plain.slice(0, 1), sessions, 1).num_rows == 0


def test_a_decision_that_cannot_be_filled_for_long_has_no_label(make_bars: MakeBars, sessions: Sessions) -> None:
    halted = {"at": [0, 1, 12, 13, 25, 26], "close": [10, 11, 12, 13, 14, 15]}
    bars = make_bars({"A": halted, "B": {"at": range(40), "close": [1] * 40}})
    got = returns(labels.forward_returns(bars, sessions, 1))
    # Day 1 waits until day 12, which is ten slots more than the next one; day 13 would have to wait until day 25.
    assert got[sessions.dates[1].item()][0] == at_utc(sessions.closes[12])
    assert sessions.dates[13].item() not in got
