"""Price of a panel and a walk-forward fit: CPU, wall time and peak memory, beside the same done plainly with pandas and
scikit-learn's interface of XGBoost.

::

    python benchmarks/learning.py                         # 500 symbols × 10 years × 158 features
    python benchmarks/learning.py --symbols 100 --trees 20

Both read the same Parquet file, make the same target (rank within the date), the same purged years and the same
trees, on one thread, each in a process of its own. Targets and forecasts are compared before anything is printed; exit
code 1 if they differ.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiquant import calendars
from aiquant.schemas import FEATURES, LABELS
from aiquant.settings import LearningSettings, Settings, XGBoostSettings

HORIZON, EMBARGO, GROUP = 5, 5, 25
TOLERANCE = 1e-6
LEARNING = LearningSettings(min_train_years=3, embargo=EMBARGO, threads=1)


def make(folder: Path, symbols: int, years: int, features: int) -> None:
    """Random features, one of them with a trace of the return that follows, and labels, as Parquet."""
    sessions = calendars.sessions("XNYS", date(2020 - years, 12, 31), date(2020, 12, 31))
    n, rng = len(sessions), np.random.default_rng(7)
    moments = pa.array(sessions.closes, pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    names, writers = [f"x{place:03d}" for place in range(features)], {}
    for first in range(0, symbols, GROUP):
        count = min(GROUP, symbols - first)
        logs = rng.normal(0, 0.02, (count, n)).cumsum(axis=1)
        forward = np.full((count, n), np.nan)
        forward[:, : -HORIZON - 1] = np.exp(logs[:, HORIZON + 1 :] - logs[:, 1:-HORIZON]) - 1
        symbol = pa.array([f"S{first + s:04d}" for s in range(count) for _ in range(n)])
        repeated = pa.chunked_array([moments] * count).combine_chunks()
        days = pa.array(np.tile(sessions.dates, count))
        keys = {"symbol": symbol, "date": days, "event_time": repeated, "known_from": repeated}
        X = rng.normal(size=(features, count * n)).astype(np.float32)
        X[0] += 0.1 * np.nan_to_num(forward.ravel()) / 0.05
        X[:, rng.random(count * n) < 0.01] = np.nan
        table = pa.table({**{k: v for k, v in keys.items() if k in FEATURES.schema.names}, **dict(zip(names, X))})
        known = np.flatnonzero(np.isfinite(forward.ravel()))
        at = np.tile(np.arange(n), count)[known]
        labels = pa.table(
            {
                "symbol": symbol.take(pa.array(known)),
                "date": days.take(pa.array(known)),
                "event_time": moments.take(pa.array(at)),
                "horizon": pa.array(np.full(len(known), HORIZON), pa.int32()),
                "label_start": moments.take(pa.array(at + 1)),
                "label_end": moments.take(pa.array(at + 1 + HORIZON)),
                "forward_return": pa.array(forward.ravel()[known]),
            }
        ).select(LABELS.schema.names)
        for name, rows in (("features", table), ("labels", labels)):
            if name not in writers:
                writers[name] = pq.ParquetWriter(folder / f"{name}.parquet", rows.schema, compression="none")
            writers[name].write_table(rows)
    for writer in writers.values():
        writer.close()


class Groups:
    """The features, a group of symbols at a time."""

    def __init__(self, file: Path) -> None:
        self._file = pq.ParquetFile(file)

    def keys(self) -> pa.Table:
        return self._file.read(["symbol", "date", "event_time"])

    def __iter__(self) -> Iterator[pa.Table]:
        for group in range(self._file.num_row_groups):
            yield self._file.read_row_group(group)


def ours(folder: Path, trees: int) -> dict[str, Any]:
    """aiquant: a panel built a group at a time, folds by the labels' own windows, forecasters of the product."""
    from aiquant.learning import forecasters, panel, splits, training

    settings = Settings(xgboost=XGBoostSettings(n_estimators=trees), learning=LEARNING)
    labels = pq.read_table(folder / "labels.parquet").cast(LABELS.schema)
    built = panel.build(Groups(folder / "features.parquet"), labels)
    told = _spent("panel")
    folds = splits.walk_forward(built, LEARNING)
    trained = training.walk_forward(
        built, folds, lambda: forecasters.create("xgboost", settings), run_id="b", seed=7, threads=1
    )
    table = trained.forecasts.sort_by([("event_time", "ascending"), ("symbol", "ascending")])
    _keep(folder / "ours.npz", built.y, table["forecast"].to_numpy())
    return {**told, **_spent("all"), "panel_mib": built.X.nbytes / 2**20}


