"""Bars, corporate actions and weights laid out as arrays over sessions and symbols, checked on the way.

Symbols stand in alphabetical order, so that the order of rows and columns in the input cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest.rules import ACTIONS, DELISTING_ACTION, DIVIDEND_ACTION, PATIENCE, SPLIT, Fill
from aiquant.calendars import Sessions
from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROSS_LIMIT = 10.0
"""Gross exposure (Σ|w|) beyond which weights are taken for a mistake, such as percent for fractions."""

NET_SLACK = 0.01
"""By how much weights may sum to more than 1 without margin: rounded weights do; their buys are scaled."""

_SHOWN = 5


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
        named = _some([s for s, no in zip(self.symbols, without, strict=True) if no])
        return "next-close", f"bars of {named} have no opens: all orders fill at the next close"


@dataclass(frozen=True)
class Targets:
    """Decided weights.

    Attributes
    ----------
    weights
        Shape (d, n): a row a decision.
    sessions
        Position of each decision among all sessions, int64, ascending, shape (d,).
    symbols
        In alphabetical order, length n.
    """

    weights: NDArray[np.float64]
    sessions: NDArray[np.int64]
    symbols: list[str]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _days(frame: pl.DataFrame) -> NDArray[np.datetime64]:
    return frame["date"].to_numpy().astype("datetime64[D]")


def read_targets(weights: pa.Table, known: set[str], sessions: Sessions, *, allow_short: bool, margin: bool) -> Targets:
    """Check decided weights and lay them out.

    Parameters
    ----------
    weights
        At least ``date, symbol, weight``.
    known
        Symbols that have bars.

    Raises
    ------
    DataError
        When a column is missing; there is no row; a weight is no finite number, or negative where shorts are not
        allowed; a symbol has no bars; a date is no session; a symbol has two weights for a date; or the weights of a
        date sum to more than the account can pay.
    """
    missing = [name for name in ("date", "symbol", "weight") if name not in weights.column_names]
    if missing:
        raise DataError(f"weights lack the column(s) {', '.join(missing)}", "give date, symbol and weight")
    frame = pl.DataFrame(pl.from_arrow(weights.select(["date", "symbol", "weight"])))
    frame = frame.with_columns(pl.col("date").cast(pl.Date), pl.col("weight").cast(pl.Float64)).sort("date", "symbol")
    if not len(frame):
        raise DataError("weights have no row", "give at least one date with a weight")
    at = sessions.index_of(_days(frame))
    _check_weights(frame, at, known, sessions, allow_short=allow_short, margin=margin)
    symbols = sorted(frame["symbol"].unique().to_list())
    decided, row = np.unique(at, return_inverse=True)
    dense = np.zeros((len(decided), len(symbols)))
    dense[row, np.searchsorted(np.array(symbols), frame["symbol"].to_numpy().astype(str))] = frame["weight"].to_numpy()
    return Targets(dense, decided.astype(np.int64), symbols)


def _check_weights(
    frame: pl.DataFrame, at: NDArray[np.int64], known: set[str], sessions: Sessions, *, allow_short: bool, margin: bool
) -> None:
    bad = frame.filter(~pl.col("weight").is_finite().fill_null(False))
    if len(bad):
        raise DataError(f"weights: the weight of {bad['symbol'][0]} on {bad['date'][0]} is not a finite number")
    unknown = sorted(set(frame["symbol"].to_list()) - known)
    if unknown:
        raise DataError(f"weights: there are no bars of {_some(unknown)}", "ingest their bars, or leave them out")
    outside = frame.filter(pl.Series(at < 0))["date"].unique().sort()
    if len(outside):
        named = _some([str(day) for day in outside.to_list()])
        raise DataError(
            f"weights: no session of {sessions.calendar} with bars on {named}",
            "date each weight by the session at whose close it is decided, or name the calendar of the bars",
        )
    twice = frame.filter(pl.struct("date", "symbol").is_duplicated())
    if len(twice):
        raise DataError(f"weights: {twice['symbol'][0]} has more than one weight on {twice['date'][0]}")
    if not allow_short:
        short = frame.filter(pl.col("weight") < 0)
        if len(short):
            raise DataError(
                f"weights: {short['symbol'][0]} has the negative weight {short['weight'][0]:g} on {short['date'][0]}",
                "set backtest.allow_short = true, or give weights of zero or more",
            )
    _check_sums(frame, margin)


def _check_sums(frame: pl.DataFrame, margin: bool) -> None:
    sums = frame.group_by("date").agg(net=pl.col("weight").sum(), gross=pl.col("weight").abs().sum()).sort("date")
    wild = sums.filter(pl.col("gross") > GROSS_LIMIT * (1 + 1e-9))
    if len(wild):
        raise DataError(
            f"weights: the sizes of {wild['date'][0]} sum to {wild['gross'][0]:g}, more than {GROSS_LIMIT:g}",
            "weights are fractions of equity: 0.05 is 5 %",
        )
    dear = sums.filter(pl.col("net") > 1 + NET_SLACK)
    if len(dear) and not margin:
        raise DataError(
            f"weights: those of {dear['date'][0]} sum to {dear['net'][0]:g}, more than the account can pay",
            "scale them to 1, or set backtest.margin = true",
        )


def read_bars(bars: pa.Table, sessions: Sessions) -> pl.DataFrame:
    """Check daily bars: ``session, date, symbol, open, close, adjustment``, sorted by symbol and session.

    Raises
    ------
    DataError
        When there is no bar; bars of several intervals are mixed; a close or an open is not a positive number; a symbol
        has two bars on a date; or no bar lies on a session.
    """
    frame = pl.DataFrame(pl.from_arrow(bars.select(["symbol", "interval", "date", "open", "close", "adjustment"])))
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
    frame = frame.with_columns(session=pl.Series(sessions.index_of(_days(frame)))).sort("symbol", "date")
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
    """
    notes: list[str] = []
    strays = int((bars["session"] < 0).sum())
    if strays:
        notes.append(f"{strays} bar(s) on days that are no session of {sessions.calendar} were left out")
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
        notes.append(f"{late} decision(s) after the last bar were left out")
    shape = (end - first, len(targets.symbols))
    row = held["session"].to_numpy() - first
    column = np.searchsorted(np.array(targets.symbols), held["symbol"].to_numpy().astype(str))
    prices = {}
    for name in ("open", "close"):
        prices[name] = np.full(shape, np.nan)
        prices[name][row, column] = held[name].fill_null(np.nan).to_numpy()
    events, said = _events(bars, targets.symbols, sessions.dates[first:end], actions)
    return Market(
        symbols=targets.symbols,
        dates=sessions.dates[first:end],
        opens=sessions.opens[first:end],
        closes=sessions.closes[first:end],
        open=prices["open"],
        close=prices["close"],
        trading=trading,
        actions=events,
        notes=(*notes, *said),
    )


