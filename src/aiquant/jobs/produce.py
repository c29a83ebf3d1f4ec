"""A vendor's live feed → Kafka."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiquant.errors import UsageError
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.sources.base import Batch, Query
    from aiquant.streams.producer import Producer

VENDORS = {"ticks": "polygon", "bars": "polygon", "news": "newsapi", "tweets": "x"}
"""The vendor of a table's feed when none is told."""


@dataclass
class Produced:
    """What a producer did: rows that Kafka has, and dead letters of the vendor's rows that could not be read."""

    table: str
    source: str
    rows: int = 0
    letters: int = 0
    batches: int = 0


def produce(
    workspace: Workspace,
    journal: Journal,
    table: str,
    source: str | None = None,
    symbols: tuple[str, ...] = (),
    stop: threading.Event | None = None,
) -> Produced:
    """Send a vendor's live feed of ``table`` to its topic until ``stop`` is set.

    What is delivered is remembered in the workspace, and the next start goes on from there. A feed that was killed may
    send its last rows again; consumers store them once.

    Raises
    ------
    UsageError
        When the source has no live feed of the table.
    MissingError
        When Kafka or the vendor refuses.
    """
    from aiquant.sources import base
    from aiquant.sources.checkpoints import Checkpoint
    from aiquant.streams.producer import Producer

    name = source or VENDORS.get(table)
    if name is None:
        raise UsageError(f"no vendor feeds {table}", f"feeds: {', '.join(VENDORS)}; or name one with --source")
    vendor = base.vendor(name, workspace.settings)
    if not isinstance(vendor, base.LiveSource) or table not in vendor.feeds:
        raise UsageError(f"source {name!r} has no live feed of {table}")
    query = base.Query(symbols=symbols, checkpoint=Checkpoint(workspace.state / "feeds" / f"{name}-{table}.json"))
    stop = stop or threading.Event()
    done = Produced(table, name)
    with journal.station(f"produce {table}") as station:
        producer = Producer(workspace.settings.stream, journal.note)
        try:
            send(producer, vendor.live(table, query, stop), query, journal, done)
        finally:
            station.rows = done.rows
            producer.close()
    return done


def send(producer: Producer, batches: Iterable[Batch], query: Query, journal: Journal, done: Produced) -> None:
    """Send batches; the feed's position moves on only when all before it is delivered."""
    for batch in batches:
        for note in batch.notes:
            journal.note(note)
        if batch.rows.num_rows:
            done.letters += producer.send(batch.table, batch.rows)
        if batch.letters.num_rows:
            producer.send("dead_letters", batch.letters)
        if batch.position is not None:
            producer.flush()
            query.checkpoint.advance(batch.position)
        done.rows += batch.rows.num_rows
        done.letters += batch.letters.num_rows
        done.batches += 1
        journal.progress(f"produce {done.table}")(done.rows, None)
