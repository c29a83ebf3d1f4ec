"""Price of training frames: our as-of join beside Feast's own ``get_historical_features`` and a plain Polars join.

::

    python benchmarks/training_frames.py                                  # 500 symbols × 2,500 days × 30 features
    python benchmarks/training_frames.py --symbols 50 --days 500
    python benchmarks/training_frames.py --no-ttl 40x400                  # the size of the run without a time to live

Needs the extra ``feast`` and ibis (both are in the development environment). Every result is compared before anything
is timed. CPU seconds are those of the process, all threads, best of ``--repeat``, ours and the peers in turn. Feast and
the first of our figures read the same Parquet file; Polars and the second have everything in memory. Feast's peak
memory is that of the process afterwards.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aiquant.features import asof

TIME = pl.Datetime("us", "UTC")
TTL = timedelta(days=5)
LATE = pl.duration(days=3, hours=1)


def history(symbols: int, days: int, features: int, restated: bool) -> pl.DataFrame:
    """Daily rows as the lake has them, sorted by key; with ``restated`` each twentieth has a version known later."""
    rng = np.random.default_rng(1)
    first = np.datetime64("2014-01-01T21:00", "us")
    days_ = first + np.arange(days) * np.timedelta64(86_400_000_000, "us")
    names = np.repeat([f"S{at:04d}" for at in range(symbols)], days)
    frame = pl.DataFrame({"symbol": names, "event_time": np.tile(days_, symbols)})
    frame = frame.with_columns(pl.col("event_time").dt.replace_time_zone("UTC").cast(TIME))
    values = {f"f{at}": rng.normal(size=frame.height).astype(np.float32) for at in range(features)}
    frame = frame.with_columns(pl.col("event_time").alias("known_from"), *(pl.Series(n, v) for n, v in values.items()))
    if restated:
        later = frame.gather_every(20).with_columns(pl.col("known_from") + LATE, *(pl.col(n) + 1 for n in values))
        frame = pl.concat([frame, later]).sort("symbol", "event_time", "known_from")
    return frame


def entities_of(rows: pl.DataFrame) -> pl.DataFrame:
    """A row for each symbol and day, half an hour after the close."""
    keys = rows.select("symbol", "event_time").unique(maintain_order=True)
    return keys.with_columns(pl.col("event_time") + pl.duration(minutes=30))


def feast_join(folder: Path, rows: pl.DataFrame, entities: pl.DataFrame, ttl: timedelta | None) -> Callable[[], Any]:
    """Feast's own point-in-time join in its correct mode, on its DuckDB store."""
    import feast

    path = folder / "rows.parquet"
    rows.write_parquet(path)
    (folder / "registry.db").unlink(missing_ok=True)
    config = feast.RepoConfig(
        project="bench",
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store={"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = feast.FeatureStore(config=config)
    symbol = feast.Entity(name="symbol", join_keys=["symbol"], value_type=feast.ValueType.STRING)
    source = feast.FileSource(path=str(path), timestamp_field="event_time", created_timestamp_column="known_from")
    names = features_of(rows)
    fields = [feast.Field(name=name, dtype=feast.types.Float32) for name in names]
    store.apply(
        [
            symbol,
            feast.FeatureView(
                name="view", entities=[symbol], ttl=ttl or timedelta(0), source=source, schema=fields, online=False
            ),
        ]
    )
    asked = entities.rename({"event_time": "event_timestamp"}).to_pandas()
    refs = [f"view:{name}" for name in names]
    return lambda: store.get_historical_features(
        entity_df=asked, features=refs, filter_by_created_timestamp=True
    ).to_arrow()


def features_of(rows: pl.DataFrame) -> list[str]:
    """Names of the features."""
    return [name for name in rows.columns if name not in ("symbol", "event_time", "known_from")]


def in_turn(repeat: int, *calls: Callable[[], Any]) -> list[float]:
    """CPU seconds of the quickest of ``repeat`` calls of each, in turn."""
    best = [np.inf] * len(calls)
    for _ in range(repeat):
        for at, call in enumerate(calls):
            began = time.process_time()
            call()
            best[at] = min(best[at], time.process_time() - began)
    return [float(seconds) for seconds in best]


def demand_equal(ours: pl.DataFrame, theirs: pl.DataFrame, what: str) -> None:
    """Stop when a row differs."""
    key = ["symbol", "event_time"]
    theirs = theirs.with_columns(pl.col("event_time").cast(TIME)).sort(key).select(ours.columns)
    if not ours.sort(key).equals(theirs):
        print(f"{what} gives other rows than ours")
        sys.exit(1)


def against_feast(folder: Path, rows: pl.DataFrame, ttl: timedelta | None, repeat: int) -> None:
    """Both read a Parquet file of restated history and give the same rows."""
    entities = entities_of(rows)
    feasts = feast_join(folder, rows, entities, ttl)

    def ours() -> pl.DataFrame:
        read = pl.read_parquet(folder / "rows.parquet")
        return asof.join(entities, [asof.FeatureTable("view", read, ttl)])

    theirs = pl.DataFrame(feasts()).rename({"event_timestamp": "event_time"})
    demand_equal(ours(), theirs, "Feast")
    del theirs
    mine, feast_s = in_turn(repeat, ours, feasts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = "a time to live of five days" if ttl else "no time to live"
    print(f"Feast, {told}: {entities.height:,} entity rows, {rows.height:,} rows, {len(features_of(rows))} features")
    print(
        f"  equal rows; CPU: ours {mine:.3f} s, Feast {feast_s:.2f} s: {feast_s / mine:.0f} times; peak {peak:.1f} GiB"
    )


def against_polars(symbols: int, days: int, features: int, repeat: int) -> None:
    """In memory: where nothing was restated a plain join gives the same rows; where it was, wrong ones."""
    for restated in (False, True):
        rows = history(symbols, days, features, restated)
        entities = entities_of(rows)
        table = asof.FeatureTable("view", rows, TTL)
        plain = rows.drop("known_from")

        def polars() -> pl.DataFrame:
            return entities.join_asof(plain, on="event_time", by="symbol", check_sortedness=False)

        ours, theirs = asof.join(entities, [table]), polars()
        if not restated:
            demand_equal(ours, theirs, "Polars")
        wrong = (ours["f0"] != theirs["f0"]).sum()
        del ours, theirs
        mine, polars_s = in_turn(repeat, lambda: asof.join(entities, [table]), polars)
        told = f"restated history ({wrong:,} rows of Polars' look ahead)" if restated else "equal rows"
        print(f"Polars join_asof, in memory, {told}: {entities.height:,} entity rows, {features} features")
        print(f"  CPU: ours {mine:.3f} s, Polars {polars_s:.3f} s: ours is {mine / polars_s:.2f} times")


def main() -> int:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--days", type=int, default=2500)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-ttl", default="100x500", help="symbols × days of the run without a time to live")
    told = parser.parse_args()
    warnings.simplefilter("ignore")
    asof.join(
        pl.DataFrame({"symbol": ["A"], "event_time": [datetime(2024, 1, 1, tzinfo=UTC)]}),
        [asof.FeatureTable("warm", history(1, 2, 1, True))],
    )
    against_polars(told.symbols, told.days, told.features, max(told.repeat, 5))
    with tempfile.TemporaryDirectory() as folder:
        symbols, days = (int(part) for part in told.no_ttl.split("x"))
        against_feast(Path(folder), history(symbols, days, told.features, True), None, told.repeat)
        against_feast(Path(folder), history(told.symbols, told.days, told.features, True), TTL, told.repeat)
    return 0


if __name__ == "__main__":
    sys.exit(main())
