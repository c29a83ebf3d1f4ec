"""Whatever comes later, and whatever is corrected later: the history of a moment is the same without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from aiquant.portfolio.strategies import leakage
from aiquant.portfolio.strategies.contract import market
from aiquant.portfolio.strategies.feed import Tables
from aiquant.portfolio.strategies.history import FIELDS, History, moment, walk

WHOLE = market()


def made_late(tables: Tables, share: float, seed: int) -> Tables:
    """Some bars and the split become known only days after their time."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(tables.bars)
    late = pl.Series(np.where(rng.random(frame.height) < share, rng.integers(1, 9, frame.height), 0))
    frame = frame.with_columns(known_from=pl.col("known_from") + pl.duration(days=late))
    return Tables(frame.to_arrow().cast(tables.bars.schema), tables.actions, tables.forecasts)


def shown(history: History) -> list[Any]:
    arrays = [history.field(name, adjusted=a) for name in FIELDS for a in (False, True)]
    tables = [history.forecasts(3).rows(), history.actions().rows()]
    return [history.now, history.symbols, history.tradable.tolist(), history.dates.tolist(), arrays, tables]


def equal(one: list[Any], other: list[Any]) -> bool:
    same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one[4], other[4], strict=True))
    return same and one[:4] == other[:4] and one[5] == other[5]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 318), st.floats(0, 0.3), st.integers(0, 2**32 - 1))
def test_a_history_does_not_depend_on_what_is_known_later(at: int, share: float, seed: int) -> None:
    tables = made_late(WHOLE, share, seed)
    feed = tables.feed()
    seen = shown(next(iter(walk(feed, at, at))))
    now = moment(feed.nows[at])
    cut = leakage.known_at(tables, now).feed()
    other = leakage.with_other_future(tables, now, np.random.default_rng(seed)).feed()
    places = [int(np.flatnonzero(f.nows == feed.nows[at])[0]) for f in (cut, other)]
    for there, place in zip((cut, other), places, strict=True):
        assert equal(seen, shown(next(iter(walk(there, place, place)))))
