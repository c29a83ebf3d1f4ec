"""``check parity``: batch, bar by bar, the stream's table and the online store must say the same float32 values.

The rows of some days are computed by the engine of research once more and compared with every other way in which the
same features are made or kept. What a way does not have at all (no table, no value online) is not compared, and said;
where nothing that is kept was compared, the check does not pass. An online store that has the set has to keep up with
the bars, and holds no version of a row that the set's table does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import MissingError
from aiquant.features import engine
from aiquant.jobs import attaching, feature_store, vintages
from aiquant.jobs.comparing import KEY, compare
from aiquant.jobs.journal import Journal
from aiquant.jobs.live_history import SLOT, History, as_bars, axis
from aiquant.jobs.pipeline import Pipeline, around, versions_of
from aiquant.jobs.vintages import Reach
from aiquant.jobs.workspace import Workspace

BATCH = "batch"
LAKE, ONLINE, SPARK = "lake", "online", "spark"
"""The ways that are kept: what was served, and what it is served from."""
_NAMED = 3


@dataclass(frozen=True)
class Way:
    """One way compared with batch.

    Attributes
    ----------
    way
        ``bar by bar``, ``lake`` (the set's table), ``online`` or ``spark``.
    rows, values
        That were compared; None where the way has nothing of these days.
    differing
        Values that are not the same; a row that one side alone has counts once. On the newest days a symbol whose
        row online is older than batch's newest, or is not there, counts once; so does a row online that the table of
        the set does not have.
    first
        The first difference, or why there is nothing to compare.
    """

    set: str
    way: str
    rows: int | None
    values: int
    differing: int
    first: str | None = None

    @property
    def compared(self) -> bool:
        """Whether the way had anything to compare."""
        return self.rows is not None


@dataclass
class Parity:
    """What the check found."""

    first: date
    last: date
    ways: list[Way] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether something that is kept was compared, and nothing differed."""
        return self.kept and not any(way.differing for way in self.ways)

    @property
    def kept(self) -> bool:
        """Whether a table in the lake or an online store was compared."""
        return any(way.compared for way in self.ways if way.way in (LAKE, ONLINE))

    def sentence(self) -> str:
        """The verdict in one sentence."""
        values = sum(way.values for way in self.ways)
        if bad := [f"{way.set} {way.way}" for way in self.ways if way.differing]:
            told = f"No parity: {sum(w.differing for w in self.ways):,} of {values:,} values differ ({', '.join(bad)})."
        elif not self.kept:
            told = f"Nothing that is kept was compared; {self._same(values)}."
        else:
            told = f"Parity: {self._same(values)}."
        return told + self._left()

    def _same(self, values: int) -> str:
        ways = dict.fromkeys(way.way for way in self.ways if way.compared)
        return f"{values:,} values of {self.first} to {self.last} are the same in {' = '.join([BATCH, *ways])}"

    def _left(self) -> str:
        """What was not compared, and why."""
        reasons: dict[str, list[str]] = {}
        for way in self.ways:
            if not way.compared:
                reasons.setdefault(f"{way.way}: {way.first}", []).append(way.set)
        told = []
        for reason, sets in reasons.items():
            more = f" and {len(sets) - _NAMED} more" if len(sets) > _NAMED else ""
            told.append(f"{', '.join(sets[:_NAMED])}{more} {reason}")
        return f" Not compared: {'; '.join(told)}." if told else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        told = {
            "passed": self.passed,
            "kept_compared": self.kept,
            "sentence": self.sentence(),
            "first": str(self.first),
            "last": str(self.last),
        }
        return {**told, "ways": [asdict(way) for way in self.ways]}


def check(
    workspace: Workspace,
    journal: Journal,
    names: Sequence[str] = (),
    day: date | None = None,
    days: int = 1,
    spark: bool = False,
) -> Parity:
    """Compare all ways on some days.

    Parameters
    ----------
    names
        Feature sets; ``all`` stands for every set of the catalogue; default: the one of the settings.
    day
        The day; default: the last ones with bars.
    days
        How many days, the last of them ``day``.
    spark
        Whether to compute with Spark as well, which takes all of history.

    Raises
    ------
    MissingError
        When there are no bars of these days.
    """
    from aiquant.features import catalogue

    told = catalogue.names() if list(names) == ["all"] else list(names) or [workspace.settings.features.set]
    history = History(workspace.lake, axis(workspace.settings), workspace.settings.features.sentiment_model)
    dates = history.days(0)
    newest = day is None or day in dates[-1:]
    if day is not None:
        dates = [d for d in dates if d <= day] if day in dates else []
    if not dates:
        raise MissingError(
            f"the lake holds no bar of interval {workspace.settings.data.interval}" + (f" on {day}" if day else ""),
            "see what is there with: aiquant lake ls",
        )
    parity = Parity(dates[-days:][0], dates[-1])
    with journal.station("check parity") as station:
        for done, name in enumerate(told):
            journal.progress(station.name)(done, len(told))
            one = _Days(workspace, history, name, parity.first, parity.last, newest)
            parity.ways.extend(one.ways(spark))
        station.rows = sum(way.values for way in parity.ways)
        differs = any(way.differing for way in parity.ways)
        station.note = "passed" if parity.passed else "DIFFERS" if differs else "NOT COMPARED"
    return parity


class _Days:
    """One set on these days: the bars that it looks back at, and what batch makes of them."""

    def __init__(
        self, workspace: Workspace, history: History, name: str, first: date, last: date, newest: bool
    ) -> None:
        told = workspace.settings.features.model_copy(update={"set": name})
        self.pipeline = Pipeline(workspace.settings.model_copy(update={"features": told}))
        chosen = self.pipeline.feature_set
        self.workspace, self.history, self.chosen, self.name = workspace, history, chosen, name
        self.first, self.last, self.newest = first, last, newest
        self.names = [feature.name for feature in chosen.features]
        self.compat = workspace.settings.features.qlib_compat
        self.begin = history.first_of(first)
        self.end = history.first_of(last) + history.axis.per_session - 1
        lake = workspace.lake
        has_actions = lake.version(schemas.CORPORATE_ACTIONS) is not None
        self.actions = lake.read(schemas.CORPORATE_ACTIONS, history=True) if has_actions else None
        own = self.pipeline.settings
        self.inputs = around(lake, own, versions_of(lake, own), history.axis.sessions)
        sessions, per_session = history.axis.sessions, history.axis.per_session
        back = history.axis.sessions_of(chosen.slots(per_session))
        self.reach = Reach(sessions, back, history.begun(), first)
        origin = self.reach.origin
        assert origin is not None
        self.bars = pl.concat(history.bars(history.first_of(origin), self.end))
        self.whole = self._batch(as_bars(self.bars))

    def ways(self, spark: bool) -> Iterator[Way]:
        """Each way beside batch."""
        yield self._beside("bar by bar", self.whole, self._bar_by_bar())
        yield self._lake()
        yield self._online()
        if spark:
            yield self._spark()

    def _beside(self, way: str, expected: pl.DataFrame, got: pl.DataFrame) -> Way:
        found = compare(expected, got, self.names, (BATCH, way))
        return Way(self.chosen.name, way, found.rows, found.values, found.differing, found.first)

    def _batch(self, bars: pa.Table, reach: Reach | None = None) -> pl.DataFrame:
        inside = reach or self.reach
        made = engine.compute(
            self.chosen,
            self.pipeline.attach(bars, self.inputs),
            self.history.axis.sessions,
            self.actions,
            self.compat,
            since=inside.since,
            history=inside.history,
        )
        return pl.DataFrame(pl.from_arrow(made)).filter(pl.col("date") <= self.last)

    def _bar_by_bar(self) -> pl.DataFrame:
        live = self.history.before(self.begin, self.chosen, self.actions, self.compat)
        wanted = self.bars.filter(pl.col(SLOT) >= self.begin)
        slots = wanted.partition_by(SLOT, maintain_order=True)
        rows = [live.push(self.history.ready(part, self.chosen)) for part in slots]
        return pl.DataFrame(pl.from_arrow(pa.concat_tables(rows)))

    def _lake(self) -> Way:
        """The newest version of each row of the table, with the bars that were known when it was computed."""
        table, lake = schemas.features_table(self.chosen.name), self.workspace.lake
        if lake.version(table) is None:
            return Way(self.chosen.name, LAKE, None, 0, 0, "there is no such table")
        rows = lake.read(table, where=pl.col("date").is_between(self.first, self.last))
        got = pl.DataFrame(pl.from_arrow(rows))
        if got.is_empty():
            return Way(self.chosen.name, LAKE, None, 0, 0, "the table has no row of these days")
        if missing := [name for name in self.names if name not in got.columns]:
            return Way(self.chosen.name, LAKE, got.height, 0, 1, f"the table has no {', '.join(missing)}")
        return self._beside(LAKE, self._expected(got), got)

    def _expected(self, got: pl.DataFrame) -> pl.DataFrame:
        """What batch says of all rows, with the bars that were known when the rows ``got`` were computed."""
        own = got.filter(pl.col("known_from") == pl.col("event_time")).select(KEY)
        if own.is_empty() or self._then is None:
            return self.whole
        return pl.concat([self._then.join(own, on=KEY, how="semi"), self.whole.join(own, on=KEY, how="anti")])

    @cached_property
    def _then(self) -> pl.DataFrame | None:
        """Rows as they were known at their own time; None where no bar was ever corrected."""
        first = self.bars["date"].min()
        where = (pl.col("interval") == self.history.axis.interval) & pl.col("date").is_between(first, self.last)
        versions = self.workspace.lake.read(schemas.BARS, where=where, history=True)
        kept = pl.DataFrame(pl.from_arrow(versions)).join(self.bars, on=list(schemas.BARS.key), how="semi")
        if not kept.select(schemas.BARS.key).is_duplicated().any():
            return None
        made = vintages.point_in_time(
            kept.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(versions.schema),
            lambda bars, inside: self._batch(bars, inside).to_arrow(),
            clock="event_time",
            reach=self.reach,
            by_symbol=not self.chosen.compares,
        )
        return pl.DataFrame(pl.from_arrow(made))

    def _online(self) -> Way:
        """What the store holds: the newest row of a symbol, which on the newest days has to be batch's newest."""
        from aiquant.features.online import View, open_store

        view, symbols = View.of(self.chosen), self.whole["symbol"].unique().sort().to_list()
        store = open_store(self.workspace.settings.online, self.workspace.root)
        try:
            stored = pl.DataFrame(pl.from_arrow(store.read(view, symbols))).filter(pl.col("event_time").is_not_null())
            if stored.is_empty() and not store.symbols(view):
                return Way(self.chosen.name, ONLINE, None, 0, 0, "the store has nothing of the set")
        finally:
            store.close()
        got = stored.join(self.whole.select(KEY), on=KEY, how="semi")
        newest = self._expected(got).sort("event_time").unique("symbol", keep="last")
        if not self.newest:  # what the store held on days of before is known of rows alone that it still has
            newest = newest.join(got.select("symbol"), on="symbol", how="semi")
        if newest.is_empty():
            return Way(self.chosen.name, ONLINE, None, 0, 0, "the store has no row of these days")
        beside = newest.join(stored.select("symbol", stored="event_time"), on="symbol", how="left")
        # A store that went on after the bars were read is no fault of its, as long as something can be compared.
        due = beside.filter(pl.col("stored").is_null() | (pl.col("stored") <= pl.col("event_time")))
        if due.is_empty():
            told = "the store holds nothing but later rows than the bars of the lake"
            return Way(self.chosen.name, ONLINE, 0, 0, newest.height, told)
        way = self._beside(ONLINE, due.drop("stored"), got.join(due.select(KEY), on=KEY, how="semi"))
        strays = feature_store.strays(self.workspace, self.chosen, got)
        if strays.is_empty():
            return replace(way, first=_behind(due) or way.first)
        symbol, moment, known = strays.sort("symbol").row(0)
        told = f"{strays.height} row(s) online are not in the table: {symbol} at {moment:%Y-%m-%d %H:%M}, known from "
        told += f"{known:%Y-%m-%d %H:%M}; fill the store anew: aiquant features materialize --set {self.name} --anew"
        return replace(way, differing=way.differing + strays.height, first=_behind(due) or way.first or told)

    def _spark(self) -> Way:
        """The rows that Spark's tasks compute."""
        from aiquant.jobs import features

        try:
            attaching.demand(self.chosen, self.inputs.attached)
        except MissingError as error:  # there is nothing that it could compute
            return Way(self.chosen.name, SPARK, None, 0, 0, error.problem)
        told = Workspace(
            self.workspace.root, {**self.workspace.overrides, "features.set": self.pipeline.settings.features.set}
        )
        rows = pl.DataFrame(pl.from_arrow(features.by_spark(told)))
        got = rows.filter(pl.col("date").is_between(self.first, self.last))
        return self._beside(SPARK, self._expected(got), got)


def _behind(due: pl.DataFrame) -> str | None:
    """Which symbols the store has not brought up to ``event_time``; ``stored`` is where it stands, null for nowhere."""
    behind = due.filter(pl.col("stored").is_null() | (pl.col("stored") < pl.col("event_time"))).sort(KEY[::-1])
    if behind.is_empty():
        return None
    symbol, moment, stored = behind.select(*KEY, "stored").row(0)
    told = "is not there" if stored is None else f"is of {stored:%Y-%m-%d %H:%M}"
    return f"{behind.height} of {due.height} symbols are behind: {symbol} {told}, in batch of {moment:%Y-%m-%d %H:%M}"
