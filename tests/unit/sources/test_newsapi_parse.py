"""Articles: addresses, times, what was taken down."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aiquant.sources import linking
from aiquant.sources.addresses import article_id, normalised
from aiquant.sources.newsapi import parse

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("HTTP://WWW.News.Example:80/a/?utm_source=x&b=2&a=1#top", "https://news.example/a?a=1&b=2"),
        ("https://news.example/a?fbclid=1", "https://news.example/a"),
        ("https://news.example:8080/A/", "https://news.example:8080/A"),
        ("https://news.example/", "https://news.example"),
        ("mailto:x", "mailto:x"),
        ("https://[broken", "https://[broken"),
        ("", ""),
    ],
)
def test_addresses(url: str, plain: str) -> None:
    assert normalised(url) == plain and normalised(normalised(url)) == plain
    assert article_id("a", url) == article_id("a", plain) != article_id("b", plain)


def test_an_article() -> None:
    told = {
        "source": {"id": None, "name": "Small Blog"},
        "author": "A. Writer",
        "title": "AT&amp;T  and\nBoeing rise",
        "description": None,
        "url": "https://news.example/1?utm_medium=x",
        "publishedAt": "2026-02-27T22:14:00.5Z",
    }
    batch = parse.articles([told, told, {**told, "url": "https://news.example/1"}], "p", linking.load(), "en", NOW)
    row = batch.rows.to_pylist()[0]
    assert batch.rows.num_rows == 1 and batch.duplicates + batch.letters.num_rows == 2
    assert (row["title"], row["symbols"], row["publisher"]) == ("AT&T and Boeing rise", "BA,T", "Small Blog")
    assert (row["known_from"], row["language"]) == (NOW, "en")
    assert row["event_time"] == datetime(2026, 2, 27, 22, 14, 0, 500_000, tzinfo=UTC)
    assert "Writer" not in str(batch.rows.to_pylist()) + str(batch.letters.to_pylist())


def test_a_clock_ahead_of_ours_never_makes_news_known_before_it_is_published() -> None:
    told = {"title": "t", "url": "https://news.example/1", "publishedAt": "2026-03-02T01:00:00Z"}
    row = parse.articles([told], "p", linking.load(), None, NOW).rows.to_pylist()[0]
    assert row["known_from"] == row["event_time"] > NOW


def test_what_was_taken_down_is_set_aside() -> None:
    told = {"title": "[Removed]", "url": "https://removed.com", "publishedAt": "1970-01-01T00:00:00Z"}
    batch = parse.articles([told, {"title": "t", "url": "u", "publishedAt": "soon"}], "p", linking.load(), None, NOW)
    assert batch.letters["reason"].to_pylist() == ["taken down by its publisher", "publishedAt is not a time"]
