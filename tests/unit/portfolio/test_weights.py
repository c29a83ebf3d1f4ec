"""Forecasts to weights, on a few symbols and dates."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from aiquant.errors import DataError
from aiquant.portfolio import signals, weights
from aiquant.schemas import FORECASTS, TARGET_WEIGHTS, conform
from aiquant.settings import PortfolioSettings

FIRST = date(2024, 1, 1)


def forecasts(by_day: list[dict[str, float]]) -> pa.Table:
    rows = [
        {
            "run_id": "r",
            "model": "m",
            "symbol": symbol,
            "date": FIRST + timedelta(days=i),
            "event_time": datetime(2024, 1, 1, 21, tzinfo=UTC) + timedelta(days=i),
            "horizon": 2,
            "forecast": value,
            "fold": 0,
        }
        for i, day in enumerate(by_day)
        for symbol, value in day.items()
    ]
    return conform(pa.Table.from_pylist(rows), FORECASTS)


def books(table: pa.Table) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for row in table.to_pylist():
        found.setdefault((row["date"] - FIRST).days, {})[row["symbol"]] = row["weight"]
    return found


TEN = {symbol: float(i) for i, symbol in enumerate("ABCDEFGHIJ")}


def test_long_short_buys_the_top_and_sells_the_bottom_in_equal_parts() -> None:
    table = weights.from_forecasts(forecasts([TEN]), PortfolioSettings(quantile=0.2, gross=1.0), 2, "run")
    assert books(table) == {0: {"A": -0.25, "B": -0.25, "I": 0.25, "J": 0.25}}
    assert table.schema == TARGET_WEIGHTS.schema
    assert table["run_id"].to_pylist() == ["run"] * 4
    assert table["event_time"].to_pylist()[0] == datetime(2024, 1, 1, 21, tzinfo=UTC)


def test_long_only_buys_the_top_with_all_of_the_gross_exposure() -> None:
    settings = PortfolioSettings(rule="long-only", quantile=0.3, gross=0.9)
    found = books(weights.from_forecasts(forecasts([TEN]), settings, 2, "run"))[0]
    assert found == pytest.approx({"H": 0.3, "I": 0.3, "J": 0.3})


@pytest.mark.parametrize(
    ("symbols", "quantile", "side"),
    [(20, 0.2, 4), (15, 0.2, 3), (14, 0.2, 2), (10, 0.3, 3), (3, 0.2, 1), (2, 0.1, 1), (7, 0.5, 3), (8, 0.5, 4)],
)
def test_a_side_holds_the_quantile_at_least_one_and_never_both_sides(symbols: int, quantile: float, side: int) -> None:
    day = {f"S{i:02d}": float(i) for i in range(symbols)}
    found = books(weights.from_forecasts(forecasts([day]), PortfolioSettings(quantile=quantile, gross=2.0), 1, "r"))[0]
    assert len(found) == 2 * side
    assert sum(found.values()) == pytest.approx(0)
    assert sum(map(abs, found.values())) == pytest.approx(2.0)
    assert {s for s, w in found.items() if w > 0} == set(sorted(day)[-side:])


def test_decisions_are_every_horizon_dates_from_the_first_unless_told_otherwise() -> None:
    table = forecasts([TEN] * 7)
    assert sorted(books(weights.from_forecasts(table, PortfolioSettings(), 3, "r"))) == [0, 3, 6]
    assert sorted(books(weights.from_forecasts(table, PortfolioSettings(rebalance=1), 3, "r"))) == list(range(7))


def test_equal_forecasts_are_ranked_by_symbol_whatever_the_order_of_rows() -> None:
    day = {"A": 1.0, "B": 1.0, "C": 1.0, "D": 1.0, "E": 0.0}
    table = forecasts([day])
    expected = {0: {"E": -0.5, "D": 0.5}}
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        assert books(weights.from_forecasts(table.take(order), PortfolioSettings(), 1, "r")) == expected


def test_dates_that_say_nothing_have_an_empty_book_which_is_not_a_missing_one() -> None:
    table = forecasts([TEN, {"A": 1.0}, {"A": 2.0, "B": 2.0, "C": 2.0}])
    found = books(weights.from_forecasts(table, PortfolioSettings(), 1, "r"))
    assert found[1] == {"A": 0.0}
    assert found[2] == {"A": 0.0, "B": 0.0, "C": 0.0}
    assert books(weights.from_forecasts(table, PortfolioSettings(rule="long-only"), 1, "r"))[2] == found[2]


def test_only_the_order_within_a_date_matters() -> None:
    rng = np.random.default_rng(1)
    days = [{f"S{i}": float(v) for i, v in enumerate(rng.normal(size=9))} for _ in range(4)]
    stretched = [{s: float(np.exp(3 * v) * (i + 1)) for s, v in day.items()} for i, day in enumerate(days)]
    one = weights.from_forecasts(forecasts(days), PortfolioSettings(), 1, "r")
    assert weights.from_forecasts(forecasts(stretched), PortfolioSettings(), 1, "r") == one


def test_rank_signal_spreads_evenly_between_minus_and_plus_one_half() -> None:
    found = signals.rank(forecasts([{"A": 3.0, "B": 9.0, "C": -1.0}, {"A": 5.0}]))
    assert found["signal"].to_list() == [0.0, 0.5, -0.5, 0.0]


def test_no_forecasts_give_no_weights() -> None:
    empty = forecasts([TEN]).slice(0, 0)
    assert weights.from_forecasts(empty, PortfolioSettings(), 5, "r").num_rows == 0


def test_two_models_in_one_table_are_refused() -> None:
    table = forecasts([TEN])
    with pytest.raises(DataError, match="A has more than one forecast for 2024-01-01; pass the rows of one model"):
        weights.from_forecasts(pa.concat_tables([table, table]), PortfolioSettings(), 5, "r")


def test_a_forecast_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="the forecast of B for 2024-01-01 is not a finite number"):
        weights.from_forecasts(forecasts([{"A": 1.0, "B": float("nan")}]), PortfolioSettings(), 5, "r")
