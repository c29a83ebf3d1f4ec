"""Signals: forecasts made comparable within a date.

Only the order of the forecasts of one date has a meaning that all models share, so the signal is their rank, unless
the settings ask for their z-score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.portfolio import expected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.settings import PortfolioSettings


def rank(forecasts: pa.Table) -> pl.DataFrame:
    """Rank of each symbol within its date, spread evenly over [−0.5, 0.5].

    Equal forecasts are ranked by symbol, so that the result does not depend on the order of the rows. A date whose
    forecasts are all equal says nothing: its signals are 0.

    Parameters
    ----------
    forecasts
        Table ``forecasts`` of one model: at most one row for each symbol and date.

    Returns
    -------
    DataFrame
        ``symbol, date, event_time, forecast, signal`` sorted by date and symbol; ``signal`` float64.

    Raises
    ------
    DataError
        When a symbol has two forecasts for one date, or a forecast is not a finite number.
    """
    columns = ["symbol", "date", "event_time", "forecast"]
    frame = pl.DataFrame(pl.from_arrow(forecasts.select(columns))).sort("date", "symbol")
    _check(frame)
    # A forecast never depends on the symbol's name; only the place among equals does.
    place = pl.col("forecast").rank("ordinal").over("date")
    count = pl.len().over("date")
    says_something = pl.col("forecast").min().over("date") < pl.col("forecast").max().over("date")
    signal = pl.when(says_something).then((place - 1) / (count - 1) - 0.5).otherwise(0.0)
    return frame.select(*columns, signal=signal)


def of_date(rows: pl.DataFrame, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """The signals of one date's rows of :func:`rank`, of the kind that the settings ask for; shape (n,)."""
    if portfolio.signal == "z-score":
        return expected.score(rows["forecast"].to_numpy())
    return rows["signal"].to_numpy()


def shaped(
    signal: NDArray[np.float64],
    portfolio: PortfolioSettings,
    sectors: Sequence[str | None] | None,
    betas: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Signals of one date, made neutral and cut at the threshold as the settings say.

    Parameters
    ----------
    signal
        Shape (n,).
    sectors
        Length n; None where the settings do not ask for them. Symbols without a sector are one of their own.
    betas
        Shape (n,), or None likewise.
    """
    if portfolio.neutral != "none":
        signal = neutral(signal, sectors if "sector" in portfolio.neutral else None, _asked(betas, portfolio))
    if portfolio.threshold:
        signal = np.where(np.abs(signal) < portfolio.threshold, 0.0, signal)
    return signal


def _asked(betas: NDArray[np.float64] | None, portfolio: PortfolioSettings) -> NDArray[np.float64] | None:
    return betas if "beta" in portfolio.neutral else None


def neutral(
    signal: NDArray[np.float64], sectors: Sequence[str | None] | None, betas: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """What is left of the signals when their mean (of each sector) and their slope on beta are taken out.

    The residual of a least-squares regression: Σ signal = 0 within each sector, Σ signal × beta = 0.
    """
    if not len(signal):
        return signal
    groups = [sector or "" for sector in sectors] if sectors is not None else [""] * len(signal)
    exposures = [np.array([float(group == name) for group in groups]) for name in sorted(set(groups))]
    design = np.column_stack([*exposures, *([betas] if betas is not None else [])])
    solved = np.linalg.lstsq(design, signal, rcond=None)[0]
    residual: NDArray[np.float64] = signal - design @ solved
    return np.where(np.abs(residual) < 1e-12, 0.0, residual)


def _check(frame: pl.DataFrame) -> None:
    twice = frame.filter(pl.struct("symbol", "date").is_duplicated())
    if len(twice):
        symbol, day = twice.row(0)[:2]
        raise DataError(f"forecasts: {symbol} has more than one forecast for {day}", "pass the rows of one model")
    bad = frame.filter(~pl.col("forecast").is_finite().fill_null(False))
    if len(bad):
        symbol, day = bad.row(0)[:2]
        raise DataError(f"forecasts: the forecast of {symbol} for {day} is not a finite number")
