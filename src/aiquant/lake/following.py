"""What came into a table since a version of it: the table read as a log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from aiquant.errors import DataError
from aiquant.lake import delta, faults, places, reading
from aiquant.lake.catalogue import resolve
from aiquant.lake.places import LOG
from aiquant.lake.store import Lake
from aiquant.schemas import Table


@dataclass(frozen=True)
class News:
    """Rows that came into a table, and the Delta version up to which they are all.

    Attributes
    ----------
    rows
        In the schema of the table, in the order of the commits; each version of a row is a row.
    version
        None where the table is not there.
    """

    rows: pa.Table
    version: int | None


class Follower:
    """Reads what is appended to a table, commit by commit; one handle for the life of the object.

    Parameters
    ----------
    lake, table
        Which table; it may be made later.
    where
        Columns of the partition and the value each must have: other files are not opened.

    Raises
    ------
    Unreachable, DataError
        From every method, as :class:`aiquant.lake.Lake`.
    """

    def __init__(self, lake: Lake, table: str | Table, where: dict[str, str] | None = None) -> None:
        self._table = resolve(table)
        self._place = lake.place(self._table)
        self._where = where or {}
        self._handle: DeltaTable | None = None

    def version(self) -> int | None:
        """The newest version of the table; None where it is not there."""
        with faults.told(self._table.name, self._place):
            if self._handle is None:
                self._handle = delta.open_table(self._place, self._table.name)
            else:
                self._handle.update_incremental()
            return None if self._handle is None else self._handle.version()

    def since(self, version: int | None) -> News:
        """Rows of the commits after ``version`` (None: of all commits). Compactions bring nothing new.

        Raises
        ------
        DataError
            When the log no longer holds these commits, or a file of them is gone.
        """
        now = self.version()
        if now is None or (version is not None and version >= now):
            return News(self._table.schema.empty_table(), now)
        with faults.told(self._table.name, self._place):
            frames = [
                self._read(file) for v in range(-1 if version is None else version, now) for file in self._added(v + 1)
            ]
            rows = pl.concat(frames) if frames else reading.nothing(self._table)
        return News(reading.to_arrow(rows, self._table), now)

    def _added(self, version: int) -> Iterator[dict[str, Any]]:
        """Files that a commit added with rows of its own."""
        try:
            text = places.read(self._place, f"{LOG}/{version:020}.json").decode()
        except FileNotFoundError as error:
            raise DataError(
                f"table {self._table.name} at {self._place}: its log no longer holds version {version:,}",
                "what came in since then can only be read with the whole table",
            ) from error
        for line in text.splitlines():
            if line.startswith('{"add"'):
                file = json.loads(line)["add"]
                told = file["partitionValues"]
                if file["dataChange"] and all(told.get(name) == value for name, value in self._where.items()):
                    yield file

    def _read(self, file: dict[str, Any]) -> pl.DataFrame:
        types = reading.nothing(self._table).schema
        uri = places.join(self._place, unquote(file["path"]))
        rows = pl.scan_parquet(uri, hive_partitioning=False, storage_options=places.options_of(self._place))
        told = [pl.lit(file["partitionValues"][n]).cast(types[n]).alias(n) for n in self._table.partition]
        return reading.complete(rows.with_columns(told), self._table).select(self._table.schema.names).collect()
