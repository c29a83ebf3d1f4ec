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
    """What was decided.

    Attributes
    ----------
    weights
        Decided weights, or orders in shares, shape (d, n): a row a decision.
    sessions
        Position of each decision's session among all sessions, int64, ascending, shape (d,).
    symbols
        In alphabetical order, length n.
    moments
        ``datetime64[us]``, UTC, ascending, shape (d,): when decisions within a session were made; None where the close
        of the session is meant.
    """

    weights: NDArray[np.float64]
    sessions: NDArray[np.int64]
    symbols: list[str]
    moments: NDArray[np.datetime64] | None = None


def read_targets(
    weights: pa.Table,
    known: set[str],
    sessions: Sessions,
    *,
    allow_short: bool,
    margin: bool,
    intraday: bool = False,
) -> Targets:
    """Check decided weights and lay them out.

    Parameters
    ----------
    weights
        At least ``date, symbol, weight``; with ``event_time`` decisions of intraday bars can be made within a session.
    known
        Symbols that have bars.
    intraday
        Whether the bars are shorter than a session.

    Raises
    ------
    DataError
        When a column is missing; there is no row; a weight is no finite number, or negative where shorts are not
        allowed; a symbol has no bars; a date is no session; a symbol has two weights for a decision; or the weights of
        a decision sum to more than the account can pay.
    """
    frame, at = _read(weights, "weight", known, sessions, intraday)
    twice = frame.filter(pl.struct("moment", "symbol").is_duplicated())
    if len(twice):
        raise DataError(f"weights: {twice['symbol'][0]} has more than one weight on {_when(twice)}")
    if not allow_short:
        short = frame.filter(pl.col("weight") < 0)
        if len(short):
            raise DataError(
                f"weights: {short['symbol'][0]} has the negative weight {short['weight'][0]:g} on {short['date'][0]}",
                "set backtest.allow_short = true, or give weights of zero or more",
            )
    _check_sums(frame, margin)
    return _laid_out(frame, "weight", at)


def read_orders(orders: pa.Table, known: set[str], sessions: Sessions, *, intraday: bool = False) -> Targets:
    """Check orders in shares and lay them out; those of one decision and symbol are added up.

    Parameters
    ----------
    orders
        At least ``date, symbol, shares``; ``order_id`` is unique where it is given, and ``event_time`` as for weights.

    Raises
    ------
    DataError
        As :func:`read_targets`, and when an order id stands twice.
    """
    frame, at = _read(orders, "shares", known, sessions, intraday)
    if "order_id" in orders.column_names:
        ids = pl.Series("order_id", orders["order_id"])
        if ids.is_duplicated().any():
            raise DataError(
                f"orders: the order id {ids.filter(ids.is_duplicated())[0]} stands twice", "give each order its own"
            )
    return _laid_out(frame, "shares", at)


def _laid_out(frame: pl.DataFrame, column: str, at: NDArray[np.int64]) -> Targets:
    symbols = sorted(frame["symbol"].unique().to_list())
    moments, first, row = np.unique(frame["moment"].to_numpy(), return_index=True, return_inverse=True)
    dense = np.zeros((len(moments), len(symbols)))
    place = np.searchsorted(np.array(symbols), frame["symbol"].to_numpy().astype(str))
    np.add.at(dense, (row, place), frame[column].to_numpy())
    within = frame["moment"].dtype != pl.Date
    return Targets(dense, at[first].astype(np.int64), symbols, moments.astype("datetime64[us]") if within else None)


def _read(
    rows: pa.Table, column: str, known: set[str], sessions: Sessions, intraday: bool
) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Rows sorted by moment (the date, or ``event_time`` where decisions can be made within a session), checked one by
    one; and the places of their sessions."""
    what = "orders" if column == "shares" else "weights"
    missing = [name for name in ("date", "symbol", column) if name not in rows.column_names]
    if missing:
        raise DataError(f"{what} lack the column(s) {', '.join(missing)}", f"give date, symbol and {column}")
    names = ["date", "symbol", column]
    within = intraday and "event_time" in rows.column_names and rows["event_time"].null_count == 0
    frame = pl.DataFrame(pl.from_arrow(rows.select([*names, "event_time"] if within else names)))
    try:
        frame = frame.cast({"date": pl.Date, "symbol": pl.String, column: pl.Float64})
        moment = pl.col("event_time").dt.replace_time_zone(None).cast(pl.Datetime("us")) if within else pl.col("date")
        frame = frame.with_columns(moment=moment).sort("moment", "symbol")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{what}: a column is of the wrong type: {error}", "give dates, text and numbers") from error
    if not len(frame):
        raise DataError(f"{what} have no row", f"give at least one date with {column}")
    at = sessions.index_of(frame["date"].to_numpy())
    _check_rows(frame, what, column, at, known, sessions)
    return frame, at


def _when(rows: pl.DataFrame) -> str:
    return str(rows["moment"][0])


def _check_rows(
    frame: pl.DataFrame, what: str, column: str, at: NDArray[np.int64], known: set[str], sessions: Sessions
) -> None:
    for name in ("date", "symbol"):
        if frame[name].null_count():
            raise DataError(f"{what}: {frame[name].null_count()} row(s) have no {name}", "correct or remove them")
    bad = frame.filter(~pl.col(column).is_finite().fill_null(False))
    if len(bad):
        raise DataError(
            f"{what}: the {column} of {bad['symbol'][0]} on {bad['date'][0]} is not a finite number",
            "correct or remove the row",
        )
    unknown = sorted(set(frame["symbol"].to_list()) - known)
    if unknown:
        raise DataError(f"{what}: there are no bars of {some(unknown)}", "ingest their bars, or leave them out")
    outside = frame.filter(pl.Series(at < 0))["date"].unique().sort()
    if len(outside):
        named = some([str(day) for day in outside.to_list()])
        raise DataError(
            f"{what}: no session of {sessions.calendar} with bars on {named}",
            "date each row by the session at whose close it is decided, or name the calendar of the bars",
        )


def _check_sums(frame: pl.DataFrame, margin: bool) -> None:
    sums = (
        frame.group_by("moment", maintain_order=True)
        .agg(date=pl.col("date").first(), net=pl.col("weight").sum(), gross=pl.col("weight").abs().sum())
        .sort("moment")
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
