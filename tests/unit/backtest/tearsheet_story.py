"""Stories of made-up accounts for the tests of the tearsheet: nothing in them was traded."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from aiquant.backtest.statistics import summarise
from aiquant.backtest.story import FoldSpans, Source, Station, Story, Track
from aiquant.schemas import EQUITY, FILLS

MADE_AT = datetime(2026, 1, 2, 15, 4, tzinfo=UTC)


def business_days(first: date, last: date) -> list[date]:
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    return [day for day in days if day.weekday() < 5]


def account(days: list[date], returns: np.ndarray, capital: float = 1e6, **columns: Any) -> pa.Table:
    """A table EQUITY whose first mark is ``capital``; ``returns[i]`` leads from mark i to mark i + 1."""
    marks = capital * np.concatenate([[1.0], np.cumprod(1.0 + returns[: len(days) - 1])])
    rows = len(days)
    told = {
        "run_id": ["r"] * rows,
        "date": days,
        "event_time": [datetime(d.year, d.month, d.day, 21, tzinfo=UTC) for d in days],
        "equity": marks,
        "cash": marks * 0.02,
        "gross_exposure": np.full(rows, 0.98),
        "net_exposure": np.zeros(rows),
        "turnover": np.where(np.arange(rows) % 5 == 1, 0.35, 0.0),
        "costs": np.where(np.arange(rows) % 5 == 1, marks * 0.35 * 2 * 5e-4, 0.0),
    }
    return pa.table(told | columns, schema=EQUITY.schema)


def story(first: date = date(1993, 1, 4), last: date = date(2022, 12, 28), seed: int = 5, **changed: Any) -> Story:
    """A whole story, every part filled; ``changed`` replaces parts."""
    random = np.random.default_rng(seed)
    days = business_days(first, last)
    market = random.standard_t(4, len(days)) * 0.0075 + 0.00038
    own = account(days, random.standard_t(5, len(days)) * 0.0042 + 0.00002)
    equal = account(days, market + random.normal(0, 0.001, len(days)), turnover=np.full(len(days), 0.002))
    hold = account(days, market * 0.94 + random.normal(0, 0.002, len(days)), turnover=np.zeros(len(days)))
    years = sorted({day.year for day in days})
    parts: dict[str, Any] = {
        "title": "XGBoost on 20 large US stocks, 5-day rank target",
        "run_id": "3f9c2a7be0d14c55",
        "made_at": MADE_AT,
        "description": "Gradient boosted trees forecast which of 20 large US stocks will do better over the next five "
        "sessions, from 21 features of past prices. Every week the best fifth is bought and the worst fifth is sold.",
        "strategies": {
            "Strategy": Track(own, summarise(own, 251.9)),
            "Equal weight": Track(equal, summarise(equal, 251.9)),
            "Buy and hold": Track(hold, summarise(hold, 251.9).to_dict()),
        },
        "sources": [
            Source(
                "skfolio sample",
                "survivors only: 20 companies that were large in 2022",
                "splits and dividends, in every price",
                "20 symbols, 1990-01-02 to 2022-12-28, closes only",
                survivors_only=True,
            )
        ],
        "judgement": {
            "rank_ic": 0.0041,
            "rank_ic_t": 0.93,
            "icir": 0.017,
            "dates": len(days),
            "breadth": 20.0,
            "horizon": 5,
            "by_year": {year: float(random.normal(0.004, 0.02)) for year in years},
            "daily": dict(zip(days, random.normal(0.004, 0.23, len(days)).tolist(), strict=True)),
            "quantiles": {"lowest fifth": -4e-4, "second": 1e-4, "third": -2e-4, "fourth": 2e-4, "highest fifth": 3e-4},
            "quantile_errors": {"lowest fifth": 2e-4, "highest fifth": None},
            "turnover": {"adjusted_ic": 0.0058, "fifth_turnover": 0.53, "break_even_cost": None},
            "decay": [
                {"horizon": h, "rank_ic": 0.02 / h, "rank_ic_error": 0.01, "rank_ic_t": 2 / h, "dates": 900}
                for h in (1, 5, 21)
            ],
            "groups": {
                "size": [
                    {"group": "small", "rank_ic": 0.01, "rank_ic_error": 0.004, "rank_ic_t": 2.5, "dates": 900},
                    {"group": "large", "rank_ic": None, "rank_ic_error": None, "rank_ic_t": None, "dates": 3},
                ],
                "sector": [],
            },
            "accuracy": {
                "r2": -0.0038,
                "dm_t": -4.13,
                "slope": 0.21,
                "slope_error": 0.07,
                "deciles": [
                    {"forecast": -0.1 + 0.02 * i, "realised": 0.005 * i, "error": 0.003, "rows": 100} for i in range(10)
                ],
            },
        },
        "verdict": {
            "promoted": False,
            "checks": [
                {"name": "rank_ic_t", "passed": False, "value": 0.93, "threshold": 2.0, "why": "below 2"},
                {"name": "sharpe_net", "passed": True, "value": 0.07, "threshold": 0.0, "why": "above 0"},
                {"name": "leakage", "passed": True, "value": None, "threshold": None, "why": "checked, no leak"},
            ],
        },
        "leakage": {
            "passed": True,
            "checks": [{"name": "features", "passed": True, "why": "5 cuts, 21 features, 0 values differ"}],
        },
        "conventions": {"fill": "next close (the source has no opens)", "annualisation": "XNYS, 251.9 sessions a year"},
        "stations": [Station("ingest", 165_520, 0.41), Station("features", 165_520, 1.2), Station("train", None, 14.3)],
        "folds": [
            FoldSpans(
                i,
                [(first, date(year - 1, 12, 18))],
                [(date(year, 1, 2), date(year, 12, 28))],
                purge=[(date(year - 1, 12, 19), date(year - 1, 12, 30))],
                rows_purged=100,
                rows_embargoed=0,
            )
            for i, year in enumerate(years[1:])
        ],
        "importance": {f"momentum_{n}": 1.0 / n for n in range(1, 22)},
        "measured": {
            "features": [
                {"feature": f"momentum_{n}", "shap": 1 / n, "permutation": 0.01 / n, "permutation_std": 0.002}
                for n in range(1, 22)
            ],
            "clusters": [
                {"features": [f"momentum_{n}" for n in range(1, 6)], "permutation": 0.02, "permutation_std": None}
            ],
            "stability": 0.314,
        },
        "manifest": {
            "bars": {"version": 1, "rows": 165_520, "digest": "97d1c0ffee15dead"},
            "code": {"version": "0.1.0", "digest": "5a17ab1e0ddba115", "git": None},
            "settings_hash": "a1b2c3d4e5f60718",
            "seed": 7,
            "libraries": {"xgboost": "3.2.0", "polars": "2.1.0", "numpy": "2.4.6"},
            "platform": "Linux x86_64",
            "settings": {f"section.name_{i}": i for i in range(40)},
        },
        "notes": ["The sample has closes only: a decision fills at the next session's close."],
        "fills": fills(days[:3]),
    }
    return Story(**(parts | changed))


def bare(first: date = date(2022, 1, 3), last: date = date(2022, 3, 31)) -> Story:
    """The least that can be told: one account and nothing else."""
    days = business_days(first, last)
    own = account(days, np.random.default_rng(1).normal(0.0002, 0.01, len(days)))
    return Story("Weights of my own", "w-1", MADE_AT, {"My weights": (own, None)})


def fills(days: list[date]) -> pa.Table:
    rows = len(days)
    told = {
        "run_id": ["r"] * rows,
        "symbol": ["AAPL"] * rows,
        "date": days,
        "event_time": [datetime(d.year, d.month, d.day, 21, tzinfo=UTC) for d in days],
        "shares": np.full(rows, 10.0),
        "price": np.full(rows, 100.0),
        "commission": np.full(rows, 400.0),
        "slippage": np.full(rows, 1500.0),
        "reason": ["rebalance"] * rows,
    }
    return pa.table(told, schema=FILLS.schema)
