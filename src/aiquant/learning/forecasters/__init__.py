"""Forecasters by name: the built-in ones, and those that other packages offer under the entry-point group
``aiquant.forecasters`` (an entry point names a class that fulfils :class:`Forecaster`)."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import cast

from aiquant import plugins
from aiquant.errors import UsageError
from aiquant.learning.forecasters import artefacts
from aiquant.learning.forecasters.average import PREFIX as AVERAGE
from aiquant.learning.forecasters.average import Average
from aiquant.learning.forecasters.base import Forecaster
from aiquant.settings import Settings

ENTRY_POINTS = "aiquant.forecasters"

_BUILT_IN = {
    "xgboost": "aiquant.learning.forecasters.trees:XGBoost",
    "ridge": "aiquant.learning.forecasters.ridge:Ridge",
    "momentum": "aiquant.learning.forecasters.baselines:Momentum",
    "zero": "aiquant.learning.forecasters.baselines:Zero",
}

__all__ = ["Forecaster", "create", "load", "names", "restore"]


def names() -> list[str]:
    """Names of all forecasters that can be created, in ascending order."""
    return sorted({*_BUILT_IN, *plugins.names(ENTRY_POINTS)})


def create(name: str, settings: Settings) -> Forecaster:
    """A forecaster that is not fitted yet; ``average:A,B`` is the average of A and B.

    Raises
    ------
    UsageError
        When no forecaster has that name.
    """
    if name.startswith(AVERAGE):
        told = settings.learning.model_copy(update={"model": name})
        return Average.create(settings.model_copy(update={"learning": told}))
    return _class(name).create(settings)


def load(folder: Path, digest: str | None = None) -> Forecaster:
    """The fitted forecaster that was saved in ``folder``.

    Parameters
    ----------
    digest
        What :meth:`Forecaster.save` returned, where it was kept elsewhere (a manifest, the registry).

    Raises
    ------
    MissingError
        When there is none.
    RefusedError
        When a file was changed after it was saved.
    """
    return restore(*artefacts.read(folder, digest))


def restore(header: artefacts.Header, payload: bytes) -> Forecaster:
    """The fitted forecaster of an artefact whose digest was checked."""
    if header.forecaster == Average.kind:
        return Average.restore(header, payload)
    return _class(header.forecaster).restore(header, payload)


def _class(name: str) -> type[Forecaster]:
    if name in _BUILT_IN:
        return cast("type[Forecaster]", plugins.built_in(_BUILT_IN[name]))
    if (point := plugins.find(ENTRY_POINTS, name)) is not None:
        return cast("type[Forecaster]", plugins.load(point, "forecaster"))
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
    known = f"there are: {', '.join(names())}"
    raise UsageError(f"no forecaster is named {name!r}", f"did you mean {near[0]!r}? {known}" if near else known)
