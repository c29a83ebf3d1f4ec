"""Massive over REST: the addresses of each table, and pages that go on where they stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx

from aiquant.settings import PolygonSettings
from aiquant.sources.http import Client, Service, Verdict, said
from aiquant.settings.keys import required
from aiquant.sources.limits import Bucket
from aiquant.sources.polygon.parse import ZONE, span_of
from aiquant.sources.polygon.tickers import to_ticker

NAME = "Massive (formerly Polygon)"
VARIABLE = "AIQUANT_POLYGON__API_KEY"
_MOST_PAGES = 100_000


@dataclass(frozen=True)
class Page:
    """Some objects, and the cursor of the page behind them (None: this was the last)."""

    place: str
    objects: list[Any]
    body: dict[str, Any]
    following: str | None


def service(settings: PolygonSettings) -> Service:
    """How the vendor is asked.

    Raises
    ------
    SettingsError
        When the key is missing.
    """
    key = required(settings.api_key, "polygon.api_key")
    return Service(
        name=NAME,
        base_url=settings.base_url,
        headers={"Authorization": f"Bearer {key}"},
        secret=key,
        variable=VARIABLE,
        bucket=Bucket(settings.calls, settings.period_s),
        attempts=settings.attempts,
        timeout_s=settings.timeout_s,
        judge=_judge,
    )


def _judge(status: int, data: Any, headers: Mapping[str, str]) -> Verdict | None:
    if status in (413, 499):
        return Verdict(said(data) or f"HTTP {status}", "ask for a shorter span or a smaller page_size", retry=True)
    if status == 429 and "retry-after" not in headers:  # the plan counts by the minute and sends no header
        text = said(data) or "too many requests"
        return Verdict(text, "set polygon.calls and polygon.period_s to what the plan allows", retry=True)
    return None


async def pages(client: Client, path: str, params: Mapping[str, Any], cursor: str | None) -> AsyncIterator[Page]:
    """Pages of a list, from the first one or from a cursor.

    A cursor is path and query of the vendor's ``next_url``, without host and without key.

    Raises
    ------
    VendorFault
        When the vendor refuses, its reply is no page, or its page token repeats.
    """
    seen: set[str] = set()
    base = urlsplit(client.service.base_url)
    for number in range(1, _MOST_PAGES):
        if cursor is None:
            reply = await client.get(path, params)
        else:
            reply = await client.get(f"{base.scheme}://{base.netloc}{cursor}")
        body = reply.data
        if not isinstance(body, dict):
            raise client.fault(path, reply.status, "the reply is no object with results", _THEIRS)
        objects = body.get("results", [])
        if objects is None:
            objects = []
        if not isinstance(objects, list):
            raise client.fault(path, reply.status, "results is no list", _THEIRS)
        following = _cursor_of(client, path, body.get("next_url"))
        if following is not None and (following in seen or following == cursor):
            raise client.fault(path, reply.status, "its page token repeats", _THEIRS)
        seen.add(following or "")
        yield Page(f"{path} page {number}" if cursor is None else f"{path} at a page token", objects, body, following)
        if following is None:
            return
        cursor = following
    raise client.fault(path, None, f"more than {_MOST_PAGES:,} pages", "ask for a shorter span")


def _cursor_of(client: Client, path: str, address: object) -> str | None:
    if address is None:
        return None
    if not isinstance(address, str) or not address:
        raise client.fault(path, None, "next_url is no address", _THEIRS)
    try:
        url, _ = client.locate(address)
    except (httpx.InvalidURL, ValueError):
        raise client.fault(path, None, "next_url is no address", _THEIRS) from None
    there = urlsplit(url)
    return f"{there.path}?{there.query}" if there.query else there.path


_THEIRS = "run it again: it goes on behind the last page that was stored; if it happens again, tell the vendor"


def aggregates(
    symbol: str, interval: str, first: str, last: str, settings: PolygonSettings
) -> tuple[str, dict[str, Any]]:
    """Address of a symbol's bars; ``first`` and ``last`` are dates or milliseconds."""
    count, name, _ = span_of(interval)
    path = f"/v2/aggs/ticker/{to_ticker(symbol)}/range/{count}/{name}/{first}/{last}"
    return path, {"adjusted": str(settings.adjusted).lower(), "sort": "asc", "limit": settings.page_size}


def trades(symbol: str, from_ns: int, before_ns: int | None, settings: PolygonSettings) -> tuple[str, dict[str, Any]]:
    """Address of a symbol's trades from a moment on, before another one."""
    params: dict[str, Any] = {"timestamp.gte": from_ns, "order": "asc", "sort": "timestamp"}
    if before_ns is not None:
        params["timestamp.lt"] = before_ns
    return f"/v3/trades/{to_ticker(symbol)}", {**params, "limit": settings.page_size}


def reference(
    kind: str, day_name: str, symbol: str | None, first: date | None, last: date | None
) -> tuple[str, dict[str, Any]]:
    """Address of splits or dividends of a symbol, or of all."""
    told = {"ticker": to_ticker(symbol) if symbol else None, f"{day_name}.gte": first, f"{day_name}.lte": last}
    params = {name: str(value) for name, value in told.items() if value is not None}
    return f"/v3/reference/{kind}", {**params, "order": "asc", "sort": day_name, "limit": 1000}


def midnight_ns(day: date) -> int:
    """Midnight of the exchange at the begin of a day, nanoseconds since 1970."""
    return int(datetime.combine(day, time(), ZoneInfo(ZONE)).timestamp()) * 10**9


def day_after(day: date) -> date:
    """The next calendar day."""
    return day + timedelta(days=1)
