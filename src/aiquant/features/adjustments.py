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
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.features.grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PRICES = ("open", "high", "low", "close", "vwap")


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
    price, volume = np.ones(laid.rows.height), np.ones(laid.rows.height)
    close = laid.rows["close"].to_numpy()
    starts = set(laid.row_starts.tolist())
    for kind, ratio, amount, row in placed.select("kind", "ratio", "amount", "row").iter_rows():
        if kind == "split" and splits[row]:
            price[row] *= ratio
            volume[row] /= ratio
        elif kind == "dividend" and dividends and cash[row] and row not in starts and amount < close[row - 1]:
            price[row] *= close[row - 1] / (close[row - 1] - amount)
    price, volume = _accumulate(laid, price), _accumulate(laid, volume)
    adjusted = [(pl.col(name) * pl.Series(price)).alias(name) for name in _PRICES]
    return replace(laid, rows=laid.rows.with_columns(*adjusted, (pl.col("volume") * pl.Series(volume)).alias("volume")))


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
        raise DataError(
            f"the bars of {first['symbol']} do not say whether they hold the {first['kind']} of {first['date']}",
            'set data.adjustment to "none", "splits" or "splits+dividends" and import them again, or give no actions',
        )
    return (told == "none").to_numpy(), told.is_in(["none", "splits"]).to_numpy()


def _accumulate(laid: Grid, factor: NDArray[np.float64]) -> NDArray[np.float64]:
    for begin, end in zip(laid.row_starts[:-1], laid.row_starts[1:], strict=True):
        factor[begin:end] = np.cumprod(factor[begin:end])
    return factor
