"""The way into the online store: what it does not take waits, and is bounded by itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from aiquant.errors import Unreachable
from aiquant.jobs.journal import Journal

if TYPE_CHECKING:
    from aiquant.features.online import OnlineStore, View

_PAUSE = 5.0
"""Seconds between two tries while the store is away."""


class Shelf:
    """Newest rows on their way to the online store.

    The store keeps the newest row of a symbol, so while it is away no more than that has to wait: one row a symbol.

    Parameters
    ----------
    store, view
        Where rows go.
    journal
        Told when the store goes away, and when it is back.
    """

    def __init__(self, store: OnlineStore, view: View, journal: Journal) -> None:
        self._store, self._view, self._journal = store, view, journal
        self._rows: pl.DataFrame | None = None
        self._again = 0.0
        self._away = False

    @property
    def waiting(self) -> int:
        """Symbols whose row waits."""
        return 0 if self._rows is None else self._rows.height

    def put(self, rows: pa.Table) -> None:
        """Rows that are stored in the lake."""
        if not rows.num_rows:
            return
        frame = pl.DataFrame(pl.from_arrow(rows))
        both = frame if self._rows is None else pl.concat([self._rows, frame])
        both = both.sort("event_time", "known_from", maintain_order=True)
        self._rows = both.unique("symbol", keep="last", maintain_order=True)

    def flush(self, now: bool = False) -> float | None:
        """Bring what waits to the store, unless it is away and the next try is not due; ``now`` tries all the same.

        Returns
        -------
        float or None
            Seconds from the close of the newest bar to now; None where nothing was brought.
        """
        if self._rows is None or (time.monotonic() < self._again and not now):
            return None
        try:
            self._store.write(self._view, self._rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
        except Unreachable as error:
            if not self._away:
                self._journal.note(f"{error.problem}; the lake goes on, the newest rows wait")
            self._away, self._again = True, time.monotonic() + _PAUSE
            return None
        if self._away:
            self._journal.note("the online store is back; what waited is there")
        newest = self._rows["event_time"].max()
        self._rows, self._away = None, False
        assert isinstance(newest, datetime)
        return (datetime.now(UTC) - newest).total_seconds()
