"""From decoded JSON objects to typed rows: whole columns where all values have the right type, one by one otherwise.

One bad object in a list never loses the others: it becomes a dead letter with its reason, and the rest goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from aiquant import deadletters, schemas
from aiquant.schemas import Table
from aiquant.sources.base import Batch
from aiquant.sources.checkpoints import Position

AT = "__at"
"""Column with the place of a row's object in its list."""

LONGEST_PAYLOAD = 20_000
"""Characters of a bad object that a dead letter keeps."""

YEAR_2100_S = 4_102_444_800
Kind = Literal["number", "whole", "text", "wholes"]
_POLARS: dict[Kind, Any] = {
    "number": pl.Float64,
    "whole": pl.Int64,
    "text": pl.String,
    "wholes": pl.String,
}
_NONE = type(None)
_FAST: dict[Kind, frozenset[type]] = {
    "number": frozenset({int, float, _NONE}),
    "whole": frozenset({int, _NONE}),
    "text": frozenset({str, _NONE}),
    "wholes": frozenset(),
}


@dataclass(frozen=True)
class Field:
    """A value of a JSON object.

    Attributes
    ----------
    kind
        ``number`` (finite float64), ``whole`` (int64), ``text``, ``wholes`` (list of integers, becomes text joined by
        commas).
    required
        Whether an object without it is bad.
    low, high
        Bounds of a whole number, both included.
    """

    kind: Kind
    required: bool = False
    low: int = -(2**63)
    high: int = 2**63 - 1


def milliseconds(required: bool = False) -> Field:
    """A moment since 1970 in milliseconds."""
    return Field("whole", required, 0, YEAR_2100_S * 10**3)


def nanoseconds(required: bool = False) -> Field:
    """A moment since 1970 in nanoseconds."""
    return Field("whole", required, 0, YEAR_2100_S * 10**9)


class Sorter:
    """Sorts the objects of one page or frame into rows of a table and dead letters.

    Parameters
    ----------
    place
        Where the objects came from: endpoint and page, or stream.
    objects
        As decoded; whatever is no object becomes a letter.
    clean
        Takes personal data out of an object before it may stand in a letter.
    """

    def __init__(
        self,
        table: Table,
        source: str,
        place: str,
        objects: Sequence[Any],
        clean: Callable[[Any], Any] | None = None,
    ) -> None:
        self.table, self.source, self.place, self.objects = table, source, place, objects
        self._clean = clean
        self._letters: dict[int, str] = {}
        self._days: dict[int, dict[str, Any]] = {}

    def refuse(self, at: int, reason: str) -> None:
        """Set one object aside; the first reason counts."""
        self._letters.setdefault(at, reason)

    def refuse_where(self, frame: pl.DataFrame, bad: pl.Expr, reason: str) -> pl.DataFrame:
        """Set the rows aside for which ``bad`` is true; the others remain."""
        told = frame.with_columns(bad.fill_null(False).alias("__bad"))
        for at in told.filter("__bad")[AT]:
            self.refuse(at, reason)
        return told.filter(~pl.col("__bad")).drop("__bad")

    def typed(self, fields: Mapping[str, Field]) -> pl.DataFrame:
        """The objects as typed columns and :data:`AT`; those that do not fit are refused."""
        if not all(isinstance(item, dict) for item in self.objects):
            for at, item in enumerate(self.objects):
                if not isinstance(item, dict):
                    self.refuse(at, "not a JSON object")
        good = [at for at in range(len(self.objects)) if at not in self._letters]
        columns: dict[str, pl.Series] = {AT: pl.Series(AT, good, dtype=pl.Int64)}
        for name, field in fields.items():
            columns[name] = self._column(name, field, good)
        frame = pl.DataFrame(columns)
        return frame.filter(~pl.col(AT).is_in(list(self._letters))) if self._letters else frame

    def _column(self, name: str, field: Field, good: list[int]) -> pl.Series:
        values = [self.objects[at].get(name) for at in good]
        fast = _fast(name, values, field)
        if fast is not None:
            return fast
        slow: list[Any] = []
        for at, value in zip(good, values, strict=True):
            try:
                slow.append(_value(name, value, field))
            except ValueError as error:
                self.refuse(at, str(error))
                slow.append(None)
        return pl.Series(name, slow, dtype=_POLARS[field.kind])

    def batch(
        self, frame: pl.DataFrame, notes: tuple[str, ...] = (), position: Position | None = None, left_out: int = 0
    ) -> Batch:
        """Rows that keep what the table asks for, each key once, in the order in which they came; the rest as letters.

        A row that says exactly what another one says is counted; of rows that contradict each other the last counts.
        """
        frame = frame.sort(AT)
        empty = [f.name for f in self.table.schema if not f.nullable and f.name in frame.columns]
        for name in empty:
            frame = self.refuse_where(frame, pl.col(name).is_null(), f"{name} is missing")
        why = schemas.reasons(frame, self.table.invariants)
        for at, reason in zip(frame[AT], why, strict=True):
            if reason is not None:
                self.refuse(at, reason)
        frame = frame.filter(why.is_null())
        key = [*self.table.key, *(["known_from"] if self.table.versioned else [])]
        said = [name for name in frame.columns if name not in (AT, "ingest_time")]
        once = frame.unique(subset=said, keep="last", maintain_order=True)
        duplicates = len(frame) - len(once)
        once = self.refuse_where(once, ~pl.struct(key).is_last_distinct(), "contradicted by a later row of its key")
        rows = schemas.conform(once.drop(AT).to_arrow(), self.table)
        return Batch(rows, self.letters(), notes, duplicates, left_out, self.table.name, position)

    def letters(self) -> pa.Table:
        """What was refused so far."""
        return deadletters.collect([self._letter(at, reason) for at, reason in sorted(self._letters.items())])

    def _letter(self, at: int, reason: str) -> dict[str, Any]:
        item = self.objects[at]
        item = self._clean(item) if self._clean else item
        return deadletters.letter(self.table, self.source, f"{self.place} item {at}", reason, as_text(item))


