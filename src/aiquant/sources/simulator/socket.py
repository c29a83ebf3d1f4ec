"""The simulated trades over a WebSocket, in the wire format of Massive's stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from aiquant.sources.simulator.clock import Clock
from aiquant.sources.simulator.faults import Faults
from aiquant.sources.simulator.market import MINUTE_NS, Market
from aiquant.sources.simulator.massive import Massive, stream_minute, stream_trade

WRONG_KEY = "wrong"
_STEP = 0.05  # seconds between two frames


class Socket:
    """The stream: one connection at a time, the older one is closed."""

    def __init__(self, market: Market, clock: Clock, faults: Faults) -> None:
        self.market, self.clock, self.faults = market, clock, faults
        self.connections = 0
        self._current: ServerConnection | None = None

    async def listen(self, port: int) -> Server:
        """Listen on loopback."""
        return await serve(self._connected, "127.0.0.1", port)

    async def _connected(self, socket: ServerConnection) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionClosed, ConnectionError):
            await _say(socket, "connected", "Connected Successfully")
            told = json.loads(await socket.recv())
            if told.get("action") != "auth" or told.get("params") in (WRONG_KEY, ""):
                await _say(socket, "auth_failed", "authentication failed")
                return
            older, self._current = self._current, socket
            if older is not None:
                with contextlib.suppress(ConnectionClosed):
                    await _say(older, "max_connections", "Maximum number of websocket connections exceeded.")
                    await older.close()
            await _say(socket, "auth_success", "authenticated")
            channels: set[str] = set()
            pushing = asyncio.create_task(self._push(socket, channels))
            try:
                async for message in socket:
                    await self._subscribe(socket, json.loads(message), channels)
            finally:
                pushing.cancel()
                self._current = None if self._current is socket else self._current

    async def _subscribe(self, socket: ServerConnection, told: dict[str, Any], channels: set[str]) -> None:
        names = [name for name in str(told.get("params", "")).split(",") if name]
        if told.get("action") == "subscribe":
            if self.faults.take("/ws", "403"):
                await _say(socket, "error", "not authorized")
                return
            for name in names:
                if name not in channels:
                    channels.add(name)
                    await _say(socket, "success", f"subscribed to: {name}")
        elif told.get("action") == "unsubscribe":
            channels.difference_update(names)

    async def _push(self, socket: ServerConnection, channels: set[str]) -> None:
        last = self.clock.now_ns()
        with contextlib.suppress(ConnectionClosed, ConnectionError):
            while True:
                await asyncio.sleep(_STEP)
                now = self.clock.now_ns()
                if not channels:
                    continue
                events = self.events(channels, last, now)
                last = now
                if events and await self._spoil(socket, events):
                    return
                for at in range(0, len(events), 500):
                    await socket.send(json.dumps(events[at : at + 500]))

    def events(self, channels: set[str], from_ns: int, before_ns: int) -> list[dict[str, Any]]:
        """What happened in a span."""
        found: list[tuple[int, dict[str, Any]]] = []
        for company in self.market.companies:
            if {f"T.{company.symbol}", "T.*"} & channels:
                begin = from_ns
                while begin < before_ns:
                    at, trades = self.market.trades(company.symbol, begin, before_ns)
                    if at < 0:
                        break
                    times = trades.time_ns
                    told = ((int(times[j]), stream_trade(company.symbol, trades, j)) for j in range(len(times)))
                    found += told
                    begin = int(self.market.closes_ns[at])
            if {f"AM.{company.symbol}", "AM.*"} & channels and from_ns // MINUTE_NS != before_ns // MINUTE_NS:
                first = (from_ns // MINUTE_NS - 1) * MINUTE_NS
                rows = Massive(self.market, self.clock)._minute_bars(
                    company.symbol, first // 10**6, before_ns // 10**6, 1, False, 1000
                )
                ends = ((row["t"] * 10**6 + MINUTE_NS, row) for row in rows)
                found += [(end, stream_minute(company.symbol, row)) for end, row in ends if from_ns < end <= before_ns]
        return [event for _, event in sorted(found, key=lambda pair: pair[0])]

    async def _spoil(self, socket: ServerConnection, events: list[dict[str, Any]]) -> bool:
        """Do what is planned; whether the connection is gone."""
        if self.faults.take("/ws", "garbage"):
            await socket.send('[{"ev":"T","sym":')
        if self.faults.take("/ws", "types"):
            await socket.send(json.dumps([{**events[0], "p": {"a": 1}}, 7, {"ev": "ZZ"}]))
        if self.faults.take("/ws", "nan"):
            await socket.send(json.dumps([{**events[0], "p": float("nan")}]))
        if self.faults.take("/ws", "max-connections"):
            await _say(socket, "max_connections", "Maximum number of websocket connections exceeded.")
            await socket.close()
            return True
        if self.faults.take("/ws", "die"):
            text = json.dumps(events).encode()[:100]
            socket.transport.write(b"\x81\x7e\x7f\xff" + text)  # a frame of 32 767 bytes that ends after 100
            await asyncio.sleep(0.02)
            socket.transport.abort()
            return True
        return False


async def _say(socket: ServerConnection, status: str, message: str) -> None:
    await socket.send(json.dumps([{"ev": "status", "status": status, "message": message}]))
