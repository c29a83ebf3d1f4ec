"""Price of one more bar: CPU milliseconds for all symbols of a slot, memory of the state, size of a checkpoint.

::

    python -m benchmarks.live                       # 500 symbols, alpha158
    python -m benchmarks.live --set core --symbols 2000

The values are compared with those of batch, to the last bit. One thread; CPU is that of the process, the best and the
median of the last slots, and beside it what batch takes for a value in the same run, by which machines may be
compared. The last line is the whole way: from the lake's bars to the lake's features and the online store.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import calendars
from aiquant.calendars import Sessions
from aiquant.features import catalogue, engine
from aiquant.features.live import LiveSet
from aiquant.jobs import live, workspace
from aiquant.jobs.comparing import compare
from aiquant.jobs.journal import Journal
from benchmarks.features import make_bars


def slots(bars: pa.Table) -> list[pa.Table]:
    """The bars of each slot."""
    frame = pl.DataFrame(pl.from_arrow(bars)).sort("event_time", "symbol")
    return [part.to_arrow().cast(bars.schema) for part in frame.partition_by("event_time", maintain_order=True)]


def measure(name: str, symbols: int, sessions: Sessions) -> None:
    """One set, slot by slot."""
    chosen = catalogue.get(name)
    bars = make_bars(symbols, sessions, gaps=True)
    made = LiveSet(chosen, sessions, "1d")
    rows, seconds = [], []
    for part in slots(bars):
        began = time.process_time()
        rows.append(made.push(part))
        seconds.append(time.process_time() - began)
    got = pl.DataFrame(pl.from_arrow(pa.concat_tables(rows)))
    want = pl.DataFrame(pl.from_arrow(engine.compute(chosen, bars, sessions)))
    found = compare(want, got, [f.name for f in chosen.features], ("batch", "bar by bar"))
    assert not found.differing, found.first
    began = time.process_time()
    engine.compute(chosen, bars, sessions, threads=1)
    batch = (time.process_time() - began) / found.values * 1e9
    late = 1000 * np.array(seconds[-60:])
    print(f"{name}: {symbols} symbols × {len(chosen.features)} features, {found.values:,} values as in batch")
    print(
        f"  one more bar each     {late.min():.2f} ms of CPU at best, {np.median(late):.2f} in the median of 60 slots"
    )
    value = late.min() * 1e6 / symbols / len(chosen.features)
    print(f"  a value               {value:.0f} ns, in batch {batch:.1f} ns in the same run")
    print(f"  bars a second         {symbols / np.median(late) * 1000:,.0f}")
    print(f"  state                 {made.nbytes / 1e6:.2f} MB, checkpoint {len(made.save()) / 1e6:.2f} MB")


def whole_way(name: str, symbols: int, sessions: Sessions) -> None:
    """From the lake to the lake and online."""
    bars = pl.DataFrame(pl.from_arrow(make_bars(symbols, sessions, gaps=True)))
    with tempfile.TemporaryDirectory() as folder:
        space = workspace.create(Path(folder) / "w")
        first = bars["date"].unique().sort()[-40]
        for part in (bars.filter(pl.col("date") < first), bars.filter(pl.col("date") >= first)):
            space.lake.write("bars", part.to_arrow(compat_level=pl.CompatLevel.oldest()))
            began = time.perf_counter()
            done = live.live(space, Journal(), [name], drain=True, kafka=False)
            took = time.perf_counter() - began
        print(f"  stream live, 40 slots {done.rows / took:,.0f} bars a second, start and commits included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="alpha158", help="feature set")
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=150)
    told = parser.parse_args()
    whole = calendars.sessions("XNYS", date(2000, 1, 3), date(2020, 12, 31))
    n = told.sessions
    sessions = Sessions("XNYS", whole.dates[-n:], whole.opens[-n:], whole.closes[-n:], whole.per_year, whole.longest_us)
    measure(told.set, told.symbols, sessions)
    whole_way(told.set, told.symbols, sessions)


if __name__ == "__main__":
    main()
