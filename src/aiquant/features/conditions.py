"""What a symbol and its market were like at each decision: how volatile, how much traded, how far it moved together.

Nothing here is learnt from. It scales labels, sets barriers, and sorts dates and symbols when forecasts are judged. As
features are, it is known at the row's own time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from aiquant.features import catalogue

if TYPE_CHECKING:
    import pyarrow as pa

    from aiquant.calendars import Sessions
    from aiquant.features.catalogue import FeatureSet

QUARTER, HALF_YEAR = 63, 126
"""Bars of the windows: sessions, for daily bars."""

_RETURN = "($close/Ref($close, 1)-1)"
_MARKET = f"({_RETURN}-CSDemean({_RETURN}))"

_DEFINITIONS = [
    ("volatility", f"Std({_RETURN}, {QUARTER})", "Standard deviation of its returns a bar over a quarter", ""),
    ("market_volatility", f"Std({_MARKET}, {QUARTER})", "The same of the mean return of all symbols", ""),
    (
        "beta",
        f"Cov({_RETURN}, {_MARKET}, {HALF_YEAR})/Var({_MARKET}, {HALF_YEAR})",
        "Slope of its returns on the mean return of all symbols over half a year",
        "",
    ),
    ("dollar_volume", f"Mean($close*$volume, {QUARTER})", "Mean value that was traded a bar over a quarter", ""),
]


PAST_RETURN = "past_return"


@lru_cache(maxsize=1)
def _past_return() -> FeatureSet:
    told = [(PAST_RETURN, _RETURN, "Return of the bar since the one before", "")]
    return catalogue.FeatureSet(PAST_RETURN, catalogue.define(told), "Past returns", False)


def past_returns(bars: pa.Table, sessions: Sessions, actions: pa.Table | None = None) -> pa.Table:
    """The total return of every bar since the one before, as :func:`compute` takes it: column ``past_return``."""
    from aiquant.features import engine

    return engine.compute(_past_return(), bars, sessions, actions, dividends=True)


@lru_cache(maxsize=1)
def definitions() -> FeatureSet:
    """The columns of :func:`compute`, as a set of features."""
    return catalogue.FeatureSet(
        "conditions", catalogue.define(_DEFINITIONS), "What symbols and market were like", False
    )


def compute(bars: pa.Table, sessions: Sessions, actions: pa.Table | None = None) -> pa.Table:
    """The conditions at every bar.

    Parameters
    ----------
    bars, sessions, actions
        As for :func:`aiquant.features.engine.compute`. Dividends count in returns.

    Returns
    -------
    pyarrow.Table
        :data:`aiquant.schemas.FEATURES` and the ``float32`` columns ``volatility`` (a bar, not annualised),
        ``market_volatility``, ``beta`` and ``dollar_volume`` (in the currency of the bars); NaN where a window is not
        full or reads what the bars do not have.
    """
    from aiquant.features import engine

    return engine.compute(definitions(), bars, sessions, actions, dividends=True)
