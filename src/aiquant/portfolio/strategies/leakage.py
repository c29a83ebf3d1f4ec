"""Try to show that a strategy knows the future, or is no function of its history.

Around random decision times the strategy is asked again, by new instances: with the future cut off; with another future
(other prices, splits and forecasts after the moment, and all that was known corrected right after it); once more with
the very same history; and at that time alone, without the times before it. Its decisions up to the moment have to be
the same each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.portfolio.strategies import runner, watching
from aiquant.portfolio.strategies.base import Strategy
from aiquant.portfolio.strategies.feed import Feed, Tables
from aiquant.portfolio.strategies.history import FIELDS, moment, walk
from aiquant.portfolio.strategies.runner import Wanted

SPAN = 63
"""Decision times up to each moment that are compared: about a quarter, so that a monthly book is decided in it."""

WATCHED = 4
"""Decisions around each moment that are watched, and asked for alone."""


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes
    ----------
    at
        The moment (UTC).
    what
        ``future cut``, ``other future``, ``same history``, ``asked alone`` or ``looks elsewhere``.
    compared, differing
        Weights, or shares (a decision of nothing is one).
    example
        One difference, for a person.
    """

    at: datetime
    what: str
    compared: int
    differing: int
    example: str | None = None


def examine(
    fresh: Callable[[], Strategy],
    tables: Tables,
    name: str,
    *,
    cuts: int,
    seed: int,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Iterator[Finding]:
    """Compare a strategy's decisions around ``cuts`` random moments.

    Parameters
    ----------
    fresh
        Makes a new instance that shares nothing with others.

    Raises
    ------
    DataError
        When there are fewer than two decision times.
    UsageError
        When the strategy raises or gives what is neither a book nor orders.
    """
    feed = tables.feed()
    if len(feed) < 2:
        raise DataError("there is too little history to cut", "take in more bars")
    rng = np.random.default_rng(seed)
    early = min(len(feed) - 2, len(feed) // 4)
    moments = np.sort(rng.choice(np.arange(early, len(feed) - 1), size=min(cuts, len(feed) - 1 - early), replace=False))
    for done, at in enumerate(moments.tolist()):
        progress(done, len(moments))
        yield from _around(fresh, tables, feed, name, at, rng)


def _around(
    fresh: Callable[[], Strategy], tables: Tables, feed: Feed, name: str, at: int, rng: np.random.Generator
) -> Iterator[Finding]:
    now, first = moment(feed.nows[at]), max(0, at - SPAN + 1)
    whole = _books(fresh(), feed, name, first, at)
    for what, other in (("future cut", known_at(tables, now)), ("other future", with_other_future(tables, now, rng))):
        yield _compared(now, what, feed, whole, _books(fresh(), other.feed(), name, first, at))
    yield _compared(now, "same history", feed, whole, _books(fresh(), feed, name, first, at))
    chosen = _chosen(whole, first)
    alone: dict[int, Wanted | None] = {}
    looked: dict[str, None] = {}
    for history in walk(feed, chosen[0], at):
        if (place := len(history) - 1) in chosen:
            strategy = fresh()
            told, seen = watching.watched(partial(runner.ask, strategy, history, feed, name), strategy)
            alone[place] = told.wanted(feed)
            looked.update(dict.fromkeys(seen))
    yield _compared(now, "asked alone", feed, {place: whole[place] for place in alone}, alone)
    yield Finding(
        now, "looks elsewhere", len(alone), len(looked), f"it looks at {'; '.join(looked)}" if looked else None
    )


def _books(strategy: Strategy, feed: Feed, name: str, first: int, until: int) -> dict[int, Wanted | None]:
    return {d.at: d.wanted(feed) for d in runner.decisions(strategy, feed, name, first=first, until=until)}


def _chosen(whole: dict[int, Wanted | None], first: int) -> list[int]:
    """Decision times to look at alone: the newest books, and the newest times without one; not the first."""
    later = [at for at in whole if at > first] or list(whole)
    books = [at for at in later if whole[at] is not None]
    none = [at for at in later if whole[at] is None]
    return sorted([*books[-WATCHED:], *none[-WATCHED:]])


def _compared(
    now: datetime, what: str, feed: Feed, one: dict[int, Wanted | None], other: dict[int, Wanted | None]
) -> Finding:
    compared, differing, example = 0, 0, None
    for at, book in one.items():
        again = other[at]
        if book is None or again is None or book.unit != again.unit:
            names, unequal = [""], [""] if book is not again else []
        else:
            names = sorted({*book.amounts, *again.amounts}) or [""]
            unequal = [n for n in names if book.amounts.get(n, 0.0) != again.amounts.get(n, 0.0)]
        compared += len(names)
        differing += len(unequal)
        if unequal and example is None:
            n = unequal[0]
            told = [_told(b, n) for b in (book, again)]
            example = f"{f'{n} on ' if n else ''}{feed.dates[at]}: {told[0]}, and {told[1]} ({what})"
    return Finding(now, what, compared, differing, example)


def _told(book: Wanted | None, name: str) -> str:
    if book is None:
        return "no decision"
    if name:
        return f"{book.unit} {book.amounts.get(name, 0.0):g}"
    return f"{'a book' if book.unit == 'weight' else 'orders'} of {len(book.amounts)}"


def known_at(tables: Tables, now: datetime) -> Tables:
    """What was known at ``now``, and nothing else."""

    def cut(table: pa.Table | None) -> pa.Table | None:
        if table is None:
            return None
        frame = pl.DataFrame(pl.from_arrow(table))
        versioned = (pl.col("known_from") <= now) if "known_from" in frame.columns else pl.lit(True)
        return frame.filter((pl.col("event_time") <= now) & versioned).to_arrow().cast(table.schema)

    bars = cut(tables.bars)
    assert bars is not None
    return Tables(bars, cut(tables.actions), cut(tables.forecasts), cut(tables.universe))


def with_other_future(tables: Tables, now: datetime, rng: np.random.Generator) -> Tables:
    """Other bars, forecasts and splits after ``now``, and every bar that was known by then corrected a moment later."""
    later = now + timedelta(microseconds=1)
    frame = pl.DataFrame(pl.from_arrow(tables.bars))
    unknown = (pl.col("event_time") > now) | (pl.col("known_from") > now)
    corrected = _scaled(frame.filter(~unknown), rng).with_columns(
        pl.lit(later).cast(frame["known_from"].dtype).alias("known_from")
    )
    known, future = frame.filter(~unknown), _scaled(frame.filter(unknown), rng)
    bars = pl.concat([known, corrected.select(frame.columns), future]).to_arrow().cast(tables.bars.schema)
    return replace(
        known_at(tables, now),
        bars=bars,
        actions=_with_splits(tables, now, frame),
        forecasts=_with_other_forecasts(tables.forecasts, now, rng),
    )


def _scaled(bars: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    factor = pl.Series(np.exp(rng.normal(0.0, 0.2, bars.height)))
    return bars.with_columns((pl.col(FIELDS).cast(pl.Float64) * factor).name.keep())


def _with_splits(tables: Tables, now: datetime, bars: pl.DataFrame) -> pa.Table | None:
    """The actions that are known, and a split of every symbol that becomes known, and counts, on a later day."""
    known = known_at(tables, now).actions
    if known is None:
        return None
    day = now + timedelta(days=1)
    names = bars["symbol"].unique().sort()
    splits = {
        "symbol": names.to_arrow(),
        "kind": pa.array(["split"] * len(names)),
        "date": pa.array([day.date()] * len(names)),
        "ratio": pa.array([3.0] * len(names)),
        "event_time": pa.array([day] * len(names)),
        "known_from": pa.array([day] * len(names)),
        "source": pa.array(["invented"] * len(names)),
    }
    columns = [splits.get(field.name, pa.nulls(len(names), field.type)).cast(field.type) for field in known.schema]
    return pa.concat_tables([known, pa.Table.from_arrays(columns, schema=known.schema)])


def _with_other_forecasts(table: pa.Table | None, now: datetime, rng: np.random.Generator) -> pa.Table | None:
    if table is None:
        return None
    frame = pl.DataFrame(pl.from_arrow(table))
    noise = pl.Series(rng.normal(size=frame.height))
    other = pl.when(pl.col("event_time") > now).then(noise).otherwise(pl.col("forecast"))
    return frame.with_columns(forecast=other).to_arrow().cast(table.schema)
