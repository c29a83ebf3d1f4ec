"""How often a vendor may be asked: a bucket of calls, pauses between attempts, a budget of paid reads."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiquant.sources.checkpoints import Checkpoint, Position


class Bucket:
    """Token bucket of ``calls`` tokens, each of which comes back ``period_s`` after it was taken.

    A bucket that refills steadily lets almost twice its rate pass in the first period after a pause; this one never
    lets more than ``calls`` pass in any period, which is what a plan of "5 requests a minute" means.

    Parameters
    ----------
    calls, period_s
        What the plan allows.
    clock
        Monotonic seconds.
    """

    def __init__(self, calls: int, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.calls, self.period_s = calls, period_s
        self._clock = clock
        self._taken: deque[float] = deque(maxlen=calls)
        self._closed_until = float("-inf")
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next token; the seconds to wait until it may be used."""
        with self._lock:
            now = self._clock()
            at = max(now, self._closed_until)
            if len(self._taken) == self.calls:
                at = max(at, self._taken[0] + self.period_s)
            self._taken.append(at)
            return at - now

    def close_for(self, seconds: float) -> None:
        """No token is given for so long: the vendor said that its own counter is empty."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    async def take(self) -> None:
        """Wait for a token."""
        wait = self.reserve()
        if wait > 0:
            await asyncio.sleep(wait)


@dataclass
class Backoff:
    """Pauses between attempts: each up to ``factor`` times the last one, at most ``longest``, with jitter.

    The pause is drawn evenly from the upper half ("equal jitter"): clients that failed together come back apart, and
    none comes back at once.
    """

    first: float
    longest: float
    factor: float = 2.0
    linear: bool = False
    rng: random.Random = field(default_factory=random.Random)
    attempt: int = 0

    def next(self) -> float:
        """Seconds to wait now."""
        step = self.first * (self.attempt + 1) if self.linear else self.first * self.factor ** min(self.attempt, 64)
        self.attempt += 1
        full = min(step, self.longest)
        return full * (0.5 + 0.5 * self.rng.random())

    def reset(self) -> None:
        """It worked: the next pause is the first one again."""
        self.attempt = 0


class Budget:
    """A number of paid reads that may be made in one UTC day, counted in a checkpoint so that a restart knows it."""

    def __init__(
        self,
        name: str,
        per_day: int,
        checkpoint: Checkpoint,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name, self.per_day = name, per_day
        self._checkpoint, self._now = checkpoint, now

    def left(self) -> int:
        """Reads that may still be made today."""
        day, spent = self._spent()
        return max(0, self.per_day - spent)

    def spend(self, reads: int) -> None:
        """Count reads that were made; kept at once, before anything is done with them."""
        if reads:
            day, spent = self._spent()
            self._checkpoint.advance(Position(f"budget/{self.name}", f"{day}:{spent + reads}"))

    def _spent(self) -> tuple[str, int]:
        today = self._now().astimezone(UTC).date().isoformat()
        day, _, count = (self._checkpoint.cursor(f"budget/{self.name}") or "").partition(":")
        return today, int(count) if day == today and count.isdigit() else 0
