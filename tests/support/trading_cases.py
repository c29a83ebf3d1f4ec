"""A small market in a workspace, and weights to trade in it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.jobs import trade, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace


def a_workspace(root: Path, bars: pa.Table, **settings: object) -> Workspace:
    """A workspace with these bars; ``trade__max_gross=1.5`` stands for the setting ``trade.max_gross``."""
    made = workspace.create(root)
    told = {name.replace("__", "."): str(value) for name, value in settings.items()}
    opened = workspace.open_(root, told)
    opened.lake.write(schemas.BARS, bars)
    return Workspace(made.root, told)


def up_to(bars: pa.Table, day: date) -> pa.Table:
    """The bars that were there at the close of a day."""
    frame = pl.DataFrame(pl.from_arrow(bars))
    return frame.filter(pl.col("date") <= day).to_arrow().cast(schemas.BARS.schema)


def dates_of(bars: pa.Table) -> list[date]:
    """Its sessions."""
    return pl.DataFrame(pl.from_arrow(bars))["date"].unique().sort().to_list()


def random_weights(bars: pa.Table, every: int = 5, begin: int = 10, seed: int = 1, gross: float = 0.9) -> pl.DataFrame:
    """Seeded weights, long and short, every so many sessions."""
    rng = np.random.default_rng(seed)
    symbols = sorted(set(bars["symbol"].to_pylist()))
    frames = []
    for day in dates_of(bars)[begin::every]:
        drawn = rng.normal(size=len(symbols))
        weights = gross * drawn / np.abs(drawn).sum()
        frames.append(pl.DataFrame({"date": [day] * len(symbols), "symbol": symbols, "weight": weights}))
    return pl.concat(frames)


def written(weights: pl.DataFrame, path: Path) -> Path:
    """As a file that a command can name."""
    weights.write_csv(path)
    return path


def traded(opened: Workspace, weights: Path | None = None, **asked: Any) -> trade.Traded:
    """What ``aiquant trade --paper`` does; a replay unless told otherwise."""
    asked.setdefault("replay", True)
    return trade.trade(opened, Journal(), trade.Asked(weights=weights, **asked))
