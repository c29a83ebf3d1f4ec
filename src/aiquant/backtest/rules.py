"""The rules of the account: one tuple of numbers that the kernel, the reference and the report share."""

from __future__ import annotations

from typing import Literal, NamedTuple

from aiquant.errors import SettingsError
from aiquant.settings import BacktestSettings

Fill = Literal["next-open", "next-close"]

PATIENCE = 20
"""Sessions without a bar (about a month) after which a price is too old: positions are closed, orders withdrawn."""

REASONS = ("rebalance", "delisting", "stale", "bankruptcy")
"""Why something was executed; the kernel writes the position in this tuple."""
REBALANCE, DELISTING, STALE, BANKRUPTCY = range(len(REASONS))

FLOWS = ("dividend", "cash in lieu", "borrow fee")
"""Cash that moved without a trade; the kernel writes the position in this tuple."""
DIVIDEND, CASH_IN_LIEU, BORROW_FEE = range(len(FLOWS))

ACTIONS = ("split", "dividend", "delisting")
"""Kinds of corporate actions, in the order in which those of one session are applied."""
SPLIT, DIVIDEND_ACTION, DELISTING_ACTION = range(len(ACTIONS))


class Rules(NamedTuple):
    """What the account charges and allows.

    Attributes
    ----------
    commission
        Fraction of the slipped notional.
    slippage
        Fraction of the price, against the trade.
    borrow
        Fraction of the short positions' value, charged at each close.
    whole
        Whether only whole shares are traded.
    margin
        Whether buying may make cash negative.
    patience
        Sessions without a bar after which a price is too old.
    """

    commission: float
    slippage: float
    borrow: float
    whole: bool
    margin: bool
    patience: int


def from_settings(settings: BacktestSettings, sessions_per_year: float) -> Rules:
    """The rules as numbers.

    Raises
    ------
    SettingsError
        When commission or slippage takes the whole price.
    """
    for name in ("commission_bps", "slippage_bps"):
        if getattr(settings, name) >= 10_000:
            raise SettingsError(f"setting backtest.{name} = {getattr(settings, name)} takes the whole price")
    return Rules(
        commission=settings.commission_bps / 10_000,
        slippage=settings.slippage_bps / 10_000,
        borrow=settings.borrow_bps / 10_000 / sessions_per_year,
        whole=settings.shares == "whole",
        margin=settings.margin,
        patience=PATIENCE,
    )


def conventions(settings: BacktestSettings, fill: Fill, actions: str) -> dict[str, str]:
    """The rules in words, as reports print them."""
    return {
        "decision": "weights are decided at the close of a session and sized on that close",
        "fill": (
            f"at the next bar's {'open' if fill == 'next-open' else 'close'}; an order waits for the symbol's next bar "
            "until a newer decision replaces it"
        ),
        "order": "sells first; when cash is short all buys are scaled by one factor",
        "shares": "fractional" if settings.shares == "fractional" else "whole: trades are truncated towards zero",
        "commission": f"{settings.commission_bps:g} bp of the slipped notional",
        "slippage": f"{settings.slippage_bps:g} bp of the price, against the trade",
        "shorts": (
            f"allowed; proceeds go to cash, {settings.borrow_bps:g} bp a year on the value at each close"
            if settings.allow_short
            else "not allowed"
        ),
        "cash": (
            "may become negative (margin), without interest"
            if settings.margin
            else "buying never makes it negative; earns no interest"
        ),
        "marking": "at the close; without one at the last known close",
        "missing bars": f"after {PATIENCE} sessions a position is closed at its last close and an order withdrawn",
        "delisting": "a position is closed at the amount paid, or else at the last close, without costs",
        "corporate actions": actions,
        "turnover": "one-way: half of the traded notional over the equity of the close before",
        "bankruptcy": "equity of zero or less closes all positions at the close and ends the run",
    }
