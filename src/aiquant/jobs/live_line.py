"""One feature set on the stream: from the table of bars to its table of features and the online store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from aiquant import schemas
from aiquant.errors import DataError, RefusedError
from aiquant.jobs import feature_plan, feature_store
from aiquant.jobs.feature_table import FeatureTable, origin_of
from aiquant.jobs.journal import Journal
from aiquant.jobs.live_beside import ACTIONS, Beside
from aiquant.jobs.live_feed import Feed
from aiquant.jobs.live_history import History
from aiquant.jobs.live_shelf import Shelf
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.features.catalogue import FeatureSet
    from aiquant.features.online import OnlineStore
    from aiquant.streams.metrics import LiveMetrics

READER = "live"
"""Name under which the tables of features remember how far the bars were read."""
_BARS = schemas.BARS.name


@dataclass
class Lived:
    """What a process did.

    Attributes
    ----------
    rows
        Rows of features that were stored.
    recomputed
        Rows that were computed again because a bar came late or was corrected, or an action was told of late.
    revised
        Of the rows that were stored, those that say something else than a row before them: new versions.
    letters
        Bars without a slot, set aside.
    unsent
        Symbols whose newest row did not reach the online store.
    """

    sets: tuple[str, ...]
    rows: int = 0
    recomputed: int = 0
    revised: int = 0
    letters: int = 0
    unsent: int = 0
    bars: int = 0
    seconds: float = 0.0
    versions: dict[str, int] = field(default_factory=dict)


class Line:
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
        self._ledger = Ledger(workspace.lake, self._table, READER)
        checkpoint = workspace.state / "live" / f"{chosen.name}-{interval}.state"
        self._feed = Feed(chosen, workspace.settings.features.qlib_compat, history, workspace.settings.live, checkpoint)
        self._beside = Beside(workspace.lake, chosen, history.axis)
        self._positions = self._ledger.positions([(name, 0) for name in (_BARS, *self._beside.taken)])
        newest = self._newest_rows(chosen)
        self._restore(history, newest, journal)
        self.shelf = Shelf(store, View.of(chosen), journal)
        self.shelf.put(newest)  # what a process before this one did not bring

    def _restore(self, history: History, newest: pa.Table, journal: Journal) -> None:
        """Go on behind what the table holds."""
        self._journal, seen = journal, self._follower.version()
        slot = None
        if newest.num_rows:
            last = newest.select(["date", "event_time"]).sort_by("event_time").slice(newest.num_rows - 1).to_pylist()[0]
            slot = history.slot_of(last["date"], last["event_time"])
        if seen is None:
            self._beside.begin({})
            return
        deeds = self._beside_now(ACTIONS)  # before they are read: what comes in between is seen twice, not never
        problem = self._feed.restore(self._actions(), slot, self._taken(seen))
        if problem is not None:
            journal.note(f"{problem}; the state is made again from the bars of the lake")
        if self._feed.resumed:
            # Its rings know the actions that they were made with: what came since was told by restore.
            self._beside.begin({**self._feed.beside, ACTIONS: deeds})
            return
        self._beside.begin(self._made_from() if slot is not None else {})
        self._amend(list(self._beside.taken))

    def _beside_now(self, name: str) -> int | None:
        return self._lake.version(feature_plan.named(name))

    def _made_from(self) -> dict[str, int | None]:
        """Versions of the tables beside the bars that the table's rows know."""
        names = list(self._beside.taken)
        if self._positions[_BARS, 0]:
            at = {name: self._positions[name, 0] for name in names}
            return {name: position - 1 if position else None for name, position in at.items()}
        built = FeatureTable(self._lake, self._name()).origin(names)
        now = {name: self._beside_now(name) for name in names}
        if built is None or not origin_of(self._lake, built.recipe, now).follows(built):
            return {}
        return dict(built.versions)

    def _amend(self, names: list[str]) -> None:
        """Have computed again what rows that came late into these tables touch."""
        for name in names:
            for late in self._beside.late(name):
                if late.first is None:
                    self._journal.note(
                        f"table {name} was changed in place: rows of {self._table.name} that were made before may not "
                        f"know it; bring them up with: aiquant features build --set {self._name()}"
                    )
                else:
                    self._feed.amend(late.first, late.symbols)

    def turn(self, settled: bool, final: bool) -> None:
        """Take what came in, store what is complete."""
        changed = self._beside.changed()
        if ACTIONS in changed:
            self._beside.taken[ACTIONS] = self._beside_now(ACTIONS)
            self._feed.use_actions(self._actions())
        self._amend([name for name in changed if name != ACTIONS])
        news = self._follower.since(self._feed.taken)
        letters = self._feed.take(news.rows, news.version)
        if letters.num_rows:
            self._done.letters += self._lake.write(schemas.DEAD_LETTERS, letters).inserted
        again = self._feed.recomputed
        rows = self._feed.step(settled, final)
        if rows.num_rows:
            rows = self._store(rows)
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

        if self._positions[_BARS, 0]:
            return self._positions[_BARS, 0] - 1
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
            self._feed.save(self._beside.taken)

    def _store(self, rows: pa.Table) -> pa.Table:
        """Rows and how far the bars were read, in one commit; what the online store has to hold of them.

        A row that was computed again and is what the table has is no new version: neither there nor online.
        """
        from aiquant.lake.ledger import Fenced

        taken = {_BARS: self._feed.taken or 0, **{n: -1 if v is None else v for n, v in self._beside.taken.items()}}
        positions = {log: max(before, taken[log[0]] + 1) for log, before in self._positions.items()}
        nothing = schemas.DEAD_LETTERS.schema.empty_table()
        try:
            appended = self._ledger.append(rows, nothing, self._positions, positions)
        except Fenced as error:
            raise RefusedError(
                f"another process makes the live features of set {self._name()} in this workspace", "stop one of them"
            ) from error
        self._positions = positions
        self._done.rows += appended.inserted
        self._done.versions[self._table.name] = appended.version
        self._metrics.made.labels(self._feed.feature_set.name).inc(appended.inserted)
        own = rows.filter(pc.equal(rows["known_from"], rows["event_time"]))
        again = appended.stored.filter(pc.not_equal(appended.stored["known_from"], appended.stored["event_time"]))
        self._done.revised += again.num_rows
        return pa.concat_tables([own, again.select(own.column_names).cast(own.schema)])

    def _actions(self) -> pa.Table | None:
        if self._lake.version(schemas.CORPORATE_ACTIONS) is None:
            return None
        return self._lake.read(schemas.CORPORATE_ACTIONS, history=True)

    def _newest_rows(self, chosen: FeatureSet) -> pa.Table:
        """The newest row of each symbol that the table holds."""
        if self._lake.version(self._table) is None:
            return self._table.schema.empty_table()
        return feature_store.newest_rows(self._lake, chosen).cast(self._table.schema)

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
