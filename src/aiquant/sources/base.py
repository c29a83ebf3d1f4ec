"""What a source is, and how one is found by its name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from aiquant.errors import MissingError, UsageError
from aiquant.settings import DataSettings

ENTRY_POINTS = "aiquant.sources"
"""Group of entry points by which a package offers a source: ``name = "package.module:ClassOrInstance"``."""

Layout = Literal["long", "wide"]
"""Long: one row for a symbol and a time. Wide: one row for a time, one column for each symbol, closes in the cells."""

_BUILT_IN = {"files": "aiquant.sources.files:FilesSource", "sample": "aiquant.sources.sample:SampleSource"}


@dataclass(frozen=True)
class Batch:
    """A part of what a source gave.

    Every row that a source reads is either in ``rows``, or in ``letters``, or counted in ``duplicates`` or
    ``left_out``: nothing vanishes.

    Attributes
    ----------
    rows
        Good rows in the schema of their table (bars: :data:`aiquant.schemas.BARS`).
    letters
        Bad rows with their reasons (:data:`aiquant.schemas.DEAD_LETTERS`).
    notes
        Sentences for the user about what was recognised, assumed or ignored.
    duplicates
        Rows that said exactly what another row said and were collapsed into it.
    left_out
        Good rows that were not asked for (bars of another interval).
    """

    rows: pa.Table
    letters: pa.Table
    notes: tuple[str, ...] = ()
    duplicates: int = 0
    left_out: int = 0


@runtime_checkable
class Source(Protocol):
    """A vendor of bars."""

    def bars(
        self,
        data: DataSettings,
        path: Path | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        layout: Layout | None = None,
        strict: bool = False,
    ) -> Iterator[Batch]:
        """Bars in batches of bounded size.

        Parameters
        ----------
        data
            Calendar, interval and adjustment of the bars.
        path
            File or folder, for the sources that read one.
        columns, layout, strict
            As :func:`aiquant.sources.files.read_bars`; a source that has no use for them ignores them.
        """
        ...


def names() -> list[str]:
    """Names of all sources that :func:`get` finds: the built-in ones and those of installed packages."""
    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def get(name: str) -> Source:
    """The source of that name.

    Raises
    ------
    UsageError
        When no source has that name, or what an installed package offers is not a source.
    MissingError
        When the package that offers it cannot be imported.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return _made(name, getattr(import_module(module), attribute))
    for point in entry_points(group=ENTRY_POINTS, name=name):
        try:
            found = point.load()
        except Exception as error:  # whatever a third party's module raises while it is imported
            raise MissingError(
                f"source {name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}",
                "repair or remove the package that offers it",
            ) from error
        return _made(name, found)
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {', '.join(names())}"
    raise UsageError(f"no source is named {name!r}", meant)


def _made(name: str, found: object) -> Source:
    source = found() if isinstance(found, type) else found
    if not isinstance(source, Source):
        raise UsageError(f"source {name!r} is not a source: it has no method bars", "see aiquant.sources.base.Source")
    return source
