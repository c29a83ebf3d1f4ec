"""What was added to a table since a version of it, by its log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any
from urllib.parse import unquote

import polars as pl

from aiquant.lake import delta, faults, places, reading
from aiquant.lake.places import LOG
from aiquant.lake.store import Lake
from aiquant.schemas import Table


def added(lake: Lake, table: Table, since: int, until: int, columns: Sequence[str]) -> pl.LazyFrame | None:
    """The rows that the versions after ``since``, up to ``until``, added; None where the log does not tell.

    It does not where rows were taken out or changed in place, where a file of theirs is gone by now (compacted and
    vacuumed), and where the log does not reach back. A compaction adds nothing.

    Parameters
    ----------
    columns
        Columns to read.
    """
    place = lake.place(table)
    if until < since:
        return None
    with faults.told(table.name, place):
        found: list[dict[str, Any]] = []
        try:
            for version in range(since + 1, until + 1):
                files = _of_commit(place, version)
                if files is None:
                    return None
                found.extend(files)
        except OSError:
            return None
        handle = delta.open_table(place, table.name)
        if handle is None or not _are_there(place, [file["path"] for file in found]):
            return None
        nothing = reading.nothing(table).select(columns).lazy()
        return pl.concat([nothing, *(_rows(place, file, table, columns) for file in found)])


def _of_commit(place: str, version: int) -> list[dict[str, Any]] | None:
    """Files that a commit added rows with; None where it took rows out."""
    files = []
    for line in places.read(place, f"{LOG}/{version:020}.json").decode().splitlines():
        action = json.loads(line)
        if "remove" in action and action["remove"].get("dataChange", True):
            return None
        if "add" in action and action["add"].get("dataChange", True):
            if action["add"].get("deletionVector"):
                return None
            files.append(action["add"])
    return files


def _are_there(place: str, paths: list[str]) -> bool:
    if not paths:
        return True
    there = {file.path for file in places.files(place)}
    return there.issuperset(unquote(path) for path in paths)


def _value(text: str, kind: pl.DataType) -> Any:
    """What a partition's name, which the log keeps as text, stands for."""
    return date.fromisoformat(text) if kind == pl.Date else text


def _rows(place: str, file: dict[str, Any], table: Table, columns: Sequence[str]) -> pl.LazyFrame:
    types = reading.nothing(table).schema
    inside = [name for name in columns if name not in table.partition]
    rows = pl.scan_parquet(
        places.join(place, unquote(file["path"])),
        hive_partitioning=False,
        glob=False,
        storage_options=places.options_of(place),
    ).select(inside)
    told = [
        pl.lit(_value(file["partitionValues"][n], types[n]), types[n]).alias(n) for n in columns if n in table.partition
    ]
    return rows.with_columns(told).select(pl.col(name).cast(types[name]) for name in columns)
