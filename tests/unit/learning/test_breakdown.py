"""Rank IC by group, by kind of date and by horizon, and how much forecasts change, on markets worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from aiquant.learning import breakdown, judgement, ordering, persistence
from aiquant.schemas import FORECASTS, LABELS, TIME

Tables = tuple[pa.Table, pa.Table]
FIRST = date(2020, 1, 1)


def moment(t: int) -> datetime:
    return datetime(FIRST.year, FIRST.month, FIRST.day, 21, tzinfo=UTC) + timedelta(days=t)


def tables(forecast: NDArray[np.float64], returns: NDArray[np.float64], horizon: int = 1) -> Tables:
    """Arrays of shape (dates, symbols); a NaN is a row that is not there."""
    rows: dict[str, list[dict[str, Any]]] = {"f": [], "l": []}
    for t, s in np.ndindex(*forecast.shape):
        key = {"symbol": f"S{s}", "date": moment(int(t)).date(), "event_time": moment(int(t)), "horizon": horizon}
        if math.isfinite(forecast[t, s]):
            rows["f"].append(key | {"run_id": "r", "model": "m", "forecast": float(forecast[t, s]), "fold": 0})
        end = {"label_start": moment(int(t) + 1), "label_end": moment(int(t) + 1 + horizon)}
        rows["l"].append(key | end | {"forward_return": float(returns[t, s])})
    return (
        pa.Table.from_pylist(rows["f"], schema=FORECASTS.schema),
        pa.Table.from_pylist(rows["l"], schema=LABELS.schema),
    )


def good_and_bad(dates: int = 30, each: int = 6) -> Tables:
    """Symbols 0–5 are forecast rightly, 6–11 the wrong way round; each group's returns lie apart."""
    rng = np.random.default_rng(0)
    returns = rng.normal(size=(dates, 2 * each))
    forecast = returns.copy()
    forecast[:, each:] *= -1
    return tables(forecast, returns)


def test_groups_of_symbols_are_judged_by_themselves() -> None:
    forecasts, labels = good_and_bad()
    groups = pa.table({"symbol": [f"S{s}" for s in range(11)], "group": ["good"] * 6 + ["bad"] * 5})  # S11 has none
    told = judgement.judge(forecasts, labels, groups={"sector": groups}).groups["sector"]
    assert [(row["group"], row["dates"], row["breadth"]) for row in told] == [("bad", 30, 5), ("good", 30, 6)]
    assert [row["rank_ic"] for row in told] == pytest.approx([-1, 1])


def test_a_group_that_changes_counts_as_of_each_date() -> None:
    forecasts, labels = good_and_bad(60)
    rows = [(f"S{s}", moment(t), "first" if (s < 6) == (t < 30) else "other") for t in range(60) for s in range(12)]
    groups = pa.table(
        {
            "symbol": [r[0] for r in rows],
            "event_time": pa.array([r[1] for r in rows], TIME),
            "group": [r[2] for r in rows],
        }
    )
    told = breakdown.by_group(ordering.pairs(forecasts, labels, 1), groups, 1)
    assert [row["rank_ic"] for row in told] == pytest.approx([0, 0])  # half of the time right, half of it wrong


def test_small_groups_are_told_without_figures() -> None:
    forecasts, labels = good_and_bad(19)
    groups = pa.table({"symbol": [f"S{s}" for s in range(12)], "group": ["a"] * 8 + ["b"] * 4})
    few, none = breakdown.by_group(ordering.pairs(forecasts, labels, 1), groups, 1)
    assert (few["dates"], none["dates"]) == (19, 0)  # four symbols are too few for a date to count
    assert math.isnan(few["rank_ic"]) and math.isnan(none["rank_ic_t"])


def conditions(values: dict[str, Callable[[int, int], float]], dates: int = 6, symbols: int = 6) -> pa.Table:
    keys = [(t, s) for t in range(dates) for s in range(symbols)]
    return pa.table(
        {
            "symbol": [f"S{s}" for _, s in keys],
            "event_time": pa.array([moment(t) for t, _ in keys], TIME),
            **{name: pa.array([value(t, s) for t, s in keys], pa.float32()) for name, value in values.items()},
        }
    )


def test_size_is_by_dollar_volume_within_the_date() -> None:
    told = breakdown.size_thirds(
        conditions({"dollar_volume": lambda t, s: math.nan if (t, s) == (1, 0) else (s + 1) * 10.0**t})
    ).to_pylist()
    first = {row["symbol"]: row["group"] for row in told if row["event_time"] == moment(0)}
    assert first == {"S0": "small", "S1": "small", "S2": "middle", "S3": "middle", "S4": "large", "S5": "large"}
    assert ("S0", moment(1)) not in {(row["symbol"], row["event_time"]) for row in told}
    assert len(told) == 35


