"""The way from bars to forecasts, in a few lines that read like the map.

:class:`Pipeline` is what training, ``check leakage`` and ``reproduce`` all run: one definition of the way. A step can
be replaced by deriving from it, and the leakage check tells whether the replacement looks ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import pyarrow as pa

from aiquant import calendars, schemas
from aiquant.calendars import Sessions
from aiquant.errors import DataError, MissingError
from aiquant.jobs import attaching, vintages
from aiquant.jobs.vintages import Reach
from aiquant.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aiquant.features.catalogue import FeatureSet
    from aiquant.lake import Lake
    from aiquant.learning.forecasters import Forecaster
    from aiquant.learning.matrix import Features
    from aiquant.learning.panel import Panel
    from aiquant.learning.splits import Fold
    from aiquant.learning.training import Trained


@dataclass(frozen=True)
class Inputs:
    """All data that research reads, at stated versions.

    Attributes
    ----------
    bars
        All versions of the bars of one interval.
    actions, universe
        All versions of corporate actions, and the members of the universe that is asked for; None where there are none.
    sessions
        Sessions from the first to the last bar.
    versions
        Delta version of each table; None for a table that is not there.
    attached
        All versions of the tables that attached fields of the feature set are made from, by name; None where there is
        no such table.
    classes
        All versions of the classification, where the portfolio reads sectors; else None.
    """

    bars: pa.Table
    actions: pa.Table | None
    universe: pa.Table | None
    sessions: Sessions
    versions: dict[str, int | None]
    attached: dict[str, pa.Table | None] = field(default_factory=dict)
    classes: pa.Table | None = None

    def known_at(self, moment: datetime) -> Inputs:
        """What a reader at ``moment`` (UTC) could have seen.

        Raises
        ------
        DataError
            When no bar was known by then.
        """
        bars = vintages.known_at(self.bars, moment)
        beside = self.beside_known_at(moment)
        return replace(beside, bars=bars, sessions=sessions_of(bars, self.sessions.calendar))

    def beside_known_at(self, moment: datetime) -> Inputs:
        """As :meth:`known_at`, the bars and sessions left as they are."""
        return replace(
            self,
            actions=None if self.actions is None else vintages.known_at(self.actions, moment),
            universe=None if self.universe is None else vintages.known_at(self.universe, moment),
            attached={
                name: None if rows is None else vintages.known_at(rows, moment) for name, rows in self.attached.items()
            },
        )

    @cached_property
    def newest(self) -> pa.Table:
        """The newest version of each bar."""
        return vintages.newest(self.bars)

    @property
    def has_actions(self) -> bool:
        """Whether prices have to be adjusted here: as traded, with a table of actions."""
        return self.actions is not None and self.actions.num_rows > 0


def sessions_of(bars: pa.Table, calendar: str) -> Sessions:
    """Sessions from the first to the last bar.

    Raises
    ------
    DataError
        When there is no bar.
    """
    import pyarrow.compute as pc

    if not bars.num_rows:
        raise DataError("there is no bar to work with", "take bars in with: aiquant ingest bars")
    span = pc.min_max(bars["date"]).as_py()
    return calendars.sessions(calendar, span["min"], span["max"])


def read(lake: Lake, settings: Settings, versions: dict[str, int | None] | None = None) -> Inputs:
    """Read what research needs; ``versions`` asks for the tables as they were.

    Raises
    ------
    MissingError
        When there are no bars, or the universe that the settings name is not there.
    DataError
        When daily bars were taken in by two calendars.
    """
    asked = versions or versions_of(lake, settings)
    bars = lake.read(
        schemas.BARS, where=pl.col("interval") == settings.data.interval, version=asked["bars"], history=True
    )
    if not bars.num_rows:
        raise MissingError(
            f"the lake holds no bar of interval {settings.data.interval}", "take bars in with: aiquant ingest bars"
        )
    if settings.data.interval.endswith("d"):
        demand_one_close(bars, settings.data.calendar)
    beside = around(lake, settings, asked, sessions_of(bars, settings.data.calendar))
    members = None
    if settings.data.universe is not None:
        members = _members(lake, settings.data.universe, asked["universe"])
    return replace(beside, bars=bars, universe=members, classes=_classes(lake, settings, asked))


def versions_of(lake: Lake, settings: Settings) -> dict[str, int | None]:
    """The Delta versions of the tables that research reads."""
    always = (schemas.BARS, schemas.CORPORATE_ACTIONS, schemas.UNIVERSE)
    sectors = (schemas.CLASSIFICATION,) if _needs_sectors(settings) else ()
    return {table.name: lake.version(table) for table in (*always, *sectors, *attaching.tables_of(settings))}


def _needs_sectors(settings: Settings) -> bool:
    from aiquant.portfolio.moment import needs_sectors

    return needs_sectors(settings.portfolio)


def _classes(lake: Lake, settings: Settings, asked: dict[str, int | None]) -> pa.Table | None:
    """Sectors, where the portfolio asks for them; of a run that did not, the newest that there are."""
    if not _needs_sectors(settings):
        return None
    table = schemas.CLASSIFICATION
    version = asked[table.name] if table.name in asked else lake.version(table)
    rows = None if version is None else lake.read(table, version=version, history=True)
    if rows is None or not rows.num_rows:
        raise MissingError(
            "settings portfolio.neutral and portfolio.max_sector: the lake knows no sectors",
            "take classes in with: aiquant ingest classification",
        )
    return rows


def around(lake: Lake, settings: Settings, asked: dict[str, int | None], sessions: Sessions) -> Inputs:
    """What features need besides the bars, which are left out: they may be too many to be read at once."""
    actions = None
    if asked["corporate_actions"] is not None:
        actions = lake.read(schemas.CORPORATE_ACTIONS, version=asked["corporate_actions"], history=True)
    attached = attaching.read(lake, settings, asked)
    return Inputs(schemas.BARS.schema.empty_table(), actions, None, sessions, asked, attached)


def demand_one_close(bars: pa.Table, calendar: str) -> None:
    """A day has one close: two are what a change of calendar between two ingests leaves behind.

    Raises
    ------
    DataError
        When a symbol has two.
    """
    closes = pl.DataFrame(bars.select(["symbol", "date", "event_time"])).unique()
    twice = closes.filter(pl.struct("symbol", "date").is_duplicated()).sort("date", "symbol")
    if twice.height:
        symbol, day, _ = twice.row(0)
        raise DataError(
            f"the lake holds {twice.height:,} daily bars with two closes for a day, the first of {symbol} on {day}:"
            f" some were taken in by another calendar than {calendar}",
            "take all bars into a new workspace, with one data.calendar",
        )


def _members(lake: Lake, name: str, version: int | None) -> pa.Table:
    rows = None
    if version is not None:
        rows = lake.read(schemas.UNIVERSE, where=pl.col("universe") == name, version=version, history=True)
    if rows is None or not rows.num_rows:
        raise MissingError(
            f"setting data.universe: the lake has no universe named {name!r}",
            "take it in with: aiquant ingest universe",
        )
    return rows


class Pipeline:
    """From inputs to forecasts; each step may be replaced in a derived class."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def feature_set(self) -> FeatureSet:
        """The features that the settings name."""
        from aiquant.features import catalogue

        return catalogue.of(self.settings)

    def check(self) -> None:
        """Raise at once when the settings name what does not exist: a feature set, a forecaster, a label's formula.

        Raises
        ------
        UsageError
            With the nearest name, or the place in the formula.
        """
        self.feature_set  # noqa: B018  found by its name, or not
        if self.settings.labels.formula is not None:
            from aiquant.features import label_formulas

            label_formulas.read(self.settings.labels.formula)
        self.make()

    def features(self, inputs: Inputs, reach: Reach | None = None) -> pa.Table:
        """Features of every bar, each with the versions known at its own time.

        Parameters
        ----------
        reach
            Where ``inputs`` leave out bars that lie too far back: what there was, and which rows are wanted.
        """
        from aiquant.features import engine

        def compute(bars: pa.Table, inside: Reach) -> pa.Table:
            return engine.compute(
                self.feature_set,
                self.attach(bars, inputs),
                inputs.sessions,
                actions=inputs.actions,
                qlib_compat=self.settings.features.qlib_compat,
                since=inside.since,
                history=inside.history,
            )

        reach = reach or self.reach(inputs.sessions, vintages.first_bars(inputs.bars))
        return vintages.point_in_time(
            inputs.bars, compute, clock="event_time", reach=reach, by_symbol=not self.feature_set.compares
        )

    def attach(self, bars: pa.Table, inputs: Inputs) -> pa.Table:
        """Bars with the attached fields that the feature set reads."""
        from aiquant.features import attaching

        settings = self.settings.features
        fields = self.feature_set.fields
        return attaching.attach(bars, fields, inputs.attached, inputs.sessions, settings.sentiment_model)

    def reach(self, sessions: Sessions, first: pl.DataFrame, since: date | None = None) -> Reach:
        """How far back the features of ``since`` and later dates look; ``first`` holds each symbol's first bar."""
        from aiquant.features.grid import Axis

        axis = Axis(sessions, self.settings.data.interval)
        back = axis.sessions_of(self.feature_set.slots(axis.per_session))
        return Reach(sessions, back, first, since)

    @property
    def _label_fill(self) -> Literal["next-open", "close"]:
        """The fill that labels go from and to; where orders fill at the VWAP it is the open before it."""
        return "close" if self.settings.backtest.fill == "close" else "next-open"

    def labels(self, inputs: Inputs, horizon: int | None = None) -> pa.Table:
        """Forward returns, each with the versions known when it ended: what forecasts are judged by."""
        from aiquant.features import labels

        held = horizon or self.settings.labels.horizon
        return vintages.point_in_time(
            inputs.bars,
            lambda bars, _: labels.forward_returns(
                bars, inputs.sessions, held, fill=self._label_fill, actions=inputs.actions
            ),
            clock="label_end",
            reach=Reach(inputs.sessions, held + 2 * labels.GRACE + 2, vintages.first_bars(inputs.bars)),
            by_symbol=False,  # that a symbol has stopped shows in the bars of the others
        )

    def conditions(self, inputs: Inputs) -> pa.Table:
        """Volatility, beta and dollar volume at each bar, with the versions known at its own time."""
        from aiquant.features import conditions

        return vintages.point_in_time(
            inputs.bars,
            lambda bars, _: conditions.compute(bars, inputs.sessions, inputs.actions),
            clock="event_time",
            reach=Reach(inputs.sessions, conditions.definitions().lookback, vintages.first_bars(inputs.bars)),
            by_symbol=False,
        )

    def past_returns(self, inputs: Inputs) -> pa.Table:
        """Total return of each bar since the one before, with the versions known at its own time."""
        from aiquant.features import conditions

        return vintages.point_in_time(
            inputs.bars,
            lambda bars, _: conditions.past_returns(bars, inputs.sessions, inputs.actions),
            clock="event_time",
            reach=Reach(inputs.sessions, 1, vintages.first_bars(inputs.bars)),
        )

    def learnt(self, inputs: Inputs, labels: pa.Table) -> pa.Table:
        """What is learnt from: ``labels`` or those that end at barriers, with the conditions that the target needs."""
        from aiquant.learning import targets

        told = self.settings.labels
        if told.formula is not None:
            rows = self._of_formula(inputs, told.formula)
        else:
            rows = labels if told.window == "horizon" else self._barriers(inputs)
        wanted = targets.needs(told.target, told.scaled)
        if not wanted:
            return rows
        key = ["symbol", "event_time"]
        known = pl.DataFrame(self.conditions(inputs).select([*key, *wanted]))
        return pl.DataFrame(rows).join(known, on=key, how="left", maintain_order="left").to_arrow()

    def _of_formula(self, inputs: Inputs, formula: str) -> pa.Table:
        from aiquant.features import label_formulas

        label, horizon = label_formulas.read(formula), self.settings.labels.horizon
        back = label.last + label.behind.lookback
        return vintages.point_in_time(
            inputs.bars,
            lambda bars, _: label_formulas.compute(label, bars, inputs.sessions, horizon, inputs.actions),
            clock="label_end",
            reach=Reach(inputs.sessions, back, vintages.first_bars(inputs.bars)),
        )

    def _barriers(self, inputs: Inputs) -> pa.Table:
        from aiquant.features import barriers, conditions, labels

        told = self.settings.labels
        back = told.horizon + 2 * labels.GRACE + 2 + conditions.definitions().lookback
        return vintages.point_in_time(
            inputs.bars,
            lambda bars, _: barriers.triple_barrier(
                bars,
                inputs.sessions,
                told.horizon,
                told.upper,
                told.lower,
                fill=self._label_fill,
                actions=inputs.actions,
            ),
            clock="label_end",
            reach=Reach(inputs.sessions, back, vintages.first_bars(inputs.bars)),
            by_symbol=False,
        )

    def universe(self, inputs: Inputs) -> pa.Table | None:
        """Members of the universe, from when to when; None when every symbol with a bar counts."""
        return inputs.universe

    def panel(self, features: Features, labels: pa.Table, universe: pa.Table | None) -> Panel:
        """Features, of which a table may come in portions, and labels side by side."""
        from aiquant.learning import panel

        told = self.settings.labels
        return panel.build(
            features,
            labels,
            target=told.target,
            universe=universe,
            horizon=told.horizon,
            scaled=told.scaled,
            on_disk=self.settings.learning.out_of_core,
        )

    def weigh(self, panel: Panel, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Weights of rows that are trained on; None where all count alike."""
        from aiquant.learning import weights

        return weights.of(panel, rows, self.settings.labels.weights, self.settings.labels.time_decay)

    def folds(self, panel: Panel) -> list[Fold]:
        """Purged walk-forward folds."""
        from aiquant.learning import splits

        return splits.walk_forward(panel, self.settings.learning)

    def train(
        self, panel: Panel, folds: list[Fold], run_id: str, progress: Callable[[int, int], None] | None = None
    ) -> Trained:
        """Fit on each fold's training rows and forecast its test rows."""
        from aiquant.learning import training

        learning = self.settings.learning
        return training.walk_forward(
            panel,
            folds,
            self.make,
            run_id=run_id,
            seed=learning.seed,
            threads=learning.threads,
            weigh=self.weigh,
            progress=progress,
        )

    def make(self) -> Forecaster:
        """A forecaster that is not fitted yet."""
        from aiquant.learning import forecasters

        return forecasters.create(self.settings.learning.model, self.settings)


def describe(inputs: Inputs) -> dict[str, Any]:
    """What a reader should know of the data before believing a result made from it."""
    newest = pl.DataFrame(inputs.newest.select(["symbol", "adjustment", "source", "open", "date"]))
    return {
        "sources": sorted(newest["source"].unique()),
        "adjustment": sorted(newest["adjustment"].unique()),
        "symbols": newest["symbol"].n_unique(),
        "rows": newest.height,
        "first": newest["date"].min(),
        "last": newest["date"].max(),
        "closes_only": bool(newest["open"].is_null().all()),
        "survivorship_free": _members_come_and_go(inputs.universe, newest["date"].max()),
    }


def _members_come_and_go(universe: pa.Table | None, last: Any) -> bool:
    """Whether a membership ended before the last bar: a list that nobody ever left is one of survivors."""
    if universe is None:
        return False
    ends = pl.DataFrame(vintages.newest(universe, schemas.UNIVERSE.key))["member_to"]
    return bool((ends < last).any())
