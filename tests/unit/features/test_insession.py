"""Session-aware operators and calendar fields, on hours of sessions of which one is short."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.errors import UsageError
from aiquant.features import engine
from aiquant.features.catalogue import FeatureSet, define
from aiquant.features.grid import Axis
from aiquant.features.live import LiveSet
from aiquant.features.lookbacks import Reach
from aiquant.features.parsing import parse
from aiquant.schemas import BARS, conform

NAN = np.nan
SESSIONS = calendars.sessions("XNYS", date(2019, 11, 20), date(2019, 12, 10))
"""The 29th of November ends at one o'clock."""
PER_SESSION = 7  # half past nine to four, in hours


@pytest.fixture(scope="module")
def hours() -> pd.DataFrame:
    """Bars of two symbols by slot, with gaps; one begins in the middle of a session."""
    axis = Axis(SESSIONS, "1h")
    rng = np.random.default_rng(5)
    slots = np.arange(axis.first[-1])
    frames = []
    for symbol, begin in (("A", 0), ("B", 11)):
        there = slots[(slots >= begin) & ((rng.random(len(slots)) > 0.2) | (slots == begin))]
        session = np.searchsorted(axis.first, there, side="right") - 1
        frames.append(
            pd.DataFrame(
                {
                    "symbol": symbol,
                    "slot": there,
                    "session": session,
                    "within": there - axis.first[session],
                    "event_time": axis.slots.closes[there],
                    "date": SESSIONS.dates[session],
                    "close": np.round(rng.normal(50, 1, len(there)), 1),
                    "volume": np.round(rng.normal(0, 5, len(there)).clip(0)),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def table(frame: pd.DataFrame) -> pa.Table:
    rows = pl.from_pandas(frame[["symbol", "event_time", "date", "close", "volume"]]).with_columns(
        pl.col("event_time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        pl.col("date").cast(pl.Date),
        *(pl.lit(v).alias(k) for k, v in (("interval", "1h"), ("period", "2019"), ("adjustment", "none"))),
        pl.lit("test").alias("source"),
    )
    return conform(rows.with_columns(pl.col("event_time").alias("known_from")).to_arrow(), BARS)


def chosen(formula: str, partial: bool = True) -> FeatureSet:
    return FeatureSet("t", define([("f", formula, "", "")]), partial_windows=partial)


def values(formula: str, frame: pd.DataFrame, partial: bool = True) -> np.ndarray[Any, Any]:
    return np.asarray(engine.compute(chosen(formula, partial), table(frame), SESSIONS)["f"])


def test_the_session_has_a_short_day_among_them() -> None:
    axis = Axis(SESSIONS, "1h")
    assert sorted(set(np.diff(axis.first).tolist())) == [4, 7] and axis.per_session == PER_SESSION
    only_short = calendars.sessions("XNYS", date(2019, 11, 29), date(2019, 11, 29))
    assert Axis(only_short, "1h").per_session == PER_SESSION
    assert Axis(only_short, "1m").per_session == 390


@pytest.mark.parametrize(
    "formula, of",
    [
        ("SessionFirst($close)", lambda g: g["close"].transform("first")),
        ("SessionSum($volume)", lambda g: g["volume"].cumsum()),
        ("SessionMean($close)", lambda g: g["close"].expanding().mean().reset_index(level=[0, 1], drop=True)),
        ("SessionCount($close)", lambda g: g.cumcount() + 1.0),
        ("SessionMax($close)", lambda g: g["close"].cummax()),
        ("SessionMin($close)", lambda g: g["close"].cummin()),
    ],
)
def test_since_the_open(formula: str, of: Any, hours: pd.DataFrame) -> None:
    expected = of(hours.groupby(["symbol", "session"])).sort_index()
    np.testing.assert_allclose(values(formula, hours), expected.to_numpy(), rtol=1e-6)


def test_a_ratio_of_two_sums_is_the_mean_price(hours: pd.DataFrame) -> None:
    groups = hours.assign(traded=hours["close"] * hours["volume"]).groupby(["symbol", "session"])
    expected = groups["traded"].cumsum() / groups["volume"].cumsum().replace(0, NAN)
    np.testing.assert_allclose(values("SessionRatio($close*$volume, $volume)", hours), expected, rtol=1e-6)


@pytest.mark.parametrize("ago", [1, 2, 5])
def test_earlier_sessions(ago: int, hours: pd.DataFrame) -> None:
    last = hours.groupby(["symbol", "session"])["close"].last()
    same = hours.set_index(["symbol", "session", "within"])["close"]
    then = hours["session"] - ago
    expected = last.reindex(pd.MultiIndex.from_arrays([hours["symbol"], then])).to_numpy()
    np.testing.assert_allclose(values(f"SessionLast($close, {ago})", hours), expected, rtol=1e-6)
    expected = same.reindex(pd.MultiIndex.from_arrays([hours["symbol"], then, hours["within"]])).to_numpy()
    np.testing.assert_allclose(values(f"SessionAgo($close, {ago})", hours), expected, rtol=1e-6)


FORMULAS = [
    "SessionSum($volume)",
    "$close/SessionLast($close, 2)-1",
    "Mean(SessionMax($close)/SessionFirst($close), 4)",
    "SessionAgo(Mean($volume, 3), 2)",
    "CSRank($close/SessionFirst($close))*SessionCount($close)",
    "SessionLast(CSDemean($close), 1) + Mean($minute_of_session, 2)",
]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("partial", [True, False])
def test_slot_by_slot_has_the_values_of_all(formula: str, partial: bool, hours: pd.DataFrame) -> None:
    whole = values(formula, hours, partial)
    live = LiveSet(chosen(formula, partial), SESSIONS, "1h")
    rows = [live.push(table(part)) for _, part in hours.groupby("slot")]
    got = pl.DataFrame(pl.from_arrow(pa.concat_tables(rows))).sort("symbol", "event_time")
    assert got["f"].to_numpy().tobytes() == whole.tobytes()
    assert np.isfinite(whole).any()


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("start", [3, 17, 40])
def test_values_do_not_depend_on_where_the_history_starts(formula: str, start: int, hours: pd.DataFrame) -> None:
    later = hours[hours["slot"] >= start]
    reach = parse(formula).slots(PER_SESSION)
    told = (hours["slot"] >= 11 + start + reach).to_numpy()  # both symbols have their look-back by then
    whole = values(formula, hours, partial=False)[told]
    part = values(formula, later, partial=False)[(later["slot"] >= 11 + start + reach).to_numpy()]
    assert whole.tobytes() == part.tobytes() and len(whole)


@pytest.mark.parametrize(
    "formula, minutes, daily",
    [
        ("SessionFirst($close)", 389, 0),
        ("SessionLast($close, 1)", 779, 1),
        ("$close/SessionLast($close, 1)", 779, 1),
        ("SessionAgo($close, 2)", 780, 2),
        ("Mean(SessionSum($volume), 5)", 393, 4),
        ("SessionLast(Mean($close, 3), 1)", 781, 3),
        ("SessionSum($volume) + Mean($volume, 100)", 389, 99),
    ],
)
def test_the_look_back_is_known_for_any_interval(formula: str, minutes: int, daily: int) -> None:
    expression = parse(formula)
    assert (expression.slots(390), expression.lookback) == (minutes, daily)


def test_a_reach_keeps_only_what_can_be_furthest() -> None:
    near, far, wide = Reach.of(0), Reach.of(-1, 2), Reach.of(99)
    assert Reach.furthest([near, far]) == far
    assert Reach.furthest([far, wide, near]).parts == ((-1, 2), (99, 0))
    assert Reach.furthest([]) == near


def test_daily_bars_are_sessions_of_one_slot(panel: pa.Table, sessions: calendars.Sessions) -> None:
    def daily(formula: str) -> bytes:
        return np.asarray(engine.compute(chosen(formula), panel, sessions)["f"]).tobytes()

    assert daily("SessionSum($close)") == daily("SessionMax($close)") == daily("$close")
    assert daily("SessionLast($close, 3)") == daily("SessionAgo($close, 3)") == daily("Ref($close, 3)")


def test_sessions_ahead_are_refused() -> None:
    with pytest.raises(UsageError, match="reads 1 bar.* of the future"):
        parse("SessionLast($close, -1)")


def calendar_values(name: str, frame: pd.DataFrame) -> pd.Series:
    one = frame[frame["symbol"] == "A"]
    return pd.Series(values(f"${name}+0*$close", one), pd.MultiIndex.from_frame(one[["date", "within"]]))


def test_calendar_fields(hours: pd.DataFrame) -> None:
    every = {
        name: calendar_values(name, hours)
        for name in (
            "weekday month session_of_month sessions_left_in_month sessions_left_in_quarter days_since_session "
            "days_to_session session_minutes minute_of_session minutes_left"
        ).split()
    }

    def on(day: str) -> dict[str, float]:
        return {name: float(column.xs(pd.Timestamp(day), level="date").iloc[-1]) for name, column in every.items()}

    short = on("2019-11-29")
    assert (short["weekday"], short["month"], short["session_minutes"]) == (5, 11, 210)
    assert (short["session_of_month"], short["sessions_left_in_month"], short["sessions_left_in_quarter"]) == (
        20,
        0,
        21,
    )
    assert (short["days_since_session"], short["days_to_session"]) == (2, 3)
    monday = on("2019-12-02")
    assert (monday["session_of_month"], monday["sessions_left_in_month"], monday["days_since_session"]) == (1, 20, 3)
    assert on("2019-11-20")["days_since_session"] == 1  # the session before lies outside of the bars
    minutes = every["minute_of_session"].xs(pd.Timestamp("2019-12-03"), level="date")
    left = every["minutes_left"].xs(pd.Timestamp("2019-12-03"), level="date")
    assert set(minutes) <= {60, 120, 180, 240, 300, 360, 390} and ((minutes + left) == 390).all()


def test_what_is_left_in_a_month_does_not_depend_on_where_the_bars_end(
    panel: pa.Table, sessions: calendars.Sessions
) -> None:
    formula = chosen("$sessions_left_in_month + 100*$days_to_session + 0*$close")
    whole = pl.DataFrame(pl.from_arrow(engine.compute(formula, panel, sessions)))
    day = date(2020, 3, 9)
    cut = calendars.sessions("XNYS", sessions.dates[0].item(), day)
    past = pl.DataFrame(pl.from_arrow(panel)).filter(pl.col("date") <= day).to_arrow()
    part = pl.DataFrame(pl.from_arrow(engine.compute(formula, past, cut)))
    assert part["f"].to_list() == whole.filter(pl.col("date") <= day)["f"].to_list()
