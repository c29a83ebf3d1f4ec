"""Accounting kernel against vectorbt: equal equity first, then CPU seconds, interleaved, one thread each.

Usage: ``python benchmarks/backtest.py [--peer-environment DIR] [--rounds N]``

The peer lives in an environment of its own, made by this script (its licence keeps it out of the project): in ``DIR``,
or else in a folder of the system's temporary directory. Prints one JSON object; exits with 1 if the paths differ.
Last comes the account with every rule on, for which the peer has no counterpart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from aiquant.backtest.kernel import Tape

for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

PEER = "vectorbt==1.2.0"
SESSIONS, SYMBOLS, EVERY = 2520, 500, 5
CAPITAL, COMMISSION, SLIPPAGE = 10_000_000.0, 0.001, 0.0005
CASES = {"long, fractional": (False, False), "long, whole": (False, True), "long-short, fractional": (True, False)}

PEER_PROGRAM = """
import json, sys, time
import numpy as np, pandas as pd, vectorbt as vbt
data = np.load(sys.argv[1])
fill, close = pd.DataFrame(data["fill"]), pd.DataFrame(data["close"])
for line in sys.stdin:
    case = json.loads(line)
    size = np.full(close.shape, np.nan)
    size[data["decided"] + 1] = data["shorts" if case["shorts"] else "longs"]
    begin = time.process_time()
    portfolio = vbt.Portfolio.from_orders(
        close, size=pd.DataFrame(size), size_type="targetpercent", price=fill, val_price=close.shift(1),
        fees=float(data["commission"]), slippage=float(data["slippage"]), init_cash=float(data["capital"]),
        size_granularity=1.0 if case["whole"] else np.nan, group_by=True, cash_sharing=True, call_seq="auto", freq="1D",
    )
    equity = portfolio.value().to_numpy()
    seconds = time.process_time() - begin
    np.save(case["to"], equity)
    print(json.dumps({"seconds": seconds}), flush=True)
"""


def market(seed: int = 1) -> dict[str, NDArray[Any]]:
    """Random walks with opens of their own, and a decision on every fifth close that leaves cash for its costs."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0.0002, 0.02, (SESSIONS, SYMBOLS)), axis=0))
    decided = np.arange(0, SESSIONS - 1, EVERY)
    longs = rng.random((len(decided), SYMBOLS))
    shorts = rng.normal(size=longs.shape)
    shorts -= shorts.mean(axis=1, keepdims=True)
    return {
        "close": close,
        "fill": np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.005, close.shape)),
        "decided": decided,
        "longs": 0.9 * longs / longs.sum(axis=1, keepdims=True),
        "shorts": shorts / np.abs(shorts).sum(axis=1, keepdims=True),
        "commission": np.float64(COMMISSION),
        "slippage": np.float64(SLIPPAGE),
        "capital": np.float64(CAPITAL),
    }


def ours(data: dict[str, NDArray[Any]], shorts: bool, whole: bool) -> tuple[NDArray[np.float64], float]:
    """Equity and CPU seconds from prices and weights to the equity curve, all fills written down."""
    from aiquant.backtest import kernel
    from aiquant.backtest.rules import Rules

    weights = data["shorts" if shorts else "longs"]
    begin = time.process_time()
    tape = plain_tape(data)
    rules = Rules(COMMISSION, SLIPPAGE, 0.0, whole, False, 20)
    _, journal, _ = kernel.play(tape, weights, decisions(data), rules, CAPITAL)
    return journal.book[:, 0], time.process_time() - begin


