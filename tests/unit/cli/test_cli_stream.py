"""The verbs of live data: what they refuse before any broker is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aiquant.jobs import workspace


def run(folder: Path, *told: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from aiquant.cli.main import main; main()", "stream", *told, "-w", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("told", "code", "line"),
    [
        (["consume", "equity"], 2, "error: rows of table equity do not travel through Kafka"),
        (["produce", "equity"], 2, "error: no vendor feeds equity"),
        (["replay", "ticks", "--speed", "fast"], 2, "error: --speed fast: not a number"),
        (["replay", "ticks", "--path", "nowhere.parquet"], 3, "error: nowhere.parquet: no such file"),
        (["bars", "--interval", "7m"], 2, "error: bars of interval '7m' cannot be made from ticks"),
        (
            ["init", "--set", "stream.brokers=127.0.0.1:1", "--set", "stream.timeout_seconds=1"],
            3,
            "error: no broker answers at 127.0.0.1:1",
        ),
    ],
)
def test_one_line_a_remedy_and_an_exit_code(tmp_path: Path, told: list[str], code: int, line: str) -> None:
    folder = workspace.create(tmp_path / "w").root
    done = run(folder, *told)
    assert done.returncode == code
    assert done.stderr.splitlines()[-2].startswith(line) or done.stderr.splitlines()[-1].startswith(line), done.stderr
    assert "Traceback" not in done.stderr


def test_bars_of_an_empty_lake(tmp_path: Path) -> None:
    done = run(workspace.create(tmp_path / "w").root, "bars")
    assert done.returncode == 0 and "0 ticks of 0 date(s)" in done.stdout
