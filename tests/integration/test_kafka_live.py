"""Bars through a real Kafka to features in the lake and online, while processes are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars, schemas
from aiquant.features import catalogue, engine
from aiquant.features.online import View, open_store
from aiquant.jobs import live, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace
from aiquant.streams import topics
from aiquant.streams.producer import Producer

DAY = date(2019, 2, 12)
SESSIONS = calendars.sessions("XNYS", date(2019, 2, 11), DAY)
SET = """
[features.momentum]
formula = "CSRank($close / Ref($close, 7))"
[features.spread]
formula = "Std($close, 5) / Mean(CSZScore($volume), 4)"
[features.level]
formula = "$close / Mean($close, 20)"
"""


def minutes(symbols: int = 8, gaps: float = 0.05) -> pl.DataFrame:
    """One-minute bars of the end of one session and the beginning of the next."""
    rng = np.random.default_rng(5)
    rows = []
    for day in range(2):
        for n in range(330, 391) if day == 0 else range(1, 61):
            moment = SESSIONS.opens[day].item().replace(tzinfo=UTC) + timedelta(minutes=n)
            for k in range(symbols):
                if rng.random() >= gaps:
                    close = 10 + k + rng.random()
                    volume = float(rng.integers(100, 9000))
                    rows.append((f"S{k}", SESSIONS.dates[day].item(), moment, close, volume))
    frame = pl.DataFrame(rows, ["symbol", "date", "event_time", "close", "volume"], orient="row")
    moment = pl.col("event_time").cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(
        moment.alias("event_time"),
        moment.alias("known_from"),
        pl.col("date").dt.strftime("%Y-%m-%d").alias("period"),
        *(pl.lit(v).alias(k) for k, v in {"interval": "1m", "adjustment": "none", "source": "test"}.items()),
    )


def halves(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The bars up to the first session's end, and the others."""
    first = pl.col("date") == frame["date"].min()
    return frame.filter(first), frame.filter(~first)


def as_rows(frame: pl.DataFrame) -> pa.Table:
    return schemas.conform(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), schemas.BARS)


