"""Rows of NewsAPI's articles. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from aiquant.schemas import NEWS
from aiquant.sources.addresses import article_id
from aiquant.sources.base import Batch
from aiquant.sources.linking import Linker
from aiquant.sources.payloads import AT, Field, Sorter

SOURCE = "newsapi"
REMOVED = "[Removed]"


def articles(
    objects: Sequence[Any], place: str, linker: Linker, language: str | None, received: datetime | None = None
) -> Batch:
    """Rows of articles; one that was taken down by its publisher ("[Removed]", 1970) is set aside.

    An article has no id (its address counts), no tickers (the linker finds them in title and description) and no
    language (the one that was asked for). The person who wrote it is not kept.
    """
    sorter = Sorter(NEWS, SOURCE, place, objects, clean=_without_author)
    must = Field("text", True)
    frame = sorter.typed({"title": must, "url": must, "publishedAt": must, "description": Field("text")})
    frame = sorter.refuse_where(frame, pl.col("title") == REMOVED, "taken down by its publisher")
    moment = pl.col("publishedAt").str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    frame = frame.with_columns(event_time=moment)
    known = pl.col("event_time").dt.year().is_between(1980, 2099).fill_null(False)
    frame = sorter.refuse_where(frame, ~known, "publishedAt is not a time")
    titles = [_plain(title) for title in frame["title"]]
    descriptions = [_plain(text) if text is not None else None for text in frame["description"]]
    symbols = [linker.joined(f"{t}\n{d or ''}") for t, d in zip(titles, descriptions, strict=True)]
    told: dict[str, list[str] | list[str | None]] = {
        "article_id": [article_id(SOURCE, url) for url in frame["url"]],
        "title": titles,
        "description": descriptions,
        "symbols": symbols,
        "publisher": [_publisher(objects[at]) for at in frame[AT]],
    }
    frame = frame.with_columns(*(pl.Series(name, list(values), dtype=pl.String) for name, values in told.items()))
    rows = frame.select(
        AT,
        "article_id",
        "event_time",
        "symbols",
        "title",
        "description",
        "url",
        "publisher",
        date=pl.col("event_time").dt.date(),
        known_from=pl.max_horizontal("event_time", pl.lit(received or datetime.now(UTC)).dt.cast_time_unit("us")),
        language=pl.lit(language, pl.String),
        source=pl.lit(SOURCE),
    )
    return sorter.batch(rows)


def published(item: Any) -> datetime | None:
    """When an article was published, to the second; None where that cannot be read."""
    told = item.get("publishedAt") if isinstance(item, dict) else None
    if not isinstance(told, str):
        return None
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC) if 1980 <= moment.year <= 2099 else None


def _plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


def _publisher(item: dict[str, Any]) -> str | None:
    told = item.get("source")
    name = told.get("name") if isinstance(told, dict) else None
    return name if isinstance(name, str) else None


def _without_author(item: Any) -> Any:
    return {k: v for k, v in item.items() if k != "author"} if isinstance(item, dict) else item
