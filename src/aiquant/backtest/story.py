"""What a tearsheet tells, as plain data: whoever has results writes a :class:`Story`, the tearsheet only draws it.

The parts are mappings of plain values (or dataclasses with those fields), so that a report can be made from what was
written to disk as well as from what was just computed. Every part except the title, the run and the first strategy may
be left out; the page then says so or leaves its section away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from aiquant.errors import DataError
from aiquant.schemas import EQUITY, conform

Span = tuple[date, date]
"""First and last day, both included."""


class Track(NamedTuple):
    """The account of one strategy or benchmark and the figures that sum it up.

    Attributes
    ----------
    equity
        Table in the schema EQUITY.
    summary
        What ``statistics.summarise`` returns, or a mapping with some of its fields (as its ``to_dict`` gives); None
        where it was not reckoned.
    """

    equity: pa.Table
    summary: object | None = None


@dataclass(frozen=True)
class Source:
    """Where data came from, and what a reader must know about them.

    Attributes
    ----------
    name
        Name of the source.
    survivorship
        Whether symbols that vanished are in it ("survivors only: …", "survivorship-free", "unknown").
    adjustment
        What its prices were adjusted for.
    detail
        Anything else: rows, symbols, first and last date.
    survivors_only
        True where vanished symbols are known to be missing: the verdict then warns of it.
    """

    name: str
    survivorship: str = "unknown"
    adjustment: str = "unknown"
    detail: str = ""
    survivors_only: bool = False


@dataclass(frozen=True)
class Station:
    """A step on the way of the data: how many rows left it, and how many seconds it took."""

    name: str
    rows: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class FoldSpans:
    """The days of one fold, as unbroken stretches in order of time.

    Attributes
    ----------
    fold
        Its number.
    train, test
        Days of decisions that were trained on, and tested.
    purge, embargo
        Days with decisions that were left out of training because their labels meet the test, or come near to it.
    rows_purged, rows_embargoed
        Rows that were left out of training; None where not counted.
    """

    fold: int
    train: Sequence[Span]
    test: Sequence[Span]
    purge: Sequence[Span] = ()
    embargo: Sequence[Span] = ()
    rows_purged: int | None = None
    rows_embargoed: int | None = None


@dataclass(frozen=True)
class Story:
    """Everything that a tearsheet tells.

    Attributes
    ----------
    title
        One line: what was tried.
    run_id
        Name of the run.
    made_at
        When the report was made; shown in UTC.
    strategies
        Name → :class:`Track` (or a pair of equity table and summary), in the order of display: the first is the
        strategy, the others are the benchmarks it is held against.
    description
        A few sentences: what was forecast from what, and how it was traded.
    sources
        Where the data came from.
    judgement
        How well the forecasts ordered what came after, out of sample. Keys, all optional: ``rank_ic`` and
        ``rank_ic_t`` (mean over dates and its t-statistic), ``icir``, ``dates`` (int), ``breadth`` (median symbols a
        date), ``horizon`` (sessions), ``by_year`` {year: rank IC}, ``daily`` {date: rank IC}, ``quantiles``
        {name: mean forward return less the date's mean, from the lowest to the highest forecast} and
        ``quantile_errors``; ``decay``, ``groups``, ``turnover`` and ``accuracy`` as the judgement of forecasts gives
        them. Years and dates may be texts, as JSON has them.
    verdict
        The promotion gate: ``promoted`` (bool), ``checks`` (list of ``name``, ``passed``, ``value``, ``threshold``,
        ``why``). None: no gate was asked.
    leakage
        The leakage check: ``passed`` (bool), ``checks`` (list of ``name``, ``passed``, ``why``). None: not checked.
    conventions
        Name → value of every convention that moves a result (fill, sizing, costs, annualisation …).
    stations
        The way of the data.
    folds
        The folds that the forecasts were made by.
    paths
        The results of combinatorial cross-validation: ``paths`` (for each ``rank_ic`` and ``sharpe``), ``spread`` of
        these, ``fits``, and ``folds`` as :class:`FoldSpans`. None: not made.
    evaluation
        What ``evaluation.strategy.evaluate`` gives, or that as JSON. None: not evaluated.
    importance
        Feature → importance, in any unit.
    measured
        What features did out of sample, or None: ``features`` (for each ``feature``, ``shap``: share of the mean
        absolute contribution, ``permutation``: fall of the rank IC when it is shuffled within each date, and
        ``permutation_std`` over folds; the greatest fall first), ``clusters`` (``features`` that move together, with
        ``permutation`` and ``permutation_std`` when they are shuffled as one) and ``stability`` over the folds.
    manifest
        What is needed to make the run again, in order of display: versions of data and code, ``settings_hash``,
        ``seed``, ``libraries`` …. The first page shows a line for each entry but ``settings``; the depth shows all.
    notes
        Sentences that a reader has to know (what was clipped, what was missing).
    fills
        Table in the schema FILLS of the first strategy: splits its costs into commission and slippage.

    Raises
    ------
    DataError
        When no strategy is given, or the first one's equity has fewer than two rows or lacks columns.
    """

    title: str
    run_id: str
    made_at: datetime
    strategies: Mapping[str, Track | tuple[pa.Table, object | None]]
    description: str = ""
    sources: Sequence[Source] = ()
    judgement: object | None = None
    verdict: object | None = None
    leakage: object | None = None
    conventions: Mapping[str, object] = field(default_factory=dict)
    stations: Sequence[Station] = ()
    folds: Sequence[FoldSpans] = ()
    paths: object | None = None
    evaluation: object | None = None
    importance: Mapping[str, float] = field(default_factory=dict)
    measured: object | None = None
    manifest: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()
    fills: pa.Table | None = None

    def __post_init__(self) -> None:
        if not self.strategies:
            raise DataError("a tearsheet needs the equity of at least one strategy, and none was given")
        tracks = {}
        for name, (equity, summary) in self.strategies.items():
            if equity.num_rows < 2:
                raise DataError(
                    f"a tearsheet of {name!r} cannot be drawn from {equity.num_rows} session(s)",
                    "backtest at least two sessions",
                )
            tracks[name] = Track(conform(equity, EQUITY).sort_by("event_time"), summary)
        object.__setattr__(self, "strategies", tracks)

    @property
    def tracks(self) -> dict[str, Track]:
        """The strategies in order, each as a :class:`Track` sorted by time."""
        return {name: Track(*track) for name, track in self.strategies.items()}

    @property
    def curves(self) -> dict[str, pa.Table]:
        """Name → equity table, in order."""
        return {name: track.equity for name, track in self.tracks.items()}


def as_mapping(part: object | None) -> dict[str, Any]:
    """A part of a story as a mapping: of a mapping, of a dataclass (its fields and properties), of None (empty)."""
    if part is None:
        return {}
    if isinstance(part, Mapping):
        return {str(name): value for name, value in part.items()}
    if is_dataclass(part) and not isinstance(part, type):
        derived = [name for name, kind in vars(type(part)).items() if isinstance(kind, property)]
        return {name: getattr(part, name) for name in [*(f.name for f in fields(part)), *derived]}
    raise DataError(f"a part of a tearsheet is a {type(part).__name__}, not a mapping or a dataclass")
