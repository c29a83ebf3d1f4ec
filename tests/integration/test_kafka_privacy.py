"""After live data went all the way, no key and no author's name stands in the topics, the lake, or any file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer as Reader
from confluent_kafka import KafkaException, TopicPartition

from aiquant.jobs import consume, produce, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.simulate import environment
from aiquant.jobs.workspace import Workspace
from aiquant.settings import SimulatorSettings
from aiquant.sources.simulator.server import Simulator
from aiquant.streams import topics

SECRETS = (b"simulated-key", b"simulated key of the", b"sim_trader_")
TABLES = ("ticks", "tweets", "dead_letters")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(port=0, symbols=6, trades_a_minute=30, speed=240)) as running:
        yield running


@pytest.fixture
def space(kafka: Any, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name, value in environment(simulator).items():
        monkeypatch.setenv(name, value)
    name = f"privacy-{os.getpid()}"
    told = {"stream.brokers": kafka.address, "stream.group": name, "stream.partitions": "2", "x.mode": "search"}
    told |= {f"stream.topics.{t}": f"{name}-{t}" for t in (*TABLES, "bars", "news")}
    made = Workspace(workspace.create(tmp_path / "w").root, told)
    topics.init(made.settings.stream)
    return made


def messages(space: Workspace, table: str) -> list[bytes]:
    """Keys, values and headers of all messages of a topic."""
    stream = space.settings.stream
    topic = topics.names(stream)[table]
    reader = Reader({"bootstrap.servers": stream.brokers, "group.id": "looks", "log_level": 0})
    try:
        places = [TopicPartition(topic, p, 0) for p in range(stream.partitions)]
        ends = sum(reader.get_watermark_offsets(place, timeout=10)[1] for place in places)
        reader.assign(places)
        found: list[bytes] = []
        while len(found) < ends:
            told = reader.consume(1000, timeout=10)
            assert told, f"{len(found)} of {ends} messages of {topic} came"
            found += [(m.key() or b"") + b" " + (m.value() or b"") + str(m.headers()).encode() for m in told]
    finally:
        reader.close()
    return found


def _enough(space: Workspace, table: str) -> bool:
    try:
        return len(messages(space, table)) >= 5
    except KafkaException:  # the topic was made a moment ago and has no leader yet
        return False


def test_no_key_and_no_author_is_written_anywhere(
    space: Workspace, simulator: Simulator, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    symbols = tuple(c.symbol for c in simulator.market.companies if c.delisted is None and c.listed == 0)[:4]
    stop = threading.Event()
    running = [
        threading.Thread(
            target=produce.produce, args=(space, Journal(), table), kwargs={"symbols": symbols, "stop": stop}
        )
        for table in ("ticks", "tweets")
    ]
    for thread in running:
        thread.start()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not all(_enough(space, table) for table in ("ticks", "tweets")):
        time.sleep(0.5)
    stop.set()
    for thread in running:
        thread.join(60)
    sent = {table: messages(space, table) for table in TABLES}
    assert len(sent["ticks"]) >= 5 and len(sent["tweets"]) >= 5
    done = consume.consume(space, Journal(), TABLES, drain=True)
    assert done.rows >= len(sent["ticks"]) + len(sent["tweets"]) - done.duplicates
    handles = [post.author_id.encode() for post in simulator.x.between(0, simulator.clock.now_ns() // 10**6)]
    told = capfd.readouterr()
    places = {
        **{f"topic {table}": b"\n".join(found) for table, found in sent.items()},
        **{str(path): path.read_bytes() for path in space.root.rglob("*") if path.is_file()},
        **{f"table {t}": str(space.lake.read(t, missing_ok=True).to_pylist()).encode() for t in TABLES},
        "log": (caplog.text + told.out + told.err).encode(),
    }
    for place, content in places.items():
        assert not [secret for secret in SECRETS if secret in content], place
        if place.startswith(("topic tweets", "table tweets")):
            assert not any(b'"' + handle + b'"' in content for handle in handles), place
