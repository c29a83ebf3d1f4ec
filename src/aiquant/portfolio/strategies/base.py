"""What a strategy is: a function from what is known at a close to the book, or the orders, wanted from then on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from aiquant.portfolio.strategies.history import History

Book: TypeAlias = pl.DataFrame | pa.Table | Mapping[str, float] | NDArray[np.float64] | None
"""What a strategy wants: the whole book as weights (fractions of equity) by symbol, or orders in shares.

Weights are a table with the columns ``symbol`` and ``weight``, a mapping from symbols to weights, or an array with a
weight for each of ``history.symbols``, in their order. Symbols that are absent are sold; an empty book sells
everything.

Orders are a table with the columns ``symbol`` and ``shares`` (to buy > 0, to sell < 0, in shares of the decision's
day). They add to what waits for their symbol; what is not named stays as it is, and a table without an order decides
nothing.

None decides nothing: what is held stays as it is, and no order is sent. A strategy keeps to weights or to orders.
"""


@runtime_checkable
class Strategy(Protocol):
    """A trading strategy.

    It has to be a function of the history alone: asked twice with the same history, by a new instance too, it gives the
    same book. It keeps nothing from one call to the next and looks at no clock, no chance and no file:
    ``aiquant check leakage --strategy NAME`` tries to show that it does.

    A class may say ``lookback``, the number of decision times (its own included) that a decision depends on:
    ``aiquant check recursive --strategy NAME`` compares it with the truth. Parameters are the arguments of the class;
    one that does not fit is refused by raising ``ValueError``. A class that has ``from_settings(settings, **params)``
    is made by it.
    """

    def decide(self, history: History) -> Book:
        """The book, or the orders, wanted from the close ``history.now`` on; orders fill at the next bar."""
        ...
