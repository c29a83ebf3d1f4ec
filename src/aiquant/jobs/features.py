"""Bars of the lake → the table of a feature set: only what is new or touched, equal to a build of all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError, UsageError
from aiquant.jobs import attaching, digests, feature_plan, tables
from aiquant.jobs.feature_bars import Bars, LakeBars, of_inputs
from aiquant.jobs.feature_plan import Part
from aiquant.jobs.feature_rows import Rows
from aiquant.jobs.feature_table import Changes, FeatureTable, Origin, origin_of
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, around, versions_of
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import UNIVERSE

if TYPE_CHECKING:
    from aiquant.jobs.feature_spark import SparkRows

ENGINES = ("local", "spark")

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


def build(
    workspace: Workspace,
    journal: Journal,
    out: Path | None = None,
    full: bool = False,
    as_of: datetime | None = None,
    engine: str = "local",
) -> Built:
    """Bring the table of the feature set that the settings name up to the bars of the lake.

    Parameters
    ----------
    out
        File to which all rows are written besides.
    full
        Build all rows, whatever is there.
    engine
        ``spark`` computes on Spark (extra ``spark``), the same values.
    as_of
        Build a panel of what could be known then (UTC) instead, to ``out``; the table stays as it is.

    Raises
    ------
    MissingError
        When there are no bars.
    UsageError
        When ``as_of`` comes without ``out``, or with Spark, or no engine has that name.
    """
    if engine not in ENGINES:
        raise UsageError(f"no engine is named {engine!r}", "choose local or spark")
    if out is not None:
        tables.writer_of(out)
    if as_of is not None:
        if out is None:
            raise UsageError("a panel as of a time is written to a file, not into the table", "name one with --out")
        if engine != "local":
            raise UsageError("a panel as of a time is computed here, not by Spark", "leave --engine out")
        return _panel(journal, _open(workspace, as_of), as_of, out)
    work = _open(workspace, None, engine)
    interval = workspace.settings.data.interval
    for told in attaching.empty(workspace.lake, work.pipeline.feature_set, work.inputs.attached, interval):
        journal.note(told)
    done = _bring_up(workspace, journal, work, full, out)
    if out is not None and (done.whole is None or work.by_spark):
        with tables.stream(out, work.rows.schema) as put:
            for part in work.rows.shape.whole():
                put(work.table.read(part))
    return done


def by_spark(workspace: Workspace) -> pa.Table:
    """All rows of the feature set that the settings name, computed by Spark and written nowhere; sorted by key."""
    work = _open(workspace, None, "spark")
    assert work.by_spark is not None
    rows = pa.concat_tables(table for part in work.rows.shape.whole() for table in work.by_spark.of(part))
    return rows.sort_by([("symbol", "ascending"), ("event_time", "ascending")])


PORTION = 1 << 26
"""Bytes of features, 64 MiB, that are held beside a panel; what is more is read as many at a time."""


@dataclass(frozen=True)
class Stored:
    """The rows of a set's table, read a portion at a time: see :class:`aiquant.learning.matrix.Portions`."""

    table: FeatureTable
    parts: list[Part]
    version: int | None = None

    def keys(self) -> pa.Table:
        """Symbol, date and event_time of all rows."""
        return self.table.read(columns=["symbol", "date", "event_time"], version=self.version)

    def __iter__(self) -> Iterator[pa.Table]:
        return (self.table.read(part, version=self.version) for part in self.parts)


def current(workspace: Workspace, journal: Journal, pipeline: Pipeline, inputs: Inputs) -> pa.Table | Stored:
    """The features of ``inputs`` as they were known at their own time; the table is brought up to them first.

    More than a :data:`PORTION` stays on disk until it is read.
    """
    work = _Work(workspace, pipeline, inputs, of_inputs(inputs))
    kept: list[pa.Table] | None = None if inputs.bars.num_rows > _portion(pipeline) else []
    done = _bring_up(workspace, journal, work, False, None, kept)
    if kept is None or done.whole is None:
        return _read(work)
    return pa.concat_tables(kept) if kept else work.rows.schema.empty_table()


def at_version(workspace: Workspace, pipeline: Pipeline, inputs: Inputs, version: int) -> pa.Table | Stored:
    """As :func:`current`, out of a version of the table, which is left as it is.

    Raises
    ------
    DataError
        When that version was not made from ``inputs``.
    """
    work = _Work(workspace, pipeline, inputs, of_inputs(inputs))
    if work.table.origin(work.origin.versions, version) != work.origin:
        raise DataError(
            f"version {version} of table {work.table.table.name} was made from other data, definitions or settings",
            "run it again when no other build runs",
        )
    return _read(work, version)


def _read(work: _Work, version: int | None = None) -> pa.Table | Stored:
    portion = _portion(work.pipeline)
    if work.inputs.bars.num_rows <= portion:
        return work.table.read(version=version)
    return Stored(work.table, replace(work.rows.shape, compares=False, most=portion).whole(), version)


def _portion(pipeline: Pipeline) -> int:
    """Rows of a :data:`PORTION`."""
    return PORTION // (4 * len(pipeline.feature_set.features))


