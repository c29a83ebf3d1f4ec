"""Small files that are read as a whole: reference data and target weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from aiquant.errors import DataError
from aiquant.sources import columns as names
from aiquant.sources.opening import Opened, files_of, open_file

ROW_LIMIT = 20_000_000
"""Rows beyond which such a file is surely something else."""


def read(
    path: Path, synonyms: Mapping[str, tuple[str, ...]], needed: tuple[str, ...], columns: Mapping[str, str] | None
) -> pl.DataFrame:
    """The columns of one file, or of all files of a folder, as they stand there.

    Returns
    -------
    One column for each of ``synonyms`` that was found (text where files differ in type), and ``place`` (``file:line``).

    Raises
    ------
    MissingError
        When there is nothing at the path.
    DataError
        When a file cannot be read, has ragged or no rows, or lacks one of the ``needed`` columns.
    """
    parts: list[pl.DataFrame] = []
    for file, place in files_of(path):
        opened = open_file(file, place)
        found = names.recognise_plain(place, opened.header, synonyms, columns)
        lacking = [name for name in needed if name not in found]
        if lacking:
            raise DataError(
                f"{place}: no column for {', '.join(lacking)}; found: {', '.join(map(repr, opened.header[:12]))}",
                f"name it {' or '.join(repr(s) for s in synonyms[lacking[0]][:3])}, or map it",
            )
        parts.extend(chunks(opened, place, found))
    if not sum(len(part) for part in parts):
        raise DataError(f"{path.name} holds a header and no rows", "give a file with rows")
    return pl.concat(parts, how="diagonal_relaxed")


def chunks(opened: Opened, place: str, wanted: Mapping[str, int]) -> list[pl.DataFrame]:
    """All rows of one file with their ``place``.

    Raises
    ------
    DataError
        When a row has more or fewer values than the header, or the file is larger than such a file can be.
    """
    parts: list[pl.DataFrame] = []
    for chunk in opened.chunks(wanted):
        if chunk.ragged:
            line, _, count = chunk.ragged[0]
            raise DataError(f"{place}:{line}: the row has {count} values, the header {len(opened.header)}")
        parts.append(chunk.frame.with_columns(place=pl.format("{}:{}", pl.lit(place), chunk.numbers)))
        if sum(len(part) for part in parts) > ROW_LIMIT:
            raise DataError(f"{place} has more than {ROW_LIMIT} rows", "is it really such a file?")
    return parts
