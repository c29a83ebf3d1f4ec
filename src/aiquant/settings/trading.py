"""Settings of trading: from forecasts to weights, and the account."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiquant.settings.base import Section


class PortfolioSettings(Section):
    """From forecasts to target weights."""

    rule: Literal["long-short", "long-only"] = Field("long-short", description="Which side of the ranking is held.")
    quantile: float = Field(0.2, gt=0, le=0.5, description="Share of the universe on each side.")
    gross: float = Field(1.0, gt=0, le=10, description="Sum of the absolute target weights.")
    rebalance: int | None = Field(None, ge=1, description="Sessions between decisions; default: the label's horizon.")


class BacktestSettings(Section):
    """The account, its costs and its rules."""

    capital: float = Field(1_000_000.0, gt=0, description="Cash at the start, in the bars' currency.")
    commission_bps: float = Field(5.0, ge=0, description="Commission, basis points of the slipped notional.")
    slippage_bps: float = Field(5.0, ge=0, description="Slippage, basis points of the price, against the trade.")
    borrow_bps: float = Field(50.0, ge=0, description="Borrow fee, basis points a year of the short positions' value.")
    risk_free: float = Field(0.0, description="Risk-free rate a year, subtracted in the Sharpe ratio.")
    fill: Literal["next-open", "close"] = Field("next-open", description="Fill; next close where there are no opens.")
    shares: Literal["fractional", "whole"] = Field("fractional", description="Whether parts of a share can be traded.")
    allow_short: bool = Field(True, description="Whether target weights may be negative.")
    margin: bool = Field(False, description="Whether cash may become negative.")
