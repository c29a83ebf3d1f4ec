"""From a coroutine that talks to a vendor to an iterator: a thread with a loop of its own behind a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_TICK = 0.05  # seconds between two looks at a full queue, or at whether to stop


class Stopped(Exception):
    """The reader has gone: unwind."""


class Outlet(Generic[T]):
    """What the coroutine puts its batches into."""

    def __init__(self, capacity: int, stop: threading.Event) -> None:
        self._queue: queue.Queue[T] = queue.Queue(capacity)
        self._stop = stop
        self._left = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether nobody reads any more."""
        return self._stop.is_set() or self._left.is_set()

    async def put(self, item: T) -> None:
        """Hand over, waiting while the queue is full.

        Raises
        ------
        Stopped
            When the reader has gone.
        """
        while not self.offer(item):
            if self.stopped:
                raise Stopped
            await asyncio.sleep(_TICK / 5)

    def offer(self, item: T) -> bool:
        """Hand over if there is room: for a reader of a socket, which must never wait."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            return False
        return True

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the stop.

        Raises
        ------
        Stopped
            When the reader has gone.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (rest := until - loop.time()) > 0:
            if self.stopped:
                raise Stopped
            await asyncio.sleep(min(rest, _TICK))
        if self.stopped:
            raise Stopped


def iterate(
    produce: Callable[[Outlet[T]], Awaitable[None]], capacity: int = 16, stop: threading.Event | None = None
) -> Iterator[T]:
    """Run ``produce`` in a thread and give what it puts; what it raises is raised here, after what it had put.

    The thread ends when ``produce`` does, when ``stop`` is set, or when the iterator is closed; then ``produce`` is
    cancelled and awaited, so that its connections are closed.
    """
    told = stop or threading.Event()
    outlet: Outlet[T] = Outlet(capacity, told)
    failed: list[BaseException] = []

    async def guarded() -> None:
        task = asyncio.ensure_future(produce(outlet))
        while not task.done():
            await asyncio.wait({task}, timeout=_TICK)
            if outlet.stopped and not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Stopped):
                    await task
                return
        with contextlib.suppress(Stopped):
            task.result()

    def run() -> None:
        try:
            asyncio.run(guarded())
        except BaseException as error:  # carried over to the reader's thread
            failed.append(error)

    thread = threading.Thread(target=run, name="aiquant-feed", daemon=True)
    thread.start()
    try:
        while True:
            try:
                yield outlet._queue.get(timeout=_TICK)
            except queue.Empty:
                if not thread.is_alive() and outlet._queue.empty():
                    break
                if told.is_set():
                    thread.join(5)
        if failed and not told.is_set():
            raise failed[0]
    finally:
        outlet._left.set()
        thread.join(10)
