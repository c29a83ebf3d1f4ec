"""Corporate actions applied to bars that are kept as traded.

Prices are adjusted *forward*: from a 2-for-1 split on, prices are doubled and volumes halved, so that all are in units
of a share of the beginning. What was computed before the split stays what it was, to the last bit; adjusting
backwards, as charts do, would rewrite the past with each new split. The factor of a bar is the product over all
actions of its symbol up to that bar, in the order of their dates, so it does not depend on where the bars begin.

An action counts from the first bar of its date or later whose ``event_time`` is not before the action's own.

With ``dividends`` a cash dividend D raises the factor by P / (P − D), P being the last close before its date: prices
then follow the total return (the method of CRSP and of most vendors' adjusted closes, turned forward).
Dividends before the first bar have no such close, so the level of total-return prices depends on where the bars begin;
features, which are ratios, do not, but for rounding.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.features.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRICES = ("open", "high", "low", "close", "vwap")
"""Fields of a bar that a split multiplies; it divides the volume."""


def newest(actions: pa.Table) -> pl.DataFrame:
    """Actions in the order of symbol and date, the newest known version of each."""
    frame = pl.DataFrame(pl.from_arrow(actions))
    if "known_from" in frame.columns:
        frame = frame.sort("known_from")
    return frame.unique(["symbol", "kind", "date"], keep="last").sort("symbol", "date", "kind")


def place(laid: Grid, actions: pl.DataFrame) -> pl.DataFrame:
    """Find the bar from which each action counts.

    Returns
    -------
    polars.DataFrame
        The actions of symbols that have such a bar, with ``row``: its position among the rows of the grid.
    """
    code = {symbol: k for k, symbol in enumerate(laid.symbols)}
    date = laid.rows["date"].to_numpy()
    moment = laid.rows["event_time"].dt.timestamp("us").to_numpy()
    rows: list[int] = []
    known = actions.with_columns(pl.col("event_time").dt.timestamp("us").alias("us"))
    for symbol, day, us in known.select("symbol", "date", "us").iter_rows():
        k = code.get(symbol)
        if k is None:
            rows.append(-1)
            continue
        begin, end = int(laid.row_starts[k]), int(laid.row_starts[k + 1])
        at = begin + int(np.searchsorted(date[begin:end], np.datetime64(day, "D")))
        at = max(at, begin + int(np.searchsorted(moment[begin:end], us)))
        rows.append(at if at < end else -1)
    return actions.with_columns(pl.Series("row", rows, dtype=pl.Int64)).filter(pl.col("row") >= 0)


def apply(laid: Grid, actions: pa.Table | None, dividends: bool = False) -> Grid:
    """The grid with adjusted prices and volumes.

    Parameters
    ----------
    actions
        Rows of :data:`aiquant.schemas.CORPORATE_ACTIONS`; None leaves all as it is.
    dividends
        Whether prices follow the total return.

    Raises
    ------
    DataError
        When bars that an action concerns do not say whether it was applied to them already.
    """
    if actions is None or not actions.num_rows or not laid.symbols:
        return laid
    placed = place(laid, newest(actions).filter(pl.col("kind").is_in(["split", "dividend"])))
    if placed.is_empty():
        return laid
    splits, cash = wanted(laid, placed)
    price, split = np.ones(laid.rows.height), np.ones(laid.rows.height)
    close = laid.rows["close"].to_numpy()
    starts = set(laid.row_starts.tolist())
    for kind, ratio, amount, row in placed.select("kind", "ratio", "amount", "row").iter_rows():
        if kind == "split" and splits[row]:
            price[row] *= ratio
            split[row] *= ratio
        elif kind == "dividend" and dividends and cash[row] and row not in starts and amount < close[row - 1]:
            price[row] *= close[row - 1] / (close[row - 1] - amount)
    price, split = _accumulate(laid, price), _accumulate(laid, split)
    adjusted = [(pl.col(name) * pl.Series(price)).alias(name) for name in PRICES]
    return replace(laid, rows=laid.rows.with_columns(*adjusted, (pl.col("volume") / pl.Series(split)).alias("volume")))


def wanted(laid: Grid, placed: pl.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each row whether splits, and whether dividends, still have to be applied to it.

    Raises
    ------
    DataError
        When a row from which an action counts does not say so (``adjustment`` is unknown).
    """
    told = laid.rows["adjustment"] if "adjustment" in laid.rows.columns else pl.Series(["none"] * laid.rows.height)
    unknown = placed.filter(told.gather(placed["row"]) == "unknown")
    if len(unknown):
        first = unknown.row(0, named=True)
        raise _unsaid(first["symbol"], first["kind"], first["date"])
    return (told == "none").to_numpy(), told.is_in(["none", "splits"]).to_numpy()


def _unsaid(symbol: str, kind: str, day: date) -> DataError:
    return DataError(
        f"the bars of {symbol} do not say whether they hold the {kind} of {day}",
        'set data.adjustment to "none", "splits" or "splits+dividends" and import them again, or give no actions',
    )


