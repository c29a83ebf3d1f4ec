"""The run manifest: all that is needed to say where a result came from, and to make it again."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import aiquant
from aiquant.errors import DataError, SettingsError
from aiquant.jobs import digests
from aiquant.schemas import BARS, CORPORATE_ACTIONS, UNIVERSE
from aiquant.settings import SECRETS, Settings, flatten, from_values

FORMAT = 1

LIBRARIES = (
    "deltalake",
    "duckdb",
    "exchange-calendars",
    "mlflow",
    "numba",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "scikit-learn",
    "skfolio",
    "xgboost-cpu",
    "xgboost",
)
"""Libraries whose version may change a number."""


def origin(settings: Settings) -> dict[str, Any]:
    """The part of a manifest that does not depend on data: code, settings, seed and libraries."""
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": {"version": aiquant.__version__, "digest": digests.of_code(), "git": git_commit()},
        "settings": plain(settings),
        "settings_hash": settings.fingerprint(),
        "seed": settings.learning.seed,
        "libraries": libraries(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def plain(settings: Settings) -> dict[str, Any]:
    """Settings by dotted name, secrets left out."""
    flat = flatten(settings.model_dump(mode="json"))
    return {name: value for name, value in flat.items() if name not in SECRETS}


def settings_of(told: dict[str, Any]) -> Settings:
    """The settings that a manifest records.

    Raises
    ------
    DataError
        When this version of aiquant does not know them.
    """
    tree: dict[str, Any] = {}
    for dotted, value in told["settings"].items():
        *sections, name = dotted.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = value
    try:
        return from_values(tree)
    except SettingsError as error:
        raise DataError(
            f"the settings of the manifest are not those of this version of aiquant: {error.problem}",
            f"use aiquant {told['code']['version']}",
        ) from error


def versions_of(told: dict[str, Any]) -> dict[str, int | None]:
    """The Delta version of each table that a manifest records; None for a table that was not there."""
    always = {table.name: None for table in (BARS, CORPORATE_ACTIONS, UNIVERSE)}
    return always | {name: table["version"] for name, table in told["data"].items()}


@lru_cache(maxsize=1)
def libraries() -> dict[str, str]:
    """Installed versions of :data:`LIBRARIES`."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """The commit of the checkout that the code runs from, with "+" behind it when files are changed."""
    folder = Path(aiquant.__file__).parent
    if not (folder.parents[1] / "pyproject.toml").is_file():  # installed, not a checkout: some other project's commit
        return None
    try:
        told = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None
