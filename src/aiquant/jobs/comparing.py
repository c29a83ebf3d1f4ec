"""Two tables of features compared value by value, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

KEY = ["symbol", "event_time"]


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes
    ----------
    rows, values
        Rows of the first table, and values in them.
    differing
        Values that are not the same float32 (any NaN equals any other); a row that only one side has counts once.
    first
        The first difference in time, for a person; None where nothing differs.
    """

    rows: int
    values: int
    differing: int
    first: str | None = None


def compare(ours: pl.DataFrame, theirs: pl.DataFrame, names: list[str], sides: tuple[str, str]) -> Compared:
    """Compare the columns ``names`` of the rows of two tables, which have ``symbol`` and ``event_time``.

    Parameters
    ----------
    sides
        What the two tables are called in :attr:`Compared.first`.
    """
    order = ["event_time", "symbol"]
    found: list[tuple[object, str, str]] = []
    lonely = 0
    for side, rows, other in zip(sides, (ours, theirs), (theirs, ours), strict=True):
        alone = rows.select(KEY).join(other.select(KEY), on=KEY, how="anti").sort(order)
        lonely += alone.height
        if alone.height:
            symbol, moment = alone.row(0)
            found.append((moment, symbol, f"{symbol} at {_utc(moment)} is there in {side} only"))
    left = ours.join(theirs.select(KEY), on=KEY, how="semi").sort(order)
    right = theirs.join(ours.select(KEY), on=KEY, how="semi").sort(order)
    differing = 0
    for name in names:
        a, b = _bits(left[name]), _bits(right[name])
        if (unequal := a != b).any():
            differing += int(unequal.sum())
            at = int(np.argmax(unequal))
            symbol, moment = left["symbol"][at], left["event_time"][at]
            told = f"{name} of {symbol} at {_utc(moment)} is {left[name][at]!r} in {sides[0]}"
            found.append((moment, symbol, f"{told} and {right[name][at]!r} in {sides[1]}"))
    first = min(found, key=lambda f: (f[0], f[1]))[2] if found else None
    return Compared(ours.height, ours.height * len(names), differing + lonely, first)


def _bits(values: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    told = values.cast(pl.Float32).to_numpy().copy()
    told[np.isnan(told)] = np.nan
    return told.view(np.uint32)


def _utc(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
