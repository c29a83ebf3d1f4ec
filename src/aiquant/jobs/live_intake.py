"""The topic of bars → the table of bars, beside the features that are made of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.streams.metrics import LiveMetrics


class Intake:
    """The topic of bars → the table of bars, in a thread of its own."""

    def __init__(self, workspace: Workspace, journal: Journal, drain: bool, metrics: LiveMetrics) -> None:
        self._fault: BaseException | None = None
        self._settled = False
        self._enough = threading.Event()
        self._thread = threading.Thread(
            target=self._consume, args=(workspace, journal, drain, metrics), name="aiquant-bars", daemon=True
        )
        self._thread.start()

    def settled(self) -> bool:
        """Whether all that Kafka holds is stored."""
        return self._settled

    def ended(self) -> bool:
        """Whether no more comes; raises what stopped it."""
        ended = not self._thread.is_alive()
        if self._fault is not None:
            raise self._fault
        return ended

    def close(self) -> None:
        """Finish what is under way."""
        self._enough.set()
        self._thread.join()

    def _consume(self, workspace: Workspace, journal: Journal, drain: bool, metrics: LiveMetrics) -> None:
        from aiquant.jobs import consume

        def settled(whole: bool) -> None:
            self._settled = whole

        try:
            consume.consume(workspace, Journal(journal.listener), ("bars",), self._enough, drain, metrics, settled)
        except BaseException as error:  # told to the thread that waits
            self._fault = error