def test_volatility_is_by_date_among_those_that_were_forecast() -> None:
    forecasts, _ = tables(np.ones((3, 6)), np.ones((3, 6)))
    told = breakdown.volatility_thirds(
        conditions({"market_volatility": lambda t, s: [0.3, 0.1, 0.2, 9, 9, 9][t]}), forecasts
    ).to_pylist()
    assert {(row["event_time"], row["group"]) for row in told} == {
        (moment(0), "wild"),
        (moment(1), "calm"),
        (moment(2), "usual"),
    }
    assert len(told) == 18


def test_sectors_are_those_that_were_known_at_each_decision() -> None:
    forecasts, _ = tables(np.ones((3, 2)), np.ones((3, 2)))
    rows = [
        ("S0", 0, 0, "energy"),
        ("S0", 1, 2, "banks"),  # holds from the second day on, and is known on the third
        ("S1", 1, 0, "energy"),
        ("S1", 2, 0, None),
    ]
    classes = pa.table(
        {
            "symbol": [r[0] for r in rows],
            "valid_from": pa.array([moment(r[1]).date() for r in rows], pa.date32()),
            "known_from": pa.array([moment(r[2]) for r in rows], TIME),
            "sector": [r[3] for r in rows],
        }
    )
    told = {(r["symbol"], r["event_time"]): r["group"] for r in breakdown.sectors(classes, forecasts).to_pylist()}
    assert told == {
        ("S0", moment(0)): "energy",
        ("S0", moment(1)): "energy",
        ("S0", moment(2)): "banks",
        ("S1", moment(1)): "energy",
    }


def test_decay_judges_the_same_forecasts_over_each_horizon() -> None:
    rng = np.random.default_rng(1)
    returns = rng.normal(size=(40, 8))
    forecasts, own = tables(returns, returns)
    opposite = tables(returns, -returns, horizon=5)[1]
    empty = own.slice(0, 0)
    told = judgement.judge(forecasts, own, horizons=iter([opposite, own, empty])).decay
    assert [(row["horizon"], row["rank_ic"]) for row in told] == [(1, pytest.approx(1)), (5, pytest.approx(-1))]


def test_turnover_by_hand() -> None:
    # Ten symbols; forecasts are 0…9 at first, then S9 (the highest) and S8 change places with S0 and S1, then stay.
    first = np.arange(10.0)
    second = first.copy()
    second[[9, 8, 0, 1]] = first[[0, 1, 9, 8]]
    forecasts, labels = tables(np.array([first, second, second]), np.zeros((3, 10)))
    told = persistence.turnover(forecasts, horizon=1, rank_ic=0.05, spread=0.004)
    # Spearman of the change: Σd² = 9² + 7² + 9² + 7² = 260, ρ = 1 − 6·260 / (10·99) = −0.5758; then 1.
    rho = (1 - 6 * 260 / 990 + 1) / 2
    assert told["autocorrelation"] == pytest.approx(rho)
    assert told["fifth_turnover"] == pytest.approx(0.5)  # all four at first, none then
    assert told["adjusted_ic"] == pytest.approx(0.05 / math.sqrt(1 - rho))
    assert told["break_even_cost"] == pytest.approx(0.004 / 2)
    assert told["dates"] == 2
    # Over two periods the first date meets the third alone.
    assert persistence.turnover(forecasts, 2, 0.05, 0.004)["autocorrelation"] == pytest.approx(1 - 6 * 260 / 990)


def test_a_symbol_that_vanishes_is_replaced() -> None:
    forecast = np.tile(np.arange(10.0), (2, 1))
    forecast[1, 9] = np.nan
    told = persistence.turnover(tables(forecast, forecast)[0], 1, 0.1, -0.1)
    # Of S8, S9, S0, S1 S9 is gone; of nine the highest fifth is S8 and S7, so that the others stay.
    assert told["fifth_turnover"] == pytest.approx(1 / 4)
    assert told["autocorrelation"] == pytest.approx(1)
    assert math.isnan(told["adjusted_ic"]) and math.isnan(told["break_even_cost"])


def test_one_date_has_no_turnover() -> None:
    told = persistence.turnover(tables(np.arange(6.0)[None], np.zeros((1, 6)))[0], 1, 0.1, 0.1)
    assert told["dates"] == 0 and math.isnan(told["autocorrelation"]) and math.isnan(told["fifth_turnover"])
