"""The simulated vendors as a server, until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.sources.simulator.server import Simulator


def simulate(
    settings: Settings,
    stop: threading.Event,
    faults: tuple[str, ...] = (),
    start: datetime | None = None,
    started: Callable[[Simulator], None] = lambda _: None,
) -> int:
    """Serve the simulated market until ``stop`` is set; the number of requests that were answered.

    Parameters
    ----------
    faults
        ``kind``, ``kind:times`` or ``kind:times:path``: see :data:`aiquant.sources.simulator.faults.KINDS`.
    start
        Simulated present at the start; default: the open of the last session that is over.
    started
        Told when the ports are open.

    Raises
    ------
    UsageError
        When a fault is not known.
    Unreachable
        When a port is taken.
    """
    from aiquant.sources.simulator.faults import Fault
    from aiquant.sources.simulator.server import Simulator

    with Simulator(settings.simulator, [Fault.read(text) for text in faults], start) as simulator:
        started(simulator)
        stop.wait()
        return len(simulator.requests)


def environment(simulator: Simulator) -> dict[str, str]:
    """Variables by which aiquant in another shell finds the simulator; none of them is a secret."""
    return {
        f"AIQUANT_{section.upper()}__{name.upper()}": str(value)
        for section, values in simulator.settings().items()
        for name, value in values.items()
    }
