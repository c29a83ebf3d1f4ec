"""The one way in which vendors are asked over HTTP.

What holds for all of them: the key travels in a header and stands in no URL, log or error; nothing is followed to
another host; a reply is bounded in size; only what may pass by itself is tried again (408, 429, 5xx, broken or slow
connections, cut-off bodies), with jittered back-off or as long as the vendor's headers say; a fault names vendor,
endpoint, status and remedy.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import httpx
import pydantic_core

from aiquant.errors import MissingError
from aiquant.sources.limits import Backoff, Bucket

MAX_BYTES = 64 * 2**20
"""The largest reply that is read, after decompression: a page of 50 000 trades is about 12 MiB."""

LONGEST_WAIT_S = 960.0
"""Longest pause that a vendor's header may ask for: a rate window of 15 minutes and a bit."""

_log = logging.getLogger(__name__)


class VendorFault(MissingError):
    """A vendor refused, or did not give what it should.

    Attributes
    ----------
    vendor, endpoint
        Who, and the path that was asked, without query and key.
    status
        HTTP status; None where there was no answer.
    final
        Asking again cannot help (key, plan, request, cap): a live feed ends too.
    """

    def __init__(
        self, vendor: str, endpoint: str, status: int | None, said: str, remedy: str, final: bool = False
    ) -> None:
        answered = f"answered {status}" if status is not None else "failed"
        super().__init__(f"{vendor} {endpoint} {answered}: {said}", remedy)
        self.vendor, self.endpoint, self.status, self.final = vendor, endpoint, status, final


@dataclass(frozen=True)
class Verdict:
    """What a reply that is no success means: what the vendor said, what to do, and whether it may pass by itself."""

    said: str
    remedy: str
    retry: bool = False
    wait_s: float | None = None


Judge = Callable[[int, Any, Mapping[str, str]], Verdict | None]
"""A vendor's own reading of a refusal (status, decoded body or None, headers); None: the common reading counts."""


@dataclass(frozen=True)
class Service:
    """A vendor as HTTP sees it.

    Attributes
    ----------
    name
        For people.
    base_url
        Requests go there and nowhere else.
    headers
        With the key in them.
    secret
        The key, so that it can be struck out of whatever a vendor echoes.
    variable
        Environment variable of the key, for remedies.
    """

    name: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    secret: str = field(repr=False)
    variable: str
    bucket: Bucket
    attempts: int = 5
    timeout_s: float = 30.0
    judge: Judge | None = None
    max_bytes: int = MAX_BYTES
    first_pause_s: float = 1.0


@dataclass(frozen=True)
class Reply:
    """A success: decoded body and headers."""

    status: int
    headers: Mapping[str, str]
    data: Any


class _Passing(Exception):
    """What may pass by itself."""

    def __init__(self, fault: VendorFault, wait_s: float | None = None) -> None:
        self.fault, self.wait_s = fault, wait_s


