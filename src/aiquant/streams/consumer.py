"""Messages from Kafka in micro-batches, from positions that the reader of the batches keeps.

Kafka's own offsets are written for tools that show lag; they are never read. Whenever partitions are given to this
member of the group, their positions are asked for anew, and each message is checked to be the next of its partition.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from aiquant.errors import CheckFailed
from aiquant.settings import StreamSettings
from aiquant.streams import topics as topics_
from aiquant.streams.connection import explain, options, waiting

Place = tuple[str, int]
"""Topic and partition."""

_FINAL = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)
"""Errors that waiting does not cure; over others (brokers that are away) the client helps itself."""

_GULP = 10_000
"""Messages that are taken from the client at a time: more cost memory, and the time to touch it."""

_TICK = 0.25
"""Seconds between two looks at whether to stop."""


@dataclass(frozen=True)
class Polled:
    """Messages of one topic, in the order of each partition.

    Attributes
    ----------
    values, partitions, offsets
        One entry each message.
    begun, positions
        Next offset of each partition before and after these messages.
    """

    topic: str
    values: list[bytes | None]
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    begun: dict[Place, int]
    positions: dict[Place, int]


class Consumer:
    """A member of a group of readers.

    Parameters
    ----------
    stream
        Brokers, sizes of batches, security.
    topics
        Names of the topics.
    positions
        Asked for the next offsets of partitions when they are given to this member.
    group
        Name of the group; default: that of the settings.
    note
        Told when brokers are away.

    Raises
    ------
    Unreachable, MissingError
        When no broker answers, it refuses us, or a topic is not there.
    """

    def __init__(
        self,
        stream: StreamSettings,
        topics: Sequence[str],
        positions: Callable[[list[Place]], Mapping[Place, int]],
        group: str | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        topics_.demand(stream, list(topics))
        self._stream = stream
        self._topics = list(topics)
        self._positions = positions
        self._next: dict[Place, int] = {}
        self._gaps: dict[Place, tuple[int, int]] = {}
        self._fault: Exception | None = None
        self._client = Client({**_options(stream, group or stream.group), "error_cb": waiting(stream, note)})
        self._client.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def poll(self, stop: threading.Event | None = None, drain: bool = False) -> list[Polled]:
        """The next micro-batch, by topic: as many rows or seconds as the settings say; empty when none came.

        With ``drain`` it does not wait for more when there is none.

        Raises
        ------
        CheckFailed
            When Kafka no longer holds messages that were not read, and ``stream.on_gap`` is ``stop``.
        AiquantError
            When Kafka refuses us for good.
        """
        gathered = _Gathered(self._topics)
        deadline = time.monotonic() + self._stream.batch_seconds
        while gathered.count < self._stream.batch_rows and not (stop is not None and stop.is_set()):
            left = deadline - time.monotonic()
            if left <= 0 or (drain and not gathered.count and self.at_end()):
                break
            wanted = min(self._stream.batch_rows - gathered.count, _GULP)
            got = self._client.consume(wanted, timeout=min(left, _TICK))
            for event in gathered.add(got):
                try:
                    self._hear(event)
                except KafkaException as error:
                    raise explain(error.args[0], self._stream, event.topic()) from error
            if self._fault is not None:
                raise self._fault
            if drain and not got and (gathered.count or self.at_end()):
                break
        return [polled for polled in map(self._following, gathered.parts()) if polled.values]

    def seek(self, positions: Mapping[Place, int]) -> None:
        """Go on from these positions, in partitions that are still ours."""
        for place, offset in positions.items():
            if place in self._next:
                self._next[place] = offset
                self._go(place, offset)

    def commit(self, positions: Mapping[Place, int]) -> None:
        """Tell Kafka how far we are, for tools that show lag; nothing depends on it, so a failure is no error."""
        try:
            self._client.commit(offsets=_partitions(positions.items()), asynchronous=True)
        except KafkaException:
            pass

    def lag(self) -> dict[Place, int]:
        """Messages that wait, by partition, as far as fetches have told; unheard-of ones are absent."""
        waiting = {}
        for place, offset in self._next.items():
            _, high = self._client.get_watermark_offsets(TopicPartition(*place), cached=True)
            if high >= 0:
                waiting[place] = max(0, high - offset)
        return waiting

    def at_end(self) -> bool:
        """Whether all partitions that we hold were read to their end, as the last fetches told; false without any."""
        waiting = self.lag()
        return bool(self._next) and len(waiting) == len(self._next) and not any(waiting.values())

    def close(self) -> None:
        """Leave the group."""
        self._client.close()

    def _assigned(self, client: Any, partitions: list[TopicPartition]) -> None:
        try:
            places = [(p.topic, p.partition) for p in partitions]
            told = self._positions(places)
            self._next.update(told)
            client.incremental_assign(_partitions((place, told[place]) for place in places))
        except Exception as error:  # an exception would be lost in the client's callback
            self._fault = error

    def _revoked(self, client: Any, partitions: list[TopicPartition]) -> None:
        for p in partitions:
            self._next.pop((p.topic, p.partition), None)
        client.incremental_unassign(partitions)

    def _following(self, part: _Part) -> Polled:
        """Of what was gathered of a topic, the messages that follow on where its partitions stand."""
        topic, values, partitions, offsets = part
        keep = np.ones(len(values), dtype=bool)
        begun, positions = {}, {}
        for partition in np.unique(partitions).tolist():
            place, at = (topic, partition), np.flatnonzero(partitions == partition)
            if place not in self._next:  # taken from us while we polled
                keep[at] = False
                continue
            stood = self._next[place]
            keep[at] = self._follow(place, offsets[at])
            if keep[at].any():
                begun[place], positions[place] = stood, self._next[place]
        if not keep.all():
            values = [value for value, kept in zip(values, keep, strict=True) if kept]
            partitions, offsets = partitions[keep], offsets[keep]
        return Polled(topic, values, partitions, offsets, begun, positions)

    def _follow(self, place: Place, offsets: NDArray[np.int64]) -> Any:
        """Which messages follow, one after the other, on where the partition stands; moves that on."""
        start = self._next[place]
        if offsets[0] == start and (np.diff(offsets) == 1).all():
            self._next[place] = int(offsets[-1]) + 1
            return True
        keep = np.zeros(len(offsets), dtype=bool)
        for i, offset in enumerate(offsets.tolist()):
            stands = self._next[place]
            if offset < stands:
                continue  # delivered twice
            if offset > stands and self._gaps.get(place) != (stands, offset):
                # Kafka's log may have gaps (deleted records, marks of transactions), but so may what the client
                # hands over around a change of hands: read once more, and believe it the second time.
                self._gaps[place] = (stands, offset)
                self._go(place, stands)
                break
            keep[i] = True
            self._next[place] = offset + 1
        return keep

    def _hear(self, message: Message) -> None:
        """An event that is no message."""
        error = message.error()
        assert error is not None
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._gap((message.topic() or "", message.partition() or 0))
        elif error.code() in _FINAL:
            raise explain(error, self._stream, message.topic())

    def _go(self, place: Place, offset: int) -> None:
        """Read a partition of ours from ``offset`` on."""
        there = [TopicPartition(*place, offset)]
        try:
            self._client.seek(there[0])
        except KafkaException:  # it is not being fetched yet, so there is nothing to seek in
            self._client.incremental_unassign(there)
            self._client.incremental_assign(there)

    def _gap(self, place: Place) -> None:
        """Our position lies outside of what Kafka holds."""
        if place not in self._next:
            return
        stands = self._next[place]
        low, high = self._client.get_watermark_offsets(TopicPartition(*place), timeout=10)
        if low <= stands <= high:
            self._go(place, stands)
            return
        if stands > high:
            raise CheckFailed(
                f"topic {place[0]} partition {place[1]} ends at {high:,}, was read up to {stands:,}: made anew",
                "give stream.group another name: the new topic is then read from its beginning",
            )
        if self._stream.on_gap == "stop":
            raise CheckFailed(
                f"topic {place[0]} partition {place[1]} begins at {low:,}, but was read up to {stands:,} only: "
                f"Kafka has deleted {low - stands:,} messages that nobody read",
                "fetch them again from the vendor, then go on with: --set stream.on_gap=continue",
            )
        self._gaps[place] = (stands, low)
        self._go(place, low)


_partition: Callable[[Message], int] = Message.partition  # type: ignore[assignment]  # None in events alone
_offset: Callable[[Message], int] = Message.offset  # type: ignore[assignment]
_value: Callable[[Message], bytes | None] = Message.value


_Part = tuple[str, list[bytes | None], NDArray[np.int32], NDArray[np.int64]]


class _Gathered:
    """Values, partitions and offsets of messages by topic; the client's own objects are let go at once."""

    def __init__(self, topics: list[str]) -> None:
        self.count = 0
        self._topics = topics
        self._values: dict[str, list[bytes | None]] = {topic: [] for topic in topics}
        self._partitions: dict[str, list[NDArray[np.int32]]] = {topic: [] for topic in topics}
        self._offsets: dict[str, list[NDArray[np.int64]]] = {topic: [] for topic in topics}

    def add(self, messages: list[Message]) -> list[Message]:
        """Take messages; events that are none are given back."""
        good = [message for message in messages if message.error() is None]
        by_topic: dict[str, list[Message]] = {}
        if len(self._topics) == 1:
            by_topic[self._topics[0]] = good
        else:
            for message in good:
                by_topic.setdefault(message.topic() or "", []).append(message)
        for topic, some in by_topic.items():
            self._values[topic].extend(map(_value, some))
            self._partitions[topic].append(np.fromiter(map(_partition, some), np.int32, len(some)))
            self._offsets[topic].append(np.fromiter(map(_offset, some), np.int64, len(some)))
        self.count += len(good)
        return [] if len(good) == len(messages) else [m for m in messages if m.error() is not None]

    def parts(self) -> list[_Part]:
        """What was gathered of each topic."""
        return [
            (topic, values, np.concatenate(self._partitions[topic]), np.concatenate(self._offsets[topic]))
            for topic, values in self._values.items()
            if values
        ]


def _options(stream: StreamSettings, group: str) -> dict[str, Any]:
    return {
        **options(stream),
        "group.id": group,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(stream.session_seconds * 1000),
        "heartbeat.interval.ms": int(stream.session_seconds * 1000 / 4),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 20,  # a full queue is looked at again soon: batches take it in gulps
        "fetch.message.max.bytes": max(1_048_576, stream.max_message_bytes),
        "queued.max.messages.kbytes": 32_768,  # memory of what was fetched and not asked for
        "check.crcs": True,
    }


def _partitions(offsets: Iterable[tuple[Place, int]]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets]
