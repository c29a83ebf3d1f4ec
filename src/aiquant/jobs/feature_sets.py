"""The feature sets that can be named here: those of the catalogue, and TOML files of one's own."""

from __future__ import annotations

import tomllib
from pathlib import Path

from aiquant.errors import MissingError
from aiquant.features import catalogue
from aiquant.features.catalogue import FeatureSet
from aiquant.jobs.workspace import open_


def known(folder: Path | None = None) -> list[tuple[FeatureSet, str | None]]:
    """Feature sets with the file that each is from (None: of the catalogue), as the workspace has them computed.

    Parameters
    ----------
    folder
        The workspace; by default the one around the current folder, if there is any.

    Raises
    ------
    UsageError
        When a file is a feature set, and a formula in it is wrong.
    """
    try:
        workspace = open_(folder)
    except MissingError:
        if folder is not None:
            raise
        workspace = None
    places = dict.fromkeys([Path.cwd(), *([workspace.root.resolve()] if workspace else [])])
    files = [file for place in places for file in sorted(place.glob("*.toml")) if _is_set(file)]
    chosen: list[tuple[str, str | None]] = [(name, None) for name in catalogue.names()]
    chosen += [(str(file), _short(file)) for file in dict.fromkeys(files)]
    return [
        (catalogue.of(workspace.settings, name) if workspace else catalogue.get(name), place) for name, place in chosen
    ]


def _is_set(file: Path) -> bool:
    """Whether a TOML file holds feature definitions: a file of settings has a section of that name too."""
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8")).get("features")
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and any(isinstance(entry, dict) and "formula" in entry for entry in told.values())


def _short(file: Path) -> str:
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
