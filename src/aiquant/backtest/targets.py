"""Decided weights, checked and laid out as an array over decisions and symbols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest.naming import some
from aiquant.calendars import Sessions
from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROSS_LIMIT = 10.0
"""Gross exposure (Σ|w|) beyond which weights are taken for a mistake, such as percent for fractions."""

NET_SLACK = 0.01
"""By how much weights may sum to more than 1 without margin: rounded weights do; their buys are scaled."""


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
    try:
        frame = frame.cast({"date": pl.Date, "symbol": pl.String, "weight": pl.Float64}).sort("date", "symbol")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"weights: a column is of the wrong type: {error}", "give dates, text and numbers") from error
    if not len(frame):
        raise DataError("weights have no row", "give at least one date with a weight")
    at = sessions.index_of(frame["date"].to_numpy())
    _check_weights(frame, at, known, sessions, allow_short=allow_short, margin=margin)
    symbols = sorted(frame["symbol"].unique().to_list())
    decided, row = np.unique(at, return_inverse=True)
    dense = np.zeros((len(decided), len(symbols)))
    dense[row, np.searchsorted(np.array(symbols), frame["symbol"].to_numpy().astype(str))] = frame["weight"].to_numpy()
    return Targets(dense, decided.astype(np.int64), symbols)


def _check_weights(
    frame: pl.DataFrame, at: NDArray[np.int64], known: set[str], sessions: Sessions, *, allow_short: bool, margin: bool
) -> None:
    for name in ("date", "symbol"):
        if frame[name].null_count():
            raise DataError(f"weights: {frame[name].null_count()} row(s) have no {name}", "correct or remove them")
    bad = frame.filter(~pl.col("weight").is_finite().fill_null(False))
    if len(bad):
        raise DataError(f"weights: the weight of {bad['symbol'][0]} on {bad['date'][0]} is not a finite number")
    unknown = sorted(set(frame["symbol"].to_list()) - known)
    if unknown:
        raise DataError(f"weights: there are no bars of {some(unknown)}", "ingest their bars, or leave them out")
    outside = frame.filter(pl.Series(at < 0))["date"].unique().sort()
    if len(outside):
        named = some([str(day) for day in outside.to_list()])
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
    sums = (
        frame.group_by("date", maintain_order=True)
        .agg(net=pl.col("weight").sum(), gross=pl.col("weight").abs().sum())
        .sort("date")
    )
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
