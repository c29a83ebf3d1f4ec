"""Price of features: CPU seconds, nanoseconds a value, peak memory; Polars and, if told where it is, Qlib beside us.

::

    python benchmarks/features.py                                  # 800 symbols × 3,402 sessions, alpha158
    python benchmarks/features.py --symbols 50 --sessions 600
    python benchmarks/features.py --symbols 50 --qlib-python /path/to/venv/bin/python   # an environment with pyqlib

Values are compared before anything is timed. CPU seconds are those of the process, best of ``--repeat``; one thread.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import calendars
from aiquant.calendars import Sessions
from aiquant.features import catalogue, engine
from aiquant.features.catalogue import FeatureSet
from aiquant.schemas import BARS, conform

LAST = date(2020, 12, 31)

POLARS: dict[str, pl.Expr] = {
    "ROC20": pl.col("close").shift(20) / pl.col("close"),
    "MA20": pl.col("close").rolling_mean(20, min_samples=1) / pl.col("close"),
    "STD20": pl.col("close").rolling_std(20, min_samples=2) / pl.col("close"),
    "MAX20": pl.col("high").rolling_max(20, min_samples=1) / pl.col("close"),
    "QTLU20": pl.col("close").rolling_quantile(0.8, interpolation="linear", window_size=20, min_samples=1)
    / pl.col("close"),
    "VMA20": pl.col("volume").rolling_mean(20, min_samples=1) / (pl.col("volume") + 1e-12),
}
"""The same features as plain Polars expressions; they count rows, so they are compared on bars without gaps."""


def make_bars(symbols: int, sessions: Sessions, gaps: bool) -> pa.Table:
    """Synthetic daily bars: a random walk with tied prices; with ``gaps`` also suspensions, flat prices, no volume."""
    rng = np.random.default_rng(1)
    n = len(sessions)
    frames = []
    for k in range(symbols):
        close = np.round(np.exp(3 + np.cumsum(rng.normal(0, 0.02, n))), 2)
        close[k % 50 :: 97] = close[max(k % 50 - 1, 0)]
        opened = np.round(close * (1 + rng.normal(0, 0.005, n)), 2)
        high = np.maximum(opened, close) * (1 + np.abs(rng.normal(0, 0.005, n)))
        low = np.minimum(opened, close) * (1 - np.abs(rng.normal(0, 0.005, n)))
        volume = np.round(np.exp(rng.normal(12, 0.6, n)))
        there = np.ones(n, dtype=bool)
        if gaps:
            there[rng.random(n) < 0.01] = False
            there[: rng.integers(0, n // 3) if k % 5 == 0 else 0] = False
            volume[rng.random(n) < 0.003] = 0
            still = slice(n // 2, n // 2 + 15 * (k % 7 == 0))
            opened[still] = high[still] = low[still] = close[still] = close[n // 2]
        values = {"open": opened, "high": high, "low": low, "close": close, "volume": volume, "vwap": (high + low) / 2}
        values = {name: v.astype(np.float32).astype(float) for name, v in values.items()}
        frame = pl.DataFrame({"date": sessions.dates, "event_time": sessions.closes, **values})
        frames.append(frame.filter(pl.Series(there)).with_columns(pl.lit(f"S{k:04d}").alias("symbol")))
    moment = pl.col("event_time").dt.replace_time_zone("UTC")
    text = {"interval": "1d", "period": "2020", "adjustment": "none", "source": "synthetic"}
    rows = pl.concat(frames).with_columns(
        moment.alias("event_time"), moment.alias("known_from"), *(pl.lit(v).alias(name) for name, v in text.items())
    )
    return conform(rows.to_arrow(), BARS)


def best(function: Callable[[], Any], repeat: int) -> float:
    """CPU seconds of the quickest call."""
    seconds = []
    for _ in range(repeat):
        began = time.process_time()
        function()
        seconds.append(time.process_time() - began)
    return min(seconds)


def peak() -> int:
    """Bytes of memory that the process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(name: str, symbols: int, sessions: Sessions, repeat: int) -> None:
    """Our own price of one set."""
    feature_set = catalogue.get(name)
    began = time.perf_counter()
    engine.compute(feature_set, make_bars(2, sessions, gaps=True), sessions, threads=1)
    ready = time.perf_counter() - began
    bars = make_bars(symbols, sessions, gaps=True)
    before = peak()
    table = engine.compute(feature_set, bars, sessions, threads=1)
    held = peak() - before
    values = table.num_rows * len(feature_set.features)
    print(f"{name}: {symbols} symbols × {len(sessions)} sessions, {values / 1e6:,.1f} million values")
    print(f"  peak memory           {held / (4 * values):.2f} × the output of {4 * values / 1e9:.2f} GB")
    del table
    seconds = best(lambda: engine.compute(feature_set, bars, sessions, threads=1), repeat)
    print(f"  kernels ready after   {ready:.1f} s (compiled or read from the cache, two symbols computed)")
    print(f"  CPU                   {seconds:.2f} s, {seconds / values * 1e9:.1f} ns a value, one thread")


