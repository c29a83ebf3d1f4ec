"""Bars inside a session: the account steps through them, fees are those of sessions, results have a row a session."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from aiquant.backtest import baselines, engine, paper
from aiquant.errors import DataError
from aiquant.schemas import BARS, conform
from aiquant.settings import BacktestSettings

START = datetime(2024, 1, 1, 14, tzinfo=UTC)


def close_of(day: int, hour: int) -> datetime:
    """Close of the hour's bar; sessions last from 14 to 21."""
    return START + timedelta(days=day, hours=hour)


def hourly(closes: dict[str, list[list[float | None]]], opens: dict[str, list[list[float]]] | None = None) -> pa.Table:
    """Hourly bars by symbol, day and hour; None where there is none."""
    rows = []
    for symbol, days in closes.items():
        for d, prices in enumerate(days):
            for h, close in enumerate(prices):
                if close is not None:
                    first = close if opens is None else opens[symbol][d][h]
                    rows.append(
                        {
                            "symbol": symbol,
                            "interval": "1h",
                            "period": "2024",
                            "date": date(2024, 1, 1 + d),
                            "event_time": close_of(d, h + 1),
                            "known_from": close_of(d, h + 1),
                            "open": first,
                            "high": max(first, close),
                            "low": min(first, close),
                            "close": close,
                            "adjustment": "none",
                            "source": "test",
                        }
                    )
    return conform(pa.Table.from_pylist(rows), BARS)


def weights(rows: list[tuple[datetime | date, str, float]], name: str = "weight") -> pa.Table:
    told: dict[str, Any] = {
        "date": pa.array([m.date() if isinstance(m, datetime) else m for m, *_ in rows], pa.date32()),
        "symbol": [symbol for _, symbol, _ in rows],
        name: pa.array([w for *_, w in rows], pa.float64()),
    }
    if all(isinstance(m, datetime) for m, *_ in rows):
        told["event_time"] = pa.array([m for m, *_ in rows], pa.timestamp("us", tz="UTC"))
    return pa.table(told)


def test_a_decision_within_a_session_fills_at_the_next_bar(tiny: Any) -> None:
    bars = hourly({"A": [[10, 12, 14], [15, 16, 17]]}, {"A": [[10, 11, 13], [14, 15, 16]]})
    result = engine.run(weights([(close_of(0, 1), "A", 0.5)]), bars, tiny.sessions(2), tiny.free())
    # Decided on the close of 10: 50 shares at the next bar's open of 11: 450 + 50 × 12, × 14, × 15 …
    assert result.fills.select(["shares", "price", "event_time"]).to_pylist() == [
        {"shares": 50, "price": 11, "event_time": close_of(0, 1)}
    ]
    assert result.path["equity"].to_pylist() == [1000, 1050, 1150, 1200, 1250, 1300]
    assert result.equity["equity"].to_pylist() == [1150, 1300]
    assert result.equity["date"].to_pylist() == [date(2024, 1, 1), date(2024, 1, 2)]
    assert result.equity["turnover"].to_pylist() == [0.5 * 550 / 1000, 0]
    assert result.conventions["bars"] == "1h"


def test_a_decision_of_a_date_is_made_at_the_last_close_of_its_session(tiny: Any) -> None:
    bars = hourly({"A": [[10, 20], [25, 30]]})
    result = engine.run(weights([(date(2024, 1, 1), "A", 0.5)]), bars, tiny.sessions(2), tiny.free())
    assert result.fills["shares"].to_pylist() == [25]  # sized on 20
    assert result.fills["price"].to_pylist() == [25]
    assert result.fills["event_time"].to_pylist() == [close_of(1, 0)]


def test_a_decision_between_closes_cannot_fill_at_an_open_that_is_over(tiny: Any) -> None:
    bars = hourly({"A": [[10, 20, 30, 40]]})
    late = close_of(0, 1) + timedelta(minutes=30)  # the second bar has opened at hour 1
    result = engine.run(weights([(late, "A", 0.5)]), bars, tiny.sessions(1), tiny.free())
    assert result.fills["price"].to_pylist() == [30]
    assert result.fills["shares"].to_pylist() == [25]
    with pytest.raises(DataError, match="fall on one bar"):
        engine.run(
            weights([(late, "A", 0.5), (late + timedelta(minutes=1), "A", 0.6)]), bars, tiny.sessions(1), tiny.free()
        )


