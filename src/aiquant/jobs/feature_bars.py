"""The bars of which features are made, some symbols at a time: from the lake, or from what was read already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Protocol

import polars as pl
import pyarrow as pa

from aiquant.calendars import Sessions, sessions
from aiquant.errors import MissingError
from aiquant.jobs.pipeline import Inputs, demand_one_close
from aiquant.lake import Lake
from aiquant.schemas import BARS

_EXTENT = (
    pl.len().alias("bars"),
    pl.col("date", "event_time").sort_by("event_time").first(),
    pl.col("event_time").max().alias("last"),
    pl.col("date").max().alias("last_date"),
)


class Bars(Protocol):
    """Bars of one interval, all versions of them."""

    @property
    def extent(self) -> pl.DataFrame:
        """A row a symbol, sorted by it.

        ``symbol``, ``bars`` (how many), ``date``, ``event_time`` (of the first), ``last``, ``last_date``.
        """

    def read(self, symbols: Sequence[str], origin: date | None, until: date | None = None) -> pa.Table:
        """The bars of some symbols from a date on and before another, sorted by symbol and event_time."""


@dataclass(frozen=True)
class ReadBars:
    """Bars that were read already."""

    bars: pa.Table

    @cached_property
    def extent(self) -> pl.DataFrame:
        """See :class:`Bars`."""
        return pl.DataFrame(self.bars).group_by("symbol").agg(*_EXTENT).sort("symbol")

    def read(self, symbols: Sequence[str], origin: date | None, until: date | None = None) -> pa.Table:
        """See :class:`Bars`."""
        if origin is None and until is None and len(symbols) == len(self.extent):
            return self.bars
        rows = pl.DataFrame(self.bars).filter(pl.col("symbol").is_in(list(symbols)))
        if origin is not None:
            rows = rows.filter(pl.col("date") >= origin)
        if until is not None:
            rows = rows.filter(pl.col("date") < until)
        return rows.to_arrow().cast(BARS.schema)


@dataclass(frozen=True)
class LakeBars:
    """Bars that stay in the lake until they are needed.

    Attributes
    ----------
    version
        Delta version of the table of bars.
    as_of
        Only what could be known then (UTC); None for all.
    """

    lake: Lake
    interval: str
    calendar: str
    version: int | None
    as_of: datetime | None = None

    @cached_property
    def extent(self) -> pl.DataFrame:
        """See :class:`Bars`; one pass over the columns of the key.

        Raises
        ------
        MissingError
            When there is no bar.
        """
        columns = ["symbol", "date", "event_time"]
        rows = self.lake.scan(BARS, columns, self._wanted(), self.version, self.as_of, ordered=False, history=True)
        found = rows.group_by("symbol").agg(*_EXTENT).collect(engine="streaming").sort("symbol")
        if found.is_empty():
            when = f" by {self.as_of:%Y-%m-%d %H:%M} UTC" if self.as_of else ""
            raise MissingError(
                f"the lake holds no bar of interval {self.interval}{when}", "take bars in with: aiquant ingest bars"
            )
        return found

    @property
    def sessions(self) -> Sessions:
        """Sessions from the first to the last bar."""
        told = self.extent.select(first=pl.col("date").min(), last=pl.col("last_date").max())
        return sessions(self.calendar, *told.row(0))

    def read(self, symbols: Sequence[str], origin: date | None, until: date | None = None) -> pa.Table:
        """See :class:`Bars`.

        Raises
        ------
        DataError
            When daily bars were taken in by two calendars.
        """
        name = pl.col("symbol")
        wanted = self._wanted() & name.is_between(pl.lit(min(symbols)), pl.lit(max(symbols)))
        if len(symbols) < len(self.extent):
            wanted = wanted & name.is_in(list(symbols))
        if origin is not None:
            wanted = wanted & (pl.col("period") >= self._period(origin)) & (pl.col("date") >= origin)
        if until is not None:
            wanted = wanted & (pl.col("period") <= self._period(until)) & (pl.col("date") < until)
        bars = self.lake.read(BARS, where=wanted, version=self.version, as_of=self.as_of, history=True)
        if self.interval.endswith("d"):
            demand_one_close(bars, self.calendar)
        return bars

    def _period(self, day: date) -> str:
        """The partition of a day, so that files of other days are passed over."""
        return str(day.year) if self.interval.endswith("d") else day.isoformat()

    def _wanted(self) -> pl.Expr:
        return pl.col("interval") == self.interval


def of_inputs(inputs: Inputs) -> ReadBars:
    """The bars that ``inputs`` hold."""
    return ReadBars(inputs.bars)
