"""A digest of the content of an Arrow table, for telling whether two results are the same."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from aiquant.errors import DataError

_ROWS = 1 << 16
"""Rows that are hashed at a time: slices of a fixed length make the digest independent of the chunks."""


def digest(rows: pa.Table) -> str:
    """SHA-256 of names, types and values of ``rows`` in their order, as 64 hex digits.

    Chunks, offsets, dictionary encoding and the width of text offsets do not count; the order of rows and columns
    does. All NaN are one value; null and NaN are two; so are 0.0 and −0.0.

    Raises
    ------
    DataError
        When a column is of a nested type.
    """
    hasher = hashlib.sha256()
    plain = pa.table({name: _plain(name, rows[name]) for name in rows.column_names})
    hasher.update(repr([(f.name, str(f.type)) for f in plain.schema]).encode())
    hasher.update(rows.num_rows.to_bytes(8, "little"))
    for start in range(0, rows.num_rows, _ROWS):
        for column in plain.slice(start, _ROWS).itercolumns():
            for part in _bytes_of(pa.concat_arrays(column.chunks)):
                hasher.update(part)
    return hasher.hexdigest()


def _plain(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """One type for all that reads the same."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return column.cast(pa.large_binary())
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column.cast(pa.uint8())
    if pa.types.is_nested(kind):
        raise DataError(f"column {name} is of the nested type {kind}, of which no digest can be made")
    return column


def _bytes_of(column: pa.Array) -> list[bytes]:
    """Validity and values of a column as bytes that depend on its content alone."""
    valid = column.is_valid().cast(pa.uint8())
    parts = [_values(valid)]
    if pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type):
        filled = column.fill_null("" if pa.types.is_large_string(column.type) else b"")
        return [*parts, _values(pc.binary_length(filled)), _text(filled)]
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(float("nan"), column.type), column)
    return [*parts, _values(column)]


def _text(column: pa.Array) -> bytes:
    """The values of a column without nulls, one behind the other."""
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return b""
    ends = memoryview(offsets).cast("q")
    return bytes(data[ends[column.offset] : ends[column.offset + len(column)]])


def _values(column: pa.Array) -> bytes:
    """The values of a fixed-width column, zero where it is null."""
    width = column.type.bit_width // 8
    if column.null_count:
        column = column.fill_null(_zero(column.type))
    data = column.buffers()[1]
    if data is None:
        return b""
    start = column.offset * width
    return bytes(data[start : start + len(column) * width])


def _zero(kind: pa.DataType) -> pa.Scalar:
    """Any one value of the type: which rows are null is hashed apart."""
    whole = pa.int32() if pa.types.is_date32(kind) or pa.types.is_time32(kind) else pa.int64()
    return pa.scalar(0, whole).cast(kind)
