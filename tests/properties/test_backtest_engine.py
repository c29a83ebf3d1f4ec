"""The whole way through Arrow tables: what a user gets explains itself, and does not depend on what came later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from aiquant.backtest import engine
from aiquant.calendars import Sessions
from aiquant.schemas import BARS, conform
from aiquant.settings import BacktestSettings

FIRST = date(2021, 1, 1)
checked = settings(max_examples=60, deadline=None)


def sessions(count: int) -> Sessions:
    dates = np.array([FIRST + timedelta(days=i) for i in range(count)], dtype="datetime64[D]")
    opens = dates.astype("datetime64[us]") + np.timedelta64(9, "h")
    return Sessions("every-day", dates, opens, opens + np.timedelta64(8, "h"), 250.0)


@dataclass(frozen=True)
class Case:
    """Tables of a run."""

    bars: pl.DataFrame
    weights: pl.DataFrame
    actions: pl.DataFrame
    sessions: Sessions
    settings: BacktestSettings

    def run(self, **changed: Any) -> engine.Result:
        tables = {"bars": self.bars, "weights": self.weights, "actions": self.actions, **changed}
        return engine.run(
            tables["weights"].to_arrow(),
            conform(tables["bars"].to_arrow(), BARS),
            self.sessions,
            self.settings,
            "run",
            tables["actions"].to_arrow(),
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, symbols = draw(st.integers(3, 40)), [f"S{i}" for i in range(draw(st.integers(1, 4)))]
    days = [FIRST + timedelta(days=i) for i in range(count)]
    close = 30 * np.exp(np.cumsum(rng.normal(0, 0.05, (count, len(symbols))), axis=0))
    there = rng.random(close.shape) > draw(st.sampled_from([0.0, 0.2]))
    there[0] = True
    listed = draw(st.integers(0, count - 1)) if len(symbols) > 1 else 0
    there[:listed, -1] = False  # the last symbol is listed, and first decided on, while the others trade
    there[listed, -1] = True
    rows = [
        (symbols[j], days[i], float(close[i, j] * rng.uniform(0.97, 1.03)), float(close[i, j]))
        for i, j in zip(*np.nonzero(there), strict=True)
    ]
    bars = pl.DataFrame(rows, schema=["symbol", "date", "open", "close"], orient="row").with_columns(
        pl.lit("1d").alias("interval"),
        pl.lit("2021").alias("period"),
        pl.lit("none").alias("adjustment"),
        pl.lit("test").alias("source"),
        pl.col("date").cast(pl.Datetime("us", "UTC")).alias("event_time"),
        pl.col("date").cast(pl.Datetime("us", "UTC")).alias("known_from"),
    )
    decided = [i for i in range(count) if rng.random() < 0.4] or [0]
    books = [
        (days[i], s, float(w))
        for i in decided
        for s, w in zip(symbols, spread(rng, len(symbols)), strict=True)
        if s != symbols[-1] or i >= listed
    ]
    acts = sorted(
        {(symbols[rng.integers(len(symbols))], days[rng.integers(count)]) for _ in range(draw(st.integers(0, 3)))}
    )
    kinds = ["split", "dividend", "delisting"]
    picked = [(s, kinds[int(rng.integers(3))], d, 2.0, 0.4) for s, d in acts]
    return Case(
        bars,
        pl.DataFrame(books, schema=["date", "symbol", "weight"], orient="row"),
        pl.DataFrame(
            picked,
            schema={"symbol": pl.String, "kind": pl.String, "date": pl.Date, "ratio": pl.Float64, "amount": pl.Float64},
            orient="row",
        ),
        sessions(count),
        BacktestSettings(
            capital=100_000.0,
            commission_bps=draw(st.sampled_from([0.0, 10.0])),
            slippage_bps=draw(st.sampled_from([0.0, 20.0])),
            slippage_volatility=draw(st.sampled_from([0.0, 1.0])),
            fill=draw(st.sampled_from(["next-open", "close"])),
            shares=draw(st.sampled_from(["fractional", "whole"])),
        ),
    )


def spread(rng: np.random.Generator, count: int) -> np.ndarray:
    weights = rng.normal(size=count)
    return weights / max(np.abs(weights).sum(), 1e-9)


def explain(case: Case, result: engine.Result) -> list[tuple[date, Fraction, Fraction]]:
    """Date, cash and equity of each session, from nothing but bars, actions, fills and flows, in exact fractions."""
    closes = {(s, d): Fraction(c) for s, d, c in case.bars.select("symbol", "date", "close").iter_rows()}
    splits = {(s, d): Fraction(r) for s, k, d, r, _ in case.actions.iter_rows() if k == "split"}
    fills, flows = result.fills.to_pylist(), result.flows.to_pylist()
    cash, held, marks, told = Fraction(case.settings.capital), {}, {}, []
    for day in [FIRST + timedelta(days=i) for i in range(len(case.sessions))]:
        for symbol in [s for s, d in splits if d == day]:
            held[symbol] = held.get(symbol, Fraction(0)) * splits[symbol, day]
            if symbol in marks:
                marks[symbol] /= splits[symbol, day]
        for row in (f for f in fills if f["date"] == day):
            cash -= Fraction(row["shares"]) * Fraction(row["price"]) + Fraction(row["commission"])
            held[row["symbol"]] = held.get(row["symbol"], Fraction(0)) + Fraction(row["shares"])
        cash += sum(Fraction(f["amount"]) for f in flows if f["date"] == day)
        marks.update({s: c for (s, d), c in closes.items() if d == day})
        told.append((day, cash, cash + sum(held[s] * marks[s] for s in held if abs(held[s]) > Fraction(1, 10**6))))
    return told


@checked
@given(cases())
def test_fills_and_flows_explain_cash_and_equity_of_every_session_to_the_cent(case: Case) -> None:
    result = case.run()
    marked = {row["date"]: row for row in result.equity.to_pylist()}
    for day, cash, equity in explain(case, result):
        if day in marked:
            assert abs(float(cash) - marked[day]["cash"]) < 0.01
            assert abs(float(equity) - marked[day]["equity"]) < 0.01


@checked
@given(cases(), st.integers(1, 39))
def test_what_comes_later_changes_nothing_before_it(case: Case, cut: int) -> None:
    """History cut at any session gives the same account up to it: bars, weights and actions of later days unknown."""
    day = FIRST + timedelta(days=max(cut % len(case.sessions), 0))
    known = {
        "bars": case.bars.filter(pl.col("date") <= day),
        "weights": case.weights.filter(pl.col("date") <= day),
        "actions": case.actions.filter(pl.col("date") <= day),
    }
    if not len(known["weights"]):
        return
    whole, part = case.run(), case.run(**known)
    end = part.equity["date"][-1].as_py()  # the last session with a bar, when that of the cut has none
    assert part.bankrupt or end == max(known["weights"]["date"][0], known["bars"]["date"].max())
    for name in ("equity", "fills", "flows"):
        before = [row for row in getattr(whole, name).to_pylist() if row["date"] <= end]
        assert getattr(part, name).to_pylist() == before


@checked
@given(cases(), st.integers(0, 2**32 - 1))
def test_the_order_of_rows_changes_nothing(case: Case, seed: int) -> None:
    shuffled = case.run(bars=case.bars.sample(fraction=1, shuffle=True, seed=seed), weights=case.weights.reverse())
    plain = case.run()
    assert shuffled.equity == plain.equity
    assert shuffled.fills == plain.fills


@checked
@given(cases())
def test_names_of_symbols_change_nothing_but_the_names(case: Case) -> None:
    """Renaming turns the alphabetical order round: all buys share cash alike, whatever they are called."""
    if case.settings.shares == "whole":
        return
    new = {f"S{i}": f"Z{9 - i}" for i in range(10)}
    renamed = {
        name: getattr(case, name).with_columns(pl.col("symbol").replace(new)) for name in ("bars", "weights", "actions")
    }
    one, other = case.run(), case.run(**renamed)
    equal = np.isclose(one.equity["equity"].to_numpy(), other.equity["equity"].to_numpy(), rtol=1e-9)
    assert equal.all()
