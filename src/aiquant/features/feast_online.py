"""Feast's online store on ours: what Feast writes our reader reads, and the other way round.

Feast's own stores hold a value for each feature, and let older values win (SQLite) or drop corrections (Redis); this
one packs a view's row into one value, and the newest row stays: see :mod:`aiquant.features.online`. Feast finds the
class by its name in the configuration::

    online_store: {type: aiquant.features.feast_online.PackedOnlineStore, workspace: /path/of/the/workspace}

Whether that is SQLite or Redis is said by the settings of the workspace, where passwords stand too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from feast.infra.online_stores.online_store import OnlineStore as FeastOnlineStore
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from feast.types import Float32

from aiquant import schemas
from aiquant import settings as all_settings
from aiquant.errors import UsageError
from aiquant.features import online
from aiquant.features.online import OnlineStore, View

VERSION_TAG = "version"
"""Tag of a feature view that holds the version of its set."""


class PackedOnlineStoreConfig(FeastConfigBaseModel):
    """Where the settings of the online store stand, and settings that win over those (no secrets)."""

    type: Literal["aiquant.features.feast_online.PackedOnlineStore"] = "aiquant.features.feast_online.PackedOnlineStore"
    workspace: str
    overrides: dict[str, str] = {}


class PackedOnlineStore(FeastOnlineStore):
    """One packed value for each symbol of a view. Views have the one join key ``symbol``, and features of Float32."""

    _opened: OnlineStore | None = None

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: list[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Any,
    ) -> None:
        """Take in rows; the newest of each symbol is kept. A row without a created time is known from its event on."""
        view = view_of(table)
        events = [_utc(event) for _, _, event, _ in data]
        columns: dict[str, pa.Array] = {
            "symbol": pa.array([_symbol(key) for key, _, _, _ in data], pa.string()),
            "date": pa.array([event.date() for event in events], pa.date32()),
            "event_time": pa.array(events, schemas.TIME),
            "known_from": pa.array(
                [event if known is None else _utc(known) for event, (_, _, _, known) in zip(events, data)], schemas.TIME
            ),
        }
        for name in view.features:
            numbers = [_number(values.get(name)) for _, values, _, _ in data]
            columns[name] = pa.array(np.array(numbers, np.float32), pa.float32())
        self._store(config).write(view, pa.table(columns))
        if progress:
            progress(len(data))

    def online_read(
        self, config: Any, table: Any, entity_keys: list[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Rows as Feast wants them; NaN is null, as Feast writes it."""
        view = view_of(table)
        names = list(view.features) if requested_features is None else requested_features
        read = self._store(config).read(view, [_symbol(key) for key in entity_keys], names)
        columns = [read[name].to_pylist() for name in names]
        rows: list[tuple[datetime | None, dict[str, Any] | None]] = []
        for at, event in enumerate(read["event_time"].to_pylist()):
            if event is None:
                rows.append((None, None))
            else:
                rows.append((event, {name: _value(column[at]) for name, column in zip(names, columns)}))
        return rows

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Remove the values of views that are removed; kept ones need no preparation, but must be of a kind we keep."""
        for table in tables_to_keep:
            view_of(table)
        for table in tables_to_delete:
            self._store(config).drop(view_of(table))

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Remove the values of all views."""
        for table in tables:
            self._store(config).drop(view_of(table))

    def _store(self, config: Any) -> OnlineStore:
        if self._opened is None:
            folder, overrides = Path(config.online_store.workspace), config.online_store.overrides
            self._opened = online.open_store(all_settings.load(folder, overrides).online, folder)
        return self._opened


def view_of(table: Any) -> View:
    """Our view of a feature view; one that is not from the catalogue has the digest of its names as version.

    Raises
    ------
    UsageError
        When it is of a kind that cannot be packed.
    """
    keys = [column.name for column in table.entity_columns]
    others = [field.name for field in table.features if field.dtype != Float32]
    if keys != ["symbol"] or others:
        what = f"the join key(s) {', '.join(keys)}" if keys != ["symbol"] else f"{others[0]}, which is not Float32"
        raise UsageError(
            f"feature view {table.name} has {what}: aiquant's online store keeps Float32 of the entity symbol",
            "choose another online store in Feast's configuration for such views",
        )
    names = tuple(field.name for field in table.features)
    version = table.tags.get(VERSION_TAG) or hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return View(table.name, version, names)


def _symbol(key: Any) -> str:
    symbol: str = key.entity_values[0].string_val
    return symbol


def _number(value: Any) -> float:
    """The number of a protobuf value, NaN for null."""
    kind = None if value is None else value.WhichOneof("val")
    return float(getattr(value, kind)) if kind else np.nan


def _value(number: float) -> Any:
    return Value() if number != number else Value(float_val=number)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
