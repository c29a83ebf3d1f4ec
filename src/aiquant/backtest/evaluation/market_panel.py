"""Total returns and dollar volumes of all symbols by session, as attribution and regimes need them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest import corporate
from aiquant.backtest.rules import DELISTING_ACTION, DIVIDEND_ACTION, SPLIT
from aiquant.calendars import Sessions
from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MarketPanel:
    """The market over all sessions that have bars.

    Attributes
    ----------
    symbols
        In alphabetical order, length n.
    dates
        ``datetime64[D]``, shape (t,).
    close
        As in the bars, float64, shape (t, n); NaN without a bar.
    returns
        Simple total returns from the close of the session before to this one, shape (t, n): splits and dividends are
        in them, as far as the prices do not contain them already. NaN where one of the closes is missing.
    dollar_volume
        Volume × close, shape (t, n); NaN where the bars have no volume.
    splits
        Shares that one share becomes before the session opens, shape (t, n); 1 without a split.
    """

    symbols: list[str]
    dates: NDArray[np.datetime64]
    close: NDArray[np.float64]
    returns: NDArray[np.float64]
    dollar_volume: NDArray[np.float64]
    splits: NDArray[np.float64]

    @property
    def market(self) -> NDArray[np.float64]:
        """Mean of the returns of all symbols that have one, shape (t,); NaN where none has."""
        there = np.isfinite(self.returns)
        count = there.sum(axis=1)
        total = np.where(there, self.returns, 0.0).sum(axis=1)
        mean: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return mean

    def rows_of(self, days: list[date]) -> NDArray[np.int64]:
        """Row of each day.

        Raises
        ------
        DataError
            When a day has no bar of any symbol.
        """
        wanted = np.array(days, dtype="datetime64[D]")
        at = np.searchsorted(self.dates, wanted)
        inside = np.minimum(at, len(self.dates) - 1)
        if not (self.dates[inside] == wanted).all():
            missing = wanted[self.dates[inside] != wanted][0]
            raise DataError(f"the bars have no session on {missing}, on which the account was marked")
        return inside.astype(np.int64)


def lay_out(
    bars: pa.Table, sessions: Sessions, actions: pa.Table | None = None, last: date | None = None
) -> MarketPanel:
    """Lay out daily bars (one version of each) over sessions.

    Parameters
    ----------
    bars
        Table ``bars``.
    sessions
        Bars on other days are left out; every session from the first to the last bar has a row.
    actions
        Table ``corporate_actions``.
    last
        Later bars are left out.

    Raises
    ------
    DataError
        When no bar lies on a session, or a symbol has more than one bar in a session.
    """
    columns = ["symbol", "date", "close", "volume", "adjustment"]
    frame = pl.DataFrame(pl.from_arrow(bars.select(columns))).with_columns(pl.col("volume").cast(pl.Float64))
    if last is not None:
        frame = frame.filter(pl.col("date") <= last)
    frame = frame.with_columns(session=pl.Series(sessions.index_of(frame["date"].to_numpy()))).filter(
        pl.col("session") >= 0
    )
    if frame.is_empty():
        raise DataError("there are no bars on sessions of the calendar", "name the calendar of the bars")
    if frame.select(pl.struct("symbol", "date").is_duplicated().any()).item():
        raise DataError("attribution and regimes need one bar a symbol and session", "give daily bars")
    symbols = frame["symbol"].unique().sort().to_list()
    row = frame["session"].to_numpy()
    first, end = int(row.min()), int(row.max()) + 1
    column = frame["symbol"].cast(pl.Enum(symbols)).to_physical().to_numpy().astype(np.int64)
    close, volume = (np.full((end - first, len(symbols)), np.nan) for _ in range(2))
    close[row - first, column] = frame["close"].to_numpy()
    volume[row - first, column] = frame["volume"].to_numpy()
    dates = sessions.dates[first:end]
    splits, dividends = np.ones(close.shape), np.zeros(close.shape)
    if actions is not None:
        kinds = dict(frame.unique(["symbol"], keep="last").select("symbol", "adjustment").iter_rows())
        happened, _ = corporate.events(actions, kinds, symbols, dates, sessions.dates)
        for at, symbol, kind, value in happened:
            if kind == SPLIT:
                splits[int(at), int(symbol)] *= value
            elif kind == DIVIDEND_ACTION:
                dividends[int(at), int(symbol)] += value
            else:
                assert kind == DELISTING_ACTION  # what is paid then is no return of the market that could be held
    returns = np.full(close.shape, np.nan)
    returns[1:] = (close[1:] * splits[1:] + dividends[1:] * splits[1:]) / close[:-1] - 1.0
    return MarketPanel(symbols, dates, close, returns, close * volume, splits)
