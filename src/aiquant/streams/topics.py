"""The topics: their names, and how they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from aiquant.errors import UsageError
from aiquant.settings import StreamSettings
from aiquant.streams.connection import Watch, explain, options


@dataclass(frozen=True)
class Topic:
    """A topic as it is in Kafka.

    Attributes
    ----------
    made
        Whether it was made just now.
    """

    name: str
    table: str
    partitions: int
    made: bool


def names(stream: StreamSettings) -> dict[str, str]:
    """Name of the topic by table.

    Raises
    ------
    UsageError
        When two tables share a topic.
    """
    told = {table: str(topic) for table, topic in stream.topics.model_dump().items()}
    if len(set(told.values())) < len(told):
        raise UsageError(f"two tables share a topic: {told}", "give each one of stream.topics a name of its own")
    return told


def init(stream: StreamSettings) -> list[Topic]:
    """Make the topics that are not there; those that are there are left as they are.

    Raises
    ------
    Unreachable
        When no broker answers, or refuses us.
    """
    admin, watch = _admin(stream)
    there = watch.demand(admin).topics
    wanted = names(stream)
    config = {
        "retention.ms": str(int(stream.retention_hours * 3_600_000)),
        "compression.type": "producer",
        "max.message.bytes": str(stream.max_message_bytes + 10_000),  # a batch of one message has a head besides
        "min.insync.replicas": "2" if stream.replication > 2 else "1",
    }
    new = [
        NewTopic(topic, num_partitions=stream.partitions, replication_factor=stream.replication, config=config)
        for topic in wanted.values()
        if topic not in there
    ]
    made = set()
    for topic, future in (admin.create_topics(new, operation_timeout=30) if new else {}).items():
        try:
            future.result()
            made.add(topic)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise explain(error.args[0], stream, topic) from error
    there = watch.demand(admin).topics
    return [
        Topic(topic, table, len(there[topic].partitions) if topic in there else stream.partitions, topic in made)
        for table, topic in wanted.items()
    ]


def demand(stream: StreamSettings, wanted: list[str]) -> None:
    """Raise unless brokers answer and have these topics."""
    admin, watch = _admin(stream)
    there = watch.demand(admin).topics
    for topic in wanted:
        if topic not in there:
            raise explain(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), stream, topic)


def _admin(stream: StreamSettings) -> tuple[AdminClient, Watch]:
    watch = Watch(stream)
    told: dict[str, Any] = {**options(stream), "error_cb": watch}
    return AdminClient(told), watch
