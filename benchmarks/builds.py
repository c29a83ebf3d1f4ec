"""Price of building a table of features: CPU seconds and peak memory as symbols grow, and of one more day.

::

    python benchmarks/builds.py                                      # alpha158, 500 and 2,000 symbols × 4 years
    python benchmarks/builds.py --symbols 500 5000 --set core
    python benchmarks/builds.py --symbols 500 --engine spark         # extra spark

Each step is a process of its own, so that its peak memory is its own. Seconds are CPU seconds of the process (Spark's
JVM and workers are not in them: there, wall-clock seconds are to be read).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from aiquant import calendars
from aiquant.jobs import features, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS, conform

FIRST, LAST = date(2017, 1, 3), date(2020, 12, 31)
AT_ONCE = 250


def fill(home: Workspace, symbols: int) -> None:
    """A lake of random daily bars; the last session is left out."""
    sessions = calendars.sessions("XNYS", FIRST, LAST)
    for begin in range(0, symbols, AT_ONCE):
        home.lake.write(BARS, _bars(begin, min(begin + AT_ONCE, symbols), sessions, slice(0, len(sessions) - 1)))


def more(home: Workspace, symbols: int) -> None:
    """The last session of all symbols."""
    sessions = calendars.sessions("XNYS", FIRST, LAST)
    home.lake.write(BARS, _bars(0, symbols, sessions, slice(len(sessions) - 1, len(sessions))))


def _bars(begin: int, end: int, sessions: calendars.Sessions, which: slice) -> object:
    n, frames = len(sessions), []
    for k in range(begin, end):
        rng = np.random.default_rng(k)
        close = np.round(np.exp(3 + np.cumsum(rng.normal(0, 0.02, n))), 2)
        opened = np.round(close * (1 + rng.normal(0, 0.005, n)), 2)
        columns = {
            "open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close,
            "volume": np.round(np.exp(rng.normal(12, 0.6, n))), "date": sessions.dates, "event_time": sessions.closes,
        }  # fmt: skip
        frames.append(pl.DataFrame({name: v[which] for name, v in columns.items()}).with_columns(
            pl.lit(f"S{k:05d}").alias("symbol")
        ))  # fmt: skip
    moment = pl.col("event_time").dt.replace_time_zone("UTC")
    text = {"interval": "1d", "adjustment": "none", "source": "synthetic"}
    rows = pl.concat(frames).with_columns(
        moment.alias("event_time"), moment.alias("known_from"),
        pl.col("date").dt.year().cast(pl.String).alias("period"),
        *(pl.lit(value).alias(name) for name, value in text.items()),
    )  # fmt: skip
    return conform(rows.to_arrow(), BARS)


def step(root: Path, name: str, chosen: str, symbols: int, engine: str) -> dict[str, object]:
    """One step in this process; what it cost."""
    home = Workspace(root, {"features.set": chosen})
    began, cpu = time.perf_counter(), time.process_time()
    told: dict[str, object] = {}
    if name in ("fill", "more"):
        {"fill": fill, "more": more}[name](home, symbols)
    else:
        done = features.build(home, Journal(), engine=engine)
        told = {"rows": done.rows, "new": done.new, "features": done.features}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**told, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - began, "peak": peak}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--set", default="alpha158")
    parser.add_argument("--engine", default="local", choices=["local", "spark"])
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        root, name, symbols = options.step
        print(json.dumps(step(Path(root), name, options.set, int(symbols), options.engine)))
        return
    for symbols in options.symbols:
        with tempfile.TemporaryDirectory() as place:
            root = workspace.create(Path(place) / "home").root
            for name in ("fill", "build", "more", "build"):
                command = [sys.executable, __file__, "--set", options.set, "--engine", options.engine]
                command += ["--step", str(root), name, str(symbols)]
                told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
                if name != "build":
                    continue
                values = told["new"] * told["features"]
                print(
                    f"{options.set}, {symbols:,} symbols, {options.engine}: "
                    f"{told['new']:,} new of {told['rows']:,} rows: {told['cpu']:.1f} s CPU, {told['wall']:.1f} s, "
                    f"peak {told['peak']:,.0f} MiB "
                    f"({1e9 * told['cpu'] / max(values, 1):.1f} ns a value)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
