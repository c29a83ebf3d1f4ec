"""A build of features that is killed half-way leaves the table before it, and the next one completes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from aiquant.jobs import features, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Pipeline, read
from aiquant.schemas import BARS

_SLOW = """
import sys, time
from pathlib import Path
from aiquant.jobs import feature_plan, feature_rows, features
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

of = feature_rows.Rows.of
def slowly(self, part):
    for table in of(self, part):
        yield table
        print("one", flush=True)
        time.sleep(0.3)
feature_rows.Rows.of = slowly
feature_plan.READ_ROWS = 300
features.build(Workspace(Path(sys.argv[1])), Journal(), full=sys.argv[2] == "full")
"""


@pytest.mark.parametrize("kind", ["full", "mended"])
def test_killed_half_way(make_bars: Callable[..., pa.Table], tmp_path: Path, kind: str) -> None:
    home = workspace.create(tmp_path / "home")
    bars = pl.DataFrame(make_bars(symbols=8, first=date(2019, 1, 2), last=date(2019, 12, 31)))
    home.lake.write(BARS, bars.filter(pl.col("date") < date(2019, 11, 1)).to_arrow().cast(BARS.schema))
    features.build(home, Journal())
    before = pl.DataFrame(home.lake.read("features_core", history=True))
    home.lake.write(BARS, bars.to_arrow().cast(BARS.schema))
    command = [sys.executable, "-c", _SLOW, str(home.root), kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    for _ in range(2):
        assert process.stdout.readline() == b"one\n"
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert pl.DataFrame(home.lake.read("features_core", history=True)).equals(before)
    done = features.build(home, Journal())
    assert done.whole is None and done.new == bars.height - before.height
    wanted = pl.DataFrame(Pipeline(home.settings).features(read(home.lake, home.settings)))
    assert pl.DataFrame(home.lake.read("features_core", history=True)).equals(wanted)
    assert {path.name for path in home.state.iterdir()} == {"workspace.json"}