def demand_current(workspace: Workspace, name: str) -> None:
    """Refuse a set's table that says it was made in another way than a build would make it now.

    Raises
    ------
    DataError
        When definitions, kernels, calendar, interval or ``features.qlib_compat`` were others.
    """
    settings = workspace.settings
    chosen = settings.features.model_copy(update={"set": name})
    pipeline = Pipeline(settings.model_copy(update={"features": chosen}))
    table = FeatureTable(workspace.lake, pipeline.feature_set.name)
    told = table.origin([])
    if told is not None and told.recipe != _recipe(pipeline):
        raise DataError(
            f"table {table.table.name} was made by other definitions, or by other settings of "
            "features.qlib_compat, data.calendar or data.interval, than the present ones",
            f"bring it up with: aiquant features build --set {name}",
        )


class _Work:
    """What a build works with."""

    def __init__(self, workspace: Workspace, pipeline: Pipeline, inputs: Inputs, bars: Bars) -> None:
        self.pipeline = pipeline
        self.inputs = inputs
        self.bars = bars
        self.rows = Rows(pipeline, inputs, bars)
        self.by_spark: SparkRows | None = None
        self.table = FeatureTable(workspace.lake, pipeline.feature_set.name)
        read = {name: version for name, version in inputs.versions.items() if name != UNIVERSE.name}
        self.origin = origin_of(workspace.lake, _recipe(pipeline), read)


def _open(workspace: Workspace, as_of: datetime | None, engine: str = "local") -> _Work:
    settings = workspace.settings
    pipeline = Pipeline(settings)
    pipeline.check()
    asked = versions_of(workspace.lake, settings)
    bars = LakeBars(workspace.lake, settings.data.interval, settings.data.calendar, asked["bars"], as_of)
    inputs = around(workspace.lake, settings, asked, bars.sessions)
    attaching.demand(pipeline.feature_set, inputs.attached)
    work = _Work(workspace, pipeline, inputs if as_of is None else inputs.beside_known_at(as_of), bars)
    if engine == "spark":
        from aiquant.jobs.feature_spark import SparkRows

        work.rows = replace(work.rows, most=settings.spark.bars_per_task)
        work.by_spark = SparkRows(work.rows, bars)
    return work


def _recipe(pipeline: Pipeline) -> int:
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


def _bring_up(
    workspace: Workspace,
    journal: Journal,
    work: _Work,
    full: bool,
    out: Path | None,
    kept: list[pa.Table] | None = None,
) -> Built:
    with journal.station("features") as station:
        changes: Changes | None = None
        while changes is None:  # planned anew where another build came first
            before = work.table.origin(work.origin.versions)
            parts, whole = _plan(workspace, work, before, full)
            if whole is not None or before is None:
                _rewrite(journal, work, parts, out, kept)
                changes = Changes(int(sum(len(t) for t in kept)) if kept else work.table.rows(), 0)
            elif before == work.origin:
                changes = Changes(0, 0)
            else:
                of, schema = _progress(journal, work.by_spark or work.rows, parts), work.rows.schema
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


def _plan(workspace: Workspace, work: _Work, before: Origin | None, full: bool) -> tuple[list[Part], str | None]:
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


def _rewrite(journal: Journal, work: _Work, parts: list[Part], out: Path | None, kept: list[pa.Table] | None) -> None:
    if (by_spark := work.by_spark) is not None:
        work.table.rewrite_by(lambda place: by_spark.write(parts, place), work.origin)
        return

    def rows() -> Iterator[pa.Table]:
        if kept is not None:
            kept.clear()
        of = _progress(journal, work.rows, parts)
        with tables.stream(out, work.rows.schema) if out is not None else nullcontext() as put:
            for part in parts:
                for table in of(part):
                    if put is not None:
                        put(table)
                    if kept is not None:
                        kept.append(table)
                    yield table

    work.table.rewrite(work.rows.schema, rows, work.origin)


def _progress(journal: Journal, rows: Rows | SparkRows, parts: list[Part]) -> Callable[[Part], Iterator[pa.Table]]:
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


def _panel(journal: Journal, work: _Work, as_of: datetime, out: Path) -> Built:
    """All rows that could have been built at ``as_of``, to a file."""
    parts = work.rows.shape.whole()
    with journal.station("features") as station:
        of = _progress(journal, work.rows, parts)
        total = 0
        with tables.stream(out, work.rows.schema) as put:
            for part in parts:
                for table in of(part):
                    put(table)
                    total += table.num_rows
        chosen = work.pipeline.feature_set
        station.rows = total
        station.note = f"{len(chosen.features)} of set {chosen.name}"
    return Built(
        set=chosen.name,
        version=chosen.version,
        rows=total,
        features=len(chosen.features),
        symbols=len(work.bars.extent),
        new=total,
        recomputed=0,
        unchanged=0,
        whole=f"a panel as of {as_of:%Y-%m-%d %H:%M} UTC",
        table_version=None,
        bars_version=work.inputs.versions["bars"],
        out=out,
    )
