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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import DataError, RefusedError
from aiquant.jobs.feature_table import FeatureTable
from aiquant.jobs.journal import Journal
from aiquant.jobs.live_feed import Feed
from aiquant.jobs.live_history import History, axis
from aiquant.jobs.live_shelf import Shelf
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.features.catalogue import FeatureSet
    from aiquant.features.online import OnlineStore
    from aiquant.streams.metrics import LiveMetrics

READER = "live"
"""Name under which the tables of features remember how far the bars were read."""
_LOG = ("bars", 0)


@dataclass
class Lived:
    """What a process did.

    Attributes
    ----------
    rows
        Rows of features that were stored.
    recomputed
        Of all rows, those that were computed again because a bar came late or was corrected.
    letters
        Bars without a slot, set aside.
    unsent
        Symbols whose newest row did not reach the online store.
    """

    sets: tuple[str, ...]
    rows: int = 0
    recomputed: int = 0
    letters: int = 0
    unsent: int = 0
    bars: int = 0
    seconds: float = 0.0
    versions: dict[str, int] = field(default_factory=dict)


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
    sets = [catalogue.get(name) for name in dict.fromkeys(names or [settings.features.set])]
    done = Lived(tuple(s.name for s in sets))
    begun = time.perf_counter()
    with journal.station("live " + ", ".join(done.sets)) as station, ExitStack() as stack:
        metrics = LiveMetrics(settings.stream.metrics_port)
        store = open_store(settings.online, workspace.root)
        stack.callback(store.close)
        history = History(workspace.lake, axis(settings), settings.features.sentiment_model)
        lines = [_Line(workspace, journal, chosen, history, store, metrics, done) for chosen in sets]
        intake = _Intake(workspace, journal, drain, metrics) if kafka else None
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


def _run(workspace: Workspace, lines: list[_Line], intake: _Intake | None, stop: threading.Event, drain: bool) -> None:
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