class Client:
    """Asks one vendor; used as ``async with Client(service) as client``."""

    def __init__(self, service: Service, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.service = service
        self._http = httpx.AsyncClient(
            headers={"User-Agent": "aiquant", "Accept": "application/json", **service.headers},
            timeout=httpx.Timeout(service.timeout_s),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, address: str, params: Mapping[str, Any] | None = None) -> Reply:
        """GET a path under the base URL, or an absolute address on the same host (a vendor's ``next_url``).

        Raises
        ------
        VendorFault
            When the vendor refuses, or did not answer well in all attempts.
        """
        return await self.send("GET", address, params=params)

    async def send(self, method: str, address: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Reply:
        """As :meth:`get`, with any method and a JSON body."""
        url, endpoint = self.locate(address)
        backoff = Backoff(self.service.first_pause_s, 60.0)
        for attempt in range(1, self.service.attempts + 1):
            await self.service.bucket.take()
            try:
                return await self._once(method, url, endpoint, params, body)
            except _Passing as passing:
                pause = backoff.next() if passing.wait_s is None else passing.wait_s
                if attempt == self.service.attempts or pause > LONGEST_WAIT_S:
                    raise passing.fault from None
                _log.info("%s; attempt %d follows in %.1f s", passing.fault.problem, attempt + 1, pause)
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def stream(self, address: str, params: Mapping[str, Any], quiet_s: float) -> AsyncIterator[httpx.Response]:
        """An endless reply; ``quiet_s`` without a byte end it with :class:`httpx.ReadTimeout`.

        Raises
        ------
        VendorFault
            When the vendor refuses; ``status`` and ``final`` say how to go on.
        """
        url, endpoint = self.locate(address)
        timeout = httpx.Timeout(self.service.timeout_s, read=quiet_s)
        async with self._http.stream("GET", url, params=params, timeout=timeout) as response:
            if response.status_code != 200:
                raw = await self._read(response, endpoint)
                refusal = self._refusal(response.status_code, _decoded_or_none(raw), response.headers, endpoint)
                raise refusal.fault if isinstance(refusal, _Passing) else refusal
            yield response

    def locate(self, address: str) -> tuple[str, str]:
        """URL (without a key in its query) and, for people, its path.

        Raises
        ------
        VendorFault
            When an address leads to another host than the one of the settings: the key would be sent there.
        """
        base = urlsplit(self.service.base_url)
        if not address.startswith(("http://", "https://")):
            path = f"{base.path.rstrip('/')}/{address.lstrip('/')}"
            return urlunsplit((base.scheme, base.netloc, path, "", "")), path
        there = urlsplit(address)
        if (there.scheme, there.netloc.lower()) != (base.scheme, base.netloc.lower()):
            raise VendorFault(
                self.service.name,
                there.path[:100],
                None,
                f"a page token leads to another host, {there.netloc[:100]!r}",
                "tell the vendor; if its host has changed, correct base_url in the settings",
                final=True,
            )
        pairs = [(k, v) for k, v in parse_qsl(there.query, keep_blank_values=True) if k.lower() not in _KEY_NAMES]
        return str(httpx.URL(urlunsplit(there._replace(query="", fragment="")), params=pairs)), there.path

    async def _once(self, method: str, url: str, endpoint: str, params: Mapping[str, Any] | None, body: Any) -> Reply:
        given: dict[str, Any] = {} if params is None else {"params": params}
        try:
            async with self._http.stream(method, url, json=body, **given) as response:
                raw = await self._read(response, endpoint)
        except httpx.TimeoutException:
            said = f"no answer within {self.service.timeout_s:g} s"
            raise _Passing(self.fault(endpoint, None, said, _NETWORK)) from None
        except httpx.HTTPError as error:
            raise _Passing(self.fault(endpoint, None, type(error).__name__, _NETWORK)) from None
        data = _decoded_or_none(raw)
        if not 200 <= response.status_code < 300:
            raise self._refusal(response.status_code, data, response.headers, endpoint)
        self._heed(response.headers)
        if data is None:
            said = f"the reply of {len(raw):,} bytes is no JSON, or was cut off"
            raise _Passing(
                self.fault(endpoint, response.status_code, said, "try again later; it is the vendor's fault")
            )
        return Reply(response.status_code, response.headers, data)

    async def _read(self, response: httpx.Response, endpoint: str) -> bytes:
        raw = bytearray()
        async for part in response.aiter_bytes():
            raw += part
            if len(raw) > self.service.max_bytes:
                raise self.fault(
                    endpoint,
                    response.status_code,
                    f"the reply is larger than {self.service.max_bytes:,} bytes",
                    "ask for a shorter span or a smaller page_size",
                    final=True,
                )
        return bytes(raw)

    def _refusal(self, status: int, data: Any, headers: Mapping[str, str], endpoint: str) -> VendorFault | _Passing:
        verdict = self.service.judge(status, data, headers) if self.service.judge else None
        if verdict is None:
            verdict = _common(status, said(data) or f"HTTP {status}", self.service.variable)
        fault = self.fault(endpoint, status, verdict.said, verdict.remedy, final=not verdict.retry)
        if not verdict.retry:
            return fault
        wait = verdict.wait_s if verdict.wait_s is not None else asked_wait(headers)
        if status == 429 and wait is not None:
            self.service.bucket.close_for(min(wait, LONGEST_WAIT_S))
        return _Passing(fault, wait)

    def _heed(self, headers: Mapping[str, str]) -> None:
        """The vendor's own counter is empty: wait before the next call instead of being refused."""
        if headers.get("x-rate-limit-remaining") == "0":
            wait = asked_wait(headers)
            if wait is not None:
                self.service.bucket.close_for(min(wait, LONGEST_WAIT_S))

    def fault(self, endpoint: str, status: int | None, text: str, remedy: str, final: bool = False) -> VendorFault:
        """A fault in which no key stands, whatever the vendor echoed."""
        return VendorFault(self.service.name, self.clean(endpoint), status, self.clean(text), remedy, final)

    def clean(self, text: str) -> str:
        """Text without the key, on one line, of bounded length."""
        struck = text.replace(self.service.secret, "***") if self.service.secret else text
        return " ".join(struck.split())[:300]


_KEY_NAMES = frozenset({"apikey", "api_key", "key", "token", "access_token", "bearer_token"})
_NETWORK = "check the network and base_url in the settings"


def _common(status: int, text: str, variable: str) -> Verdict:
    if status == 401:
        return Verdict(text, f"check the key in {variable}: the vendor does not know it")
    if status in (402, 403):
        return Verdict(text, "the plan of this key does not include it: ask for less, or change the plan")
    if status == 404:
        return Verdict(text, "check the symbol and the dates")
    if status == 429:
        return Verdict(text, "lower calls in the vendor's settings section, or raise the plan", retry=True)
    if status == 408 or status >= 500:
        return Verdict(text, "try again later; it is the vendor's fault", retry=True)
    if 300 <= status < 400:
        return Verdict("it sends us to another address", "correct base_url in the settings")
    return Verdict(text, "check the request: symbols, dates and search expression")


def said(data: Any) -> str:
    """What an error body says, in any of the forms that the vendors use."""
    if not isinstance(data, dict):
        return ""
    told = [data.get(name) for name in ("error", "message", "title", "detail")]
    for inner in data.get("errors") or [] if isinstance(data.get("errors"), list) else []:
        if isinstance(inner, dict):
            told.append(inner.get("message"))
    words = [text for text in told if isinstance(text, str) and text]
    return ": ".join(dict.fromkeys(words))


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` or ``x-rate-limit-reset`` ask for, None without either.

    The reset is an absolute time of the vendor's clock: its own ``Date`` header is the present, not our clock.
    """
    after = headers.get("retry-after")
    now = _stamp(headers.get("date")) or time.time()
    if after is not None:
        if after.strip().isdigit():
            return float(min(int(after.strip()[:9]), 10**9))
        moment = _stamp(after)
        if moment is not None:
            return max(0.0, moment - now)
    reset = headers.get("x-rate-limit-reset", "").strip()
    if reset.isdigit() and len(reset) < 12:
        return max(0.0, int(reset) - now) + 0.5
    return None


def _stamp(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _decoded_or_none(raw: bytes) -> Any:
    try:
        return decode(raw)
    except ValueError:
        return None


def decode(raw: bytes | str) -> Any:
    """JSON to Python values. NaN and infinities pass here: the row that holds one is refused, not the page.

    Raises
    ------
    ValueError
        When it is not JSON, is nested too deeply, or holds a number beyond reason.
    """
    try:
        return pydantic_core.from_json(raw, allow_inf_nan=True)
    except ValueError:
        try:  # half surrogates in one text must not cost the whole page
            return json.loads(raw)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
