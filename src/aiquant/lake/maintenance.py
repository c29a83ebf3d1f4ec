"""Upkeep of tables: their history, small files put together, files that no reader needs any more deleted."""

from __future__ import annotations

from collections.abc import Collection, Container
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable

from aiquant.errors import RefusedError
from aiquant.lake import catalogue, commits, delta, faults, partitions, places, rivals
from aiquant.lake.store import Lake
from aiquant.schemas import Table

TARGET_BYTES = 256 << 20
"""Size that files are put together to."""

LEAST_DAYS = 1.0
"""A file is kept for so long after a newer version replaced it: readers that have begun may end."""

IN_FLIGHT = timedelta(hours=1)
"""A file that no version names may belong to a commit that is still under way; one as old as this does not."""

_SPILL_BYTES = 1 << 30
_PIECE_ROWS = 5_000_000


@dataclass(frozen=True)
class Version:
    """One version of a table.

    Attributes
    ----------
    added, removed
        Rows that its commit wrote and took away; None where the commit does not say.
    who, verb
        User of the operating system and command, where the commit was ours; else the engine.
    """

    version: int
    time: datetime
    operation: str
    added: int | None
    removed: int | None
    who: str
    verb: str


@dataclass(frozen=True)
class Compacted:
    """What a compaction did; sizes in bytes of the active files."""

    table: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    partitions: int
    version: int


@dataclass(frozen=True)
class Vacuumed:
    """What a vacuum deleted, or would delete.

    Attributes
    ----------
    paths, bytes
        The files, below the table, and their size together.
    oldest
        From this version on all versions can be read afterwards.
    kept
        Older versions that were kept besides, because runs name them.
    deleted
        False after a dry run.
    """

    table: str
    paths: tuple[str, ...]
    bytes: int
    oldest: int
    latest: int
    kept: tuple[int, ...]
    deleted: bool


def history(lake: Lake, table: str, limit: int | None = None) -> list[Version]:
    """The versions of a table, the newest first.

    Raises
    ------
    MissingError
        When the table is not there.
    """
    name, place = _known(table), lake.place(table)
    with faults.told(name, place):
        return [_version(told) for told in lake.demand(table).history(limit)]


def compact(lake: Lake, table: str, target_bytes: int = TARGET_BYTES) -> Compacted:
    """Put small files together, in a table by symbol and day sorted by symbol; its rows stay as they are.

    Only partitions with two small files or more are rewritten, so that a second call does nothing. Appends may go on
    meanwhile: a commit of ours that meets a rival's which touched the same files is tried again.

    Raises
    ------
    MissingError
        When the table is not there.
    Unreachable
        When the disk refuses, or rivals commit without pause.
    """
    name, place = _known(table), lake.place(table)
    spec = catalogue.known(name)
    with faults.told(name, place):
        handle = lake.demand(table)
        before = partitions.of_files(handle)
        columns = handle.metadata().partition_columns
        small = _small(before, columns, target_bytes)
        for piece in partitions.pieces(small, columns, _PIECE_ROWS):
            _optimize(lake, table, piece, spec, target_bytes)
        after = lake.demand(table)
        files = partitions.of_files(after)
    touched = small.select(pl.struct(f"partition.{c}" for c in columns)).n_unique() if columns else min(1, len(small))
    return Compacted(
        name,
        len(before),
        len(files),
        int(before["size_bytes"].sum()),
        int(files["size_bytes"].sum()),
        touched if len(small) else 0,
        after.version(),
    )


