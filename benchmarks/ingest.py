"""Messages a second from Kafka to a committed Delta table: ours beside a plain loop of orjson and append.

Usage: ``python -m benchmarks.ingest [--messages 1000000] [--small 100000] [--rounds 2] [--broker HOST:PORT]
[--spark PYTHON JARS]``

One topic of JSON trades is filled once; then both read it in turn, each in a process of its own, into a fresh table, in
batches of the same size. Ours is the whole job ``aiquant stream consume``: group membership, checks of each row, keys
unique, offsets in the commit. The plain loop reads, parses, makes a table and appends, with the offsets in the commit
as well, and does nothing else. Spark (with ``--spark``: Structured Streaming, Delta, two cores) is timed at its second
run in a warm session. The plain loop's library is put into a folder of its own. Prints one JSON object; exits with 1
when a side stored another number of rows than was sent.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BATCH = 50_000
SYMBOLS = 500

OURS = """
import json, resource, sys, time
from pathlib import Path
from aiquant.jobs import consume, workspace
from aiquant.jobs.journal import Journal
from aiquant.lake import ledger
from aiquant.streams import consumer, envelope, metrics, producer
folder, messages = Path(sys.argv[1]), int(sys.argv[2])
opened = workspace.Workspace(workspace.create(folder).root, json.loads(sys.argv[3]))
cpu = time.process_time()
done = consume.consume(opened, Journal(), ["ticks"], drain=True)
cpu = time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"rows": done.rows, "seconds": done.seconds, "cpu": cpu, "peak_mib": peak}))
"""

PLAIN = """
import json, resource, sys, time
import orjson, pyarrow as pa
from confluent_kafka import Consumer, TopicPartition
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from aiquant.schemas import TICKS
folder, messages, told = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
schema = pa.schema([f for f in TICKS.schema])
table = DeltaTable.create(folder, schema, partition_by=["date"])
begun, cpu = time.perf_counter(), time.process_time()
client = Consumer({"bootstrap.servers": told["stream.brokers"], "group.id": "plain", "enable.auto.commit": False,
                   "fetch.queue.backoff.ms": 20})
topic, partitions = told["stream.topics.ticks"], int(told["stream.partitions"])
client.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
ends, rows = {}, 0
while rows < messages:
    got = client.consume(int(told["stream.batch_rows"]), timeout=1.0)
    batch = []
    for message in got:
        row = orjson.loads(message.value())
        row["log_partition"], row["log_offset"] = message.partition(), message.offset()
        batch.append(row)
        ends[message.partition()] = message.offset() + 1
    if not batch:
        continue
    made = pa.Table.from_pylist(batch)
    made = pa.table([made[f.name].cast(f.type) for f in schema], schema=schema)
    moves = [Transaction(f"plain:{p}", offset) for p, offset in ends.items()]
    write_deltalake(table, made, mode="append", commit_properties=CommitProperties(app_transactions=moves))
    rows += len(batch)
seconds = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"rows": rows, "seconds": seconds, "cpu": time.process_time() - cpu, "peak_mib": peak}))
"""

SPARK = """
import json, os, sys, time
from pathlib import Path
from pyspark.sql import SparkSession, functions as f
folder, messages, told, jars = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
wanted = ("delta-", "unitycatalog-", "spark-sql-kafka", "spark-token-provider-kafka", "kafka-clients", "commons-pool2")
paths = [str(p) for p in Path(jars).glob("*.jar") if p.name.startswith(wanted)]
spark = (SparkSession.builder.master("local[2]").config("spark.jars", ",".join(paths))
  .config("spark.ui.enabled", "false")
  .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
  .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
  .config("spark.sql.shuffle.partitions", "4").config("spark.driver.host", "127.0.0.1")
  .config("spark.driver.memory", "3g")
  .config("spark.sql.session.timeZone", "UTC").getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
fields = ("symbol string, date string, event_time bigint, event_ns bigint, price double, size double, exchange string, "
  "trade_id string, sequence bigint, conditions string, ingest_time bigint, source string")
def run(to):
    begun = time.perf_counter()
    raw = (spark.readStream.format("kafka").option("kafka.bootstrap.servers", told["stream.brokers"])
      .option("subscribe", told["stream.topics.ticks"]).option("startingOffsets", "earliest")
      .option("maxOffsetsPerTrigger", told["spark_rows"]).load())
    row = raw.select(f.from_json(f.col("value").cast("string"), fields).alias("r"), "partition", "offset")
    rows = row.select("r.*", f.col("partition").alias("log_partition"), f.col("offset").alias("log_offset"))
    rows = (rows.withColumn("date", f.to_date("date")).withColumn("event_time", f.timestamp_micros("event_time"))
      .withColumn("ingest_time", f.timestamp_micros("ingest_time")))
    query = (rows.writeStream.format("delta").option("checkpointLocation", to + "-checkpoint").partitionBy("date")
      .trigger(availableNow=True).start(to))
    query.awaitTermination()
    seconds = time.perf_counter() - begun
    return spark.read.format("delta").load(to).count(), seconds
run(folder + "/warm")
rows, seconds = run(folder + "/timed")
print(json.dumps({"rows": rows, "seconds": seconds, "cpu": 0.0, "peak_mib": 0}))
"""


def fill(stream: Any, messages: int) -> float:
    """Send trades of one morning; messages a second."""
    import numpy as np
    import polars as pl

    from aiquant import schemas
    from aiquant.streams import topics
    from aiquant.streams.producer import Producer

    topics.init(stream)
    rng, first = np.random.default_rng(1), 1_709_562_600_000_000
    begun = time.perf_counter()
    producer = Producer(stream)
    for start in range(0, messages, BATCH):
        n = np.arange(start, min(start + BATCH, messages))
        moments = first + n * 10_000
        time_ = pl.Series(moments).cast(pl.Datetime("us", "UTC"))
        frame = pl.DataFrame(
            {
                "symbol": [f"S{k:03d}" for k in rng.integers(0, SYMBOLS, len(n)).tolist()],
                "date": time_.dt.date(),
                "event_time": time_,
                "event_ns": moments * 1_000 + 17,
                "price": np.round(rng.uniform(5, 500, len(n)), 2),
                "size": rng.integers(1, 900, len(n)).astype(float),
                "exchange": rng.choice(["4", "11", "12", "19"], len(n)),
                "trade_id": [f"{k:x}" for k in n.tolist()],
                "sequence": n,
                "conditions": rng.choice(["14,37,41", "12,37", "37"], len(n)),
                "ingest_time": time_.dt.offset_by("3ms"),
                "source": "polygon",
            }
        )
        rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        producer.send("ticks", schemas.conform(rows, schemas.TICKS))
    producer.close()
    return messages / (time.perf_counter() - begun)


def measure(
    program: str,
    folder: Path,
    messages: int,
    told: dict[str, str],
    more: Path,
    python: str = sys.executable,
    *last: str,
) -> dict[str, float]:
    """One run in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(more)])}
    environment["PYSPARK_PYTHON"] = python
    command = [python, "-c", program, str(folder), str(messages), json.dumps(told), *last]
    out = subprocess.run(command, env=environment, capture_output=True, text=True)
    if out.returncode:
        raise SystemExit(out.stderr)
    found: dict[str, float] = json.loads(out.stdout.splitlines()[-1])
    if found["rows"] != messages:
        raise SystemExit(f"{found['rows']} rows stored of {messages} messages")
    return found


