"""What was known of the past: returns, traded value and sectors, read as of a decision and never later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOLUME_BARS = 63
"""Bars over which the traded value is averaged: a quarter of sessions."""

_COLUMNS = ("symbol", "date", "past_return", "dollar_volume")


@dataclass(frozen=True, eq=False)
class History:
    """Daily bars as arrays over dates and symbols.

    Attributes
    ----------
    dates
        ``datetime64[D]``, shape (t,), ascending: the sessions with bars.
    symbols
        In ascending order, length n.
    returns
        Total return of each bar since the one before, as it was known at its close; float64, shape (t, n), NaN where
        one of the two is missing.
    dollar_volume
        Value that was traded in each bar, in the bars' currency; as ``returns``.
    classes
        ``symbol, valid_from, known_from, sector``: all versions; None where no sectors are known.
    """

    dates: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    returns: NDArray[np.float64]
    dollar_volume: NDArray[np.float64]
    classes: pl.DataFrame | None = None

    @classmethod
    def of(cls, rows: pa.Table, classification: pa.Table | None = None) -> History:
        """Lay out rows of daily bars.

        Parameters
        ----------
        rows
            ``symbol, date, past_return, dollar_volume``; one row a symbol and date, nulls where a number is not known.
        classification
            Schema ``CLASSIFICATION``, all versions.

        Raises
        ------
        DataError
            When a symbol has two rows for a date.
        """
        frame = pl.DataFrame(pl.from_arrow(rows.select(list(_COLUMNS)))).sort("date", "symbol")
        twice = frame.filter(pl.struct("symbol", "date").is_duplicated())
        if len(twice):
            raise DataError(f"past returns: {twice['symbol'][0]} has two rows for {twice['date'][0]}")
        dates, row = np.unique(frame["date"].to_numpy().astype("datetime64[D]"), return_inverse=True)
        symbols = frame["symbol"].unique().sort()
        column = symbols.search_sorted(frame["symbol"]).to_numpy()
        dense = {}
        for name in ("past_return", "dollar_volume"):
            laid = np.full((len(dates), len(symbols)), np.nan)
            laid[row, column] = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            dense[name] = laid
        classes = None
        if classification is not None:
            told = classification.select(["symbol", "valid_from", "known_from", "sector"])
            classes = pl.DataFrame(pl.from_arrow(told)).sort("valid_from", "known_from", maintain_order=True)
        return cls(dates, tuple(symbols.to_list()), dense["past_return"], dense["dollar_volume"], classes)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {symbol: k for k, symbol in enumerate(self.symbols)}

    def at(self, day: date) -> int:
        """How many dates are not later than ``day``."""
        return int(np.searchsorted(self.dates, np.datetime64(day, "D"), side="right"))

    def columns(self, symbols: Sequence[str]) -> NDArray[np.int64]:
        """Places of symbols, −1 for one without bars."""
        return np.array([self._place.get(symbol, -1) for symbol in symbols], dtype=np.int64)

    def window(self, day: date, symbols: Sequence[str], bars: int) -> NDArray[np.float64]:
        """Returns of the last ``bars`` dates up to ``day``, shape (≤ bars, len(symbols)); NaN for what is not known."""
        return self._last(self.returns, day, symbols, bars)

    def adv(self, day: date, symbols: Sequence[str]) -> NDArray[np.float64]:
        """Mean value traded a bar over :data:`VOLUME_BARS`, shape (len(symbols),); NaN where none is known."""
        values = self._last(self.dollar_volume, day, symbols, VOLUME_BARS)
        known = np.isfinite(values)
        counted = known.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: NDArray[np.float64] = np.where(known, values, 0.0).sum(axis=0) / counted
        return found

    def market(self, day: date, bars: int) -> NDArray[np.float64]:
        """Mean return of all symbols with bars, date by date; shape (≤ bars,)."""
        rows = self.returns[max(self.at(day) - bars, 0) : self.at(day)]
        known = np.isfinite(rows)
        mean: NDArray[np.float64] = np.where(known, rows, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return mean

    def growth(self, first: date, last: date, symbols: Sequence[str]) -> NDArray[np.float64]:
        """What one unit of each symbol became from the close of ``first`` to that of ``last``; gaps count as still."""
        rows = self.returns[self.at(first) : self.at(last)]
        chosen = _take(rows, self.columns(symbols))
        grown: NDArray[np.float64] = np.prod(1.0 + np.nan_to_num(chosen), axis=0)
        return grown

    def sectors(self, day: date, moment: datetime, symbols: Sequence[str]) -> list[str | None]:
        """The sector of each symbol that was valid on ``day`` as known at ``moment`` (UTC)."""
        if self.classes is None:
            return [None] * len(symbols)
        known = self.classes.filter((pl.col("valid_from") <= day) & (pl.col("known_from") <= moment))
        told = dict(known.select("symbol", "sector").iter_rows())  # the last row of a symbol wins
        return [told.get(symbol) for symbol in symbols]

    def _last(self, values: NDArray[np.float64], day: date, symbols: Sequence[str], bars: int) -> NDArray[np.float64]:
        end = self.at(day)
        return _take(values[max(end - bars, 0) : end], self.columns(symbols))


def _take(rows: NDArray[np.float64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    if not rows.shape[1]:
        return np.full((len(rows), len(columns)), np.nan)
    return np.where(columns >= 0, rows[:, columns], np.nan)
