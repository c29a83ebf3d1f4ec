"""The topic of bars → the table of bars, beside the features that are made of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from aiquant.errors import Unreachable
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.streams.metrics import LiveMetrics


_PATIENCE = 2.0
"""Seconds after which a person is told what is waited for."""
_ALONE = "where other processes fill the lake, follow it alone with --no-kafka"


class Intake:
    """The topic of bars → the table of bars, in a thread of its own."""

    def __init__(self, workspace: Workspace, journal: Journal, drain: bool, metrics: LiveMetrics) -> None:
        self._fault: BaseException | None = None
        self._settled = self._heard = False
        self._enough = threading.Event()
        self._thread = threading.Thread(
            target=self._consume, args=(workspace, journal, drain, metrics), name="aiquant-bars", daemon=True
        )
        self._thread.start()
        self._patience = threading.Timer(_PATIENCE, self._note, (journal, workspace.settings.stream.brokers))
        self._patience.daemon = True
        self._patience.start()

    def settled(self) -> bool:
        """Whether all that Kafka holds is stored."""
        return self._settled

    def ended(self) -> bool:
        """Whether no more comes; raises what stopped it."""
        ended = not self._thread.is_alive()
        if isinstance(self._fault, Unreachable):
            raise Unreachable(self._fault.problem, f"{self._fault.remedy}; {_ALONE}") from self._fault
        if self._fault is not None:
            raise self._fault
        return ended

    def close(self) -> None:
        """Finish what is under way."""
        self._patience.cancel()
        self._enough.set()
        self._thread.join()

    def _note(self, journal: Journal, brokers: object) -> None:
        """Said once, where the brokers let one wait."""
        if not self._heard and self._thread.is_alive():
            journal.note(f"waiting for Kafka at {brokers}; {_ALONE}")

    def _consume(self, workspace: Workspace, journal: Journal, drain: bool, metrics: LiveMetrics) -> None:
        from aiquant.jobs import consume

        def settled(whole: bool) -> None:
            self._settled, self._heard = whole, True

        try:
            consume.consume(workspace, Journal(journal.listener), ("bars",), self._enough, drain, metrics, settled)
        except BaseException as error:  # told to the thread that waits
            self._fault = error
