"""Price and quality of one book beside PyPortfolioOpt: CPU seconds, and the objective that each reaches.

::

    python benchmarks/optimisers.py                        # 100 symbols × 1,260 returns
    python benchmarks/optimisers.py --peer-python PYTHON   # an environment that has PyPortfolioOpt 1.6.0

Ours is the whole decision: from forecasts and past returns to checked weights. Both take the sample covariance, the
mean of the past as expected returns, and one thread; exit code 1 if ours is worse by more than a hundred-thousandth.
Hierarchical books are compared by price alone: the two measure distances between clusters differently.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

PEER = "PyPortfolioOpt==1.6.0"
BESIDE = "packaging"
"""It imports this without asking for it."""
HERE = Path(__file__).parent
TASKS = ("min-variance", "max-sharpe", "hrp")
LATER = 1e-5
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def market(symbols: int, bars: int) -> NDArray[np.float64]:
    """Returns with one common factor and volatilities of 1 to 3 % a bar."""
    rng = np.random.default_rng(7)
    common = rng.normal(3e-4, 0.01, (bars, 1)) * rng.uniform(0.5, 1.5, symbols)
    return np.asarray(common + rng.normal(0, 1, (bars, symbols)) * rng.uniform(0.01, 0.03, symbols))


def ours(task: str, returns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights that a run would get."""
    from aiquant.portfolio import weights
    from aiquant.portfolio.history import History
    from aiquant.portfolio.moment import Terms
    from aiquant.schemas import FORECASTS, conform
    from aiquant.settings import PortfolioSettings

    bars, count = returns.shape
    names = tuple(f"x{k:03d}" for k in range(count))
    first = date(2015, 1, 1)
    last = first + timedelta(days=bars - 1)
    past = History(np.datetime64(first) + np.arange(bars), names, returns, np.full(returns.shape, np.nan))
    moment = datetime(last.year, last.month, last.day, 21, tzinfo=UTC)
    told = {"run_id": "r", "model": "m", "date": last, "event_time": moment, "horizon": 1, "fold": 0}
    rows = pa.Table.from_pylist([{**told, "symbol": s, "forecast": float(k)} for k, s in enumerate(names)])
    portfolio = PortfolioSettings(
        rule=task, covariance="empirical", lookback=bars, expected="forecast", linkage="ward", cost_bps=0.0
    )
    forecasts = conform(rows, FORECASTS).append_column("expected", pa.array(returns.mean(axis=0)))
    made = weights.build(forecasts, portfolio, Terms(1), "r", past)
    assert not made.decisions["fallbacks"], made.notes
    book = dict(zip(made.weights["symbol"].to_pylist(), made.weights["weight"].to_pylist(), strict=True))
    return np.array([book.get(name, 0.0) for name in names])


def objective(task: str, weights: NDArray[np.float64], returns: NDArray[np.float64]) -> float:
    """Volatility of a bar; for the highest Sharpe ratio the negative ratio, so that less is better everywhere."""
    volatility = float(np.sqrt(weights @ np.cov(returns.T) @ weights))
    return -float(returns.mean(axis=0) @ weights) / volatility if task == "max-sharpe" else volatility


def peer_python(told: str | None, folder: Path) -> str:
    """An environment that has the peer; made where none is given."""
    if told is not None:
        return told
    uv = Path(sys.executable).with_name("uv")
    place = folder / "peer"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place], check=True)
    python = str(place / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, PEER, BESIDE], check=True)
    return python


def main() -> int:
    """Interleave both, compare, and print a table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--symbols", type=int, default=100)
    asked.add_argument("--bars", type=int, default=1260)
    asked.add_argument("--repeat", type=int, default=3)
    asked.add_argument("--peer-python", help="Python of an environment with PyPortfolioOpt.")
    options = asked.parse_args()
    os.environ.update(ONE_THREAD)
    returns = market(options.symbols, options.bars)
    best: dict[str, dict[str, Any]] = {task: {"ours": np.inf, "peer": np.inf} for task in TASKS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = peer_python(options.peer_python, folder)
        np.save(folder / "returns.npy", returns)
        for task in TASKS:
            ours(task, returns)  # imports
        for _ in range(options.repeat):
            for task in TASKS:
                began = time.process_time()
                best[task]["weights"] = ours(task, returns)
                best[task]["ours"] = min(best[task]["ours"], time.process_time() - began)
            command = [python, str(HERE / "peers" / "pypfopt_optimisers.py"), str(folder / "returns.npy"), "1"]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for task in TASKS:
                best[task]["peer"] = min(best[task]["peer"], told[task]["seconds"])
                best[task]["theirs"] = np.array(told[task]["weights"])
    worse = []
    print(f"{options.symbols} symbols × {options.bars:,} returns, CPU seconds, best of {options.repeat}")
    for task, found in best.items():
        own, other = (objective(task, found[key], returns) for key in ("weights", "theirs"))
        print(
            f"{task:14} ours {found['ours']:.3f} s, {PEER} {found['peer']:.3f} s, ratio "
            f"{found['peer'] / found['ours']:.2f}; objective {own:.9f} and {other:.9f}"
        )
        if task != "hrp" and own > other + LATER * abs(other):
            worse.append(task)
    print("equal objectives" if not worse else f"worse than the peer: {', '.join(worse)}")
    return len(worse) > 0


if __name__ == "__main__":
    sys.exit(main())
