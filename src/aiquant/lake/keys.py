"""Which rows of a batch may be stored already, at a cost that does not grow with the table.

Files whose dates and times do not meet the batch's are not looked at. Of the others only a digest of each key is kept
in memory, read once a file, the least recently used forgotten first. Only where a digest matches are rows read.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from aiquant.lake import delta, reading
from aiquant.schemas import Table

CAPACITY = 4_000_000
"""Digests that are kept: 32 MB."""

_GAP = 60_000_000
"""Microseconds between neighbouring rows of a batch at which its time span is cut into two."""
_SPANS = 8
_CUT_OFF = timedelta(milliseconds=1)
"""The log's greatest times are whole milliseconds where Spark has written them: what is below was cut off."""
_TIMES = ("min.event_time", "max.event_time")


@dataclass(frozen=True)
class Found:
    """What is stored of the keys of a batch.

    Attributes
    ----------
    stored
        Stored rows (the newest version of each key) of keys that the batch holds.
    repeated
        Whether a key stands in the batch more than once.
    """

    stored: pl.DataFrame
    repeated: bool

    @property
    def any(self) -> bool:
        """Whether any key of the batch is stored."""
        return not self.stored.is_empty()


class KeyIndex:
    """Digests of the keys of a table's files; one object for the life of a writer."""

    def __init__(self, table: Table, capacity: int = CAPACITY) -> None:
        self._table = table
        self._key = list(table.key)
        self._capacity = capacity
        self._digests: OrderedDict[str, pl.Series] = OrderedDict()
        self._held = 0

    def seen(self, handle: DeltaTable, batch: pl.DataFrame) -> Found:
        """What the handle's version of the table holds of the keys of ``batch``."""
        digests = batch.select(self._key).hash_rows()
        wanted = digests.unique()
        repeated = len(wanted) < len(digests)
        uris: dict[str, str] = {}
        for file in self._files(handle, batch):
            if file["path"] not in self._digests:
                uris = uris or {unquote(os.path.basename(uri)): uri for uri in handle.file_uris()}
                self._keep(file["path"], self._read(handle, uris[unquote(os.path.basename(file["path"]))], file))
            self._digests.move_to_end(file["path"])
            if self._digests[file["path"]].is_in(wanted.implode()).any():
                stored = reading.touched(delta.scan(handle), batch, self._table).select(self._table.schema.names)
                return Found(stored.collect(), repeated)
        return Found(reading.nothing(self._table), repeated)

    def _files(self, handle: DeltaTable, batch: pl.DataFrame) -> list[dict[str, Any]]:
        """Files that may hold a key of the batch, by the log's statistics."""
        actions = pa.table(handle.get_add_actions(flatten=True))
        told = [n for n in actions.column_names if n.startswith("partition.") or n in ("path", *_TIMES)]
        files = pl.DataFrame(pl.from_arrow(actions.select(told)))
        if files.is_empty() or batch.is_empty():
            return []
        meets = pl.lit(True)
        for name in self._table.partition:
            meets = meets & pl.col(f"partition.{name}").is_in(batch[name].unique().implode())
        least, most = _TIMES
        if "event_time" in batch.columns and self._times_are_fixed() and least in files.columns:
            until = pl.col(most) + _CUT_OFF
            spans = [(pl.col(least) <= last) & (until >= first) for first, last in _spans(batch["event_time"])]
            meets = meets & (pl.col(least).is_null() | pl.col(most).is_null() | pl.any_horizontal(spans))
        return files.filter(meets).select("path", pl.col(r"^partition\..*$")).to_dicts()

    def _times_are_fixed(self) -> bool:
        """Whether rows of one key have one event_time: a trade or a bar does, an article may be dated anew."""
        return "event_time" in self._table.key or "trade_id" in self._table.key

    def _read(self, handle: DeltaTable, uri: str, file: dict[str, Any]) -> pl.Series:
        """Digests of the keys of one file; columns of the partition are not in it."""
        inside = [name for name in self._key if name not in self._table.partition]
        rows = pl.scan_parquet(uri, hive_partitioning=False, storage_options=handle._storage_options).select(inside)
        types = reading.nothing(self._table).schema
        told = [pl.lit(file[f"partition.{n}"], types[n]).alias(n) for n in self._key if n in self._table.partition]
        # Another engine's file may hold the same moment in other units, which would hash to something else.
        return rows.with_columns(told).select(pl.col(n).cast(types[n]) for n in self._key).collect().hash_rows()

    def _keep(self, path: str, digests: pl.Series) -> None:
        self._digests[path] = digests
        self._held += len(digests)
        while self._held > self._capacity and len(self._digests) > 1:
            self._held -= len(self._digests.popitem(last=False)[1])


def _spans(times: pl.Series) -> list[tuple[Any, Any]]:
    """The times of a batch as a few spans without large gaps between."""
    ordered = times.sort()
    steps = ordered.diff().cast(pl.Int64).fill_null(0)
    cuts = steps.arg_sort(descending=True).head(_SPANS - 1)
    at = cuts.filter(steps.gather(cuts) > _GAP).sort().to_list()
    return [(ordered[first], ordered[last - 1]) for first, last in zip([0, *at], [*at, len(ordered)], strict=True)]