class _Line:
    """One set: from the table of bars to its table of features and the online store."""

    def __init__(
        self,
        workspace: Workspace,
        journal: Journal,
        chosen: FeatureSet,
        history: History,
        store: OnlineStore,
        metrics: LiveMetrics,
        done: Lived,
    ) -> None:
        from aiquant.features.online import View
        from aiquant.lake.following import Follower
        from aiquant.lake.ledger import Ledger

        self._lake, self._metrics, self._done = workspace.lake, metrics, done
        self._table = _table(chosen)
        self._demand_columns()
        interval = workspace.settings.data.interval
        self._follower = Follower(workspace.lake, schemas.BARS, {"interval": interval})
        self._deeds = Follower(workspace.lake, schemas.CORPORATE_ACTIONS)
        self._deeds_seen = self._deeds.version()
        self._ledger = Ledger(workspace.lake, self._table, READER)
        self._position = self._ledger.positions([_LOG])[_LOG]
        checkpoint = workspace.state / "live" / f"{chosen.name}-{interval}.state"
        self._feed = Feed(chosen, workspace.settings.features.qlib_compat, history, workspace.settings.live, checkpoint)
        newest, seen = self._newest_rows(), self._follower.version()
        slot = None
        if newest.num_rows:
            last = newest.select(["date", "event_time"]).sort_by("event_time").slice(newest.num_rows - 1).to_pylist()[0]
            slot = history.slot_of(last["date"], last["event_time"])
        problem = None
        if seen is not None:
            problem = self._feed.restore(self._actions(), slot, self._taken(seen))
        if problem is not None:
            journal.note(f"{problem}; the state is made again from the bars of the lake")
        self.shelf = Shelf(store, View.of(chosen), journal)
        self.shelf.put(newest)  # what a process before this one did not bring

    def turn(self, settled: bool, final: bool) -> None:
        """Take what came in, store what is complete."""
        if self._deeds.version() != self._deeds_seen:
            self._deeds_seen = self._deeds.version()
            self._feed.use_actions(self._actions())
        news = self._follower.since(self._feed.taken)
        letters = self._feed.take(news.rows, news.version)
        if letters.num_rows:
            self._done.letters += self._lake.write(schemas.DEAD_LETTERS, letters).inserted
        again = self._feed.recomputed
        rows = self._feed.step(settled, final)
        if rows.num_rows:
            self._store(rows)
        name = self._feed.feature_set.name
        self._done.bars += news.rows.num_rows
        self._done.recomputed += self._feed.recomputed - again
        self._metrics.again.labels(name).inc(self._feed.recomputed - again)
        self._metrics.held.labels(name).set(self._feed.waiting.frame.height)
        self.shelf.put(rows)
        delay = self.shelf.flush(now=final)
        if delay is not None:
            self._metrics.delay.labels(name).observe(delay)
        self._metrics.unsent.labels(name).set(self.shelf.waiting)

    def _taken(self, seen: int) -> int:
        """Version of the bars that the table's rows go up to; ``seen``, the newest one, where nothing tells it."""
        from aiquant.lake import additions

        if self._position:
            return self._position - 1
        built = FeatureTable(self._lake, self._name()).bars_version()
        if built is not None and additions.added(self._lake, schemas.BARS, built, seen, ["symbol"]) is None:
            raise DataError(
                f"table {self._table.name} was built from version {built:,} of the bars, and their log does not tell "
                "what has changed since",
                f"bring it up with: aiquant features build --set {self._name()}",
            )
        return seen if built is None else built

    def save(self) -> None:
        """Write the checkpoint, once there is something to keep."""
        if self._feed.taken is not None:
            self._feed.save()

    def _store(self, rows: pa.Table) -> None:
        """Rows and how far the bars were read, in one commit."""
        from aiquant.lake.ledger import Fenced

        position = max(self._position, (self._feed.taken or 0) + 1)
        nothing = schemas.DEAD_LETTERS.schema.empty_table()
        try:
            appended = self._ledger.append(rows, nothing, {_LOG: self._position}, {_LOG: position})
        except Fenced as error:
            raise RefusedError(
                f"another process makes the live features of set {self._name()} in this workspace", "stop one of them"
            ) from error
        self._position = position
        self._done.rows += appended.inserted
        self._done.versions[self._table.name] = appended.version
        self._metrics.made.labels(self._feed.feature_set.name).inc(appended.inserted)

    def _actions(self) -> pa.Table | None:
        if self._lake.version(schemas.CORPORATE_ACTIONS) is None:
            return None
        return self._lake.read(schemas.CORPORATE_ACTIONS, history=True)

    def _newest_rows(self) -> pa.Table:
        """The newest row of each symbol that had one on the last dates of the table."""
        if self._lake.version(self._table) is None:
            return self._table.schema.empty_table()
        dates = self._lake.scan(self._table, ["date"], ordered=False, history=True).unique().collect()["date"]
        if dates.is_empty():
            return self._table.schema.empty_table()
        recent = dates.sort().tail(10)[0]
        rows = pl.DataFrame(pl.from_arrow(self._lake.read(self._table, where=pl.col("date") >= recent)))
        newest = rows.sort("event_time").unique("symbol", keep="last", maintain_order=True)
        return newest.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._table.schema)

    def _demand_columns(self) -> None:
        """Refuse a table that another version of the set has made."""
        there = self._lake.version(self._table)
        if there is None:
            return
        stored = set(self._lake.scan(schemas.features_table(self._name()), ordered=False).collect_schema().names())
        if stored != set(self._table.schema.names):
            raise DataError(
                f"table {self._table.name} was made with other features than the set {self._name()} has now",
                f"make it again with: aiquant features build --set {self._name()}",
            )

    def _name(self) -> str:
        return self._table.name.removeprefix("features_")


def _table(chosen: FeatureSet) -> schemas.Table:
    """The table of a set with all its columns: what is appended is never of another shape."""
    base = schemas.features_table(chosen.name)
    features = [pa.field(f.name, pa.float32()) for f in chosen.features]
    return schemas.Table(base.name, pa.schema([*base.schema, *features]), base.key, base.partition)


class _Intake:
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
