"""A run that is killed or finds no room leaves nothing half-done: the next one gives what an undisturbed one does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Aiquant = Callable[..., Any]
Done = tuple[Path, Any]

SAME = ("rank_ic", "rank_ic_t", "sharpe_net", "verdict")
KILLED_AFTER = (0.9, 2.0, 3.2, 4.6)
"""Seconds: while reading, writing, training and tracking; where exactly depends on the machine."""


def _start(home: Path, prices: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "aiquant", "run", "--source", "files", "--path", str(prices), "-w", str(home), "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_killed_at_any_moment_a_run_can_be_run_again(
    done_run: Done, prices: Path, tmp_path: Path, aiquant: Aiquant
) -> None:
    folder, undisturbed = done_run
    home = tmp_path / "killed"
    aiquant("init", home)
    shutil.copy(folder / "aiquant.toml", home / "aiquant.toml")
    killed = 0
    for seconds in KILLED_AFTER:
        process = _start(home, prices)
        time.sleep(seconds)
        killed += process.poll() is None
        os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
    assert killed, "no run was killed: this machine is faster than the test"
    after = aiquant("run", "--source", "files", "--path", prices, "-w", home, "--json")
    assert after.code == 0, after.err
    assert {n: after.json[n] for n in SAME} == {n: undisturbed.json[n] for n in SAME}
    for table in ("bars", "forecasts", "target_weights", "fills", "equity"):
        rows = f"(select * exclude ({_moving(table)}) from {table})"
        query = f"select count(*) as n, count(distinct hash(*columns(*))) as d from {rows}"
        counted = [aiquant("lake", "sql", query, "-w", f, "--json") for f in (folder, home)]
        assert counted[0].code == 0, counted[0].err
        assert counted[0].json["rows"] == counted[1].json["rows"], table


def _moving(table: str) -> str:
    """A column that may differ between runs."""
    return "source" if table == "bars" else "run_id"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with four MiB of room."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_full_disk_is_one_line_and_room_mends_it(
    done_run: Done, prices: Path, small_disk: Path, aiquant: Aiquant
) -> None:
    folder, undisturbed = done_run
    home = small_disk / "w"
    assert aiquant("init", home).code == 0
    shutil.copy(folder / "aiquant.toml", home / "aiquant.toml")
    full = aiquant("run", "--source", "files", "--path", prices, "-w", home)
    assert full.code == 3, full.err
    assert "Traceback" not in full.err and "panicked" not in full.err
    assert "room" in full.err
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    after = aiquant("run", "--source", "files", "--path", prices, "-w", home, "--json")
    assert after.code == 0, after.err
    assert {n: after.json[n] for n in SAME} == {n: undisturbed.json[n] for n in SAME}
