"""Bars and corporate actions laid out as arrays over bars and symbols, checked on the way.

Symbols stand in alphabetical order, so that the order of rows and columns in the input cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest import axis as axes
from aiquant.backtest import bar_costs, corporate
from aiquant.backtest.axis import Axis
from aiquant.backtest.naming import some
from aiquant.backtest.rules import DELISTING_ACTION, PATIENCE, SPLIT, Fill
from aiquant.backtest.targets import Targets
from aiquant.backtest.terms import Terms, rates_of, read_terms
from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.settings import BacktestSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


_COLUMNS = ["symbol", "interval", "date", "open", "close", "adjustment"]
_PRICES = ("open", "high", "low", "close", "vwap")


def columns_of(settings: BacktestSettings) -> tuple[str, ...]:
    """Columns of bars that the rules read beside opens and closes."""
    wanted = []
    if settings.stop_loss or settings.take_profit or settings.trailing_stop:
        wanted += ["high", "low"]
    if settings.participation or settings.impact:
        wanted.append("volume")
    if settings.fill == "vwap":
        wanted.append("vwap")
    return tuple(wanted)


@dataclass(frozen=True)
class Market:
    """Prices and actions of the bars of a run.

    Attributes
    ----------
    symbols
        In alphabetical order, length n.
    axis
        The bars, t of them.
    prices
        ``open``, ``close`` and what the rules read besides (``high``, ``low``, ``vwap``, ``volume``), float64, shape
        (t, n), NaN where there is none; prices in the account's currency.
    slippage, impact
        As :class:`aiquant.backtest.ledger.Tape` has them; empty where no rule reads them.
    trading
        Whether any symbol at all has a bar, bool, shape (t,).
    actions
        Rows ``(bar, symbol, kind, value)``, float64, shape (a, 4), sorted by bar, kind and symbol.
    terms
        What differs from symbol to symbol.
    per_year
        Sessions a year.
    adjusted
        Whether prices of any symbol are known to be adjusted.
    notes
        What was left out or taken differently than asked, for the reader of the result.
    """

    symbols: list[str]
    axis: Axis
    prices: dict[str, NDArray[np.float64]]
    slippage: NDArray[np.float64]
    impact: NDArray[np.float64]
    trading: NDArray[np.bool_]
    actions: NDArray[np.float64]
    terms: Terms
    per_year: float
    adjusted: bool
    notes: tuple[str, ...]

    @property
    def dates(self) -> NDArray[np.datetime64]:
        """``datetime64[D]``, shape (t,): the session of each bar."""
        return self.axis.dates

    @property
    def opens(self) -> NDArray[np.datetime64]:
        """``datetime64[us]``, UTC, shape (t,): when each bar begins."""
        return self.axis.opens

    @property
    def closes(self) -> NDArray[np.datetime64]:
        """``datetime64[us]``, UTC, shape (t,): when each bar ends."""
        return self.axis.closes

    @property
    def open(self) -> NDArray[np.float64]:
        """Opens, shape (t, n)."""
        return self.prices["open"]

    @property
    def close(self) -> NDArray[np.float64]:
        """Closes, shape (t, n)."""
        return self.prices["close"]

    def fill_time(self, weighted: NDArray[np.bool_], asked: str = "next-open") -> tuple[Fill, str]:
        """When orders can fill: as asked, or at the next close with the reason why.

        Parameters
        ----------
        weighted
            Which symbols ever have a weight, bool, shape (n,).
        asked
            ``next-open``, ``close`` or ``vwap``, as the settings have it.
        """
        if asked == "close":
            return "next-close", ""
        fill: Fill = "next-open" if asked == "next-open" else "next-vwap"
        name, word = ("open", "opens") if fill == "next-open" else ("vwap", "volume-weighted average prices")
        without = weighted & ~np.isfinite(self.prices[name]).any(axis=0) & np.isfinite(self.close).any(axis=0)
        if not without.any():
            return fill, ""
        if without[weighted].all():
            return "next-close", f"the bars have no {word}: orders fill at the next close"
        named = some([s for s, no in zip(self.symbols, without, strict=True) if no])
        return "next-close", f"bars of {named} have no {word}: all orders fill at the next close"


@dataclass(frozen=True)
class Bars:
    """Checked bars.

    Attributes
    ----------
    symbols
        All that have bars, in alphabetical order.
    interval
        Of all bars.
    axis
        All bars that the account could step through.
    rows
        ``code`` (place of the symbol), ``date``, prices and volume, ``place`` (on the axis, −1 for none).
    adjustment
        What the prices of each symbol were adjusted for: one word, or more where its bars differ.
    """

    symbols: list[str]
    interval: str
    axis: Axis
    rows: pl.DataFrame
    adjustment: dict[str, list[str]]


def read_bars(bars: pa.Table, sessions: Sessions, settings: BacktestSettings) -> Bars:
    """Check bars.

    Raises
    ------
    DataError
        When there is no bar; bars of several intervals are mixed; a close, or another price that the rules read, is not
        a positive number; a volume is negative, or they are asked for and there are none; a symbol has two bars at a
        time; or no bar lies on a session.
    """
    missing = [name for name in _COLUMNS if name not in bars.column_names]
    if missing:
        raise DataError(f"bars lack the column(s) {', '.join(missing)}", "pass them in the schema of the table bars")
    more = columns_of(settings)
    frame = pl.DataFrame(
        pl.from_arrow(bars.select([n for n in (*_COLUMNS, *more, "event_time") if n in bars.column_names]))
    )
    if not len(frame):
        raise DataError("there are no bars to trade on", "ingest bars first")
    frame = frame.with_columns(pl.lit(None, pl.Float64).alias(n) for n in more if n not in frame.columns)
    intervals = sorted(frame["interval"].unique().to_list())
    if len(intervals) > 1:
        raise DataError(f"bars of interval {', '.join(intervals)} were given", "pass bars of one interval")
    _check_prices(frame)
    symbols = frame["symbol"].unique().sort().to_list()
    kinds = frame.group_by("symbol").agg(pl.col("adjustment").unique().sort())
    code = pl.col("symbol").cast(pl.Enum(symbols)).to_physical().cast(pl.Int64)
    axis, place = _placed(frame, sessions, intervals[0])
    rows = frame.select(code.alias("code"), "date", "open", "close", *more).with_columns(place=pl.Series(place))
    _check_once(rows.filter(pl.col("place") >= 0), symbols, axis)
    return Bars(symbols, intervals[0], axis, rows, dict(kinds.iter_rows()))


def _placed(frame: pl.DataFrame, sessions: Sessions, interval: str) -> tuple[Axis, NDArray[np.int64]]:
    session = sessions.index_of(frame["date"].to_numpy())
    inside = session >= 0
    if not inside.any():
        raise DataError(f"bars: none lies on a session of {sessions.calendar}", "name the calendar of the bars")
    if interval.endswith("d"):
        return axes.of_sessions(sessions), session
    if "event_time" not in frame.columns:
        raise DataError("bars lack the column(s) event_time", "pass them in the schema of the table bars")
    moments = frame["event_time"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
    axis = axes.of_moments(moments[inside], sessions, session[inside], interval)
    return axis, np.where(inside, np.searchsorted(axis.closes, moments), -1).astype(np.int64)


def _check_once(rows: pl.DataFrame, symbols: list[str], axis: Axis) -> None:
    twice = rows.filter((pl.col("code") * 2**32 + pl.col("place")).is_duplicated()).sort("code", "place")
    if len(twice):
        at = twice["place"][0]
        when = twice["date"][0] if axis.daily else f"closing at {axis.closes[at]}"
        raise DataError(f"bars: {symbols[twice['code'][0]]} has more than one bar {'on ' if axis.daily else ''}{when}")


def _check_prices(frame: pl.DataFrame) -> None:
    for name in frame.columns:
        if name in _PRICES:
            good, told = pl.col(name).is_finite() & (pl.col(name) > 0), "a positive number"
        elif name == "volume":
            good, told = pl.col(name).is_finite() & (pl.col(name) >= 0), "a number of zero or more"
        else:
            continue
        bad = frame.filter(~good.fill_null(name != "close"))
        if len(bad):
            raise DataError(
                f"bars: the {name} of {bad['symbol'][0]} on {bad['date'][0]} is {bad[name][0]}, not {told}",
                "bars that break an invariant belong to the dead letters: ingest the file again",
            )
    if "volume" in frame.columns and not frame["volume"].is_not_null().any():
        raise DataError(
            "the bars have no volumes, which backtest.participation and backtest.impact need",
            "set both to 0, or pass bars with volumes",
        )


def lay_out(
    bars: Bars,
    targets: Targets,
    sessions: Sessions,
    settings: BacktestSettings,
    last: date | None = None,
    actions: pa.Table | None = None,
    *,
    instruments: pa.Table | None = None,
    fx: pa.Table | None = None,
) -> Market:
    """The market that ``targets`` trade in, from shortly before the first decision to the last bar (or ``last``).

    Raises
    ------
    DataError
        When ``last`` lies before the first decision, a symbol's bars are adjusted in different ways, or terms and
        exchange rates are not what they have to be: see :mod:`aiquant.backtest.terms`.
    """
    decided = int(targets.sessions[0])
    if last is not None and np.datetime64(last) < sessions.dates[decided]:
        raise DataError(f"the run ends on {last}, before the first decision on {sessions.dates[decided]}")
    # An older close would be too old to size on; costs by volatility and volume look further back.
    measured = settings.slippage_volatility or settings.impact
    first, end = _span(bars, sessions, decided, PATIENCE + (settings.cost_window + 1 if measured else 0), last)
    axis = bars.axis.part(first, end)
    inside = (pl.col("place") >= first) & (pl.col("place") < end)
    if last is not None:
        inside &= pl.col("date") <= last
    seen = bars.rows.filter(inside)
    place = seen["place"].to_numpy() - first
    trading = np.zeros(len(axis), dtype=np.bool_)
    trading[place] = True
    names = ("open", "close", *columns_of(settings))
    prices = {name: _columns(name, seen, place, bars, targets.symbols, len(axis)) for name in names}
    adjustment = _adjustments(bars, targets.symbols)
    events, said = np.empty((0, 4)), list[str]()
    if actions is not None:
        events, said = corporate.events(actions, adjustment, targets.symbols, axis.dates, sessions.dates)
    terms = read_terms(instruments, targets.symbols, settings)
    if "currency" in terms.given:
        opening, closing, old = rates_of(fx, terms, axis.dates, axis.session_end)
        _exchange(prices, events, (opening, closing))
        said += old
    if "high" in prices:
        said += _ranges(prices)
    slippage, impact, unknown = bar_costs.of(
        settings, terms, len(axis), _measured(bars, seen, place, axis, sessions, targets, actions) if measured else None
    )
    return Market(
        symbols=targets.symbols,
        axis=axis,
        prices=prices,
        slippage=slippage,
        impact=impact,
        trading=trading,
        actions=events,
        terms=terms,
        per_year=sessions.per_year,
        adjusted=any(kind.startswith("splits") for kind in adjustment.values()),
        notes=(*_left_out(bars, targets, sessions, axis), *said, *unknown),
    )


def _columns(
    name: str, seen: pl.DataFrame, place: NDArray[np.int64], bars: Bars, symbols: list[str], count: int
) -> NDArray[np.float64]:
    """A column of the bars as a table of bars and ``symbols``, NaN where there is none."""
    column_of = {symbol: i for i, symbol in enumerate(symbols)}
    column = np.array([column_of.get(symbol, -1) for symbol in bars.symbols])[seen["code"].to_numpy()]
    held = column >= 0
    values = np.full((count, len(symbols)), np.nan)
    values[place[held], column[held]] = seen[name].to_numpy()[held]
    return values


def _measured(
    bars: Bars,
    seen: pl.DataFrame,
    place: NDArray[np.int64],
    axis: Axis,
    sessions: Sessions,
    targets: Targets,
    actions: pa.Table | None,
) -> bar_costs.Measured:
    """What σ and volume are measured on: closes and volumes of all symbols that have bars."""
    factor = np.ones((len(axis), len(bars.symbols)))
    if actions is not None:
        # Of another symbol whose bars are adjusted in different ways no split is known to be in its prices or not.
        kinds = {symbol: told[0] if len(told) == 1 else "unknown" for symbol, told in bars.adjustment.items()}
        happened, _ = corporate.events(actions, kinds, bars.symbols, axis.dates, sessions.dates)
        for bar, symbol, kind, ratio in happened:
            if kind == SPLIT:
                factor[int(bar) :, int(symbol)] *= ratio
    return bar_costs.Measured(
        close=_columns("close", seen, place, bars, bars.symbols, len(axis)),
        volume=_columns("volume", seen, place, bars, bars.symbols, len(axis)) if "volume" in seen.columns else None,
        factor=factor,
        place=np.searchsorted(np.array(bars.symbols), np.array(targets.symbols)),
    )


def _span(bars: Bars, sessions: Sessions, decided: int, back: int, last: date | None) -> tuple[int, int]:
    """First bar, and the one after the last, of a run whose first decision is of session ``decided``."""
    first = int(np.searchsorted(bars.axis.session, max(0, decided - back)))
    if not bars.axis.daily:
        end = len(bars.axis)
        if last is not None:
            end = int(np.searchsorted(bars.axis.dates, np.datetime64(last), side="right"))
        if end <= first:
            raise DataError(f"there are no bars from the first decision on {sessions.dates[decided]} on")
        return first, end
    seen = bars.rows["place"] if last is None else bars.rows.filter(pl.col("date") <= last)["place"]
    return first, max(decided, int(seen.max() if len(seen) else decided)) + 1  # type: ignore[arg-type]


def _exchange(
    prices: dict[str, NDArray[np.float64]],
    events: NDArray[np.float64],
    rates: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """Turn prices and amounts into the account's currency: what a bar knows at its open, and its close."""
    opening, closing = rates
    for name, values in prices.items():
        if name != "volume":
            values *= closing if name == "close" else opening
    for row in events:
        if row[2] != SPLIT:
            row[3] *= (closing if row[2] == DELISTING_ACTION else opening)[int(row[0]), int(row[1])]


