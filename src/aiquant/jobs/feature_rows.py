"""Features some symbols at a time, so that memory does not grow with the number of symbols."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.jobs.feature_bars import Bars
from aiquant.jobs.feature_plan import Part, Shape
from aiquant.jobs.pipeline import Inputs, Pipeline
from aiquant.jobs.vintages import Reach
from aiquant.schemas import FEATURES

VALUES = 24_000_000
"""Values of features (4 bytes each) that are made at a time."""


@dataclass(frozen=True)
class Rows:
    """Computes the rows of the parts of a plan.

    Attributes
    ----------
    inputs
        All that a computation reads besides the bars.
    most
        Bars of a part of the plan, about.
    """

    pipeline: Pipeline
    inputs: Inputs
    bars: Bars
    most: int | None = None

    @cached_property
    def shape(self) -> Shape:
        """How the bars are cut into parts."""
        reach = self.pipeline.reach(self.inputs.sessions, self.bars.extent)
        compares = self.pipeline.feature_set.compares
        return Shape(self.bars.extent, self.inputs.sessions, reach.lookback, compares, self.most)

    @property
    def schema(self) -> pa.Schema:
        """Of the rows."""
        features = [pa.field(f.name, pa.float32(), nullable=False) for f in self.pipeline.feature_set.features]
        return pa.schema([*FEATURES.schema, *features])

    def of(self, part: Part) -> Iterator[pa.Table]:
        """The rows of a part, sorted by symbol and event_time, in tables of bounded size."""
        for bars, reach in self.chunks(part):
            yield self.pipeline.features(replace(self.inputs, bars=bars), reach)

    def chunks(self, part: Part) -> Iterator[tuple[pa.Table, Reach]]:
        """The bars of a part, as many at a time as give a table of bounded size, and what of them is wanted."""
        sessions, chosen = self.inputs.sessions, self.pipeline.feature_set
        first = self.bars.extent.select("symbol", "date", "event_time")
        reach = self.pipeline.reach(sessions, first, part.since)
        bars = self.bars.read(part.symbols, reach.origin, part.until)
        rows = max(1, VALUES // max(1, len(chosen.features)))
        for some in [bars] if chosen.compares else _split(bars, rows):
            yield some, reach


def _split(bars: pa.Table, rows: int) -> Iterator[pa.Table]:
    """Whole symbols (bars are sorted by them), together up to ``rows`` bars a table, one symbol at the least."""
    lengths = pl.Series(bars["symbol"]).rle().struct.field("len").to_numpy()
    ends = np.cumsum(lengths)
    begin = 0
    while begin < bars.num_rows:
        at = max(int(np.searchsorted(ends, begin + rows, side="right")), int(np.searchsorted(ends, begin, "right")) + 1)
        end = int(ends[at - 1])
        yield bars.slice(begin, end - begin)
        begin = end
