"""Settings of the account: its costs and its rules."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiquant.settings.base import Section


class BacktestSettings(Section):
    """The account, its costs and its rules."""

    capital: float = Field(1_000_000.0, gt=0, description="Cash at the start, in the account's currency.")
    currency: str | None = Field(
        None, pattern=r"^[A-Z]{3}$", description="Currency of the account; default: that of all bars."
    )
    commission_bps: float = Field(5.0, ge=0, description="Commission, basis points of the slipped notional.")
    commission_per_share: float = Field(0.0, ge=0, description="Commission a share, in cash, on top of the other.")
    commission_minimum: float = Field(0.0, ge=0, description="Least commission of an order for what a bar executed.")
    slippage_bps: float = Field(5.0, ge=0, description="Slippage, basis points of the price, against the trade.")
    spread_bps: float = Field(0.0, ge=0, description="Bid-ask spread, basis points; half of it is paid, too.")
    slippage_volatility: float = Field(0.0, ge=0, description="Further slippage, in standard deviations of a bar.")
    impact: float = Field(0.0, ge=0, description="Market impact: this times σ·sqrt(shares ÷ mean volume of a bar).")
    cost_window: int = Field(20, ge=2, description="Bars before a fill that its σ and mean volume are taken from.")
    participation: float = Field(0.0, ge=0, le=1, description="Most that fills of a bar's volume; 0: no limit.")
    rest: Literal["wait", "withdraw"] = Field("wait", description="What an order does with the rest of a partial fill.")
    borrow_bps: float = Field(50.0, ge=0, description="Borrow fee, basis points a year of the short positions' value.")
    cash_rate: float = Field(0.0, gt=-1, description="Interest a year on cash beyond the value of short positions.")
    margin_rate: float = Field(0.0, ge=0, description="Interest a year on negative cash.")
    risk_free: float = Field(0.0, description="Risk-free rate a year, subtracted in the Sharpe ratio.")
    fill: Literal["next-open", "close", "vwap"] = Field(
        "next-open", description="Fill at this price of the next bar; its close where there are no opens."
    )
    shares: Literal["fractional", "whole"] = Field("fractional", description="Whether parts of a share can be traded.")
    lot: int = Field(1, ge=1, description="Whole shares are traded in multiples of this.")
    allow_short: bool = Field(True, description="Whether positions may be negative.")
    margin: bool = Field(False, description="Whether cash may become negative.")
    max_position: float | None = Field(None, gt=0, description="Largest position, as a fraction of equity.")
    max_gross: float | None = Field(None, gt=0, description="Largest sum of all sizes, as a fraction of equity.")
    max_net: float | None = Field(None, gt=0, description="Largest long less short, or short less long.")
    stop_loss: float = Field(0.0, ge=0, lt=1, description="Loss since entry that closes a position; 0: none.")
    take_profit: float = Field(0.0, ge=0, description="Gain since entry that closes a position; 0: none.")
    trailing_stop: float = Field(0.0, ge=0, lt=1, description="Fall from the best price that closes it; 0: none.")

    @property
    def trade_cost_bps(self) -> float:
        """What each trade costs for certain, basis points of its notional: commission, slippage and half the spread.

        What depends on shares, volatility, volume or the symbol is not in it.
        """
        return self.commission_bps + self.slippage_bps + self.spread_bps / 2.0