def peer_folder() -> Path:
    """A folder with orjson, made when it is not there."""
    folder = Path(tempfile.gettempdir(), "aiquant-bench-orjson")
    if not (folder / "orjson").is_dir():
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            str(folder),
        ]
        subprocess.run([*pip, "orjson"], check=True)
    return folder


def compare(
    address: str, scratch: Path, messages: int, rounds: int, spark: tuple[str, str] | None = None
) -> dict[str, Any]:
    """The best round of each side; ``spark`` is a Python with pyspark, and a folder of its jars."""
    from aiquant import settings

    topic = f"bench-{messages}-{os.getpid()}"
    told = {
        "stream.brokers": address,
        "stream.topics.ticks": topic,
        "stream.partitions": "4",
        "stream.batch_rows": str(BATCH),
    }
    sent = fill(settings.load(None, told).stream, messages)
    ours, plain = [], []
    for turn in range(rounds):
        mine = {**told, "stream.group": f"bench-{turn}"}
        ours.append(measure(OURS, scratch / f"ours-{messages}-{turn}", messages, mine, peer_folder()))
        plain.append(measure(PLAIN, scratch / f"plain-{messages}-{turn}", messages, told, peer_folder()))
    best = [min(runs, key=lambda run: run["seconds"]) for runs in (ours, plain)]
    rates = [messages / run["seconds"] for run in best]
    beside: dict[str, Any] = {}
    if spark is not None:
        more = {**told, "spark_rows": str(4 * BATCH)}  # larger batches favour it
        warm = measure(SPARK, scratch / f"spark-{messages}", messages, more, peer_folder(), spark[0], spark[1])
        beside = {
            "spark_per_s": round(messages / warm["seconds"]),
            "spark_ratio": round(rates[0] * warm["seconds"] / messages, 2),
        }
    return {
        **beside,
        "produced_per_s": round(sent),
        "ours_per_s": round(rates[0]),
        "plain_per_s": round(rates[1]),
        "ratio": round(rates[0] / rates[1], 2),
        "ours_peak_mib": best[0]["peak_mib"],
        "plain_peak_mib": best[1]["peak_mib"],
        "ours_cpu_s": round(min(run["cpu"] for run in ours), 2),
        "plain_cpu_s": round(min(run["cpu"] for run in plain), 2),
        "ours_all_s": [round(run["seconds"], 2) for run in ours],
        "plain_all_s": [round(run["seconds"], 2) for run in plain],
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--broker", help="default: one of our own")
    parser.add_argument("--spark", nargs=2, metavar=("PYTHON", "JARS"), help="a Python with pyspark, its jars' folder")
    told = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiquant-bench-")))
        address = told.broker
        if address is None:
            spec = importlib.util.spec_from_file_location("kafka", ROOT / "scripts" / "kafka.py")
            assert spec is not None and spec.loader is not None
            kafka = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(kafka)
            broker = kafka.Broker(scratch / "kafka")
            broker.start()
            stack.callback(broker.stop)
            address = broker.address
        found = {str(told.small): compare(address, scratch, told.small, told.rounds)}
        found[str(told.messages)] = compare(address, scratch, told.messages, told.rounds, told.spark)
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
