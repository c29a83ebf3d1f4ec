"""A made-up market for the evaluation of strategies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from aiquant.backtest.evaluation.market_panel import MarketPanel


def days(count: int) -> list[date]:
    return [date(2020, 1, 1) + timedelta(days=i) for i in range(count)]


@pytest.fixture
def make_panel() -> Callable[..., MarketPanel]:
    """A panel of given returns, shape (t, n): the first row is of no return."""

    def make(returns: np.ndarray, dollars: np.ndarray | None = None, splits: np.ndarray | None = None) -> MarketPanel:
        moved = np.array(returns, dtype=np.float64)
        moved[0] = np.nan
        close = 100.0 * np.cumprod(1.0 + np.nan_to_num(moved), axis=0)
        count, symbols = moved.shape
        return MarketPanel(
            [f"S{i:02d}" for i in range(symbols)],
            np.array(days(count), dtype="datetime64[D]"),
            close,
            moved,
            np.ones(moved.shape) if dollars is None else dollars,
            np.ones(moved.shape) if splits is None else splits,
        )

    return make
