"""Figures of accounts that are small enough to reckon by hand."""

from __future__ import annotations

import json
import math
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from aiquant.backtest.statistics import Drawdown, max_drawdown, summarise
from aiquant.errors import DataError
from aiquant.schemas import EQUITY, conform


def account(
    marks: list[float],
    first: date = date(2024, 1, 1),
    turnover: list[float] | None = None,
    costs: list[float] | None = None,
    gross: list[float] | None = None,
) -> pa.Table:
    days = [first + timedelta(days=i) for i in range(len(marks))]
    zeros = [0.0] * len(marks)
    table = pa.table(
        {
            "run_id": ["r"] * len(marks),
            "date": days,
            "event_time": pa.array(days, pa.date32())
            .cast(pa.timestamp("us"))
            .cast(EQUITY.schema.field("event_time").type),
            "equity": pa.array(marks, pa.float64()),
            "cash": zeros,
            "gross_exposure": gross or zeros,
            "net_exposure": zeros,
            "turnover": turnover or zeros,
            "costs": costs or zeros,
        }
    )
    return conform(table, EQUITY)


def test_returns_risk_and_ratios_by_hand() -> None:
    found = summarise(account([100, 110, 99, 108.9]), sessions_per_year=3.0)
    # Returns +10 %, −10 %, +10 %: mean 1/30; squared deviations (1/15)², (2/15)², (1/15)² sum to 6/225, over 2.
    deviation = math.sqrt(6 / 225 / 2)
    assert found.sessions == 3
    assert found.total_return == pytest.approx(0.089)
    assert found.annual_return == pytest.approx(0.089)  # three sessions are one year here
    assert found.volatility == pytest.approx(deviation * math.sqrt(3))
    assert found.sharpe == pytest.approx((1 / 30) / deviation * math.sqrt(3))
    assert found.sortino == pytest.approx((1 / 30) / math.sqrt(0.01 / 3) * math.sqrt(3))
    assert found.max_drawdown == pytest.approx(-0.1)
    assert found.calmar == pytest.approx(0.089 / 0.1)
    assert found.best_day == (date(2024, 1, 4), pytest.approx(0.1))
    assert found.worst_day == (date(2024, 1, 3), pytest.approx(-0.1))
    assert found.sharpe_low < found.sharpe < found.sharpe_high
    assert 0.5 < found.sharpe_probability < 1


def test_annual_return_compounds_and_the_risk_free_rate_is_spread_over_the_sessions() -> None:
    found = summarise(account([100, 110, 121]), sessions_per_year=1.0, risk_free=0.10)
    assert found.annual_return == pytest.approx(0.10)
    halves = summarise(account([100, 120, 100, 120]), sessions_per_year=2.0, risk_free=0.21)
    # 21 % a year are 10 % a session; the returns are 0.2, −1/6, 0.2, less 0.1 each.
    excess = np.array([0.1, -1 / 6 - 0.1, 0.1])
    assert halves.sharpe == pytest.approx(excess.mean() / excess.std(ddof=1) * math.sqrt(2))
    assert halves.volatility == pytest.approx(np.array([0.2, -1 / 6, 0.2]).std(ddof=1) * math.sqrt(2))


def test_drawdown_has_its_dates() -> None:
    days = [date(2024, 1, d) for d in range(1, 9)]
    marks = np.array([100.0, 120, 90, 96, 120, 130, 104, 110])
    assert max_drawdown(marks, days) == Drawdown(pytest.approx(-0.25), days[1], days[2], days[4])
    lasting = np.array([100.0, 120, 100, 130, 65, 70, 80, 129])
    assert max_drawdown(lasting, days) == Drawdown(-0.5, days[3], days[4], None)
    assert max_drawdown(np.array([1.0, 1.0, 2.0]), days[:3]) == Drawdown(0.0, None, None, None)
    twice = np.array([100.0, 50, 100, 50, 100, 100, 100, 100])
    assert max_drawdown(twice, days) == Drawdown(-0.5, days[0], days[1], days[2])


