"""Sweeps against vectorbt: equal final values first, then CPU seconds, interleaved, one thread each.

Usage: ``python benchmarks/sweep.py --vectorbt-python PYTHON [--rounds N]``

Task B: 1,000 pairs of moving averages on 2,520 daily bars. Task C: one pair with a stop on a million minute bars. From
prices to final values, averages included. Each bar opens at the close before it, so that all cash and all equity are
one thing, and orders fill there with fee and slippage.

Three conventions are handed to the peer in its data: an exit that is due at a bar's open comes before a stop inside
that bar (the low of such a bar is its open); what is decided at a close fills a bar later (signals are shifted);
averages that begin in order are an entry (the peer's own crossing would wait for the next one). Costs of task C are a
hundredth of those of B, or its thousands of trades would leave less cash than the peer's tolerances tell from none.

The peer lives in an environment of its own (its licence keeps it out of the project), with ``vectorbt==1.2.0``. Prints
one JSON object; exits with 1 if final values differ by more than 1e-9 of themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

FEE, SLIPPAGE, CAPITAL, STOP = 0.001, 0.0005, 1_000_000.0, 0.003

PEER_PROGRAM = """
import json, sys, time
import numpy as np, pandas as pd, vectorbt as vbt
data = np.load(sys.argv[1])
fee, slippage, capital, stop = (float(data[name]) for name in ("fee", "slippage", "capital", "stop"))

def shifted(signals):
    later = np.zeros_like(signals)
    later[1:] = signals[:-1]
    return later

def signals(above):
    before = shifted(above)
    return shifted(above & ~before), shifted(before & ~above)

def pairs():
    close = pd.Series(data["close"])
    fast = vbt.MA.run(close, window=data["fast"].tolist(), short_name="fast")
    slow = vbt.MA.run(close, window=data["slow"].tolist(), short_name="slow")
    entries, exits = signals(fast.ma_above(slow).to_numpy())
    done = vbt.Portfolio.from_signals(
        close, entries=entries, exits=exits, price=data["open"][:, None], fees=fee, slippage=slippage,
        init_cash=capital, freq="1D",
    )
    return done.final_value().to_numpy()

def stopped():
    close = pd.Series(data["minute_close"])
    fast, slow = vbt.MA.run(close, window=20), vbt.MA.run(close, window=100)
    entries, exits = signals(fast.ma_above(slow).to_numpy())
    low = np.where(exits, data["minute_open"], data["minute_low"])
    done = vbt.Portfolio.from_signals(
        close, entries=entries, exits=exits, price=data["minute_open"], open=data["minute_open"],
        high=data["minute_high"], low=low, sl_stop=stop, stop_entry_price="fillprice", stop_exit_price="stopmarket",
        fees=fee / 100, slippage=slippage / 100, init_cash=capital, freq="1min",
    )
    return np.atleast_1d(done.final_value())

for line in sys.stdin:
    task, to = json.loads(line)
    begin = time.process_time()
    final = {"B": pairs, "C": stopped}[task]()
    seconds = time.process_time() - begin
    np.save(to, final)
    print(json.dumps(seconds), flush=True)
"""


def market(seed: int = 1) -> dict[str, NDArray[Any]]:
    """Random walks: daily closes, and minute bars whose bodies have short tails."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0.0002, 0.02, 2520)))
    minute = 100 * np.exp(np.cumsum(rng.normal(0.0, 0.0003, 1_000_000)))
    opened = np.concatenate([minute[:1], minute[:-1]])
    tail = np.abs(rng.normal(0, 0.0001, (2, len(minute))))
    pairs = [(fast, slow) for fast in range(5, 45) for slow in range(50, 175, 5)]
    return {
        "close": close,
        "open": np.concatenate([close[:1], close[:-1]]),
        "fast": np.array([fast for fast, _ in pairs]),
        "slow": np.array([slow for _, slow in pairs]),
        "minute_close": minute,
        "minute_open": opened,
        "minute_high": np.maximum(opened, minute) * (1 + tail[0]),
        "minute_low": np.minimum(opened, minute) * (1 - tail[1]),
        "fee": np.float64(FEE),
        "slippage": np.float64(SLIPPAGE),
        "capital": np.float64(CAPITAL),
        "stop": np.float64(STOP),
    }


def ours(task: str, data: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], float]:
    """Final values and CPU seconds."""
    from aiquant.backtest import sweep
    from aiquant.backtest.kernel import Rules, Tape

    rules = Rules(FEE, SLIPPAGE, 0.0, False, False, 20)
    begin = time.process_time()
    if task == "C":
        bars = (data["minute_open"], data["minute_low"], data["minute_close"])
        cheap = rules._replace(commission=FEE / 100, slippage=SLIPPAGE / 100)
        final = sweep.stopped_crossing(*bars, 20, 100, STOP, cheap, CAPITAL).final
        return final, time.process_time() - begin
    close, none = data["close"][:, None], np.zeros(0, dtype=np.int64)
    tape = Tape(
        fill=data["open"][:, None],
        close=close,
        trading=np.ones(len(close), dtype=np.bool_),
        action_row=np.zeros(len(close) + 1, dtype=np.int64),
        action_symbol=none,
        action_kind=none,
        action_value=np.zeros(0),
    )
    windows = np.unique(np.concatenate([data["fast"], data["slow"]]))
    pairs = np.searchsorted(windows, np.stack([data["fast"], data["slow"]], axis=1))
    final = sweep.crossings(tape, sweep.averages(close, windows.tolist()), pairs, rules, CAPITAL).final
    return final, time.process_time() - begin


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectorbt-python", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    data, found = market(), {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "market.npz"), **data)
        command = [str(asked.vectorbt_python), "-c", PEER_PROGRAM, str(Path(folder, "market.npz"))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            assert peer.stdin is not None and peer.stdout is not None
            for task in ("B", "C"):
                mine, theirs = [], []
                for _ in range(asked.rounds + 1):  # the first round of each compiles
                    final, seconds = ours(task, data)
                    mine.append(seconds)
                    to = str(Path(folder, "final.npy"))
                    print(json.dumps([task, to]), file=peer.stdin, flush=True)
                    theirs.append(json.loads(peer.stdout.readline()))
                found[task] = {
                    "difference": float(np.abs(final / np.load(to) - 1).max()),
                    "ours_cpu_s": round(min(mine[1:]), 5),
                    "vectorbt_cpu_s": round(min(theirs[1:]), 5),
                    "ratio": round(min(theirs[1:]) / min(mine[1:]), 1),
                    "first_call_cpu_s": round(mine[0], 2),
                }
            peer.stdin.close()
    print(json.dumps(found, indent=2))
    sys.exit(0 if all(task["difference"] < 1e-9 for task in found.values()) else 1)


if __name__ == "__main__":
    main()
