"""Strategies that come with aiquant: plain ones, each with its source, to be beaten or to be begun from.

All are functions of the history alone: also *when* a book is decided follows from the calendar, or from what changed
since the decision time before, never from a count of the calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import UsageError
from aiquant.portfolio import moment, rules, weights
from aiquant.portfolio.strategies.base import Book
from aiquant.portfolio.strategies.history import History
from aiquant.settings import PortfolioSettings, Settings

Every = Literal["day", "week", "month"]

TIE = 1e-12
"""Share of the slower average by which the faster one has to lie above it: less than this is the rounding of sums."""


def due(history: History, every: Every) -> bool:
    """Whether this is the first decision time of its day, week (Monday to Sunday) or month.

    The very first decision time is not due: what was before it is not known.
    """
    days = history.dates[-2:]
    if len(days) < 2:
        return False
    if every == "week":  # 1970-01-01 was a Thursday
        number = (days.astype(np.int64) + 3) // 7
    else:
        number = days.astype(f"datetime64[{every[0].upper()}]").astype(np.int64)
    return bool(number[1] != number[0])


def _sound(name: str, value: float, low: float, high: float = np.inf) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} = {value:g} does not lie between {low:g} and {high:g}")


def _sound_every(every: str) -> None:
    if every not in ("day", "week", "month"):
        raise ValueError(f"every = {every!r} is none of day, week, month")


@dataclass(frozen=True)
class EqualWeight:
    """The same weight for each symbol with a bar, decided anew at the first close of each month (week, day)."""

    every: Every = "month"
    lookback = 2

    def __post_init__(self) -> None:
        _sound_every(self.every)

    def decide(self, history: History) -> Book:
        if not due(history, self.every):
            return None
        return _equal(history.tradable)


@dataclass(frozen=True)
class InverseVolatility:
    """Weights in inverse proportion to the standard deviation of each symbol's last ``window`` daily log returns."""

    window: int = 60
    every: Every = "month"

    def __post_init__(self) -> None:
        _sound("window", self.window, 2)
        _sound_every(self.every)

    @property
    def lookback(self) -> int:
        """Closes that a decision needs."""
        return self.window + 1

    def decide(self, history: History) -> Book:
        if not due(history, self.every):
            return None
        closes = history.closes(self.lookback)
        if len(closes) < self.lookback:
            return None
        spread = np.diff(np.log(closes), axis=0).std(axis=0, ddof=1)
        held = history.tradable & (spread > 0)  # NaN, where a close is missing, is not
        inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=held)
        return inverse / inverse.sum() if held.any() else inverse


@dataclass(frozen=True)
class Momentum:
    """The winners of the past year but its last month, equally weighted (Jegadeesh and Titman 1993).

    Return from ``formation`` to ``skip`` sessions ago; the best ``top`` of the symbols are held (a fraction; at least
    one symbol), and with ``short`` as many of the worst sold, half of the equity on each side. Equal returns are ranked
    in the order of the symbols.
    """

    formation: int = 252
    skip: int = 21
    top: float = 0.2
    short: bool = False
    every: Every = "month"

    def __post_init__(self) -> None:
        _sound("skip", self.skip, 0)
        _sound("formation", self.formation, self.skip + 1)
        _sound("top", self.top, 1e-6, 0.5 if self.short else 1.0)
        _sound_every(self.every)

    @property
    def lookback(self) -> int:
        """Closes that a decision needs."""
        return self.formation + 1

    def decide(self, history: History) -> Book:
        if not due(history, self.every):
            return None
        closes = history.closes(self.lookback)
        if len(closes) < self.lookback:
            return None
        past = np.where(history.tradable, closes[-1 - self.skip] / closes[0] - 1.0, np.nan)
        return _ends(past, self.top, self.short)