def letter_of(table: Table, source: str, place: str, reason: str, payload: str) -> Batch:
    """A batch that is one dead letter: something that could not be read at all."""
    told = deadletters.letter(table, source, place, reason, payload[:LONGEST_PAYLOAD])
    return Batch(table.schema.empty_table(), deadletters.collect([told]), table=table.name)


def nothing(table: Table, notes: tuple[str, ...] = (), position: Position | None = None) -> Batch:
    """A batch without rows."""
    return Batch(table.schema.empty_table(), deadletters.collect([]), notes, table=table.name, position=position)


def as_text(item: Any) -> str:
    """A decoded value as JSON text of bounded length; never fails."""
    try:
        return json.dumps(item, default=str)[:LONGEST_PAYLOAD]
    except (ValueError, RecursionError):
        return repr(type(item))


def readable(text: str) -> str:
    """Text that fits UTF-8: half surrogates become question marks; control characters but line breaks and tabs go."""
    return "".join(c for c in text.encode("utf-8", "replace").decode("utf-8") if c >= " " or c in "\n\t")


def _fast(name: str, values: list[Any], field: Field) -> pl.Series | None:
    """The column at once, or None when some value needs a look of its own."""
    kinds = set(map(type, values))
    if not kinds <= _FAST[field.kind] or (field.required and _NONE in kinds):
        return None
    try:
        column = pl.Series(name, values, dtype=_POLARS[field.kind], strict=field.kind != "number")
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):  # beyond 64 bits, or half surrogates
        return None
    if column.null_count() != values.count(None):
        return None
    if field.kind == "number":
        return column if column.is_finite().fill_null(True).all() else None
    if field.kind == "whole":
        return column if column.is_between(field.low, field.high).fill_null(True).all() else None
    return column if not column.str.contains(r"[\x00-\x08\x0b-\x1f]").any() else None


def _value(name: str, value: Any, field: Field) -> Any:
    if value is None:
        if field.required:
            raise ValueError(f"{name} is missing")
        return None
    if field.kind == "text":
        if not isinstance(value, str):
            raise ValueError(f"{name} is not a text")
        return readable(value)
    if field.kind == "wholes":
        if not isinstance(value, list) or not all(type(code) is int for code in value):
            raise ValueError(f"{name} is not a list of whole numbers")
        return ",".join(map(str, value)) or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is not a number")
    if field.kind == "number":
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ValueError(f"{name} is not finite")
        return number
    if isinstance(value, float):
        if not value.is_integer() or abs(value) > 2**53:
            raise ValueError(f"{name} is not a whole number")
        value = int(value)
    if not field.low <= value <= field.high:
        raise ValueError(f"{name} is out of range")
    return value
