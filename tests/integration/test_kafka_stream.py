"""Producers, consumers and the lake on a real Kafka."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from confluent_kafka import Consumer as Reader
from confluent_kafka import Producer as Writer
from confluent_kafka import TopicPartition

from aiquant import schemas
from aiquant.errors import AiquantError, DataError, MissingError, Unreachable
from aiquant.jobs import consume, replay, tick_bars, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace
from aiquant.settings import StreamSettings, from_values
from aiquant.streams import topics
from aiquant.streams.producer import Producer

OPEN = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)


def ticks(first: int, last: int, **more: Any) -> pa.Table:
    rows = []
    for n in range(first, last):
        moment = OPEN + timedelta(milliseconds=10 * n)
        row = {
            "symbol": f"S{n % 9}",
            "date": date(2024, 3, 4),
            "event_time": moment,
            "event_ns": int(moment.timestamp() * 1e6) * 1000,
            "price": 10 + n % 50,
            "size": 1.0,
            "exchange": "4",
            "trade_id": str(n),
            "ingest_time": moment,
            "source": "test",
        }
        rows.append({**row, **more})
    return pa.Table.from_pylist(rows, schema=schemas.TICKS.schema)


@pytest.fixture
def space(kafka: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Workspace:
    """A workspace with topics and a group of its own."""
    name = f"t{abs(hash(request.node.nodeid)) % 10**8}-{os.getpid()}"
    told = {
        "stream.brokers": kafka.address,
        "stream.group": name,
        "stream.batch_seconds": "0.5",
        "stream.session_seconds": "2",
        "stream.partitions": "3",
        **{
            f"stream.topics.{table}": f"{name}-{table}" for table in ("ticks", "bars", "news", "tweets", "dead_letters")
        },
    }
    made = Workspace(workspace.create(tmp_path / "w").root, told)
    topics.init(made.settings.stream)
    return made


def send(space: Workspace, rows: pa.Table, table: str = "ticks") -> None:
    producer = Producer(space.settings.stream)
    producer.send(table, rows)
    producer.close()


def drain(space: Workspace, *tables: str) -> consume.Consumed:
    return consume.consume(space, Journal(), tables or ("ticks",), drain=True)


def count(stream: StreamSettings, topic: str) -> int:
    """Messages of a topic."""
    reader = Reader({"bootstrap.servers": stream.brokers, "group.id": "count", "log_level": 0})
    try:
        ends = [reader.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in range(stream.partitions)]
    finally:
        reader.close()
    return sum(high - low for low, high in ends)


def ids(space: Workspace) -> list[int]:
    return sorted(int(text) for text in space.lake.read("ticks", history=True)["trade_id"].to_pylist())


def test_topics_are_made_once(space: Workspace) -> None:
    again = topics.init(space.settings.stream)
    assert [(t.table, t.partitions, t.made) for t in again] == [
        (table, 3, False) for table in ("ticks", "bars", "news", "tweets", "dead_letters")
    ]


def test_from_a_producer_to_the_lake_and_once_more(space: Workspace) -> None:
    send(space, ticks(0, 500))
    done = drain(space)
    assert (done.messages, done.rows, done.duplicates, done.letters) == (500, 500, 0, 0)
    assert ids(space) == list(range(500))
    stored = space.lake.read("ticks")
    told = ticks(0, 500).select([n for n in stored.column_names if not n.startswith("log_")])
    assert stored.select(told.column_names).equals(_by_key(told))
    partitions = stored.group_by("symbol").aggregate([("log_partition", "count_distinct")])
    assert set(partitions["log_partition_count_distinct"].to_pylist()) == {1}, "a symbol stays in its partition"
    send(space, ticks(400, 600))  # a producer that died sends its last rows again
    done = drain(space)
    assert (done.messages, done.rows, done.duplicates) == (200, 100, 100)
    assert ids(space) == list(range(600))
    assert drain(space).messages == 0


def _by_key(rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in schemas.TICKS.key])


def test_poison_goes_to_the_dead_letters_of_lake_and_topic(space: Workspace) -> None:
    stream = space.settings.stream
    poison = [b"", b"\xff\xfe", b"[1]", b'{"v":9}', b"{" * 5000]
    writer = Writer({"bootstrap.servers": stream.brokers})
    for number, value in enumerate(poison):
        writer.produce(stream.topics.ticks, key=f"k{number}", value=value)
    writer.flush()
    send(space, ticks(0, 50))
    done = drain(space)
    assert (done.messages, done.rows, done.letters) == (55, 50, 5)
    letters = space.lake.read("dead_letters").to_pylist()
    assert {letter["reason"].split(":")[0] for letter in letters} == {
        "the message is empty",
        "the message is not UTF-8",
        "the message is not a JSON object",
        "the version of the message is not 1",
        "the message is not JSON",
    }
    for letter in letters:
        topic, partition, offset = letter["place"].split("/")
        assert topic == stream.topics.ticks and int(partition) < 3 and int(offset) >= 0
    assert count(stream, stream.topics.dead_letters) == 5
    again = drain(space, "dead_letters")  # the copies name the same letters
    assert (again.messages, again.rows, again.duplicates) == (5, 0, 5)
    assert space.lake.read("dead_letters", history=True).num_rows == 5


def test_real_minute_bars_and_posts_are_counted_at_both_ends(
    space: Workspace, shared_data: Path, tmp_path: Path
) -> None:
    minutes = pl.read_parquet(shared_data / "minute_us_2019w07.parquet").filter(pl.col("interval") == "1min")
    bars = minutes.select(
        "symbol",
        pl.lit("1m").alias("interval"),
        pl.col("end_utc").dt.convert_time_zone("America/New_York").dt.strftime("%Y-%m-%d").alias("period"),
        pl.col("end_utc").dt.convert_time_zone("America/New_York").dt.date().alias("date"),
        pl.col("end_utc").alias("event_time"),
        pl.col("end_utc").alias("known_from"),
        *("open", "high", "low", "close"),
        pl.col("volume").cast(pl.Float64),
        pl.lit("none").alias("adjustment"),
        pl.lit("shared").alias("source"),
    )
    told = pl.read_parquet(shared_data / "tweets.parquet").unique("tweet_id", keep="first", maintain_order=True)
    posts = told.select(
        pl.col("tweet_id").cast(pl.String).alias("post_id"),
        pl.col("created_at").dt.date().alias("date"),
        pl.col("created_at").dt.cast_time_unit("us").alias("event_time"),
        pl.col("created_at").dt.cast_time_unit("us").alias("known_from"),
        pl.lit("AAPL").alias("symbols"),
        pl.col("author_id").cast(pl.String).alias("author"),
        pl.col("text"),
        pl.lit("post").alias("kind"),
        pl.lit("shared").alias("source"),
    )
    stream = space.settings.stream
    for table, rows in (("bars", bars), ("tweets", posts)):
        rows.write_parquet(tmp_path / f"{table}.parquet")
        sent = replay.replay(space, Journal(), table, tmp_path / f"{table}.parquet", speed=None)
        assert sent.rows == len(rows) == count(stream, getattr(stream.topics, table))
    done = drain(space, "bars", "tweets")
    assert (done.messages, done.rows, done.letters) == (len(bars) + len(posts), len(bars) + len(posts), 0)
    stored = pl.DataFrame(pl.from_arrow(space.lake.read("bars"))).select(bars.columns)
    assert stored.equals(bars.sort("symbol", "interval", "event_time").cast(dict(stored.schema)))
    texts = pl.DataFrame(pl.from_arrow(space.lake.read("tweets", ["post_id", "text"])))
    assert texts.equals(posts.select("post_id", "text").sort("post_id"))


def test_bars_of_the_stream_are_corrected_by_late_ticks(space: Workspace) -> None:
    send(space, ticks(0, 18_100).filter(pc.field("trade_id") != "100"))  # three minutes and a second
    drain(space)
    done = tick_bars.build(space, Journal(), "1m")
    assert (done.inserted, done.revised) == (9 * 2, 0), "the third minute waits for the watermark"
    send(space, ticks(100, 101, price=999.0))
    drain(space)
    done = tick_bars.build(space, Journal(), "1m")
    assert (done.inserted, done.revised, done.unchanged) == (0, 1, 17)
    where = {"symbol": "S1", "event_time": OPEN + timedelta(minutes=1)}
    first, second = space.lake.read("bars", where=where, history=True).to_pylist()
    assert (first["high"], second["high"]) == (59.0, 999.0)
    assert first["known_from"] == OPEN + timedelta(minutes=1) < second["known_from"]
    as_of = space.lake.read("bars", where=where, as_of=OPEN + timedelta(minutes=5))
    assert as_of["high"].to_pylist() == [59.0]
    assert tick_bars.build(space, Journal(), "1m", final=True).inserted == 2 * 9


def start(space: Workspace, **told: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-c",
        "from aiquant.cli.main import main; main()",
        "stream",
        "consume",
        "ticks",
        "--json",
    ]
    for name, value in {**space.overrides, **{k.replace("__", "."): v for k, v in told.items()}}.items():
        command += ["--set", f"{name}={value}"]
    return subprocess.Popen(
        [*command, "-w", str(space.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def rows(space: Workspace) -> int:
    return next((info.rows for info in space.lake.tables() if info.name == "ticks"), 0)


def test_a_consumer_that_is_told_to_stop_finishes_its_batch(
    space: Workspace, scripts: Callable[[str], ModuleType]
) -> None:
    port = scripts("kafka")._free_port()
    process = start(space, stream__metrics_port=str(port), stream__batch_seconds="2")
    send(space, ticks(0, 300))
    wait_for(lambda: rows(space) == 300)
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    topic = space.settings.stream.topics.ticks
    assert f'aiquant_stream_rows_total{{topic="{topic}"}} 300.0' in text
    assert f'aiquant_stream_lag{{partition="0",topic="{topic}"}} 0.0' in text
    send(space, ticks(300, 400))
    time.sleep(0.6)  # read, but its two seconds are not over
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["rows"] == 400 == rows(space)


def test_two_consumers_share_and_hand_over(space: Workspace) -> None:
    """They come, go and are killed while rows flow; every row is there once."""
    chance, stop, sent = random.Random(4), threading.Event(), [0]

    def feed() -> None:
        producer = Producer(space.settings.stream)
        while not stop.is_set():
            producer.send("ticks", ticks(sent[0], sent[0] + 100))
            sent[0] += 100
            time.sleep(0.03)
        producer.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    processes = [start(space, stream__batch_rows="500"), start(space, stream__batch_rows="500")]
    try:
        wait_for(lambda: rows(space) > 0)
        for turn in range(4):
            time.sleep(chance.uniform(0.3, 1.0))
            at = turn % 2
            processes[at].send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
            processes[at].communicate(timeout=30)
            processes[at] = start(space, stream__batch_rows="500")
    finally:
        stop.set()
        feeder.join()
    wait_for(lambda: rows(space) >= sent[0])
    for process in processes:
        process.send_signal(signal.SIGTERM)
    told = [process.communicate(timeout=30) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert ids(space) == list(range(sent[0]))


def test_a_topic_that_is_not_there(space: Workspace) -> None:
    told = Workspace(space.root, {**space.overrides, "stream.topics.ticks": "nobody-made-it"})
    for act in (lambda: drain(told), lambda: Producer(told.settings.stream)):
        with pytest.raises(
            MissingError, match="has no topic nobody-made-it; make the topics with: aiquant stream init"
        ):
            act()


def test_no_broker(space: Workspace, scripts: Callable[[str], ModuleType]) -> None:
    port = scripts("kafka")._free_port()
    more = {"stream.brokers": f"127.0.0.1:{port}", "stream.timeout_seconds": "1"}
    told = Workspace(space.root, {**space.overrides, **more})
    for act in (lambda: drain(told), lambda: topics.init(told.settings.stream)):
        with pytest.raises(Unreachable, match=f"no broker answers at 127.0.0.1:{port}; start Kafka"):
            act()


def test_a_name_and_a_password(space: Workspace, kafka: Any, scripts: Callable[[str], ModuleType]) -> None:
    module = scripts("kafka")
    more = {
        "stream.brokers": kafka.sasl_address,
        "stream.security": "sasl_plaintext",
        "stream.mechanism": "PLAIN",
        "stream.username": module.USER,
        "stream.timeout_seconds": "4",
    }
    told = Workspace(space.root, {**space.overrides, **more, "stream.password": module.PASSWORD})
    send(told, ticks(0, 10))
    assert drain(told).rows == 10
    wrong = Workspace(space.root, {**space.overrides, **more, "stream.password": "wr0ng-one"})
    for act in (lambda: drain(wrong), lambda: Producer(wrong.settings.stream)):
        with pytest.raises(Unreachable, match="does not accept our name and password.*developer.*PLAIN") as refused:
            act()
        assert "wr0ng-one" not in str(refused.value)


def test_tls_against_a_broker_without_it_ends_in_one_line(space: Workspace) -> None:
    more = {"stream.security": "tls", "stream.timeout_seconds": "3"}
    told = Workspace(space.root, {**space.overrides, **more})
    with pytest.raises(Unreachable, match="no TLS connection|no broker answers") as refused:
        topics.init(told.settings.stream)
    assert "\n" not in str(refused.value)


def test_rows_too_large_are_set_aside_or_told(space: Workspace) -> None:
    stream = space.settings.stream
    article = {
        "article_id": "a",
        "date": date(2024, 3, 4),
        "event_time": OPEN,
        "known_from": OPEN,
        "symbols": "",
        "title": "x" * 1_100_000,
        "url": "u",
        "source": "test",
    }
    rows_ = pa.Table.from_pylist(
        [article, {**article, "article_id": "b", "title": "short"}], schema=schemas.NEWS.schema
    )
    producer = Producer(stream)
    assert producer.send("news", rows_) == 1
    producer.close()
    done = drain(space, "news", "dead_letters")
    assert (done.rows, done.letters) == (2, 0)
    (letter,) = space.lake.read("dead_letters").to_pylist()
    assert letter["table"] == "news" and letter["reason"].startswith("larger than stream.max_message_bytes")
    wider = from_values(
        {"stream": {**stream.model_dump(), "max_message_bytes": 5_000_000, "compression": "none"}}
    ).stream
    producer = Producer(wider)
    with pytest.raises(DataError, match="larger than the topic takes; raise max.message.bytes"):
        producer.send("news", rows_)
        producer.close()


def test_a_wrong_group_position_is_not_passed_over(space: Workspace) -> None:
    """The topic was made anew under the same name."""
    from confluent_kafka.admin import AdminClient

    stream = space.settings.stream
    send(space, ticks(0, 300))
    drain(space)
    admin = AdminClient({"bootstrap.servers": stream.brokers})
    admin.delete_topics([stream.topics.ticks])[stream.topics.ticks].result()
    wait_for(lambda: any(t.made for t in topics.init(stream)))
    wait_for(lambda: stream.topics.ticks in admin.list_topics(timeout=5).topics)  # which comes later
    send(space, ticks(300, 310))
    with pytest.raises(AiquantError, match="was read up to .* made anew; give stream.group another name"):
        drain(space)
    renamed = Workspace(space.root, {**space.overrides, "stream.group": stream.group + "-2"})
    assert drain(renamed).rows == 10


@pytest.mark.slow
def test_short_fault_drill(scripts: Callable[[str], ModuleType], kafka: Any, tmp_path: Path) -> None:
    """A few rounds of kill -9 over producer, consumer and broker; `make drill-ingest` is the long way."""
    drill = scripts("drill_ingest")
    broker = scripts("kafka").Broker(tmp_path / "kafka")
    broker.start()
    try:
        part = drill.Part("short", tmp_path / "short", broker, 12_000, 1200)
        part.folder.mkdir()
        verdict = drill.rounds_of_kills(part, 5, random.Random(11), say=False)
    finally:
        broker.stop()
    assert verdict.good and verdict.stored == 12_000, verdict
    assert verdict.letters >= 13


@pytest.mark.slow
def test_a_disk_that_fills_up(scripts: Callable[[str], ModuleType], kafka: Any, tmp_path: Path) -> None:
    """The consumer says so and ends with 3; started again with room, it goes on: nothing lost, nothing doubled."""
    drill = scripts("drill_ingest")
    part = drill.Part(f"disk{os.getpid()}", tmp_path / "full", kafka, 15_000, 2500)
    part.folder.mkdir()
    verdict = drill.full_disk(part, say=False)
    if verdict is None:
        pytest.skip("a small disk cannot be mounted here")
    assert verdict.good and verdict.stored == 15_000, verdict
    assert "the disk is full; make room" in (part.folder / "processes.log").read_text().replace("\n  try: ", "; ")


def test_the_drill_sees_loss_doubling_and_change(scripts: Callable[[str], ModuleType], tmp_path: Path) -> None:
    """It must be able to fail: three lakes, each with one fault."""
    import numpy as np
    from deltalake import DeltaTable, write_deltalake

    drill = scripts("drill_ingest")
    from aiquant import deadletters
    from aiquant.lake import Lake

    def lake(name: str) -> Lake:
        made = Lake(tmp_path / name)
        told = drill.trades(np.arange(2000))
        places = [pa.array(np.zeros(2000, np.int32)), pa.array(np.arange(2000))]
        for at, column in enumerate(("log_partition", "log_offset")):
            told = told.set_column(told.column_names.index(column), column, places[at])
        made.write("ticks", told)
        letters = [
            deadletters.letter(schemas.TICKS, "kafka", f"t/0/{n}", "bad", f"poison {n}")
            for n in range(0, 2000, drill.POISON_EVERY)
        ]
        made.write("dead_letters", deadletters.collect(letters))
        return made

    def verdict(made: Lake) -> Any:
        return drill.judge(made.root, 2000)

    good = lake("good")
    assert verdict(good).good and verdict(good).stored == 2000
    lost = lake("lost")
    DeltaTable(lost.place("ticks")).delete("trade_id = '77'")
    assert (verdict(lost).lost, verdict(lost).good) == (1, False)
    doubled = lake("doubled")
    row = doubled.read("ticks", where={"trade_id": "78"})
    write_deltalake(doubled.place("ticks"), row, mode="append")
    assert verdict(doubled).doubled > 0 and not verdict(doubled).good
    changed = lake("changed")
    DeltaTable(changed.place("ticks")).update(predicate="trade_id = '79'", updates={"price": "1.0"})
    assert verdict(changed).wrong > 0 and not verdict(changed).good
    unlettered = lake("unlettered")
    DeltaTable(unlettered.place("dead_letters")).delete("payload = 'poison 997'")
    assert verdict(unlettered).letters_lost == 1 and not verdict(unlettered).good
