"""How a row becomes a message and a message a row again.

A message is one flat JSON object in UTF-8, so that a whole batch is decoded at once::

    {"v": 1, "table": "ticks", "sequence": …, "ingest_time": …, <the columns of the table>}

- ``v`` is the major version; a message of another one becomes a dead letter, never a guess.
- ``sequence`` and ``ingest_time`` are the table's own columns where it has them; else they are put beside it.
- Times are whole microseconds since 1970 (UTC), dates are ISO 8601, numbers are JSON numbers, absent values are null.
- A reader ignores fields that it does not know, and takes optional ones that are absent as null: fields may be added
  without a new version.
- In a dead letter the column ``table`` travels as ``meant_for``.

The key is the symbol; for news and posts the first symbol, or else the publisher or the author.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from aiquant import deadletters, schemas
from aiquant.errors import UsageError
from aiquant.schemas import Table, conform, reasons

VERSION = 1
"""Major version of the envelope."""

LOG_COLUMNS = ("log_partition", "log_offset")
"""Columns that say where a row stood in the log; they are no part of a message."""

TABLES: dict[str, Table] = {
    table.name: table for table in (schemas.TICKS, schemas.BARS, schemas.NEWS, schemas.TWEETS, schemas.DEAD_LETTERS)
}
"""Tables whose rows travel through the log."""

SOURCE = "kafka"
"""Source of dead letters that were no readable message."""

_ONE_BY_ONE = 32
"""Fewer messages than this are read one by one when they cannot be read together."""
_PAYLOAD = 65_536
"""Characters of an unreadable message that its dead letter keeps."""
_DAY = 86_400_000_000
_RENAMED = {"dead_letters": {"table": "meant_for"}}
_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Decoded:
    """What a batch of messages held: each message is one row, or one letter.

    Attributes
    ----------
    rows
        In the schema of the table, in the order of the messages.
    letters
        Messages that are none of ours, with their reasons; ``place`` is ``topic/partition/offset``.
    """

    rows: pa.Table
    letters: pa.Table


def table_of(name: str) -> Table:
    """The schema of a table whose rows travel through the log.

    Raises
    ------
    UsageError
        When no such table has a topic.
    """
    if name not in TABLES:
        raise UsageError(f"rows of table {name} do not travel through Kafka", f"tables that do: {', '.join(TABLES)}")
    return TABLES[name]


def encode(
    table: str, rows: pa.Table, sequence: int = 0, now: datetime | None = None
) -> tuple[list[bytes], list[bytes]]:
    """Keys and values of the messages that carry ``rows``.

    Parameters
    ----------
    rows
        In the schema of the table; columns of the log are left out.
    sequence
        Number of the first message, for tables without a ``sequence`` of their own.
    now
        Time of receipt, for tables without an ``ingest_time`` of their own; default: the present.

    Raises
    ------
    DataError
        When rows do not conform to the schema.
    """
    spec = table_of(table)
    frame = pl.DataFrame(pl.from_arrow(conform(rows, spec)))
    if frame.is_empty():
        return [], []
    keys = _keys(frame, spec)
    told = frame.drop(LOG_COLUMNS, strict=False).rename(_RENAMED.get(table, {}))
    if "sequence" not in told.columns:
        told = told.with_columns(pl.int_range(sequence, sequence + len(told)).alias("sequence"))
    if "ingest_time" not in told.columns:
        told = told.with_columns(pl.lit(now or datetime.now(UTC)).cast(_TIME).alias("ingest_time"))
    lines = io.BytesIO()
    told.select(
        pl.lit(VERSION).alias("v"),
        pl.lit(table).alias("table"),
        *(pl.col(name).cast(pl.Int64) if kind == _TIME else _iso(name, kind) for name, kind in told.schema.items()),
    ).write_ndjson(lines)
    return keys, lines.getvalue().split(b"\n")[: len(frame)]


def decode(
    table: str,
    values: Sequence[bytes | None],
    partitions: Sequence[int] | NDArray[np.int32],
    offsets: Sequence[int] | NDArray[np.int64],
    topic: str,
) -> Decoded:
    """Rows of a batch of messages, and dead letters for the messages that are none of ours.

    A message is good when it is one JSON object of our version and table, its values have the types of the schema
    (a number may not be cut to fit), required ones are there, and the invariants of the table hold.
    """
    spec = table_of(table)
    wire = _wire_schema(spec)
    count = len(values)
    raw = _read(values, wire)
    if raw is not None:
        at = pl.int_range(count, eager=True)
        unreadable: list[tuple[int, str]] = []
    else:
        raw, at, unreadable = _read_apart(values, wire)
    rows = _columns(raw, spec)
    rows = rows.with_columns(
        pl.Series("log_partition", partitions, pl.Int32).gather(at),
        pl.Series("log_offset", offsets, pl.Int64).gather(at),
    )
    bad = _reasons(raw, rows, spec)
    letters: list[dict[str, object]] = []
    if unreadable or bad.null_count() < len(bad):
        told = dict(unreadable)
        told.update((at[i], bad[i]) for i in bad.is_not_null().arg_true())
        whose = dict(zip(at, raw["source"], strict=True)) if "source" in raw.columns else {}
        for i in sorted(told):
            place = f"{topic}/{partitions[i]}/{offsets[i]}"
            letters.append(deadletters.letter(spec, whose.get(i) or SOURCE, place, told[i], _payload(values[i])))
        rows = rows.filter(bad.is_null())
    return Decoded(_arrow(rows, spec), deadletters.collect(letters))


def _keys(frame: pl.DataFrame, spec: Table) -> list[bytes]:
    first = pl.lit(None, dtype=pl.String)
    if "symbol" in frame.columns:
        first = pl.col("symbol")
    elif "symbols" in frame.columns:
        first = pl.col("symbols").str.split(",").list.first().replace("", None)
    others = [pl.col(name) for name in ("publisher", "author", "source") if name in frame.columns]
    return frame.select(pl.coalesce(first, *others).cast(pl.Binary)).to_series().to_list()


def _iso(name: str, kind: pl.DataType) -> pl.Expr:
    return pl.col(name).dt.strftime("%Y-%m-%d") if kind == pl.Date else pl.col(name)


def _wire_schema(spec: Table) -> dict[str, pl.DataType]:
    """Types of the fields of a message that are read."""
    frame = pl.DataFrame(pl.from_arrow(spec.schema.empty_table()))
    wire: dict[str, pl.DataType] = {"v": pl.Int64(), "table": pl.String()}
    for name, kind in frame.drop(LOG_COLUMNS, strict=False).schema.items():
        named = _RENAMED.get(spec.name, {}).get(name, name)
        wire[named] = pl.Int64() if kind == _TIME else pl.String() if kind == pl.Date else kind
    return wire


def _read(values: Sequence[bytes | None], wire: dict[str, pl.DataType]) -> pl.DataFrame | None:
    """All messages at once, or None when one of them is not a JSON object with values of these types."""
    try:
        lines = b"\n".join(values)  # type: ignore[arg-type]  # None: a tombstone
        if lines.count(b"\n") != len(values) - 1:
            return None
        frame = pl.read_ndjson(lines, schema=wire)
    except (TypeError, pl.exceptions.PolarsError):
        return None
    return frame if len(frame) == len(values) else None


def _read_apart(
    values: Sequence[bytes | None], wire: dict[str, pl.DataType]
) -> tuple[pl.DataFrame, pl.Series, list[tuple[int, str]]]:
    """The messages that can be read, their places in ``values``, and for the others place and reason; by bisection."""
    frames = [pl.DataFrame(schema=wire)]
    places: list[int] = []
    unreadable: list[tuple[int, str]] = []

    def look(first: int, last: int) -> None:
        part = values[first:last]
        frame = _read(part, wire)
        if frame is not None:
            frames.append(frame)
            places.extend(range(first, last))
        elif last - first == 1:
            value = _normal(part[0])
            frame = _read([value], wire) if value != part[0] else None
            if frame is None:
                unreadable.append((first, _why(part[0], wire)))
            else:
                frames.append(frame)
                places.append(first)
        else:
            step = 1 if last - first <= _ONE_BY_ONE else (last - first) // 2
            for at in range(first, last, step):
                look(at, min(at + step, last))

    look(0, len(values))
    return pl.concat(frames), pl.Series(places, dtype=pl.Int64), unreadable


def _normal(value: bytes | None) -> bytes | None:
    """A message over several lines as one line."""
    if value is None or b"\n" not in value:
        return value
    try:
        return json.dumps(json.loads(value.decode(), parse_constant=_refuse)).encode()
    except (ValueError, RecursionError):
        return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _why(value: bytes | None, wire: dict[str, pl.DataType]) -> str:
    """Why a message cannot be read, in words that do not depend on an engine's."""
    if not value or not value.strip():
        return "the message is empty"
    try:
        told = json.loads(value.decode(), parse_constant=_refuse)
    except UnicodeDecodeError:
        return "the message is not UTF-8"
    except RecursionError:
        return "the message is nested too deeply"
    except ValueError as error:
        return f"the message is not JSON: {error}"
    if not isinstance(told, dict):
        return "the message is not a JSON object"
    wrong = [name for name, kind in wire.items() if not _fits(told.get(name), kind)]
    return f"of another type than the schema's: {', '.join(wrong)}" if wrong else "the message cannot be read"


