"""Bars and corporate actions laid out as arrays over sessions and symbols, checked on the way.

Symbols stand in alphabetical order, so that the order of rows and columns in the input cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest import corporate
from aiquant.backtest.naming import some
from aiquant.backtest.rules import PATIENCE, Fill
from aiquant.backtest.targets import Targets
from aiquant.calendars import Sessions
from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


_COLUMNS = ["symbol", "interval", "date", "open", "close", "adjustment"]


@dataclass(frozen=True)
class Market:
    """Prices and actions of the sessions of a run.

    Attributes
    ----------
    symbols
        In alphabetical order, length n.
    dates
        ``datetime64[D]``, shape (t,): sessions.
    opens, closes
        ``datetime64[us]``, UTC, shape (t,): when the sessions begin and end.
    open, close
        Prices, float64, shape (t, n), NaN where there is none.
    trading
        Whether any symbol at all has a bar, bool, shape (t,).
    actions
        Rows ``(session, symbol, kind, value)``, float64, shape (a, 4), sorted by session, kind and symbol.
    adjusted
        Whether prices of any symbol are known to be adjusted.
    notes
        What was left out or taken differently than asked, for the reader of the result.
    """

    symbols: list[str]
    dates: NDArray[np.datetime64]
    opens: NDArray[np.datetime64]
    closes: NDArray[np.datetime64]
    open: NDArray[np.float64]
    close: NDArray[np.float64]
    trading: NDArray[np.bool_]
    actions: NDArray[np.float64]
    adjusted: bool
    notes: tuple[str, ...]

    def fill_time(self, weighted: NDArray[np.bool_]) -> tuple[Fill, str]:
        """When orders can fill: at the next open, or at the next close with the reason why.

        Parameters
        ----------
        weighted
            Which symbols ever have a weight, bool, shape (n,).
        """
        without = weighted & ~np.isfinite(self.open).any(axis=0) & np.isfinite(self.close).any(axis=0)
        if not without.any():
            return "next-open", ""
        if without[weighted].all():
            return "next-close", "the bars have no opens: orders fill at the next close"
        named = some([s for s, no in zip(self.symbols, without, strict=True) if no])
        return "next-close", f"bars of {named} have no opens: all orders fill at the next close"


def read_bars(bars: pa.Table, sessions: Sessions) -> pl.DataFrame:
    """Check daily bars: ``session, date, symbol, open, close, adjustment``, sorted by symbol and session.

    Raises
    ------
    DataError
        When there is no bar; bars of several intervals are mixed; a close or an open is not a positive number; a symbol
        has two bars on a date; or no bar lies on a session.
    """
    missing = [name for name in _COLUMNS if name not in bars.column_names]
    if missing:
        raise DataError(f"bars lack the column(s) {', '.join(missing)}", "pass them in the schema of the table bars")
    frame = pl.DataFrame(pl.from_arrow(bars.select(_COLUMNS)))
    if not len(frame):
        raise DataError("there are no bars to trade on", "ingest bars first")
    intervals = sorted(frame["interval"].unique().to_list())
    if len(intervals) > 1 or not intervals[0].endswith("d"):
        raise DataError(f"bars of interval {', '.join(intervals)} were given", "pass daily bars of one interval")
    for name, allowed in (("close", False), ("open", True)):
        good = pl.col(name).is_finite() & (pl.col(name) > 0)
        bad = frame.filter(~good.fill_null(allowed))
        if len(bad):
            raise DataError(
                f"bars: the {name} of {bad['symbol'][0]} on {bad['date'][0]} is {bad[name][0]}, not a positive number",
                "bars that break an invariant belong to the dead letters: ingest the file again",
            )
    frame = frame.with_columns(session=pl.Series(sessions.index_of(frame["date"].to_numpy()))).sort("symbol", "date")
    twice = frame.filter(pl.struct("symbol", "date").is_duplicated())
    if len(twice):
        raise DataError(f"bars: {twice['symbol'][0]} has more than one bar on {twice['date'][0]}")
    if not (frame["session"] >= 0).any():
        raise DataError(f"bars: none lies on a session of {sessions.calendar}", "name the calendar of the bars")
    return frame


def lay_out(
    bars: pl.DataFrame, targets: Targets, sessions: Sessions, last: date | None, actions: pa.Table | None
) -> Market:
    """The market that ``targets`` trade in, from shortly before the first decision to the last bar (or ``last``).

    Parameters
    ----------
    bars
        As :func:`read_bars` gives them.

    Raises
    ------
    DataError
        When ``last`` lies before the first decision, or a symbol's bars are adjusted in different ways.
    """
    notes: list[str] = []
    strays = int((bars["session"] < 0).sum())
    if strays:
        notes.append(f"{strays} bar(s) on days that are no session of {sessions.calendar} were left out")
    decided = sessions.dates[targets.sessions[0]]
    if last is not None and np.datetime64(last) < decided:
        raise DataError(f"the run ends on {last}, before the first decision on {decided}", "ask for a later end")
    first = max(0, int(targets.sessions[0]) - PATIENCE)
    inside = pl.col("session") >= first
    if last is not None:
        inside &= pl.col("date") <= last
    seen = bars.filter(inside)
    end = int(max([targets.sessions[0], *seen["session"].unique()])) + 1
    trading = np.zeros(end - first, dtype=np.bool_)
    trading[seen["session"].to_numpy() - first] = True
    held = seen.filter(pl.col("symbol").is_in(targets.symbols))
    late = int((targets.sessions >= end).sum())
    if late:
        notes.append(f"{late} decision(s) after the last session of the run were left out")
    shape = (end - first, len(targets.symbols))
    row = held["session"].to_numpy() - first
    column = np.searchsorted(np.array(targets.symbols), held["symbol"].to_numpy().astype(str))
    prices = {}
    for name in ("open", "close"):
        prices[name] = np.full(shape, np.nan)
        prices[name][row, column] = held[name].fill_null(np.nan).to_numpy()
    adjustment = _adjustments(bars, targets.symbols)
    events, said = np.empty((0, 4)), list[str]()
    if actions is not None:
        events, said = corporate.events(actions, adjustment, targets.symbols, sessions.dates[first:end])
    return Market(
        symbols=targets.symbols,
        dates=sessions.dates[first:end],
        opens=sessions.opens[first:end],
        closes=sessions.closes[first:end],
        open=prices["open"],
        close=prices["close"],
        trading=trading,
        actions=events,
        adjusted=any(kind.startswith("splits") for kind in adjustment.values()),
        notes=(*notes, *said),
    )


def _adjustments(bars: pl.DataFrame, symbols: list[str]) -> dict[str, str]:
    """What the prices of each symbol were adjusted for."""
    found = bars.filter(pl.col("symbol").is_in(symbols)).group_by("symbol").agg(pl.col("adjustment").unique())
    mixed = sorted(symbol for symbol, kinds in found.iter_rows() if len(kinds) > 1)
    if mixed:
        raise DataError(f"bars: those of {some(mixed)} are adjusted in different ways", "keep the bars of one source")
    return {symbol: kinds[0] for symbol, kinds in found.iter_rows()}
