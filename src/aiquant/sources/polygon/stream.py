"""Massive's WebSocket: one connection, made again when it is lost, and no hole behind it.

The socket is read by a task that does nothing else, so that a slow reader of ours never makes the vendor cut us off.
Whatever may be missing (a lost connection, frames dropped because our side was slower than the market) becomes a
*gap*: a moment from which on trades are asked for again over REST, up to the present. It begins ``overlap_s`` before
the last event that was handled and has no end of its own, so that it meets the live side whatever the clocks say;
trades that come twice have the same key. While a gap is open no batch carries a position: a kill then asks for it
again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter, deque
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect

from aiquant.schemas import TICKS
from aiquant.settings import PolygonSettings
from aiquant.sources.base import Batch, Query
from aiquant.sources.checkpoints import Position
from aiquant.sources.feeds import Outlet
from aiquant.sources.http import Client, Service, VendorFault, decode
from aiquant.sources.limits import Backoff
from aiquant.sources.payloads import letter_of, nothing
from aiquant.sources.polygon import parse, rest
from aiquant.sources.polygon.tickers import to_ticker

PLACE = "stream"
WALK = "ticks/live"
MOST_FRAMES = 20_000
"""Frames that wait to be decoded; beyond it they are dropped and asked for again over REST."""

_FRAME_BYTES = 8 * 2**20
_CHANNELS = {"ticks": "T", "bars": "AM"}
_SYMBOLS_A_MESSAGE = 500
_POSITION_S = 1.0  # a position costs its reader a wait for its own store
_PAUSE = 0.02  # seconds between two looks at the waiting frames: small batches cost more than they give

_silent = logging.getLogger("aiquant.sources.polygon.wire")  # the library would log the key with the sign-in
_silent.propagate = False
_silent.setLevel(logging.CRITICAL + 1)


class Feed:
    """The live feed of one key.

    Attributes
    ----------
    dropped
        Frames that were thrown away because too many waited; each opens a gap.
    skipped
        Events of kinds that we do not know, by kind.
    connections
        How often a connection was made.
    """

    def __init__(self, settings: PolygonSettings, service: Service, query: Query, kinds: frozenset[str]) -> None:
        self.settings, self.kinds = settings, kinds
        self._service, self._query = service, query
        self._frames: deque[str | bytes] = deque()
        self._symbols: set[str] = set(query.symbols)
        self._last_ns = int(query.checkpoint.cursor(WALK) or 0)
        self._gap_ns: int | None = self._last_ns or None
        self._begun_ns = 0
        self._filling = False
        self._subscribed = asyncio.Event()
        self._told: list[str] = []
        self._next_position = 0.0
        self.dropped = 0
        self.skipped: Counter[str] = Counter()
        self.connections = 0

    async def run(self, outlet: Outlet[Batch]) -> None:
        """Feed the outlet until its reader stops.

        Raises
        ------
        VendorFault
            When the vendor refuses for good.
        """
        tasks = [
            asyncio.create_task(work(outlet)) for work in (self._stay_connected, self._hand_over, self._close_gaps)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not outlet.stopped:
                await self._drain(outlet)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _stay_connected(self, outlet: Outlet[Batch]) -> None:
        backoff = Backoff(0.5, 60.0)
        while not outlet.stopped:
            try:
                await self._session(backoff)
                why = "the vendor closed the connection"
            except VendorFault as fault:
                if fault.final:
                    raise
                why = fault.problem
            except (OSError, websockets.WebSocketException, TimeoutError) as error:
                why = self._clean(f"{type(error).__name__}: {error}")
            finally:
                self._subscribed.clear()
            self._open_gap()
            pause = backoff.next()
            self._told.append(f"{rest.NAME} stream: {why}; connecting again, the gap will be filled over REST")
            await outlet.sleep(pause)

    async def _session(self, backoff: Backoff) -> None:
        """One connection from sign-in to its end."""
        quiet = self.settings.quiet_s
        async with connect(
            self.settings.websocket_url,
            logger=_silent,
            max_size=_FRAME_BYTES,
            open_timeout=self.settings.timeout_s,
            ping_interval=quiet / 2,
            ping_timeout=quiet / 2,
            close_timeout=1,
            proxy=None,
        ) as socket:
            self.connections += 1
            await self._expect(socket, "connected")
            await socket.send(json.dumps({"action": "auth", "params": self._service.secret}))
            await self._expect(socket, "auth_success")
            channels = await self._subscribe(socket)
            started = asyncio.get_running_loop().time()
            async for frame in socket:
                if not self._subscribed.is_set():
                    channels -= self._statuses(frame, "success")
                    # what is subscribed already is not answered: do not wait for it for ever
                    if channels <= 0 or b'"T"' in _bytes(frame) or asyncio.get_running_loop().time() - started > 3:
                        self._ready(backoff)
                elif b'"status"' in _bytes(frame):
                    self._statuses(frame, "success")
                self._take(frame)

    def _ready(self, backoff: Backoff) -> None:
        backoff.reset()
        self._begun_ns = self._begun_ns or time.time_ns()
        self._subscribed.set()

    async def _expect(self, socket: ClientConnection, status: str) -> None:
        async with asyncio.timeout(self.settings.timeout_s):
            while not self._statuses(await socket.recv(), status):
                pass

    async def _subscribe(self, socket: ClientConnection) -> int:
        """Ask for all channels; how many answers are due."""
        tickers = [to_ticker(symbol) for symbol in self._query.symbols] or ["*"]
        names = [f"{_CHANNELS[kind]}.{ticker}" for kind in sorted(self.kinds) for ticker in tickers]
        for at in range(0, len(names), _SYMBOLS_A_MESSAGE):
            params = ",".join(names[at : at + _SYMBOLS_A_MESSAGE])
            await socket.send(json.dumps({"action": "subscribe", "params": params}))
        return len(names)

    def _statuses(self, frame: str | bytes, wanted: str) -> int:
        """How many statuses of a frame are the wanted one.

        Raises
        ------
        VendorFault
            When one says no.
        """
        try:
            events = decode(frame)
        except ValueError:
            return 0
        told = (
            [e for e in events if isinstance(e, dict) and e.get("ev") == "status"] if isinstance(events, list) else []
        )
        for event in told:
            self._refuse(str(event.get("status")), str(event.get("message") or ""))
        return sum(event.get("status") == wanted for event in told)

    def _refuse(self, status: str, message: str) -> None:
        remedies = {
            "auth_failed": f"check the key in {rest.VARIABLE}",
            "max_connections": "another connection with this key is alive: run one feed for each key",
            "error": "the plan of this key does not include it: ask for less, or use the delayed host",
        }
        if status in remedies or status == "auth_timeout":
            text = self._clean(f"{status}: {message}")
            remedy = remedies.get(status, "check the network")
            raise VendorFault(rest.NAME, "WebSocket", None, text, remedy, final=status in remedies)

    def _take(self, frame: str | bytes) -> None:
        if len(self._frames) >= MOST_FRAMES:
            self.dropped += 1
            self._open_gap()
            return
        self._frames.append(frame)

    async def _hand_over(self, outlet: Outlet[Batch]) -> None:
        while not outlet.stopped:
            await asyncio.sleep(_PAUSE)
            if self._frames or self._told:
                await self._drain(outlet)

    async def _drain(self, outlet: Outlet[Batch]) -> None:
        notes, self._told = tuple(self._told), []
        frames = [self._frames.popleft() for _ in range(min(len(self._frames), 2000))]
        for batch in self._batches(frames, datetime.now(UTC)):
            await outlet.put(replace(batch, notes=notes, position=self._position(batch)))
            notes = ()
        if notes:
            await outlet.put(nothing(TICKS, notes))

    def _batches(self, frames: list[str | bytes], received: datetime) -> list[Batch]:
        made: list[Batch] = []
        events: list[Any] = []
        for frame in frames:
            try:
                told = decode(frame)
            except ValueError:
                text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
                made.append(letter_of(TICKS, parse.SOURCE, PLACE, "a frame is no JSON", self._clean(text)))
                continue
            events += told if isinstance(told, list) else [told]
        kinds = [event.get("ev") if isinstance(event, dict) else None for event in events]
        trades = [e for e, kind in zip(events, kinds, strict=True) if kind == "T" or not isinstance(e, dict)]
        bars = [e for e, kind in zip(events, kinds, strict=True) if kind == "AM"]
        self.skipped.update(str(kind)[:20] for kind in kinds if kind not in ("T", "AM", "status", None))
        if trades:
            made.append(self._remember(parse.stream_trades(trades, PLACE, received)))
        if bars:
            made.append(parse.stream_bars(bars, PLACE))
        return made

    def _remember(self, batch: Batch) -> Batch:
        if batch.rows.num_rows:
            import pyarrow.compute as pc

            newest = pc.max(batch.rows["event_ns"]).as_py()
            # a time ahead of the present is a wrong clock or a wrong event: it must not shorten a later gap
            self._last_ns = max(self._last_ns, min(newest, time.time_ns()))
            if not self._query.symbols:
                self._symbols.update(pc.unique(batch.rows["symbol"]).to_pylist())
        return batch

    def _position(self, batch: Batch) -> Position | None:
        if self._gap_ns is not None or self._filling or batch.table != TICKS.name or not batch.rows.num_rows:
            return None
        if time.monotonic() < self._next_position:
            return None
        self._next_position = time.monotonic() + _POSITION_S
        return Position(WALK, str(self._last_ns))

    def _open_gap(self) -> None:
        since = self._last_ns or self._begun_ns  # our own clock counts only where the vendor has told no time yet
        if since:
            self._gap_ns = since if self._gap_ns is None else min(self._gap_ns, since)

    async def _close_gaps(self, outlet: Outlet[Batch]) -> None:
        async with Client(self._service) as client:
            backoff = Backoff(5.0, 300.0)
            while not outlet.stopped:
                await self._subscribed.wait()
                if self._gap_ns is None:
                    await asyncio.sleep(_PAUSE)
                    continue
                connection = self.connections
                await outlet.sleep(min(2.0, self.settings.overlap_s / 5))  # what just happened is not in REST yet
                if not self._subscribed.is_set() or connection != self.connections:
                    continue  # lost again: what is filled now would end before the live side begins
                since, self._gap_ns, self._filling = self._gap_ns, None, True
                try:
                    await self._fill(client, since, outlet)
                    backoff.reset()
                except VendorFault as fault:
                    self._gap_ns = since if self._gap_ns is None else min(since, self._gap_ns)
                    self._told.append(f"the gap since {_shown(since)} is still open: {fault}")
                    await outlet.sleep(300.0 if fault.final else backoff.next())
                finally:
                    self._filling = False

    async def _fill(self, client: Client, since_ns: int, outlet: Outlet[Batch]) -> None:
        start = since_ns - int(self.settings.overlap_s * 1e9)
        filled = 0
        for symbol in sorted(self._symbols):
            if "ticks" in self.kinds:
                path, params = rest.trades(symbol, start, None, self.settings)
                async for page in rest.pages(client, path, params, None):
                    batch = parse.trades(page.objects, page.place, symbol, datetime.now(UTC))
                    filled += batch.rows.num_rows
                    await outlet.put(batch)
            if "bars" in self.kinds:
                first, last = start // 60_000_000_000 * 60_000, time.time_ns() // 1_000_000 + 86_400_000
                path, params = rest.aggregates(symbol, "1m", str(first), str(last), self.settings)
                async for page in rest.pages(client, path, {**params, "adjusted": "false"}, None):
                    await outlet.put(parse.bars(page.objects, page.place, "1m", False, symbol))
        if self._symbols:
            self._told.append(f"the gap since {_shown(since_ns)} is filled: {filled:,} trades over REST")
        else:
            self._told.append(f"the gap since {_shown(since_ns)} stays open: name the symbols in polygon.symbols")

    def _clean(self, text: str) -> str:
        return text.replace(self._service.secret, "***")[:20_000]


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode("utf-8", "replace") if isinstance(frame, str) else frame


def _shown(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns / 1e9, UTC).isoformat(timespec="seconds")
