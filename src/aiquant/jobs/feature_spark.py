"""Features of the parts of a plan, computed by Spark: the same kernels, wherever a task runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pyarrow as pa

from aiquant.features import spark
from aiquant.jobs.feature_bars import LakeBars
from aiquant.jobs.feature_plan import Part
from aiquant.jobs.feature_rows import Rows
from aiquant.jobs.pipeline import Inputs, Pipeline
from aiquant.settings import from_values


@dataclass(frozen=True)
class Task:
    """What is sent to where Spark computes: definitions, sessions, actions and first bars; no secret, no place.

    Attributes
    ----------
    first
        ``symbol``, ``date``, ``event_time`` of each symbol's first bar.
    """

    pipeline: Pipeline
    inputs: Inputs
    first: pl.DataFrame
    parts: tuple[Part, ...]

    def __call__(self, group: int, bars: pa.Table) -> pa.Table:
        """The rows of a part, from its bars."""
        reach = self.pipeline.reach(self.inputs.sessions, self.first, self.parts[group].since)
        return self.pipeline.features(replace(self.inputs, bars=bars), reach)


@dataclass(frozen=True)
class SparkRows:
    """As :class:`~aiquant.jobs.feature_rows.Rows`, computed by Spark from the bars that lie in the lake."""

    rows: Rows
    bars: LakeBars

    def of(self, part: Part) -> Iterator[pa.Table]:
        """The rows of a part, its symbols shared out among tasks."""
        pieces = [part]
        if not self.rows.shape.compares:
            own = self.rows.bars.extent.filter(pl.col("symbol").is_in(list(part.symbols)))
            cut = replace(self.rows.shape, extent=own).whole()
            pieces = [Part(piece.symbols, part.since, part.until) for piece in cut]
        found = spark.collect(self.frame(pieces), self.rows.schema)
        yield found.sort_by([("symbol", "ascending"), ("event_time", "ascending")])

    def write(self, parts: list[Part], place: str, advance: Callable[[int, int | None], None]) -> None:
        """Put the rows of all parts in the place of a Delta table's; ``advance`` is told how many tasks are done."""
        spark.write(self.frame(parts), place, advance)

    def frame(self, parts: list[Part]) -> Any:
        """The rows of some parts as a frame of Spark."""
        settings = self.rows.pipeline.settings
        first = self.rows.bars.extent.select("symbol", "date", "event_time")
        task = Task(_slim(self.rows.pipeline), self.rows.inputs, first, tuple(parts))
        reaches = [self.rows.pipeline.reach(self.rows.inputs.sessions, first, part.since) for part in parts]
        groups = [
            pl.DataFrame({"symbol": part.symbols}, schema={"symbol": pl.String}).select(
                pl.lit(number, pl.Int32).alias(spark.GROUP),
                "symbol",
                pl.lit(reach.origin, pl.Date).alias("origin"),
                pl.lit(part.until, pl.Date).alias("until"),
            )
            for number, (part, reach) in enumerate(zip(parts, reaches, strict=True))
        ]
        session = spark.session(settings.spark)
        place, version = str(self.bars.lake.place("bars")), self.bars.version
        assert version is not None
        return spark.computed(session, place, version, self.bars.interval, pl.concat(groups), task, self.rows.schema)


def _slim(pipeline: Pipeline) -> Pipeline:
    """The pipeline with the settings that features depend on alone: the others hold addresses and secrets."""
    told = {name: getattr(pipeline.settings, name).model_dump(mode="json") for name in ("features", "data")}
    slim = Pipeline(from_values(told))
    slim.__dict__["feature_set"] = pipeline.feature_set  # computed once, here: a file of a set is not there elsewhere
    return slim
