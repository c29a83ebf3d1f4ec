"""Buckets, pauses, budgets, checkpoints, and the bridge from a coroutine to an iterator."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aiquant.errors import DataError
from aiquant.sources.checkpoints import DONE, Checkpoint, Position
from aiquant.sources.feeds import Outlet, iterate
from aiquant.sources.limits import Backoff, Bucket, Budget


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_never_lets_more_pass_than_the_plan_allows() -> None:
    hand = Hand()
    bucket = Bucket(5, 60.0, hand)
    granted: list[float] = []
    rng = random.Random(3)
    for _ in range(200):
        hand.now += rng.choice([0.0, 0.0, 1.0, 20.0])
        granted.append(hand.now + bucket.reserve())
    assert granted == sorted(granted)
    for i, moment in enumerate(granted):
        assert sum(1 for g in granted[i:] if g < moment + 60.0 - 1e-9) <= 5


def test_a_bucket_lets_its_calls_pass_at_once_and_then_makes_them_wait() -> None:
    bucket = Bucket(3, 10.0, Hand())
    assert [bucket.reserve() for _ in range(7)] == [0, 0, 0, 10, 10, 10, 20]


def test_a_closed_bucket_waits() -> None:
    hand = Hand()
    bucket = Bucket(3, 10.0, hand)
    bucket.close_for(30.0)
    bucket.close_for(5.0)  # a shorter word does not open it
    assert bucket.reserve() == 30.0
    hand.now = 31.0
    assert bucket.reserve() == 0.0


def test_pauses_double_up_to_a_bound_with_jitter() -> None:
    backoff = Backoff(1.0, 8.0, rng=random.Random(1))
    for full in (1, 2, 4, 8, 8, 8):
        assert full / 2 <= backoff.next() <= full
    backoff.reset()
    assert backoff.next() <= 1.0
    steps = Backoff(0.25, 16.0, linear=True, rng=random.Random(1))
    pauses = [steps.next() for _ in range(100)]
    assert pauses[1] <= 0.5 and pauses[2] <= 0.75 and max(pauses) <= 16.0


def test_a_budget_is_kept_over_a_restart_and_new_each_day(tmp_path: Path) -> None:
    now = datetime(2026, 3, 2, 23, 59, tzinfo=UTC)
    path = tmp_path / "c.json"
    Budget("x", 100, Checkpoint(path), lambda: now).spend(70)
    again = Budget("x", 100, Checkpoint(path), lambda: now)
    again.spend(20)
    assert again.left() == 10
    again.spend(50)
    assert again.left() == 0
    assert Budget("x", 100, Checkpoint(path), lambda: datetime(2026, 3, 3, tzinfo=UTC)).left() == 100


def test_a_checkpoint_remembers(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "c.json"
    checkpoint = Checkpoint(path)
    checkpoint.advance(Position("a", "1"))
    checkpoint.advance(None)
    checkpoint.advance(Position("b", DONE))
    assert (Checkpoint(path).cursor("a"), Checkpoint(path).cursor("b"), Checkpoint(path).cursor("c")) == (
        "1",
        DONE,
        None,
    )
    checkpoint.forget("a")
    assert Checkpoint(path).cursor("a") is None
    assert [p.name for p in path.parent.iterdir()] == ["c.json"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}'])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(DataError, match="not a checkpoint.*remove the file"):
        Checkpoint(path)


def test_an_iterator_gives_what_was_put_before_a_fault() -> None:
    async def produce(outlet: Outlet[int]) -> None:
        for i in range(50):
            await outlet.put(i)
        raise RuntimeError("broken")

    got: list[int] = []
    with pytest.raises(RuntimeError, match="broken"):
        for i in iterate(produce, capacity=2):
            got.append(i)
    assert got == list(range(50))


def test_a_full_queue_holds_the_producer_back() -> None:
    put: list[int] = []

    async def produce(outlet: Outlet[int]) -> None:
        for i in range(100):
            await outlet.put(i)
            put.append(i)

    numbers = iterate(produce, capacity=3)
    next(numbers)
    time.sleep(0.3)
    assert len(put) <= 6
    assert list(numbers) == list(range(1, 100))


def test_a_stop_and_a_reader_who_leaves_end_the_thread() -> None:
    async def endless(outlet: Outlet[int]) -> None:
        while True:
            await outlet.put(1)
            await asyncio.sleep(0.001)

    before = threading.active_count()
    stop = threading.Event()
    for number, _ in enumerate(iterate(endless, stop=stop)):
        if number == 20:
            stop.set()
    left = iterate(endless)
    next(left)
    left.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
