"""JSON lines as files of rows: an object a line, its names are the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from aiquant.errors import DataError
from aiquant.sources.delimited import Chunk

SUFFIXES = (".jsonl", ".ndjson")


class Lines:
    """A file of JSON lines, read as a whole. Empty lines count as lines and are no rows.

    Raises
    ------
    DataError
        When a line is no JSON object, or the file is not UTF-8.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, place: str) -> None:
        rows: list[dict[str, Any]] = []
        self._numbers: list[int] = []
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{place} is not UTF-8: {error.reason}", "write it as UTF-8") from error
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                rows.append(_object(line, f"{place}:{number}"))
                self._numbers.append(number)
        self._header = list(dict.fromkeys(name for row in rows for name in row))
        self._rows = rows

    @property
    def header(self) -> list[str]:
        """Every name that an object has, in the order in which they come."""
        return self._header

    def chunks(self, wanted: Mapping[str, int]) -> Iterator[Chunk]:
        """All rows; what an object lacks is null."""
        columns = {ours: [row.get(self._header[at]) for row in self._rows] for ours, at in wanted.items()}
        frame = pl.DataFrame({name: _series(name, values) for name, values in columns.items()})
        yield Chunk(frame, pl.Series("row", self._numbers, dtype=pl.Int64))


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}: not JSON: {error}", "write one object a line") from error
    if not isinstance(told, dict):
        raise DataError(f"{place}: not a JSON object", "write one object a line")
    return told


def _series(name: str, values: list[Any]) -> pl.Series:
    """Numbers stay numbers; lists are joined by commas; of anything else its text."""
    there = [value for value in values if value is not None]
    if there and all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    return pl.Series(name, [_text(value) for value in values], dtype=pl.String)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, list) else json.dumps(value)
