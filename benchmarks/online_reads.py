"""Price of online reads: the direct reader beside Feast's plain call on Feast's own stores, SQLite and Redis.

::

    python benchmarks/online_reads.py                       # set alpha158: 158 features, 1, 100 and 1,000 symbols
    python benchmarks/online_reads.py --set core --stores sqlite

Needs the extra ``feast``, and redis-server for the part with Redis: on a free loopback port, nothing is kept.
Values, times and types are compared before anything is timed. Milliseconds of one read, median and 99th percentile,
ours and Feast's in turn; and the CPU seconds of the process for each.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aiquant import schemas
from aiquant.features import catalogue, online
from aiquant.features.online import View
from aiquant.settings import OnlineSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

CLOSE = datetime(2024, 6, 28, 20, tzinfo=UTC)


def rows_of(view: View, symbols: list[str]) -> pa.Table:
    """A row of random values for each symbol, one in fifty missing."""
    values = np.random.default_rng(1).normal(size=(len(view.features), len(symbols))).astype(np.float32)
    values[np.random.default_rng(2).random(values.shape) < 0.02] = np.nan
    moment = pa.array([CLOSE] * len(symbols), schemas.TIME)
    columns = {
        "symbol": pa.array(symbols),
        "date": moment.cast(pa.date32()),
        "event_time": moment,
        "known_from": moment,
    }
    return pa.table({**columns, **{name: pa.array(values[at]) for at, name in enumerate(view.features)}})


def feast_alone(folder: Path, view: View, rows: pa.Table, store: dict[str, Any]) -> Any:
    """Feast as it comes, with these rows in its online store."""
    import feast

    config = feast.RepoConfig(
        project="bench",
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store={"type": "duckdb"},
        online_store=store,
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    opened = feast.FeatureStore(config=config)
    symbol = feast.Entity(name="symbol", join_keys=["symbol"], value_type=feast.ValueType.STRING)
    source = feast.FileSource(path=str(folder / "x.parquet"), timestamp_field="event_time")
    fields = [feast.Field(name=name, dtype=feast.types.Float32) for name in view.features]
    opened.apply(
        [symbol, feast.FeatureView(name=view.name, entities=[symbol], source=source, schema=fields, online=True)]
    )
    opened.write_to_online_store(view.name, rows.drop_columns(["date", "known_from"]).to_pandas())
    return opened


def in_turn(seconds: float, ours: Callable[[], Any], theirs: Callable[[], Any]) -> list[tuple[float, float, float]]:
    """Median and 99th percentile (ms of wall time) and CPU ms a read of both, in turn for ``seconds`` at least."""
    walls: list[list[float]] = [[], []]
    cpus = [0.0, 0.0]
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(walls[1]) < 5:
        for at, call in enumerate((ours, theirs)):
            for _ in range(10 if at == 0 else 1):
                began, cpu = time.perf_counter(), time.process_time()
                call()
                walls[at].append((time.perf_counter() - began) * 1e3)
                cpus[at] += (time.process_time() - cpu) * 1e3
    return [(*np.percentile(wall, [50, 99]).tolist(), cpu / len(wall)) for wall, cpu in zip(walls, cpus)]


def demand_equal(ours: pa.Table, answer: dict[str, list[Any]], view: View) -> None:
    """Stop when a value or a time differs; NaN is null to Feast."""
    seconds = [int(moment.timestamp()) for moment in ours["event_time"].to_pylist()]
    for name in view.features:
        mine = [None if value != value else value for value in ours[name].to_pylist()]
        if mine != answer[name] or seconds != answer[f"{name}__ts"]:
            print(f"Feast and the direct reader differ in {name}")
            sys.exit(1)


def compare(view: View, ours: online.OnlineStore, theirs: Any, rows: pa.Table, label: str, seconds: float) -> None:
    """One store: equal answers, then the clock."""
    ours.write(view, rows)
    everything = rows["symbol"].to_pylist()
    refs = [f"{view.name}:{name}" for name in view.features]
    print(f"{label}, {len(view.features)} features: ms a read, p50 / p99 (CPU)")
    for count in (1, 100, len(everything)):
        symbols = everything[:count]
        entities = [{"symbol": symbol} for symbol in symbols]

        def plain() -> Any:
            return theirs.get_online_features(features=refs, entity_rows=entities)

        demand_equal(ours.read(view, symbols), plain().to_dict(include_event_timestamps=True), view)
        mine, feasts = in_turn(seconds, lambda: ours.read(view, symbols), lambda: plain().to_dict())
        print(
            f"  {count:>5} symbols: ours {mine[0]:8.2f} / {mine[1]:8.2f} ({mine[2]:.2f}), "
            f"Feast {feasts[0]:9.1f} / {feasts[1]:9.1f} ({feasts[2]:.1f}): "
            f"{feasts[0] / mine[0]:.0f} times, CPU {feasts[2] / mine[2]:.0f} times"
        )


def main() -> int:
    """Run both stores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="alpha158", dest="name")
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--stores", default="sqlite,redis")
    told = parser.parse_args()
    warnings.simplefilter("ignore")
    view = View.of(catalogue.get(told.name))
    rows = rows_of(view, [f"S{at:04d}" for at in range(told.symbols)])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "sqlite" in told.stores:
            theirs = feast_alone(folder, view, rows, {"type": "sqlite", "path": str(folder / "feast.db")})
            compare(view, online.open_store(OnlineSettings(), folder), theirs, rows, "SQLite", told.seconds)
        if "redis" in told.stores and shutil.which("redis-server") is None:
            print("Redis: not measured, redis-server is not installed")
        elif "redis" in told.stores:
            import redis_server  # type: ignore[import-not-found]

            server = redis_server.Redis(folder)
            server.start()
            try:
                theirs = feast_alone(folder, view, rows, {"type": "redis", "connection_string": server.address})
                settings = OnlineSettings(store="redis", address=server.address)
                compare(view, online.open_store(settings, folder), theirs, rows, "Redis", told.seconds)
            finally:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
