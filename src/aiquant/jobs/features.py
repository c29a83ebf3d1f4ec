"""Bars of the lake → the table of a feature set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.jobs import digests, tables
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, read
from aiquant.jobs.workspace import Workspace, read_json, write_json

if TYPE_CHECKING:
    from aiquant.lake import Lake


@dataclass(frozen=True)
class Built:
    """What a build made.

    Attributes
    ----------
    set, version
        Name of the feature set, and the digest of its definitions and kernels.
    rows, features
        Shape of the table.
    table_version
        Version of the Delta table ``features_<set>``.
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
    table_version: int | None
    bars_version: int | None
    out: Path | None = None


def build(workspace: Workspace, journal: Journal, out: Path | None = None) -> Built:
    """Compute the feature set that the settings name for all bars; write it to the lake, and to ``out`` if given."""
    pipeline = Pipeline(workspace.settings)
    pipeline.check()
    if out is not None:
        tables.writer_of(out)
    inputs = read(workspace.lake, workspace.settings)
    rows = _compute(workspace, journal, pipeline, inputs)
    if out is not None:
        tables.write(rows, out)
    return Built(
        set=pipeline.feature_set.name,
        version=pipeline.feature_set.version,
        rows=rows.num_rows,
        features=rows.num_columns - len(schemas.FEATURES.schema),
        symbols=rows["symbol"].combine_chunks().unique().__len__(),
        table_version=workspace.lake.version(schemas.features_table(pipeline.feature_set.name)),
        bars_version=inputs.versions["bars"],
        out=out,
    )


def current(workspace: Workspace, journal: Journal, pipeline: Pipeline, inputs: Inputs) -> pa.Table:
    """The features of ``inputs``: from the lake when they were made from just these, else computed and written."""
    marker = _marker(workspace, pipeline)
    table = schemas.features_table(pipeline.feature_set.name)
    if marker.exists():
        told = read_json(marker)
        if told.get("made_from") == _made_from(pipeline, inputs) and told["version"] == workspace.lake.version(table):
            return first_versions(workspace.lake, table)
    return _compute(workspace, journal, pipeline, inputs)


def first_versions(lake: Lake, table: schemas.Table) -> pa.Table:
    """The rows of a set's table as they were known at their own time, without those that were computed again later."""
    return lake.read(table, where=pl.col("known_from") == pl.col("event_time"), history=True)


def _compute(workspace: Workspace, journal: Journal, pipeline: Pipeline, inputs: Inputs) -> pa.Table:
    table = schemas.features_table(pipeline.feature_set.name)
    with journal.station("features") as station:
        rows = pipeline.features(inputs)
        workspace.lake.overwrite(table, rows)
        station.rows = rows.num_rows
        station.note = f"{rows.num_columns - len(schemas.FEATURES.schema)} of set {pipeline.feature_set.name}"
    told = {"made_from": _made_from(pipeline, inputs), "version": workspace.lake.version(table)}
    write_json(_marker(workspace, pipeline), told)
    return rows


def _made_from(pipeline: Pipeline, inputs: Inputs) -> dict[str, Any]:
    settings = pipeline.settings
    return {
        "bars": inputs.versions["bars"],
        "corporate_actions": inputs.versions["corporate_actions"],
        "set": pipeline.feature_set.version,
        "qlib_compat": settings.features.qlib_compat,
        "data": settings.data.model_dump(mode="json"),
        "code": digests.of_code(),
    }


def _marker(workspace: Workspace, pipeline: Pipeline) -> Path:
    return workspace.state / f"features_{pipeline.feature_set.name}.json"
