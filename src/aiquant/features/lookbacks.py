"""How far back a value reaches, known before any data are read.

A window reaches back a number of slots, a session-aware operator a number of whole sessions, whose slots depend on the
interval. A reach is ``slots + sessions × slots of a session``; where several arguments meet, the furthest counts.

>>> to_open = Reach.of(-1, 1)  # the session so far
>>> to_open.slots(390), to_open.slots(1)
(389, 0)
>>> to_open.behind(Reach.of(4)).slots(390)
393
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reach:
    """The furthest of some distances.

    Attributes
    ----------
    parts
        ``(slots, sessions)`` each; none lies within another whatever a session's length.
    """

    parts: tuple[tuple[int, int], ...] = ((0, 0),)

    @classmethod
    def of(cls, slots: int, sessions: int = 0) -> Reach:
        """One distance."""
        return cls(((slots, sessions),))

    @classmethod
    def furthest(cls, reaches: Iterable[Reach]) -> Reach:
        """The furthest of several; nothing where there are none."""
        every = {part for reach in reaches for part in reach.parts} or {(0, 0)}
        kept = [part for part in every if not any(_covers(other, part) for other in every if other != part)]
        return cls(tuple(sorted(kept)))

    def behind(self, other: Reach) -> Reach:
        """The distance of what lies ``self`` behind something that lies ``other`` behind."""
        return Reach.furthest(Reach.of(a + c, b + d) for a, b in self.parts for c, d in other.parts)

    def slots(self, per_session: int) -> int:
        """As a number of slots, when a session has at most ``per_session``."""
        return max(slots + sessions * per_session for slots, sessions in self.parts)


def _covers(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether ``one`` is as far as ``other`` for sessions of any length, 1 or more."""
    return one[1] >= other[1] and sum(one) >= sum(other)
