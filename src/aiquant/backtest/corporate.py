"""Corporate actions as the account needs them: only those that the prices do not contain already."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest.naming import some
from aiquant.backtest.rules import ACTIONS, DELISTING_ACTION, DIVIDEND_ACTION, SPLIT
from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ratios = dict[str, list[tuple[date, float]]]


def events(
    actions: pa.Table,
    adjustment: dict[str, str],
    symbols: list[str],
    dates: NDArray[np.datetime64],
    calendar: NDArray[np.datetime64],
) -> tuple[NDArray[np.float64], list[str]]:
    """Lay out actions over sessions.

    Splits meet prices as traded only, dividends also prices that are adjusted for splits: an amount is then divided by
    the ratios of all later splits, because it was declared for a share of its day. Delistings always count. An action
    on a day that is no session counts on the next one, a delisting on the one before. What lies after the run does not
    count: a delisting after its last session does where a later session of the calendar shows that none lies between.

    Parameters
    ----------
    actions
        Table ``corporate_actions`` in its newest version.
    adjustment
        What the prices of each symbol were adjusted for.
    symbols
        In the order of the account.
    dates
        ``datetime64[D]``, shape (t,): the sessions of the run.
    calendar
        ``datetime64[D]``, shape (s,): all sessions that are known, those after the run too.

    Returns
    -------
    tuple
        Rows ``(session, symbol, kind, value)``, float64, shape (a, 4), sorted; and notes on what was not applied.

    Raises
    ------
    DataError
        When a kind is unknown, a value is not what its kind needs, or an action stands twice.
    """
    frame = pl.DataFrame(pl.from_arrow(actions.select(["symbol", "kind", "date", "ratio", "amount"])))
    frame = frame.filter(pl.col("symbol").is_in(symbols)).sort("date", "symbol", "kind")
    _check(frame)
    ratios: Ratios = {}
    for symbol, _, day, ratio, _ in frame.filter(pl.col("kind") == "split").iter_rows():
        ratios.setdefault(symbol, []).append((day, ratio))
    place = {symbol: i for i, symbol in enumerate(symbols)}
    rows = []
    for symbol, name, day, ratio, amount in frame.iter_rows():
        kind = ACTIONS.index(name)
        at = _session(day, dates, calendar, kind)
        if at is None or not _counts(kind, adjustment[symbol]):
            continue
        later = 1.0
        if adjustment[symbol] != "none":
            later = math.prod(r for split, r in ratios.get(symbol, ()) if split > day)
        paid = math.nan if amount is None else amount / later
        rows.append((at, kind, place[symbol], ratio if kind == SPLIT else paid))
    ordered = np.array(sorted(rows), dtype=np.float64).reshape(-1, 4)[:, [0, 2, 1, 3]]
    return np.ascontiguousarray(ordered), _notes(frame, adjustment)


def _session(day: date, dates: NDArray[np.datetime64], calendar: NDArray[np.datetime64], kind: int) -> int | None:
    """Session on which an action of ``day`` counts; None outside of the run."""
    if kind == DELISTING_ACTION:
        at = int(np.searchsorted(dates, np.datetime64(day), side="right")) - 1
        if at < 0:
            return None
        if np.datetime64(day) > dates[-1]:
            following = calendar[calendar > dates[-1]]
            return at if len(following) and np.datetime64(day) < following[0] else None
        return at
    at = int(np.searchsorted(dates, np.datetime64(day), side="left"))
    return at if at < len(dates) else None  # what precedes the run finds nothing held


def _counts(kind: int, adjustment: str) -> bool:
    if kind == SPLIT:
        return adjustment == "none"
    return adjustment in ("none", "splits") or kind != DIVIDEND_ACTION


def _notes(frame: pl.DataFrame, adjustment: dict[str, str]) -> list[str]:
    cash = frame.filter(pl.col("kind") != "delisting")["symbol"].unique().sort().to_list()
    why = {
        "splits+dividends": "their prices are adjusted already",
        "unknown": "what their prices are adjusted for is unknown",
    }
    return [
        f"splits and dividends of {some(named)} were not applied: {reason}"
        for kind, reason in why.items()
        if (named := [symbol for symbol in cash if adjustment[symbol] == kind])
    ]


def _check(frame: pl.DataFrame) -> None:
    for symbol, kind, day, ratio, amount in frame.iter_rows():
        value = ratio if kind == "split" else amount
        if kind not in ACTIONS:
            raise DataError(f"corporate actions: {symbol} on {day}: kind {kind!r} is none of {', '.join(ACTIONS)}")
        if value is None and kind == "delisting":
            continue
        if value is None or not math.isfinite(value) or value < 0 or (kind == "split" and value == 0):
            needs = "a ratio above 0" if kind == "split" else "an amount of 0 or more"
            raise DataError(f"corporate actions: the {kind} of {symbol} on {day} needs {needs}, not {value}")
    twice = frame.filter(pl.struct("symbol", "kind", "date").is_duplicated())
    if len(twice):
        symbol, kind, day = twice.row(0)[:3]
        raise DataError(f"corporate actions: the {kind} of {symbol} on {day} stands twice", "pass one version of each")
