"""Slippage and market impact of each bar and symbol, where they are not the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aiquant.backtest import measures
from aiquant.backtest.rules import MOST_SLIPPAGE
from aiquant.backtest.terms import Terms
from aiquant.settings import BacktestSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Measured:
    """What volatility and mean volume are measured on: all symbols that have bars, in the currency of their bars.

    All of them, because a symbol without a history takes their median: were it that of the account's symbols alone, a
    symbol that is first decided on later would change the costs before.

    Attributes
    ----------
    close, volume
        float64, shape (t, m), NaN where there is none; no volume where no rule reads it.
    factor
        By what closes have to be multiplied (and volumes divided) to stand side by side across splits, shape (t, m).
    place
        Places of the account's symbols among them, int64, shape (n,).
    """

    close: NDArray[np.float64]
    volume: NDArray[np.float64] | None
    factor: NDArray[np.float64]
    place: NDArray[np.int64]

    def of_account(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
        """``values`` of the account's symbols, medians where they are unknown; and how many are."""
        unknown = int((~np.isfinite(values[:, self.place])).sum())
        return measures.median_where_unknown(values)[:, self.place], unknown


def of(
    settings: BacktestSettings, terms: Terms, count: int, measured: Measured | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Slippage and impact, each of shape (``count``, n) or empty where no rule reads it; and notes."""
    window, unknown = settings.cost_window, 0
    slippage = impact = np.empty((0, 0))
    if settings.spread_bps or settings.slippage_volatility or "spread_bps" in terms.given:
        slippage = np.tile(settings.slippage_bps / 10_000 + terms.spread_bps / 2 / 10_000, (count, 1))
        slippage = np.minimum(slippage, MOST_SLIPPAGE)
    if measured is None:
        return slippage, impact, []
    volatility = measures.volatility_before(measures.returns_of(measured.close * measured.factor, window), window)
    if settings.slippage_volatility:
        known, unknown = measured.of_account(volatility)
        slippage = np.minimum(slippage + settings.slippage_volatility * known, MOST_SLIPPAGE)
    if settings.impact:
        assert measured.volume is not None  # read wherever there is impact
        volume = measures.mean_volume_before(measured.volume / measured.factor, window) * measured.factor
        impact, unknown = measured.of_account(volatility / np.sqrt(volume))
    told = "bar(s) had no volatility or volume before them: the median of the other symbols counts, or none"
    return slippage, impact, [f"{unknown} {told}"] if unknown else []
