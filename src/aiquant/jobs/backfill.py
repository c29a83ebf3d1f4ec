"""A vendor's past → lake: many lists at once, and a killed run goes on where it stood."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from aiquant import schemas
from aiquant.errors import UsageError
from aiquant.jobs import hours
from aiquant.jobs.ingest import Ingested
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.sources.base import Batch
    from aiquant.sources.checkpoints import Checkpoint

GROUP_ROWS = 250_000
GROUP_SECONDS = 30.0
"""So many rows, or so long a wait, become one commit."""


def backfill(
    workspace: Workspace,
    journal: Journal,
    table: str,
    source: str,
    symbols: tuple[str, ...] = (),
    first: date | None = None,
    last: date | None = None,
    interval: str | None = None,
    text: str | None = None,
    again: bool = False,
) -> Ingested:
    """Take the past of a vendor's table into the lake.

    What is stored is remembered page by page: killed at any moment and told the same again, it asks for the rest only.
    A page that was stored but not yet remembered comes twice, and the lake finds its rows unchanged.

    Parameters
    ----------
    symbols, first, last, interval, text
        As :class:`aiquant.sources.base.Query`; ``interval`` defaults to that of the settings.
    again
        Forget what was remembered, and ask for everything anew: the vendor may have corrected it.

    Raises
    ------
    UsageError
        When the vendor has no such table, or needs more than was told.
    MissingError
        When the vendor refuses, or a key is missing.
    """
    from aiquant.sources import base
    from aiquant.sources.checkpoints import Checkpoint

    vendor = base.vendor(source, workspace.settings)
    if not isinstance(vendor, base.HistorySource) or table not in vendor.tables:
        raise UsageError(f"source {source!r} has no history of {table}")
    place = checkpoint_path(workspace, source, table)
    if again:
        place.unlink(missing_ok=True)
    checkpoint = Checkpoint(place)
    query = base.Query(symbols, first, last, interval or workspace.settings.data.interval, text, checkpoint)
    done = Ingested(table, source)
    letters: dict[str, int] = {}
    group = _Group(workspace, next(t for t in schemas.TABLES if t.name == table), checkpoint, done)
    with journal.station(f"ingest {source}") as station:
        batches = vendor.history(table, query)
        try:
            for batch in batches:
                for note in batch.notes:
                    if note not in done.notes:
                        done.notes.append(note)
                        journal.note(note)
                if table == schemas.BARS.name:
                    rows, outside = hours.regular(batch.rows, workspace.settings.data, source)
                    batch = replace(batch, rows=rows, letters=pa.concat_tables([batch.letters, outside]))
                for reason in batch.letters["reason"].to_pylist():
                    letters[reason] = letters.get(reason, 0) + 1
                group.add(batch)
                journal.progress(f"ingest {source}")(done.rows + group.rows, None)
        finally:
            getattr(batches, "close", lambda: None)()
            group.write()  # what was given before a fault is kept
            station.rows = done.rows
    done.reasons = dict(sorted(letters.items(), key=lambda pair: (-pair[1], pair[0])))
    done.symbols = len(group.symbols)
    if not done.rows and not done.notes:
        done.notes.append("no good row came in")
        journal.note("no good row came in")
    return done


def checkpoint_path(workspace: Workspace, source: str, table: str) -> Path:
    """Where the positions of a vendor's lists are kept; another lake (``lake.root``) has its own."""
    root = hashlib.sha256(json.dumps(workspace.settings.lake.root).encode()).hexdigest()[:8]
    return workspace.state / "backfill" / f"{source}-{table}-{root}.json"


class _Group:
    """Batches that are written together; positions move on once they are written, letters first."""

    def __init__(self, workspace: Workspace, table: schemas.Table, checkpoint: Checkpoint, done: Ingested) -> None:
        self.rows = 0
        self.symbols: set[str] = set()
        self._workspace, self._table, self._checkpoint, self._done = workspace, table, checkpoint, done
        self._batches: list[Batch] = []
        self._since = time.monotonic()

    def add(self, batch: Batch) -> None:
        self._batches.append(batch)
        self.rows += batch.rows.num_rows
        if self.rows >= GROUP_ROWS or time.monotonic() - self._since > GROUP_SECONDS:
            self.write()

    def write(self) -> None:
        batches, self._batches = self._batches, []
        self.rows, self._since = 0, time.monotonic()
        if not batches:
            return
        lake, done = self._workspace.lake, self._done
        letters = pa.concat_tables([b.letters for b in batches])
        rows = pa.concat_tables([b.rows for b in batches])
        if letters.num_rows:
            lake.write(schemas.DEAD_LETTERS, letters)
        if rows.num_rows:
            written = lake.write(self._table, rows)
            done.inserted += written.inserted
            done.revised += written.revised
            done.unchanged += written.unchanged
            done.version = written.version
            self._measure(rows)
        done.rows += rows.num_rows
        done.dead_letters += letters.num_rows
        done.duplicates += sum(b.duplicates for b in batches)
        for batch in batches:
            self._checkpoint.advance(batch.position)

    def _measure(self, rows: pa.Table) -> None:
        import pyarrow.compute as pc

        if "symbol" in rows.column_names:
            self.symbols.update(pc.unique(rows["symbol"]).to_pylist())
        if "date" in rows.column_names:
            span, done = pc.min_max(rows["date"]).as_py(), self._done
            done.first = min(filter(None, (done.first, span["min"].isoformat())))
            done.last = max(filter(None, (done.last, span["max"].isoformat())))
