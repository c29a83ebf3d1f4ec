"""Random payloads: parsed or set aside, never a crash, nothing lost, no author left.

Set ``AIQUANT_LONG=1`` for the long form of 10,000 payloads a vendor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from aiquant.sources import linking
from aiquant.sources.base import Batch
from aiquant.sources.contract import check_batches, check_keys, table_of
from aiquant.sources.http import decode
from aiquant.sources.newsapi import parse as newsapi
from aiquant.sources.polygon import parse as polygon
from aiquant.sources.polygon import universe
from aiquant.sources.pseudonyms import Pseudonyms
from aiquant.sources.x import parse as x

EXAMPLES = 10_000 if os.environ.get("AIQUANT_LONG") or os.environ.get("LONG") else 150
NOW = datetime(2026, 3, 2, tzinfo=UTC)
AUTHOR = "4815162342108"
HANDLE = "Some_Handle_23"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=12),
    st.sampled_from(
        ["\ud800", "AAPL", "BRK.B", "KIMpL", "2024-02-30", "2024-03-01", "9999-12-31T23:59:59Z", "0.5", "x\x00"]
    ),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
price = st.one_of(st.floats(0.01, 1000), scalars)
ms = st.one_of(st.integers(1_400_000_000_000, 1_800_000_000_000), scalars)
ns = st.one_of(st.integers(1_400_000_000 * 10**9, 1_800_000_000 * 10**9), scalars)
text = st.one_of(st.text(max_size=20), scalars)
day = st.one_of(st.dates().map(str), scalars)
moment = st.one_of(st.datetimes().map(lambda d: d.isoformat() + "Z"), scalars)


def objects(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Any:
    """Lists of objects that look like the real ones, some values wild, some missing, some items no objects at all."""
    whole = st.fixed_dictionaries(required, optional=optional or {})
    fewer = st.fixed_dictionaries({}, optional={**required, **(optional or {})})
    return st.lists(st.one_of(whole, whole, fewer, anything), max_size=5)


PRICES = {name: price for name in ("o", "h", "l", "c", "v")}
PSEUDONYMS = Pseudonyms(SecretStr("k" * 32))
posts = objects(
    {
        "id": st.one_of(st.integers(0, 2**63).map(str), scalars),
        "text": st.one_of(st.just(f"hi @{HANDLE} $AAPL"), scalars),
        "author_id": st.one_of(st.just(AUTHOR), scalars),
    },
    {
        "created_at": moment,
        "lang": text,
        "entities": anything,
        "public_metrics": anything,
        "referenced_tweets": anything,
        "note_tweet": st.one_of(anything, st.just({"text": f"from x.com/{HANDLE}/status/1"})),
        "username": st.just(HANDLE),
    },
)
CASES: dict[str, tuple[Any, Callable[[list[Any]], Batch]]] = {
    "day bars": (
        objects({"t": ms, **PRICES}, {"vw": price, "n": scalars}),
        lambda o: polygon.bars(o, "p", "1d", False, "AAPL", NOW),
    ),
    "minute bars": (
        objects({"t": ms, **PRICES}, {"vw": price, "n": scalars}),
        lambda o: polygon.bars(o, "p", "5m", True, "AAPL", NOW),
    ),
    "grouped bars": (objects({"t": ms, "T": text, **PRICES}), lambda o: polygon.bars(o, "p", "1d", True, None, NOW)),
    "trades": (
        objects(
            {"sip_timestamp": ns, "price": price, "size": price, "exchange": st.integers(1, 20) | scalars, "id": text},
            {
                "trf_id": scalars,
                "sequence_number": scalars,
                "conditions": anything,
                "decimal_size": text,
                "correction": scalars,
            },
        ),
        lambda o: polygon.trades(o, "p", "AAPL", NOW),
    ),
    "stream trades": (
        objects(
            {"ev": st.just("T"), "sym": text, "t": ms, "p": price, "s": price, "x": scalars, "i": text},
            {"c": anything, "q": scalars},
        ),
        lambda o: polygon.stream_trades(o, "p", NOW),
    ),
    "stream bars": (
        objects({"sym": text, "s": ms, "e": ms, **PRICES}, {"dv": text, "vw": price}),
        lambda o: polygon.stream_bars(o, "p"),
    ),
    "splits": (
        objects({"ticker": text, "execution_date": day, "split_from": price, "split_to": price}),
        lambda o: polygon.splits(o, "p"),
    ),
    "dividends": (
        objects(
            {"ticker": text, "ex_dividend_date": day, "cash_amount": price}, {"declaration_date": day, "currency": text}
        ),
        lambda o: polygon.dividends(o, "p"),
    ),
    "polygon news": (
        objects(
            {"title": text, "published_utc": moment, "article_url": text},
            {"tickers": anything, "publisher": anything, "description": text},
        ),
        lambda o: polygon.news(o, "p", NOW),
    ),
    "universe": (
        objects({"ticker": text}, {"list_date": day, "delisted_utc": moment}),
        lambda o: universe.members(o[:2], datetime(2020, 1, 2).date(), "p", o[2:4], o[4:]),
    ),
    "articles": (
        objects({"title": text, "url": text, "publishedAt": moment}, {"description": text, "source": anything}),
        lambda o: newsapi.articles(o, "p", linking.load(), "en", NOW),
    ),
    "posts": (posts, lambda o: x.posts(o, "p", PSEUDONYMS, NOW)),
}


@pytest.mark.parametrize("name", CASES)
def test_random_payloads_are_parsed_or_set_aside(name: str) -> None:
    strategy, parse = CASES[name]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def run(items: list[Any]) -> None:
        batch = parse(items)
        check_batches([batch], (HANDLE, AUTHOR) if name == "posts" else ())
        check_keys([batch], table_of(batch.table))
        batch.letters.to_pylist()
        if name not in ("dividends", "universe"):  # sums of one day are one row; versions and strangers are no rows
            told = batch.rows.num_rows + batch.letters.num_rows + batch.duplicates + batch.left_out
            assert told == len(items), "a row vanished"

    run()


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=60) | anything.map(lambda v: json.dumps(v).encode()[:-1]) | st.just(b"[" * 5000))
def test_random_bytes_are_decoded_or_refused(raw: bytes) -> None:
    try:
        decode(raw)
    except ValueError:
        pass


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(), st.text(alphabet="abcXYZ_019", min_size=1, max_size=15), st.text())
def test_no_handle_stays_in_a_text(before: str, handle: str, after: str) -> None:
    clean = PSEUDONYMS.text(f"{before} @{handle}!{after}")
    assert f"@{handle}!" not in clean
    assert PSEUDONYMS.text(clean) == clean


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=80))
def test_linking_never_fails_and_names_symbols(told: str) -> None:
    for symbol in linking.load().symbols(told):
        assert symbol == symbol.upper() and "," not in symbol
