"""The same decisions traded again: at other costs, and with other capital."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest.engine import Result
from aiquant.backtest.statistics import Summary, summarise
from aiquant.settings import BacktestSettings

COSTS = (
    "commission_bps",
    "commission_per_share",
    "commission_minimum",
    "slippage_bps",
    "spread_bps",
    "slippage_volatility",
    "impact",
    "borrow_bps",
)
"""Settings that a multiple of the costs multiplies."""

TERMS = ("spread_bps", "borrow_bps")
"""Columns of instruments that do so, too."""

MOST_BPS = 9_999.0
"""A price is never taken whole."""

CLOSE_ENOUGH = 0.01
"""The break-even multiple is searched until the bracket is this narrow."""


@dataclass(frozen=True)
class Replay:
    """Trades a strategy's decisions by other settings of the account.

    Attributes
    ----------
    trade
        ``trade(settings, orders, instruments)``.
    orders
        The decisions, where they are orders in shares: they are given in proportion to the capital.
    instruments
        Terms of single symbols; what is a cost of them is multiplied as the settings are.
    """

    trade: Callable[[BacktestSettings, pa.Table | None, pa.Table | None], Result]
    orders: pa.Table | None = None
    instruments: pa.Table | None = None

    def at_costs(self, settings: BacktestSettings, multiple: float) -> Result:
        """The account with all costs multiplied."""
        terms = None if self.instruments is None else _multiplied(self.instruments, TERMS, multiple, MOST_BPS)
        return self.trade(at_costs(settings, multiple), self.orders, terms)

    def at_capital(self, settings: BacktestSettings, capital: float) -> Result:
        """The account begun with ``capital`` instead of that of ``settings``."""
        orders = self.orders
        if orders is not None:
            orders = _multiplied(orders, ("shares",), capital / settings.capital)
        return self.trade(settings.model_copy(update={"capital": capital}), orders, self.instruments)


@dataclass(frozen=True)
class AtCost:
    """The account at a multiple of all costs; figures of :class:`aiquant.backtest.statistics.Summary`."""

    multiple: float
    annual_return: float
    sharpe: float
    annual_costs: float
    max_drawdown: float


@dataclass(frozen=True)
class CostSensitivity:
    """What costs do to a strategy.

    Attributes
    ----------
    rows
        In order of the multiples.
    break_even
        Multiple of the costs at which the account earns the risk-free rate, to :data:`CLOSE_ENOUGH`. 0: it does not
        even without costs; infinite: it still does at the largest multiple that was tried.
    break_even_bps
        The same as basis points of each trade's notional, commission and slippage together; NaN where there is none.
    """

    rows: tuple[AtCost, ...]
    break_even: float
    break_even_bps: float


def cost_sensitivity(
    replay: Replay, settings: BacktestSettings, multiples: Sequence[float], sessions_per_year: float
) -> CostSensitivity:
    """Trade at multiples of all costs, and find the multiple that leaves nothing."""
    rate = settings.risk_free

    def told(multiple: float) -> Summary:
        return summarise(replay.at_costs(settings, multiple).equity, sessions_per_year, rate)

    asked = sorted({0.0, *multiples})
    rows = [_at_cost(multiple, told(multiple)) for multiple in asked]
    fine = [not row.annual_return <= rate for row in rows]
    if not fine[0]:
        return CostSensitivity(tuple(rows), 0.0, 0.0)
    if all(fine):
        return CostSensitivity(tuple(rows), math.inf, math.nan)
    first = fine.index(False)
    low, high = rows[first - 1].multiple, rows[first].multiple
    while high - low > CLOSE_ENOUGH:
        middle = (low + high) / 2.0
        low, high = (middle, high) if told(middle).annual_return > rate else (low, middle)
    multiple = (low + high) / 2.0
    last = told(multiple)
    traded = 2.0 * last.annual_turnover  # one-way turnover counts half of what is traded
    return CostSensitivity(tuple(rows), multiple, 1e4 * last.annual_costs / traded if traded > 0 else math.nan)


def at_costs(settings: BacktestSettings, multiple: float) -> BacktestSettings:
    """Settings with all costs multiplied; a price is never taken whole."""
    changed = {name: getattr(settings, name) * multiple for name in COSTS}
    for name in ("commission_bps", "slippage_bps", "spread_bps"):
        changed[name] = min(changed[name], MOST_BPS)
    return settings.model_copy(update=changed)


def _multiplied(table: pa.Table, names: Sequence[str], factor: float, most: float = math.inf) -> pa.Table:
    """``table`` with the columns ``names`` that it has multiplied; none of their sizes becomes more than ``most``."""
    columns = [
        (pl.col(name).cast(pl.Float64) * factor).clip(-most, most) for name in names if name in table.column_names
    ]
    return pl.DataFrame(pl.from_arrow(table)).with_columns(columns).to_arrow()


def _at_cost(multiple: float, told: Summary) -> AtCost:
    return AtCost(multiple, told.annual_return, told.sharpe, told.annual_costs, told.max_drawdown)


@dataclass(frozen=True)
class AtCapital:
    """The account begun with some capital; ``traded`` is its turnover as a share of that of the smallest capital."""

    capital: float
    annual_return: float
    sharpe: float
    annual_costs: float
    traded: float


@dataclass(frozen=True)
class Capacity:
    """How far a strategy's return reaches as its capital grows.

    Attributes
    ----------
    rows
        In order of capital.
    half
        Capital at which the return above the risk-free rate is half of that of the smallest capital, on the line
        between the two nearest (over the logarithm of capital). Infinite where it is not reached, NaN where the
        smallest capital earns nothing.
    impact, participation
        Rules of the market impact and of partial fills that were used.
    """

    rows: tuple[AtCapital, ...]
    half: float
    impact: float
    participation: float


def capacity(
    replay: Replay, settings: BacktestSettings, capitals: Sequence[float], sessions_per_year: float
) -> Capacity:
    """Trade with several capitals by the market impact and the share of volume of ``settings``."""
    rate = settings.risk_free
    rows: list[AtCapital] = []
    least = math.nan
    for capital in sorted(set(capitals)):
        told = summarise(replay.at_capital(settings, capital).equity, sessions_per_year, rate)
        least = told.annual_turnover if not rows else least
        traded = told.annual_turnover / least if least > 0 else math.nan
        rows.append(AtCapital(capital, told.annual_return, told.sharpe, told.annual_costs, traded))
    return Capacity(tuple(rows), _half(rows, rate), settings.impact, settings.participation)


def _half(rows: Sequence[AtCapital], rate: float) -> float:
    gains = [row.annual_return - rate for row in rows]
    if not gains or not gains[0] > 0:
        return math.nan
    wanted = gains[0] / 2.0
    for before, after, lower, upper in zip(rows[:-1], rows[1:], gains[:-1], gains[1:], strict=True):
        if lower >= wanted > upper:
            share = (lower - wanted) / (lower - upper)
            return float(np.exp(np.log(before.capital) + share * np.log(after.capital / before.capital)))
    return math.inf
