"""A small HTTP/1.1 server on loopback, good enough to be a vendor: keep-alive, bodies, endless streams."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

LARGEST_BODY = 2**20


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None


@dataclass
class Response:
    """What it gets: a body, or lines without end; ``cut`` sends only so many bytes and closes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    lines: AsyncIterator[bytes] | None = None
    cut: int | None = None


Handler = Callable[[Request], Awaitable[Response]]


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON reply."""
    return Response(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})


async def serve(handler: Handler, port: int) -> asyncio.Server:
    """Listen on loopback; port 0 takes a free one."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)
        with contextlib.suppress(*ended, asyncio.CancelledError):
            while await _exchange(handler, reader, writer):
                pass
        with contextlib.suppress(ConnectionError):
            writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", port)


async def _exchange(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request and its reply; whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in rest if line)}
    length = min(int(headers.get("content-length", "0")), LARGEST_BODY)
    raw = await reader.readexactly(length) if length else b""
    there = urlsplit(target)
    query = dict(parse_qsl(there.query, keep_blank_values=True))
    request = Request(method, there.path, query, headers, json.loads(raw) if raw else None)
    response = await handler(request)
    told = {"Date": email.utils.formatdate(time.time(), usegmt=True), **response.headers}
    if response.lines is not None:
        return await _endless(response, told, reader, writer)
    told["Content-Length"] = str(len(response.body))
    writer.write(_head(response.status, told))
    writer.write(response.body if response.cut is None else response.body[: response.cut])
    await writer.drain()
    if response.cut is not None:
        writer.transport.abort()
    return response.cut is None


async def _endless(
    response: Response, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    writer.write(_head(response.status, {**headers, "Transfer-Encoding": "chunked"}))
    assert response.lines is not None

    async def pump(lines: AsyncIterator[bytes]) -> None:
        async for line in lines:
            writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            await writer.drain()

    tasks = {asyncio.ensure_future(pump(response.lines)), asyncio.ensure_future(reader.read(1))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)  # read ends when the client goes
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        close = getattr(response.lines, "aclose", None)
        if close is not None:
            await close()
    if response.cut is None:
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    writer.transport.abort()
    return False


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