def _fits(value: object, kind: pl.DataType) -> bool:
    if value is None:
        return True
    if kind == pl.String:
        return isinstance(value, str)
    if kind == pl.Float64:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _columns(raw: pl.DataFrame, spec: Table) -> pl.DataFrame:
    back = {sent: name for name, sent in _RENAMED.get(spec.name, {}).items()}
    told = raw.drop("v", "table").rename(back)
    target = pl.DataFrame(pl.from_arrow(spec.schema.empty_table())).schema
    casts = []
    for name, kind in target.items():
        if kind == _TIME:
            casts.append(pl.col(name).cast(_TIME))
        elif kind == pl.Date:
            casts.append(pl.col(name).str.to_date("%Y-%m-%d", strict=False))
    return told.with_columns(casts)


def _reasons(raw: pl.DataFrame, rows: pl.DataFrame, spec: Table) -> pl.Series:
    """For each row why it is refused, or null."""
    checks: list[tuple[str, Callable[[], pl.Series]]] = [
        (f"the version of the message is not {VERSION}", lambda: raw["v"].ne_missing(VERSION)),
        (f"the message is not for the table {spec.name}", lambda: raw["table"].ne_missing(spec.name)),
    ]
    for name in (f.name for f in spec.schema if not f.nullable and f.name not in LOG_COLUMNS):
        checks.append((f"{name} is absent or of another form", rows[name].is_null))
    if "date" in rows.columns and "event_time" in rows.columns and spec.name != "corporate_actions":
        checks.append(("date lies more than a day from event_time", lambda: _apart(rows)))
    told = pl.Series("reason", [None], dtype=pl.String).new_from_index(0, len(rows))
    for reason, check in checks:
        failed = check()
        if failed.any():
            told = pl.select(pl.when(told.is_null() & failed).then(pl.lit(reason)).otherwise(told)).to_series()
    broken = reasons(rows, spec.invariants)
    return told if broken.null_count() == len(broken) else pl.select(pl.coalesce(told, broken)).to_series()


def _apart(rows: pl.DataFrame) -> pl.Series:
    """Times in another unit than microseconds show here."""
    away = rows["event_time"].cast(pl.Int64) - rows["date"].cast(pl.Datetime("us")).cast(pl.Int64)
    return ~away.is_between(-_DAY, 2 * _DAY).fill_null(True)


def _payload(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", errors="backslashreplace")[:_PAYLOAD]


def _arrow(frame: pl.DataFrame, spec: Table) -> pa.Table:
    plain = frame.select(spec.schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
    return plain.cast(spec.schema)
