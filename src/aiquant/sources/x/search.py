"""Recent search: the last seven days, page by page, each post once.

The newest id of the *first* page becomes the next ``since_id``, and only once all pages are stored: the walk's position
holds the old mark, the new one and the token of the next page, so that a killed run goes on in the middle.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiquant.schemas import TWEETS
from aiquant.settings import XSettings
from aiquant.sources.base import Batch
from aiquant.sources.checkpoints import Checkpoint, Position
from aiquant.sources.feeds import Outlet
from aiquant.sources.http import Client, VendorFault
from aiquant.sources.limits import Budget
from aiquant.sources.payloads import nothing
from aiquant.sources.pseudonyms import Pseudonyms
from aiquant.sources.x import api, parse

REACH = timedelta(days=7) - timedelta(minutes=5)
"""How far back recent search goes, less a little."""


@dataclass(frozen=True)
class Mark:
    """Where a search stands: all posts up to ``since`` are stored; ``top`` and ``token`` are of a walk on its way."""

    since: str | None = None
    top: str | None = None
    token: str | None = None

    def cursor(self) -> str:
        """As text for a checkpoint."""
        return json.dumps([self.since, self.top, self.token])

    @classmethod
    def read(cls, cursor: str | None) -> Mark:
        """From a checkpoint; what is none is the beginning."""
        try:
            told = json.loads(cursor or "[]")
        except ValueError:
            return cls()
        whole = isinstance(told, list) and len(told) == 3 and all(t is None or isinstance(t, str) for t in told)
        return cls(*told) if whole else cls()


@dataclass
class Search:
    """One search expression of one token.

    Attributes
    ----------
    mark
        Where it stands; None: as the checkpoint says. It moves with what was handed over, the checkpoint only with
        what was stored.
    """

    client: Client
    settings: XSettings
    pseudonyms: Pseudonyms
    budget: Budget
    expression: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    mark: Mark | None = None

    async def walk(
        self,
        outlet: Outlet[Batch],
        name: str | None = None,
        checkpoint: Checkpoint | None = None,
        span: dict[str, Any] | None = None,
    ) -> None:
        """All posts since the last walk (or of a span), the newest first; without a name no batch has a position.

        Raises
        ------
        VendorFault
            When the vendor refuses, repeats a page token, or the day's budget is used up.
        """
        if self.mark is None:
            self.mark = Mark.read(checkpoint.cursor(name)) if checkpoint and name else Mark()
        mark = self.mark
        seen: set[str] = set()
        while True:
            try:
                body = await self._page(mark, span or {}, outlet)
            except VendorFault as fault:
                if mark.token is None or seen or fault.status not in (400, 404):
                    raise
                mark = replace(mark, token=None, top=None)  # an old page token: begin the walk anew
                continue
            posts = body.get("data") if isinstance(body.get("data"), list) else []
            meta = body["meta"] if isinstance(body.get("meta"), dict) else {}
            self.budget.spend(len(posts or []))
            batch = parse.posts(posts or [], api.SEARCH, self.pseudonyms, self.now())
            newest = parse.newest(posts or [])
            top = mark.top or (str(newest) if newest is not None else None)
            token = meta.get("next_token")
            token = token if isinstance(token, str) and token else None
            repeats = token is not None and (token in seen or token == mark.token)
            if token is None:
                mark = Mark(since=_later(mark.since, top))
            elif not repeats:
                mark = Mark(mark.since, top, token)
            self.mark = mark
            position = None if repeats or name is None else Position(name, mark.cursor())
            await outlet.put(replace(batch, notes=_partial(body), position=position))
            if repeats:
                raise self.client.fault(api.SEARCH, 200, "its page token repeats", "run it again: it goes on here")
            if token is None:
                return
            seen.add(token)

    async def _page(self, mark: Mark, span: dict[str, Any], outlet: Outlet[Batch]) -> dict[str, Any]:
        params: dict[str, Any] = {
            "query": self.expression,
            "max_results": api.allowance(self.budget, self.settings.page_size),
            "tweet.fields": parse.FIELDS,
            **span,
        }
        if mark.since is not None:
            if parse.moment_of(int(mark.since)) > self.now() - REACH:
                params["since_id"] = mark.since
                params.pop("start_time", None)
            elif mark.token is None and not span:
                lost = (
                    f"{api.NAME}: posts from {parse.moment_of(int(mark.since)):%Y-%m-%d %H:%M} UTC until seven days ago"
                )
                await outlet.put(nothing(TWEETS, (f"{lost} can no longer be searched",)))
        if mark.token is not None:
            params["next_token"] = mark.token
        reply = await self.client.get(api.SEARCH, params)
        if not isinstance(reply.data, dict):
            raise self.client.fault(api.SEARCH, reply.status, "the reply is no object", "run it again later")
        body: dict[str, Any] = reply.data
        return body


def _later(since: str | None, top: str | None) -> str | None:
    told = [int(i) for i in (since, top) if i is not None]
    return str(max(told)) if told else None


def _partial(body: dict[str, Any]) -> tuple[str, ...]:
    """A note about posts that the vendor withheld; neither ids nor names of them."""
    told = body.get("errors")
    if not isinstance(told, list) or not told:
        return ()
    titles = sorted({str(e.get("title"))[:60] for e in told if isinstance(e, dict) and isinstance(e.get("title"), str)})
    return (f"{api.NAME} withheld {len(told)} item(s): {', '.join(titles) or 'no reason given'}",)
