"""Which messages a consumer lets through: each partition's next one, whatever the client hands over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from aiquant.errors import CheckFailed, Unreachable
from aiquant.settings import from_values
from aiquant.streams import consumer as module
from aiquant.streams.consumer import Consumer


class Said:
    """A message, or an event, of the client."""

    def __init__(self, partition: int, offset: int, error: KafkaError | None = None, topic: str = "ticks") -> None:
        self._partition, self._offset, self._error, self._topic = partition, offset, error, topic

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return f"{self._topic}/{self._partition}/{self._offset}".encode()

    def error(self) -> KafkaError | None:
        return self._error


class Client:
    """Plays a list of answers of ``consume``; functions among them are called in the middle of a poll."""

    answers: list[Any] = []
    watermarks = (0, 1_000)

    def __init__(self, options: dict[str, Any]) -> None:
        self.seeks: list[tuple[str, int, int]] = []
        self.left = list(type(self).answers)

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.assign, self.revoke = on_assign, on_revoke

    def consume(self, number: int, timeout: float) -> list[Said]:
        if not self.left:
            return []
        answer = self.left.pop(0)
        if callable(answer):
            answer(self)
            return []
        assert len(answer) <= number
        return list(answer)

    def seek(self, place: TopicPartition) -> None:
        self.seeks.append((place.topic, place.partition, place.offset))

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        self.assigned = [(p.topic, p.partition, p.offset) for p in places]

    def incremental_unassign(self, places: list[TopicPartition]) -> None:
        pass

    def get_watermark_offsets(self, place: TopicPartition, **_: Any) -> tuple[int, int]:
        return type(self).watermarks


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(
        *answers: Any, stands: dict[int, int] | None = None, topics: tuple[str, ...] = ("ticks",), **told: Any
    ) -> Any:
        monkeypatch.setattr(Client, "answers", list(answers))
        monkeypatch.setattr(module, "Client", Client)
        monkeypatch.setattr(module, "_partition", Said.partition)
        monkeypatch.setattr(module, "_offset", Said.offset)
        monkeypatch.setattr(module, "_value", Said.value)
        monkeypatch.setattr(module.topics_, "demand", lambda *_: None)
        stream = from_values({"stream": {"batch_seconds": 0.05, **told}}).stream
        made = Consumer(stream, topics, lambda places: {p: (stands or {0: 0, 1: 0})[p[1]] for p in places})
        made._client.assign(made._client, [TopicPartition(t, p) for t in topics for p in (stands or {0: 0, 1: 0})])
        return made

    return make


def said(partition: int, first: int, last: int, topic: str = "ticks") -> list[Said]:
    return [Said(partition, offset, topic=topic) for offset in range(first, last)]


def offsets(polled: Any) -> list[tuple[int, int]]:
    return list(zip(polled.partitions.tolist(), polled.offsets.tolist(), strict=True))


def test_a_batch_with_where_it_begins_and_ends(play: Any) -> None:
    consumer = play([*said(0, 5, 8), *said(1, 0, 2)], said(0, 8, 9), stands={0: 5, 1: 0})
    (polled,) = consumer.poll()
    assert offsets(polled) == [(0, 5), (0, 6), (0, 7), (1, 0), (1, 1), (0, 8)]
    assert polled.values[0] == b"ticks/0/5"
    assert polled.begun == {("ticks", 0): 5, ("ticks", 1): 0}
    assert polled.positions == {("ticks", 0): 9, ("ticks", 1): 2}
    assert consumer.poll() == []


def test_topics_are_kept_apart(play: Any) -> None:
    consumer = play([*said(0, 0, 1), *said(0, 0, 2, "news")], topics=("ticks", "news"))
    assert {p.topic: len(p.values) for p in consumer.poll()} == {"ticks": 1, "news": 2}


def test_what_was_delivered_twice_is_let_through_once(play: Any) -> None:
    consumer = play([*said(0, 0, 4), *said(0, 2, 6)])
    (polled,) = consumer.poll()
    assert offsets(polled) == [(0, i) for i in range(6)]
    assert polled.positions == {("ticks", 0): 6}


def test_a_gap_is_read_once_more_and_then_believed(play: Any) -> None:
    consumer = play([*said(0, 0, 2), *said(0, 5, 7)])
    (polled,) = consumer.poll()
    assert offsets(polled) == [(0, 0), (0, 1)]
    assert polled.positions == {("ticks", 0): 2}
    assert consumer._client.seeks == [("ticks", 0, 2)]
    consumer._client.left = [said(0, 5, 7)]
    (polled,) = consumer.poll()
    assert polled.begun == {("ticks", 0): 2} and polled.positions == {("ticks", 0): 7}


def test_messages_of_before_a_seek_do_not_jump_over_what_is_missing(play: Any) -> None:
    consumer = play(said(0, 0, 10))
    consumer.poll()
    consumer.seek({("ticks", 0): 4})
    consumer._client.left = [said(0, 10, 12)]  # still under way when the batch was thrown away
    assert consumer.poll() == []
    consumer._client.left = [said(0, 4, 12)]
    (polled,) = consumer.poll()
    assert polled.begun == {("ticks", 0): 4} and polled.positions == {("ticks", 0): 12}


def test_a_partition_that_is_taken_in_the_middle_of_a_poll_is_dropped(play: Any) -> None:
    def revoke(client: Client) -> None:
        client.revoke(client, [TopicPartition("ticks", 0)])

    consumer = play([*said(0, 0, 3), *said(1, 0, 3)], revoke)
    (polled,) = consumer.poll()
    assert polled.positions == {("ticks", 1): 3} and polled.begun == {("ticks", 1): 0}
    assert offsets(polled) == [(1, 0), (1, 1), (1, 2)]


def test_a_partition_that_comes_back_begins_where_the_reader_stands(play: Any) -> None:
    def there_and_back(client: Client) -> None:
        client.revoke(client, [TopicPartition("ticks", 0)])
        client.assign(client, [TopicPartition("ticks", 0)])

    consumer = play(said(0, 0, 3), there_and_back, said(0, 0, 5))
    (polled,) = consumer.poll()
    assert polled.begun == {("ticks", 0): 0} and polled.positions == {("ticks", 0): 5}
    assert offsets(polled) == [(0, i) for i in range(5)]


def test_a_batch_has_so_many_rows_at_the_most(play: Any) -> None:
    consumer = play(said(0, 0, 10), said(0, 10, 15), said(0, 15, 20), batch_rows=15)
    assert [len(p.values) for p in consumer.poll()] == [15]
    assert [len(p.values) for p in consumer.poll()] == [5]


def test_what_the_positions_raise_is_not_lost_in_a_callback(play: Any) -> None:
    consumer = play()

    def fail(_: Any) -> Any:
        raise Unreachable("the disk is full")

    consumer._positions = fail
    consumer._client.left = [lambda client: client.assign(client, [TopicPartition("ticks", 1)])]
    with pytest.raises(Unreachable, match="the disk is full"):
        consumer.poll()


RESET = KafkaError(KafkaError._AUTO_OFFSET_RESET)


def test_messages_that_kafka_deleted_unread_stop_the_consumer(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "watermarks", (50, 90))
    with pytest.raises(CheckFailed, match="begins at 50, but was read up to 10 only.*deleted 40 messages"):
        play([Said(0, -1, RESET)], stands={0: 10}).poll()
    going_on = play([Said(0, -1, RESET)], said(0, 50, 52), stands={0: 10}, on_gap="continue")
    (polled,) = going_on.poll()
    assert going_on._client.seeks == [("ticks", 0, 50)]
    assert polled.begun == {("ticks", 0): 10} and polled.positions == {("ticks", 0): 52}


def test_a_topic_that_was_made_anew_is_told(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "watermarks", (0, 5))
    with pytest.raises(CheckFailed, match="ends at 5, was read up to 10: made anew; give stream.group another name"):
        play([Said(0, -1, RESET)], stands={0: 10}).poll()


def test_brokers_that_are_away_are_waited_for_but_not_a_refusal(play: Any) -> None:
    assert play([Said(0, -1, KafkaError(KafkaError._TRANSPORT))]).poll() == []
    with pytest.raises(Unreachable, match="we may not use the topic ticks"):
        play([Said(0, -1, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))]).poll()


def test_a_seek_where_nothing_is_fetched_yet(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._STATE))

    consumer = play(said(0, 0, 10))
    consumer.poll()
    monkeypatch.setattr(Client, "seek", refuse)
    consumer.seek({("ticks", 0): 4, ("news", 7): 1})
    assert consumer._client.assigned == [("ticks", 0, 4)]
    consumer._client.left = [said(0, 4, 6)]
    assert consumer.poll()[0].begun == {("ticks", 0): 4}


def test_lag_and_end(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "watermarks", (0, 3))
    consumer = play(said(0, 0, 2))
    consumer.poll()
    assert consumer.lag() == {("ticks", 0): 1, ("ticks", 1): 3} and not consumer.at_end()
    consumer._client.left = [[*said(0, 2, 3), *said(1, 0, 3)]]
    consumer.poll()
    assert consumer.at_end()
    monkeypatch.setattr(Client, "watermarks", (-1001, -1001))  # nothing was fetched yet
    assert not consumer.at_end()


def test_random_deliveries_never_lose_and_never_double(play: Any) -> None:
    """Chunks that begin anywhere behind or before where a partition stands: what passes is gapless."""
    rng = np.random.default_rng(3)
    consumer, passed = play(stands={0: 0}), []
    for _ in range(300):
        stands = consumer._next["ticks", 0]
        if rng.random() < 0.2:
            begun = int(rng.integers(0, stands + 1))
            consumer.seek({("ticks", 0): begun})
            passed = passed[:begun]
        first = consumer._client.seeks[-1][2] if consumer._client.seeks and rng.random() < 0.5 else int(stands)
        consumer._client.left = [said(0, first, first + int(rng.integers(1, 6)))]
        for polled in consumer.poll(drain=True):
            assert polled.begun["ticks", 0] == len(passed)
            passed += polled.offsets.tolist()
    assert passed == list(range(len(passed))) and passed
