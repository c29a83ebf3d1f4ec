"""What the simulator can do wrong, by switch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiquant.errors import UsageError

KINDS = {
    "400": "a request that the vendor does not understand",
    "401": "an unknown key",
    "403": "a plan that does not include it",
    "404": "nothing there",
    "429": "too many requests, with Retry-After or x-rate-limit-reset",
    "429-cap": "the cap of the month (X) or the plan's requests (NewsAPI) used up",
    "429-connections": "another stream is alive (X)",
    "500": "a fault of the vendor, as JSON",
    "502": "a gateway's fault, as HTML",
    "cut": "JSON that ends in the middle",
    "drop": "a connection that dies in the middle of the body",
    "nan": "NaN where a number belongs",
    "types": "a value of another type",
    "repeat": "a page token that leads back to the same page",
    "elsewhere": "a page token that leads to another host",
    "huge": "a reply beyond all bounds",
    "redirect": "a redirection to another host",
    "slow": "a reply that comes late",
    "skew": "a vendor's clock that is an hour ahead",
    "die": "a socket or stream that dies in the middle of a message",
    "silent": "a stream without heartbeat",
    "garbage": "a frame or line that is no JSON",
    "max-connections": "the feed's older connection is closed",
}
"""Kinds of faults and what each does."""


@dataclass
class Fault:
    """A fault that is still to happen.

    Attributes
    ----------
    kind
        One of :data:`KINDS`.
    times
        How often; −1 for ever.
    path
        Only where the path (``/ws`` for the socket) holds this.
    after
        So many requests (frames, lines) of that path go well first.
    """

    kind: str
    times: int = 1
    path: str = ""
    after: int = 0

    @classmethod
    def read(cls, text: str) -> Fault:
        """From ``kind``, ``kind:times`` or ``kind:times:path``.

        Raises
        ------
        UsageError
            When there is no such fault.
        """
        kind, _, rest = text.partition(":")
        times, _, path = rest.partition(":")
        if kind not in KINDS or (times and not times.lstrip("-").isdigit()):
            raise UsageError(f"fault {text!r}: not known", f"say one of: {', '.join(KINDS)}, e.g. 429:3")
        return cls(kind, int(times or 1), path)


class Faults:
    """The faults that are still to happen, taken one by one."""

    def __init__(self, planned: Iterable[Fault] = ()) -> None:
        self._planned = list(planned)

    def add(self, *faults: Fault) -> None:
        """Plan more."""
        self._planned += faults

    def clear(self) -> None:
        """From now on all goes well."""
        self._planned.clear()

    def take(self, path: str, *kinds: str) -> Fault | None:
        """The next fault for a path (of these kinds), used up by asking."""
        for fault in self._planned:
            if fault.path in path and fault.times != 0 and (not kinds or fault.kind in kinds):
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None


def spoiled(body: Any, kind: str) -> Any:
    """A body whose first item holds NaN, or a value of another type."""
    copy = json.loads(json.dumps(body))
    items = next((copy[name] for name in ("results", "articles", "data") if isinstance(copy.get(name), list)), None)
    if items:
        for name in ("c", "price", "cash_amount", "split_to", "publishedAt", "created_at", "ticker"):
            if name in items[0]:
                items[0][name] = float("nan") if kind == "nan" else {"a": ["wrong", "type"]}
                break
    return copy
