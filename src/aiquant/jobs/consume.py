"""Kafka → lake, effectively once: what was read and how far are one commit."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiquant.errors import Unreachable
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from aiquant.lake.ledger import Appended
    from aiquant.settings import StreamSettings
    from aiquant.streams.consumer import Consumer, Place, Polled
    from aiquant.streams.envelope import Decoded
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
    metrics: Metrics | None = None,
    settled: Callable[[bool], None] | None = None,
) -> Consumed:
    """Read topics into their tables until ``stop`` is set.

    Each micro-batch is decoded, checked and stored with its offsets in one commit; then its dead letters are copied to
    the topic ``dead-letters`` (at least once) and Kafka hears of the offsets. Whenever this dies, the next start goes
    on from what the tables hold.

    Parameters
    ----------
    drain
        Stop when the topics have been read to their end.
    metrics
        What counts; default: metrics of its own, served where the settings say.
    settled
        Told again and again whether all that Kafka holds is stored.

    Raises
    ------
    AiquantError
        When Kafka or the disk refuses for good.
    """
    from aiquant.streams import envelope, topics
    from aiquant.streams.consumer import Consumer
    from aiquant.streams.metrics import Metrics

    stream = workspace.settings.stream
    stop = stop or threading.Event()
    tables = tuple(dict.fromkeys(envelope.table_of(table).name for table in tables))
    done = Consumed(tables)
    names = topics.names(stream)
    metrics = metrics or Metrics(stream.metrics_port)
    begun = time.perf_counter()
    with journal.station("consume " + ", ".join(tables)) as station, ExitStack() as stack:
        stack.enter_context(_few_collections())
        writer = _Writer(workspace, {names[table]: table for table in tables}, stream.group, metrics)
        copies = stack.enter_context(closing(_Copies(stream)))
        wanted = [names[table] for table in tables]
        consumer = stack.enter_context(closing(Consumer(stream, wanted, writer.positions, note=journal.note)))
        stack.callback(writer.close)
        while not stop.is_set():
            batches = consumer.poll(stop, drain)
            ended = drain and not batches and consumer.at_end()
            writer.put(batches)
            _settle(writer.outcomes(), writer, consumer, copies, done)
            metrics.waiting(consumer.lag())
            if settled is not None:
                settled(writer.idle and consumer.at_end())
            journal.progress(station.name)(done.messages, None)
            if ended:
                break
        _settle(writer.outcomes(wait=True), writer, consumer, copies, done)
        done.seconds = time.perf_counter() - begun
        station.rows = done.rows
    return done


@contextmanager
def _few_collections() -> Iterator[None]:
    """Millions of short-lived messages form no cycles: looking for some among them takes a sixth of the time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(200_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


UNDER_WAY = 2
"""Polls that are decoded and stored while the next one runs."""


@dataclass(frozen=True)
class _Outcome:
    """What became of a batch; ``appended`` is None when it was fenced off."""

    polled: Polled
    table: str
    letters: pa.Table
    appended: Appended | None


class _Writer:
    """Decodes in one thread and stores in another, while the next poll runs in a third.

    At most :data:`UNDER_WAY` polls are under way: ``put`` waits for the oldest, so memory stays bounded and Kafka is
    not asked for more than is stored. They are stored in their order; one behind a batch that was refused is refused as
    well, because it does not begin where the table stands. Whenever positions are asked for, all are finished first.
    """

    def __init__(self, workspace: Workspace, tables: dict[str, str], reader: str, metrics: Metrics) -> None:
        from aiquant.lake.ledger import Ledger

        self._tables, self._metrics = tables, metrics
        self._ledgers = {topic: Ledger(workspace.lake, table, reader) for topic, table in tables.items()}
        self._decoder = ThreadPoolExecutor(1, "aiquant-decoder")
        self._thread = ThreadPoolExecutor(1, "aiquant-lake-writer")
        self._running: deque[Future[list[_Outcome]]] = deque()
        self._outcomes: list[_Outcome] = []

    def put(self, batches: list[Polled]) -> None:
        """Store these once the ones before are stored."""
        self._finish(UNDER_WAY - 1)
        if batches:
            decoded = [(polled, self._decoder.submit(self._decode, polled)) for polled in batches]
            self._running.append(self._thread.submit(lambda: [self._store(*each) for each in decoded]))

    @property
    def idle(self) -> bool:
        """Whether all that was put is stored."""
        return all(future.done() for future in self._running)

    def outcomes(self, wait: bool = False) -> list[_Outcome]:
        """What became of batches since the last call."""
        if wait:
            self._finish()
        told, self._outcomes = self._outcomes, []
        return told

    def positions(self, places: list[Place]) -> dict[Place, int]:
        """Where the tables stand now, whoever wrote them."""
        self._finish()
        found: dict[Place, int] = {}
        for topic in sorted({topic for topic, _ in places}):
            self._ledgers[topic].reopen()
            found.update(self._ledgers[topic].positions(place for place in places if place[0] == topic))
        return found

    def close(self) -> None:
        """Finish what is under way."""
        self._decoder.shutdown(wait=True)
        self._thread.shutdown(wait=True)

    def _finish(self, leave: int = 0) -> None:
        while len(self._running) > leave:
            self._outcomes += self._running.popleft().result()

    def _decode(self, polled: Polled) -> Decoded:
        from aiquant.streams import envelope

        table = self._tables[polled.topic]
        return envelope.decode(table, polled.values, polled.partitions, polled.offsets, polled.topic)

    def _store(self, polled: Polled, decoding: Future[Decoded]) -> _Outcome:
        from aiquant.lake.ledger import Fenced

        topic, table = polled.topic, self._tables[polled.topic]
        decoded = decoding.result()
        with self._metrics.seconds.labels(topic).time():
            try:
                appended = self._ledgers[topic].append(decoded.rows, decoded.letters, polled.begun, polled.positions)
            except Fenced:
                self._metrics.fenced.labels(topic).inc()
                return _Outcome(polled, table, decoded.letters, None)
        self._metrics.messages.labels(topic).inc(len(polled.values))
        self._metrics.rows.labels(topic).inc(appended.inserted)
        self._metrics.duplicates.labels(topic).inc(appended.duplicates)
        self._metrics.letters.labels(topic).inc(appended.letters)
        return _Outcome(polled, table, decoded.letters, appended)


def _settle(outcomes: list[_Outcome], writer: _Writer, consumer: Consumer, copies: _Copies, done: Consumed) -> None:
    """What follows on a commit, or on its refusal: batches that were read behind a refused one are refused as well."""
    for outcome in outcomes:
        if outcome.appended is None:
            done.fenced += 1
            consumer.seek(writer.positions(list(outcome.polled.begun)))
            continue
        if outcome.letters.num_rows and outcome.table != "dead_letters":
            copies.send(outcome.letters)
        consumer.commit(outcome.polled.positions)
        done.messages += len(outcome.polled.values)
        done.rows += outcome.appended.inserted
        done.duplicates += outcome.appended.duplicates
        done.letters += outcome.appended.letters
        done.batches += 1
        done.versions[outcome.table] = outcome.appended.version


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
