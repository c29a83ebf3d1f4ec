"""Plug-ins: what installed packages offer by entry point, and what is said of one that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from aiquant.errors import MissingError


def names(group: str) -> set[str]:
    """Names that installed packages offer in a group of entry points."""
    return {point.name for point in entry_points(group=group)}


def find(group: str, name: str) -> EntryPoint | None:
    """The entry point of that name; None where no package offers one."""
    return next((point for point in entry_points(group=group) if point.name == name), None)


def load(point: EntryPoint, what: str) -> Any:
    """What the entry point names.

    Parameters
    ----------
    what
        What it is to be, for the message: ``"source"``.

    Raises
    ------
    MissingError
        When it cannot be imported, whatever its module raises.
    """
    with guarded(point, what):
        return point.load()


@contextmanager
def guarded(point: EntryPoint, what: str) -> Iterator[None]:
    """Tell whatever a third party's code raises while it is taken in as a :class:`MissingError` that names it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise MissingError(
            f"{what} {point.name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}",
            "repair or remove the package that offers it",
        ) from error


def built_in(place: str) -> Any:
    """What ``module:attribute`` of our own names, imported when it is asked for."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
