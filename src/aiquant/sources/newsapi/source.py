"""NewsAPI as a source: the past by pages, the present by looking again.

Pages go by time (``to`` = the oldest seen), not by number: while new articles arrive, numbered pages shift and repeat,
and the free plan refuses everything beyond the first 100 results of one query.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from aiquant.errors import UsageError
from aiquant.schemas import NEWS
from aiquant.settings import NewsApiSettings, Settings
from aiquant.sources import linking
from aiquant.sources.base import Batch, Query
from aiquant.sources.checkpoints import DONE, Position
from aiquant.sources.feeds import Outlet, iterate
from aiquant.sources.http import Client, Service, Verdict, VendorFault
from aiquant.settings.keys import required
from aiquant.sources.limits import Backoff, Bucket
from aiquant.sources.newsapi import parse
from aiquant.sources.payloads import nothing

NAME = "NewsAPI"
VARIABLE = "AIQUANT_NEWSAPI__API_KEY"
MOST_CHARACTERS = 500
"""Of a search expression."""

_LATE = timedelta(days=1)  # articles are indexed late and out of order
_MOST_REPEATS = 5  # pages in a row that hold the same articles

_REMEDIES = {
    "apiKeyDisabled": "the key was disabled: ask the vendor why",
    "apiKeyExhausted": "the plan's requests are used up: wait for its next period, or change the plan",
    "maximumResultsReached": "the plan ends at so many results: ask for a shorter span, or change the plan",
    "parameterInvalid": "the free plan reaches back one month: let --from lie later, or change the plan",
    "parametersMissing": "say what to look for: newsapi.query, newsapi.domains or symbols",
    "sourcesTooMany": "name at most 20 publishers",
    "sourceDoesNotExist": "correct the publisher's name",
}


@dataclass
class _Look:
    """What a live feed remembers from one look to the next."""

    walk: str
    stood: InitVar[str | None]
    newest: datetime | None = None
    known: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self, stood: str | None) -> None:
        self.newest = datetime.fromisoformat(stood) if stood else None


class NewsApi:
    """NewsAPI.

    Raises
    ------
    SettingsError
        When the key is missing, or the table of company names cannot be read.
    """

    tables = frozenset({"news"})
    feeds = frozenset({"news"})

    def __init__(self, settings: NewsApiSettings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings = settings
        self._now = now
        self._service = _service(settings)
        self._linker = linking.load(Path(settings.companies) if settings.companies else None)

    @classmethod
    def from_settings(cls, settings: Settings) -> NewsApi:
        """From the section ``newsapi``."""
        return cls(settings.newsapi)

    def history(self, table: str, query: Query) -> Iterator[Batch]:
        """Articles from ``first`` to ``last`` (UTC, both included), the newest first."""
        self._only_news(table)
        first = datetime.combine(query.first, time(), UTC) if query.first else None
        last = datetime.combine(query.last or self._now().date(), time(23, 59, 59), UTC)
        walk = f"news/{self._expression(query)}/{query.first}/{query.last or 'now'}/{self.settings.language}"

        async def produce(outlet: Outlet[Batch]) -> None:
            stood = query.checkpoint.cursor(walk)
            if stood == DONE:
                await outlet.put(nothing(NEWS, ("this span was taken in by an earlier run",)))
                return
            until = datetime.fromisoformat(stood) if stood else last
            async with Client(self._service) as client:
                async for batch, oldest in self._pages(client, query, first, until):
                    cursor = oldest.isoformat() if oldest else DONE if _is_past(query.last, self._now()) else None
                    await outlet.put(replace(batch, position=Position(walk, cursor) if cursor else None))

        return iterate(produce)

    def live(self, table: str, query: Query, stop: threading.Event) -> Iterator[Batch]:
        """Articles since the last look, every ``poll_s``; an article that is met again is the same row."""
        self._only_news(table)
        walk = f"news/live/{self.settings.endpoint}/{self._expression(query)}"

        async def produce(outlet: Outlet[Batch]) -> None:
            backoff = Backoff(self.settings.poll_s, max(self.settings.poll_s, 3600.0))
            look = _Look(walk, query.checkpoint.cursor(walk))
            async with Client(self._service) as client:
                while not outlet.stopped:
                    try:
                        await self._look(client, query, look, outlet)
                        backoff.reset()
                        await outlet.sleep(self.settings.poll_s)
                    except VendorFault as fault:
                        if fault.final:
                            raise
                        await outlet.put(nothing(NEWS, (str(fault),)))
                        await outlet.sleep(backoff.next())

        return iterate(produce, stop=stop)

    def news(self, query: Query, stop: threading.Event) -> Iterator[Batch]:
        """The live feed of articles."""
        return self.live("news", query, stop)

    async def _look(self, client: Client, query: Query, look: _Look, outlet: Outlet[Batch]) -> None:
        """Everything since the newest article; the mark moves when all pages are out."""
        now = self._now()
        look.known = {address: met for address, met in look.known.items() if met > now - 3 * _LATE}
        if self.settings.endpoint == "top-headlines":
            async for batch, _ in self._headlines(client, query, look.known):
                await outlet.put(batch)
            return
        since = look.newest - _LATE if look.newest else now - 3 * _LATE
        newest = look.newest
        async for batch, oldest in self._pages(client, query, since, now, look.known):
            if batch.rows.num_rows:
                latest: datetime = max(batch.rows["event_time"].to_pylist())
                newest = max(newest, latest) if newest else latest
            position = Position(look.walk, newest.isoformat()) if newest and oldest is None else None
            await outlet.put(replace(batch, position=position))
        look.newest = newest

    async def _pages(
        self,
        client: Client,
        query: Query,
        first: datetime | None,
        until: datetime,
        known: dict[str, datetime] | None = None,
    ) -> AsyncIterator[tuple[Batch, datetime | None]]:
        """Batches, the newest first, each with the moment from which to go on (None: the end).

        ``known`` holds the addresses of articles that were given before; they are counted, not given again.
        """
        seen = known if known is not None else {}
        before: set[str] = set()
        number, repeats = 1, 0
        while True:
            params = {**self._common(query), "to": _iso(until), "page": number, "sortBy": "publishedAt"}
            if first is not None:
                params["from"] = _iso(first)
            found = await self._ask(client, "/everything", params)
            here = {_address(item) for item in found}
            batch, _ = self._batch(found, "/everything", seen)
            moments = [moment for moment in map(parse.published, found) if moment is not None]
            oldest = min(moments, default=None)
            if len(found) < self.settings.page_size or oldest is None or (first is not None and oldest <= first):
                yield batch, None
                return
            repeats = repeats + 1 if here == before else 0
            if repeats == _MOST_REPEATS:
                raise client.fault("/everything", 200, "its pages repeat", "run it again later: it goes on here")
            oldest = oldest.replace(microsecond=0)
            yield batch, min(oldest, until)
            if oldest < until:
                until, number = oldest, 1
            elif here != before:  # more articles in one second than a page holds
                number += 1
            else:
                until, number = until - timedelta(seconds=1), 1
            before = here

    async def _headlines(
        self, client: Client, query: Query, seen: dict[str, datetime]
    ) -> AsyncIterator[tuple[Batch, None]]:
        number = 1
        while True:
            params = {"country": self.settings.country, "category": self.settings.category, "page": number}
            params |= {"pageSize": self.settings.page_size, "q": query.text or self.settings.query or None}
            found = await self._ask(client, "/top-headlines", params)
            batch, fresh = self._batch(found, "/top-headlines", seen)
            yield batch, None
            if not fresh or len(found) < self.settings.page_size:
                return
            number += 1

    async def _ask(self, client: Client, path: str, params: Mapping[str, Any]) -> list[Any]:
        try:
            reply = await client.get(path, {k: v for k, v in params.items() if v is not None})
        except VendorFault as fault:
            if fault.status == 426:  # the plan's end of a query: what came before is all there is
                return []
            raise
        told = reply.data
        if not isinstance(told, dict) or not isinstance(told.get("articles"), list):
            raise client.fault(path, reply.status, "the reply has no list of articles", "run it again later")
        articles: list[Any] = told["articles"]
        return articles

    def _batch(self, found: list[Any], place: str, seen: dict[str, datetime]) -> tuple[Batch, int]:
        """A batch of what was not seen before, and how much that was."""
        now = self._now()
        fresh = [item for item in found if _address(item) not in seen]
        seen.update((_address(item), now) for item in fresh)
        batch = parse.articles(fresh, place, self._linker, self.settings.language, now)
        return replace(batch, duplicates=batch.duplicates + len(found) - len(fresh)), len(fresh)

    def _common(self, query: Query) -> dict[str, Any]:
        expression = self._expression(query)
        if not expression and not self.settings.domains:
            raise UsageError(f"{NAME} needs something to look for", "set newsapi.query, or say --symbols")
        return {
            "q": expression or None,
            "searchIn": "title,description" if expression else None,
            "domains": ",".join(self.settings.domains) or None,
            "language": self.settings.language,
            "pageSize": self.settings.page_size,
        }

    def _expression(self, query: Query) -> str:
        """The search: what was told, or the names of the companies whose symbols were."""
        told = query.text or self.settings.query
        if not told and query.symbols:
            told = " OR ".join(f'"{self._linker.name(symbol) or symbol}"' for symbol in query.symbols)
        if len(told) > MOST_CHARACTERS:
            raise UsageError(
                f"the search expression has {len(told)} characters, {NAME} takes {MOST_CHARACTERS}",
                "ask for fewer symbols at once",
            )
        return told

    def _only_news(self, table: str) -> None:
        if table != "news":
            raise UsageError(f"{NAME} has no table {table}", "it has news")


def _service(settings: NewsApiSettings) -> Service:
    key = required(settings.api_key, "newsapi.api_key")
    return Service(
        name=NAME,
        base_url=settings.base_url,
        headers={"X-Api-Key": key},
        secret=key,
        variable=VARIABLE,
        bucket=Bucket(settings.calls, settings.period_s),
        attempts=settings.attempts,
        timeout_s=settings.timeout_s,
        judge=_judge,
    )


def _judge(status: int, data: Any, headers: Mapping[str, str]) -> Verdict | None:
    code = data.get("code") if isinstance(data, dict) else None
    message = data.get("message") if isinstance(data, dict) else None
    if not isinstance(code, str) or code not in _REMEDIES:
        return None
    return Verdict(f"{code}: {message if isinstance(message, str) else ''}", _REMEDIES[code])


def _address(item: Any) -> str:
    url = item.get("url") if isinstance(item, dict) else None
    return url if isinstance(url, str) else repr(item)[:200]


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_past(last: date | None, now: datetime) -> bool:
    return last is not None and last < now.date()
