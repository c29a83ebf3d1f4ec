"""A history holds what was known at its time, to the row: versions, splits, symbols, forecasts, members."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.errors import DataError, UsageError
from aiquant.portfolio.strategies.contract import market
from aiquant.portfolio.strategies.feed import Feed
from aiquant.portfolio.strategies.history import History, walk
from aiquant.schemas import BARS, CORPORATE_ACTIONS, FORECASTS, UNIVERSE, conform

DAYS = [date(2024, 1, 2) + timedelta(days=i) for i in range(5)]


def at(day: date, hour: int = 21) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def bars(*rows: tuple[str, int, float, datetime | None], adjustment: str = "none") -> pa.Table:
    """Rows (symbol, day, close, known from)."""
    told = [
        {
            "symbol": symbol,
            "interval": "1d",
            "period": "2024",
            "date": DAYS[day],
            "event_time": at(DAYS[day]),
            "known_from": known or at(DAYS[day]),
            "open": close - 1.0,
            "close": close,
            "volume": 100.0,
            "adjustment": adjustment,
            "source": "test",
        }
        for symbol, day, close, known in rows
    ]
    return conform(pa.Table.from_pylist(told), BARS)


def actions(*rows: tuple[str, str, int, float, datetime]) -> pa.Table:
    """Rows (symbol, kind, day, ratio or amount, known from)."""
    told = [
        {
            "symbol": symbol,
            "kind": kind,
            "date": DAYS[day],
            "event_time": known,
            "known_from": known,
            "ratio": value if kind == "split" else None,
            "amount": value if kind == "dividend" else None,
            "source": "test",
        }
        for symbol, kind, day, value, known in rows
    ]
    return conform(pa.Table.from_pylist(told), CORPORATE_ACTIONS)


def shown(feed: Feed) -> list[History]:
    return list(walk(feed))


def test_a_correction_counts_from_the_moment_it_is_known() -> None:
    feed = Feed(bars(("A", 0, 10.0, None), ("A", 1, 11.0, None), ("A", 0, 99.0, at(DAYS[1], 22)), ("A", 2, 12.0, None)))
    seen = [history.closes().ravel().tolist() for history in walk(feed)]
    assert seen == [[10.0], [10.0, 11.0], [99.0, 11.0, 12.0]]


def test_of_two_corrections_between_two_closes_the_later_counts() -> None:
    first, second = at(DAYS[0], 22), at(DAYS[0], 23)
    feed = Feed(bars(("A", 0, 10.0, None), ("A", 0, 3.0, second), ("A", 0, 2.0, first), ("A", 1, 11.0, None)))
    assert [h.closes().ravel().tolist() for h in walk(feed)] == [[10.0], [3.0, 11.0]]


def test_a_bar_that_comes_late_is_missing_until_it_is_known() -> None:
    feed = Feed(bars(("A", 0, 10.0, None), ("A", 1, 11.0, at(DAYS[2], 20)), ("B", 1, 5.0, None), ("A", 2, 12.0, None)))
    seen = [h.closes().copy() for h in walk(feed)]
    assert np.isnan(seen[1][1, 0]) and seen[2][1, 0] == 11.0


def test_a_symbol_is_unknown_before_its_first_bar() -> None:
    feed = Feed(bars(("B", 0, 1.0, None), ("A", 1, 2.0, None), ("B", 1, 1.5, None), ("B", 2, 1.0, None)))
    first, second, third = [(h.symbols, h.tradable.tolist(), h.closes().shape) for h in walk(feed)]
    assert first == (("B",), [True], (1, 1))
    assert second == (("B", "A"), [True, True], (2, 2))
    assert third == (("B", "A"), [True, False], (3, 2))


def test_no_row_of_the_future_lies_behind_a_view() -> None:
    history = next(iter(walk(Feed(bars(*(("A", i, 10.0 + i, None) for i in range(5)))), first=2)))
    whole = history.closes()
    while whole.base is not None:
        whole = whole.base
    assert np.isfinite(whole).sum() == 3 * 3, "open, close and volume of three sessions"


def test_views_are_not_copied_and_cannot_be_written() -> None:
    history = next(iter(walk(Feed(bars(*(("A", i, 10.0 + i, None) for i in range(5)))), first=4)))
    assert np.shares_memory(history.closes(2), history.closes())
    with pytest.raises(ValueError, match="read-only"):
        history.closes()[0, 0] = 1.0


def test_a_split_changes_the_past_from_its_day_on() -> None:
    rows = bars(*(("A", i, close, None) for i, close in enumerate([10.0, 12.0, 6.0, 7.0])))
    feed = Feed(rows, actions=actions(("A", "split", 2, 2.0, at(DAYS[0], 22))))
    seen = [h.closes().ravel().tolist() for h in walk(feed)]
    assert seen == [[10.0], [10.0, 12.0], [5.0, 6.0, 6.0], [5.0, 6.0, 6.0, 7.0]]
    last = shown(feed)[-1]
    assert last.closes(adjusted=False).ravel().tolist() == [10.0, 12.0, 6.0, 7.0]
    assert last.field("volume").ravel().tolist() == [200.0, 200.0, 100.0, 100.0]
    announced = [h.actions().height for h in walk(feed)]
    assert announced == [0, 1, 1, 1], "an announced split is told of before it counts"


def test_a_dividend_lowers_the_past_by_its_share_of_the_close_before() -> None:
    rows = bars(*(("A", i, close, None) for i, close in enumerate([8.0, 10.0, 9.0])))
    feed = Feed(rows, actions=actions(("A", "dividend", 2, 1.0, at(DAYS[2], 14))))
    assert [h.closes().ravel().tolist() for h in walk(feed)][-1] == pytest.approx([7.2, 9.0, 9.0])


def test_a_corrected_split_and_a_corrected_bar_count_together() -> None:
    rows = bars(
        *(("A", i, close, None) for i, close in enumerate([10.0, 12.0, 6.0, 7.0])), ("A", 0, 20.0, at(DAYS[2], 22))
    )
    told = actions(("A", "split", 2, 3.0, at(DAYS[2], 14)), ("A", "split", 2, 2.0, at(DAYS[2], 22)))
    seen = [h.closes().ravel().tolist() for h in walk(Feed(rows, actions=told))]
    assert seen[2] == pytest.approx([10 / 3, 4.0, 6.0]) and seen[3] == [10.0, 6.0, 6.0, 7.0]


def test_prices_that_a_source_adjusted_are_left_as_they_are() -> None:
    rows = bars(*(("A", i, 10.0, None) for i in range(3)), adjustment="splits+dividends")
    feed = Feed(rows, actions=actions(("A", "split", 1, 2.0, at(DAYS[1], 14))))
    assert shown(feed)[-1].closes().ravel().tolist() == [10.0, 10.0, 10.0]


def test_members_of_a_universe_come_and_go() -> None:
    rows = bars(*((s, i, 10.0, None) for s in "AB" for i in range(4)))
    told = [
        {"symbol": "A", "member_from": DAYS[0], "member_to": None, "known_from": at(DAYS[0], 0)},
        {"symbol": "A", "member_from": DAYS[0], "member_to": DAYS[1], "known_from": at(DAYS[1], 22)},
        {"symbol": "B", "member_from": DAYS[3], "member_to": None, "known_from": at(DAYS[1], 0)},
    ]
    universe = [{**row, "universe": "u", "event_time": row["known_from"], "source": "test"} for row in told]
    feed = Feed(rows, universe=conform(pa.Table.from_pylist(universe), UNIVERSE))
    assert [h.tradable.tolist() for h in walk(feed)] == [[True, False], [True, False], [False, False], [False, True]]


def test_forecasts_are_those_of_their_dates() -> None:
    told = [
        {
            "run_id": "r",
            "model": "m",
            "symbol": symbol,
            "date": DAYS[day],
            "event_time": at(DAYS[day]),
            "horizon": 1,
            "forecast": float(day),
            "fold": 0,
        }
        for day in (1, 3)
        for symbol in "AB"
    ]
    feed = Feed(
        bars(*(("A", i, 10.0, None) for i in range(5))), forecasts=conform(pa.Table.from_pylist(told), FORECASTS)
    )
    assert not feed.forecasts_read
    seen = [(h.forecast_dates, h.forecasts()["forecast"].to_list(), h.forecasts(5).height) for h in walk(feed)]
    assert seen == [(0, [], 0), (1, [1.0, 1.0], 2), (1, [1.0, 1.0], 2), (2, [3.0, 3.0], 4), (2, [3.0, 3.0], 4)]
    assert feed.forecasts_read


def test_bars_are_the_rows_of_the_arrays() -> None:
    feed = market().feed()
    history = next(iter(walk(feed, first=150)))
    rows = history.bars(["S05", "S03"], last=2, adjusted=False)
    stored = pl.DataFrame(market().bars).filter(
        pl.col("symbol").is_in(["S03", "S05"]), pl.col("date").is_in(history.dates[-2:].tolist())
    )
    columns = ["symbol", "date", "open", "high", "low", "close", "volume"]
    assert rows.sort("symbol", "date").equals(stored.select(columns).sort("symbol", "date"))


def test_what_is_not_there_is_told() -> None:
    history = shown(Feed(bars(("A", 0, 10.0, None))))[0]
    with pytest.raises(UsageError, match="no field 'vwap'"):
        history.field("vwap")
    with pytest.raises(DataError, match="no bar of Z"):
        history.bars(["Z"])
    with pytest.raises(DataError, match="one interval"):
        Feed(BARS.schema.empty_table())
