"""The lake among rivals, under kill -9 and on disks that fill up: real processes, real files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from aiquant.errors import Unreachable
from aiquant.lake import Lake
from aiquant.schemas import BARS, TIME

WRITER = """
import sys
import numpy as np
import pyarrow as pa
from aiquant.lake import Lake
from test_lake_rows import bars, features

lake, table, first, batches, size, step = Lake(sys.argv[1], commit_retries=200), sys.argv[2], *map(int, sys.argv[3:7])
print("ready", flush=True)
sys.stdin.readline()
for batch in range(batches):
    start = first + batch * step
    lake.write(table, bars(start, size) if table == "bars" else features(start, size))
    print(batch, flush=True)
"""

ROWS = """
from datetime import UTC, datetime, timedelta
import pyarrow as pa
from aiquant.schemas import BARS, TIME

BEGIN = datetime(2019, 12, 1, 21, tzinfo=UTC)

def bars(start, size):
    rows = []
    for i in range(start, start + size):
        t = BEGIN + timedelta(days=i)
        rows.append(dict(symbol="A", interval="1d", period=str(t.year), date=t.date(), event_time=t, known_from=t,
                         close=1.0 + i, adjustment="none", source="test"))
    return pa.Table.from_pylist(rows, schema=BARS.schema)

def features(start, size):
    times = [BEGIN + timedelta(days=i) for i in range(start, start + size)]
    return pa.table({"symbol": pa.array(["A"] * size), "date": pa.array([t.date() for t in times], pa.date32()),
                     "event_time": pa.array(times, TIME), "known_from": pa.array(times, TIME),
                     "f": pa.array([float(i) for i in range(start, start + size)], pa.float32())})
"""


@pytest.fixture
def rows_module(tmp_path: Path) -> Path:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "test_lake_rows.py").write_text(ROWS)
    return folder


def _start(modules: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(modules)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _go(processes: list[subprocess.Popen[str]]) -> None:
    """Let all of them begin at the same moment."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.parametrize("table", ["bars", "features_core"])
def test_two_processes_write_overlapping_batches(tmp_path: Path, rows_module: Path, table: str) -> None:
    """Both make the table, write days 0 to 79 and 20 to 99 in overlapping batches, and correct nothing."""
    root = tmp_path / "lake"
    processes = [_start(rows_module, root, table, first, 8, 15, 10) for first in (0, 20)]
    _go(processes)
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    lake = Lake(root)
    read = lake.read(table)
    last = 20 + 7 * 10 + 15
    assert read["event_time"].to_pylist() == [
        datetime(2019, 12, 1, 21, tzinfo=UTC) + timedelta(days=i) for i in range(last)
    ]
    assert {info.name: info.rows for info in lake.tables()} == {table: last}, "nothing lost, nothing doubled"
    values = read["close" if table == "bars" else "f"].to_pylist()
    assert values == [i + (table == "bars") for i in range(last)]