def plain(folder: Path, trees: int) -> dict[str, Any]:
    """pandas: read, merge, sort, rank by date; then ``XGBRegressor`` year by year on frames."""
    import pandas as pd
    from xgboost import XGBRegressor

    frame = pd.read_parquet(folder / "features.parquet")
    labels = pd.read_parquet(folder / "labels.parquet")[["symbol", "event_time", "label_end", "forward_return"]]
    frame = frame.merge(labels, on=["symbol", "event_time"], how="left").sort_values(["event_time", "symbol"])
    by_date = frame.groupby("event_time")["forward_return"]
    frame["y"] = ((by_date.rank() - 1) / (by_date.transform("count") - 1) - 0.5).astype("float32")
    told = _spent("panel")
    names = [name for name in frame.columns if name.startswith("x")]
    moments, ends = (frame[name].dt.tz_localize(None).to_numpy() for name in ("event_time", "label_end"))
    times, years = np.unique(moments), frame["event_time"].dt.year.to_numpy()
    forecasts = []
    for year in range(int(years.min()) + LEARNING.min_train_years, int(years.max()) + 1):
        test = frame[years == year]
        start = times[np.searchsorted(times, moments[years == year][0]) - EMBARGO]
        train = frame[(ends < start) & frame["y"].notna().to_numpy()]
        told_xgboost = XGBoostSettings(n_estimators=trees).model_dump(
            exclude={"device", "early_stopping_rounds", "validation_share"}
        )
        model = XGBRegressor(**told_xgboost, tree_method="hist", random_state=7, n_jobs=1)
        model.fit(train[names], train["y"])
        forecasts.append(model.predict(test[names]))
    _keep(folder / "plain.npz", frame["y"].to_numpy(), np.concatenate(forecasts))
    return {**told, **_spent("all")}


def _keep(file: Path, y: NDArray[Any], forecast: NDArray[Any]) -> None:
    np.savez(file, y=y, forecast=forecast)


_BEGAN = time.perf_counter()


def _spent(part: str) -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    return {f"{part}_cpu": cpu, f"{part}_wall": time.perf_counter() - _BEGAN, f"{part}_mib": used.ru_maxrss / 1024}


def main() -> int:
    """Make the data, run both in turn, compare, and print a table."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--symbols", type=int, default=500)
    reader.add_argument("--years", type=int, default=10)
    reader.add_argument("--features", type=int, default=158)
    reader.add_argument("--trees", type=int, default=100)
    reader.add_argument("--rounds", type=int, default=1, help="each is run so often, in turns; the least counts")
    reader.add_argument("--side", choices=["ours", "plain"], help=argparse.SUPPRESS)
    reader.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = reader.parse_args()
    if asked.side:
        print(json.dumps({"ours": ours, "plain": plain}[asked.side](asked.folder, asked.trees)))
        return 0
    with tempfile.TemporaryDirectory(prefix="aiquant-") as place:
        folder = Path(place)
        make(folder, asked.symbols, asked.years, asked.features)
        told: dict[str, dict[str, float]] = {}
        for _ in range(asked.rounds):
            for side in ("ours", "plain"):
                words = [sys.executable, __file__, "--side", side, "--folder", place, "--trees", str(asked.trees)]
                done = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
                before = told.get(side, done)
                told[side] = {name: min(value, before[name]) for name, value in done.items()}
        a, b = np.load(folder / "ours.npz"), np.load(folder / "plain.npz")
        for name in ("y", "forecast"):
            if a[name].shape != b[name].shape or not np.allclose(a[name], b[name], 0, TOLERANCE, equal_nan=True):
                print(f"{name} differs: no comparison")
                return 1
    size = told["ours"]["panel_mib"]
    print(f"{asked.symbols} symbols × {asked.years} years × {asked.features} features: the matrix is {size:,.0f} MiB")
    print(f"{'':10}{'panel CPU':>12}{'all CPU':>12}{'all wall':>12}{'peak':>12}{'of the matrix':>16}")
    for side, row in told.items():
        times = "".join(f"{row[name]:>10.1f} s" for name in ("panel_cpu", "all_cpu", "all_wall"))
        print(f"{side:10}{times}{row['all_mib']:>8,.0f} MiB{row['all_mib'] / size:>15.2f}×")
    return 0


if __name__ == "__main__":
    sys.exit(main())
