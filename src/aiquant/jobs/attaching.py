"""The tables from which a set's attached fields are made: which they are, their rows, and what stays empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import MissingError
from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.features.catalogue import FeatureSet
    from aiquant.lake import Lake

_INGEST = {
    "news": "take articles in with: aiquant ingest news --path FILE (or --source newsapi)",
    "tweets": "take posts in with: aiquant ingest tweets",
    "classification": "take classes in with: aiquant ingest classification",
    "scores": "score articles and posts first",
}
_NAMED = 5


def tables_of(settings: Settings) -> tuple[schemas.Table, ...]:
    """The tables, besides bars and actions, that the settings' feature set reads."""
    from aiquant.features import catalogue, fields

    names = fields.tables(catalogue.get(settings.features.set).fields)
    return tuple(table for table in schemas.TABLES if table.name in names)


def read(lake: Lake, settings: Settings, versions: Mapping[str, int | None]) -> dict[str, pa.Table | None]:
    """All versions of their rows, by name; None where there is no such table."""
    found: dict[str, pa.Table | None] = {}
    for table in tables_of(settings):
        version = versions.get(table.name)
        found[table.name] = None if version is None else lake.read(table, version=version, history=True)
    return found


def demand(chosen: FeatureSet, attached: Mapping[str, pa.Table | None]) -> None:
    """Refuse a set none of whose features can have a value.

    Raises
    ------
    MissingError
        When every feature needs a table that has no row; names it, and what fills it.
    """
    absent = _without_rows(attached)
    if absent and all(_needs(feature.fields, absent) for feature in chosen.features):
        first = absent[0]
        raise MissingError(f"set {chosen.name} needs the table {first}, which has no rows yet", _INGEST[first])


def empty(lake: Lake, chosen: FeatureSet, attached: Mapping[str, pa.Table | None], interval: str) -> list[str]:
    """Which features stay empty for want of what, a sentence each."""
    from aiquant.features.fields import BAR

    told = []
    for table in _without_rows(attached):
        names = [f.name for f in chosen.features if _needs(f.fields, [table])]
        told.append(f"Table {table} has no rows: {_listed(names)}. To fill it {_INGEST[table]}.")
    wanted = [name for name in chosen.fields if name in BAR and name != "close"]
    if wanted:
        rows = lake.scan(schemas.BARS, ["interval", *wanted], pl.col("interval") == interval, ordered=False)
        counted = rows.select(pl.col(wanted).count()).collect(engine="streaming").row(0, named=True)
        for field in (name for name in wanted if not counted[name]):
            names = [f.name for f in chosen.features if field in f.fields]
            told.append(f"The bars hold no {field}: {_listed(names)}.")
    return told


def _without_rows(attached: Mapping[str, pa.Table | None]) -> list[str]:
    return [name for name, rows in attached.items() if rows is None or not rows.num_rows]


def _needs(names: tuple[str, ...], absent: list[str]) -> bool:
    from aiquant.features.fields import FIELDS

    return any(table in absent for name in names for table in FIELDS[name].tables)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
    return f"{len(names):,} feature(s) stay empty ({shown})"