def test_turnover_costs_and_exposure() -> None:
    found = summarise(
        account(
            [100, 80, 50, 50, 25], turnover=[0, 0.5, 0, 0, 0.25], costs=[0, 2.0, 0, 0, 1.0], gross=[0, 1, 1, 0.5, 0.5]
        ),
        sessions_per_year=2.0,
    )
    # Two years: 0.75 of turnover; costs 2 ÷ 100 and 1 ÷ 50 of the equity of the close before.
    assert found.annual_turnover == pytest.approx(0.375)
    assert found.annual_costs == pytest.approx(0.02)
    assert found.total_costs == 3.0
    assert found.gross_exposure == pytest.approx(0.75)  # after the first mark


def test_years_and_months_chain_to_the_whole() -> None:
    rng = np.random.default_rng(1)
    marks = (100 * np.cumprod(1 + np.r_[0, rng.normal(0, 0.01, 799)])).tolist()
    traded = rng.random(800).tolist()
    found = summarise(account(marks, date(2022, 11, 20), turnover=[0.0, *traded[1:]]), 365.0)
    assert [(p.year, p.month) for p in found.years] == [(2022, 0), (2023, 0), (2024, 0), (2025, 0)]
    assert [(p.year, p.month) for p in found.months][:3] == [(2022, 11), (2022, 12), (2023, 1)]
    for periods in (found.years, found.months):
        assert math.prod(1 + p.total_return for p in periods) == pytest.approx(1 + found.total_return)
        assert sum(p.turnover for p in periods) == pytest.approx(sum(traded[1:]))
    # 2023 runs from the mark of 2022-12-31 (row 41) to that of 2023-12-31 (row 406).
    assert found.years[1].total_return == pytest.approx(marks[406] / marks[41] - 1)
    year = np.array(marks[41:407])
    assert found.years[1].volatility == pytest.approx((year[1:] / year[:-1] - 1).std(ddof=1) * math.sqrt(365))
    assert found.years[1].max_drawdown == pytest.approx((year / np.maximum.accumulate(year) - 1).min())


def test_one_mark_has_no_return() -> None:
    found = summarise(account([100]), 252.0)
    assert (found.sessions, found.total_return, found.max_drawdown) == (0, 0.0, 0.0)
    for name in ("annual_return", "volatility", "sharpe", "sharpe_low", "sharpe_probability", "sortino", "calmar"):
        assert math.isnan(getattr(found, name)), name
    assert found.best_day[0] is None
    assert len(found.years) == 1


def test_an_account_that_never_moves_has_no_ratio() -> None:
    found = summarise(account([100.0] * 50), 252.0)
    assert (found.annual_return, found.volatility, found.max_drawdown) == (0.0, 0.0, 0.0)
    assert math.isnan(found.sharpe) and math.isnan(found.sharpe_probability) and math.isnan(found.sortino)


def test_an_account_that_lost_all_lost_all_a_year() -> None:
    found = summarise(account([100.0, 50.0, -20.0]), 252.0)
    assert found.annual_return == -1.0
    assert found.total_return == pytest.approx(-1.2)
    assert found.max_drawdown == pytest.approx(-1.2)


def test_what_cannot_be_summed_up_is_refused() -> None:
    with pytest.raises(DataError, match="the equity of the account has no row"):
        summarise(account([]), 252.0)
    twice = pa.concat_tables([account([100, 101]), account([100])])
    with pytest.raises(DataError, match="2024-01-01 stands twice"):
        summarise(twice, 252.0)
    with pytest.raises(DataError, match="the mark of 2024-01-02 is not a finite number"):
        summarise(account([100, math.nan]), 252.0)


def test_rows_need_not_be_sorted() -> None:
    table = account([100, 110, 99, 108.9])
    assert summarise(table.take([3, 1, 0, 2]), 252.0) == summarise(table, 252.0)


def test_the_summary_is_plain_json_with_its_conventions() -> None:
    told = json.loads(json.dumps(summarise(account([100, 100, 100]), 251.7, 0.02).to_dict(), allow_nan=False))
    assert told["sharpe"] is None
    assert told["first"] == "2024-01-01"
    assert told["drawdown"] == {"depth": 0.0, "peak": None, "trough": None, "recovered": None}
    assert told["years"][0]["year"] == 2024
    assert told["conventions"]["annualisation"] == "251.7 sessions a year, from the exchange calendar"
    assert told["conventions"]["risk-free rate"].startswith("0.02 a year")