def vacuum(
    lake: Lake,
    table: str,
    keep_days: float,
    keep_versions: Collection[int] = (),
    delete: bool = False,
    force: bool = False,
) -> Vacuumed:
    """Delete files that the newest version does not need and that were replaced more than ``keep_days`` ago.

    Files of commits that were cut short go too, once they are as old; never one that a commit under way may need.

    Parameters
    ----------
    keep_versions
        Versions whose files stay, whatever their age.
    delete
        Otherwise it is told what would be deleted.
    force
        Allow less than :data:`LEAST_DAYS`, with which readers that have begun may fail.

    Raises
    ------
    RefusedError
        When ``keep_days`` is less than that.
    MissingError
        When the table is not there.
    """
    if keep_days < LEAST_DAYS and not force:
        raise RefusedError(
            f"files must be kept for {LEAST_DAYS:g} day at the least: readers that have begun may need them",
            "add --force where nobody reads",
        )
    name, place = _known(table), lake.place(table)
    with faults.told(name, place):
        handle = lake.demand(table)
        latest = handle.version()
        kept = sorted(v for v in set(keep_versions) if 0 <= v < latest)
        listed = handle.vacuum(
            retention_hours=int(keep_days * 24),
            dry_run=True,
            enforce_retention_duration=False,
            full=True,
            keep_versions=kept or None,
        )
        there = {file.path: file for file in places.files(place)}
        young = datetime.now(UTC) - max(IN_FLIGHT, timedelta(days=keep_days) if not force else IN_FLIGHT)
        replaced = tombstones(handle)
        paths = sorted(
            path for path in set(listed) if path in there and (path in replaced or there[path].modified < young)
        )
        oldest = commits.oldest_readable(place, paths)
        spared = [v for v in kept if v < oldest and _is_whole(lake, table, v, there)]
        size = sum(there[path].size for path in paths)
        for path in paths if delete else ():
            places.remove(place, path)
    return Vacuumed(name, tuple(paths), size, oldest, latest, tuple(spared), delete)


def _is_whole(lake: Lake, table: str, version: int, there: Container[str]) -> bool:
    """Whether all files of a version are there: an erasure may have taken some."""
    return all(path in there for path in delta.active(lake.demand(table, version)))


def tombstones(handle: DeltaTable) -> set[str]:
    """Paths of files that a commit has taken out of the table, and whose mark the log still carries."""
    lite = handle.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False)
    return set(lite)


def _known(table: str) -> str:
    return table if catalogue.known(table) is None else catalogue.resolve(table).name


def _version(told: dict[str, object]) -> Version:
    metrics = told.get("operationMetrics")
    counts = metrics if isinstance(metrics, dict) else {}

    def rows(*names: str) -> int | None:
        found = [int(counts[name]) for name in names if counts.get(name) is not None]
        return sum(found) if found else None

    return Version(
        version=int(str(told["version"])),
        time=datetime.fromtimestamp(int(str(told["timestamp"])) / 1000, UTC),
        operation=str(told.get("operation", "")),
        added=rows("num_added_rows", "num_target_rows_inserted", "num_target_rows_updated", "numOutputRows"),
        removed=rows("num_deleted_rows", "num_target_rows_deleted", "numDeletedRows"),
        who=str(told.get("userName") or told.get("engineInfo") or told.get("clientVersion") or ""),
        verb=str(told.get("verb") or ""),
    )


def _small(files: pl.DataFrame, columns: list[str], target_bytes: int) -> pl.DataFrame:
    """Small files of partitions that have two of them or more."""
    small = files.filter(pl.col("size_bytes") < target_bytes // 2)
    if not columns:
        return small if len(small) > 1 else small.clear()
    return small.filter(pl.len().over([f"partition.{name}" for name in columns]) > 1)


def _optimize(lake: Lake, table: str, piece: partitions.Piece, spec: Table | None, target_bytes: int) -> None:
    def tried() -> None:
        optimizer = lake.demand(table).optimize
        told: dict[str, Any] = {
            "partition_filters": piece.filters(),
            "target_size": target_bytes,
            "max_spill_size": _SPILL_BYTES,
            "writer_properties": delta.writer_properties(spec.schema) if spec is not None else None,
            "commit_properties": CommitProperties(custom_metadata=delta.signature()),
        }
        if spec is not None and spec.partition and spec.key[0] == "symbol":
            optimizer.z_order(["symbol"], **told)
        else:
            optimizer.compact(**told)

    rivals.retried(lake.commit_retries, table, lake.place(table), tried)
