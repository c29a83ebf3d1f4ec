"""Features for serving: Feast's registry, lake → online store, online values with their ages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import DataError, MissingError
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.features.catalogue import FeatureSet
    from aiquant.features.feast_registry import Applied
    from aiquant.features.online import OnlineStore
    from aiquant.lake import Lake

ROW = ["symbol", "event_time", "known_from"]
"""What names a version of a row of features."""


@dataclass(frozen=True)
class Materialized:
    """What came into the online store.

    Attributes
    ----------
    set, version
        The feature set.
    store
        Where the values are: a file, or an address.
    symbols
        Symbols with rows in the span that was asked for.
    rows
        Of these, the ones whose value in the store changed.
    newest
        The newest ``event_time`` (UTC) of them; None where there was no row.
    pruned
        Other versions of the set whose values were removed.
    strays
        Symbols whose value in the store is of a later version than any that the table has, and so stayed: a build of
        the whole table leaves out what a stream had computed again.
    """

    set: str
    version: str
    store: str
    symbols: int
    rows: int
    newest: datetime | None
    pruned: tuple[str, ...] = ()
    strays: int = 0


@dataclass(frozen=True)
class Online:
    """Online values with their ages.

    Attributes
    ----------
    values
        ``symbol``, ``event_time``, ``known_from``, ``age``, ``state`` (fresh, stale or missing), then the features.
    """

    set: str
    version: str
    store: str
    ttl: str
    values: pa.Table


def apply(workspace: Workspace, names: Sequence[str] = ()) -> Applied:
    """Put feature sets into Feast's registry: those named, by default all of the catalogue and that of the settings."""
    from aiquant.features import catalogue, feast_registry

    settings = workspace.settings
    chosen = names or dict.fromkeys([*catalogue.names(), settings.features.set])
    store = feast_registry.open_registry(workspace.root, settings.online, _overrides(workspace))
    return _apply(workspace, store, [catalogue.of(settings, name) for name in chosen])


def open_feast(workspace: Workspace, names: Sequence[str] = ()) -> Any:
    """Feast's ``FeatureStore`` of a workspace, its registry brought up to the catalogue where that is needed."""
    from aiquant.features import catalogue, feast_registry

    sets = [catalogue.of(workspace.settings, name) for name in names or catalogue.names()]
    store = feast_registry.open_registry(workspace.root, workspace.settings.online, _overrides(workspace))
    if not feast_registry.is_current(store, sets):
        _apply(workspace, store, sets)
    return store


def _apply(workspace: Workspace, store: Any, sets: list[FeatureSet]) -> Applied:
    from aiquant.features import feast_registry

    def table(name: str) -> str:
        return str(workspace.lake.place(schemas.features_table(name)))

    return feast_registry.apply(store, workspace.settings.online, sets, table)


def _overrides(workspace: Workspace) -> dict[str, str]:
    """Settings of the command line that Feast has to be told; a secret is never passed on."""
    from aiquant.settings import SECRETS

    return {name: value for name, value in workspace.overrides.items() if name not in SECRETS}


def materialize(
    workspace: Workspace,
    journal: Journal,
    name: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    anew: bool = False,
    prune: bool = False,
) -> Materialized:
    """Bring the newest row of each symbol from the lake into the online store; what is there already stays.

    Parameters
    ----------
    name
        The feature set; by default that of the settings.
    start, end
        Only rows of this span (UTC, both ends count), as they were known at its end.
    anew
        Empty the store of this set first: the only way to put an older value in the place of a newer one.
    prune
        Remove the values of other versions of the set: nobody may serve them any more.

    Raises
    ------
    MissingError
        When the set was not built yet, or its table has no row.
    DataError
        When it was built from another definition, or by other settings.
    """
    from aiquant.features import online

    feature_set = demand_features(workspace, name)
    view, store = online.View.of(feature_set), _store(workspace)
    with journal.station("materialize") as station:
        rows = newest_rows(workspace.lake, feature_set, start, end)
        if not rows.num_rows and start is None and end is None:
            told = f"build it with: aiquant features build --set {name or feature_set.name}"
            raise MissingError(f"table {schemas.features_table(feature_set.name).name} has no row", told)
        if anew:
            store.drop(view)
        written = store.write(view, rows)
        outdated = [version for version in store.versions(view.name) if prune and version != view.version]
        for version in outdated:
            store.drop(online.View(view.name, version, ()))
        stored = store.read(view, rows["symbol"].to_pylist(), ()).select(ROW)
        store.close()
        lost = 0 if start or end else len(strays(workspace, feature_set, pl.DataFrame(stored)))
        if lost:
            journal.note(
                f"{lost:,} symbols keep values that the table does not have, of versions that a stream had computed "
                f"again before it was built whole; put the table's in their place with: aiquant features materialize "
                f"--set {name or feature_set.name} --anew"
            )
        station.rows = written.rows
        station.note = f"of {rows.num_rows:,} symbols of set {feature_set.name}"
    return Materialized(
        set=view.name,
        version=view.version,
        store=_place(workspace),
        symbols=rows.num_rows,
        rows=written.rows,
        newest=written.newest,
        pruned=tuple(outdated),
        strays=lost,
    )


