"""Live feeds: a connection that is lost leaves no hole, a refusal ends the feed, nothing waits for a slow reader."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from aiquant.settings import SimulatorSettings, from_values
from aiquant.sources import base, limits
from aiquant.sources.base import Batch, Query
from aiquant.sources.checkpoints import Checkpoint, Position
from aiquant.sources.contract import check_batches
from aiquant.sources.http import VendorFault
from aiquant.sources.polygon import stream
from aiquant.sources.simulator.faults import Fault
from aiquant.sources.simulator.server import Simulator

SECRETS = ("simulated-key", "simulated key of the pseudonyms", "sim_trader_")


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    plain = limits.Backoff.next
    monkeypatch.setattr(limits.Backoff, "next", lambda self: plain(self) / 10)
    with Simulator(SimulatorSettings(port=0, symbols=4, speed=60), heartbeat_s=0.3) as running:
        yield running


def settings(simulator: Simulator, **sections: dict[str, Any]) -> Any:
    told = simulator.settings()
    told["polygon"] |= {"overlap_s": 5.0, "quiet_s": 4.0, "timeout_s": 5.0}
    told["x"] |= {"heartbeat_s": 1.0, "timeout_s": 5.0, "mode": "stream", "rules": [all_symbols(simulator)]}
    for name, more in sections.items():
        told[name] |= more
    return from_values(told)


def all_symbols(simulator: Simulator) -> str:
    return " OR ".join(f"${company.symbol}" for company in simulator.market.companies)


def listen(
    feed: Iterator[Batch], stop: threading.Event, until: Callable[[list[Batch]], bool], seconds: float = 20.0
) -> list[Batch]:
    """Batches until a condition holds; the test fails when it never does."""
    got: list[Batch] = []
    deadline = time.monotonic() + seconds
    for batch in feed:
        got.append(batch)
        if not stop.is_set() and until(got):
            stop.set()
        if time.monotonic() > deadline:
            stop.set()
            raise AssertionError(f"it did not come to that: {[n for b in got for n in b.notes]}")
    return got


def notes(batches: list[Batch]) -> str:
    return "\n".join(note for b in batches for note in b.notes)


def trade_keys(batches: list[Batch]) -> set[tuple[str, int]]:
    return {(row["symbol"], row["sequence"]) for b in batches if b.table == "ticks" for row in b.rows.to_pylist()}


def expected(simulator: Simulator, symbols: tuple[str, ...], from_ns: int, before_ns: int) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for symbol in symbols:
        at, trades = simulator.market.trades(symbol, from_ns, before_ns)
        found |= {(symbol, 1000 + 3 * int(n)) for n in trades.number}
    return found


@pytest.mark.parametrize("dropped", ["die", "overflow"])
def test_no_hole_behind_a_lost_connection_or_dropped_frames(
    simulator: Simulator, dropped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = tuple(c.symbol for c in simulator.market.companies if c.delisted is None and c.listed == 0)[:2]
    vendor = base.vendor("polygon", settings(simulator))
    if dropped == "die":
        simulator.faults.add(Fault("die", path="/ws", after=12), Fault("die", path="/ws", after=60))
    else:
        monkeypatch.setattr(stream, "MOST_FRAMES", 2)
        monkeypatch.setattr(stream, "_PAUSE", 0.4)
    stop = threading.Event()
    fillings = 2 if dropped == "die" else 3

    def filled(got: list[Batch]) -> bool:
        moments = [ns for b in got for ns in b.rows["event_ns"].to_pylist()] or [0]
        return notes(got).count("trades over REST") >= fillings and max(moments) - min(moments) > 90 * 10**9

    got = listen(vendor.live("ticks", Query(symbols), stop), stop, filled)
    check_batches(got, SECRETS)
    rows = [row for b in got for row in b.rows.to_pylist()]
    live = [row["event_ns"] for row in rows]
    begin, end = min(live) + 10**9, max(live) - 20 * 10**9
    missing = expected(simulator, symbols, begin, end) - trade_keys(got)
    assert end > begin + 30 * 10**9
    assert not missing
    if dropped == "die":
        assert simulator.socket.connections >= 3 and "connecting again" in notes(got)


def test_a_restart_fills_the_time_in_which_nobody_listened(simulator: Simulator) -> None:
    symbols = (simulator.market.companies[0].symbol,)
    vendor = base.vendor("polygon", settings(simulator))
    query = Query(symbols, checkpoint=Checkpoint())
    stop, got = threading.Event(), []
    for batch in vendor.live("ticks", query, stop):
        got.append(batch)
        query.checkpoint.advance(batch.position)
        if query.checkpoint.cursor(stream.WALK):
            stop.set()
    stood = int(query.checkpoint.cursor(stream.WALK) or 0)
    time.sleep(1.5)  # a minute and a half of the market
    stop = threading.Event()
    got += listen(vendor.live("ticks", query, stop), stop, lambda b: "trades over REST" in notes(b) and len(b) > 5)
    end = max(row["event_ns"] for b in got for row in b.rows.to_pylist()) - 20 * 10**9
    assert end > stood + 60 * 10**9
    assert not expected(simulator, symbols, stood, end) - trade_keys(got)


def test_no_position_is_told_while_a_gap_is_open(simulator: Simulator) -> None:
    symbols = (simulator.market.companies[0].symbol,)
    vendor = base.vendor("polygon", settings(simulator, polygon={"attempts": 1}))
    simulator.faults.add(Fault("403", times=-1, path="/v3/trades"))
    query = Query(symbols, checkpoint=Checkpoint())
    stood = simulator.clock.now_ns() - 600 * 10**9
    query.checkpoint.advance(Position(stream.WALK, str(stood)))
    stop = threading.Event()
    got = listen(
        vendor.live("ticks", query, stop), stop, lambda b: "is still open" in notes(b) and len(trade_keys(b)) > 50
    )
    assert not any(batch.position for batch in got)


@pytest.mark.parametrize(
    ("fault", "said", "more"),
    [
        (Fault("max-connections", path="/ws"), "run one feed for each key", {}),
        (Fault("403", path="/ws"), "the plan of this key does not include it", {}),
        (None, "check the key in AIQUANT_POLYGON__API_KEY", {"api_key": "wrong"}),
    ],
)
def test_a_refusal_ends_the_feed(simulator: Simulator, fault: Fault | None, said: str, more: dict[str, Any]) -> None:
    if fault is not None:
        simulator.faults.add(fault)
    symbol = simulator.market.companies[0].symbol
    with pytest.raises(VendorFault, match=said):
        list(
            base.vendor("polygon", settings(simulator, polygon=more)).live("ticks", Query((symbol,)), threading.Event())
        )
    assert simulator.socket.connections == 1


def test_bad_events_are_set_aside_and_unknown_ones_skipped(simulator: Simulator) -> None:
    simulator.faults.add(*(Fault(kind, path="/ws") for kind in ("garbage", "types", "nan")))
    stop = threading.Event()
    symbol = simulator.market.companies[0].symbol
    feed = base.vendor("polygon", settings(simulator)).live("ticks", Query((symbol,)), stop)
    got = listen(feed, stop, lambda b: sum(x.letters.num_rows for x in b) >= 4 and len(trade_keys(b)) > 20)
    reasons = sorted(letter["reason"] for b in got for letter in b.letters.to_pylist())
    assert reasons == ["a frame is no JSON", "not a JSON object", "p is not a number", "p is not finite"]


def test_trades_and_minute_bars_share_the_one_connection(simulator: Simulator) -> None:
    symbol = simulator.market.companies[0].symbol
    vendor = base.vendor("polygon", settings(simulator, polygon={"minute_bars": True}))
    stop = threading.Event()
    got = listen(
        vendor.live("ticks", Query((symbol,)), stop),
        stop,
        lambda b: {x.table for x in b if x.rows.num_rows} == {"ticks", "bars"},
    )
    check_batches(got, SECRETS)
    assert simulator.socket.connections == 1
    bar = next(row for b in got if b.table == "bars" for row in b.rows.to_pylist())
    at = simulator.clock._at
    minutes = simulator.market.minutes(symbol, at)
    start = int(bar["event_time"].timestamp()) * 10**9 - 60 * 10**9
    k = list(minutes.start_ns).index(start)
    assert (bar["open"], bar["close"], bar["volume"]) == (minutes.open[k], minutes.close[k], minutes.volume[k])


@pytest.mark.slow
def test_x_stream_dies_and_the_search_fills_its_gap(simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    simulator.clock.speed = 3000.0
    simulator.faults.add(Fault("die", path="/stream"), Fault("garbage", path="/stream", after=30))
    vendor = base.vendor("x", settings(simulator))
    stop = threading.Event()

    def twice(got: list[Batch]) -> bool:
        return "connecting again" in notes(got) and sum(x.rows.num_rows for x in got) > 40

    vendor._now = simulator.clock.now
    got = listen(vendor.live("tweets", Query(), stop), stop, twice)
    check_batches(got, SECRETS)
    ids = sorted(int(row["post_id"]) for b in got for row in b.rows.to_pylist())
    posts = simulator.x.between(0, simulator.clock.now_ns() // 10**6) if ids else []
    inside = {p.post_id for p in posts if ids[0] <= p.post_id <= ids[-1]}
    assert inside == set(ids)
    told = caplog.text + str([(b.rows.to_pylist(), b.letters.to_pylist(), b.notes) for b in got])
    for post in posts[-200:]:
        assert post.username not in told and post.author_id not in told
    assert "simulated-key" not in caplog.text


def test_x_second_stream_does_not_fight(simulator: Simulator) -> None:
    simulator.x.streams = 1
    simulator.x.rules["1"] = {"id": "1", "value": all_symbols(simulator)}
    with pytest.raises(VendorFault, match="another stream with this token is alive") as caught:
        list(base.vendor("x", settings(simulator)).live("tweets", Query(), threading.Event()))
    assert caught.value.final


def test_x_stream_without_heartbeat_is_left(simulator: Simulator) -> None:
    simulator.clock.speed = 1e-6  # nothing is posted
    simulator.faults.add(Fault("silent", times=-1, path="/stream"))
    vendor = base.vendor("x", settings(simulator))
    stop = threading.Event()
    got = listen(vendor.live("tweets", Query(), stop), stop, lambda b: "ReadTimeout" in notes(b))
    assert "connecting again" in notes(got)


def test_x_polling_asks_for_each_post_once(simulator: Simulator) -> None:
    vendor = base.vendor("x", settings(simulator, x={"mode": "search", "poll_s": 0.2}))
    vendor._now = simulator.clock.now
    simulator.clock.speed = 600.0
    stop = threading.Event()
    query = Query(tuple(c.symbol for c in simulator.market.companies))
    got = listen(vendor.live("tweets", query, stop), stop, lambda b: len(b) > 8)
    ids = [row["post_id"] for b in got for row in b.rows.to_pylist()]
    assert ids and len(set(ids)) == len(ids)
    searches = [q for _, path, q in simulator.requests if path.endswith("/search/recent")]
    assert "since_id" not in searches[0] and "since_id" in searches[-1]


def test_news_polling_gives_each_article_once(simulator: Simulator) -> None:
    vendor = base.vendor("newsapi", settings(simulator, newsapi={"poll_s": 0.1, "page_size": 10}))
    vendor._now = simulator.clock.now
    start = int(simulator.market.opens_ns[-60])  # weeks ago: the market goes on while the test listens
    simulator.clock.set(datetime.fromtimestamp(start / 1e9, UTC))
    simulator.clock.speed = 3000.0
    stop = threading.Event()
    enough = lambda got: len(got) > 12 and sum(b.rows.num_rows for b in got) > 5  # noqa: E731
    got = listen(vendor.live("news", Query(text="shares"), stop), stop, enough)
    ids = [row["article_id"] for b in got for row in b.rows.to_pylist()]
    assert len(set(ids)) == len(ids)
    linked = {row["symbols"] for b in got for row in b.rows.to_pylist()}
    assert linked <= {company.symbol for company in simulator.market.companies}


def test_a_slow_reader_does_not_stop_the_feed(simulator: Simulator) -> None:
    symbol = simulator.market.companies[0].symbol
    vendor = base.vendor("polygon", settings(simulator))
    stop = threading.Event()
    feed = vendor.live("ticks", Query((symbol,)), stop)
    next(feed)
    time.sleep(1.5)
    stop.set()
    assert sum(b.rows.num_rows for b in feed) > 10
