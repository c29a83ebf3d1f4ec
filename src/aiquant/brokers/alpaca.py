"""Alpaca's trading API (REST v2) by its own client library: market orders in shares listed in the US.

Without ``live`` it talks to Alpaca's paper accounts, which have keys and an address of their own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiquant.brokers.base import Holdings, Order, Placed, Status
from aiquant.errors import MissingError, RefusedError, Unreachable, require
from aiquant.settings import AlpacaSettings, Settings
from aiquant.settings.keys import required

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient
    from alpaca.trading.models import Order as TheirOrder

LIVE_HOST = "api.alpaca.markets"
EXTRA = "alpaca"
_DECIMALS = 9

_ENDED: dict[str, Status] = {
    "filled": "filled",
    "canceled": "cancelled",
    "expired": "expired",
    "replaced": "replaced",
    "rejected": "rejected",
}


class Alpaca:
    """An account at Alpaca.

    Parameters
    ----------
    client
        Alpaca's own client.
    live
        Whether its orders are real money.
    time_in_force
        How long an order waits: ``day``, ``opg`` or ``cls``.
    """

    def __init__(self, client: TradingClient, live: bool, time_in_force: str = "day") -> None:
        self._client = client
        self.live = live
        self._time_in_force = time_in_force

    @classmethod
    def from_settings(cls, settings: Settings, live: bool) -> Alpaca:
        """The account that the keys of the settings belong to.

        Raises
        ------
        MissingExtra
            When Alpaca's library is not installed.
        SettingsError
            When a key is missing.
        RefusedError
            When the address is that of live accounts and ``live`` is false.
        """
        told = settings.alpaca
        if not live and told.base_url is not None and urlsplit(told.base_url).hostname == LIVE_HOST:
            raise RefusedError(
                f"setting alpaca.base_url is the address of live accounts ({LIVE_HOST})",
                "remove it, or trade real money with trade.live, trade.account_id and --live",
            )
        return cls(_client(told, live), live, told.time_in_force)

    def holdings(self) -> Holdings:
        """Cash and positions now; see :class:`aiquant.brokers.base.Broker`."""
        from alpaca.common.exceptions import APIError

        try:
            account: Any = self._asked(self._client.get_account)
            positions: Any = self._asked(self._client.get_all_positions)
        except APIError as error:
            raise MissingError(f"Alpaca does not show the account: {_message(error)}", "see to it there") from error
        flags = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
        blocked = [name for name in flags if getattr(account, name)]
        return Holdings(
            account_id=account.account_number,
            cash=float(account.cash),
            equity=float(account.equity),
            positions={_ours(p.symbol): float(p.qty) for p in positions},
            blocked=", ".join(blocked),
        )

    def submit(self, order: Order) -> Placed:
        """Give an order at the market; see :class:`aiquant.brokers.base.Broker`."""
        from alpaca.common.exceptions import APIError
        from alpaca.trading.enums import OrderSide, TimeInForce
        from alpaca.trading.requests import MarketOrderRequest

        request = MarketOrderRequest(
            symbol=_theirs(order.symbol),
            qty=round(abs(order.shares), _DECIMALS),
            side=OrderSide.BUY if order.shares > 0 else OrderSide.SELL,
            time_in_force=TimeInForce(self._time_in_force),
            client_order_id=order.order_id,
        )
        try:
            return _placed(self._asked(self._client.submit_order, request))
        except APIError as error:
            # An order of that name may be why; which of its answers means that is not relied on.
            return self.find(order.order_id) or Placed(order.order_id, "rejected", reason=_message(error))

    def find(self, order_id: str) -> Placed | None:
        """What became of an order; see :class:`aiquant.brokers.base.Broker`."""
        order = self._find(order_id)
        return None if order is None else _placed(order)

    def cancel(self, order_id: str) -> None:
        """Take an order back; see :class:`aiquant.brokers.base.Broker`."""
        from alpaca.common.exceptions import APIError

        order = self._find(order_id)
        if order is None or order.status.value in _ENDED:
            return
        try:
            self._asked(self._client.cancel_order_by_id, order.id)
        except APIError as error:
            if error.status_code != 422:  # it ended while we asked
                raise Unreachable(f"Alpaca did not take order {order_id} back: {_message(error)}") from error

    def _find(self, order_id: str) -> TheirOrder | None:
        from alpaca.common.exceptions import APIError

        try:
            found: Any = self._asked(self._client.get_order_by_client_id, order_id)
            return found  # type: ignore[no-any-return]
        except APIError as error:
            if error.status_code == 404:
                return None
            raise Unreachable(f"Alpaca cannot say what became of order {order_id}: {_message(error)}") from error

    def _asked(self, call: Any, *told: Any) -> Any:
        """What Alpaca answers; an ``APIError`` comes out only where the request itself was refused."""
        from alpaca.common.exceptions import APIError
        from requests.exceptions import RequestException

        try:
            return call(*told)
        except RequestException as error:
            raise Unreachable(
                f"Alpaca does not answer: {type(error).__name__}",
                "run it again when it does: what was given already is not given twice",
            ) from error
        except APIError as error:
            status = error.status_code or 0
            if status == 401:
                raise MissingError(
                    f"Alpaca refuses the keys: {_message(error)}",
                    "paper and live accounts have keys of their own: set alpaca.key_id and alpaca.secret_key",
                ) from error
            if status == 429:
                raise Unreachable(
                    "Alpaca's limit of requests a minute is used up", "run it again in a minute"
                ) from error
            if status >= 500:
                raise Unreachable(
                    f"Alpaca has a fault of its own ({status})",
                    "run it again when it is over: what was given already is not given twice",
                ) from error
            raise


def _client(told: AlpacaSettings, live: bool) -> TradingClient:
    require("alpaca.trading.client", EXTRA)
    from alpaca.trading.client import TradingClient

    key, secret = required(told.key_id, "alpaca.key_id"), required(told.secret_key, "alpaca.secret_key")
    client = TradingClient(key, secret, paper=not live, url_override=told.base_url)
    # The library has no argument for either: without a time limit a broker that hangs would hang us.
    client._session.request = partial(client._session.request, timeout=told.timeout_s)  # type: ignore[method-assign]
    client._retry, client._retry_wait = told.attempts - 1, told.retry_s  # type: ignore[assignment]
    return client


def _placed(order: Any) -> Placed:
    filled = float(order.filled_qty or 0) * (1 if order.side.value == "buy" else -1)
    status: Status = _ENDED.get(order.status.value, "partial" if filled else "sent")
    price = float(order.filled_avg_price) if order.filled_avg_price and filled else None
    return Placed(order.client_order_id, status, filled, price)


def _message(error: Any) -> str:
    """What Alpaca says, in its own words; its answers hold no keys."""
    try:
        return str(error.message)
    except (ValueError, KeyError, TypeError):
        return f"answer {error.status_code}"


def _theirs(symbol: str) -> str:
    return symbol.replace("-", ".")


def _ours(symbol: str) -> str:
    return symbol.replace(".", "-")