def decisions(data: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """For each session the row of the weights that are decided at its close, -1 for none."""
    decision = np.full(SESSIONS, -1, dtype=np.int64)
    decision[data["decided"]] = np.arange(len(data["decided"]))
    return decision


def plain_tape(data: dict[str, NDArray[Any]]) -> Tape:
    """Prices without corporate actions, for an account with the plain rules."""
    from aiquant.backtest import kernel

    none = np.zeros(0, dtype=np.int64)
    return kernel.Tape(
        fill=data["fill"],
        close=data["close"],
        trading=np.isfinite(data["close"]).any(axis=1),
        action_row=np.zeros(SESSIONS + 1, dtype=np.int64),
        action_symbol=none,
        action_kind=none,
        action_value=np.zeros(0),
    )


def every_rule(data: dict[str, NDArray[Any]], rounds: int) -> dict[str, float]:
    """Least CPU seconds with every rule on: long books in lots, and books with shorts."""
    from aiquant.backtest import kernel
    from aiquant.backtest.rules import Rules

    rng = np.random.default_rng(2)
    close, fill = data["close"], data["fill"]
    span = np.exp(np.abs(rng.normal(0, 0.005, (2, *close.shape))))
    symbols = close.shape[1]
    tape = plain_tape(data)._replace(
        open=fill,
        high=np.maximum(fill, close) * span[0],
        low=np.minimum(fill, close) / span[1],
        volume=rng.lognormal(13.0, 1.0, close.shape),
        slippage=np.full(close.shape, SLIPPAGE),
        impact=np.full(close.shape, 0.02 / np.sqrt(np.exp(13.5))),
        borrow=np.full(symbols, 0.005 / 252),
        locate=np.full(symbols, 1e6),
        lot=np.full(symbols, 10.0),
    )
    rules = Rules(
        COMMISSION, SLIPPAGE, 0.005 / 252, whole=True, margin=True, patience=20, per_share=0.001, minimum=0.5,
        by_bar=True, impact=1.0, participation=0.1, by_symbol=True, lots=True, interest=0.02 / 252,
        margin_interest=0.05 / 252, limited=True, max_position=0.05, max_gross=1.0, max_net=1.0, stops=True,
        stop_loss=0.2, take_profit=0.5, trailing_stop=0.25,
    )  # fmt: skip
    found = {}
    for name, weights in (("long", data["longs"]), ("long-short", data["shorts"])):
        seconds = []
        for _ in range(rounds + 1):
            begin = time.process_time()
            kernel.play(tape, weights, decisions(data), rules, CAPITAL)
            seconds.append(time.process_time() - begin)
        found[name] = round(min(seconds[1:]), 5)
    return found


def peer_python(folder: Path, *packages: str) -> Path:
    """The interpreter of the peers' environment, made when it is not there."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.is_file():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *(packages or (PEER,))], check=True)
    return python


def cold_seconds() -> dict[str, float]:
    """CPU seconds of a first simulation in a new process: with an empty cache of compiled code, and with a warm one."""
    program = (
        "import time; b = time.process_time(); import runpy; m = runpy.run_path(%r); "
        "d = m['market'](); b = time.process_time(); m['ours'](d, False, False); print(time.process_time() - b)"
    ) % str(Path(__file__).resolve())
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("empty cache", "warm cache"):
            environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
            out = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
            found[name] = round(float(out.stdout), 3)
    return found


def compare(python: Path, rounds: int) -> dict[str, Any]:
    """Largest relative difference of the equity paths, and the least CPU seconds of each, for every case."""
    data, found = market(), {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "market.npz"), **data)
        command = [str(python), "-c", PEER_PROGRAM, str(Path(folder, "market.npz"))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            assert peer.stdin is not None and peer.stdout is not None
            for name, (shorts, whole) in CASES.items():
                mine, theirs = [], []
                for _ in range(rounds + 1):  # the first round of each compiles
                    equity, seconds = ours(data, shorts, whole)
                    mine.append(seconds)
                    to = str(Path(folder, "equity.npy"))
                    peer.stdin.write(json.dumps({"shorts": shorts, "whole": whole, "to": to}) + "\n")
                    peer.stdin.flush()
                    theirs.append(json.loads(peer.stdout.readline())["seconds"])
                difference = np.abs(equity / np.load(to) - 1).max()
                found[name] = {
                    "difference": float(difference),
                    "ours_cpu_s": round(min(mine[1:]), 5),
                    "vectorbt_cpu_s": round(min(theirs[1:]), 5),
                }
            peer.stdin.close()
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-environment", type=Path, default=Path(tempfile.gettempdir(), "aiquant-bench-vectorbt"))
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    found = {"first_call_cpu_s": cold_seconds(), **compare(peer_python(asked.peer_environment), asked.rounds)}
    found["every rule on, ours_cpu_s"] = every_rule(market(), asked.rounds)
    print(json.dumps(found, indent=2))
    worst = max(case["difference"] for case in found.values() if "difference" in case)
    sys.exit(0 if worst < 1e-9 else 1)


if __name__ == "__main__":
    main()
