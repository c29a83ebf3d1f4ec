"""Articles from files: times, symbols given or found, identity, what is set aside."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aiquant.errors import DataError
from aiquant.jobs import features, ingest, workspace
from aiquant.jobs.journal import Journal
from aiquant.settings import DataSettings
from aiquant.sources import linking
from aiquant.sources.articles import read_news
from aiquant.sources.base import Batch

JSONL = """\
{"title": "Apple shares rise", "published": "2024-03-01T15:30:00Z", "tickers": ["msft", "AAPL"], "url": "http://x/1"}

{"title": "A day without a clock", "published": "2024-03-01", "tickers": null, "url": "http://x/2", "source": "P"}
{"title": "No zone", "published": "2024-03-01T15:30:00", "url": "http://x/3"}
{"title": "", "published": "2024-03-01T16:00:00Z", "url": "http://x/4"}
{"title": "Later told", "published": "2024-03-01T16:00:00Z", "received": "2024-03-02T09:00+01:00", "url": "x/5"}
{"title": "Apple shares rise", "published": "2024-03-01T15:30:00Z", "tickers": ["MSFT", "AAPL"], "url": "https://x/1/"}
"""


def read(place: Path, text: str, name: str = "news.jsonl", **more: Any) -> Batch:
    (place / name).write_text(text)
    return read_news(place / name, DataSettings(), linking.load(), **more)


def test_lines_of_json(tmp_path: Path) -> None:
    batch = read(tmp_path, JSONL)
    rows = {row["title"]: row for row in batch.rows.to_pylist()}
    assert set(rows) == {"Apple shares rise", "A day without a clock", "Later told"} and batch.rows.num_rows == 3
    first = rows["Apple shares rise"]
    assert first["symbols"] == "AAPL,MSFT" and first["known_from"] == datetime(2024, 3, 1, 15, 30, tzinfo=UTC)
    day = rows["A day without a clock"]
    assert day["event_time"] == datetime(2024, 3, 2, 5, tzinfo=UTC), "known from the end of the day in New York"
    assert (day["symbols"], day["publisher"], day["date"]) == ("", "P", date(2024, 3, 2))
    later = rows["Later told"]
    assert later["event_time"].hour == 16 and later["known_from"] == datetime(2024, 3, 2, 8, tzinfo=UTC)
    reasons = {letter["place"]: letter["reason"] for letter in batch.letters.to_pylist()}
    assert reasons["news.jsonl:4"] == "the time cannot be read, or has no time zone"
    assert set(reasons) == {"news.jsonl:4", "news.jsonl:5"}
    assert len(set(batch.rows["article_id"].to_pylist())) == 3


def test_symbols_are_found_where_the_file_has_none_and_an_address_is_made(tmp_path: Path) -> None:
    text = "date,headline\n2024-03-01T15:30Z,Microsoft reports earnings\n2024-03-01T15:31Z,Rain\n"
    rows = read(tmp_path, text, "news.csv").rows.to_pylist()
    assert [row["symbols"] for row in rows] == ["MSFT", ""]
    assert all(row["url"].startswith("urn:sha256:") for row in rows) and rows[0]["url"] != rows[1]["url"]
    assert read(tmp_path, text, "again.csv").rows["article_id"].to_pylist() == [row["article_id"] for row in rows]


def test_parquet_with_lists(tmp_path: Path) -> None:
    moment = datetime(2024, 3, 1, 15, tzinfo=UTC)
    frame = pl.DataFrame({"published_utc": [moment], "title": ["T"], "tickers": [["B", "A"]], "link": ["http://x"]})
    frame.write_parquet(tmp_path / "news.parquet")
    (row,) = read_news(tmp_path / "news.parquet", DataSettings(), linking.load()).rows.to_pylist()
    assert (row["symbols"], row["event_time"]) == ("A,B", moment)


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="news.jsonl:2: not JSON"):
        read(tmp_path, '{"title": "a", "time": "2024-03-01T15:30Z"}\n{"title": \n')
    with pytest.raises(DataError, match="news.jsonl:1: not a JSON object"):
        read(tmp_path, "[1]\n")


def test_the_news_set_is_built_from_a_file(tmp_path: Path) -> None:
    home = workspace.create(tmp_path / "home")
    (home.root / "days.csv").write_text("date,symbol,close\n2024-02-29,AAPL,1\n2024-03-01,AAPL,2\n2024-03-04,AAPL,3\n")
    ingest.bars(home, Journal(), "files", home.root / "days.csv")
    told = workspace.Workspace(home.root, {"features.set": "news"})
    with pytest.raises(Exception, match="aiquant ingest news --path FILE"):
        features.build(told, Journal())
    (home.root / "news.jsonl").write_text(JSONL)
    done = ingest.news(home, Journal(), home.root / "news.jsonl")
    assert (done.inserted, done.dead_letters, done.symbols) == (3, 2, 2)
    assert ingest.news(home, Journal(), home.root / "news.jsonl").inserted == 0
    assert features.build(told, Journal()).rows == 3
