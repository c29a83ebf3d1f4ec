"""A local server that answers as Alpaca's trading API (REST v2) does, faults included.

Kept as Alpaca documents it:

- keys in headers (401 without), money as text, 404 for what is not there, 429 beyond the rate limit;
- an order goes from ``accepted`` to ``partially_filled``, ``filled``, ``canceled`` or ``expired``;
- one order for each ``client_order_id`` for ever (422), and one that has ended cannot be cancelled (422);
- buying power, which waiting buys hold back (403), and no order that turns a position around (403);
- fractions are neither sold short nor given with another time in force than ``day`` (422).
"""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY, SECRET = "PKTESTKEY0123456789", "secretSECRETsecretSECRET0123456789abcdef"
NUMBER = "PA3TEST12345"
WORKING = ("accepted", "new", "partially_filled")

Answer = tuple[int, Any]


class AlpacaServer:
    """An account at a broker of our own; use it as a context manager.

    Attributes
    ----------
    prices
        Last price by symbol; what is not in it is not traded there.
    faults
        What happens to the next requests, one each: a status such as 500 or 429, ``"drop"`` (the connection ends before
        the request counts), or ``"lose"`` (the request counts and the answer is lost). A pair ``("POST", fault)`` waits
        for a request of that method.
    seen
        Method and path of each request.
    """

    def __init__(self, cash: float = 100_000.0, prices: dict[str, float] | None = None) -> None:
        self.cash = Decimal(str(cash))
        self.prices = {name: Decimal(str(price)) for name, price in (prices or {}).items()}
        self.positions: dict[str, Decimal] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.faults: list[Any] = []
        self.seen: list[tuple[str, str]] = []
        self.blocked = False
        self._lock = threading.RLock()

    def __enter__(self) -> AlpacaServer:
        handler = type("Handler", (_Handler,), {"market": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    # --- the market

    def trade(self, share: float = 1.0, **prices: float) -> None:
        """The market is open: waiting orders are filled, or a share of each, at these prices."""
        with self._lock:
            self.prices.update({name.replace("_", "."): Decimal(str(price)) for name, price in prices.items()})
            for order in self._working():
                rest = Decimal(order["qty"]) - Decimal(order["filled_qty"])
                self._fill(order, rest if share == 1.0 else (rest * Decimal(str(share))).quantize(Decimal("0.000001")))

    def end_of_day(self) -> None:
        """Orders for the day that were not filled expire."""
        with self._lock:
            for order in self._working():
                order.update(status="expired", expired_at=_now())

    def _fill(self, order: dict[str, Any], qty: Decimal) -> None:
        had, paid, price = Decimal(order["filled_qty"]), Decimal(order["filled_avg_price"] or 0), self._price(order)
        filled = had + qty
        done = filled == Decimal(order["qty"])
        order.update(
            filled_qty=str(filled),
            filled_avg_price=str((had * paid + qty * price) / filled),
            status="filled" if done else "partially_filled",
            filled_at=_now() if done else None,
        )
        signed = qty if order["side"] == "buy" else -qty
        self.cash -= signed * price
        self.positions[order["symbol"]] = self.positions.get(order["symbol"], Decimal(0)) + signed
        if not self.positions[order["symbol"]]:
            del self.positions[order["symbol"]]

    def _price(self, order: dict[str, Any]) -> Decimal:
        return self.prices[order["symbol"]]

    def _working(self) -> list[dict[str, Any]]:
        return [order for order in self.orders.values() if order["status"] in WORKING]

    @property
    def equity(self) -> Decimal:
        return self.cash + sum((n * self.prices[s] for s, n in self.positions.items()), Decimal(0))

    def buying_power(self) -> Decimal:
        """Cash that no waiting buy holds back, shorts at half of their value (Regulation T)."""
        short = sum((-n * self.prices[s] for s, n in self.positions.items() if n < 0), Decimal(0))
        rest = [(o, Decimal(o["qty"]) - Decimal(o["filled_qty"])) for o in self._working() if o["side"] == "buy"]
        return self.cash - short * Decimal("1.5") - sum((qty * self._price(o) for o, qty in rest), Decimal(0))

    # --- the interface

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """What a request gets."""
        with self._lock:
            parts = path.removeprefix("/v2/").split("/")
            if (method, parts) == ("GET", ["account"]):
                return 200, self._account()
            if (method, parts) == ("GET", ["positions"]):
                return 200, [self._position(s) for s in sorted(self.positions)]
            if (method, parts) == ("POST", ["orders"]):
                return self._new(body)
            if (method, parts) == ("GET", ["orders:by_client_order_id"]):
                found = self.orders.get(query.get("client_order_id", ""))
                return (200, found) if found else _no(404, 40410000, "order not found")
            if method == "DELETE" and parts[0] == "orders":
                return self._cancel(parts[1])
            return _no(404, 40410000, "endpoint not found.")

    def _account(self) -> dict[str, Any]:
        return {
            "id": str(uuid.UUID(int=1)),
            "account_number": NUMBER,
            "status": "ACTIVE",
            "currency": "USD",
            "cash": str(self.cash),
            "equity": str(self.equity),
            "portfolio_value": str(self.equity),
            "last_equity": str(self.equity),
            "buying_power": str(self.buying_power()),
            "long_market_value": "0",
            "short_market_value": "0",
            "pattern_day_trader": False,
            "trading_blocked": self.blocked,
            "transfers_blocked": False,
            "account_blocked": False,
            "trade_suspended_by_user": False,
            "shorting_enabled": True,
            "multiplier": "1",
            "created_at": "2024-01-02T15:00:00Z",
            "initial_margin": "0",
            "maintenance_margin": "0",
            "daytrade_count": 0,
        }

    def _position(self, symbol: str) -> dict[str, Any]:
        qty, price = self.positions[symbol], self.prices[symbol]
        return {
            "asset_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, symbol)),
            "symbol": symbol,
            "exchange": "NYSE",
            "asset_class": "us_equity",
            "avg_entry_price": str(price),
            "qty": str(qty),
            "qty_available": str(qty),
            "side": "long" if qty > 0 else "short",
            "market_value": str(qty * price),
            "cost_basis": str(qty * price),
            "current_price": str(price),
        }

    def _new(self, told: dict[str, Any]) -> Answer:
        symbol, qty, buys = told["symbol"], Decimal(str(told["qty"])), told["side"] == "buy"
        held = self.positions.get(symbol, Decimal(0))
        fraction = qty != qty.to_integral_value()
        if told["client_order_id"] in self.orders:
            return _no(422, 40010001, "client_order_id must be unique")
        if symbol not in self.prices:
            return _no(422, 42210000, f'asset "{symbol}" not found')
        if qty <= 0:
            return _no(422, 42210000, "qty must be > 0")
        if fraction and told["time_in_force"] != "day":
            return _no(422, 42210000, "fractional orders must be DAY orders")
        if not buys and held <= 0 and fraction:
            return _no(422, 42210000, "fractional orders cannot be sold short")
        if (held > 0 and not buys and qty > held) or (held < 0 and buys and qty > -held):
            return _no(403, 40310000, f"insufficient qty available for order (requested: {qty}, available: {held})")
        if (buys and held >= 0) or (not buys and held <= 0):
            cost = qty * self.prices[symbol] * (1 if buys else Decimal("1.5"))
            if cost > self.buying_power():
                return _no(403, 40310000, "insufficient buying power")
        order = self._order(told, qty)
        self.orders[told["client_order_id"]] = order
        return 200, dict(order)

    def _order(self, told: dict[str, Any], qty: Decimal) -> dict[str, Any]:
        now = _now()
        empty = dict.fromkeys(
            (
                *("filled_at", "expired_at", "canceled_at", "failed_at", "replaced_at", "replaced_by", "replaces"),
                *("notional", "filled_avg_price", "limit_price", "stop_price", "legs", "trail_percent", "trail_price"),
                "hwm",
            )
        )
        return {
            **empty,
            "id": str(uuid.uuid4()),
            "client_order_id": told["client_order_id"],
            "created_at": now,
            "updated_at": now,
            "submitted_at": now,
            "asset_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, told["symbol"])),
            "symbol": told["symbol"],
            "asset_class": "us_equity",
            "qty": str(qty),
            "filled_qty": "0",
            "order_class": "",
            "order_type": told["type"],
            "type": told["type"],
            "side": told["side"],
            "time_in_force": told["time_in_force"],
            "status": "accepted",
            "extended_hours": False,
        }

    def _cancel(self, order_id: str) -> Answer:
        for order in self.orders.values():
            if order["id"] == order_id:
                if order["status"] not in WORKING:
                    return _no(422, 42210000, f'order is already in "{order["status"]}" state')
                order.update(status="canceled", canceled_at=_now())
                return 204, None
        return _no(404, 40410000, f"order not found for {order_id}")

    def fault(self, method: str) -> Any:
        """What goes wrong with this request."""
        with self._lock:
            for place, told in enumerate(self.faults):
                wanted, fault = told if isinstance(told, tuple) else (method, told)
                if wanted == method:
                    del self.faults[place]
                    return fault
            return None


class _Handler(BaseHTTPRequestHandler):
    market: AlpacaServer
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        market, url = self.market, urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        market.seen.append((self.command, url.path))
        fault = market.fault(self.command)
        if fault == "drop":
            self.close_connection = True
            return
        keys = (self.headers.get("APCA-API-KEY-ID"), self.headers.get("APCA-API-SECRET-KEY"))
        if isinstance(fault, int):
            status, told = fault, {"message": "rate limit exceeded" if fault == 429 else "internal server error"}
        elif keys != (KEY, SECRET):
            status, told = 401, {"message": "unauthorized"}
        else:
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            status, told = market.answer(self.command, url.path, query, body)
        if fault == "lose":
            self.close_connection = True
            return
        content = b"" if told is None else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _serve

    def log_message(self, *_: object) -> None:
        pass


def _no(status: int, code: int, message: str) -> Answer:
    return status, {"code": code, "message": message}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