def _accumulate(laid: Grid, factor: NDArray[np.float64]) -> NDArray[np.float64]:
    for begin, end in zip(laid.row_starts[:-1], laid.row_starts[1:], strict=True):
        factor[begin:end] = np.cumprod(factor[begin:end])
    return factor


_Split = tuple[int, int, float]
"""Date (days since 1970), moment (µs since 1970) and ratio."""


class Running:
    """Splits as bars come one after the other: the factors of :func:`apply`, bar by bar.

    Symbols are known by their position, in the order in which :meth:`grow` was told of them.

    Attributes
    ----------
    factor
        float64, (symbols,): by what prices are multiplied and volumes divided.
    """

    def __init__(self, actions: pa.Table | None) -> None:
        self.factor = np.ones(0)
        self._day, self._us = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        self._at: dict[str, int] = {}
        self._applied: dict[str, list[_Split]] = {}
        self._due: dict[str, list[_Split]] = {}
        self.renew(actions)

    def grow(self, symbols: list[str]) -> None:
        """Further symbols, which had no bar yet."""
        for symbol in symbols:
            self._at[symbol] = len(self._at)
        more = len(self._at) - len(self.factor)
        self.factor = np.concatenate([self.factor, np.ones(more)])
        self._day, self._us = (np.concatenate([a, np.full(more, -(2**62))]) for a in (self._day, self._us))

    def renew(self, actions: pa.Table | None) -> date | None:
        """Take the newest corporate actions; else the date of the first that alters what bars so far were worth."""
        told: dict[str, list[_Split]] = {}
        if actions is not None and actions.num_rows:
            splits = newest(actions).filter(pl.col("kind") == "split")
            days, moments = pl.col("date").cast(pl.Int64), pl.col("event_time").dt.timestamp("us")
            for symbol, *split in splits.select("symbol", days, moments, "ratio").iter_rows():
                told.setdefault(symbol, []).append((split[0], split[1], split[2]))
        return self._agree(told)

    def due(
        self, symbols: list[str], day: NDArray[Any], us: NDArray[Any], adjustment: pa.ChunkedArray
    ) -> dict[str, tuple[list[_Split], bool]]:
        """What counts from these bars on, for :meth:`take`: splits by symbol, and whether they are still to be applied.

        Parameters
        ----------
        symbols
            Of the next bar of each of some symbols.
        day, us
            Their dates, and their moments (UTC).
        adjustment
            What was adjusted in them already.

        Raises
        ------
        DataError
            When a bar from which a split counts does not say whether it was applied already.
        """
        told: dict[str, tuple[list[_Split], bool]] = {}
        for name in self._due.keys() & set(symbols):
            row = symbols.index(name)
            due = [s for s in self._due[name] if s[0] <= day[row].astype(int) and s[1] <= us[row].astype(int)]
            if due and (kind := adjustment[row].as_py()) == "unknown":
                raise _unsaid(name, "split", np.datetime64(due[0][0], "D").item())
            if due:
                told[name] = due, kind == "none"
        return told

    def take(
        self, at: NDArray[np.int64], day: NDArray[Any], us: NDArray[Any], due: dict[str, tuple[list[_Split], bool]]
    ) -> None:
        """The bars of which :meth:`due` was asked, by the positions of their symbols."""
        self._day[at], self._us[at] = day.astype(np.int64), us.astype(np.int64)
        for name, (splits, wanted_) in due.items():
            for split in splits:
                self.factor[self._at[name]] *= split[2] if wanted_ else 1.0
            self._applied.setdefault(name, []).extend(splits)
            self._due[name] = [s for s in self._due[name] if s not in splits]

    def save(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What is remembered, for :meth:`restore`."""
        return {"applied": self._applied}, {"factor": self.factor, "day": self._day, "us": self._us}

    def restore(self, head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`save` gave, the symbols being known; :meth:`renew` then brings what is due."""
        self.factor, self._day, self._us = (arrays[name].copy() for name in ("factor", "day", "us"))
        self._applied = {name: [(s[0], s[1], s[2]) for s in splits] for name, splits in head["applied"].items()}
        self._due = {}

    def _agree(self, told: dict[str, list[_Split]]) -> date | None:
        """Take these splits if, of those that count for bars seen so far, they are the ones that were applied."""
        changed: set[_Split] = set()
        for name in self._at:
            due = [s for s in told.get(name, ()) if self._counts(name, s)]
            changed |= set(due) ^ set(self._applied.get(name, []))
        if changed:
            day: date = np.datetime64(min(changed)[0], "D").item()
            return day
        self._due = {name: [s for s in splits if not self._counts(name, s)] for name, splits in told.items()}
        self._due = {name: left for name, left in self._due.items() if left}
        return None

    def _counts(self, symbol: str, split: _Split) -> bool:
        """Whether a bar of the symbol was seen from which the split counts."""
        at = self._at.get(symbol)
        return at is not None and bool(split[0] <= self._day[at] and split[1] <= self._us[at])
