"""What a source is, and how one is found by its name.

A source offers one or more of three things, each a protocol of its own: bars of files (:class:`Source`), history that
is asked for by symbols and dates (:class:`HistorySource`), and live feeds (:class:`LiveSource`).
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

from aiquant import plugins
from aiquant.errors import UsageError
from aiquant.settings import DataSettings, Settings
from aiquant.sources.checkpoints import Checkpoint, Position

ENTRY_POINTS = "aiquant.sources"
"""Group of entry points by which a package offers a source: ``name = "package.module:ClassOrInstance"``."""

Layout = Literal["long", "wide"]
"""Long: one row for a symbol and a time. Wide: one row for a time, one column for each symbol, closes in the cells."""

_BUILT_IN = {
    "files": "aiquant.sources.files:FilesSource",
    "newsapi": "aiquant.sources.newsapi.source:NewsApi",
    "polygon": "aiquant.sources.polygon.source:Polygon",
    "sample": "aiquant.sources.sample:SampleSource",
    "x": "aiquant.sources.x.source:X",
}


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
    table
        Name of the table whose schema ``rows`` have; a feed may bring rows of several.
    position
        How far the source has come with this batch. Whoever has stored the batch (never before) hands it to
        ``query.checkpoint.advance``, and the next start goes on from there.
    """

    rows: pa.Table
    letters: pa.Table
    notes: tuple[str, ...] = ()
    duplicates: int = 0
    left_out: int = 0
    table: str = "bars"
    position: Position | None = None


@dataclass(frozen=True)
class Query:
    """What is asked of a vendor.

    Attributes
    ----------
    symbols
        In our form (upper case, ``-`` before a share class: ``BRK-B``). Empty: what the vendor's settings say, or all.
    first, last
        Dates, both included: of the exchange for market data, UTC for texts.
    interval
        Of bars: ``1m``, ``5m``, ``1h``, ``1d``.
    text
        Search expression for news and posts in the vendor's own language; default: the vendor's settings.
    checkpoint
        Where an earlier, killed run stood. The default remembers nothing.
    """

    symbols: tuple[str, ...] = ()
    first: date | None = None
    last: date | None = None
    interval: str = "1d"
    text: str | None = None
    checkpoint: Checkpoint = field(default_factory=Checkpoint)


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


@runtime_checkable
class HistorySource(Protocol):
    """A vendor that is asked for the past of a table by symbols and dates.

    A class that has ``from_settings(settings: Settings)`` is made by it, any other by calling it without arguments.
    """

    tables: frozenset[str]
    """Names of the tables whose past it has."""

    def history(self, table: str, query: Query) -> Iterator[Batch]:
        """Rows of ``table`` in batches of bounded size; it ends when all has been given.

        Raises
        ------
        UsageError
            When the vendor has no such table, or the query lacks something.
        MissingError
            When the vendor does not answer, refuses, or its key is missing.
        """
        ...


@runtime_checkable
class LiveSource(Protocol):
    """A vendor that tells what happens now."""

    feeds: frozenset[str]
    """Names of the tables that it feeds: ``ticks``, ``news``, ``tweets``, ``bars``."""

    def live(self, table: str, query: Query, stop: threading.Event) -> Iterator[Batch]:
        """Rows of ``table`` as they come, until ``stop`` is set; a lost connection is made again, its gap filled.

        The iterator waits without bound for the next batch, and ends soon after ``stop`` was set. It may bring a batch
        without rows now and then, so that its reader gets to look at other things.

        Raises
        ------
        UsageError
            When the vendor has no such feed.
        MissingError
            When the vendor refuses for good (wrong key, plan, cap of the month, another connection is alive).
        """
        ...


def names() -> list[str]:
    """Names of all sources that :func:`get` finds: the built-in ones and those of installed packages."""
    return sorted({*_BUILT_IN, *plugins.names(ENTRY_POINTS)})


def get(name: str) -> Source:
    """The source of that name.

    Raises
    ------
    UsageError
        When no source has that name, or what an installed package offers is not a source.
    MissingError
        When the package that offers it cannot be imported.
    """
    found = _found(name)
    source = found() if isinstance(found, type) and not hasattr(found, "from_settings") else found
    if isinstance(source, Source) and not hasattr(found, "from_settings"):
        return source
    if hasattr(found, "from_settings") or isinstance(source, HistorySource | LiveSource):
        raise UsageError(
            f"source {name!r} has no files: it is asked by symbols and dates",
            "say for example: --symbols AAPL,MSFT --from 2024-01-01",
        )
    raise UsageError(f"source {name!r} is not a source: it has no method bars", "see aiquant.sources.base.Source")


def vendor(name: str, settings: Settings) -> Any:
    """The vendor of that name, made from settings: a :class:`HistorySource`, a :class:`LiveSource`, or both.

    Raises
    ------
    UsageError
        When no source has that name, or it is neither.
    MissingError
        When the package that offers it cannot be imported, or a key is missing.
    """
    found: Any = _found(name)
    made = getattr(found, "from_settings", None)
    source = made(settings) if made is not None else found() if isinstance(found, type) else found
    if not isinstance(source, HistorySource | LiveSource):
        raise UsageError(
            f"source {name!r} has no history and no live feed", "see HistorySource and LiveSource in sources.base"
        )
    return source


def _found(name: str) -> object:
    """What the name stands for: a class or an instance."""
    if name in _BUILT_IN:
        return plugins.built_in(_BUILT_IN[name])
    if (point := plugins.find(ENTRY_POINTS, name)) is not None:
        return plugins.load(point, "source")
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {', '.join(names())}"
    raise UsageError(f"no source is named {name!r}", meant)
