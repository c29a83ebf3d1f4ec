"""The account beside vectorbt, bt and backtesting.py on real prices: equal where semantics agree, and what it costs
where they do not.

Usage: ``python benchmarks/engines.py --bars FILE [--peer-environment DIR] [--symbols N]``

``FILE`` holds daily bars (symbol, date, open, close). Symbols that have a bar on every date are used. The peers live in
an environment of their own, made by this script. Prints one JSON object; exits with 1 if a path differs that has to
agree.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also where it is started as a file

from benchmarks.backtest import peer_python  # noqa: E402

PEERS = ("vectorbt==1.2.0", "bt==1.4.1", "backtesting==0.6.6")
CAPITAL, FEE, SLIPPAGE = 10_000_000.0, 0.001, 0.0005
EVERY, LOOKBACK, SINGLES, SAME = 21, 252, 5, 1e-9
Array = NDArray[np.float64]


def market(bars: Path, most: int) -> dict[str, Any]:
    """Prices without a gap, and monthly books of winners: the 20 best of a year, and these less the 20 worst."""
    frame = pl.read_parquet(bars).select("symbol", "date", "open", "close").drop_nulls()
    sane = frame.with_columns(move=(pl.col("close") / pl.col("close").shift(1)).over("symbol"))
    wild = sane.filter((pl.col("move") > 1.8) | (pl.col("move") < 0.5))["symbol"].unique()
    days = frame.group_by("date").len().filter(pl.col("len") > pl.col("len").max() * 0.7)["date"].sort()
    frame = frame.filter(pl.col("date").is_in(days.implode()) & ~pl.col("symbol").is_in(wild.implode()))
    whole = frame.group_by("symbol").len().filter(pl.col("len") == len(days))["symbol"].sort().head(most)
    wide = {
        name: frame.filter(pl.col("symbol").is_in(whole.implode()))
        .pivot(on="symbol", index="date", values=name)
        .sort("date")
        .select(whole.to_list())
        .to_numpy()
        for name in ("open", "close")
    }
    close = wide["close"]
    decided = np.arange(LOOKBACK, len(close) - 1, EVERY)
    order = (close[decided - 21] / close[decided - LOOKBACK]).argsort(axis=1, kind="stable").argsort(axis=1)
    best, worst = order >= close.shape[1] - 20, order < 20
    average = np.array([close[max(0, t - 49) : t + 1].mean(axis=0) for t in range(len(close))])
    return {
        **wide,
        "dates": days.to_numpy().astype("datetime64[D]"),
        "decided": decided,
        "longs": 0.9 * best / 20.0,
        "shorts": 0.5 * best / 20.0 - 0.5 * worst / 20.0,
        "wanted": close > average,
        "singles": SINGLES,
        "capital": CAPITAL,
        "fee": FEE,
        "slippage": SLIPPAGE,
    }


def account(fill: Array, close: Array, decided: NDArray[np.int64], weights: Array, **rules: Any) -> Array:
    """Equity at every close, by the product's own engine; before the first decision it is the capital."""
    from aiquant.backtest import engine
    from aiquant.calendars import Sessions
    from aiquant.schemas import BARS, conform
    from aiquant.settings import BacktestSettings

    count, symbols = close.shape
    days = np.datetime64("2000-01-01") + np.arange(count)
    opens = days.astype("datetime64[us]") + np.timedelta64(14, "h")
    sessions = Sessions("every-day", days, opens, opens + np.timedelta64(7, "h"), 252.0)
    names = np.array([f"S{i:04d}" for i in range(symbols)])
    moments = np.repeat(sessions.closes, symbols)
    nothing = pa.nulls(count * symbols, pa.float64())
    table = {
        "symbol": np.tile(names, count),
        "interval": pa.array(["1d"] * (count * symbols)),
        "period": pa.array(["x"] * (count * symbols)),
        "date": np.repeat(days, symbols),
        "event_time": pa.array(moments, pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
        "known_from": pa.array(moments, pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
        "open": fill.ravel(),
        "high": nothing,
        "low": nothing,
        "close": close.ravel(),
        "volume": nothing,
        "vwap": nothing,
        "trades": pa.nulls(count * symbols, pa.int64()),
        "adjustment": pa.array(["unknown"] * (count * symbols)),
        "source": pa.array(["x"] * (count * symbols)),
    }
    book = pa.table(
        {
            "date": np.repeat(days[decided], symbols),
            "symbol": np.tile(names, len(decided)),
            "weight": np.ascontiguousarray(weights).ravel(),
        }
    )
    settings = BacktestSettings(**{"capital": CAPITAL, "borrow_bps": 0.0, **rules})
    told = engine.run(book, conform(pa.table(table), BARS), sessions, settings).equity
    equity: Array = np.full(count, CAPITAL)
    equity[int(decided[0]) :] = told["equity"].to_numpy()
    return equity


def at_same_close(close: Array, decided: NDArray[np.int64], weights: Array, **rules: Any) -> Array:
    """As a peer that fills at the close of the decision: each session stands twice, and fills at its own close."""
    twice = np.repeat(close, 2, axis=0)
    return account(twice, twice, 2 * decided, weights, **rules)[1::2]


def held_weights(held: Array, close: Array, equity: Array) -> Array:
    """Weights that ask for exactly these shares, sized on this close and equity."""
    weights: Array = held * close / equity[:, None]
    return weights


def bps(value: float) -> float:
    return round(value * 1e4, 12)


def agreeing(data: dict[str, Any], theirs: dict[str, Array]) -> dict[str, float]:
    """Largest relative difference of equity paths whose semantics agree."""
    fill, close, decided, longs = data["open"], data["close"], data["decided"], data["longs"]
    costs = {"commission_bps": bps(FEE), "slippage_bps": bps(SLIPPAGE)}
    free = {"commission_bps": 0.0, "slippage_bps": 0.0}
    pairs = {
        "vectorbt, next open": account(fill, close, decided, longs, **costs),
        "vectorbt, next open, whole shares": account(fill, close, decided, longs, shares="whole", **costs),
        "vectorbt, next open, long-short": account(fill, close, decided, data["shorts"], **costs),
        "vectorbt, same close": at_same_close(close, decided, longs, **costs),
        "bt, free": at_same_close(close, decided, longs, **free),
    }
    # Sizing of these is not ours: their positions are asked for, and the account has to come to the same cash.
    fees = {"commission_bps": bps(FEE), "slippage_bps": 0.0, "margin": True}
    for name, rules in (("bt, fees", fees), ("bt, whole", {**fees, "commission_bps": 0.0})):
        held, value = theirs[f"{name}, held"], theirs[name]
        before = np.vstack([np.zeros((1, held.shape[1])), held[:-1]])
        paid = (np.abs(held - before) * close).sum(axis=1) * rules["commission_bps"] / 1e4
        asked = held_weights(held, close, value + paid)[decided]
        pairs[name] = at_same_close(close, decided, asked, **rules)
    for column in range(SINGLES):
        name = f"backtesting {column}"
        held = theirs[f"{name}, held"][:, None]
        changes = np.flatnonzero(np.diff(held[:, 0]) != 0)  # decided at the close before the first bar of the position
        own = slice(column, column + 1)
        asked = held_weights(held[changes + 1], close[changes, own], theirs[name][changes])
        pairs[name] = account(fill[:, own], close[:, own], changes, asked, **fees)
    return {name: float(np.abs(mine / theirs[name] - 1.0).max()) for name, mine in pairs.items()}


def effects(data: dict[str, Any], theirs: dict[str, Array]) -> dict[str, float]:
    """What a convention of theirs does to the final equity, relative to ours with the same weights and costs."""
    fill, close, decided, longs = data["open"], data["close"], data["decided"], data["longs"]
    full = longs / longs.sum(axis=1, keepdims=True)
    costs = {"commission_bps": bps(FEE), "slippage_bps": bps(SLIPPAGE)}
    fees, free = {**costs, "slippage_bps": 0.0}, {"commission_bps": 0.0, "slippage_bps": 0.0}
    ours = account(fill, close, decided, longs, **costs)
    invested = account(fill, close, decided, full, **costs)
    pairs = {
        "cash short: smallest buys first, the last is cut (vectorbt, auto)": (
            "vectorbt, fully invested, auto",
            invested,
        ),
        "cash short: in order of columns (vectorbt, default)": ("vectorbt, fully invested, default", invested),
        "filled at the close that decides (vectorbt, bt)": ("vectorbt, same close", ours),
        "sized on the open that fills (vectorbt without val_price)": ("vectorbt, sized on the open", ours),
        "fee within the amount traded (bt)": ("bt, fees", at_same_close(close, decided, longs, **fees)),
        "whole shares: rounded down to the position (bt)": (
            "bt, whole",
            at_same_close(close, decided, longs, shares="whole", **free),
        ),
    }
    told = {name: float(theirs[key][-1] / mine[-1] - 1.0) for name, (key, mine) in pairs.items()}
    returns = ours[1:] / ours[:-1] - 1.0
    sharpe = float(returns.mean() / returns.std(ddof=1) * np.sqrt(252.0))
    told["Sharpe ratio by a year of 365 days (vectorbt)"] = float(theirs["vectorbt, sharpe"][0] / sharpe - 1.0)
    return told


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=Path, required=True)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--peer-environment", type=Path, default=Path(tempfile.gettempdir(), "aiquant-bench-engines"))
    asked = parser.parse_args()
    data = market(asked.bars, asked.symbols)
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "market.npz"), Path(folder, "results.npz")
        np.savez(given, **data)
        program = Path(__file__).parent / "peers" / "engines.py"
        python = peer_python(asked.peer_environment, *PEERS)
        done = subprocess.run([python, program, given, answer], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        theirs = dict(np.load(answer))
    same = agreeing(data, theirs)
    count, symbols = data["close"].shape
    about = {
        "symbols": symbols,
        "sessions": count,
        "decisions": len(data["decided"]),
        "from": str(data["dates"][0]),
        "to": str(data["dates"][-1]),
    }
    print(json.dumps({"market": about, "largest_difference": same, "effect": effects(data, theirs)}, indent=2))
    sys.exit(0 if max(same.values()) < SAME else 1)


if __name__ == "__main__":
    main()
