"""The rules of the account in words, as reports print them: each rule, whether it is on or off."""

from __future__ import annotations

from aiquant.backtest.rules import PATIENCE, Fill
from aiquant.settings import BacktestSettings

_PRICES = {"next-open": "open", "next-close": "close", "next-vwap": "volume-weighted average price"}


def conventions(
    settings: BacktestSettings,
    fill: Fill,
    actions: str,
    *,
    in_shares: bool = False,
    terms: tuple[str, ...] = (),
    interval: str = "1d",
) -> dict[str, str]:
    """The rules in words.

    Parameters
    ----------
    fill
        At which price orders filled.
    actions
        What was done with corporate actions.
    in_shares
        Whether orders in shares were traded, not weights.
    terms
        Names of the columns that single symbols have terms of their own in.
    """
    moment = "a session" if interval.endswith("d") else "a bar"
    return {
        "decision": (
            f"orders in shares are decided at the close of {moment} and add to what waits for their symbol"
            if in_shares
            else f"weights are decided at the close of {moment} and sized on that close"
        ),
        "bars": interval,
        "fill": (
            f"at the next bar's {_PRICES[fill]}; an order waits for the symbol's next bar "
            "until a newer decision replaces it"
        ),
        "order": "sells first; when cash is short all buys are scaled by one factor",
        "partial fills": _partial(settings),
        "shares": _shares(settings, terms),
        "commission": _commission(settings),
        "slippage": _slippage(settings, terms),
        "market impact": (
            f"{settings.impact:g} × σ × sqrt(shares ÷ mean volume), both of the {settings.cost_window} bars before"
            if settings.impact
            else "none"
        ),
        "shorts": _shorts(settings, terms),
        "cash": _cash(settings),
        "limits": _limits(settings),
        "stops": _stops(settings, fill),
        "currency": _currency(settings, terms),
        "marking": "at the close; without one at the last known close",
        "missing bars": f"after {PATIENCE} sessions a position is closed at its last close and an order withdrawn",
        "delisting": "a position is closed at the amount paid, or else at the last close, without costs",
        "corporate actions": actions,
        "turnover": "one-way: half of the traded notional over the equity of the close before",
        "bankruptcy": "equity of zero or less closes all positions at the close and ends the run",
    }


def _partial(settings: BacktestSettings) -> str:
    if not settings.participation:
        return "none: any size fills"
    rest = "waits for the next bar" if settings.rest == "wait" else "is withdrawn"
    return f"at most {settings.participation:.4g} of the bar's volume, nothing where it is unknown; the rest {rest}"


def _shares(settings: BacktestSettings, terms: tuple[str, ...]) -> str:
    if settings.shares == "fractional":
        return "fractional"
    lots = ""
    if settings.lot > 1 or "lot" in terms:
        told = "given for each symbol" if "lot" in terms else f"of {settings.lot}"
        lots = f", in lots {told}; the rest of a position is sold whole"
    return f"whole: trades are truncated towards zero{lots}"


def _commission(settings: BacktestSettings) -> str:
    told = f"{settings.commission_bps:g} bp of the slipped notional"
    if settings.commission_per_share:
        told += f" and {settings.commission_per_share:g} a share"
    if settings.commission_minimum:
        told += f", at least {settings.commission_minimum:g} for what an order executes in a bar"
    return told


def _slippage(settings: BacktestSettings, terms: tuple[str, ...]) -> str:
    told = f"{settings.slippage_bps:g} bp of the price"
    if "spread_bps" in terms:
        told += ", half of the spread given for each symbol"
    elif settings.spread_bps:
        told += f", half of a spread of {settings.spread_bps:g} bp"
    if settings.slippage_volatility:
        told += f", {settings.slippage_volatility:g} × σ of the {settings.cost_window} bars before"
    return f"{told}, against the trade"


def _shorts(settings: BacktestSettings, terms: tuple[str, ...]) -> str:
    if not settings.allow_short:
        return "not allowed"
    fee = f"{settings.borrow_bps:g} bp a year"
    if "borrow_bps" in terms:
        fee = f"a fee given for each symbol, or else {fee},"
    bound = "; no more short than the locates given" if "locate" in terms else ""
    return f"allowed; proceeds go to cash, {fee} on the value at each close{bound}"


def _cash(settings: BacktestSettings) -> str:
    debt, rate = settings.margin_rate, settings.cash_rate
    owed = f"{debt:.4g} a year on negative cash" if debt else ""
    earned = f"{rate:.4g} a year on cash beyond the value of shorts" if rate else ""
    if settings.margin:
        told = f"may become negative (margin), {'with ' + owed if owed else 'without interest'}"
        return f"{told}; earns {earned}" if earned else told
    told = f"buying never makes it negative; earns {earned or 'no interest'}"
    return f"{told}; {owed}" if owed else told


def _limits(settings: BacktestSettings) -> str:
    named = {"a position": settings.max_position, "gross": settings.max_gross, "net": settings.max_net}
    told = [f"{name} {value:g}" for name, value in named.items() if value is not None]
    return f"of equity, at the decision: {', '.join(told)}" if told else "none"


def _stops(settings: BacktestSettings, fill: Fill) -> str:
    named = {
        "stop-loss": settings.stop_loss,
        "take-profit": settings.take_profit,
        "trailing stop": settings.trailing_stop,
    }
    told = [f"{name} {value:.4g}" for name, value in named.items() if value]
    if not told:
        return "none"
    order = "orders at the open before" if fill == "next-open" else "before the bar's orders"
    return (
        f"{', '.join(told)} of the price paid; {order}, a gap fills at the open, of two levels in one bar the stop "
        "counts; a stop pays slippage, a take-profit none, and what waits for the symbol is withdrawn"
    )


def _currency(settings: BacktestSettings, terms: tuple[str, ...]) -> str:
    if settings.currency is None or "currency" not in terms:
        return "one"
    return (
        f"{settings.currency}; others are exchanged at the last rate known: at the open that of an earlier close, "
        "at the close that of the session"
    )
