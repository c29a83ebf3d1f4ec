"""Bars of the lake → the table of a feature set: only what is new or touched, equal to a build of all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from aiquant.errors import DataError, UsageError
from aiquant.jobs import attaching, tables
from aiquant.jobs.feature_bars import of_inputs
from aiquant.jobs.feature_plan import Part
from aiquant.jobs.feature_table import FeatureTable
from aiquant.jobs.feature_work import Built, Work, bring_up, open_work, progress, recipe_of
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline
from aiquant.jobs.workspace import Workspace

ENGINES = ("local", "spark")


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
        When ``as_of`` lies in the future, comes without ``out``, or with Spark, or no engine has that name.
    """
    if engine not in ENGINES:
        raise UsageError(f"no engine is named {engine!r}", "choose local or spark")
    if out is not None:
        tables.writer_of(out)
    if as_of is not None:
        if as_of > datetime.now(UTC):
            raise UsageError(
                f"{as_of:%Y-%m-%d %H:%M} UTC lies in the future: what will be known by then is not known yet",
                "name a time that has passed",
            )
        if out is None:
            raise UsageError("a panel as of a time is written to a file, not into the table", "name one with --out")
        if engine != "local":
            raise UsageError("a panel as of a time is computed here, not by Spark", "leave --engine out")
        return _panel(journal, open_work(workspace, as_of), as_of, out)
    work = open_work(workspace, None, engine)
    interval = workspace.settings.data.interval
    for told in attaching.empty(workspace.lake, work.pipeline.feature_set, work.inputs.attached, interval):
        journal.note(told)
    done = bring_up(workspace, journal, work, full, out)
    if out is not None and (done.whole is None or work.by_spark):
        with tables.stream(out, work.rows.schema) as put:
            for part in work.rows.shape.whole():
                put(work.table.read(part))
    return done


def by_spark(workspace: Workspace) -> pa.Table:
    """All rows of the feature set that the settings name, computed by Spark and written nowhere; sorted by key."""
    work = open_work(workspace, None, "spark")
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
    work = Work(workspace, pipeline, inputs, of_inputs(inputs))
    kept: list[pa.Table] | None = None if inputs.bars.num_rows > _portion(pipeline) else []
    done = bring_up(workspace, journal, work, False, None, kept)
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
    work = Work(workspace, pipeline, inputs, of_inputs(inputs))
    if work.table.origin(work.origin.versions, version) != work.origin:
        raise DataError(
            f"version {version} of table {work.table.table.name} was made from other data, definitions or settings",
            "run it again when no other build runs",
        )
    return _read(work, version)


def _read(work: Work, version: int | None = None) -> pa.Table | Stored:
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
    if told is not None and told.recipe != recipe_of(pipeline):
        raise DataError(
            f"table {table.table.name} was made by other definitions, or by other settings of "
            "features.qlib_compat, data.calendar or data.interval, than the present ones",
            f"bring it up with: aiquant features build --set {name}",
        )


def _panel(journal: Journal, work: Work, as_of: datetime, out: Path) -> Built:
    """All rows that could have been built at ``as_of``, to a file."""
    parts = work.rows.shape.whole()
    with journal.station("features") as station:
        of = progress(journal, work.rows, parts)
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
