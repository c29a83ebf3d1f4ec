"""From the raw rows of a Delta table to what a reader may know: the newest version of each key, as of a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError, UsageError
from aiquant.schemas import Table

Where = pl.Expr | Mapping[str, Any] | None
"""A filter: an expression over the table's columns, or columns and the value (or list of values) they must have."""

_MANY = 1000
"""More values than this are filtered by their range alone."""


def complete(rows: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """Rows with all columns of the schema: optional ones that a table from before does not have are null.

    Raises
    ------
    DataError
        When a required column is not there, or one has another type.
    """
    stored = rows.collect_schema()
    wanted = nothing(table).schema
    missing = [f.name for f in table.schema if f.name not in stored and not f.nullable]
    other = [
        f"{name} ({stored[name]}, not {wanted[name]})"
        for name in wanted
        if stored.get(name, wanted[name]) != wanted[name]
    ]
    if missing or other:
        told = [f"lacks the column(s) {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(other)}"] * bool(other)
        raise DataError(
            f"what is stored as table {table.name} {' and '.join(told)}", "move its folder elsewhere and write it anew"
        )
    return rows.with_columns(pl.lit(None, dtype=wanted[name]).alias(name) for name in wanted if name not in stored)


def nothing(table: Table) -> pl.DataFrame:
    """The table without a row."""
    return pl.DataFrame(pl.from_arrow(table.schema.empty_table()))


def newest(rows: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """The version of each key with the latest ``known_from``; all rows where the table has no versions."""
    if not table.versioned:
        return rows
    return rows.filter(pl.col("known_from") == pl.col("known_from").max().over(list(table.key)))


def as_known(
    rows: pl.LazyFrame, table: Table, as_of: datetime | None, where: Where, history: bool = False
) -> pl.LazyFrame:
    """The newest version (with ``history`` every version) of each key that was known at ``as_of`` and meets ``where``.

    Filters on columns that are the same in all versions of a key are applied first, so that they reach the files.
    """
    rows = complete(rows, table)
    names = rows.collect_schema().names()
    if as_of is not None:
        moment = pl.lit(utc(as_of)).cast(pl.Datetime("us", "UTC"))
        for name in ("event_time", "known_from"):
            if name in names:
                rows = rows.filter(pl.col(name) <= moment)
    fixed = set(same_in_all_versions(table))
    conditions = _conditions(where, names, table)
    early = [c for c in conditions if set(c.meta.root_names()) <= fixed]
    late = [c for c in conditions if not set(c.meta.root_names()) <= fixed]
    rows = _filtered(rows, early)
    return _filtered(rows if history else newest(rows, table), late)


def same_in_all_versions(table: Table) -> list[str]:
    """Columns that all versions of a key share: its key, its partition and, with ``event_time``, the date."""
    shared = [*table.key, *table.partition]
    if "event_time" in table.key and "date" in table.schema.names:
        shared.append("date")
    return list(dict.fromkeys(shared))


def touched(rows: pl.LazyFrame, batch: pl.DataFrame, table: Table) -> pl.LazyFrame:
    """The stored versions of the keys of ``batch``; only the partitions and the range of time it touches are read."""
    rows = complete(rows, table)
    for name in same_in_all_versions(table):
        values = batch[name]
        if name in table.partition and values.n_unique() <= _MANY:
            rows = rows.filter(pl.col(name).is_in(values.unique().sort().to_list()))
        else:
            low, high = (pl.lit(bound, dtype=values.dtype) for bound in (values.min(), values.max()))
            rows = rows.filter(pl.col(name).is_between(low, high))
    key = list(table.key)
    return newest(rows.join(batch.lazy().select(key).unique(), on=key, how="semi"), table)


def ordered(rows: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """Sorted by key, versions of a key by ``known_from``."""
    return rows.sort([*table.key, *(["known_from"] if table.versioned else [])])


def chosen(rows: pl.LazyFrame, table: Table, columns: Sequence[str] | None) -> pl.LazyFrame:
    """The columns asked for, by default all: those of the schema first.

    Raises
    ------
    UsageError
        When the table has no such column.
    """
    names = rows.collect_schema().names()
    if columns is None:
        return rows.select([*table.schema.names, *(n for n in names if n not in table.schema.names)])
    _demand(columns, names, table)
    return rows.select(list(columns))


def to_arrow(frame: pl.DataFrame, table: Table) -> pa.Table:
    """Arrow with the types of the table's schema."""
    plain = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = [
        table.schema.field(f.name) if f.name in table.schema.names else pa.field(f.name, _narrow(f.type))
        for f in plain.schema
    ]
    return plain.cast(pa.schema(fields))


def utc(moment: datetime) -> datetime:
    """``moment`` in UTC.

    Raises
    ------
    UsageError
        When it has no time zone.
    """
    if moment.tzinfo is None:
        raise UsageError(f"the time {moment} has no time zone", "give it one, for example 2020-01-31T21:00:00Z")
    return moment.astimezone(UTC)


def _narrow(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) else kind


def _filtered(rows: pl.LazyFrame, conditions: list[pl.Expr]) -> pl.LazyFrame:
    return rows.filter(*conditions) if conditions else rows


def _conditions(where: Where, names: list[str], table: Table) -> list[pl.Expr]:
    if where is None:
        return []
    if isinstance(where, pl.Expr):
        _demand(where.meta.root_names(), names, table)
        return [where]
    _demand(list(where), names, table)
    return [_equals(name, value) for name, value in where.items()]


def _equals(name: str, value: Any) -> pl.Expr:
    if isinstance(value, list | tuple | set | frozenset):
        return pl.col(name).is_in(list(value))
    return pl.col(name).eq_missing(pl.lit(value))


def _demand(wanted: Sequence[str], names: list[str], table: Table) -> None:
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UsageError(
            f"table {table.name} has no column {', '.join(unknown)}", f"its columns are: {', '.join(names)}"
        )