def _ranges(prices: dict[str, NDArray[np.float64]]) -> list[str]:
    """Give every bar a high and a low that hold its open and close; without one a bar is its open and close alone."""
    unknown = int((np.isfinite(prices["close"]) & ~(np.isfinite(prices["high"]) & np.isfinite(prices["low"]))).sum())
    for name, widen in (("high", np.fmax), ("low", np.fmin)):
        values = widen(prices[name], widen(prices["open"], prices["close"]))
        prices[name] = np.where(np.isfinite(prices["close"]), values, np.nan)
    return [f"{unknown} bar(s) have no high or low: stops saw their open and close alone"] if unknown else []


def _left_out(bars: Bars, targets: Targets, sessions: Sessions, axis: Axis) -> list[str]:
    strays, late = int((bars.rows["place"] < 0).sum()), int((targets.sessions > axis.session[-1]).sum())
    notes = [f"{strays} bar(s) on days that are no session of {sessions.calendar} were left out"] if strays else []
    return notes + ([f"{late} decision(s) after the last session of the run were left out"] if late else [])


def _adjustments(bars: Bars, symbols: list[str]) -> dict[str, str]:
    mixed = [symbol for symbol in symbols if len(bars.adjustment[symbol]) > 1]
    if mixed:
        raise DataError(f"bars: those of {some(mixed)} are adjusted in different ways", "keep the bars of one source")
    return {symbol: bars.adjustment[symbol][0] for symbol in symbols}
