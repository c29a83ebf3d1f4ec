"""Rows of posts. Pure; no author, name or handle is in what comes out, letters and notes included."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from aiquant.schemas import TWEETS
from aiquant.sources.base import Batch
from aiquant.sources.payloads import AT, Field, Sorter
from aiquant.sources.pseudonyms import Pseudonyms

SOURCE = "x"
FIELDS = "author_id,created_at,entities,lang,note_tweet,public_metrics,referenced_tweets"
"""Fields that are asked for. Users are not (an expansion costs a paid read each, and we keep no names)."""

_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,6}(?:[._][A-Za-z]{1,2})?)(?!\w)")
_SYMBOL = re.compile(r"[A-Z]{1,6}(?:[-][A-Z]{1,2})?")
_ID = r"^[0-9]{1,19}$"
_EPOCH_MS = 1_288_834_974_657  # of the ids ("snowflakes"): their upper bits are milliseconds since then
_KINDS = (("retweeted", "retweet"), ("quoted", "quote"), ("replied_to", "reply"))
_METRICS = {"likes": "like_count", "retweets": "retweet_count", "replies": "reply_count", "quotes": "quote_count"}
_KEPT = frozenset(
    {"id", "text", "created_at", "lang", "public_metrics", "referenced_tweets", "note_tweet", "edit_history_tweet_ids"}
)


def posts(objects: Sequence[Any], place: str, pseudonyms: Pseudonyms, received: datetime | None = None) -> Batch:
    """Rows of posts.

    A post without author is set aside (it could not be erased on request). Counts are those of the moment of reading:
    they belong to ``known_from``, never to the time of posting. A post without ``created_at`` has the time of its id.
    """
    sorter = Sorter(TWEETS, SOURCE, place, objects, clean=lambda item: scrubbed(item, pseudonyms))
    must = Field("text", True)
    frame = sorter.typed(
        {"id": must, "text": must, "author_id": must, "created_at": Field("text"), "lang": Field("text")}
    )
    frame = sorter.refuse_where(frame, ~pl.col("id").str.contains(_ID), "id is no number of at most 19 digits")
    moment = pl.col("created_at").str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    by_id = pl.from_epoch((pl.col("id").cast(pl.Int64, strict=False) // 2**22) + _EPOCH_MS, time_unit="ms")
    by_id = by_id.dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    frame = frame.with_columns(event_time=pl.when(pl.col("created_at").is_null()).then(by_id).otherwise(moment))
    known = pl.col("event_time").dt.year().is_between(2006, 2099).fill_null(False)
    frame = sorter.refuse_where(frame, ~known, "created_at is not a time")
    items = [objects[at] for at in frame[AT]]
    texts = [_text(item, told) for item, told in zip(items, frame["text"], strict=True)]
    kinds = [_kind(item) for item in items]
    told: dict[str, list[str | None]] = {
        "symbols": [_symbols(item, text) for item, text in zip(items, texts, strict=True)],
        "author": [pseudonyms.author(author) for author in frame["author_id"]],
        "text": [pseudonyms.text(text) for text in texts],
        "kind": [kind for kind, _ in kinds],
        "refers_to": [other for _, other in kinds],
    }
    metrics = {name: [_metric(item, theirs) for item in items] for name, theirs in _METRICS.items()}
    frame = frame.with_columns(
        *(pl.Series(name, values, dtype=pl.String) for name, values in told.items()),
        *(pl.Series(name, counts, dtype=pl.Float64) for name, counts in metrics.items()),
    )
    rows = frame.select(
        AT,
        *told,
        *metrics,
        "event_time",
        post_id=pl.col("id"),
        date=pl.col("event_time").dt.date(),
        known_from=pl.max_horizontal("event_time", pl.lit(received or datetime.now(UTC)).dt.cast_time_unit("us")),
        language=pl.col("lang"),
        source=pl.lit(SOURCE),
    )
    return sorter.batch(rows)


def scrubbed(item: Any, pseudonyms: Pseudonyms) -> Any:
    """A post fit for a dead letter: only fields that we know, author and names under pseudonyms."""
    if not isinstance(item, dict):
        return {"not a post": type(item).__name__}
    kept = {name: _scrub(value, pseudonyms) for name, value in item.items() if name in _KEPT}
    author = item.get("author_id")
    if isinstance(author, str | int) and not isinstance(author, bool):
        kept["author"] = pseudonyms.author(str(author))
    return kept


def _scrub(value: Any, pseudonyms: Pseudonyms) -> Any:
    if isinstance(value, str):
        return pseudonyms.text(value)
    if isinstance(value, dict):
        return {pseudonyms.text(str(k)): _scrub(v, pseudonyms) for k, v in value.items() if "user" not in str(k)}
    if isinstance(value, list):
        return [_scrub(v, pseudonyms) for v in value]
    return value


def newest(objects: Sequence[Any]) -> int | None:
    """The highest id among posts, None without one."""
    ids = [item.get("id") for item in objects if isinstance(item, dict)]
    return max((int(i) for i in ids if isinstance(i, str) and re.fullmatch(_ID, i)), default=None)


def moment_of(post_id: int) -> datetime:
    """When a post was made, by its id."""
    return datetime.fromtimestamp(((post_id >> 22) + _EPOCH_MS) / 1000, UTC)


def _text(item: dict[str, Any], short: str) -> str:
    note = item.get("note_tweet")
    long = note.get("text") if isinstance(note, dict) else None
    text = long if isinstance(long, str) and long else short
    return html.unescape(text).encode("utf-8", "replace").decode()


def _symbols(item: dict[str, Any], text: str) -> str:
    entities = item.get("entities")
    tags = entities.get("cashtags") if isinstance(entities, dict) else None
    found = {t.get("tag") for t in tags if isinstance(t, dict)} if isinstance(tags, list) else set()
    found |= set(_CASHTAG.findall(text))
    plain = {re.sub("[._]", "-", tag.upper()) for tag in found if isinstance(tag, str)}
    return ",".join(sorted(symbol for symbol in plain if _SYMBOL.fullmatch(symbol)))


def _kind(item: dict[str, Any]) -> tuple[str, str | None]:
    told = item.get("referenced_tweets")
    by_type: dict[str, str] = {}
    for other in told if isinstance(told, list) else []:
        if isinstance(other, dict) and isinstance(other.get("type"), str) and isinstance(other.get("id"), str):
            by_type.setdefault(other["type"], other["id"])
    for theirs, ours in _KINDS:
        if theirs in by_type and re.fullmatch(_ID, by_type[theirs]):
            return ours, by_type[theirs]
    return "post", None


def _metric(item: dict[str, Any], name: str) -> float | None:
    metrics = item.get("public_metrics")
    count = metrics.get(name) if isinstance(metrics, dict) else None
    return float(count) if type(count) is int and 0 <= count < 2**53 else None
