"""How a verb that goes on is ended."""

from __future__ import annotations

import signal
import threading


def until_told() -> threading.Event:
    """Set by Ctrl-C or SIGTERM: what is under way is finished, then the verb ends with exit code 0."""
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    return stop
