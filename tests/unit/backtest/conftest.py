"""A tiny market that a test can write down by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aiquant.backtest import engine
from aiquant.calendars import Sessions
from aiquant.schemas import BARS, FX_RATES, INSTRUMENTS, conform
from aiquant.settings import BacktestSettings

FIRST = date(2024, 1, 1)
PER_YEAR = 250.0

Prices = Mapping[str, Sequence[float | None]]


def day(index: int) -> date:
    """The date of session ``index``; every day is a session here."""
    return FIRST + timedelta(days=index)


def sessions(count: int) -> Sessions:
    dates = np.array([day(i) for i in range(count)], dtype="datetime64[D]")
    opens = dates.astype("datetime64[us]") + np.timedelta64(14, "h")
    return Sessions("every-day", dates, opens, opens + np.timedelta64(7, "h"), PER_YEAR)


def bars(
    closes: Prices,
    opens: Prices | None = None,
    adjustment: str = "none",
    more: Mapping[str, Prices] | None = None,
) -> pa.Table:
    """Daily bars; None where a symbol has no bar. Without ``opens`` the open equals the close.

    ``more`` gives further columns: ``{"high": {"A": [11, 12]}, …}``.
    """
    rows = []
    for symbol, prices in closes.items():
        for i, close in enumerate(prices):
            if close is None:
                continue
            first = close if opens is None else opens[symbol][i]
            further = {name: prices[symbol][i] for name, prices in (more or {}).items() if symbol in prices}
            moment = np.datetime64(day(i)).astype("datetime64[us]").item()
            rows.append(
                {
                    "symbol": symbol,
                    "interval": "1d",
                    "period": "2024",
                    "date": day(i),
                    "event_time": moment,
                    "known_from": moment,
                    "open": first,
                    "high": None,
                    "low": None,
                    "close": close,
                    "volume": None,
                    "vwap": None,
                    "trades": None,
                    "adjustment": adjustment,
                    "source": "test",
                    **further,
                }
            )
    return conform(pa.Table.from_pylist(rows), BARS)


def weights(decisions: Mapping[int, Mapping[str, float]]) -> pa.Table:
    rows = [(day(i), symbol, w) for i, book in decisions.items() for symbol, w in book.items()]
    dates, symbols, values = zip(*rows, strict=True)
    return pa.table(
        {"date": pa.array(dates, pa.date32()), "symbol": list(symbols), "weight": pa.array(values, pa.float64())}
    )


def orders(decisions: Mapping[int, Mapping[str, float]]) -> pa.Table:
    return weights(decisions).rename_columns(["date", "symbol", "shares"])


def instruments(**terms: Mapping[str, Any]) -> pa.Table:
    """``instruments(A={"locate": 10})``."""
    return pa.Table.from_pylist([{"symbol": s, **t} for s, t in terms.items()], INSTRUMENTS.schema)


def rates(currency: str, values: Mapping[int, float]) -> pa.Table:
    """Exchange rates by session; those of negative sessions lie before the first bar."""
    rows = [{"currency": currency, "date": day(i), "rate": rate} for i, rate in values.items()]
    return pa.Table.from_pylist(rows, FX_RATES.schema)


def actions(rows: Sequence[tuple[str, str, int, float | None]]) -> pa.Table:
    """``(symbol, kind, session, value)``."""
    return pa.table(
        {
            "symbol": pa.array([r[0] for r in rows], pa.string()),
            "kind": pa.array([r[1] for r in rows], pa.string()),
            "date": pa.array([day(r[2]) for r in rows], pa.date32()),
            "ratio": pa.array([r[3] if r[1] == "split" else None for r in rows], pa.float64()),
            "amount": pa.array([None if r[1] == "split" else r[3] for r in rows], pa.float64()),
        }
    )


def free(**changes: Any) -> BacktestSettings:
    """An account without any cost, so that a test can add the one that it is about."""
    plain: dict[str, Any] = {"capital": 1000.0, "commission_bps": 0.0, "slippage_bps": 0.0, "borrow_bps": 0.0}
    return BacktestSettings(**{**plain, **changes})


@pytest.fixture
def trade() -> Callable[..., engine.Result]:
    """Trade a hand-written market: ``trade(closes, decisions, opens=…, acts=…, adjustment=…, commission_bps=…)``."""

    def play(
        closes: Prices,
        decisions: Mapping[int, Mapping[str, float]],
        opens: Prices | None = None,
        acts: Sequence[tuple[str, str, int, float | None]] = (),
        adjustment: str = "none",
        last: date | None = None,
        more: Mapping[str, Prices] | None = None,
        in_shares: bool = False,
        terms: pa.Table | None = None,
        fx: pa.Table | None = None,
        **changes: Any,
    ) -> engine.Result:
        count = max(len(prices) for prices in closes.values())
        return engine.run(
            None if in_shares else weights(decisions),
            bars(closes, opens, adjustment, more),
            sessions(count),
            free(**changes),
            "golden",
            actions(acts) if acts else None,
            last=last,
            orders=orders(decisions) if in_shares else None,
            instruments=terms,
            fx=fx,
        )

    return play


@pytest.fixture
def tiny() -> SimpleNamespace:
    """The builders of this file, for tests that need the pieces of a run."""
    return SimpleNamespace(
        bars=bars,
        weights=weights,
        orders=orders,
        sessions=sessions,
        actions=actions,
        instruments=instruments,
        rates=rates,
        free=free,
        day=day,
    )
