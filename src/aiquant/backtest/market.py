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


@dataclass(frozen=True)
class Bars:
    """Checked daily bars.

    Attributes
    ----------
    symbols
        All that have bars, in alphabetical order.
    rows
        ``code`` (place of the symbol), ``date``, ``open``, ``close``, ``session`` (place among all, −1 for none).
    adjustment
        What the prices of each symbol were adjusted for: one word, or more where its bars differ.
    """

    symbols: list[str]
    rows: pl.DataFrame
    adjustment: dict[str, list[str]]


def read_bars(bars: pa.Table, sessions: Sessions) -> Bars:
    """Check daily bars.

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
    _check_prices(frame)
    symbols = frame["symbol"].unique().sort().to_list()
    kinds = frame.group_by("symbol").agg(pl.col("adjustment").unique().sort())
    code = pl.col("symbol").cast(pl.Enum(symbols)).to_physical().cast(pl.Int64)
    rows = frame.select(code.alias("code"), "date", "open", "close")
    twice = rows.filter((pl.col("code") * 2**32 + pl.col("date").to_physical()).is_duplicated()).sort("code", "date")
    if len(twice):
        raise DataError(f"bars: {symbols[twice['code'][0]]} has more than one bar on {twice['date'][0]}")
    rows = rows.with_columns(session=pl.Series(sessions.index_of(rows["date"].to_numpy())))
    if not (rows["session"] >= 0).any():
        raise DataError(f"bars: none lies on a session of {sessions.calendar}", "name the calendar of the bars")
    return Bars(symbols, rows, dict(kinds.iter_rows()))


def _check_prices(frame: pl.DataFrame) -> None:
    for name, allowed in (("close", False), ("open", True)):
        good = pl.col(name).is_finite() & (pl.col(name) > 0)
        bad = frame.filter(~good.fill_null(allowed))
        if len(bad):
            raise DataError(
                f"bars: the {name} of {bad['symbol'][0]} on {bad['date'][0]} is {bad[name][0]}, not a positive number",
                "bars that break an invariant belong to the dead letters: ingest the file again",
            )


def lay_out(bars: Bars, targets: Targets, sessions: Sessions, last: date | None, actions: pa.Table | None) -> Market:
    """The market that ``targets`` trade in, from shortly before the first decision to the last bar (or ``last``).

    Raises
    ------
    DataError
        When ``last`` lies before the first decision, or a symbol's bars are adjusted in different ways.
    """
    decided = int(targets.sessions[0])
    if last is not None and np.datetime64(last) < sessions.dates[decided]:
        raise DataError(f"the run ends on {last}, before the first decision on {sessions.dates[decided]}")
    first = max(0, decided - PATIENCE)  # an older close would be too old to size on
    inside = pl.col("session") >= first
    if last is not None:
        inside &= pl.col("date") <= last
    seen = bars.rows.filter(inside)
    session = seen["session"].to_numpy() - first
    end = max(decided, first + int(session.max(initial=0))) + 1
    trading = np.zeros(end - first, dtype=np.bool_)
    trading[session] = True
    place = {symbol: i for i, symbol in enumerate(targets.symbols)}
    column = np.array([place.get(symbol, -1) for symbol in bars.symbols])[seen["code"].to_numpy()]
    held = column >= 0
    prices = {}
    for name in ("open", "close"):
        prices[name] = np.full((end - first, len(targets.symbols)), np.nan)
        prices[name][session[held], column[held]] = seen[name].to_numpy()[held]
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
        notes=(*_left_out(bars, targets, sessions, end), *said),
    )


def _left_out(bars: Bars, targets: Targets, sessions: Sessions, end: int) -> list[str]:
    strays, late = int((bars.rows["session"] < 0).sum()), int((targets.sessions >= end).sum())
    notes = [f"{strays} bar(s) on days that are no session of {sessions.calendar} were left out"] if strays else []
    return notes + ([f"{late} decision(s) after the last session of the run were left out"] if late else [])


def _adjustments(bars: Bars, symbols: list[str]) -> dict[str, str]:
    mixed = [symbol for symbol in symbols if len(bars.adjustment[symbol]) > 1]
    if mixed:
        raise DataError(f"bars: those of {some(mixed)} are adjusted in different ways", "keep the bars of one source")
    return {symbol: bars.adjustment[symbol][0] for symbol in symbols}
