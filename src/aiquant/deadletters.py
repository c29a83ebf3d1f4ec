"""Rows that cannot be used are set aside with their reason: how a dead letter is made.

A letter's id is a digest of table, source, place and payload, so that the same bad row, taken in twice, is one letter.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from aiquant.schemas import DEAD_LETTERS, Table, reasons


def letter(
    table: Table,
    source: str,
    place: str,
    reason: str,
    payload: str,
    *,
    symbol: str | None = None,
    day: date | None = None,
) -> dict[str, Any]:
    """One dead letter as a row of :data:`aiquant.schemas.DEAD_LETTERS`.

    Parameters
    ----------
    place
        Where the row came from: ``prices.csv:17``, or ``ticks/3/10452``.
    payload
        The row as it came, as JSON text.
    """
    digest = hashlib.sha256("\x1f".join((table.name, source, place, payload)).encode()).hexdigest()
    return {
        "letter_id": digest[:32],
        "table": table.name,
        "source": source,
        "place": place,
        "reason": reason,
        "symbol": symbol,
        "date": day,
        "payload": payload,
        "ingest_time": datetime.now(UTC),
    }


def collect(letters: list[dict[str, Any]]) -> pa.Table:
    """Letters made by :func:`letter` as one table of the schema ``dead_letters``."""
    return pa.Table.from_pylist(letters, schema=DEAD_LETTERS.schema)


def sort_out(rows: pl.DataFrame, table: Table, source: str) -> tuple[pl.DataFrame, pa.Table]:
    """Split rows into those that keep all invariants of ``table`` and dead letters.

    Parameters
    ----------
    rows
        The columns of ``table`` and, besides, ``place`` (text): where each row came from. A column ``payload`` (text)
        may hold the row as it came; without it the row itself is written as JSON.

    Returns
    -------
    good, letters
        ``good`` has the columns of ``rows`` less ``place`` and ``payload``.
    """
    told = rows.with_columns(reasons(rows, table.invariants).alias("reason"))
    bad = told.filter(pl.col("reason").is_not_null())
    good = told.filter(pl.col("reason").is_null()).drop("reason", "place", "payload", strict=False)
    return good, from_frame(bad, table, source)


def from_frame(bad: pl.DataFrame, table: Table, source: str) -> pa.Table:
    """Dead letters of a frame with ``place`` and ``reason`` beside the row's own columns (and maybe ``payload``)."""
    if bad.is_empty():
        return collect([])
    if "payload" not in bad.columns:
        own = [name for name in bad.columns if name not in ("place", "reason")]
        bad = bad.with_columns(pl.struct(own).struct.json_encode().alias("payload"))
    return collect(
        [
            letter(
                table,
                source,
                row["place"],
                row["reason"],
                row["payload"],
                symbol=row.get("symbol"),
                day=row.get("date"),
            )
            for row in bad.iter_rows(named=True)
        ]
    )
