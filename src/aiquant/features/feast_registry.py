"""Feast's registry, made from the catalogue: never by hand, so that it cannot say anything else.

A feature set is a feature view of its name; its service is the set's name and version. The entity is ``symbol``.
A view reads the lake's table of its set, and takes pushes through ``<set>_push``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiquant.errors import DataError, Unreachable, require
from aiquant.features.catalogue import FeatureSet
from aiquant.settings import OnlineSettings

if TYPE_CHECKING:
    from feast import FeatureStore

FOLDER = "feast"
"""Folder of a workspace that Feast's configuration and registry lie in."""

_MADE_BY = {"made_by": "aiquant"}


@dataclass(frozen=True)
class Applied:
    """What an application left in the registry.

    Attributes
    ----------
    project
        Feast's project.
    views, services
        Names, by set.
    removed
        Services of versions that the catalogue no longer has.
    """

    project: str
    views: tuple[str, ...]
    services: tuple[str, ...]
    removed: tuple[str, ...]


def service_name(feature_set: FeatureSet) -> str:
    """Name of the service of this version of a set."""
    return f"{feature_set.name}_{feature_set.version}"


def open_registry(workspace: Path, settings: OnlineSettings, overrides: dict[str, str] | None = None) -> FeatureStore:
    """Feast's ``FeatureStore`` of a workspace; writes ``feast/feature_store.yaml``, which Feast's own commands read.

    Parameters
    ----------
    overrides
        Settings that win over the workspace's own (no secrets).

    Raises
    ------
    MissingExtra
        When Feast is not installed.
    DataError
        When the registry is not one of Feast's.
    Unreachable
        When its file or server does not answer.
    """
    feast = require("feast", "feast")
    folder = (workspace / FOLDER).resolve()
    config = _config(folder, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_yaml(folder / "feature_store.yaml", config)
    except OSError as error:
        raise Unreachable(f"{folder}: cannot be written: {error.strerror}", "check who may write there") from error
    config["online_store"]["overrides"] = overrides or {}
    if settings.registry_url is not None:
        config["registry"]["path"] = settings.registry_url.get_secret_value()
    store: FeatureStore = _told(folder, lambda: feast.FeatureStore(config=feast.RepoConfig(**config, repo_path=folder)))
    return store


def apply(
    store: FeatureStore, settings: OnlineSettings, sets: Sequence[FeatureSet], table: Callable[[str], str]
) -> Applied:
    """Put the sets into the registry, each with the service of its present version; older services of them go.

    Parameters
    ----------
    table
        From the name of a set to the path or address of its table in the lake.
    """
    objects = definitions(settings, sets, table)
    services = {service_name(each): each.name for each in sets}
    folder = Path(str(store.repo_path))

    def applied() -> tuple[str, ...]:
        ours = [s for s in store.list_feature_services() if s.tags.get("set") in set(services.values())]
        outdated = [service for service in ours if service.name not in services]
        store.apply(objects, objects_to_delete=outdated, partial=False)
        return tuple(sorted(service.name for service in outdated))

    removed = _told(folder, applied)
    return Applied(settings.project, tuple(each.name for each in sets), tuple(services), removed)


def is_current(store: FeatureStore, sets: Sequence[FeatureSet]) -> bool:
    """Whether the registry has the present versions of these sets."""
    folder = Path(str(store.repo_path))
    there: set[str] = _told(folder, lambda: {service.name for service in store.list_feature_services()})
    return {service_name(each) for each in sets} <= there


def definitions(settings: OnlineSettings, sets: Sequence[FeatureSet], table: Callable[[str], str]) -> list[Any]:
    """The entity, and for each set its source, view and service."""
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
    from feast.data_format import DeltaFormat
    from feast.types import Float32

    symbol = Entity(
        name="symbol",
        join_keys=["symbol"],
        value_type=ValueType.STRING,
        description="An instrument, by its symbol in upper case.",
        tags=_MADE_BY,
    )
    objects: list[Any] = [symbol]
    for each in sets:
        tags = {**_MADE_BY, "set": each.name, "version": each.version, "lookback": str(each.lookback)}
        source = FileSource(
            name=f"features_{each.name}",
            path=table(each.name),
            file_format=DeltaFormat(),
            timestamp_field="event_time",
            created_timestamp_column="known_from",
            tags=_MADE_BY,
        )
        view = FeatureView(
            name=each.name,
            entities=[symbol],
            ttl=settings.lifetime,
            source=PushSource(name=f"{each.name}_push", batch_source=source, tags=_MADE_BY),
            schema=[
                Field(
                    name=feature.name,
                    dtype=Float32,
                    description=feature.description,
                    tags={"formula": feature.formula, "lookback": str(feature.lookback), "source": feature.source},
                )
                for feature in each.features
            ],
            description=each.description,
            tags=tags,
        )
        service = FeatureService(name=service_name(each), features=[view], description=each.description, tags=tags)
        objects += [source, view, service]
    return objects


def _config(folder: Path, settings: OnlineSettings) -> dict[str, Any]:
    """Feast's configuration; it holds no secret."""
    registry: Any = str(folder / "registry.db")
    if settings.registry_url is not None:
        registry = {"registry_type": "sql", "path": "${AIQUANT_ONLINE__REGISTRY_URL}"}
    workspace = str(folder.parent)
    return {
        "project": settings.project,
        "provider": "local",
        "registry": registry,
        "offline_store": {"type": "aiquant.features.feast_offline.LakeOfflineStore", "workspace": workspace},
        "online_store": {"type": "aiquant.features.feast_online.PackedOnlineStore", "workspace": workspace},
        "entity_key_serialization_version": 3,
    }


def _write_yaml(path: Path, config: dict[str, Any]) -> None:
    import yaml

    text = "# Made by aiquant for Feast's own commands and API; changes are overwritten.\n" + yaml.safe_dump(config)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        half = path.with_name(f".{path.name}.{os.getpid()}")
        half.write_text(text, encoding="utf-8")
        os.replace(half, path)


def _told(folder: Path, call: Callable[[], Any]) -> Any:
    """Feast's and the registry's errors in our words."""
    from google.protobuf.message import DecodeError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return call()
    except DecodeError as error:
        raise DataError(
            f"{folder / 'registry.db'}: not a registry of Feast's: {error}", "remove it, then: aiquant features apply"
        ) from error
    except SQLAlchemyError as error:
        raise Unreachable(
            f"the database of online.registry_url does not answer: {type(error).__name__}",
            "start it, or correct AIQUANT_ONLINE__REGISTRY_URL",
        ) from error
    except OSError as error:
        raise Unreachable(
            f"{folder}: cannot be used: {error.strerror or error}", "check who may write there"
        ) from error
