"""Runs in an environment with pyqlib: Alpha158 of given bars, its CPU seconds on stdout (``benchmarks/features.py``).

::

    python qlib_alpha158.py bars.parquet calendar.txt result.parquet
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

FIELDS = ("open", "high", "low", "close", "volume", "vwap")


def write_store(bars: pd.DataFrame, days: list[str], folder: Path) -> None:
    """Qlib's own store: one float32 file a field and symbol, led by the position of its first day."""
    place = {day: k for k, day in enumerate(days)}
    (folder / "calendars").mkdir(parents=True)
    (folder / "calendars" / "day.txt").write_text("\n".join(days) + "\n")
    lines = []
    for symbol, own in bars.groupby("symbol"):
        at = own["date"].astype(str).map(place).to_numpy()
        target = folder / "features" / symbol.lower()
        target.mkdir(parents=True)
        for field in FIELDS:
            values = np.full(at[-1] - at[0] + 1, np.nan, dtype="<f4")
            values[at - at[0]] = own[field].to_numpy()
            np.concatenate([[at[0]], values]).astype("<f4").tofile(target / f"{field}.day.bin")
        lines.append(f"{symbol}\t{days[at[0]]}\t{days[at[-1]]}")
    (folder / "instruments").mkdir()
    (folder / "instruments" / "all.txt").write_text("\n".join(lines) + "\n")


def main() -> None:
    import qlib
    from qlib.contrib.data.loader import Alpha158DL
    from qlib.data import D

    bars_file, calendar_file, result_file = map(Path, sys.argv[1:])
    bars = pd.read_parquet(bars_file).sort_values(["symbol", "date"])
    days = calendar_file.read_text().split()
    with tempfile.TemporaryDirectory() as folder:
        write_store(bars, days, Path(folder))
        qlib.init(provider_uri=folder, kernels=1, joblib_backend="sequential", logging_level=40)
        formulas, names = Alpha158DL.get_feature_config()
        symbols = sorted(bars["symbol"].unique())
        began = time.process_time()
        result = D.features(symbols, formulas, days[0], days[-1], freq="day", disk_cache=0)
        seconds = time.process_time() - began
    result.columns = names
    frame = result.astype(np.float32).reset_index().rename(columns={"instrument": "symbol", "datetime": "date"})
    frame["date"] = frame["date"].dt.date
    frame.to_parquet(result_file)
    print(seconds)


if __name__ == "__main__":
    main()
