"""Sectors against the literature's worked example, factors against returns that were made from known ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aiquant.backtest.evaluation import factors, sectors
from aiquant.backtest.evaluation.market_panel import MarketPanel
from aiquant.backtest.evaluation.regression import least_squares
from aiquant.errors import DataError
from aiquant.schemas import CLASSIFICATION, EQUITY, FILLS

Make = Callable[..., MarketPanel]


def test_brinson_fachler_of_the_worked_example() -> None:
    # Bacon, Practical Portfolio Performance Measurement and Attribution (2nd ed. 2008), chapter 5: UK, Japanese and US
    # equities. Portfolio 8.3 %, benchmark 6.4 %: allocation −1.2 %, selection 3.0 %, interaction 0.1 %.
    w, r = np.array([0.4, 0.3, 0.3]), np.array([0.20, -0.05, 0.06])
    v, b = np.array([0.4, 0.2, 0.4]), np.array([0.10, -0.04, 0.08])
    found = sectors.brinson_fachler(w, w * r, v, v * b)
    assert found.allocation == pytest.approx([0.0, -0.0104, -0.0016])
    assert found.selection == pytest.approx([0.04, -0.002, -0.008])
    assert found.interaction == pytest.approx([0.0, -0.001, 0.002])
    assert sum(part.sum() for part in found) == pytest.approx(0.083 - 0.064)


def test_carino_links_effects_to_the_compounded_difference() -> None:
    rng = np.random.default_rng(3)
    own, bench = rng.normal(0.01, 0.05, (2, 24))
    bench[5] = own[5]  # where both earn the same, the limit counts
    linked = ((own - bench) * sectors.carino(own, bench)).sum()
    assert linked == pytest.approx(np.prod(1 + own) - np.prod(1 + bench), abs=1e-14)


def _row(symbol: str, panel: MarketPanel, at: int, shares: float) -> dict[str, Any]:
    day = panel.dates[at].item()
    moment = datetime(day.year, day.month, day.day, 21, tzinfo=UTC)
    told = {"run_id": "r", "symbol": symbol, "date": day, "event_time": moment, "shares": shares}
    price = float(panel.close[at, panel.symbols.index(symbol)])
    return told | {"price": price, "commission": 0.0, "slippage": 0.0, "reason": "rebalance"}


def _classified(panel: MarketPanel, rows: list[tuple[int, str, int]]) -> pa.Table:
    told = []
    for symbol, sector, begin in rows:
        day = panel.dates[begin].item()
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        told.append(
            {
                "symbol": panel.symbols[symbol],
                "valid_from": day,
                "event_time": moment,
                "known_from": moment,
                "sector": sector,
                "source": "t",
            }
        )
    return pa.Table.from_pylist(told, schema=CLASSIFICATION.schema)


def _held(panel: MarketPanel, shares: list[float], capital: float, last: int) -> tuple[pa.Table, pa.Table]:
    """An account that buys once at the first close without costs, and holds."""
    fills = [_row(symbol, panel, 0, n) for symbol, n in zip(panel.symbols, shares, strict=True) if n]
    cash = capital - float(panel.close[0] @ np.array(shares))
    marks = cash + panel.close[: last + 1] @ np.array(shares)
    days = panel.dates[: last + 1].tolist()
    table = {
        "run_id": ["r"] * len(days),
        "date": days,
        "event_time": [datetime(d.year, d.month, d.day, 21, tzinfo=UTC) for d in days],
        "equity": marks,
        "cash": np.full(len(days), cash),
        **{name: np.zeros(len(days)) for name in ("gross_exposure", "net_exposure", "turnover", "costs")},
    }
    return pa.table(table, schema=EQUITY.schema), pa.Table.from_pylist(fills, schema=FILLS.schema)


@pytest.mark.parametrize("shares", [[5.0, 3.0, 0.0, 2.0], [5.0, -3.0, 0.0, 1.0]], ids=["long", "long-short"])
def test_sector_effects_sum_to_the_difference_of_total_returns(make_panel: Make, shares: list[float]) -> None:
    panel = make_panel(np.random.default_rng(1).normal(0.0, 0.02, (40, 4)))
    equity, fills = _held(panel, shares, 1500.0, 39)
    told = sectors.attribute(equity, fills, panel, _classified(panel, [(0, "A", 0), (1, "A", 0), (2, "B", 0)]))
    assert told is not None
    assert [row.sector for row in told.rows] == ["A", "B", "unclassified", "cash"]
    effects = sum(row.allocation + row.selection for row in told.rows)
    assert effects + told.trading == pytest.approx(told.total_return - told.bench_return, abs=1e-13)
    assert told.trading == pytest.approx(0.0, abs=1e-13), "nothing was traded within the sessions, nothing was paid"


def test_a_sector_counts_from_the_day_it_was_known(make_panel: Make) -> None:
    panel = make_panel(np.random.default_rng(2).normal(0.0, 0.02, (30, 3)))
    equity, fills = _held(panel, [4.0, 4.0, 4.0], 1200.0, 29)
    rows = [(0, "A", 0), (1, "A", 0), (2, "A", 0), (2, "B", 15)]
    told = sectors.attribute(equity, fills, panel, _classified(panel, rows))
    assert told is not None
    by_name = {row.sector: row.bench_weight for row in told.rows}
    assert by_name["B"] == pytest.approx(14 / 29 / 3), "of 29 returns 14 began at a close from the 16th session on"


def test_nothing_classified_is_no_attribution(make_panel: Make) -> None:
    panel = make_panel(np.zeros((12, 2)))
    equity, fills = _held(panel, [1.0, 0.0], 200.0, 11)
    assert sectors.attribute(equity, fills, panel, CLASSIFICATION.schema.empty_table()) is None


def test_positions_follow_splits(make_panel: Make) -> None:
    splits = np.ones((6, 1))
    splits[3] = 4.0
    panel = make_panel(np.zeros((6, 1)), splits=splits)
    fills = pa.Table.from_pylist([_row("S00", panel, 1, 10.0), _row("S00", panel, 4, -15.0)], schema=FILLS.schema)
    assert sectors.positions(fills, panel)[:, 0].tolist() == [0, 10, 10, 40, 25, 25]


def test_least_squares_by_hand() -> None:
    # y = 1, 2, 4 on x = 0, 1, 2: slope 1.5, constant 5/6; residuals 1/6, −1/3, 1/6. White's errors (no lag):
    # (X'X)^-1 = [[5/6, −1/2], [−1/2, 1/2]], S = Σ e² x x' = [[1/6, 1/6], [1/6, 2/9]].
    x = np.column_stack([np.ones(3), np.arange(3.0)])
    fit = least_squares(np.array([1.0, 2.0, 4.0]), x, lag=0)
    assert fit.coefficients == pytest.approx([5 / 6, 1.5])
    bread, meat = np.array([[5 / 6, -1 / 2], [-1 / 2, 1 / 2]]), np.array([[1 / 6, 1 / 6], [1 / 6, 2 / 9]])
    assert fit.errors**2 == pytest.approx(np.diag(bread @ meat @ bread))
    assert fit.r2 == pytest.approx(1 - (1 / 6) / (14 / 3))


def test_newey_west_of_a_constant_is_the_error_of_a_mean() -> None:
    values = np.random.default_rng(4).normal(size=200).cumsum() * 0.1
    fit = least_squares(values, np.ones((200, 1)), lag=5)
    centred = values - values.mean()
    long_run = centred @ centred / 200
    for j in range(1, 6):
        long_run += 2 * (1 - j / 6) * (centred[j:] @ centred[:-j]) / 200
    assert fit.errors[0] == pytest.approx(np.sqrt(long_run / 200))


def test_columns_that_follow_from_others_are_refused() -> None:
    with pytest.raises(DataError, match="follows from the others"):
        least_squares(np.arange(9.0), np.ones((9, 2)))


def test_factors_that_made_a_strategy_are_found_again(make_panel: Make) -> None:
    rng = np.random.default_rng(5)
    dollars = np.exp(np.linspace(0, 5, 60))[None, :] * np.ones((900, 60))
    panel = make_panel(rng.normal(0.0003, 0.02, (900, 60)) + rng.normal(0, 0.01, (900, 1)), dollars)
    made = factors.factor_returns(panel)
    days = panel.dates[1:].tolist()
    excess = (0.0002 + 0.5 * made["market"] - 0.3 * made["size"] + 0.4 * made["reversal"])[1:]
    excess = excess + rng.normal(0, 0.0005, len(excess))
    told = factors.attribute(days, excess, panel, 252.0)
    beta = {row.name: row for row in told.exposures}
    assert list(beta) == ["alpha", "market", "size", "momentum", "volatility", "reversal"]
    assert beta["market"].beta == pytest.approx(0.5, abs=0.02)
    assert beta["size"].beta == pytest.approx(-0.3, abs=0.02)
    assert beta["reversal"].beta == pytest.approx(0.4, abs=0.02)
    assert beta["alpha"].beta == pytest.approx(0.0002 * 252, abs=0.02)
    assert abs(beta["momentum"].t) < 4 and abs(beta["volatility"].t) < 4
    assert told.r2 > 0.95
    total = sum(row.contribution for row in told.exposures)
    assert total == pytest.approx(excess[-told.sessions :].mean() * 252), "contributions sum to the mean return"


def test_characteristics_are_known_before_the_return(make_panel: Make) -> None:
    rng = np.random.default_rng(6)
    returns = rng.normal(0, 0.02, (400, 12))
    changed = returns.copy()
    changed[350] += rng.normal(0, 0.5, 12)
    before, after = (factors.factor_returns(make_panel(part)) for part in (returns, changed))
    for name in before:
        assert np.array_equal(before[name][:350], after[name][:350], equal_nan=True), name


def test_bars_without_volume_make_no_size_factor(make_panel: Make) -> None:
    rng = np.random.default_rng(7)
    panel = make_panel(rng.normal(0, 0.02, (700, 12)), np.full((700, 12), np.nan))
    told = factors.attribute(panel.dates[1:].tolist(), panel.market[1:] + rng.normal(0, 0.001, 699), panel, 252.0)
    assert told.left_out == ("size",)
    assert "size" not in [row.name for row in told.exposures]
