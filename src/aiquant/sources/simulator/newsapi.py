"""The simulated articles in the wire format of NewsAPI."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

from aiquant.sources.simulator.clock import Clock
from aiquant.sources.simulator.market import Market
from aiquant.sources.simulator.texts import Article, Texts, iso
from aiquant.sources.simulator.wire import Request, Response, reply

_PHRASE = re.compile(r'"([^"]+)"|(\w[\w.\-]*)')


class News:
    """Answers of the REST interface."""

    def __init__(self, market: Market, texts: Texts, clock: Clock) -> None:
        self.market, self.texts, self.clock = market, texts, clock

    def answer(self, request: Request) -> Response:
        """The reply to a request."""
        query = request.query
        if request.path.endswith("/everything") and not (query.get("q") or query.get("domains")):
            return error(400, "parametersMissing", "Required parameters are missing.")
        if not request.path.endswith(("/everything", "/top-headlines")):
            return error(404, "unexpectedError", "No such endpoint.")
        try:
            size, page = int(query.get("pageSize", "100")), int(query.get("page", "1"))
            now = int(self.clock.now_ns() // 10**9)
            until = min(_seconds(query.get("to"), now), now)
            since = _seconds(query.get("from"), until - 30 * 86_400)
        except ValueError:
            return error(400, "parameterInvalid", "A parameter is invalid.")
        if not 1 <= size <= 100 or page < 1:
            return error(400, "parameterInvalid", "pageSize must be 1 to 100.")
        found = [a for a in self._between(since, until) if _asked_for(a, query.get("q", ""))]
        found.sort(key=lambda a: (-a.time_s, a.url))
        shown = found[(page - 1) * size : page * size]
        return reply({"status": "ok", "totalResults": len(found), "articles": [_article(a) for a in shown]})

    def _between(self, since: int, until: int) -> list[Article]:
        first = int(np.searchsorted(self.market.closes_ns, since * 10**9))
        last = int(np.searchsorted(self.market.opens_ns, until * 10**9, side="right"))
        return [a for at in range(first, last) for a in self.texts.articles(at) if since <= a.time_s <= until]


def error(status: int, code: str, text: str) -> Response:
    """A refusal in the vendor's form."""
    return reply({"status": "error", "code": code, "message": text}, status)


def _article(article: Article) -> dict[str, Any]:
    return {
        "source": {"id": None, "name": article.publisher},
        "author": "A. Writer",
        "title": article.title,
        "description": article.description,
        "url": article.url,
        "urlToImage": None,
        "publishedAt": iso(article.time_s).replace(".000Z", "Z"),
        "content": f"{article.description} … [+100 chars]",
    }


def _asked_for(article: Article, expression: str) -> bool:
    phrases = [a or b for a, b in _PHRASE.findall(expression) if (a or b) not in ("OR", "AND", "NOT")]
    text = f"{article.title} {article.description}".lower()
    return not phrases or any(phrase.lower() in text for phrase in phrases)


def _seconds(text: str | None, default: int) -> int:
    if not text:
        return default
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
