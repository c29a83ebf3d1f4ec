"""Training frames: features joined to rows of a file or of a program, as they were known at each row's time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from aiquant import schemas
from aiquant.errors import DataError
from aiquant.jobs import feature_store, tables
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.features.catalogue import FeatureSet


@dataclass(frozen=True)
class Framed:
    """What a training frame became.

    Attributes
    ----------
    rows
        Entity rows.
    matched
        For each set the entity rows for which there was a value.
    """

    sets: tuple[str, ...]
    rows: int
    features: int
    matched: dict[str, int]
    out: Path


def frame(
    workspace: Workspace,
    journal: Journal,
    entities: Path,
    names: Sequence[str],
    out: Path,
    ttl: timedelta | None = None,
    full_names: bool = False,
    times: bool = False,
) -> Framed:
    """Add features to the entity rows of a file, as they were known at each row's time: see :func:`training_frame`."""
    tables.writer_of(out)
    asked = tables.read(entities)
    if asked.is_empty():
        raise DataError(f"{entities} holds no row", "give a row for each symbol and time")
    with journal.station("frame") as station:
        joined = training_frame(workspace, asked, names, ttl, full_names=full_names, times=True)
        sets = [feature_store.chosen(workspace, name) for name in names]
        _tell_unknown(workspace, journal, asked, sets)
        matched = {s.name: joined.height - joined[f"{s.name}__event_time"].null_count() for s in sets}
        if not times:
            joined = joined.drop(f"{s.name}__{column}" for s in sets for column in ("event_time", "known_from"))
        tables.write(joined.to_arrow(compat_level=pl.CompatLevel.oldest()), out)
        station.rows = joined.height
    return Framed(tuple(matched), joined.height, sum(len(s.features) for s in sets), matched, out)


def _tell_unknown(workspace: Workspace, journal: Journal, asked: pl.DataFrame, sets: list[FeatureSet]) -> None:
    """Note the symbols of which a set has no row at any time."""
    symbols = asked["symbol"].cast(pl.String).unique().drop_nulls().sort()
    for chosen in sets:
        there = workspace.lake.scan(schemas.features_table(chosen.name), ["symbol"], ordered=False, history=True)
        known = there.unique().collect(engine="streaming")["symbol"]
        unknown = symbols.filter(~symbols.is_in(known.implode())).to_list()
        if unknown:
            shown = ", ".join(f"{name!r}" for name in unknown[:5]) + (" …" if len(unknown) > 5 else "")
            lower = [name for name in unknown if name.upper() in set(known)]
            more = "; symbols are written in capitals" if lower else ""
            journal.note(f"set {chosen.name} has no row of {len(unknown):,} of the symbols: {shown}{more}")


def training_frame(
    workspace: Workspace,
    entities: pl.DataFrame,
    names: Sequence[str],
    ttl: timedelta | None = None,
    *,
    full_names: bool = False,
    times: bool = False,
) -> pl.DataFrame:
    """Entity rows with the features that were known at their times.

    Parameters
    ----------
    entities
        ``symbol``, ``event_time`` (with time zone), and whatever else they bring.
    names
        Feature sets.
    ttl
        How old a value may be; None for any age.
    full_names, times
        As in :func:`aiquant.features.asof.join`.

    Raises
    ------
    MissingError
        When a set was not built yet.
    DataError
        When a set was built from another definition, or entity rows are not what they have to be.
    UsageError
        When two columns would have the same name.
    """
    from aiquant.features import asof

    asof.demand_entities(entities)
    sources = []
    for name in names:
        feature_set = feature_store.demand_features(workspace, name)
        sources.append(asof.FeatureTable(feature_set.name, _history(workspace, feature_set, entities, ttl), ttl))
    return asof.join(entities, sources, full_names=full_names, times=times)


def _history(
    workspace: Workspace, feature_set: FeatureSet, entities: pl.DataFrame, ttl: timedelta | None
) -> pl.DataFrame:
    """All versions of the rows that can count for some entity row."""
    first: Any = entities["event_time"].min()
    last: Any = entities["event_time"].max()
    where = pl.col("symbol").is_in(entities["symbol"].cast(pl.String).unique().to_list())
    if last is not None:
        where &= pl.col("event_time") <= last
        where = where if ttl is None else where & (pl.col("event_time") >= first - ttl)
    columns = [*feature_store.ROW, *(f.name for f in feature_set.features)]
    table = schemas.features_table(feature_set.name)
    rows = workspace.lake.scan(table, columns, where=where, ordered=False, history=True)
    return rows.collect(engine="streaming")
