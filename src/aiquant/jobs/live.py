"""New bars → features, slot by slot: into the lake, and into the online store.

The table of bars is the log that is read: what Kafka brings is stored there first (effectively once, with duplicates
and bad rows sorted out), what other processes store there is seen as well, and whatever is lost on the way can be
computed again from there. How far it was read is part of each commit of features.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from aiquant.jobs.journal import Journal
from aiquant.jobs.live_history import History, axis
from aiquant.jobs.live_intake import Intake
from aiquant.jobs.live_line import Line, Lived
from aiquant.jobs.workspace import Workspace


def live(
    workspace: Workspace,
    journal: Journal,
    names: Sequence[str] = (),
    stop: threading.Event | None = None,
    drain: bool = False,
    kafka: bool = True,
) -> Lived:
    """Make the features of new bars until ``stop`` is set.

    Parameters
    ----------
    names
        Feature sets; default: the one of the settings.
    drain
        Stop when everything that is there has been taken, every slot being taken as complete then.
    kafka
        Whether the topic of bars is read into the lake here; else another process does that.

    Raises
    ------
    AiquantError
        When Kafka or the lake refuses for good, or another process makes the same features.
    """
    from aiquant.features import catalogue
    from aiquant.features.online import open_store
    from aiquant.streams.metrics import LiveMetrics

    settings = workspace.settings
    stop = stop or threading.Event()
    sets = [catalogue.of(settings, name) for name in dict.fromkeys(names or [settings.features.set])]
    done = Lived(tuple(s.name for s in sets))
    begun = time.perf_counter()
    with journal.station("live " + ", ".join(done.sets)) as station, ExitStack() as stack:
        metrics = LiveMetrics(settings.stream.metrics_port)
        store = open_store(settings.online, workspace.root)
        stack.callback(store.close)
        history = History(workspace.lake, axis(settings), settings.features.sentiment_model)
        lines = [Line(workspace, journal, chosen, history, store, metrics, done) for chosen in sets]
        intake = Intake(workspace, journal, drain, metrics) if kafka else None
        if intake is not None:
            stack.callback(intake.close)
        _run(workspace, lines, intake, stop, drain)
        for line in lines:
            line.save()
        if intake is not None:
            intake.close()
            intake.ended()
        station.rows = done.rows
    done.seconds = time.perf_counter() - begun
    done.unsent = sum(line.shelf.waiting for line in lines)
    return done


def _run(workspace: Workspace, lines: list[Line], intake: Intake | None, stop: threading.Event, drain: bool) -> None:
    told = workspace.settings.live
    due = time.monotonic() + told.checkpoint_seconds
    while not stop.is_set():
        # Asked before the bars are read, so that none is missed.
        ended, settled = intake is None or intake.ended(), intake is None or intake.settled()
        for line in lines:
            line.turn(settled, final=drain and ended)
        if drain and ended:
            return
        if time.monotonic() >= due:
            for line in lines:
                line.save()
            due = time.monotonic() + told.checkpoint_seconds
        stop.wait(told.every_seconds)