def test_fees_and_interest_are_those_of_sessions(tiny: Any) -> None:
    bars = hourly({"A": [[10, 10, 10, 10], [10, 10, 10, 10]]})
    free = tiny.free(borrow_bps=2500, cash_rate=0.25)
    result = engine.run(weights([(close_of(0, 1), "A", -0.5)]), bars, tiny.sessions(2), free)
    # A thousandth a session of the 500 that are short, and of the 1000 beyond them: once a day.
    told = [(row["date"].day, row["kind"], round(row["amount"], 6)) for row in result.flows.to_pylist()]
    assert told[:2] == [(1, "borrow fee", -0.5), (1, "interest", 0.9995)]
    assert [day for day, *_ in told] == [1, 1, 2, 2]


def test_stops_look_at_each_bar(tiny: Any) -> None:
    bars = hourly({"A": [[10, 10, 8.5, 12]]}, {"A": [[10, 10, 10, 8.5]]})
    result = engine.run(weights([(close_of(0, 1), "A", 0.5)]), bars, tiny.sessions(1), tiny.free(stop_loss=0.1))
    assert result.fills["price"].to_pylist() == [10, 9]
    assert result.fills["event_time"].to_pylist() == [close_of(0, 1), close_of(0, 3)]


def test_actions_meet_the_first_bar_and_the_last_of_a_session(tiny: Any) -> None:
    bars = hourly({"A": [[10, 10], [5, 5], [5, 6]], "B": [[1, 1]] * 3})
    acts = tiny.actions([("A", "split", 1, 2.0), ("A", "dividend", 1, 0.5), ("A", "delisting", 2, None)])
    result = engine.run(weights([(close_of(0, 1), "A", 0.5)]), bars, tiny.sessions(3), tiny.free(), "r", acts)
    # 50 at 10, then 100 with 0.5 each; the last close is 6.
    assert result.path["cash"].to_pylist() == [1000, 500, 550, 550, 550, 1150]


def test_orders_and_missing_bars(tiny: Any) -> None:
    bars = hourly({"A": [[10, None, 12, 12]], "B": [[5, 5, 5, 5]]})
    orders = weights([(close_of(0, 1), "A", 20.0), (close_of(0, 1), "B", 10.0)], "shares")
    result = engine.run(None, bars, tiny.sessions(1), tiny.free(), orders=orders)
    assert [(r["symbol"], r["event_time"]) for r in result.fills.to_pylist()] == [
        ("B", close_of(0, 1)),
        ("A", close_of(0, 2)),
    ]


def test_a_symbol_has_one_bar_at_a_time(tiny: Any) -> None:
    bars = hourly({"A": [[10, 10]]})
    with pytest.raises(DataError, match="A has more than one bar closing at 2024-01-01T15"):
        engine.run(
            weights([(date(2024, 1, 1), "A", 0.5)]), pa.concat_tables([bars, bars]), tiny.sessions(1), tiny.free()
        )


def test_plain_books_decide_once_a_session(tiny: Any) -> None:
    bars = hourly({"A": [[10, 10], [10, 10]], "B": [[10, None], [10, 10]]})
    book = baselines.equal_weight(bars, date(2024, 1, 1), date(2024, 1, 2), 1)
    assert book["weight"].to_pylist() == [0.5] * 4
    assert set(book["event_time"].to_pylist()) == {close_of(0, 2), close_of(1, 2)}
    assert engine.run(book, bars, tiny.sessions(2), tiny.free()).fills.num_rows == 2


def test_a_paper_account_refuses_them(tiny: Any) -> None:
    bars = hourly({"A": [[10.0, 11.0], [12.0, 13.0]]})
    with pytest.raises(DataError, match="interval 1h") as caught:
        paper.stage(["A"], bars, tiny.sessions(3), BacktestSettings(), date(2024, 1, 1))
    assert "data.interval" in str(caught.value.remedy)
