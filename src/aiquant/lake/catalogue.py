"""Tables by name: their schema, which verb makes them, and what their logs say of them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from aiquant.errors import UsageError
from aiquant.lake import delta
from aiquant.schemas import TABLES, Table, features_table

FEATURES_PREFIX = "features_"
_FEATURES = re.compile(FEATURES_PREFIX + r"[A-Za-z0-9_\-]+")

_MADE_BY = {
    "bars": "aiquant ingest bars",
    "corporate_actions": "aiquant ingest actions",
    "universe": "aiquant ingest universe",
    "ticks": "aiquant stream consume ticks",
    "news": "aiquant stream consume news",
    "tweets": "aiquant stream consume tweets",
    "forecasts": "aiquant train",
    "target_weights": "aiquant backtest",
    "fills": "aiquant backtest",
    "equity": "aiquant backtest",
    "trade_ledger": "aiquant trade --paper",
    "trade_orders": "aiquant trade --paper",
}


@dataclass(frozen=True)
class TableInfo:
    """A table as its Delta log describes it.

    Attributes
    ----------
    rows
        Rows that are stored; in a table with versions each correction counts.
    bytes
        Size of the data files of this version.
    first, last
        First and last date (exchange-local), None where a table has none.
    """

    name: str
    rows: int
    files: int
    bytes: int
    version: int
    first: date | None
    last: date | None


def describe(handle: DeltaTable, name: str) -> TableInfo:
    """What the log of a table says; no data is read."""
    files = pl.DataFrame(pl.from_arrow(pa.table(handle.get_add_actions(flatten=True))))
    first, last = _dates(files)
    return TableInfo(
        name=name,
        rows=delta.rows(handle),
        files=len(files),
        bytes=int(files["size_bytes"].sum()),
        version=handle.version(),
        first=first,
        last=last,
    )


def resolve(table: str | Table) -> Table:
    """The schema of a table by its name.

    Raises
    ------
    UsageError
        When no table has this name.
    """
    if isinstance(table, Table):
        return table
    named = {each.name: each for each in TABLES}
    if table in named:
        return named[table]
    if _FEATURES.fullmatch(table):
        return features_table(table.removeprefix(FEATURES_PREFIX))
    close = difflib.get_close_matches(table, named, n=1)
    raise UsageError(
        f"no table is named {table!r}",
        f"did you mean {close[0]}?" if close else f"tables: {', '.join(named)}, {FEATURES_PREFIX}<set>",
    )


def known(name: str) -> Table | None:
    """As :func:`resolve`, None for a table that others put there."""
    try:
        return resolve(name)
    except UsageError:
        return None


def remedy(name: str) -> str:
    """How a table that is not there is made."""
    build = f"aiquant features build --set {name.removeprefix(FEATURES_PREFIX)}"
    verb = build if name.startswith(FEATURES_PREFIX) else _MADE_BY.get(name)
    return (
        f"make it with: {verb}"
        if verb
        else "run the step that writes it first; see what is there with: aiquant lake ls"
    )


def _dates(files: pl.DataFrame) -> tuple[date | None, date | None]:
    """First and last date by the statistics of the files."""
    for name in ("date", "event_time"):
        if f"min.{name}" in files.columns and f"max.{name}" in files.columns:
            first, last = files[f"min.{name}"].min(), files[f"max.{name}"].max()
            if isinstance(first, datetime) and isinstance(last, datetime):
                return first.date(), last.date()
            if isinstance(first, date) and isinstance(last, date):
                return first, last
    return None, None
