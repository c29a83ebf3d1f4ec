"""Rows to Kafka: idempotent within a producer's life, batched, each delivery known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pyarrow as pa
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from aiquant import deadletters
from aiquant.errors import AiquantError, Unreachable
from aiquant.settings import StreamSettings
from aiquant.streams import envelope, topics
from aiquant.streams.connection import explain, options, waiting

_SLICE = 10_000
"""Messages that are handed over at a time."""
_HEAD = 1_000
"""Bytes of a message besides its key and value, at the most."""


class Producer:
    """Sends rows to the topics of their tables.

    A row that is sent is delivered once while the producer lives, brokers that restart included; a producer that dies
    and sends its last rows again doubles messages, which consumers recognise by the rows' keys.

    Parameters
    ----------
    stream
        Brokers, names of topics, compression, security.
    note
        Told when brokers are away.

    Raises
    ------
    Unreachable, MissingError
        When no broker answers, it refuses us, or a topic is not there.
    """

    def __init__(self, stream: StreamSettings, note: Callable[[str], None] | None = None) -> None:
        self._stream = stream
        self._topics = topics.names(stream)
        topics.demand(stream, list(self._topics.values()))
        self._fault: AiquantError | None = None
        self._sequence = time.time_ns() // 1_000  # rises over restarts too
        self._client = Client({**_options(stream), "error_cb": waiting(stream, note)})

    def send(self, table: str, rows: pa.Table) -> int:
        """Hand rows over; waits while more is under way than the queue holds. How many were set aside as too large.

        Raises
        ------
        DataError
            When rows do not conform to the schema of the table.
        AiquantError
            When an earlier message could not be delivered.
        """
        keys, values = envelope.encode(table, rows, self._sequence)
        self._sequence += len(values)
        limit = self._stream.max_message_bytes - _HEAD
        large = [i for i, (key, value) in enumerate(zip(keys, values, strict=True)) if len(key) + len(value) > limit]
        if large and table != "dead_letters":
            self._set_aside(table, rows, values, large)
        fits = set(large) if large else ()
        pairs = zip(keys, values, strict=True)
        self._hand_over(
            self._topics[table],
            (
                [{"key": key, "value": value} for i, (key, value) in enumerate(pairs) if i not in fits]
                if large
                else [{"key": key, "value": value} for key, value in pairs]
            ),
        )
        return len(large)

    def flush(self, timeout: float = 120.0) -> None:
        """Return when all that was sent is delivered.

        Raises
        ------
        AiquantError
            When a message could not be delivered, or ``timeout`` (seconds) has passed.
        """
        left = self._client.flush(timeout)
        self._raise_fault()
        if left:
            raise Unreachable(
                f"Kafka at {self._stream.brokers} did not take {left:,} messages within {timeout:.0f} s",
                "see whether its brokers run; rows that were not delivered are sent again by the next start",
            )

    def close(self) -> None:
        """Deliver what is under way, and leave."""
        self.flush()

    def _hand_over(self, topic: str, messages: list[dict[str, Any]]) -> None:
        for part in _parts(messages):
            while part:
                self._client.poll(0)
                self._raise_fault()
                try:
                    self._client.produce_batch(topic, part, on_delivery=self._delivered)
                except BufferError:
                    pass
                except KafkaException as refusal:
                    raise explain(refusal.args[0], self._stream, topic) from refusal
                refused = [message for message in part if "_error" in message]
                for message in refused:
                    error = message.pop("_error")
                    if isinstance(error, KafkaError) and error.code() != KafkaError._QUEUE_FULL:
                        raise explain(error, self._stream, topic)
                part = refused
                if part:
                    self._client.poll(0.05)  # the queue is full: wait until some are delivered

    def _set_aside(self, table: str, rows: pa.Table, values: list[bytes], large: list[int]) -> None:
        spec = envelope.table_of(table)
        sources = pl.Series(rows["source"].to_pylist())
        reason = f"larger than stream.max_message_bytes ({self._stream.max_message_bytes:,})"
        letters = [
            deadletters.letter(
                spec, sources[i], f"{self._topics[table]}: not sent", reason, values[i][:1000].decode(errors="replace")
            )
            for i in large
        ]
        self.send("dead_letters", deadletters.collect(letters))

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None and self._fault is None:
            self._fault = explain(error, self._stream, message.topic())

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault


def _options(stream: StreamSettings) -> dict[str, Any]:
    return {
        **options(stream),
        "enable.idempotence": True,  # with acks=all: no loss and no doubling by retries of the client
        "compression.type": stream.compression,
        "message.max.bytes": stream.max_message_bytes,
        "linger.ms": 20,
        "batch.size": 1_000_000,
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 65_536,
        "delivery.report.only.error": True,
        "message.timeout.ms": 0,  # brokers may be away for long: wait, do not drop
        "partitioner": "murmur2_random",  # as producers of other languages
    }


def _parts(messages: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, len(messages), _SLICE):
        yield messages[first : first + _SLICE]
