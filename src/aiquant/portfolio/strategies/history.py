"""What a strategy may look at: all that was known at one moment, and nothing later.

:class:`Feed` holds everything; :meth:`Feed.play` walks through time and *writes* each bar, each correction and each
corporate action into the arrays of one :class:`Board` when it becomes known. A :class:`History` is a view of the part
that is written: no day copies the days before it, and no later row is there to be found.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from aiquant.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.portfolio.strategies.feed import Board, Feed

FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False)
class History:
    """What was known at one decision time.

    Rows of arrays are decision times (the sessions that had a bar; for intraday bars their closes), the newest last.
    Columns are :attr:`symbols`. NaN: no bar. Arrays are views that cannot be written to.

    Attributes
    ----------
    now
        The moment of the decision, UTC.
    date
        Its exchange-local date.
    """

    now: dt.datetime
    date: dt.date
    _feed: Feed
    _board: Board
    _at: int

    def __len__(self) -> int:
        """Decision times so far, this one included."""
        return self._at + 1

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """All symbols that have had a bar by now: first those that came first, then by name."""
        return self._feed.symbols[: self._width]

    @cached_property
    def tradable(self) -> NDArray[np.bool_]:
        """Which symbols have a bar at this very decision time and, where a universe is set, are members of it today."""
        there = np.isfinite(self._board.raw[FIELDS.index("close"), self._at, : self._width])
        return np.asarray(there & self._feed.members(self._at, self._width))

    @property
    def dates(self) -> NDArray[np.datetime64]:
        """``datetime64[D]``, shape (t,): the date of each row."""
        return self._feed.dates[: self._at + 1]

    def closes(self, last: int | None = None, *, adjusted: bool = True) -> NDArray[np.float64]:
        """Closes; see :meth:`field`."""
        return self.field("close", last, adjusted=adjusted)

    def field(self, name: str, last: int | None = None, *, adjusted: bool = True) -> NDArray[np.float64]:
        """One field of the bars, in the versions that are known now.

        Parameters
        ----------
        name
            ``open``, ``high``, ``low``, ``close`` or ``volume``.
        last
            So many rows at most, the newest ones; None: all.
        adjusted
            Prices as traded are put into units of today's share by the splits, and follow the total return by the
            dividends, that have happened by now. Prices that a source had adjusted already are left as they are.

        Returns
        -------
        NDArray
            float64, shape (t, n), fewer rows where there are fewer.
        """
        if name not in FIELDS:
            raise UsageError(f"bars have no field {name!r}", f"there are: {', '.join(FIELDS)}")
        board = self._board.adjusted if adjusted else self._board.raw
        first = 0 if last is None else max(0, self._at + 1 - last)
        shown = board[FIELDS.index(name), first : self._at + 1, : self._width]
        shown.flags.writeable = False
        return shown

    def bars(self, symbols: Sequence[str] | None = None, last: int = 1, *, adjusted: bool = True) -> pl.DataFrame:
        """Bars as rows ``symbol, date, open, high, low, close, volume``, sorted by date; a missing bar has no row."""
        columns = np.arange(self._width) if symbols is None else self._columns(symbols)
        parts = {name: self.field(name, last, adjusted=adjusted)[:, columns] for name in FIELDS}
        rows = len(parts["close"])
        frame = pl.DataFrame(
            {
                "symbol": np.tile(np.array(self.symbols, dtype=object)[columns], rows).astype(str),
                "date": np.repeat(self.dates[len(self) - rows :], len(columns)),
                **{name: values.ravel() for name, values in parts.items()},
            }
        )
        return frame.filter(pl.col("close").is_not_nan()).with_columns(pl.col(FIELDS).fill_nan(None))

    def forecasts(self, last: int = 1) -> pl.DataFrame:
        """The forecasts of the newest ``last`` dates that have any: ``symbol, date, event_time, forecast``."""
        return self._feed.forecasts_of(self._at, last)

    @property
    def forecast_dates(self) -> int:
        """How many dates with forecasts there have been."""
        return self._feed.forecast_dates(self._at)

    def actions(self) -> pl.DataFrame:
        """Corporate actions that are known now, announced ones too: ``symbol, kind, date, ratio, amount``."""
        return self._feed.actions_of(self._at)

    @property
    def _width(self) -> int:
        return self._feed.width(self._at)

    def _columns(self, symbols: Sequence[str]) -> NDArray[np.int64]:
        place = {symbol: i for i, symbol in enumerate(self.symbols)}
        unknown = [symbol for symbol in symbols if symbol not in place]
        if unknown:
            raise DataError(f"no bar of {', '.join(unknown[:3])} is known by {self.date}", "ask for history.symbols")
        return np.array([place[symbol] for symbol in symbols], dtype=np.int64)


def moment(value: np.datetime64) -> dt.datetime:
    """A NumPy moment as a datetime in UTC."""
    plain: dt.datetime = value.astype("datetime64[us]").item()
    return plain.replace(tzinfo=dt.UTC)


def walk(feed: Feed, first: int = 0, until: int | None = None) -> Iterator[History]:
    """The histories of the decision times from ``first`` to ``until`` (both included), in order of time.

    What was known before ``first`` is in the first of them.
    """
    board = feed.board()
    for at in range(len(feed) if until is None else until + 1):
        board.write(at)
        if at >= first:
            yield History(moment(feed.nows[at]), feed.dates[at].item(), feed, board, at)