@pytest.mark.parametrize("table", ["bars", "features_core"])
def test_kill_in_the_middle_of_writes(tmp_path: Path, rows_module: Path, table: str) -> None:
    """Five writers, one after the other, each killed at a random moment; one that may finish; then all is exact."""
    root = tmp_path / "lake"
    moment = random.Random(5)
    for _ in range(5):
        process = _start(rows_module, root, table, 0, 500, 40, 5)
        _go([process])
        time.sleep(moment.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (root / table).exists():
            seen = Lake(root).read(table, missing_ok=True)["event_time"].to_pylist()
            assert max(Counter(seen).values(), default=1) == 1
            assert len(seen) % 5 == 0, "batches are there whole or not at all"
    process = _start(rows_module, root, table, 0, 30, 40, 5)
    _go([process])
    assert process.communicate(timeout=120)[1] == ""
    times = Lake(root).read(table)["event_time"].to_pylist()
    begin = datetime(2019, 12, 1, 21, tzinfo=UTC)
    assert times[:185] == [begin + timedelta(days=i) for i in range(185)]
    assert len(times) == len(set(times)) == Lake(root).tables()[0].rows


def _noise(rows: int) -> pa.Table:
    """Features that do not compress: 4 bytes a value, 8 values a row."""
    generator = np.random.default_rng(1)
    begin = datetime(2000, 1, 1, 21, tzinfo=UTC)
    times = [begin + timedelta(minutes=i) for i in range(rows)]
    table = pa.table(
        {
            "symbol": pa.array(["A"] * rows),
            "date": pa.array([t.date() for t in times], pa.date32()),
            "event_time": pa.array(times, TIME),
            "known_from": pa.array(times, TIME),
        }
    )
    for column in range(8):
        table = table.append_column(f"f{column}", pa.array(generator.standard_normal(rows, dtype=np.float32)))
    return table


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lake = Lake(small_disk / "lake")
    lake.write("features_core", _noise(1000))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    with pytest.raises(Unreachable, match="table features_core at .*: the disk is full; make room"):
        lake.write("features_core", _noise(20_000))
    assert lake.read("features_core").num_rows == 1000
    assert lake.version("features_core") == 1
    ballast.unlink()
    for leftover in Path(lake.place("features_core")).glob("*.parquet"):
        assert leftover.stat().st_size > 0
    assert lake.write("features_core", _noise(10_000)).inserted == 9000
    assert lake.read("features_core").num_rows == 10_000
    assert capfd.readouterr() == ("", ""), "no panic of an engine is shown"


def test_a_disk_that_is_full_to_the_last_byte(small_disk: Path) -> None:
    """Not even the log's entry, or the table's folder, fits."""
    lake = Lake(small_disk / "lake")
    lake.write("features_core", _noise(10))
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with pytest.raises(OSError):
            while True:
                file.write(bytes(4096))
    for table in ("features_core", "features_other"):
        with pytest.raises(Unreachable, match="disk is full"):
            lake.write(table, _noise(20))
    assert lake.read("features_core").num_rows == 10
    ballast.unlink()
    for table in ("features_core", "features_other"):
        lake.write(table, _noise(20))
        assert lake.read(table).num_rows == 20


def test_a_limit_on_the_size_of_files(tmp_path: Path, rows_module: Path) -> None:
    """The disk refuses in the middle of a data file."""
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from aiquant.errors import Unreachable
from aiquant.lake import Lake
from test_lake_rows import features
try:
    Lake({str(tmp_path / "lake")!r}).write("features_core", features(0, 5000))
except Unreachable as error:
    print(error)
"""
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(rows_module)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "a file would grow beyond the size" in told.stdout and told.stderr == ""
    assert Lake(tmp_path / "lake").read("features_core").num_rows == 0


def test_a_folder_that_may_only_be_read(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.write("features_core", _noise(10))
    mounted = subprocess.run(["mount", "--bind", "-o", "ro", str(lake.root), str(lake.root)], capture_output=True)
    if mounted.returncode:
        if os.geteuid() == 0:
            pytest.skip("no read-only mount can be made here, and permissions do not bind this user")
        lake.root.chmod(0o555)
        (lake.root / "features_core" / "_delta_log").chmod(0o555)
        (lake.root / "features_core").chmod(0o555)
    try:
        with pytest.raises(Unreachable, match="may not be written.*lake.root"):
            lake.write("features_core", _noise(20))
        with pytest.raises(Unreachable, match="may not be written.*lake.root"):
            lake.write("bars", BARS.schema.empty_table())
        assert lake.read("features_core").num_rows == 10
        assert lake.tables()[0].rows == 10
    finally:
        if mounted.returncode:
            for folder in (lake.root, lake.root / "features_core", lake.root / "features_core" / "_delta_log"):
                folder.chmod(0o755)
        else:
            subprocess.run(["umount", "-l", str(lake.root)], check=True)