def against_polars(symbols: int, sessions: Sessions, repeat: int) -> None:
    """A handful of features beside plain Polars expressions, equal results checked first."""
    bars = make_bars(symbols, sessions, gaps=False)
    frame = pl.DataFrame(pl.from_arrow(bars))
    whole = catalogue.get("alpha158")
    chosen = FeatureSet("chosen", tuple(f for f in whole.features if f.name in POLARS), partial_windows=True)
    ours = pl.DataFrame(pl.from_arrow(engine.compute(chosen, bars, sessions, threads=1)))
    query = frame.lazy().select("symbol", *(e.over("symbol").alias(name) for name, e in POLARS.items()))
    theirs = query.collect()
    for name in POLARS:
        left, right = ours[name].to_numpy(), theirs[name].fill_null(np.nan).to_numpy()
        np.testing.assert_allclose(left, right, rtol=2e-6, atol=1e-6, err_msg=name)
    values = bars.num_rows * len(POLARS)
    mine = best(lambda: engine.compute(chosen, bars, sessions, threads=1), repeat) / values * 1e9
    polars = best(query.collect, repeat) / values * 1e9
    print(f"{', '.join(POLARS)}: equal values")
    print(f"  aiquant {mine:.1f} ns a value, Polars expressions {polars:.1f} ns: {polars / mine:.1f} times as much CPU")


def against_qlib(python: str, symbols: int, sessions: Sessions, repeat: int) -> None:
    """Alpha158 by Qlib in an environment of its own: values compared, then CPU seconds side by side."""
    bars = make_bars(symbols, sessions, gaps=True)
    chosen = catalogue.get("alpha158")
    table = engine.compute(chosen, bars, sessions, qlib_compat=True, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        rows, result = Path(folder, "bars.parquet"), Path(folder, "qlib.parquet")
        pl.DataFrame(pl.from_arrow(bars)).write_parquet(rows)
        script = Path(__file__).parent / "peers" / "qlib_alpha158.py"
        calendar = Path(folder, "calendar.txt")
        calendar.write_text("\n".join(str(d) for d in sessions.dates), encoding="utf-8")
        done = subprocess.run(
            [python, str(script), str(rows), str(calendar), str(result)], check=True, capture_output=True, text=True
        )
        theirs = pl.read_parquet(result)
    keys = ["symbol", "date"]
    ours = pl.DataFrame(pl.from_arrow(table)).drop("event_time", "known_from")
    both = ours.select(keys).join(theirs, on=keys, how="left", maintain_order="left")
    far = {f.name: differences(f.name, ours[f.name].to_numpy(), both[f.name].to_numpy()) for f in chosen.features}
    values = table.num_rows * len(chosen.features)
    mine = best(lambda: engine.compute(chosen, bars, sessions, qlib_compat=True, threads=1), repeat)
    qlib = float(done.stdout.split()[-1])
    beyond = {name: (int((gap > LOOSE.get(name[:4], 1e-6)).sum()), gap.max(initial=0.0)) for name, gap in far.items()}
    told = [f"{name} {count} (up to {most:.1e})" for name, (count, most) in beyond.items() if count]
    print(f"Qlib, {symbols} symbols: the same NaN and inf everywhere; beyond 1e-6 (2e-5 for RSQR, CORR, CORD): {told}")
    print(f"  aiquant {mine / values * 1e9:.1f} ns a value, Qlib {qlib / values * 1e9:.0f} ns: {qlib / mine:.0f} times")


LOOSE = {"RSQR": 2e-5, "CORR": 2e-5, "CORD": 2e-5}


def differences(name: str, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Differences, absolute below 1 and relative above; refuses a NaN or inf that is not on both sides."""
    one_sided = (np.isnan(ours) != np.isnan(theirs)) | (np.isinf(ours) != np.isinf(theirs))
    if one_sided.any():
        first = int(np.argmax(one_sided))
        raise SystemExit(f"{name}: {one_sided.sum()} NaN or inf on one side only, first {ours[first]}, {theirs[first]}")
    both = np.isfinite(ours)
    gap: np.ndarray = np.abs(ours[both].astype(float) - theirs[both]) / np.maximum(1.0, np.abs(theirs[both]))
    return gap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="alpha158", help="feature set")
    parser.add_argument("--symbols", type=int, default=800)
    parser.add_argument("--sessions", type=int, default=3402)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--qlib-python", default=None, help="Python of an environment with pyqlib 0.9.7")
    told = parser.parse_args()
    whole = calendars.sessions("XNYS", date(2000, 1, 3), LAST)
    n = min(told.sessions, len(whole))
    sessions = Sessions("XNYS", whole.dates[-n:], whole.opens[-n:], whole.closes[-n:], whole.per_year)
    measure(told.set, told.symbols, sessions, told.repeat)
    against_polars(min(told.symbols, 100), sessions, told.repeat)
    if told.qlib_python:
        against_qlib(told.qlib_python, min(told.symbols, 100), sessions, told.repeat)


if __name__ == "__main__":
    sys.exit(main())
