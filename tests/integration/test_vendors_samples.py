"""Every recorded payload, served as the vendor serves it: parsed or refused as its note says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from aiquant.settings import SimulatorSettings, from_values
from aiquant.sources import base
from aiquant.sources.base import Batch, Query
from aiquant.sources.http import VendorFault
from aiquant.sources.polygon import parse as polygon
from aiquant.sources.pseudonyms import Pseudonyms
from aiquant.sources.simulator.server import Simulator
from aiquant.sources.x import parse as x


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(port=0, symbols=2)) as running:
        yield running


@pytest.fixture
def samples(shared_data: Path) -> Path:
    return shared_data / "api_samples"


def ask(simulator: Simulator, name: str, table: str, query: Query, **more: Any) -> list[Batch]:
    told = simulator.settings()
    told[name] |= {"attempts": 1, **more}
    return list(base.vendor(name, from_values(told)).history(table, query))


def served(simulator: Simulator, path: str, *files: Path) -> None:
    for file in files:
        told = json.loads(file.read_text("utf-8"))
        text = json.dumps(told["body"]).replace("https://api.massive.com", simulator.origin)
        body = told["body"] if isinstance(told["body"], str) else json.loads(text)
        simulator.serve(path, told["http"]["status"], body, told["http"]["headers"])


POLYGON = {
    "aggs_day_page1 aggs_day_page2_last": ("bars", "1d", 50, 0),
    "aggs_empty": ("bars", "1d", 0, 0),
    "aggs_minute_edge": ("bars", "1m", 39, 0),
    "aggs_duplicate_and_unsorted": ("bars", "1m", 5, 0),
    "trades_page1 trades_page2_last": ("ticks", "1d", 24, 0),
    "splits": ("corporate_actions", "1d", 2, 0),
    "dividends": ("corporate_actions", "1d", 2, 0),
}


@pytest.mark.parametrize("names", POLYGON)
def test_polygon_lists(simulator: Simulator, samples: Path, names: str) -> None:
    table, interval, rows, letters = POLYGON[names]
    files = [samples / "massive_rest" / f"{name}.json" for name in names.split()]
    counted = sum(len(json.loads(f.read_text())["body"].get("results", [])) for f in files)
    empty = {"results": [], "status": "OK"}
    if names == "splits":
        simulator.serve("/dividends", 200, empty)
    if names == "dividends":
        simulator.serve("/splits", 200, empty)
    served(simulator, {"splits": "/splits", "dividends": "/dividends"}.get(names, "AAPL"), *files)
    query = Query(("AAPL",), date(2014, 1, 2), date(2020, 1, 2), interval=interval)
    batches = ask(simulator, "polygon", table, query)
    got = sum(b.rows.num_rows for b in batches)
    set_aside = sum(b.letters.num_rows for b in batches)
    assert (got, set_aside) == (rows, letters)
    assert got + set_aside + sum(b.duplicates for b in batches) == counted


def test_polygon_news_has_more_pages(simulator: Simulator, samples: Path) -> None:
    served(simulator, "/v2/reference/news", samples / "massive_rest" / "news.json")
    simulator.serve("/v2/reference/news", 200, {"results": [], "status": "OK"})
    rows = [r for b in ask(simulator, "polygon", "news", Query()) for r in b.rows.to_pylist()]
    assert [(r["symbols"], r["event_time"]) for r in rows] == [
        ("AAPL,SPY", datetime(2019, 2, 11, 14, 31, tzinfo=UTC)),
        ("", datetime(2019, 2, 11, 21, 5, 10, tzinfo=UTC)),
    ]


def test_polygon_grouped_daily(samples: Path) -> None:
    body = json.loads((samples / "massive_rest" / "grouped_daily.json").read_text())["body"]
    rows = polygon.bars(body["results"], "grouped", "1d", True).rows.to_pylist()
    assert [(r["symbol"], r["date"], r["volume"]) for r in rows] == [
        ("AAPL", date(2015, 1, 2), 56196458.0),
        ("KIM-PL", date(2015, 1, 2), 4369.0),
        ("BRK-B", date(2015, 1, 2), 3213.5),
    ]
    assert {r["event_time"] for r in rows} == {datetime(2015, 1, 2, 21, tzinfo=UTC)}


def test_a_bare_list_is_no_page(simulator: Simulator, samples: Path) -> None:
    served(simulator, "AAPL", samples / "massive_rest" / "marketstatus_upcoming.json")
    with pytest.raises(VendorFault, match="the reply is no object with results"):
        ask(simulator, "polygon", "bars", Query(("AAPL",), date(2020, 1, 2)))


ERRORS = [
    ("polygon", "error_400_bad_param", 400, "Could not parse the time parameter", "check the request"),
    ("polygon", "error_401_unknown_key", 401, "Unknown API Key", "AIQUANT_POLYGON__API_KEY"),
    ("polygon", "error_403_not_entitled", 403, "You are not entitled", "plan"),
    ("polygon", "error_404", 404, "Data not found", "check the symbol"),
    ("polygon", "error_429", 429, "exceeded the maximum requests per minute", "polygon.calls"),
    ("polygon", "error_502_html", 502, "HTTP 502", "try again later"),
    ("newsapi", "error_400_parameterInvalid", 400, "too far in the past", "one month"),
    ("newsapi", "error_400_parametersMissing", 400, "parameters are missing", "newsapi.query"),
    ("newsapi", "error_400_sourceDoesNotExist", 400, "does not exist", "publisher"),
    ("newsapi", "error_400_sourcesTooMany", 400, "too many sources", "at most 20"),
    ("newsapi", "error_401_apiKeyDisabled", 401, "has been disabled", "ask the vendor"),
    ("newsapi", "error_401_apiKeyInvalid", 401, "invalid or incorrect", "AIQUANT_NEWSAPI__API_KEY"),
    ("newsapi", "error_401_apiKeyMissing", 401, "is missing", "AIQUANT_NEWSAPI__API_KEY"),
    ("newsapi", "error_429_apiKeyExhausted", 429, "no more requests available", "change the plan"),
    ("newsapi", "error_429_rateLimited", 429, "too many requests recently", "plan"),
    ("newsapi", "error_500_unexpectedError", 500, "our fault", "try again later"),
    ("x", "error_400_invalid_request", 400, "not between 10 and 100", "check the request"),
    ("x", "error_401", 401, "Unauthorized", "AIQUANT_X__BEARER_TOKEN"),
    ("x", "error_403_client_not_enrolled", 403, "Client Forbidden", "plan"),
    ("x", "error_409_stream_no_rules", 409, "You must define rules", "x.rules"),
    ("x", "error_429_legacy_shape", 429, "Rate limit exceeded", "x.calls"),
    ("x", "error_429_rate_limit", 429, "Too Many Requests", "x.calls"),
    ("x", "error_429_too_many_connections", 429, "maximum allowed connection", "another stream"),
    ("x", "error_429_usage_capped", 429, "Usage cap exceeded", "the cap of the monthly is reached"),
    ("x", "error_503", 503, "Service Unavailable", "try again later"),
]
FOLDERS = {"polygon": "massive_rest", "newsapi": "newsapi", "x": "x"}
ASKED = {
    "polygon": ("bars", Query(("AAPL",), date(2020, 1, 2)), "AAPL"),
    "newsapi": ("news", Query(text="apple"), "/everything"),
    "x": ("tweets", Query(text="$AAPL"), "/search/recent"),
}


@pytest.mark.parametrize(("vendor", "name", "status", "said", "remedy"), ERRORS)
def test_a_refusal_names_vendor_endpoint_status_and_remedy(
    simulator: Simulator, samples: Path, vendor: str, name: str, status: int, said: str, remedy: str
) -> None:
    table, query, path = ASKED[vendor]
    served(simulator, path, samples / FOLDERS[vendor] / f"{name}.json")
    with pytest.raises(VendorFault) as caught:
        ask(simulator, vendor, table, query)
    fault = caught.value
    assert fault.status == status and said in fault.problem and remedy in fault.remedy
    assert path in fault.endpoint and "simulated-key" not in str(fault) and "?" not in fault.endpoint


def test_newsapi_pages(simulator: Simulator, samples: Path) -> None:
    folder = samples / "newsapi"
    served(simulator, "/everything", folder / "everything_page1.json", folder / "everything_page2_last.json")
    batches = ask(simulator, "newsapi", "news", Query(text="x"), page_size=5)
    rows = [r for b in batches for r in b.rows.to_pylist()]
    assert len({r["article_id"] for r in rows}) == len(rows)
    letters = [letter for b in batches for letter in b.letters.to_pylist()]
    assert [letter["reason"] for letter in letters] == ["taken down by its publisher"]
    assert len(rows) + len(letters) + sum(b.duplicates for b in batches) == 9
    assert not any("&amp;" in r["title"] for r in rows)
    assert "A. Writer" not in str(rows) + str(letters)
    served(simulator, "/everything", folder / "everything_empty.json")
    assert sum(b.rows.num_rows for b in ask(simulator, "newsapi", "news", Query(text="x"))) == 0


def test_newsapi_free_plan_ends_quietly(simulator: Simulator, samples: Path) -> None:
    folder = samples / "newsapi"
    served(simulator, "/everything", folder / "everything_page1.json", folder / "error_426_maximumResultsReached.json")
    batches = ask(simulator, "newsapi", "news", Query(text="x"), page_size=5)
    assert sum(b.rows.num_rows for b in batches) == 4


def test_x_pages_and_partial_errors(simulator: Simulator, samples: Path) -> None:
    folder = samples / "x"
    served(simulator, "/search/recent", folder / "recent_search_page1.json", folder / "recent_search_page2_last.json")
    batches = ask(simulator, "x", "tweets", Query(text="$AAPL"))
    bodies = [json.loads((folder / f"recent_search_page{n}.json").read_text())["body"] for n in ("1", "2_last")]
    assert sum(b.rows.num_rows for b in batches) == sum(len(body["data"]) for body in bodies)
    told = str([b.rows.to_pylist() for b in batches])
    for user in bodies[0].get("includes", {}).get("users", []):
        assert user["id"] not in told and user["username"] not in told
    served(simulator, "/search/recent", folder / "recent_search_empty.json")
    assert sum(b.rows.num_rows for b in ask(simulator, "x", "tweets", Query(text="$AAPL"))) == 0
    served(simulator, "/search/recent", folder / "recent_search_partial_errors.json")
    partial = ask(simulator, "x", "tweets", Query(text="$AAPL"))
    assert any("X withheld 1 item" in note for b in partial for note in b.notes)
    assert sum(b.rows.num_rows for b in partial) > 0


def test_x_stream_lines(simulator: Simulator, samples: Path) -> None:
    """Rules that are there, one that is added, and the recorded lines: a disconnect ends them."""
    folder = samples / "x"
    for name in ("stream_rules_get", "stream_rules_add"):
        served(simulator, "/stream/rules", folder / f"{name}.json")
    simulator.serve("/search/stream", 200, (folder / "filtered_stream.txt").read_bytes())
    told = simulator.settings()
    told["x"] |= {"mode": "stream", "rules": ["$MSFT lang:en"], "attempts": 1}
    stop, rows, letters, notes = threading.Event(), [], [], []
    for batch in base.vendor("x", from_values(told)).live("tweets", Query(), stop):
        rows += batch.rows.to_pylist()
        letters += batch.letters.to_pylist()
        notes += batch.notes
        if any("operational-disconnect" in note for note in notes):
            stop.set()
    assert len({r["post_id"] for r in rows}) == 4
    assert [letter["reason"] for letter in letters] == ["author_id is missing"]
    assert "9559960325" not in str(rows) + str(letters) + str(notes)


@pytest.mark.parametrize("name", ["stream_rules_add_duplicate", "stream_rules_delete"])
def test_x_rules_that_are_there_do_no_harm(simulator: Simulator, samples: Path, name: str) -> None:
    there = {"data": [{"id": "7", "value": "$OLD", "tag": "aiquant-1"}], "meta": {}}
    rules = ["$MSFT lang:en"]
    simulator.serve("/stream/rules", 200, there)
    if name == "stream_rules_delete":
        served(simulator, "/stream/rules", samples / "x" / f"{name}.json")
        served(simulator, "/stream/rules", samples / "x" / "stream_rules_add.json")
    else:
        served(simulator, "/stream/rules", samples / "x" / "stream_rules_delete.json", samples / "x" / f"{name}.json")
    simulator.serve("/search/stream", 200, b'{"errors": [{"title": "operational-disconnect"}]}\r\n')
    told = simulator.settings()
    told["x"] |= {"mode": "stream", "rules": rules}
    stop = threading.Event()
    for batch in base.vendor("x", from_values(told)).live("tweets", Query(), stop):
        if any("operational-disconnect" in note for note in batch.notes):
            stop.set()
    asked = [(method, path) for method, path, _ in simulator.requests if path.endswith("/rules")][-3:]
    assert [method for method, _ in asked] == ["GET", "POST", "POST"]


def frames(samples: Path, name: str) -> list[dict[str, Any]]:
    lines = (samples / "massive_ws" / f"{name}.ndjson").read_text().splitlines()
    return [json.loads(line) for line in lines if line]


def test_stream_events(samples: Path) -> None:
    events = [e for f in frames(samples, "session_ok") if f["dir"] == "in" for e in f["frame"]]
    trades = polygon.stream_trades([e for e in events if e["ev"] == "T"], "s").rows.to_pylist()
    assert len(trades) == 7
    off_exchange, fraction = trades[4], trades[5]
    assert (off_exchange["exchange"], off_exchange["event_ns"]) == ("4/202", 1549895400548 * 10**6)
    assert (fraction["size"], fraction["conditions"]) == (0.42, "14,41")
    bars = polygon.stream_bars([e for e in events if e["ev"] == "AM"], "s").rows.to_pylist()
    assert [b["event_time"] for b in bars] == [
        datetime(2019, 2, 11, 14, 31, tzinfo=UTC),
        datetime(2019, 2, 11, 14, 32, tzinfo=UTC),
    ]
    assert (bars[0]["volume"], bars[0]["vwap"], bars[0]["date"]) == (619925.0, 170.96, date(2019, 2, 11))


def test_nothing_of_an_author_is_left(samples: Path) -> None:
    pseudonyms = Pseudonyms(from_values({"x": {"pseudonym_key": "k" * 32}}).x.pseudonym_key)
    body = json.loads((samples / "x" / "recent_search_page1.json").read_text())["body"]
    broken = [{**post, "created_at": 5} for post in body["data"]]
    letters = x.posts(broken, "p", pseudonyms).letters
    assert letters.num_rows == len(broken)
    for post in body["data"]:
        assert post["author_id"] not in str(letters.to_pylist())
