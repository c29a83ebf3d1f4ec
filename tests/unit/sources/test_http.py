"""The shared HTTP layer: what is tried again, what is refused, and what never leaves the house."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from aiquant.sources import http
from aiquant.sources.http import Client, Reply, Service, VendorFault
from aiquant.sources.limits import Bucket

KEY = "sekret-42"


def service(**more: Any) -> Service:
    told: dict[str, Any] = {
        "name": "Vendor",
        "base_url": "https://vendor.example/v1",
        "headers": {"Authorization": f"Bearer {KEY}"},
        "secret": KEY,
        "variable": "AIQUANT_VENDOR__API_KEY",
        "bucket": Bucket(1000, 1.0),
        "first_pause_s": 0.001,
        **more,
    }
    return Service(**told)


def ask(answer: Callable[[httpx.Request], httpx.Response], address: str = "/things", **more: Any) -> Reply:
    async def run() -> Reply:
        async with Client(service(**more), httpx.MockTransport(answer)) as client:
            return await client.get(address, {"q": "x"} if not address.startswith("http") else None)

    return asyncio.run(run())


def test_the_key_travels_in_a_header_only() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"a": 1})

    assert ask(answer).data == {"a": 1}
    assert str(seen[0].url) == "https://vendor.example/v1/things?q=x"
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_key_in_a_page_token_is_taken_out() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json={})

    ask(answer, f"https://vendor.example/v1/next?cursor=a%2Bb&apiKey={KEY}")
    assert seen == ["https://vendor.example/v1/next?cursor=a%2Bb"]


@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere.example/v1",
        "http://vendor.example/v1",
        "https://vendor.example:444/v1",
        "https://a@b.example/",
    ],
)
def test_another_host_is_not_asked(address: str) -> None:
    with pytest.raises(VendorFault, match="another host") as caught:
        ask(lambda _: pytest.fail("it was asked"), address)
    assert caught.value.final


def test_what_a_vendor_echoes_is_cleaned(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(VendorFault) as caught:
        ask(lambda _: httpx.Response(401, json={"error": f"no such key:\n {KEY}"}))
    assert str(caught.value) == (
        "Vendor /v1/things answered 401: no such key: ***; check the key in AIQUANT_VENDOR__API_KEY: "
        "the vendor does not know it"
    )
    assert KEY not in caplog.text and KEY not in repr(service())


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    answers = [httpx.Response(status, text="<html>"), httpx.Response(status, text=""), httpx.Response(200, json=[1])]
    assert ask(lambda _: answers.pop(0)).data == [1]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 410, 422, 301, 302])
def test_what_does_not_pass_is_asked_once(status: int) -> None:
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(status, json={"message": "no"}, headers={"location": "https://elsewhere.example/"})

    with pytest.raises(VendorFault) as caught:
        ask(answer)
    assert len(asked) == 1 and caught.value.status == status and caught.value.remedy


@pytest.mark.parametrize(
    "error", [httpx.ReadTimeout("slow"), httpx.ConnectError("no"), httpx.RemoteProtocolError("cut")]
)
def test_a_broken_connection_is_tried_again(error: Exception) -> None:
    answers: list[Any] = [error, httpx.Response(200, json={})]

    def answer(_: httpx.Request) -> httpx.Response:
        told = answers.pop(0)
        if isinstance(told, Exception):
            raise told
        assert isinstance(told, httpx.Response)
        return told

    assert ask(answer).status == 200


def test_a_reply_is_bounded() -> None:
    with pytest.raises(VendorFault, match="larger than 1,000 bytes"):
        ask(lambda _: httpx.Response(200, content=b"[" + b"1," * 1000 + b"1]"), max_bytes=1000)


def test_a_compressed_reply_is_bounded_by_what_it_becomes() -> None:
    import gzip

    bomb = gzip.compress(b"[" + b"0," * 500_000 + b"0]")
    assert len(bomb) < 10_000
    with pytest.raises(VendorFault, match="larger than"):
        ask(lambda _: httpx.Response(200, content=bomb, headers={"content-encoding": "gzip"}), max_bytes=100_000)


def test_a_wait_that_is_too_long_is_no_wait() -> None:
    with pytest.raises(VendorFault, match="answered 429"):
        ask(lambda _: httpx.Response(429, json={}, headers={"retry-after": "86400"}))


def test_an_empty_counter_closes_the_bucket() -> None:
    bucket = Bucket(1000, 1.0, clock=lambda: 100.0)
    headers = {
        "x-rate-limit-remaining": "0",
        "date": "Mon, 02 Mar 2026 10:00:00 GMT",
        "x-rate-limit-reset": "1772445630",
    }
    ask(lambda _: httpx.Response(200, json={}, headers=headers), bucket=bucket)
    assert bucket.reserve() == pytest.approx(30.5)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Mon, 02 Mar 2026 10:01:00 GMT", "date": "Mon, 02 Mar 2026 10:00:00 GMT"}, 60.0),
        ({"retry-after": "Mon, 02 Mar 2026 09:00:00 GMT", "date": "Mon, 02 Mar 2026 10:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"x-rate-limit-reset": "never"}, None),
        ({}, None),
    ],
)
def test_waits_that_headers_ask_for(headers: dict[str, str], seconds: float | None) -> None:
    assert http.asked_wait(headers) == (pytest.approx(seconds) if seconds is not None else None)


def test_json_with_nan_and_half_surrogates_is_read() -> None:
    assert http.decode(b'["\\ud800", 1]') == ["\ud800", 1]
    assert str(http.decode(b'{"a": NaN}')["a"]) == "nan"
    for raw in (b"", b"{", b"[" * 100_000, b"\xff", b"1" * 9000):
        with pytest.raises(ValueError):
            http.decode(raw)
