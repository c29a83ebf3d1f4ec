"""The partitions of a table in pieces of a bounded size, so that upkeep needs no more memory as a table grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable


@dataclass(frozen=True)
class Piece:
    """Some partitions: those with the values ``fixed`` and one of ``values`` in the column ``last``.

    A table without partitions is one piece: ``last`` is None.
    """

    fixed: tuple[tuple[str, Any], ...] = ()
    last: str | None = None
    values: tuple[Any, ...] = ()

    def filters(self) -> list[tuple[str, str, Any]] | None:
        """As the engine takes it."""
        if self.last is None:
            return None
        return [
            *((name, "=", str(value)) for name, value in self.fixed),
            (self.last, "in", [str(v) for v in self.values]),
        ]

    def condition(self) -> pl.Expr:
        """As Polars takes it."""
        told = [pl.col(name) == value for name, value in self.fixed]
        told += [pl.col(self.last).is_in(list(self.values))] if self.last is not None else []
        return pl.all_horizontal(told) if told else pl.lit(True)

    def __str__(self) -> str:
        """As a person reads it: ``interval=1d, period=2019``."""
        if self.last is None:
            return "all rows"
        values = [str(value) for value in self.values]
        span = values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
        return ", ".join([*(f"{name}={value}" for name, value in self.fixed), f"{self.last}={span}"])


def of_files(handle: DeltaTable) -> pl.DataFrame:
    """The active files: ``path``, ``size_bytes``, ``num_records`` and ``partition.<name>``."""
    return pl.DataFrame(pl.from_arrow(pa.table(handle.get_add_actions(flatten=True))))


def pieces(files: pl.DataFrame, names: list[str], most_rows: int) -> Iterator[Piece]:
    """The partitions of ``files`` in ascending order, together up to ``most_rows`` rows a piece (one at least).

    Parameters
    ----------
    files
        From :func:`of_files`, or a part of it.
    names
        Columns of the partition.
    """
    if files.is_empty():
        return
    if not names:
        yield Piece()
        return
    columns = [f"partition.{name}" for name in names]
    counts = files.group_by(columns).agg(pl.col("num_records").sum()).sort(columns)
    open_: list[Any] = []
    held, before = 0, None
    for *fixed, value, rows in counts.iter_rows():
        if open_ and (fixed != before or held + rows > most_rows):
            yield Piece(tuple(zip(names, before or (), strict=False)), names[-1], tuple(open_))
            open_, held = [], 0
        before = fixed
        open_.append(value)
        held += rows
    yield Piece(tuple(zip(names, before or (), strict=False)), names[-1], tuple(open_))
