"""What a build works with, and how it brings the table of a feature set up to the bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from aiquant.jobs import attaching, digests, feature_plan, tables
from aiquant.jobs.feature_bars import Bars, LakeBars
from aiquant.jobs.feature_plan import Part
from aiquant.jobs.feature_rows import Rows
from aiquant.jobs.feature_table import Changes, FeatureTable, Origin, origin_of
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, around, versions_of
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS, CORPORATE_ACTIONS

if TYPE_CHECKING:
    from aiquant.jobs.feature_spark import SparkRows

SOURCES = ("features", "calendars.py", "jobs/pipeline.py", "jobs/vintages.py")
"""The code that decides what a feature's value is."""


@dataclass(frozen=True)
class Built:
    """What a build made.

    Attributes
    ----------
    set, version
        Name of the feature set, and the digest of its definitions and kernels.
    rows, features
        Shape of the table (or of the file, for a panel as of a time).
    new, recomputed, unchanged
        Rows that were added, that got other values, and that are as they were. After a build of the whole table all
        rows count as new.
    whole
        Why all of it was built; None where only what is new or touched was.
    table_version
        Version of the Delta table ``features_<set>``; None for a panel as of a time.
    bars_version
        Version of the bars that it was made from.
    out
        The file that it was written to besides, if any.
    """

    set: str
    version: str
    rows: int
    features: int
    symbols: int
    new: int
    recomputed: int
    unchanged: int
    whole: str | None
    table_version: int | None
    bars_version: int | None
    out: Path | None = None


class Work:
    """What a build works with."""

    def __init__(self, workspace: Workspace, pipeline: Pipeline, inputs: Inputs, bars: Bars) -> None:
        self.pipeline = pipeline
        self.inputs = inputs
        self.bars = bars
        self.rows = Rows(pipeline, inputs, bars)
        self.by_spark: SparkRows | None = None
        self.table = FeatureTable(workspace.lake, pipeline.feature_set.name)
        own = {BARS.name, CORPORATE_ACTIONS.name, *inputs.attached}
        read = {name: version for name, version in inputs.versions.items() if name in own}
        self.origin = origin_of(workspace.lake, recipe_of(pipeline), read)


def open_work(workspace: Workspace, as_of: datetime | None, engine: str = "local") -> Work:
    settings = workspace.settings
    pipeline = Pipeline(settings)
    pipeline.check()
    asked = versions_of(workspace.lake, settings)
    bars = LakeBars(workspace.lake, settings.data.interval, settings.data.calendar, asked["bars"], as_of)
    inputs = around(workspace.lake, settings, asked, bars.sessions)
    attaching.demand(pipeline.feature_set, inputs.attached)
    work = Work(workspace, pipeline, inputs if as_of is None else inputs.beside_known_at(as_of), bars)
    if engine == "spark":
        from aiquant.jobs.feature_spark import SparkRows

        work.rows = replace(work.rows, most=settings.spark.bars_per_task)
        work.by_spark = SparkRows(work.rows, bars)
    return work


def recipe_of(pipeline: Pipeline) -> int:
    """Digest of all that decides the values beside the versions of tables, as a whole number below 2**60."""
    settings = pipeline.settings
    told = {
        "set": pipeline.feature_set.version,
        "qlib_compat": settings.features.qlib_compat,
        "sentiment_model": settings.features.sentiment_model,
        "calendar": settings.data.calendar,
        "interval": settings.data.interval,
        "code": digests.of_code(SOURCES),
    }
    return int(digests.of_json(told)[:15], 16)


def bring_up(
    workspace: Workspace,
    journal: Journal,
    work: Work,
    full: bool,
    out: Path | None,
    kept: list[pa.Table] | None = None,
) -> Built:
    with journal.station("features") as station:
        changes, interval = None, work.pipeline.settings.data.interval
        while changes is None:  # planned anew where another build came first
            before = work.table.origin(work.origin.versions)
            parts, whole = _plan(workspace, work, before, full)
            if whole is not None or before is None:
                _rewrite(journal, work, parts, out, kept)
                changes = Changes(int(sum(len(t) for t in kept)) if kept else work.table.rows(), 0)
            elif before == work.origin:
                changes = Changes(0, 0)
            else:
                if told := feature_plan.corrections(workspace.lake, before.versions, work.origin.versions, interval):
                    journal.note(told)
                of, schema = progress(journal, work.by_spark or work.rows, parts), work.rows.schema
                extent = work.bars.extent
                changes = work.table.mend(schema, of, parts, before, work.origin, extent, workspace.state)
        total = changes.new if whole is not None else work.table.rows()
        chosen = work.pipeline.feature_set
        station.rows = total
        station.note = f"{len(chosen.features)} of set {chosen.name}"
    if whole not in (None, "there was no table"):
        journal.note(f"Set {chosen.name} was built whole: {whole}.")
    return Built(
        set=chosen.name,
        version=chosen.version,
        rows=total,
        features=len(chosen.features),
        symbols=len(work.bars.extent),
        new=changes.new,
        recomputed=changes.recomputed,
        unchanged=total - changes.new - changes.recomputed,
        whole=whole,
        table_version=work.table.version,
        bars_version=work.inputs.versions["bars"],
        out=out,
    )


def _plan(workspace: Workspace, work: Work, before: Origin | None, full: bool) -> tuple[list[Part], str | None]:
    """What has to be computed, and why it is all of it."""
    everything = work.rows.shape.whole()
    if full:
        return everything, "asked for"
    if before is None:
        return everything, "there was no table" if work.table.version is None else "its table tells no origin"
    if before.recipe != work.origin.recipe or work.table.columns() != work.rows.schema.names:
        return everything, "its definitions, settings or code are not those of the table"
    if not work.origin.follows(before):
        return everything, "a table that it was made from is another one now"
    interval = work.pipeline.settings.data.interval
    changed = feature_plan.touched(workspace.lake, before.versions, work.origin.versions, interval)
    if changed is None:
        return everything, "the lake's log does not tell what has changed since"
    return work.rows.shape.touched(changed), None


def _rewrite(journal: Journal, work: Work, parts: list[Part], out: Path | None, kept: list[pa.Table] | None) -> None:
    if (by_spark := work.by_spark) is not None:
        work.table.rewrite_by(lambda place: by_spark.write(parts, place, journal.progress("features")), work.origin)
        return

    def rows() -> Iterator[pa.Table]:
        if kept is not None:
            kept.clear()
        of = progress(journal, work.rows, parts)
        with tables.stream(out, work.rows.schema) if out is not None else nullcontext() as put:
            for part in parts:
                for table in of(part):
                    if put is not None:
                        put(table)
                    if kept is not None:
                        kept.append(table)
                    yield table

    work.table.rewrite(work.rows.schema, rows, work.origin)


def progress(journal: Journal, rows: Rows | SparkRows, parts: list[Part]) -> Callable[[Part], Iterator[pa.Table]]:
    """``rows.of``, telling how many symbols are done."""
    advance = journal.progress("features")
    done, total = 0, sum(len(part.symbols) for part in parts)

    def of(part: Part) -> Iterator[pa.Table]:
        nonlocal done
        for table in rows.of(part):
            yield table
            done += pl.Series(table["symbol"]).n_unique()
            advance(done, total)

    return of
