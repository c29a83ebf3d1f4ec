"""What of a batch is new, what corrects a stored row, and what is stored already. Pure: nothing is read or written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.schemas import Table, conform

_NOT_COMPARED = frozenset({"known_from", "ingest_time"})
"""When a row was taken in is no part of the fact that it states."""

_AT = "__at"
_KNOWN = pl.col("known_from")


@dataclass(frozen=True)
class Plan:
    """What has to be written.

    Attributes
    ----------
    added
        Rows to append: facts that are new and, in a table with versions, corrections.
    replacing
        Rows that take the place of stored ones of the same key (tables without versions only).
    inserted, revised, unchanged
        Rows of the batch that state a new fact, correct a stored one, or need no writing.
    """

    added: pl.DataFrame
    replacing: pl.DataFrame
    inserted: int
    revised: int
    unchanged: int

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return self.added.is_empty() and self.replacing.is_empty()


def prepare(rows: pa.Table, table: Table) -> pl.DataFrame:
    """Rows in the schema of ``table``, each key once (with versions: each key and ``known_from`` once; the last wins).

    Raises
    ------
    DataError
        When the rows do not conform, or a further column of an open table is not float32.
    """
    told = conform(rows, table)
    for field in list(told.schema)[len(table.schema) :]:
        if field.type != pa.float32():
            raise DataError(f"column {field.name} of table {table.name} is {field.type}, not float32")
    frame = pl.DataFrame(pl.from_arrow(told))
    names = [*table.key, "known_from"] if table.versioned else list(table.key)
    if frame.select(names).is_duplicated().any():
        return frame.unique(subset=names, keep="last", maintain_order=True)
    return frame


def plan(batch: pl.DataFrame, stored: pl.DataFrame, table: Table, total: int, now: datetime) -> Plan:
    """Compare a batch with what is stored.

    A correction whose ``known_from`` is not later than that of the stored version became known ``now``. Where a batch
    brings several versions of a key, those later than the stored one follow one another in the order of ``known_from``;
    where none is later, the last of them is compared with the stored one. A column that the batch lacks (open tables)
    keeps its stored value.

    Parameters
    ----------
    batch
        From :func:`prepare`.
    stored
        The newest stored version of keys of the batch, each key once; further keys do no harm.
    total
        Rows of the batch before :func:`prepare` dropped repetitions.
    now
        The time (UTC) of the write.
    """
    key = list(table.key)
    if table.versioned:
        batch = batch.sort([*key, "known_from"])
    batch = batch.with_columns(_positions(batch, stored, key))
    if table.versioned:
        batch = _candidates(batch, stored, key, now)
    changed = _changed(batch, stored, table)
    written = batch if changed.all() else batch.filter(changed)
    added_keys = written[_AT].is_null()
    written = _with_absent_columns(written, stored)
    inserted = int(added_keys.sum())
    revised = len(written) - inserted
    nothing = written.clear()
    if table.versioned or not revised:
        return Plan(written, nothing, inserted, revised, total - len(written))
    return Plan(written.filter(added_keys), written.filter(~added_keys), inserted, revised, total - len(written))


@dataclass(frozen=True)
class Turnover:
    """How a set of rows differs from the one that it replaces (each version of a row is a row of its own)."""

    inserted: int
    revised: int
    unchanged: int
    removed: int


def turnover(batch: pl.DataFrame, stored: pl.DataFrame, table: Table) -> Turnover:
    """Compare a batch from :func:`prepare` with all the rows that it is to replace."""
    key = [*table.key, "known_from"] if table.versioned else list(table.key)
    at = _positions(batch, stored, key)
    differs = pl.Series([False]).new_from_index(0, len(batch))
    for name in {*batch.columns, *stored.columns} - {*key, *_NOT_COMPARED}:
        before = stored[name].gather(at) if name in stored.columns else batch[name].clear(len(batch))
        after = batch[name] if name in batch.columns else before.clear(len(batch))
        differs = differs | after.ne_missing(before)
    inserted = at.null_count()
    revised = int((differs & at.is_not_null()).sum())
    kept = len(batch) - inserted
    return Turnover(inserted, revised, kept - revised, len(stored) - kept)


def _positions(batch: pl.DataFrame, stored: pl.DataFrame, key: list[str]) -> pl.Series:
    """For each row of the batch the row of ``stored`` with its key, or null."""
    known = stored.select(key).with_row_index(_AT)
    return batch.select(key).join(known, on=key, how="left", maintain_order="left")[_AT]


def _candidates(batch: pl.DataFrame, stored: pl.DataFrame, key: list[str], now: datetime) -> pl.DataFrame:
    """The rows of a batch (sorted) that may become versions, ``known_from`` set to now where it is not later."""
    before = stored["known_from"].gather(batch[_AT]).alias("__before")
    batch = batch.with_columns(before)
    late = pl.col("__before").is_null() | (_KNOWN > pl.col("__before"))
    last = pl.struct(key) != pl.struct(key).shift(-1)
    batch = batch.with_columns(late.alias("__late"), last.fill_null(True).alias("__last"))
    if not batch["__late"].all():
        any_late = pl.col("__late").any().over(key)
        batch = batch.filter(pl.col("__late") | (pl.col("__last") & ~any_late))
    moment = pl.max_horizontal(
        pl.lit(now).cast(batch.schema["known_from"]), pl.col("__before") + timedelta(microseconds=1)
    )
    known = pl.when("__late").then(_KNOWN).otherwise(moment).alias("known_from")
    return batch.with_columns(known).drop("__before", "__late", "__last")


def _changed(batch: pl.DataFrame, stored: pl.DataFrame, table: Table) -> pl.Series:
    """Whether each row differs from the version before it: the row above with its key, else the stored one."""
    key = list(table.key)
    at = batch[_AT]
    first = pl.Series([True]).new_from_index(0, len(batch))
    if table.versioned:
        first = batch.select((pl.struct(key) != pl.struct(key).shift(1)).fill_null(True)).to_series()
    changed = at.is_null() & first
    for name in batch.columns:
        if name in table.key or name in _NOT_COMPARED or name == _AT:
            continue
        values = batch[name]
        before = stored[name].gather(at) if name in stored.columns else values.clear(len(values))
        if not first.all():
            before = before.zip_with(first, values.shift(1))
        changed = changed | values.ne_missing(before)
    return changed


def _with_absent_columns(written: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    absent = [name for name in stored.columns if name not in written.columns]
    kept = [stored[name].gather(written[_AT]) for name in absent]
    return written.with_columns(kept).drop(_AT)
