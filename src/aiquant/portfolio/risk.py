"""What a book risks, by the past returns that are known on its day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from aiquant.portfolio import estimates

if TYPE_CHECKING:
    from aiquant.portfolio.history import History
    from aiquant.settings import PortfolioSettings


@dataclass(frozen=True)
class Risk:
    """Risk of a book.

    Attributes
    ----------
    volatility
        Standard deviation a year, by the covariance that the settings name.
    cvar
        Mean loss of the worst returns of a bar beyond the level `tail`, had the book been held over the window.
    beta
        Slope on the mean return of all symbols.
    shares
        Share of each symbol in the variance; they add up to 1.
    unknown
        Symbols of the book of which too little is known; they count as without risk.
    """

    volatility: float
    cvar: float
    beta: float
    shares: dict[str, float]
    unknown: tuple[str, ...]


def of(
    book: Mapping[str, float], history: History, day: date, portfolio: PortfolioSettings, per_year: float
) -> Risk | None:
    """The risk of a book at the close of ``day``; None where nothing is known of any of its symbols.

    Parameters
    ----------
    per_year
        Bars a year.
    """
    symbols = sorted(book)
    past = estimates.usable(history.window(day, symbols, portfolio.lookback), portfolio.min_history)
    known = [s for s, yes in zip(symbols, past.usable, strict=True) if yes]
    if not known:
        return None
    weights = np.array([book[symbol] for symbol in known])
    marginal = estimates.covariance(past.returns, portfolio.covariance) @ weights
    variance = float(weights @ marginal)
    earned = np.sort(past.returns @ weights)
    worst = earned[: max(int(round(len(earned) * (1.0 - portfolio.tail))), 1)]
    beta = estimates.betas(past.returns, history.market(day, len(past.returns)))
    shares = weights * marginal / variance if variance > 0 else np.zeros(len(weights))
    return Risk(
        volatility=float(np.sqrt(variance * per_year)),
        cvar=float(-worst.mean()),
        beta=float(beta @ weights),
        shares=dict(zip(known, shares.tolist(), strict=True)),
        unknown=tuple(sorted(set(symbols) - set(known))),
    )
