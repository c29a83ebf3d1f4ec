"""The back-fill as a user runs it: killed with SIGKILL and started again, and nothing secret left anywhere."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from aiquant.jobs import backfill as job
from aiquant.jobs import workspace as workspaces
from aiquant.jobs.journal import Journal
from aiquant.jobs.simulate import environment
from aiquant.settings import SimulatorSettings
from aiquant.sources.simulator.faults import Fault
from aiquant.sources.simulator.server import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(SimulatorSettings(port=0, symbols=6, trades_a_minute=4, speed=1e-6)) as running:
        yield running


@pytest.fixture
def variables(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    told = environment(simulator) | {"AIQUANT_POLYGON__PAGE_SIZE": "100", "AIQUANT_POLYGON__CONCURRENCY": "2"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return told


def alive(simulator: Simulator) -> tuple[str, ...]:
    return tuple(c.symbol for c in simulator.market.companies if c.delisted is None and c.listed == 0)[:4]


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost_or_doubled(
    simulator: Simulator, variables: dict[str, str], tmp_path: Path
) -> None:
    workspaces.create(tmp_path / "ws")
    today = simulator.clock.now().date()
    first, last = today - timedelta(days=700), today - timedelta(days=1)
    symbols = alive(simulator)
    simulator.latency_s = 0.15
    program = (
        "from aiquant.jobs import backfill\nbackfill.GROUP_ROWS = 150\n" "from aiquant.cli.main import main\nmain()"
    )
    command = [sys.executable, "-c", program, "ingest", "bars", "--source", "polygon", "--symbols", ",".join(symbols)]
    command += ["--from", str(first), "--to", str(last), "--workspace", str(tmp_path / "ws")]
    rng, kills = random.Random(11), 0
    for _ in range(12):
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            process.communicate(timeout=1.2 + rng.random() * 1.5 if kills < 3 else 60)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    assert process.returncode == 0
    assert kills >= 1
    workspace = workspaces.open_(tmp_path / "ws")
    rows = workspace.lake.read("bars")
    market = simulator.market
    days = [d.item() for d in market.sessions.dates if first <= d.item() <= last]
    assert rows.num_rows == len(days) * len(symbols)
    keys = set(zip(rows["symbol"].to_pylist(), rows["date"].to_pylist(), strict=True))
    assert keys == {(symbol, day) for symbol in symbols for day in days}
    asked = len(simulator.requests)
    process = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    assert len(simulator.requests) == asked and "taken in by an earlier run" in process.stderr + process.stdout


def test_a_fault_in_the_middle_keeps_what_came_before(
    simulator: Simulator, variables: dict[str, str], tmp_path: Path
) -> None:
    workspace = workspaces.create(tmp_path / "ws")
    today = simulator.clock.now().date()
    simulator.faults.add(Fault("403", after=3))
    span = (today - timedelta(days=700), today - timedelta(days=1))
    with pytest.raises(Exception, match="answered 403"):
        job.backfill(workspace, Journal(), "bars", "polygon", alive(simulator), *span)
    kept = workspace.lake.read("bars").num_rows
    assert kept >= 100
    done = job.backfill(workspace, Journal(), "bars", "polygon", alive(simulator), *span)
    assert done.inserted >= 1 and done.dead_letters == 0
    again = job.backfill(workspace, Journal(), "bars", "polygon", alive(simulator), *span, again=True)
    assert (again.inserted, again.revised) == (0, 0) and again.unchanged == workspace.lake.read("bars").num_rows


def test_no_key_and_no_handle_on_disk(simulator: Simulator, variables: dict[str, str], tmp_path: Path) -> None:
    workspace = workspaces.create(tmp_path / "ws")
    symbols = alive(simulator)
    today = simulator.clock.now().date()
    simulator.faults.add(Fault("types", path="/search/recent"))
    job.backfill(workspace, Journal(), "tweets", "x", symbols)
    job.backfill(workspace, Journal(), "news", "newsapi", symbols, today - timedelta(days=20), text="shares")
    job.backfill(workspace, Journal(), "ticks", "polygon", symbols[:1], today - timedelta(days=4), today)
    for table in ("tweets", "news", "ticks", "dead_letters"):
        told = str(workspace.lake.read(table).to_pylist())
        for secret in ("simulated-key", "simulated key of the", "sim_trader_"):
            assert secret not in told
    assert workspace.lake.read("tweets").num_rows > 10 and workspace.lake.read("dead_letters").num_rows == 1
    for path in (tmp_path / "ws").rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert b"simulated-key" not in raw and b"sim_trader_" not in raw, path
    posts = simulator.x.between(0, simulator.clock.now_ns() // 10**6)[-50:]
    letters = str(workspace.lake.read("dead_letters").to_pylist())
    assert not any(post.author_id in letters for post in posts)


def test_simulate_serves_until_told_to_stop() -> None:
    command = [sys.executable, "-c", "from aiquant.cli.main import main; main()"]
    command += ["simulate", "--set", "simulator.port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    assert any("export AIQUANT_POLYGON__BASE_URL='http://127.0.0.1:" in line for line in lines)
    time.sleep(0.2)
    process.terminate()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0 and "requests answered" in out
