"""Real money needs three things that agree; without one of them no order leaves."""

from __future__ import annotations

from aiquant.brokers.base import Broker
from aiquant.errors import RefusedError
from aiquant.settings import TradeSettings


def demand(settings: TradeSettings, asked: bool) -> None:
    """Refuse a live account unless settings and flag say so; the account's number is compared by :func:`verify`.

    Raises
    ------
    RefusedError
        When one of the three is missing.
    """
    if not asked:
        if settings.live:
            raise RefusedError(
                "setting trade.live is true, but the command was not told --live",
                "say --live to trade real money, or set trade.live = false",
            )
        return
    if not settings.live:
        raise RefusedError("--live: real money is not allowed here", "set trade.live = true, and trade.account_id")
    if not settings.account_id:
        raise RefusedError(
            "--live: setting trade.account_id does not say which account may trade",
            "set it to the account's number at the broker",
        )


def verify(settings: TradeSettings, broker: Broker) -> None:
    """Refuse a broker whose account is another than the settings name, or that is blocked.

    Raises
    ------
    RefusedError
        When the account is blocked, or is not ``trade.account_id`` (a live one always; a paper one if it is set).
    """
    held = broker.holdings()
    if held.blocked:
        raise RefusedError(f"the broker's account {_short(held.account_id)} may not trade: {held.blocked}", "ask there")
    if (broker.live or settings.account_id) and held.account_id != settings.account_id:
        raise RefusedError(
            f"the keys belong to account {_short(held.account_id)}, not to the one that trade.account_id names",
            "use the keys of that account, or correct the setting",
        )


def _short(account_id: str) -> str:
    return account_id if len(account_id) <= 4 else f"…{account_id[-4:]}"
