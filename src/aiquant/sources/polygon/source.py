"""Massive as a source: history over REST with several walks at once, the live feed over its WebSocket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiquant import schemas
from aiquant.errors import UsageError
from aiquant.settings import PolygonSettings, Settings
from aiquant.sources.base import Batch, Query
from aiquant.sources.checkpoints import DONE, Position
from aiquant.sources.feeds import Outlet, iterate
from aiquant.sources.http import Client, VendorFault
from aiquant.sources.payloads import nothing
from aiquant.sources.polygon import parse, rest, universe
from aiquant.sources.polygon.stream import Feed


@dataclass(frozen=True)
class _Walk:
    """One list that is paged through: its name in the checkpoint, its address, and how a page becomes a batch."""

    name: str
    path: str
    params: dict[str, Any]
    rows: Callable[[rest.Page], Batch]
    open_end: bool  # its span reaches into the present: it is never done


class Polygon:
    """Massive (formerly Polygon.io).

    Raises
    ------
    SettingsError
        When the key is missing.
    """

    tables = frozenset({"bars", "ticks", "corporate_actions", "universe", "news"})
    feeds = frozenset({"ticks", "bars"})

    def __init__(self, settings: PolygonSettings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings = settings
        self._service = rest.service(settings)
        self._now = now

    @classmethod
    def from_settings(cls, settings: Settings) -> Polygon:
        """From the section ``polygon``."""
        return cls(settings.polygon)

    def history(self, table: str, query: Query) -> Iterator[Batch]:
        """Past rows: see :class:`aiquant.sources.base.HistorySource`.

        ``bars`` and ``ticks`` need symbols and ``first``; ``corporate_actions`` and ``news`` take all symbols where
        none is named; ``universe`` needs ``first``: members as of that date, and what became of them until ``last``.
        """
        if table == "universe":
            return self._universe(query)
        walks = self._walks(table, query)
        return iterate(self._walker(table, walks, query), capacity=2 * self.settings.concurrency)

    def live(self, table: str, query: Query, stop: threading.Event) -> Iterator[Batch]:
        """Trades (``ticks``), minute bars (``bars``), or with ``polygon.minute_bars`` both over the one connection."""
        if table not in self.feeds:
            raise UsageError(f"{rest.NAME} has no live feed of {table}", f"it has {', '.join(sorted(self.feeds))}")
        if not query.symbols:
            query = replace(query, symbols=self.settings.symbols)
        kinds = {"ticks", "bars"} if self.settings.minute_bars else {table}
        feed = Feed(self.settings, self._service, query, frozenset(kinds))
        return iterate(feed.run, capacity=64, stop=stop)

    def ticks(self, query: Query, stop: threading.Event) -> Iterator[Batch]:
        """The live feed of trades."""
        return self.live("ticks", query, stop)

    def _walks(self, table: str, query: Query) -> list[_Walk]:
        if table not in self.tables:
            raise UsageError(f"{rest.NAME} has no table {table}", f"it has {', '.join(sorted(self.tables))}")
        today = self._now().astimezone(ZoneInfo(parse.ZONE)).date()
        last = query.last or today
        if query.first is not None and query.first > last:
            raise UsageError(f"the span from {query.first} to {last} is empty", "let --from lie before --to")
        if table in ("bars", "ticks"):
            if not query.symbols or query.first is None:
                raise UsageError(f"{table} of {rest.NAME} need symbols and a first date", "say --symbols and --from")
            make = self._bars if table == "bars" else self._trades
            return [make(symbol, query, query.first, last, last >= today) for symbol in query.symbols]
        if table == "news":
            return [self._news(symbol, query, last >= today) for symbol in query.symbols or (None,)]
        return [
            self._actions(kind, symbol, query, last >= today)
            for symbol in query.symbols or (None,)
            for kind in ("splits", "dividends")
        ]

    def _bars(self, symbol: str, query: Query, first: date, last: date, open_end: bool) -> _Walk:
        path, params = rest.aggregates(symbol, query.interval, first.isoformat(), last.isoformat(), self.settings)

        def rows(page: rest.Page) -> Batch:
            adjusted = page.body.get("adjusted", self.settings.adjusted) is True
            return parse.bars(page.objects, page.place, query.interval, adjusted, symbol, self._now())

        name = f"bars/{symbol}/{query.interval}/{first}/{last}/{'splits' if self.settings.adjusted else 'none'}"
        return _Walk(name, path, params, rows, open_end)

    def _trades(self, symbol: str, query: Query, first: date, last: date, open_end: bool) -> _Walk:
        before = rest.midnight_ns(rest.day_after(last))
        path, params = rest.trades(symbol, rest.midnight_ns(first), before, self.settings)

        def rows(page: rest.Page) -> Batch:
            return parse.trades(page.objects, page.place, symbol, self._now())

        return _Walk(f"ticks/{symbol}/{first}/{last}", path, params, rows, open_end)

    def _actions(self, kind: str, symbol: str | None, query: Query, open_end: bool) -> _Walk:
        day_name = "execution_date" if kind == "splits" else "ex_dividend_date"
        path, params = rest.reference(kind, day_name, symbol, query.first, query.last)
        read = parse.splits if kind == "splits" else parse.dividends
        name = f"corporate_actions/{kind}/{symbol or '*'}/{query.first}/{query.last}"
        return _Walk(name, path, params, lambda page: read(page.objects, page.place), open_end)

    def _news(self, symbol: str | None, query: Query, open_end: bool) -> _Walk:
        path, params = rest.reference("news", "published_utc", symbol, query.first, query.last)
        if query.last is not None:
            params["published_utc.lte"] = f"{query.last}T23:59:59Z"

        def rows(page: rest.Page) -> Batch:
            return parse.news(page.objects, page.place, self._now())

        path = path.replace("/v3/", "/v2/")
        return _Walk(f"news/{symbol or '*'}/{query.first}/{query.last}", path, params, rows, open_end)

    def _walker(self, table: str, walks: list[_Walk], query: Query) -> Callable[[Outlet[Batch]], Awaitable[None]]:
        async def walk(outlet: Outlet[Batch]) -> None:
            waiting = [w for w in walks if query.checkpoint.cursor(w.name) != DONE]
            if len(waiting) < len(walks):
                done = f"{len(walks) - len(waiting)} of {len(walks)} lists were taken in by an earlier run"
                await outlet.put(nothing(_table(table), (done,)))
            waiting.reverse()
            async with Client(self._service) as client:

                async def work() -> None:
                    while waiting:
                        await _page_through(client, waiting.pop(), query, outlet)

                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.settings.concurrency, len(waiting))):
                        group.create_task(work())

        async def plain(outlet: Outlet[Batch]) -> None:
            try:
                await walk(outlet)
            except ExceptionGroup as several:  # the first fault is the one to tell
                raise several.exceptions[0] from None

        return plain

    def _universe(self, query: Query) -> Iterator[Batch]:
        if query.first is None:
            raise UsageError(f"the universe of {rest.NAME} needs a date", "say --from")
        day = query.first

        async def produce(outlet: Outlet[Batch]) -> None:
            async with Client(self._service) as client:
                listed = await self._tickers(client, day, True)
                gone, later = [], []
                if query.last is not None and query.last > day:
                    gone = await self._tickers(client, query.last, False)
                    later = await self._tickers(client, query.last, True)
            await outlet.put(universe.members(listed, day, f"/v3/reference/tickers as of {day}", gone, later))

        return iterate(produce)

    async def _tickers(self, client: Client, day: date, active: bool) -> list[Any]:
        params = {"market": "stocks", "date": day.isoformat(), "active": str(active).lower(), "limit": 1000}
        found: list[Any] = []
        async for page in rest.pages(client, "/v3/reference/tickers", params, None):
            found += page.objects
        return found


async def _page_through(client: Client, walk: _Walk, query: Query, outlet: Outlet[Batch]) -> None:
    """All pages of one list from where it stood. The end of a span that reaches into the present is not remembered."""
    cursor = query.checkpoint.cursor(walk.name)
    try:
        await _from(client, walk, cursor, outlet)
    except VendorFault as fault:
        if cursor is None or fault.status not in (400, 404, 410):
            raise
        forgotten = f"{walk.name}: the vendor no longer knows the page where it stopped; it begins anew"
        query.checkpoint.forget(walk.name)
        await outlet.put(nothing(_table(walk.name.partition("/")[0]), (forgotten,)))
        await _from(client, walk, None, outlet)


async def _from(client: Client, walk: _Walk, cursor: str | None, outlet: Outlet[Batch]) -> None:
    async for page in rest.pages(client, walk.path, walk.params, cursor):
        batch = walk.rows(page)
        reached = page.following or (None if walk.open_end or batch.left_out else DONE)
        await outlet.put(replace(batch, position=Position(walk.name, reached) if reached else None))


def _table(name: str) -> schemas.Table:
    return next(table for table in schemas.TABLES if table.name == name)
