"""The filtered stream: posts as they are made, and the search that fills the gap behind a lost connection.

Reconnecting follows the vendor's policy: broken connections at once, then 250 ms more each time up to 16 s; HTTP errors
from 5 s doubling to 320 s; too many requests from 60 s doubling. A second connection, a cap and a wrong key end it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx

from aiquant.errors import UsageError
from aiquant.schemas import TWEETS
from aiquant.settings import XSettings
from aiquant.sources.base import Batch, Query
from aiquant.sources.checkpoints import Position
from aiquant.sources.feeds import Outlet
from aiquant.sources.http import Client, VendorFault, decode
from aiquant.sources.limits import Backoff, Budget
from aiquant.sources.payloads import letter_of, nothing
from aiquant.sources.pseudonyms import Pseudonyms
from aiquant.sources.x import api, parse
from aiquant.sources.x.search import Mark, Search

TAG = "aiquant"
"""Tag of the rules that are ours; those of others on the same token are left alone."""

LONGEST_LINE = 2**20
LONGEST_RULE = 1024
WALK = "tweets/stream"


@dataclass
class Stream:
    """The filtered stream of one token."""

    client: Client
    settings: XSettings
    pseudonyms: Pseudonyms
    budget: Budget
    rules: tuple[str, ...]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    connections: int = 0
    _since: int = 0
    _broken: Backoff = field(default_factory=lambda: Backoff(0.25, 16.0, linear=True))
    _refused: Backoff = field(default_factory=lambda: Backoff(5.0, 320.0))
    _limited: Backoff = field(default_factory=lambda: Backoff(60.0, 960.0))

    async def run(self, query: Query, outlet: Outlet[Batch]) -> None:
        """Feed the outlet until its reader stops.

        Raises
        ------
        VendorFault
            When the vendor refuses for good, or the day's budget of reads is used up.
        UsageError
            When there is no rule, or one is too long.
        """
        stood = query.checkpoint.cursor(WALK) or ""
        self._since = int(stood) if stood.isdigit() else 0
        await self.set_rules()
        pause = 0.0
        while not outlet.stopped:
            try:
                api.allowance(self.budget, 10)
                await self._connected(outlet)
                pause, why = 0.0, "the vendor ended it"
            except VendorFault as fault:
                if fault.final:
                    raise
                pause = (self._limited if fault.status == 429 else self._refused).next()
                why = fault.problem
            except httpx.HTTPError as error:
                pause, why = self._broken.next(), type(error).__name__
            await outlet.put(nothing(TWEETS, (f"{api.NAME} stream: {why}; connecting again",)))
            await outlet.sleep(pause)

    async def set_rules(self) -> None:
        """Make the vendor's rules with our tag those of the settings."""
        if not self.rules:
            raise UsageError(f"the stream of {api.NAME} needs rules", "set x.rules, or say --symbols")
        for rule in self.rules:
            if len(rule) > LONGEST_RULE:
                raise UsageError(f"a rule of {len(rule)} characters is too long", f"at most {LONGEST_RULE} are allowed")
        reply = await self.client.get(api.RULES)
        told = reply.data.get("data") if isinstance(reply.data, dict) else None
        there = [r for r in told if isinstance(r, dict)] if isinstance(told, list) else []
        ours = {r.get("value"): r.get("id") for r in there if str(r.get("tag", "")).startswith(TAG)}
        old = [i for value, i in ours.items() if value not in self.rules]
        known = {r.get("value") for r in there}
        new = [{"value": rule, "tag": f"{TAG}-{_digest(rule)}"} for rule in self.rules if rule not in known]
        if old:
            await self.client.send("POST", api.RULES, body={"delete": {"ids": old}})
        if new:
            await self._add(new)

    async def _add(self, new: list[dict[str, str]]) -> None:
        reply = await self.client.send("POST", api.RULES, body={"add": new})
        errors = reply.data.get("errors") if isinstance(reply.data, dict) else None
        wrong = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
        wrong = [e for e in wrong if "duplicate" not in str(e.get("title", "")).lower()]
        if wrong:
            text = f"a rule was refused: {wrong[0].get('title')}: {wrong[0].get('value')}"
            raise self.client.fault(api.RULES, reply.status, text, "correct x.rules", final=True)

    async def _connected(self, outlet: Outlet[Batch]) -> None:
        """One connection; what was missed before it comes from the search, once the stream is open."""
        params = {"tweet.fields": parse.FIELDS}
        async with self.client.stream(api.STREAM, params, self.settings.heartbeat_s) as response:
            self.connections += 1
            await self._fill(outlet)
            rest = bytearray()
            async for part in response.aiter_bytes():
                for backoff in (self._broken, self._refused, self._limited):
                    backoff.reset()
                rest += part
                *lines, tail = rest.split(b"\n")
                rest = bytearray(tail)
                if len(rest) > LONGEST_LINE:
                    raise self.client.fault(api.STREAM, 200, "a line without an end", "it connects again by itself")
                await self._lines([line.strip() for line in lines if line.strip()], outlet)
                if outlet.stopped:
                    return

    async def _lines(self, lines: list[bytearray], outlet: Outlet[Batch]) -> None:
        posts: list[Any] = []
        ended: str | None = None
        for line in lines:
            try:
                told = decode(bytes(line))
            except ValueError:
                # what cannot be read cannot be freed of names: only its digest is kept
                payload = f'{{"bytes": {len(line)}, "sha256": "{hashlib.sha256(line).hexdigest()}"}}'
                await outlet.put(letter_of(TWEETS, parse.SOURCE, "stream", "a line is no JSON", payload))
                continue
            if isinstance(told, dict) and "data" not in told and isinstance(told.get("errors"), list):
                first = told["errors"][0] if told["errors"] else {}
                ended = str(first.get("title"))[:80] if isinstance(first, dict) else "an error"
            else:
                posts.append(told.get("data") if isinstance(told, dict) else told)
        if posts:
            self.budget.spend(len(posts))
            batch = parse.posts(posts, "stream", self.pseudonyms, self.now())
            await outlet.put(replace(batch, position=self._position(posts)))
            api.allowance(self.budget, 10)
        if ended is not None:
            raise self.client.fault(api.STREAM, 200, ended, "it connects again by itself")

    def _position(self, posts: list[Any]) -> Position | None:
        newest = parse.newest(posts)
        if newest is None or newest <= self._since:
            return None
        self._since = newest
        return Position(WALK, str(newest))

    async def _fill(self, outlet: Outlet[Batch]) -> None:
        """What was posted since the last post that was handed over, by recent search for each rule.

        It carries no position: the one of the stream moves with the posts that come after it.
        """
        if not self._since:
            return
        for rule in self.rules:
            if len(rule) > 512:
                await outlet.put(nothing(TWEETS, ("a rule of more than 512 characters cannot fill its gap by search",)))
                continue
            search = Search(self.client, self.settings, self.pseudonyms, self.budget, rule, self.now)
            search.mark = Mark(since=str(self._since))
            await search.walk(outlet)


def _digest(rule: str) -> str:
    return hashlib.sha256(rule.encode()).hexdigest()[:12]
