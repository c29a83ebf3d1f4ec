"""The rules of the account: one tuple of numbers that the kernel, the reference and the report share."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from aiquant.errors import SettingsError
from aiquant.settings import BacktestSettings

Fill = Literal["next-open", "next-close", "next-vwap"]

PATIENCE = 20
"""Sessions without a bar (about a month) after which a price is too old: positions are closed, orders withdrawn."""

MOST_SLIPPAGE = 0.99
"""Share of the price that spread, volatility and impact together can take at most."""

REASONS = ("rebalance", "delisting", "stale", "bankruptcy", "stop-loss", "take-profit", "trailing-stop")
"""Why something was executed; the kernel writes the position in this tuple."""
REBALANCE, DELISTING, STALE, BANKRUPTCY, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP = range(len(REASONS))

FLOWS = ("dividend", "cash in lieu", "borrow fee", "interest", "margin interest")
"""Cash that moved without a trade; the kernel writes the position in this tuple."""
DIVIDEND, CASH_IN_LIEU, BORROW_FEE, INTEREST, MARGIN_INTEREST = range(len(FLOWS))

ACTIONS = ("split", "dividend", "delisting")
"""Kinds of corporate actions, in the order in which those of one session are applied."""
SPLIT, DIVIDEND_ACTION, DELISTING_ACTION = range(len(ACTIONS))


class Rules(NamedTuple):
    """What the account charges and allows. What a field's default switches off costs no time.

    Attributes
    ----------
    commission
        Fraction of the slipped notional.
    slippage
        Fraction of the price, against the trade.
    borrow
        Fraction of the short positions' value, charged at each close that ends a session.
    whole
        Whether only whole shares are traded.
    margin
        Whether buying may make cash negative.
    patience
        Bars without one of the symbol after which its price is too old.
    per_share, minimum
        Commission a share beside the fraction, and the least commission of what an order executes in a bar, in cash.
    by_bar
        Whether ``Tape.slippage`` counts instead of ``slippage``.
    impact
        Times ``Tape.impact`` times the square root of the shares: a further fraction of the price.
    participation
        Share of a bar's volume that an order may take; 0 for no limit.
    wait
        Whether what the volume left unfilled waits for the next bar; else it is withdrawn.
    by_symbol
        Whether ``Tape.borrow`` counts instead of ``borrow``, and ``Tape.locate`` bounds short positions.
    lots
        Whether trades are multiples of ``Tape.lot`` (only with ``whole``).
    interest, margin_interest
        Fraction a session of cash beyond the value of short positions, and of negative cash.
    limited
        Whether one of the next three is finite.
    max_position, max_gross, max_net
        Fractions of equity that a decision may reach; infinite for none.
    shorts
        Whether orders in shares may end in a short position (weights are checked before).
    stops
        Whether one of the next three is above 0.
    stop_loss, take_profit, trailing_stop
        Fractions of the entry price, and of the best price since; 0 for none.
    stops_first
        Whether a bar's stops come before its orders: true where orders do not fill at the open.
    """

    commission: float
    slippage: float
    borrow: float
    whole: bool
    margin: bool
    patience: int
    per_share: float = 0.0
    minimum: float = 0.0
    by_bar: bool = False
    impact: float = 0.0
    participation: float = 0.0
    wait: bool = True
    by_symbol: bool = False
    lots: bool = False
    interest: float = 0.0
    margin_interest: float = 0.0
    limited: bool = False
    max_position: float = math.inf
    max_gross: float = math.inf
    max_net: float = math.inf
    shorts: bool = True
    stops: bool = False
    stop_loss: float = 0.0
    take_profit: float = 0.0
    trailing_stop: float = 0.0
    stops_first: bool = False


def from_settings(
    settings: BacktestSettings,
    sessions_per_year: float,
    fill: Fill = "next-open",
    *,
    bars_a_session: int = 1,
    terms: tuple[str, ...] = (),
) -> Rules:
    """The rules as numbers.

    Parameters
    ----------
    fill
        At which price orders fill, as the bars allow it.
    bars_a_session
        1 for daily bars.
    terms
        Names of the columns that single symbols have terms of their own in: see :mod:`aiquant.backtest.terms`.

    Raises
    ------
    SettingsError
        When commission or slippage takes the whole price, or lots are asked for with parts of shares.
    """
    for name in ("commission_bps", "slippage_bps", "spread_bps"):
        if getattr(settings, name) >= 10_000:
            raise SettingsError(f"setting backtest.{name} = {getattr(settings, name)} takes the whole price")
    if settings.lot > 1 and settings.shares != "whole":
        raise SettingsError(
            f"setting backtest.lot = {settings.lot} needs whole shares", "set backtest.shares = 'whole' as well"
        )
    limits = {
        name: math.inf if getattr(settings, name) is None else float(getattr(settings, name))
        for name in ("max_position", "max_gross", "max_net")
    }
    stops = {name: float(getattr(settings, name)) for name in ("stop_loss", "take_profit", "trailing_stop")}
    return Rules(
        commission=settings.commission_bps / 10_000,
        slippage=settings.slippage_bps / 10_000,
        borrow=settings.borrow_bps / 10_000 / sessions_per_year,
        whole=settings.shares == "whole",
        margin=settings.margin,
        patience=PATIENCE * bars_a_session,
        per_share=float(settings.commission_per_share),
        minimum=float(settings.commission_minimum),
        by_bar=bool(settings.spread_bps or settings.slippage_volatility or "spread_bps" in terms),
        impact=float(settings.impact),
        participation=float(settings.participation),
        wait=settings.rest == "wait",
        by_symbol=bool({"borrow_bps", "locate"} & {*terms}),
        lots=settings.shares == "whole" and (settings.lot > 1 or "lot" in terms),
        interest=settings.cash_rate / sessions_per_year,
        margin_interest=settings.margin_rate / sessions_per_year,
        limited=any(math.isfinite(value) for value in limits.values()),
        shorts=settings.allow_short,
        stops=any(stops.values()),
        stops_first=fill != "next-open",
        **limits,
        **stops,
    )
