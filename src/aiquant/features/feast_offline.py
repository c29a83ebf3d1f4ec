"""Feast's offline store on the lake's tables of features.

Its point-in-time join is ours (:mod:`aiquant.features.asof`): a value counts from the moment at which it was known,
whether or not ``filter_by_created_timestamp=True`` is told to Feast. There is no mode that looks ahead.

Feast finds the class by its name in the configuration::

    offline_store: {type: aiquant.features.feast_offline.LakeOfflineStore, workspace: /path/of/the/workspace}
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.data_format import DeltaFormat, ParquetFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel

from aiquant import settings as all_settings
from aiquant.errors import RefusedError, UsageError
from aiquant.features import asof

TIME = pl.Datetime("us", "UTC")


class LakeOfflineStoreConfig(FeastConfigBaseModel):
    """Where the settings stand that say how the lake's object store is reached."""

    type: Literal["aiquant.features.feast_offline.LakeOfflineStore"] = "aiquant.features.feast_offline.LakeOfflineStore"
    workspace: str | None = None


class LakeOfflineStore(OfflineStore):
    """Reads Delta tables and Parquet files; writes nothing: features are built by ``aiquant features build``."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Feast's training frame; see the module's docstring for what it does not do."""
        if not isinstance(entity_df, pd.DataFrame):
            raise UsageError("Feast was given no table of entity rows", "pass entity_df as a pandas DataFrame")
        time = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        entities = _in_utc(pl.from_pandas(entity_df), time)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        frame = partial(_frame, config, feature_views, feature_refs, entities, time, full_feature_names)
        moments: Any = entities[time]
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[name for name in entity_df.columns if name != time],
            min_event_timestamp=moments.min(),
            max_event_timestamp=moments.max(),
        )
        return LakeRetrievalJob(frame, metadata, full_feature_names, on_demand)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each key in a span of time, as known at its end."""

        def latest() -> pl.DataFrame:
            rows = _span(
                config, data_source, join_key_columns, feature_name_columns, _times(data_source), start_date, end_date
            )
            frame = rows.collect(engine="streaming").sort(_times(data_source), maintain_order=True)
            return frame.unique(join_key_columns, keep="last", maintain_order=True)

        return LakeRetrievalJob(latest, RetrievalMetadata(feature_name_columns, join_key_columns, start_date, end_date))

    @staticmethod
    def pull_all_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """All rows of a span of time, as known at its end."""

        def everything() -> pl.DataFrame:
            times = _times(data_source)
            rows = _span(config, data_source, join_key_columns, feature_name_columns, times, start_date, end_date)
            return rows.collect(engine="streaming")

        return LakeRetrievalJob(
            everything, RetrievalMetadata(feature_name_columns, join_key_columns, start_date, end_date)
        )

    @staticmethod
    def offline_write_batch(config: Any, feature_view: Any, table: Any, progress: Any) -> None:
        """Refused: rows would come into the lake beside its rules."""
        raise RefusedError(
            f"Feast may not write to the lake's table of {feature_view.name}",
            "build features with: aiquant features build; push with to=PushMode.ONLINE",
        )


class LakeRetrievalJob(RetrievalJob):
    """A read that is done when its rows are asked for."""

    def __init__(
        self,
        rows: Callable[[], pl.DataFrame],
        metadata: RetrievalMetadata,
        full_feature_names: bool = False,
        on_demand: list[OnDemandFeatureView] | None = None,
    ) -> None:
        super().__init__()
        self._rows, self._metadata = rows, metadata
        self._full_feature_names, self._on_demand = full_feature_names, on_demand or []

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        # Feast takes the first chunk for the whole.
        return self._rows().to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata:
        return self._metadata

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the rows to a Parquet file."""
        path = Path(storage.to_data_source().path)
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        pl.DataFrame(self.to_arrow()).write_parquet(path)


def _frame(
    config: Any,
    feature_views: list[Any],
    feature_refs: list[str],
    entities: pl.DataFrame,
    time: str,
    full_feature_names: bool,
) -> pl.DataFrame:
    """The entity rows with the features of all views."""
    result = entities
    for view in feature_views:
        name = view.projection.name_to_use()
        features = [ref.split(":", 1)[1] for ref in feature_refs if ref.startswith(f"{name}:")]
        (key, asked), *more = (view.projection.join_key_map or {e.name: e.name for e in view.entity_columns}).items()
        if more:
            raise UsageError(f"feature view {view.name} has several join keys", "use views of the entity symbol")
        source = view.batch_source
        event, *known = _times(source)
        known_from = pl.col(known[0]) if known else pl.col(event)
        last: Any = entities[time].max()
        rows = (
            scan(config, source)
            .filter(pl.col(event) <= last)
            .select(
                pl.col(key).alias("symbol"),
                pl.col(event).alias("event_time"),
                known_from.alias("known_from"),
                *features,
            )
            .collect(engine="streaming")
        )
        table = asof.FeatureTable(view.projection.name_alias or view.name, rows, view.ttl or None)
        keys = entities.select(pl.col(asked).alias("symbol"), pl.col(time).alias("event_time"))
        found = asof.join(keys, [table], full_names=full_feature_names).drop("symbol", "event_time")
        result = pl.concat([result, found], how="horizontal")
    return result


def _span(
    config: Any,
    source: Any,
    keys: list[str],
    features: list[str],
    times: list[str],
    start: datetime | None,
    end: datetime | None,
) -> pl.LazyFrame:
    rows = scan(config, source).select(*keys, *features, *times)
    if start is not None:
        rows = rows.filter(pl.col(times[0]) >= _utc(start))
    if end is not None:
        rows = rows.filter(*(pl.col(name) <= _utc(end) for name in times))
    return rows


def scan(config: Any, source: Any) -> pl.LazyFrame:
    """The rows of a source, times in UTC.

    Raises
    ------
    UsageError
        When it is neither a Delta table nor a Parquet file.
    """
    if not isinstance(source, FileSource) or not isinstance(source.file_format, DeltaFormat | ParquetFormat | None):
        raise UsageError(
            f"the source {source.name} is neither a Delta table nor a Parquet file", "use views made by features apply"
        )
    uri = FileSource.get_uri_for_file_path(config.repo_path, source.path)
    if isinstance(source.file_format, DeltaFormat):
        from deltalake import DeltaTable

        rows = pl.scan_delta(DeltaTable(uri, storage_options=_storage_options(config, uri)))
    else:
        rows = pl.scan_parquet(uri)
    rows = rows.rename({old: new for old, new in source.field_mapping.items() if old in rows.collect_schema()})
    return rows.with_columns(_cast(pl.col(name), rows.collect_schema()[name]) for name in _times(source))


def _storage_options(config: Any, uri: str) -> dict[str, str] | None:
    """What the settings of the workspace say about an object store; the AWS variables fill the rest."""
    workspace = config.offline_store.workspace
    if "://" not in uri or workspace is None:
        return None
    return all_settings.load(Path(workspace)).lake.storage_options


def _times(source: Any) -> list[str]:
    """The column of the event's time and, where there is one, of when it was known."""
    return [name for name in (source.timestamp_field, source.created_timestamp_column) if name]


def _in_utc(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame.with_columns(_cast(pl.col(name), frame.schema[name]))


def _cast(column: pl.Expr, kind: Any) -> pl.Expr:
    """Times as UTC; those without a zone are UTC to Feast."""
    if isinstance(kind, pl.Datetime) and kind.time_zone is None:
        column = column.dt.replace_time_zone("UTC")
    return column.cast(TIME)


def _utc(moment: datetime) -> datetime:
    """Times without a zone are UTC to Feast."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
