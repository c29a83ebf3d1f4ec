"""The simulated present: it runs while the exchange is open and skips the hours in which it is closed."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np

from aiquant.errors import UsageError
from aiquant.sources.simulator.market import Market


class Clock:
    """Time of the market.

    Parameters
    ----------
    start
        Where it begins; default: the open of the last session that is over.
    speed
        Simulated seconds a second; 0 stands still.
    """

    def __init__(self, market: Market, start: datetime | None = None, speed: float = 1.0) -> None:
        self.market, self.speed = market, speed
        over = int(np.searchsorted(market.closes_ns, time.time_ns())) - 1
        begin = int(start.timestamp() * 1e9) if start else int(market.opens_ns[over])
        self._at = int(np.searchsorted(market.closes_ns, begin, side="right"))
        if self._at >= len(market.sessions):
            raise UsageError("the simulated market ends before that time", "let it begin earlier")
        self._begin = max(begin, int(market.opens_ns[self._at]))
        self._zero = time.monotonic_ns()

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        at, moment = self._at, self._begin
        left = int((time.monotonic_ns() - self._zero) * self.speed)
        closes, opens = self.market.closes_ns, self.market.opens_ns
        while at + 1 < len(closes) and moment + left > closes[at]:
            left -= int(closes[at]) - moment
            at += 1
            moment = int(opens[at])
        return min(moment + left, int(closes[-1]))

    def now(self) -> datetime:
        """As a time in UTC."""
        return datetime.fromtimestamp(self.now_ns() / 1e9, UTC)

    def set(self, moment: datetime) -> None:
        """Go on from another moment."""
        self._at = int(np.searchsorted(self.market.closes_ns, int(moment.timestamp() * 1e9), side="right"))
        self._begin = max(int(moment.timestamp() * 1e9), int(self.market.opens_ns[self._at]))
        self._zero = time.monotonic_ns()
