"""The terms on which single symbols are traded (fees, locates, lots, spreads, currencies), and rates of exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest.naming import some
from aiquant.errors import DataError
from aiquant.schemas import FX_RATES, INSTRUMENTS, Table, conform, reasons
from aiquant.settings import BacktestSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

OLD_RATE = 5
"""Weekdays after which a note says that an exchange rate is old."""

_NUMBERS = ("lot", "spread_bps", "borrow_bps", "locate")


@dataclass(frozen=True)
class Terms:
    """What differs from symbol to symbol; a row for each symbol of the account, in its order.

    Attributes
    ----------
    given
        Names of the columns that hold a value for at least one of the symbols.
    lot, spread_bps, borrow_bps, locate
        float64, shape (n,); what is not given is as the settings say.
    currency
        None where it is that of the account.
    """

    given: tuple[str, ...]
    lot: NDArray[np.float64]
    spread_bps: NDArray[np.float64]
    borrow_bps: NDArray[np.float64]
    locate: NDArray[np.float64]
    currency: tuple[str | None, ...]


def read_terms(instruments: pa.Table | None, symbols: list[str], settings: BacktestSettings) -> Terms:
    """The terms of ``symbols``; rows of other symbols do not matter.

    Raises
    ------
    DataError
        When a row breaks an invariant of the table ``instruments``, a symbol stands twice, or there are currencies and
        the account has none.
    """
    rows: dict[str, dict[str, object]] = {}
    if instruments is not None:
        rows = {str(row["symbol"]): row for row in _checked(instruments, INSTRUMENTS, ["symbol"]).iter_rows(named=True)}
    told = [rows.get(symbol, {}) for symbol in symbols]
    fallback = {
        "lot": float(settings.lot),
        "spread_bps": settings.spread_bps,
        "borrow_bps": settings.borrow_bps,
        "locate": np.inf,
    }
    arrays = {}
    for name in _NUMBERS:
        values = [row.get(name) for row in told]
        arrays[name] = np.array([fallback[name] if v is None else v for v in values], dtype=np.float64)
    named = [row.get("currency") for row in told]
    if any(named) and settings.currency is None:
        raise DataError(
            f"instruments: {symbols[[bool(c) for c in named].index(True)]} has a currency, and the account has none",
            "set backtest.currency",
        )
    currency = tuple(None if c is None or c == settings.currency else str(c) for c in named)
    given = [name for name in _NUMBERS if any(row.get(name) is not None for row in told)]
    if any(currency):
        given.append("currency")
    return Terms(tuple(given), currency=currency, **arrays)


def rates_of(
    fx: pa.Table | None, terms: Terms, dates: NDArray[np.datetime64], session_end: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Exchange rates known at the open and at the close of each bar, shape (t, n); and notes on rates that are old.

    A rate is known from the close of the session of its date on, so an open sees that of an earlier session.

    Raises
    ------
    DataError
        When a currency has no rate before the first bar, or a row breaks an invariant of the table ``fx_rates``.
    """
    opening, closing = np.ones((len(dates), len(terms.currency))), np.ones((len(dates), len(terms.currency)))
    wanted = sorted({name for name in terms.currency if name is not None})
    if not wanted:
        return opening, closing, []
    if fx is None:
        raise DataError(f"there are no exchange rates of {some(wanted)}", "give them with --fx, or fx=")
    rows = _checked(fx, FX_RATES, ["currency", "date"]).sort("date")
    notes = []
    for name in wanted:
        known = rows.filter(pl.col("currency") == name)
        days, values = known["date"].to_numpy().astype("datetime64[D]"), known["rate"].to_numpy()
        at_open = np.searchsorted(days, dates, side="left") - 1
        at_close = np.where(session_end, np.searchsorted(days, dates, side="right") - 1, at_open)
        if not len(days) or at_open[0] < 0:
            raise DataError(
                f"exchange rates: there is none of {name} before {dates[0]}, the first session that is looked at",
                "give rates from an earlier date on",
            )
        held = np.array([c == name for c in terms.currency])
        opening[:, held] = values[at_open][:, None]
        closing[:, held] = values[at_close][:, None]
        old = np.busday_count(days[at_close], dates) > OLD_RATE
        if old.any():
            notes.append(
                f"exchange rates of {name} are more than {OLD_RATE} weekdays old on {len(np.unique(dates[old]))} "
                f"session(s), the first of them {dates[old][0]}: the last rate before counts"
            )
    return opening, closing, notes


def _checked(table: pa.Table, schema: Table, key: list[str]) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(conform(table, schema)))
    bad = frame.with_columns(why=reasons(frame, schema.invariants)).drop_nulls("why")
    if len(bad):
        raise DataError(f"{schema.name}: {' '.join(str(bad[k][0]) for k in key)}: {bad['why'][0]}", "correct the row")
    twice = frame.filter(pl.struct(key).is_duplicated())
    if len(twice):
        raise DataError(
            f"{schema.name}: {' '.join(str(twice[k][0]) for k in key)} stands twice", "keep one row of each"
        )
    return frame
