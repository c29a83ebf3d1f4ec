"""Posts: times, kinds, cashtags and counts, and no author in what comes out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from aiquant.sources.pseudonyms import Pseudonyms
from aiquant.sources.x import api, parse
from aiquant.sources.x.search import Mark

KEYED = Pseudonyms(SecretStr("k" * 32))
POST: dict[str, Any] = {"id": "611903070355843275", "text": "RT @jane: $TWTR up", "author_id": "9559960325"}
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def row(**more: Any) -> dict[str, Any]:
    rows: list[dict[str, Any]] = parse.posts([{**POST, **more}], "p", KEYED, NOW).rows.to_pylist()
    return rows[0]


def test_a_post() -> None:
    told = row(created_at="2015-06-19T14:27:15.000Z", lang="en", public_metrics={"like_count": 3, "retweet_count": -1})
    assert told["event_time"] == datetime(2015, 6, 19, 14, 27, 15, tzinfo=UTC) and told["known_from"] == NOW
    assert told["author"] == KEYED.author("9559960325") and told["text"] == f"RT @{KEYED.name('jane')}: $TWTR up"
    assert (told["symbols"], told["kind"], told["likes"], told["retweets"]) == ("TWTR", "post", 3.0, None)


def test_an_id_tells_its_time() -> None:
    """611903070355843275 >> 22 = 145889060582, plus the epoch of the ids 1288834974657."""
    assert row()["event_time"] == datetime.fromtimestamp((145889060582 + 1288834974657) / 1000, UTC)
    assert abs((row()["event_time"] - datetime(2015, 6, 19, 14, 27, 15, tzinfo=UTC)).total_seconds()) < 1


@pytest.mark.parametrize(
    ("others", "kind", "refers_to"),
    [
        ([{"type": "retweeted", "id": "5"}], "retweet", "5"),
        ([{"type": "replied_to", "id": "5"}, {"type": "quoted", "id": "6"}], "quote", "6"),
        ([{"type": "replied_to", "id": "5"}], "reply", "5"),
        ([{"type": "replied_to", "id": "@jane"}], "post", None),
        ("nonsense", "post", None),
    ],
)
def test_kinds(others: Any, kind: str, refers_to: str | None) -> None:
    told = row(referenced_tweets=others)
    assert (told["kind"], told["refers_to"]) == (kind, refers_to)


def test_cashtags_of_entities_and_text_and_long_texts() -> None:
    entities = {"cashtags": [{"tag": "aapl"}, {"tag": "BRK.B"}, {"tag": 3}, "x"]}
    assert row(entities=entities, note_tweet={"text": "long $MSFT &amp; co"})["symbols"] == "AAPL,BRK-B,MSFT"
    assert row(note_tweet={"text": "long $MSFT &amp; co"})["text"] == "long $MSFT & co"


def test_letters_keep_no_author() -> None:
    bad = [
        {**POST, "id": "x", "username": "jane", "entities": {"mentions": [{"username": "jane"}]}},
        {**POST, "author_id": None, "text": "by @jane"},
        {**POST, "created_at": "soon", "includes": {"users": [{"username": "jane"}]}},
        ["jane"],
    ]
    letters = parse.posts(bad, "p", KEYED, NOW).letters.to_pylist()
    assert len(letters) == 4
    assert "jane" not in str(letters) and "9559960325" not in str(letters)


def test_three_kinds_of_429() -> None:
    window = api.judge(429, {"title": "Too Many Requests"}, {})
    cap = api.judge(429, {"title": "UsageCapExceeded", "period": "Monthly"}, {})
    other = api.judge(429, {"connection_issue": "TooManyConnections"}, {})
    assert window and window.retry and cap and not cap.retry and other and not other.retry
    assert "cap" in cap.remedy and "another stream" in other.remedy
    assert api.judge(500, {}, {}) is None


@pytest.mark.parametrize("text", [None, "", "[]", "{", '["1", 2, null]', '["1"]'])
def test_a_mark_that_is_none_is_the_beginning(text: str | None) -> None:
    assert Mark.read(text) == Mark()
    assert Mark.read(Mark("1", "2", "t").cursor()) == Mark("1", "2", "t")
