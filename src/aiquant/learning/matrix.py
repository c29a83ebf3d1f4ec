"""The matrix of a panel: tables of features are by column, forecasters read by row.

Features come as one table, or a portion at a time where two copies of them would not fit into memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.schemas import FEATURES

KEY = ["symbol", "event_time"]
TILE_ROWS, TILE_COLUMNS = 8192, 16
"""Of the matrix that are written at a time; 16 float32 are a line of the processor's cache."""


class Portions(Protocol):
    """Features of many rows that are read a portion at a time."""

    def keys(self) -> pa.Table:
        """``symbol``, ``date`` and ``event_time`` of all rows, in any order."""

    def __iter__(self) -> Iterator[pa.Table]:
        """All rows once, in any order: schema ``FEATURES`` and one numeric column per feature, the same in each."""


Features: TypeAlias = "pa.Table | Portions"


def keys(features: Features) -> pl.DataFrame:
    """``symbol``, ``date`` and ``event_time`` of all rows.

    Raises
    ------
    DataError
        When a table has no features.
    """
    if isinstance(features, pa.Table):
        _feature_names(features)
        return pl.DataFrame(pl.from_arrow(features.select(["symbol", "date", "event_time"])))
    return pl.DataFrame(pl.from_arrow(features.keys()))


def fill(features: Features, rows: pl.DataFrame, on_disk: bool = False) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The matrix of ``rows``, and the names of its columns.

    Besides the result this holds one portion and a few of its columns once more.

    Parameters
    ----------
    features
        What is not finite in them becomes NaN.
    rows
        ``symbol`` and ``event_time``: which rows of the features, in which order.
    on_disk
        Whether the matrix lies in a file beside the system's temporary ones (``TMPDIR``), from where it is read as it
        is needed; the file is gone with the matrix.

    Raises
    ------
    DataError
        When there is no feature, one is not a number, or portions differ in their columns, or lack a row.
    """
    order = rows.select(KEY).with_row_index("to")
    matrix, names, filled = np.empty((0, 0), dtype=np.float32), tuple[str, ...](), 0
    portions: Iterable[pa.Table] = [features] if isinstance(features, pa.Table) else features
    for portion in portions:
        found = _feature_names(portion)
        if not names:
            names, matrix = found, _empty((len(rows), len(found)), on_disk)
        if found != names:
            raise DataError("the portions of a table of features do not have the same columns")
        placed = (
            pl.DataFrame(pl.from_arrow(portion.select(KEY)))
            .with_row_index("from")
            .join(order, on=KEY, how="inner")
            .sort("to")
        )
        _write(matrix, portion, names, placed["from"].to_numpy(), placed["to"].to_numpy())
        filled += len(placed)
        del portion  # before the next one is read
    if filled != len(rows):
        raise DataError(f"the portions of a table of features hold {filled} of {len(rows)} rows")
    return matrix, names


def _empty(shape: tuple[int, int], on_disk: bool) -> NDArray[np.float32]:
    if not on_disk or 0 in shape:
        return np.empty(shape, dtype=np.float32)
    with tempfile.TemporaryFile(prefix="aiquant-") as file:  # it has no name, and lives as long as the matrix
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)


def _write(
    matrix: NDArray[np.float32],
    table: pa.Table,
    names: tuple[str, ...],
    source: NDArray[np.uint32],
    target: NDArray[np.uint32],
) -> None:
    """Rows ``source`` of the table to the rows ``target`` (ascending) of the matrix, in tiles that fit the cache."""
    for left in range(0, len(names), TILE_COLUMNS):
        columns = [pl.Series(table[name]).cast(pl.Float32).to_numpy() for name in names[left : left + TILE_COLUMNS]]
        for top in range(0, len(source), TILE_ROWS):
            rows, to = source[top : top + TILE_ROWS], target[top : top + TILE_ROWS]
            unbroken = int(to[-1]) - int(to[0]) == len(to) - 1
            for place, column in enumerate(columns, start=left):
                values = column[rows]
                values[~np.isfinite(values)] = np.nan
                if unbroken:
                    matrix[int(to[0]) : int(to[-1]) + 1, place] = values
                else:
                    matrix[to, place] = values


def _feature_names(features: pa.Table) -> tuple[str, ...]:
    missing = [name for name in FEATURES.schema.names if name not in features.column_names]
    if missing:
        raise DataError(f"the table of features lacks the column(s) {', '.join(missing)}")
    names = tuple(name for name in features.column_names if name not in FEATURES.schema.names)
    if not names:
        raise DataError("the table of features has no feature column", "build a feature set: aiquant features build")
    for name in names:
        kind = features.schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            raise DataError(f"feature {name} is of type {kind}, not a number", "leave it out or encode it as a number")
    return names
