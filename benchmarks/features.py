"""Price of features: CPU seconds, nanoseconds a value, peak memory; beside Polars, and Qlib and KunQuant if told where.

::

    python benchmarks/features.py                                  # 800 symbols × 3,402 sessions, alpha158
    python benchmarks/features.py --symbols 50 --sessions 600
    python benchmarks/features.py --qlib-python qlib/bin/python --kunquant-python kunquant/bin/python

Peers live in environments of their own, outside of this one; KunQuant needs a C++ compiler::

    python -m venv qlib && qlib/bin/pip install pyqlib==0.9.7 pyarrow
    python -m venv kunquant && kunquant/bin/pip install KunQuant==0.1.12 pandas pyarrow

Values are compared in each run. CPU seconds are those of the process, one thread; ours are taken before and after the
peer's. Peers compute as many symbols as ``--peer-symbols`` says: Qlib needs minutes for 800.
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


def make_bars(symbols: int, sessions: Sessions, gaps: bool, seed: int = 1) -> pa.Table:
    """Synthetic daily bars: a random walk with tied prices; with ``gaps`` also suspensions, flat prices, no volume."""
    rng = np.random.default_rng(seed)
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


def measure(name: str, symbols: int, sessions: Sessions, repeat: int, seed: int) -> None:
    """Our own price of one set."""
    feature_set = catalogue.get(name)
    began = time.perf_counter()
    engine.compute(feature_set, make_bars(2, sessions, gaps=True), sessions, threads=1)
    ready = time.perf_counter() - began
    bars = make_bars(symbols, sessions, gaps=True, seed=seed)
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


def run_peer(python: str, script: str, *args: str | Path) -> float:
    """Run a peer's script in its environment; returns the CPU seconds that it tells."""
    file = Path(__file__).parent / "peers" / script
    done = subprocess.run([python, str(file), *map(str, args)], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def tell(peer: str, mine: list[float], theirs: float, values: int) -> None:
    """The ratio, and how far our own runs before and after the peer's lie apart."""
    ours = min(mine)
    spread = ", ".join(f"{seconds:.2f}" for seconds in mine)
    print(f"  aiquant {ours / values * 1e9:.1f} ns a value, {peer} {theirs / values * 1e9:.0f} ns: ", end="")
    print(f"{theirs / ours:.1f} times as much CPU (aiquant {spread} s before and after, {peer} {theirs:.1f} s)")


def against_qlib(python: str, bars: pa.Table, sessions: Sessions, repeat: int) -> None:
    """Alpha158 by Qlib in an environment of its own: values compared, then CPU seconds side by side."""
    chosen = catalogue.get("alpha158")
    mine = [best(lambda: engine.compute(chosen, bars, sessions, qlib_compat=True, threads=1), repeat)]
    with tempfile.TemporaryDirectory() as folder:
        rows, result, calendar = (Path(folder, name) for name in ("bars.parquet", "qlib.parquet", "calendar.txt"))
        pl.DataFrame(pl.from_arrow(bars)).write_parquet(rows)
        calendar.write_text("\n".join(str(d) for d in sessions.dates), encoding="utf-8")
        qlib = run_peer(python, "qlib_alpha158.py", rows, calendar, result)
        mine.append(best(lambda: engine.compute(chosen, bars, sessions, qlib_compat=True, threads=1), repeat))
        table = engine.compute(chosen, bars, sessions, qlib_compat=True, threads=1)
        keys = pl.DataFrame(pl.from_arrow(table.select(["symbol", "date"]))).with_row_index("row")
        place = keys.join(
            pl.read_parquet(result, columns=["symbol", "date"]).with_row_index("at"), on=["symbol", "date"]
        )
        at = place.sort("row")["at"].to_numpy()
        told = []
        for name in (feature.name for feature in chosen.features):
            theirs = pl.read_parquet(result, columns=[name])[name].to_numpy()[at]
            gap = differences(name, table[name].to_numpy(), theirs)
            far = gap > LOOSE.get(name[:4], 1e-6)
            if far.any():
                told.append(f"{name} {far.sum()} (up to {gap.max():.1e})")
    print(f"Qlib, {len(set(bars['symbol'].to_pylist()))} symbols: the same NaN and inf everywhere; ", end="")
    print(f"beyond 1e-6 (2e-5 for RSQR, CORR, CORD): {', '.join(told) or 'none'}")
    tell("Qlib", mine, qlib, table.num_rows * len(chosen.features))


WARM = 60
"""Rows at the head of a history in which KunQuant, which has no partial windows, has no values."""
SAME = ("KMID", "KLEN", "KUP", "KLOW", "KSFT", "ROC", "MA5", "MA10", "MA20", "MAX", "MIN", "OPEN", "HIGH", "LOW")
"""Features in which float32 arithmetic does no harm: here KunQuant has to say what we say."""


def against_kunquant(python: str, symbols: int, sessions: Sessions, repeat: int, seed: int) -> None:
    """Alpha158 by KunQuant, on bars without gaps: it has no calendar. Its inputs are matrices; ours a table of bars."""
    bars = make_bars(symbols, sessions, gaps=False, seed=seed)
    chosen = catalogue.get("alpha158")
    mine = [best(lambda: engine.compute(chosen, bars, sessions, threads=1), repeat)]
    with tempfile.TemporaryDirectory() as folder:
        rows, result = Path(folder, "bars.parquet"), Path(folder, "kunquant.npz")
        pl.DataFrame(pl.from_arrow(bars)).write_parquet(rows)
        kunquant = run_peer(python, "kunquant_alpha158.py", rows, result, str(repeat))
        mine.append(best(lambda: engine.compute(chosen, bars, sessions, threads=1), repeat))
        table = engine.compute(chosen, bars, sessions, threads=1)
        with np.load(result) as found:
            names, values = found["names"], found["values"]
    near = []
    for name, theirs in zip(names.tolist(), values, strict=True):
        ours = table[name].to_numpy().reshape(symbols, -1)[:, WARM:]
        close = np.isclose(ours, theirs[:, WARM:], rtol=1e-3, atol=1e-4, equal_nan=True)
        if name.startswith(SAME) and not close.mean() > 0.999:
            raise SystemExit(f"{name}: KunQuant differs in {1 - close.mean():.1%} of the values")
        near.append(close.mean())
    print(
        f"KunQuant, {symbols} symbols: {len(names)} features, {sum(n > 0.999 for n in near)} of them as ours to 1e-3; "
    )
    print("  the others it clips, counts otherwise, or sums on in float32, where errors stay")
    tell("KunQuant", mine, kunquant, table.num_rows * len(chosen.features))


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
    parser.add_argument("--seed", type=int, default=1, help="of the synthetic bars")
    parser.add_argument("--peer-symbols", type=int, default=100, help="symbols that peers compute")
    parser.add_argument("--qlib-python", default=None, help="Python of an environment with pyqlib 0.9.7")
    parser.add_argument("--kunquant-python", default=None, help="Python of an environment with KunQuant 0.1.12")
    told = parser.parse_args()
    whole = calendars.sessions("XNYS", date(2000, 1, 3), LAST)
    n = min(told.sessions, len(whole))
    sessions = Sessions("XNYS", whole.dates[-n:], whole.opens[-n:], whole.closes[-n:], whole.per_year)
    measure(told.set, told.symbols, sessions, told.repeat, told.seed)
    against_polars(min(told.symbols, 100), sessions, told.repeat)
    if told.kunquant_python:
        against_kunquant(told.kunquant_python, told.peer_symbols, sessions, told.repeat, told.seed)
    if told.qlib_python:
        bars = make_bars(told.peer_symbols, sessions, gaps=True, seed=told.seed)
        against_qlib(told.qlib_python, bars, sessions, told.repeat)


if __name__ == "__main__":
    sys.exit(main())
