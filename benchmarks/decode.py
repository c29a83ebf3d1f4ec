"""Decoding JSON trades to Arrow: ours beside every route we know, as a share of the fastest.

Usage: ``python benchmarks/decode.py [--messages 100000] [--rounds 5]``

Each route turns the same messages into columns; prices and sizes are compared first (exit code 1 if they differ). Only
ours also checks the envelope, casts to the schema and sorts out bad rows. CPU seconds, best of the rounds, interleaved,
one process. orjson is put into a folder of its own when it is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.json as pajson

from aiquant import schemas
from aiquant.streams import envelope

Route = Callable[[list[bytes]], Any]


def ticks(n: int) -> pa.Table:
    """Random trades in the schema ``ticks``."""
    rng = np.random.default_rng(0)
    begun = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    times = [begun + timedelta(microseconds=int(u)) for u in np.sort(rng.integers(0, 6 * 3600 * 10**6, n))]
    columns = {
        "symbol": [f"S{i:03d}" for i in rng.integers(0, 500, n)],
        "date": [begun.date()] * n,
        "event_time": times,
        "event_ns": [int(t.timestamp() * 10**6) * 1000 for t in times],
        "price": np.round(rng.uniform(5, 500, n), 2),
        "size": rng.integers(1, 1000, n).astype(float),
        "exchange": ["XNAS"] * n,
        "trade_id": [str(i) for i in range(n)],
        "sequence": np.arange(n),
        "ingest_time": times,
        "source": ["benchmark"] * n,
    }
    return schemas.conform(pa.table(columns), schemas.TICKS)


def routes() -> dict[str, Route]:
    """Name → decoder; ours first."""
    try:
        orjson = importlib.import_module("orjson")
    except ImportError:
        folder = tempfile.mkdtemp(prefix="aiquant-bench-")
        subprocess.run(["uv", "pip", "install", "--quiet", "--target", folder, "orjson"], check=True)
        sys.path.insert(0, folder)
        orjson = importlib.import_module("orjson")
    import duckdb

    told = {name: kind for name, kind in (("price", pl.Float64), ("size", pl.Float64), ("symbol", pl.String))}
    columns = {name: told.get(name, pl.String) for name in schemas.TICKS.schema.names if not name.startswith("log_")}

    def ours(values: list[bytes]) -> Any:
        at = np.arange(len(values))
        return envelope.decode("ticks", values, np.zeros(len(values), dtype=np.int64), at, "ticks").rows

    def in_duckdb(values: list[bytes]) -> Any:
        text = pa.table({"v": pa.array(values, pa.binary()).cast(pa.string())})  # noqa: F841  DuckDB finds it by name
        shape = json.dumps({name: "DOUBLE" if kind == pl.Float64 else "VARCHAR" for name, kind in columns.items()})
        return duckdb.sql(f"select unnest(from_json(v, '{shape}')) from text").to_arrow_table()

    return {
        "ours, checked": ours,
        "polars read_ndjson": lambda values: pl.read_ndjson(io.BytesIO(b"\n".join(values)), schema=columns),
        "pyarrow read_json": lambda values: pajson.read_json(io.BytesIO(b"\n".join(values))),
        "duckdb from_json": in_duckdb,
        "orjson, from_pylist": lambda values: pa.Table.from_pylist([orjson.loads(v) for v in values]),
    }


def main() -> int:
    """Compare, time, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    told = parser.parse_args()
    rows = ticks(told.messages)
    values = envelope.encode("ticks", rows)[1]
    found = routes()
    for name, route in found.items():
        made = pl.DataFrame(route(values))
        if made["price"].to_list() != rows["price"].to_pylist() or made["size"].to_list() != rows["size"].to_pylist():
            print(f"{name} decodes other values", file=sys.stderr)
            return 1
    best = dict.fromkeys(found, float("inf"))
    for _ in range(told.rounds):
        for name, route in found.items():
            begun = time.process_time()
            route(values)
            best[name] = min(best[name], time.process_time() - begun)
    fastest = min(best.values())
    print(f"{told.messages:,} trades; CPU seconds, best of {told.rounds}; share of the fastest route's speed")
    for name, seconds in sorted(best.items(), key=lambda pair: pair[1]):
        print(f"  {name:<30}{seconds:>8.3f}{fastest / seconds:>8.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
