"""Kafka → lake, effectively once: what was read and how far are one commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiquant.errors import Unreachable
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from aiquant.lake.ledger import Ledger
    from aiquant.settings import StreamSettings
    from aiquant.streams.consumer import Consumer, Place, Polled
    from aiquant.streams.metrics import Metrics
    from aiquant.streams.producer import Producer


@dataclass
class Consumed:
    """What a consumer did.

    Attributes
    ----------
    messages
        Read from Kafka; each is a stored row, a duplicate or a dead letter.
    rows, duplicates, letters
        Stored, stored already, set aside.
    fenced
        Batches that were thrown away because another consumer had taken their partitions.
    """

    tables: tuple[str, ...]
    messages: int = 0
    rows: int = 0
    duplicates: int = 0
    letters: int = 0
    batches: int = 0
    fenced: int = 0
    seconds: float = 0.0
    versions: dict[str, int] = field(default_factory=dict)


TABLES = ("ticks", "bars", "news", "tweets", "dead_letters")
"""Tables that a consumer fills when it is told none."""


def consume(
    workspace: Workspace,
    journal: Journal,
    tables: Sequence[str] = TABLES,
    stop: threading.Event | None = None,
    drain: bool = False,
) -> Consumed:
    """Read topics into their tables until ``stop`` is set.

    Each micro-batch is decoded, checked and stored with its offsets in one commit; then its dead letters are copied to
    the topic ``dead-letters`` (at least once) and Kafka hears of the offsets. Whenever this dies, the next start goes
    on from what the tables hold.

    Parameters
    ----------
    drain
        Stop when the topics have been read to their end.

    Raises
    ------
    AiquantError
        When Kafka or the disk refuses for good.
    """
    from aiquant.streams import topics
    from aiquant.streams.consumer import Consumer
    from aiquant.streams.metrics import Metrics

    stream = workspace.settings.stream
    stop = stop or threading.Event()
    done = Consumed(tuple(tables))
    names = topics.names(stream)
    books = _Books(workspace, {names[table]: table for table in tables}, stream.group)
    metrics = Metrics(stream.metrics_port)
    copies = _Copies(stream)
    begun = time.perf_counter()
    with journal.station("consume " + ", ".join(tables)) as station:
        consumer = Consumer(stream, [names[table] for table in tables], books.positions)
        try:
            while not stop.is_set():
                batches = consumer.poll(stop, drain)
                for polled in batches:
                    _take(polled, books, consumer, copies, metrics, done)
                metrics.waiting(consumer.lag())
                journal.progress(station.name)(done.messages, None)
                if drain and not batches and consumer.at_end():
                    break
        finally:
            done.seconds = time.perf_counter() - begun
            station.rows = done.rows
            consumer.close()
            copies.close()
    return done


class _Books:
    """The ledgers of the tables, by topic."""

    def __init__(self, workspace: Workspace, tables: dict[str, str], reader: str) -> None:
        from aiquant.lake.ledger import Ledger

        self.tables = tables
        self._ledgers = {topic: Ledger(workspace.lake, table, reader) for topic, table in tables.items()}

    def of(self, topic: str) -> Ledger:
        return self._ledgers[topic]

    def positions(self, places: list[Place]) -> dict[Place, int]:
        """Where the tables stand now, whoever wrote them."""
        found: dict[Place, int] = {}
        for topic in sorted({topic for topic, _ in places}):
            self._ledgers[topic].reopen()
            found.update(self._ledgers[topic].positions(place for place in places if place[0] == topic))
        return found


class _Copies:
    """Copies of dead letters for the topic of that name; the producer is made when the first one comes."""

    def __init__(self, stream: StreamSettings) -> None:
        self._stream = stream
        self._producer: Producer | None = None

    def send(self, letters: pa.Table) -> None:
        from aiquant.streams.producer import Producer

        if self._producer is None:
            self._producer = Producer(self._stream)
        self._producer.send("dead_letters", letters)

    def close(self) -> None:
        if self._producer is not None:
            try:
                self._producer.close()
            except Unreachable:
                pass  # the lake has them


def _take(polled: Polled, books: _Books, consumer: Consumer, copies: _Copies, metrics: Metrics, done: Consumed) -> None:
    from aiquant.lake.ledger import Fenced
    from aiquant.streams import envelope

    table, ledger = books.tables[polled.topic], books.of(polled.topic)
    with metrics.seconds.labels(polled.topic).time():
        decoded = envelope.decode(table, polled.values, polled.partitions, polled.offsets, polled.topic)
        try:
            appended = ledger.append(decoded.rows, decoded.letters, polled.begun, polled.positions)
        except Fenced:
            done.fenced += 1
            metrics.fenced.labels(polled.topic).inc()
            consumer.seek(books.positions(list(polled.begun)))
            return
    if decoded.letters.num_rows and table != "dead_letters":
        copies.send(decoded.letters)
    consumer.commit(polled.positions)
    done.messages += len(polled.values)
    done.rows += appended.inserted
    done.duplicates += appended.duplicates
    done.letters += appended.letters
    done.batches += 1
    done.versions[table] = appended.version
    metrics.messages.labels(polled.topic).inc(len(polled.values))
    metrics.rows.labels(polled.topic).inc(appended.inserted)
    metrics.duplicates.labels(polled.topic).inc(appended.duplicates)
    metrics.letters.labels(polled.topic).inc(appended.letters)