def strays(workspace: Workspace, feature_set: FeatureSet, stored: pl.DataFrame) -> pl.DataFrame:
    """Of rows that an online store holds, symbol and times of those that the table of the set does not have.

    A stream writes the table first: read the store before this is asked.
    """
    table = schemas.features_table(feature_set.name)
    rows = stored.select(ROW).drop_nulls()
    if rows.is_empty() or workspace.lake.version(table) is None:
        return rows.clear()
    there = workspace.lake.scan(table, ROW, ordered=False, history=True)
    return rows.lazy().join(there, on=ROW, how="anti").collect(engine="streaming")


def newest_rows(
    lake: Lake, feature_set: FeatureSet, start: datetime | None = None, end: datetime | None = None
) -> pa.Table:
    """The newest row of each symbol: its time is found first, so that the wide columns are read of few rows."""
    table = schemas.features_table(feature_set.name)
    where = None if start is None else pl.col("event_time") >= start
    scan = lake.scan(table, where=where, as_of=end, ordered=False, history=True)
    times = scan.select(ROW).collect(engine="streaming").sort(ROW)
    newest = times.unique("symbol", keep="last")
    first = pl.lit(newest["event_time"].min(), newest.schema["event_time"])
    names = [*schemas.FEATURES.schema.names, *(f.name for f in feature_set.features)]
    rows = scan.filter(pl.col("event_time") >= first).join(newest.lazy(), on=ROW, how="semi").select(names)
    return rows.collect(engine="streaming").to_arrow()


def get(
    workspace: Workspace,
    symbols: Sequence[str] | None,
    name: str | None = None,
    features: Sequence[str] | None = None,
    now: datetime | None = None,
) -> Online:
    """Online values with their ages; a value of more than ``online.ttl`` is stale.

    Parameters
    ----------
    symbols
        By default all that the store has.

    Raises
    ------
    MissingError
        When the store has no value of the set at all.
    """
    from aiquant.features import online

    feature_set, settings = chosen(workspace, name), workspace.settings.online
    view, store = online.View.of(feature_set), _store(workspace)
    asked = store.symbols(view) if symbols is None else list(symbols)
    values = store.read(view, asked, features, now)
    if values["event_time"].null_count == len(values) and not store.symbols(view):
        raise MissingError(
            f"the online store {_place(workspace)} has no value of set {view.name} (version {view.version})",
            f"fill it with: aiquant features materialize --set {view.name}",
        )
    store.close()
    stale = pl.col("age") > settings.lifetime
    state = pl.when(pl.col("age").is_null()).then(pl.lit("missing")).when(stale).then(pl.lit("stale"))
    told = pl.DataFrame(values).select(state.otherwise(pl.lit("fresh")).alias("state")).to_arrow()["state"]
    values = values.add_column(4, "state", told.cast(pa.string()))
    return Online(view.name, view.version, _place(workspace), settings.ttl, values)


def chosen(workspace: Workspace, name: str | None) -> FeatureSet:
    """A feature set by its name, by default that of the settings, as they have it computed."""
    from aiquant.features import catalogue

    return catalogue.of(workspace.settings, name)


def _store(workspace: Workspace) -> OnlineStore:
    from aiquant.features import online

    return online.open_store(workspace.settings.online, workspace.root)


def _place(workspace: Workspace) -> str:
    told = workspace.settings.online
    return f"redis at {told.address}" if told.store == "redis" else str(workspace.root / told.path)


def demand_features(workspace: Workspace, name: str | None) -> FeatureSet:
    """A set by its name, if what its table holds are the values of the set as it is defined now."""
    from aiquant.jobs import features

    name = name or workspace.settings.features.set
    feature_set = chosen(workspace, name)
    table = schemas.features_table(feature_set.name)
    there = workspace.lake.scan(table, ordered=False, history=True).collect_schema().names()
    missing = [feature.name for feature in feature_set.features if feature.name not in there]
    if missing:
        raise DataError(
            f"table {table.name} lacks {missing[0]}: it was built from another definition of set {feature_set.name}",
            f"build it anew with: aiquant features build --set {name}",
        )
    features.demand_current(workspace, name)
    return feature_set
