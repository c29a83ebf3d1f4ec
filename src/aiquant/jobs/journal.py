"""What a job tells while it runs: its stations, how far each is, and what each took."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Station:
    """One step of a job.

    Attributes
    ----------
    rows
        Rows that came out; None where rows have no meaning.
    seconds
        Wall-clock seconds.
    peak_mib
        The highest resident memory of the process so far, MiB.
    """

    name: str
    rows: int | None = None
    seconds: float = 0.0
    peak_mib: int = 0
    note: str = ""


class Listener:
    """Hears what a journal notes; this one stays silent. A command line derives from it."""

    def started(self, name: str) -> None:
        """A station began."""

    def advanced(self, name: str, done: int, total: int | None) -> None:
        """A station has ``done`` of ``total`` parts behind it."""

    def ended(self, station: Station) -> None:
        """A station came to its end."""

    def noted(self, text: str) -> None:
        """Something that a person should know."""


@dataclass
class Journal:
    """Collects stations and notes, and passes them on to a listener."""

    listener: Listener = field(default_factory=Listener)
    stations: list[Station] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def station(self, name: str) -> Iterator[Station]:
        """Time a step: ``with journal.station("features") as s: …; s.rows = n``."""
        station = Station(name)
        self.listener.started(name)
        begun = time.perf_counter()
        try:
            yield station
        except BaseException:
            station.note = "stopped"
            raise
        finally:
            station.seconds = time.perf_counter() - begun
            station.peak_mib = peak_mib()
            self.stations.append(station)
            self.listener.ended(station)

    def progress(self, name: str) -> Callable[[int, int | None], None]:
        """A function ``(done, total)`` that a room calls while it works on the station ``name``."""
        return lambda done, total: self.listener.advanced(name, done, total)

    def note(self, text: str) -> None:
        """Keep a remark for the summary, once."""
        if text not in self.notes:
            self.notes.append(text)
            self.listener.noted(text)


def peak_mib() -> int:
    """The highest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024) if sys.platform == "darwin" else peak // 1024