@dataclass(frozen=True)
class MeanReversion:
    """The losers of the past ``window`` sessions, equally weighted (short-term reversal: Jegadeesh 1990).

    The worst ``bottom`` of the symbols are held (a fraction; at least one symbol), and with ``short`` as many of the
    best sold, half of the equity on each side.
    """

    window: int = 5
    bottom: float = 0.2
    short: bool = False
    every: Every = "week"

    def __post_init__(self) -> None:
        _sound("window", self.window, 1)
        _sound("bottom", self.bottom, 1e-6, 0.5 if self.short else 1.0)
        _sound_every(self.every)

    @property
    def lookback(self) -> int:
        """Closes that a decision needs."""
        return max(self.window + 1, 2)

    def decide(self, history: History) -> Book:
        if not due(history, self.every):
            return None
        closes = history.closes(self.window + 1)
        if len(closes) < self.window + 1:
            return None
        past = np.where(history.tradable, closes[-1] / closes[0] - 1.0, np.nan)
        return _ends(-past, self.bottom, self.short)


@dataclass(frozen=True)
class SmaCross:
    """Each symbol is held while the mean of its last ``fast`` closes is above that of its last ``slow`` ones.

    A symbol's share is one over the number of symbols with a bar. A book is decided when the set of symbols above
    changes. A symbol with a gap among its last ``slow`` closes is left out until there is none.
    """

    fast: int = 20
    slow: int = 100

    def __post_init__(self) -> None:
        _sound("fast", self.fast, 1)
        _sound("slow", self.slow, self.fast + 1)

    @property
    def lookback(self) -> int:
        """Closes that a decision needs: those of today's averages and of yesterday's."""
        return self.slow + 1

    def decide(self, history: History) -> Book:
        closes = history.closes(self.slow + 1)
        above = self._above(closes)
        if np.array_equal(above, self._above(closes[:-1])):
            return None
        return np.where(above, 1.0 / max(int(history.tradable.sum()), 1), 0.0)

    def _above(self, closes: NDArray[np.float64]) -> NDArray[np.bool_]:
        if len(closes) < self.slow:
            return np.zeros(closes.shape[1], dtype=np.bool_)
        fast, slow = closes[-self.fast :].mean(axis=0), closes[-self.slow :].mean(axis=0)
        return np.asarray(fast > slow * (1.0 + TIE))


@dataclass(frozen=True)
class Forecasts:
    """The forecasts of a run, by the rule of the section ``[portfolio]`` of the settings, as ``aiquant run`` trades."""

    portfolio: PortfolioSettings
    horizon: int
    lookback = 1

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The strategy by the sections ``[portfolio]`` and ``[labels]``.

        Raises
        ------
        UsageError
            When the rule needs more than the forecasts of the day.
        """
        portfolio = settings.portfolio
        if moment.needs_history(portfolio, rules.check(portfolio)) or moment.needs_sectors(portfolio):
            raise UsageError(
                f"the strategy forecasts sees the forecasts of one day, and the settings of the portfolio (rule "
                f"{portfolio.rule}) need past returns, traded values or sectors",
                "trade the run itself: aiquant backtest --run RUN",
            )
        return cls(portfolio, settings.labels.horizon)

    def decide(self, history: History) -> Book:
        today = history.forecasts()
        if not today.height or today["date"][0] != history.date:
            return None
        if (history.forecast_dates - 1) % (self.portfolio.rebalance or self.horizon):
            return None
        return weights.from_forecasts(today.to_arrow(), self.portfolio, 1, "")


def _equal(held: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(held, 1.0 / max(int(held.sum()), 1), 0.0)


def _ends(score: NDArray[np.float64], share: float, short: bool) -> NDArray[np.float64]:
    """Equal weights of the ``share`` of symbols with the highest scores, less those of the lowest; NaN is left out."""
    ranked = np.argsort(-score, kind="stable")[: int(np.isfinite(score).sum())]
    book = np.zeros(len(score))
    places = min(max(int(len(ranked) * share + 1e-9), 1), len(ranked) // 2 if short else len(ranked))
    if places:
        each = (0.5 if short else 1.0) / places
        book[ranked[:places]] = each
        if short:
            book[ranked[-places:]] = -each
    return book


BUILT_IN = {
    "equal-weight": EqualWeight,
    "forecasts": Forecasts,
    "inverse-volatility": InverseVolatility,
    "mean-reversion": MeanReversion,
    "momentum": Momentum,
    "sma-cross": SmaCross,
}