def _events(
    bars: pl.DataFrame, symbols: list[str], dates: NDArray[np.datetime64], actions: pa.Table | None
) -> tuple[NDArray[np.float64], list[str]]:
    """Actions that the prices do not contain already, as rows of :attr:`Market.actions`."""
    kinds = bars.filter(pl.col("symbol").is_in(symbols)).group_by("symbol").agg(pl.col("adjustment").unique())
    mixed = sorted(symbol for symbol, found in kinds.iter_rows() if len(found) > 1)
    if mixed:
        raise DataError(f"bars: {_some(mixed)} has bars of different adjustments", "keep the bars of one source")
    if actions is None or not actions.num_rows:
        return np.empty((0, 4)), []
    adjustment = {symbol: found[0] for symbol, found in kinds.iter_rows()}
    frame = pl.DataFrame(pl.from_arrow(actions.select(["symbol", "kind", "date", "ratio", "amount"])))
    frame = frame.filter(pl.col("symbol").is_in(symbols)).sort("date", "symbol", "kind")
    ratios: dict[str, list[tuple[date, float]]] = {}
    for symbol, _, day, ratio, _ in frame.filter(pl.col("kind") == "split").iter_rows():
        ratios.setdefault(symbol, []).append((day, ratio))
    rows, ignored = [], set()
    for symbol, kind, day, ratio, amount in frame.iter_rows():
        code, adjusted = ACTIONS.index(kind), adjustment[symbol]
        if (code == SPLIT and adjusted != "none") or (code == DIVIDEND_ACTION and adjusted not in ("none", "splits")):
            if adjusted not in ("splits",):
                ignored.add(symbol)
            continue
        at = int(np.searchsorted(dates, np.datetime64(day), side="right" if code == DELISTING_ACTION else "left"))
        at -= code == DELISTING_ACTION
        if not 0 <= at < len(dates) or (at == 0 and code != DELISTING_ACTION and np.datetime64(day) < dates[0]):
            continue
        value = ratio if code == SPLIT else amount
        if (
            adjusted != "none" and value is not None
        ):  # cash is declared for a share of its day, prices are in later ones
            value /= float(np.prod([r for d, r in ratios.get(symbol, []) if d > day] or [1.0]))
        _check_value(symbol, kind, day, value)
        rows.append((at, symbols.index(symbol), code, np.nan if value is None else value))
    events = np.array(sorted(rows, key=lambda r: (r[0], r[2], r[1])), dtype=np.float64).reshape(-1, 4)
    if not ignored:
        return events, []
    named = _some(sorted(ignored))
    return events, [
        f"the prices of {named} are adjusted already (or it is not known): splits and dividends were not applied"
    ]


def _check_value(symbol: str, kind: str, day: date, value: float | None) -> None:
    if kind == "delisting" and value is None:
        return
    if value is None or not np.isfinite(value) or value < 0 or (kind == "split" and value == 0):
        raise DataError(f"corporate actions: the {kind} of {symbol} on {day} has the value {value}")