@pytest.fixture
def space(kafka: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Workspace:
    name = f"l{abs(hash(request.node.nodeid)) % 10**8}-{os.getpid()}"
    root = workspace.create(tmp_path / "w").root
    (root / "mine.toml").write_text(SET)
    told = {
        "stream.brokers": kafka.address,
        "stream.group": name,
        "stream.batch_seconds": "0.3",
        "stream.session_seconds": "2",
        "stream.partitions": "3",
        "data.interval": "1m",
        "live.lateness_seconds": "1",
        "live.every_seconds": "0.1",
        "live.checkpoint_seconds": "0.5",
        "features.set": str(root / "mine.toml"),
        **{f"stream.topics.{table}": f"{name}-{table}" for table in ("ticks", "bars", "news", "tweets")},
        "stream.topics.dead_letters": f"{name}-dead",
    }
    made = Workspace(root, told)
    topics.init(made.settings.stream)
    return made


def send(space: Workspace, frame: pl.DataFrame) -> None:
    producer = Producer(space.settings.stream)
    producer.send("bars", as_rows(frame))
    producer.close()


def start(space: Workspace, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from aiquant.cli.main import main; main()", "stream", "live", "--json", *more]
    for name, value in space.overrides.items():
        command += ["--set", f"{name}={value}"]
    return subprocess.Popen(
        [*command, "-w", str(space.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def catches_sigterm(process: subprocess.Popen[str]) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def rows(space: Workspace) -> int:
    if space.lake.version("features_mine") is None:
        return 0
    return int(space.lake.scan("features_mine", ["symbol"], ordered=False).collect().height)


def check(space: Workspace, frame: pl.DataFrame) -> None:
    """Lake and online store say what batch says of the bars that were sent."""
    chosen = catalogue.of(space.settings)
    want = pl.DataFrame(pl.from_arrow(engine.compute(chosen, as_rows(frame), SESSIONS))).drop("known_from")
    got = pl.DataFrame(pl.from_arrow(space.lake.read("features_mine"))).select(want.columns)
    assert got.equals(want)
    store = open_store(space.settings.online, space.root)
    newest = want.sort("event_time").unique("symbol", keep="last").sort("symbol").drop("date")
    online = pl.DataFrame(pl.from_arrow(store.read(View.of(chosen), newest["symbol"].to_list())))
    store.close()
    assert online.select(newest.columns).equals(newest)


def test_drained_in_process(space: Workspace) -> None:
    frame = minutes()
    sat = frame.head(1).with_columns(
        pl.lit(date(2019, 2, 9)).alias("date"),
        pl.lit("2019-02-09").alias("period"),
        *(
            pl.lit(datetime(2019, 2, 9, 15, tzinfo=UTC)).cast(pl.Datetime("us", "UTC")).alias(n)
            for n in ("event_time", "known_from")
        ),
    )
    first, second = halves(frame)
    send(space, pl.concat([first, first.slice(100, 50), sat]))  # some twice, one of a Saturday
    done = live.live(space, Journal(), drain=True)
    assert (done.bars, done.rows, done.letters, done.recomputed) == (len(first) + 1, len(first), 1, 0)
    send(space, second)
    done = live.live(space, Journal(), drain=True)
    assert (done.rows, done.unsent) == (len(second), 0)
    check(space, frame)


def test_told_to_stop_it_keeps_its_state(space: Workspace, scripts: Callable[[str], ModuleType]) -> None:
    frame = minutes()
    port = scripts("kafka")._free_port()
    told = Workspace(space.root, {**space.overrides, "stream.metrics_port": str(port)})
    first, second = halves(frame)
    send(told, first)
    process = start(told)
    wait_for(lambda: rows(space) == len(first))

    def served(line: str) -> bool:
        return line in urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()

    # Counted, and brought online, a moment after the commit that was seen above.
    wait_for(lambda: served('aiquant_live_delay_seconds_count{set="mine"}'))
    wait_for(lambda: served(f'aiquant_live_rows_total{{set="mine"}} {len(first)}.0'))
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["rows"] == len(first)
    assert (space.state / "live" / "mine-1m.state").is_file()
    send(space, second)
    assert live.live(space, Journal(), drain=True).rows == len(second)
    check(space, frame)


@pytest.mark.slow
def test_killed_again_and_again(space: Workspace) -> None:
    """kill -9 at random moments; bars come in pieces, some late, some corrected, the checkpoint is lost once."""
    chance = random.Random(8)
    frame = minutes()
    late = frame.filter((pl.col("symbol") == "S3") & (pl.int_range(pl.len()) % 37 == 0))
    wrong = frame.slice(300, 4)
    moment = pl.col("known_from") + timedelta(minutes=9)
    right = wrong.with_columns(pl.col("close") * 1.01, moment.alias("known_from"))
    steady = frame.join(late, on=["symbol", "event_time"], how="anti")
    times = steady["event_time"].unique().sort()
    process = start(space)
    try:
        for at in range(0, len(times), 12):
            send(space, steady.filter(pl.col("event_time").is_in(times[at : at + 12].implode())))
            time.sleep(chance.uniform(0.2, 3.0))
            if at == 60:
                send(space, pl.concat([late, right]))
            if at % 24:
                continue
            process.kill()
            process.communicate()
            if at == 48:
                (space.state / "live" / "mine-1m.state").unlink(missing_ok=True)
            process = start(space)
        final = pl.concat([frame, right]).sort("known_from").unique(["symbol", "event_time"], keep="last")
        wait_for(lambda: rows(space) == len(frame))
        wait_for(lambda: catches_sigterm(process))  # the last process may still be starting
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, ""), (out, err)
    live.live(space, Journal(), drain=True)
    check(space, final.sort("symbol", "event_time"))
    versions = pl.DataFrame(pl.from_arrow(space.lake.read("features_mine", history=True)))
    assert not versions.select("symbol", "event_time", "known_from").is_duplicated().any()
