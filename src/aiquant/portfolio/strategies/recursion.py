"""How much history does a strategy need? Ask it with shorter and longer pasts until its decisions no longer move.

The decisions at some dates are compared with what the strategy says when it is given no more than the last *n* decision
times. The warm-up is the first *n* from which on the weights, or orders, stay where the whole history puts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from aiquant.errors import DataError
from aiquant.portfolio.strategies import runner
from aiquant.portfolio.strategies.base import Strategy
from aiquant.portfolio.strategies.feed import Feed, Tables
from aiquant.portfolio.strategies.runner import Wanted

SAMPLED = 8
"""Decision times that are looked at with a book, and half as many without one."""


@dataclass(frozen=True)
class Warmth:
    """How far decisions are from those of the whole history, with so much of it.

    Attributes
    ----------
    length
        Decision times that were given, the decision's own included.
    moved
        Decisions, of those that were compared, in which a weight (or an order, in shares) moved by more than the
        tolerance.
    largest
        Largest change of a weight, or of an order; infinite where something was decided in one case only.
    """

    length: int
    moved: int
    compared: int
    largest: float


@dataclass(frozen=True)
class Recursion:
    """What was found.

    Attributes
    ----------
    lengths
        In ascending order of length.
    symbols
        For each symbol the shortest length tried from which on its weight, or order, no longer moves; None where it
        always does.
    warm_up
        The shortest length from which on nothing moves; None where something moves at every length that was tried.
    lookback
        What the strategy says of itself; None where it says nothing.
    longest
        The longest past that was tried.
    tolerance
        Changes of a weight, or of an order in shares, up to this are none.
    """

    lengths: tuple[Warmth, ...]
    symbols: dict[str, int | None]
    warm_up: int | None
    lookback: int | None
    longest: int
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether decisions settle, and with no more history than the strategy says."""
        return self.warm_up is not None and (self.lookback is None or self.warm_up <= self.lookback)

    def sentence(self) -> str:
        """The verdict in one sentence."""
        if self.warm_up is None:
            return (
                f"Decisions still move with {self.longest:,} decision times of history: they hang on where it begins."
            )
        told = f"Decisions no longer move from {self.warm_up:,} decision time(s) of history on"
        if self.lookback is None:
            return f"{told}."
        if self.passed:
            return f"{told}; the strategy says {self.lookback:,}."
        return f"{told}, but the strategy says that {self.lookback:,} are enough."


def examine(
    fresh: Callable[[], Strategy],
    tables: Tables,
    name: str,
    *,
    tolerance: float = 1e-6,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Recursion:
    """Vary how much history a strategy is given.

    Raises
    ------
    DataError
        When there are too few decision times.
    UsageError
        When the strategy raises or gives what is neither a book nor orders.
    """
    feed = tables.feed()
    times = _sampled(fresh, feed, name)
    longest = min(times)  # one less than the shortest of the whole pasts, so that "all of it" is never "no change"
    if longest < 2:
        raise DataError("there is too little history to give less of it", "take in more bars")
    trial = _Trial(fresh, tables, feed, name, tolerance)
    whole = {at: trial.book(at, at + 1) for at in times}
    grid = _lengths(longest)
    for done, length in enumerate(grid):
        progress(done, len(grid))
        trial.compare(whole, length)
    warm_up = trial.settled()
    while warm_up is not None and (below := max((n for n in trial.done if n < warm_up), default=0)) < warm_up - 1:
        trial.compare(whole, (below + warm_up) // 2)
        warm_up = trial.settled()
    own = getattr(fresh(), "lookback", None)
    return Recursion(
        lengths=tuple(trial.done[length] for length in sorted(trial.done)),
        symbols=trial.by_symbol(),
        warm_up=warm_up,
        lookback=int(own) if isinstance(own, int) else None,
        longest=longest,
        tolerance=tolerance,
    )


class _Trial:
    """Decisions with shorter pasts, compared with those of the whole one."""

    def __init__(self, fresh: Callable[[], Strategy], tables: Tables, feed: Feed, name: str, tolerance: float) -> None:
        self._fresh, self._tables, self._feed, self._name = fresh, tables, feed, name
        self._tolerance = tolerance
        self._bars = pl.DataFrame(pl.from_arrow(tables.bars))
        self.done: dict[int, Warmth] = {}
        self._moving: dict[str, set[int]] = {}

    def book(self, at: int, length: int) -> Wanted | None:
        """The decision at ``at`` when only the last ``length`` decision times are given."""
        feed, begin = self._feed, at + 1 - length
        until = pl.lit(feed.nows[at]).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        after = pl.lit(False)
        if begin > 0:
            before = pl.lit(feed.nows[begin - 1]).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
            after = pl.col("event_time") <= before
        rows = self._bars.filter((pl.col("event_time") <= until) & ~after)
        part = replace(self._tables, bars=rows.to_arrow().cast(self._tables.bars.schema)).feed()
        return runner.decisions(self._fresh(), part, self._name, first=len(part) - 1)[-1].wanted(part)

    def compare(self, whole: dict[int, Wanted | None], length: int) -> None:
        moved, largest = 0, 0.0
        for at, book in whole.items():
            changes = dict(_changes(book, self.book(at, length)))
            for symbol, change in changes.items():
                places = self._moving.setdefault(symbol, set())
                if change > self._tolerance:
                    places.add(length)
            most = max(changes.values(), default=0.0)
            moved += most > self._tolerance
            largest = max(largest, most)
        self.done[length] = Warmth(length, moved, len(whole), largest)

    def settled(self) -> int | None:
        return self._first_after({length for length, told in self.done.items() if told.moved})

    def by_symbol(self) -> dict[str, int | None]:
        return {symbol: self._first_after(self._moving[symbol]) for symbol in sorted(self._moving)}

    def _first_after(self, moving: set[int]) -> int | None:
        return min((n for n in self.done if n > max(moving, default=0)), default=None)


def _changes(one: Wanted | None, other: Wanted | None) -> Iterable[tuple[str, float]]:
    before, after = ({} if wanted is None else wanted.amounts for wanted in (one, other))
    if one is None or other is None or one.unit != other.unit:
        change = 0.0 if one is other else float("inf")
        return [(symbol, change) for symbol in {*before, *after}] or ([("", change)] if change else [])
    return [(symbol, abs(before.get(symbol, 0.0) - after.get(symbol, 0.0))) for symbol in {*before, *after}]


def _sampled(fresh: Callable[[], Strategy], feed: Feed, name: str) -> list[int]:
    """Decision times of the later half, spread evenly: some with a book, some without."""
    begin = len(feed) // 2
    made = runner.decisions(fresh(), feed, name, first=begin)
    books = [d.at for d in made if d.columns is not None]
    none = [d.at for d in made if d.columns is None]
    return sorted({*_spread(books, SAMPLED), *_spread(none, SAMPLED // 2)}) or [len(feed) - 1]


def _spread(times: list[int], count: int) -> list[int]:
    if not times:
        return []
    return [times[i] for i in np.unique(np.linspace(0, len(times) - 1, count).round().astype(int)).tolist()]


def _lengths(longest: int) -> list[int]:
    """1, 2, 3, 5, 8, 13, … up to ``longest``."""
    found = [1, 2]
    while found[-1] < longest:
        found.append(found[-1] + found[-2])
    return sorted({min(length, longest) for length in found})
