"""The simulated posts in the wire format of X, API v2: recent search, rules, filtered stream."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from aiquant.sources.simulator.clock import Clock
from aiquant.sources.simulator.faults import Faults
from aiquant.sources.simulator.market import Market
from aiquant.sources.simulator.texts import Post, Texts, iso
from aiquant.sources.simulator.wire import Request, Response, reply

_CASHTAG = re.compile(r"\$(\w+)")
_WINDOW = 450
_PROBLEMS = "https://api.x.com/2/problems"


class XApi:
    """Answers of the REST interface and lines of the stream."""

    def __init__(self, market: Market, texts: Texts, clock: Clock, faults: Faults, heartbeat_s: float = 20.0) -> None:
        self.market, self.texts, self.clock, self.faults = market, texts, clock, faults
        self.heartbeat_s = heartbeat_s
        self.rules: dict[str, dict[str, str]] = {}
        self.streams = 0
        self.searches = 0

    def answer(self, request: Request) -> Response:
        """The reply to a request."""
        if request.path.endswith("/search/recent"):
            try:
                return self._search(request.query)
            except ValueError:
                return problem(400, "Invalid Request", "invalid-request")
        if request.path.endswith("/stream/rules"):
            return self._rules(request)
        if request.path.endswith("/search/stream"):
            return self._stream()
        return problem(404, "Not Found", "resource-not-found")

    def _search(self, query: dict[str, str]) -> Response:
        size = int(query.get("max_results", "10"))
        if not query.get("query") or not 10 <= size <= 100:
            return problem(400, "Invalid Request", "invalid-request")
        self.searches += 1
        now_ms = self.clock.now_ns() // 10**6
        low = _ms(query.get("start_time"), now_ms - 7 * 86_400_000)
        high = min(_ms(query.get("end_time"), now_ms), now_ms)
        since, until = int(query.get("since_id", "0")), int(query.get("next_token", str(2**63)))
        wanted = set(_CASHTAG.findall(query["query"]))
        found = [p for p in self.between(low, high) if since < p.post_id < until and (not wanted or p.symbol in wanted)]
        found.sort(key=lambda p: -p.post_id)
        shown = found[:size]
        meta: dict[str, Any] = {"result_count": len(shown)}
        body: dict[str, Any] = {"meta": meta}
        if shown:
            body["data"] = [_post(p) for p in shown]
            meta |= {"newest_id": str(shown[0].post_id), "oldest_id": str(shown[-1].post_id)}
        if len(found) > size:
            meta["next_token"] = str(shown[-1].post_id)
        reset = int(datetime.now(UTC).timestamp()) + 900
        limits = {"x-rate-limit-limit": str(_WINDOW), "x-rate-limit-reset": str(reset)}
        return reply(body, headers={**limits, "x-rate-limit-remaining": str(max(1, _WINDOW - self.searches))})

    def between(self, low_ms: int, high_ms: int) -> list[Post]:
        """Posts of a span, both ends included."""
        first = int(np.searchsorted(self.market.closes_ns, low_ms * 10**6))
        last = int(np.searchsorted(self.market.opens_ns, high_ms * 10**6, side="right"))
        return [p for at in range(first, last) for p in self.texts.posts(at) if low_ms <= p.time_ms <= high_ms]

    def _rules(self, request: Request) -> Response:
        if request.method == "GET":
            return reply({"data": list(self.rules.values()), "meta": {"result_count": len(self.rules)}})
        told = request.body if isinstance(request.body, dict) else {}
        made = []
        for rule in told.get("add", []):
            made.append({**rule, "id": str(1_400_000_000_000_000_000 + len(self.rules) + 1)})
            self.rules[made[-1]["id"]] = made[-1]
        for rule_id in told.get("delete", {}).get("ids", []):
            self.rules.pop(rule_id, None)
        summary = {"created": len(made), "not_created": 0, "valid": len(made), "invalid": 0}
        return reply({"data": made, "meta": {"summary": summary}}, 201)

    def _stream(self) -> Response:
        if not self.rules:
            return problem(409, "RuleConfigurationIssue", "rule-cap")
        if self.streams:
            told = {"title": "ConnectionException", "connection_issue": "TooManyConnections"}
            told |= {"detail": "This stream is currently at the maximum allowed connection limit."}
            return reply({**told, "type": f"{_PROBLEMS}/streaming-connection"}, 429)
        fault = self.faults.take("/stream", "die")
        return Response(lines=self._lines(fault is not None), cut=0 if fault else None)

    async def _lines(self, dies: bool) -> AsyncIterator[bytes]:
        self.streams += 1
        last, quiet, sent = self.clock.now_ns() // 10**6, 0.0, 0
        try:
            while True:
                if self.faults.take("/stream", "garbage"):
                    yield b'{"data": {"id": "1", "text": "half a \r\n'
                now = self.clock.now_ns() // 10**6
                wanted = {tag for rule in self.rules.values() for tag in _CASHTAG.findall(rule["value"])}
                for post in self.between(last + 1, now):
                    if not wanted or post.symbol in wanted:
                        line = json.dumps({"data": _post(post), "matching_rules": [{"id": "1", "tag": "sim"}]}).encode()
                        sent += 1
                        if dies and sent == 3:
                            yield line[: len(line) // 2]
                            return
                        yield line + b"\r\n"
                        quiet = 0.0
                last = now
                if quiet >= self.heartbeat_s and not self.faults.take("/stream", "silent"):
                    yield b"\r\n"
                    quiet = 0.0
                await asyncio.sleep(0.05)
                quiet += 0.05
        finally:
            self.streams -= 1


def problem(status: int, title: str, kind: str, headers: dict[str, str] | None = None, **more: str) -> Response:
    """A refusal in the vendor's form."""
    told = {"title": title, "detail": title, "type": f"{_PROBLEMS}/{kind}", "status": status, **more}
    return reply(told, status, headers)


def _post(post: Post) -> dict[str, Any]:
    at = post.text.find("$")
    told: dict[str, Any] = {
        "id": str(post.post_id),
        "text": post.text,
        "author_id": post.author_id,
        "created_at": iso(post.time_ms / 1000),
        "lang": "en",
        "edit_history_tweet_ids": [str(post.post_id)],
        "public_metrics": {"retweet_count": 0, "reply_count": 0, "like_count": 1, "quote_count": 0},
        "entities": {"cashtags": [{"start": at, "end": at + 1 + len(post.symbol), "tag": post.symbol}]},
    }
    if post.refers_to is not None:
        told["referenced_tweets"] = [{"type": "replied_to", "id": str(post.refers_to)}]
    return told


def _ms(text: str | None, default: int) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000) if text else default
