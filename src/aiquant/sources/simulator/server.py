"""The simulator as a whole: three vendors on one HTTP port, Massive's stream on the next one."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import errno
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from aiquant.errors import Unreachable
from aiquant.settings import SimulatorSettings
from aiquant.sources.simulator import massive, newsapi, x
from aiquant.sources.simulator.clock import Clock
from aiquant.sources.simulator.faults import Fault, Faults, spoiled
from aiquant.sources.simulator.market import Market
from aiquant.sources.simulator.socket import WRONG_KEY, Socket
from aiquant.sources.simulator.texts import Texts
from aiquant.sources.simulator.wire import Request, Response, reply, serve

_BODILY = ("cut", "drop", "nan", "types", "repeat", "elsewhere", "huge", "slow", "skew")


class Simulator:
    """A market behind three vendors' interfaces, on loopback, in a thread of its own.

    Used as ``with Simulator(SimulatorSettings(port=0)) as sim``; then ``sim.settings()`` are the settings by which the
    vendors find it.

    Attributes
    ----------
    requests
        Method, path and query of all that was asked, in order.
    faults
        What is to go wrong next.
    """

    def __init__(
        self,
        settings: SimulatorSettings | None = None,
        faults: Iterable[Fault] = (),
        start: datetime | None = None,
        heartbeat_s: float = 20.0,
        slow_s: float = 2.0,
    ) -> None:
        settings = settings or SimulatorSettings(port=0)
        self.port = settings.port
        self.websocket_port = settings.port + 1 if settings.port else 0
        self.market = Market(settings.seed, settings.symbols, settings.trades_a_minute)
        self.clock = Clock(self.market, start, settings.speed)
        self.texts = Texts(self.market)
        self.faults = Faults(faults)
        self.slow_s = slow_s
        self.massive = massive.Massive(self.market, self.clock)
        self.news = newsapi.News(self.market, self.texts, self.clock)
        self.x = x.XApi(self.market, self.texts, self.clock, self.faults, heartbeat_s)
        self.socket = Socket(self.market, self.clock, self.faults)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.latency_s = 0.0
        self._canned: list[tuple[str, Response]] = []
        self._ready = threading.Event()
        self._failed: list[BaseException] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="aiquant-simulator", daemon=True)

    def __enter__(self) -> Simulator:
        self._thread.start()
        self._ready.wait(30)
        if self._failed:
            raise self._failed[0]
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._done is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)

    @property
    def origin(self) -> str:
        """Base URL of Massive's REST interface; the others lie below it."""
        return f"http://127.0.0.1:{self.port}"

    def settings(self) -> dict[str, dict[str, Any]]:
        """Sections of the settings by which the vendors find the simulator; the keys are no secrets."""
        key = "simulated-key"
        return {
            "polygon": {
                "base_url": self.origin,
                "websocket_url": f"ws://127.0.0.1:{self.websocket_port}/stocks",
                "api_key": key,
                "calls": 10_000,
                "period_s": 1.0,
            },
            "newsapi": {"base_url": f"{self.origin}/newsapi/v2", "api_key": key, "calls": 10_000, "period_s": 1.0},
            "x": {
                "base_url": f"{self.origin}/x/2",
                "bearer_token": key,
                "pseudonym_key": "simulated key of the pseudonyms: 32 characters",
                "calls": 10_000,
                "period_s": 1.0,
            },
        }

    def serve(self, path: str, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Answer the next request whose path holds ``path`` with this: for recorded payloads."""
        if isinstance(body, str):
            canned = Response(status, body.encode(), dict(headers or {}))
        elif isinstance(body, bytes):
            canned = Response(status, body, dict(headers or {}))
        else:
            canned = reply(body, status, headers)
        self._canned.append((path, canned))

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # told to the one who waits for the start
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            port = f"port {self.port} or {self.websocket_port} is taken"
            self._failed.append(Unreachable(port, "set simulator.port to another one, or 0") if taken else error)
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        http = await serve(self._answer, self.port)
        self.port = http.sockets[0].getsockname()[1]
        socket = await self.socket.listen(self.websocket_port)
        self.websocket_port = next(iter(socket.sockets)).getsockname()[1]
        self._ready.set()
        await self._done.wait()
        http.close()
        socket.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(socket.wait_closed(), 2)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0.01)  # aborted connections are closed by the next turn of the loop

    async def _answer(self, request: Request) -> Response:
        self.requests.append((request.method, request.path, request.query))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            for at, (path, canned) in enumerate(self._canned):
                if path in request.path:
                    del self._canned[at]
                    return canned
            return await self._faulty(request)
        finally:
            self.in_flight -= 1

    async def _faulty(self, request: Request) -> Response:
        vendor = (
            "newsapi" if request.path.startswith("/newsapi/") else "x" if request.path.startswith("/x/") else "massive"
        )
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if not key or key == WRONG_KEY:
            return refusal(vendor, "401")
        fault = self.faults.take(request.path, *_REFUSALS, *_BODILY)
        if fault is not None and fault.kind in _REFUSALS:
            return refusal(vendor, fault.kind)
        if vendor == "massive":
            response = self.massive.answer(request, self.origin)
        else:
            response = self.news.answer(request) if vendor == "newsapi" else self.x.answer(request)
        return response if fault is None else await self._spoilt(request, response, fault.kind)

    async def _spoilt(self, request: Request, response: Response, kind: str) -> Response:
        if kind == "slow":
            await asyncio.sleep(self.slow_s)
            return response
        if kind == "cut":
            return replace(response, body=response.body[: len(response.body) // 2])
        if kind == "drop":
            return replace(response, cut=len(response.body) // 2)
        if kind == "huge":
            return replace(response, body=b'{"results":[' + b"0," * (40 * 2**20) + b"0]}")
        if kind == "skew":
            ahead = email.utils.formatdate(time.time() + 3600, usegmt=True)
            return replace(response, headers={**response.headers, "Date": ahead})
        body = json.loads(response.body)
        if kind == "repeat":
            pairs = "&".join(f"{k}={v}" for k, v in request.query.items() if k == "cursor")
            again = f"{self.origin}{request.path}?{pairs or 'cursor=e30='}"
            body |= {"next_url": again} if "meta" not in body else {}
            if "meta" in body:
                body["meta"]["next_token"] = request.query.get("next_token") or body["meta"].get("next_token", "0")
        elif kind == "elsewhere":
            body["next_url"] = "http://elsewhere.example/v2/page?cursor=abc"
        else:
            body = spoiled(body, kind)
        return replace(response, body=json.dumps(body).encode())


_REFUSALS = ("400", "401", "403", "404", "429", "429-cap", "429-connections", "500", "502", "redirect")


def refusal(vendor: str, kind: str) -> Response:
    """A refusal of a vendor in its own form."""
    if kind == "502":
        return Response(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", {"Content-Type": "text/html"})
    if kind == "redirect":
        return Response(302, b"", {"Location": "http://elsewhere.example/"})
    status = int(kind[:3])
    if vendor == "newsapi":
        codes = {"400": "parameterInvalid", "401": "apiKeyInvalid", "429": "rateLimited", "429-cap": "apiKeyExhausted"}
        response = newsapi.error(status, codes.get(kind, "unexpectedError"), "Made-up text of the simulator.")
    elif vendor == "x":
        response = _x_refusal(status, kind)
    else:
        texts = {
            "401": "Unknown API Key",
            "403": "You are not entitled to this data.",
            "429": "You've exceeded the maximum",
        }
        response = massive.error(status, texts.get(kind, "fault"), "message" if status in (403, 404) else "error")
    if status == 429 and vendor != "x":
        response.headers["Retry-After"] = "1"
    return response


def _x_refusal(status: int, kind: str) -> Response:
    if kind == "429-cap":
        return x.problem(429, "UsageCapExceeded", "usage-capped", period="Monthly")
    if kind == "429-connections":
        return x.problem(429, "ConnectionException", "streaming-connection", connection_issue="TooManyConnections")
    reset = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(int(time.time()) + 1)} if status == 429 else {}
    titles = {400: "Invalid Request", 401: "Unauthorized", 403: "Client Forbidden", 429: "Too Many Requests"}
    kinds = {400: "invalid-request", 403: "client-forbidden"}
    return x.problem(status, titles.get(status, "fault"), kinds.get(status, "about:blank"), reset)
