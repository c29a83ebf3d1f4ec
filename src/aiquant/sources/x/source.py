"""X as a source: recent search for the past week, search or filtered stream for the present."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

from aiquant.errors import UsageError
from aiquant.schemas import TWEETS
from aiquant.settings import Settings, XSettings
from aiquant.sources.base import Batch, Query
from aiquant.sources.feeds import Outlet, iterate
from aiquant.sources.http import Client, VendorFault
from aiquant.sources.limits import Backoff, Budget
from aiquant.sources.payloads import nothing
from aiquant.sources.pseudonyms import Pseudonyms
from aiquant.sources.x import api
from aiquant.sources.x.search import REACH, Search
from aiquant.sources.x.stream import Stream

MOST_CHARACTERS = 512
"""Of a search expression."""


class X:
    """X, API v2.

    Raises
    ------
    SettingsError
        When the token or the key of the pseudonyms is missing.
    """

    tables = frozenset({"tweets"})
    feeds = frozenset({"tweets"})

    def __init__(self, settings: XSettings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings = settings
        self.pseudonyms = Pseudonyms(settings.pseudonym_key)
        self._service = api.service(settings)
        self._now = now

    @classmethod
    def from_settings(cls, settings: Settings) -> X:
        """From the section ``x``."""
        return cls(settings.x)

    def history(self, table: str, query: Query) -> Iterator[Batch]:
        """Posts of the last seven days, or of ``first`` to ``last`` (UTC, both included) within them."""
        self._only_tweets(table)
        expression = self._expression(query)
        span = self._span(query)
        name = f"tweets/{expression}/{query.first}/{query.last}"

        async def produce(outlet: Outlet[Batch]) -> None:
            async with Client(self._service) as client:
                await self._search(client, query, expression).walk(outlet, name, query.checkpoint, span)

        return iterate(produce)

    def live(self, table: str, query: Query, stop: threading.Event) -> Iterator[Batch]:
        """Posts as they are made: by search every ``poll_s``, or with ``x.mode = "stream"`` by the filtered stream."""
        self._only_tweets(table)
        if self.settings.mode == "stream":
            rules = self.settings.rules or ((self._expression(query),) if query.symbols or query.text else ())
            return iterate(lambda outlet: self._streamed(query, rules, outlet), stop=stop)
        expression = self._expression(query)
        return iterate(lambda outlet: self._polled(query, expression, outlet), stop=stop)

    def tweets(self, query: Query, stop: threading.Event) -> Iterator[Batch]:
        """The live feed of posts."""
        return self.live("tweets", query, stop)

    async def _streamed(self, query: Query, rules: tuple[str, ...], outlet: Outlet[Batch]) -> None:
        async with Client(self._service) as client:
            budget = self._budget(query)
            await Stream(client, self.settings, self.pseudonyms, budget, rules, self._now).run(query, outlet)

    async def _polled(self, query: Query, expression: str, outlet: Outlet[Batch]) -> None:
        backoff = Backoff(self.settings.poll_s, max(self.settings.poll_s, 900.0))
        async with Client(self._service) as client:
            search = self._search(client, query, expression)
            while not outlet.stopped:
                try:
                    await search.walk(outlet, f"tweets/live/{expression}", query.checkpoint)
                    backoff.reset()
                    await outlet.sleep(self.settings.poll_s)
                except VendorFault as fault:
                    if fault.final:
                        raise
                    await outlet.put(nothing(TWEETS, (str(fault),)))
                    await outlet.sleep(backoff.next())

    def _search(self, client: Client, query: Query, expression: str) -> Search:
        return Search(client, self.settings, self.pseudonyms, self._budget(query), expression, self._now)

    def _budget(self, query: Query) -> Budget:
        return Budget("x", self.settings.reads_per_day, query.checkpoint, self._now)

    def _span(self, query: Query) -> dict[str, Any]:
        now = self._now()
        earliest = now - REACH
        first = max(datetime.combine(query.first, time(), UTC), earliest) if query.first else earliest
        span = {"start_time": _iso(first)}
        if query.last is not None:
            end = min(datetime.combine(query.last + timedelta(days=1), time(), UTC), now - timedelta(seconds=10))
            if end <= first:
                raise UsageError(
                    f"the span to {query.last} lies outside of the last seven days",
                    f"recent search of {api.NAME} reaches back to {earliest:%Y-%m-%d}",
                )
            span["end_time"] = _iso(end)
        return span

    def _expression(self, query: Query) -> str:
        """The search: what was told, or the cashtags of the symbols."""
        told = query.text or self.settings.query
        if not told and query.symbols:
            told = "(" + " OR ".join(f"${symbol.replace('-', '.')}" for symbol in query.symbols) + ") -is:retweet"
        if not told:
            raise UsageError(f"{api.NAME} needs something to look for", "set x.query, or say --symbols")
        if len(told) > MOST_CHARACTERS:
            raise UsageError(
                f"the search expression has {len(told)} characters, {api.NAME} takes {MOST_CHARACTERS}",
                "ask for fewer symbols at once",
            )
        return told

    def _only_tweets(self, table: str) -> None:
        if table != "tweets":
            raise UsageError(f"{api.NAME} has no table {table}", "it has tweets")


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
