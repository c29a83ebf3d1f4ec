"""Feast itself: its registry from the catalogue, its own join as the measure of ours, its API on our online store."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from aiquant import schemas
from aiquant.errors import RefusedError, UsageError
from aiquant.features import asof, catalogue, online
from aiquant.features.online import View
from aiquant.jobs import feature_store as job
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace, create

feast = pytest.importorskip("feast", reason="needs the extra feast")

T = datetime(2024, 3, 1, 21, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
CORE = catalogue.get("core")
VIEW = View.of(CORE)
pytestmark = pytest.mark.filterwarnings("ignore")
SYMBOLS = [f"S{at:02d}" for at in range(8)]


def history(seed: int, symbols: list[str] = SYMBOLS, days: int = 25, first: datetime = T) -> pl.DataFrame:
    """Rows of set core with gaps, late rows, restatements (of old days too), ties and NaN; all values differ."""
    rng = np.random.default_rng(seed)
    rows = []
    for symbol in symbols:
        for day in range(days):
            if rng.random() < 0.15:
                continue  # a gap
            event = first + timedelta(days=day)
            known = {event + timedelta(hours=int(rng.choice([0, 0, 0, 1, 30, 100])))}
            if rng.random() < 0.3:
                known.add(event + timedelta(hours=int(rng.integers(1, 400))))
            rows += [(symbol, event, moment) for moment in sorted(known)]
    frame = pl.DataFrame(rows, {"symbol": pl.String, "event_time": TIME, "known_from": TIME}, orient="row")
    values = rng.normal(size=(frame.height, len(CORE.features))).astype(np.float32)
    values[rng.random(values.shape) < 0.02] = np.nan
    frame = frame.with_columns(pl.Series(name, values[:, at]) for at, name in enumerate(VIEW.features))
    return frame.with_columns(pl.col("event_time").dt.date().alias("date")).select(
        *schemas.FEATURES.schema.names, *VIEW.features
    )


def entity_rows(seed: int, rows: pl.DataFrame, count: int = 400) -> pd.DataFrame:
    """Moments around the edges of the rows: just before, at, and just after an event, a restatement, a time to live."""
    rng = np.random.default_rng(seed)
    edges = pl.concat([rows["event_time"], rows["known_from"], rows["event_time"] + timedelta(days=5)])
    picked = edges.sample(count, with_replacement=True, seed=seed).dt.cast_time_unit("us")
    shift = pl.Series(rng.choice([-1, 0, 1, 3_600_000_000], count)).cast(pl.Duration("us"))
    frame = pl.DataFrame({"symbol": rng.choice([*SYMBOLS, "S99"], count), "event_timestamp": picked + shift})
    return frame.with_row_index("row").with_columns(weight=pl.Series(rng.normal(size=count))).to_pandas()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = create(tmp_path / "w")
    made.lake.overwrite("features_core", schemas.conform(history(1).to_arrow(), schemas.FEATURES))
    return made


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def feast_alone(folder: Path, rows: pl.DataFrame, ttl: timedelta) -> Any:
    """Feast as it comes: its DuckDB store on a Parquet file, its own join."""
    rows.write_parquet(folder / "rows.parquet")
    config = feast.RepoConfig(
        project="alone",
        provider="local",
        registry=str(folder / "alone.db"),
        offline_store={"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / "alone_online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = feast.FeatureStore(config=config)
    symbol = feast.Entity(name="symbol", join_keys=["symbol"], value_type=feast.ValueType.STRING)
    source = feast.FileSource(
        path=str(folder / "rows.parquet"), timestamp_field="event_time", created_timestamp_column="known_from"
    )
    fields = [feast.Field(name=name, dtype=feast.types.Float32) for name in VIEW.features]
    store.apply([symbol, feast.FeatureView(name="core", entities=[symbol], ttl=ttl, source=source, schema=fields)])
    return store


REFS = [f"core:{name}" for name in VIEW.features]


def in_order(frame: pd.DataFrame) -> pl.DataFrame:
    """Sorted by row; null and NaN are one to pandas."""
    return pl.from_pandas(frame).sort("row").with_columns(pl.col(pl.Float32).fill_nan(None))


@pytest.mark.parametrize("ttl", [timedelta(days=5), timedelta(0)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_our_join_equals_feasts_own_correct_mode_row_by_row(tmp_path: Path, seed: int, ttl: timedelta) -> None:
    rows = history(seed)
    entities = entity_rows(seed, rows)
    theirs = feast_alone(tmp_path, rows, ttl).get_historical_features(
        entity_df=entities, features=REFS, filter_by_created_timestamp=True
    )
    expected = in_order(theirs.to_df())
    asked = pl.from_pandas(entities).with_columns(pl.col("event_timestamp").cast(TIME))
    ours = asof.join(asked, [asof.FeatureTable("core", rows, ttl or None)], time="event_timestamp")
    found = in_order(ours.to_pandas())
    assert found.select(VIEW.features).equals(expected.select(VIEW.features))
    assert found["weight"].equals(expected["weight"])
    missing = found[VIEW.features[0]].null_count()
    assert 20 < missing < 300  # both kinds of rows are among them


def test_feast_without_its_flag_looks_ahead_and_our_store_has_no_such_mode(
    tmp_path: Path, workspace: Workspace
) -> None:
    rows = history(1)
    entities = entity_rows(4, rows)
    alone = feast_alone(tmp_path, rows, timedelta(days=5))
    right = in_order(
        alone.get_historical_features(entity_df=entities, features=REFS, filter_by_created_timestamp=True).to_df()
    )
    wrong = in_order(alone.get_historical_features(entity_df=entities, features=REFS).to_df())
    assert not wrong.select(VIEW.features).equals(right.select(VIEW.features))
    store = job.open_feast(workspace, ["core"])
    for flag in ({}, {"filter_by_created_timestamp": True}):
        ours = in_order(store.get_historical_features(entity_df=entities, features=REFS, **flag).to_df())
        assert ours.select(VIEW.features).equals(right.select(VIEW.features))


def test_the_registry_says_what_the_catalogue_says_and_old_versions_go(workspace: Workspace) -> None:
    done = job.apply(workspace)
    assert set(done.views) == set(catalogue.names()) and done.removed == ()
    store = job.open_feast(workspace)
    view = store.get_feature_view("core")
    assert [field.name for field in view.features] == list(VIEW.features)
    assert {field.dtype for field in view.features} == {feast.types.Float32}
    assert view.tags["version"] == CORE.version and view.tags["lookback"] == str(CORE.lookback)
    assert view.description == CORE.description and view.ttl == timedelta(days=5)
    first = next(field for field in view.features if field.name == VIEW.features[0])
    assert first.description == CORE.features[0].description and first.tags["formula"] == CORE.features[0].formula
    assert store.get_feature_service(f"core_{CORE.version}").tags["set"] == "core"
    assert store.get_entity("symbol").join_key == "symbol"
    store.apply(feast.FeatureService(name="core_of_old", features=[view], tags={"set": "core"}))
    store.apply(feast.FeatureService(name="somebodys", features=[view]))
    assert job.apply(workspace, ["core"]).removed == ("core_of_old",)
    left = {service.name for service in job.open_feast(workspace).list_feature_services()}
    assert "somebodys" in left and "core_of_old" not in left


@pytest.fixture(params=["sqlite", "redis"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """A workspace whose online store is SQLite or Redis."""
    made = create(tmp_path / "w")
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        project = f"t{abs(hash(tmp_path))}"
        made = Workspace(
            made.root, {"online.store": "redis", "online.address": server.address, "online.project": project}
        )
    made.lake.overwrite("features_core", schemas.conform(history(1).to_arrow(), schemas.FEATURES))
    return made


def online_of(store: Any, names: list[str], symbols: list[str]) -> dict[str, Any]:
    refs = [f"core:{name}" for name in names]
    answer = store.get_online_features(features=refs, entity_rows=[{"symbol": symbol} for symbol in symbols])
    told: dict[str, Any] = answer.to_dict(include_event_timestamps=True)
    return told


def test_feasts_materialise_and_read_say_what_our_reader_says(served: Workspace) -> None:
    store = job.open_feast(served, ["core"])
    store.materialize(T - timedelta(days=1), T + timedelta(days=60), feature_views=["core"])
    asked = [*SYMBOLS, "S99"]
    theirs = online_of(store, list(VIEW.features), asked)
    ours = online.open_store(served.settings.online, served.root).read(VIEW, asked)
    rows = history(1).sort("symbol", "event_time", "known_from").unique("symbol", keep="last").sort("symbol")
    for name in VIEW.features:
        expected = [*rows[name].to_list(), None]
        direct = ours[name].to_pylist()
        assert np.array_equal(np.array(direct, np.float32), np.array(expected, np.float32), equal_nan=True)
        assert [None if v is None else np.float32(v) for v in theirs[name]] == [
            None if v is None or np.isnan(v) else np.float32(v) for v in expected
        ]
        seconds = [0 if moment is None else int(moment.timestamp()) for moment in ours["event_time"].to_pylist()]
        assert theirs[f"{name}__ts"] == seconds
    # What our own verb brings is the same, so it changes nothing.
    assert job.materialize(served, Journal(), "core").rows == 0


def test_feast_as_it_comes_gives_the_same_values_times_and_types(tmp_path: Path, served: Workspace) -> None:
    rows = history(1).sort("symbol", "event_time", "known_from").unique("symbol", keep="last")
    alone = feast_alone(tmp_path, rows, timedelta(days=5))
    alone.materialize(T - timedelta(days=1), T + timedelta(days=60))
    job.materialize(served, Journal(), "core")
    store = job.open_feast(served, ["core"])
    asked = [*SYMBOLS[::-1], "S99"]
    entities = [{"symbol": symbol} for symbol in asked]
    theirs, ours = (s.get_online_features(features=REFS, entity_rows=entities) for s in (alone, store))
    assert ours.to_dict(include_event_timestamps=True) == theirs.to_dict(include_event_timestamps=True)
    assert ours.to_arrow().schema == theirs.to_arrow().schema


def test_a_push_of_a_correction_wins_and_of_an_older_row_does_not(served: Workspace) -> None:
    from feast.data_source import PushMode

    store = job.open_feast(served, ["core"])
    job.materialize(served, Journal(), "core")
    newest = history(1).sort("symbol", "event_time", "known_from").unique("symbol", keep="last").sort("symbol")
    name = VIEW.features[0]

    def pushed(**changed: Any) -> list[float]:
        store.push("core_push", newest.with_columns(**changed).to_pandas(), to=PushMode.ONLINE)
        values: list[float] = online_of(store, [name], SYMBOLS)[name]
        return values

    before = online_of(store, [name], SYMBOLS)[name]
    late, early = timedelta(hours=1), timedelta(days=3)
    assert pushed(**{name: pl.lit(9, pl.Float32), "known_from": pl.col("known_from") - late}) == before
    assert pushed(**{name: pl.lit(9, pl.Float32), "event_time": pl.col("event_time") - early}) == before
    assert pushed(**{name: pl.lit(7, pl.Float32), "known_from": pl.col("known_from") + late}) == [7.0] * len(SYMBOLS)
    # An old span, materialised again by Feast, does not bring the past back.
    store.materialize(T - timedelta(days=1), T + timedelta(days=20), feature_views=["core"])
    assert online_of(store, [name], SYMBOLS)[name] == [7.0] * len(SYMBOLS)


def test_a_materialisation_of_the_past_knows_no_later_correction(workspace: Workspace) -> None:
    end = T + timedelta(days=10)
    store = job.open_feast(workspace, ["core"])
    store.materialize(T - timedelta(days=1), end, feature_views=["core"])
    known = history(1).filter((pl.col("event_time") <= end) & (pl.col("known_from") <= end))
    newest = known.sort("symbol", "event_time", "known_from").unique("symbol", keep="last").sort("symbol")
    ours = online.open_store(workspace.settings.online, workspace.root).read(VIEW, newest["symbol"].to_list())
    assert ours["known_from"].to_pylist() == newest["known_from"].to_list()
    assert job.materialize(workspace, Journal(), "core", end=end).rows == 0


def test_feasts_own_configuration_file_opens_the_same_stores(workspace: Workspace) -> None:
    job.apply(workspace, ["core"])
    job.materialize(workspace, Journal(), "core")
    store = feast.FeatureStore(repo_path=str(workspace.root / "feast"))
    service = store.get_feature_service(f"core_{CORE.version}")
    answer = store.get_online_features(features=service, entity_rows=[{"symbol": SYMBOLS[0]}]).to_dict()
    direct = online.open_store(workspace.settings.online, workspace.root).read(VIEW, SYMBOLS[:1])
    name = VIEW.features[3]
    assert answer[name] == direct[name].to_pylist()


def test_what_would_go_round_the_lakes_rules_is_refused(workspace: Workspace) -> None:
    from feast.data_source import PushMode

    store = job.open_feast(workspace, ["core"])
    with pytest.raises(RefusedError, match="aiquant features build"):
        store.push("core_push", history(1).to_pandas(), to=PushMode.OFFLINE)
    symbol = store.get_entity("symbol")
    source = feast.FileSource(path=str(workspace.root / "x.parquet"), timestamp_field="event_time")
    fields = [feast.Field(name="name", dtype=feast.types.String)]
    with pytest.raises(UsageError, match="not Float32"):
        store.apply([feast.FeatureView(name="words", entities=[symbol], source=source, schema=fields)])


def test_a_registry_in_a_database(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIQUANT_ONLINE__REGISTRY_URL", f"sqlite:///{workspace.root}/registry.sqlite")
    sql = Workspace(workspace.root)
    assert job.apply(sql, ["core"]).services == (f"core_{CORE.version}",)
    assert not (workspace.root / "feast" / "registry.db").exists()
    assert "registry.sqlite" not in (workspace.root / "feast" / "feature_store.yaml").read_text()
    assert job.open_feast(sql, ["core"]).get_feature_view("core").tags["version"] == CORE.version


def test_an_on_demand_view_and_a_saved_data_set_work_on_our_frame(workspace: Workspace, tmp_path: Path) -> None:
    from feast.errors import SavedDatasetLocationAlreadyExists
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    store = job.open_feast(workspace, ["core"])
    sources = [store.get_feature_view("core")]
    schema = [feast.Field(name="sum", dtype=feast.types.Float64)]

    @feast.on_demand_feature_view.on_demand_feature_view(sources=sources, schema=schema)
    def added(inputs: pd.DataFrame) -> pd.DataFrame:  # Feast keeps the text of it: no names from outside
        return pd.DataFrame({"sum": (inputs["return_1"] + inputs["return_5"]).astype("float64")})

    store.apply([added])
    refs = ["core:return_1", "core:return_5", "added:sum"]
    told = store.get_historical_features(entity_df=entity_rows(5, history(1), 50), features=refs)
    frame = told.to_df()
    both = frame["return_1"].notna() & frame["return_5"].notna()
    assert both.sum() > 10
    assert np.allclose(frame["sum"][both], (frame["return_1"] + frame["return_5"]).astype("float64")[both])
    place = SavedDatasetFileStorage(path=str(tmp_path / "saved.parquet"))
    told.persist(place)
    assert pl.read_parquet(tmp_path / "saved.parquet").equals(pl.DataFrame(told.to_arrow()))
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        told.persist(place)


def test_the_lakes_rows_pass_through_arrow_in_one_piece(workspace: Workspace) -> None:
    store = job.open_feast(workspace, ["core"])
    told = store.get_historical_features(entity_df=entity_rows(6, history(1), 30), features=REFS).to_arrow()
    assert isinstance(told, pa.Table) and told[VIEW.features[0]].num_chunks == 1
