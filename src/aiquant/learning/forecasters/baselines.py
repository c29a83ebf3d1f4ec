"""Baselines that learn nothing: a model that does not beat them is not worth its costs."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning.forecasters import artefacts
from aiquant.learning.forecasters.base import check_rows, check_width
from aiquant.settings import Settings

MOMENTUM = "momentum_12_1"


class Momentum:
    """The value of one feature is the forecast; by default the return of the last 12 months less the last one.

    N. Jegadeesh, S. Titman, *Returns to Buying Winners and Selling Losers*, Journal of Finance 48 (1993).
    """

    name = "momentum"

    def __init__(self, column: str = MOMENTUM) -> None:
        self.column = column
        self.features: tuple[str, ...] = ()

    @classmethod
    def create(cls, settings: Settings) -> Self:
        """With the default column."""
        return cls()

    @classmethod
    def restore(cls, header: artefacts.Header, payload: bytes) -> Self:
        """From an artefact."""
        forecaster = cls(header.parameters["column"])
        forecaster.features = header.features
        return forecaster

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        *,
        features: tuple[str, ...],
        times: NDArray[np.datetime64],
        seed: int,
        weight: NDArray[np.float32] | None = None,
        label_end: NDArray[np.datetime64] | None = None,
        threads: int = 1,
    ) -> None:
        """Find the column.

        Raises
        ------
        DataError
            When the features have no such column, or there is no row.
        """
        check_rows(self.name, features, X, y)
        if self.column not in features:
            near = difflib.get_close_matches(self.column, features, n=1)
            raise DataError(
                f"the momentum baseline needs the feature {self.column}, which the set does not have",
                f"did you mean {near[0]}?" if near else "name another column of the set",
            )
        self.features = features

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """The column; NaN where it is missing."""
        check_width(self.name, self.features, X)
        return X[:, self.features.index(self.column)].astype(np.float64)

    def explain(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """The column alone; the base is 0."""
        forecast = self.predict(X)
        told = np.zeros((len(X), len(self.features) + 1))
        told[:, self.features.index(self.column)] = forecast
        told[np.isnan(forecast)] = np.nan
        return told

    def importance(self) -> dict[str, float]:
        """1 for the column, 0 for the others."""
        return {name: float(name == self.column) for name in self.features}

    def save(self, folder: Path) -> str:
        """The name of the column. See :meth:`Forecaster.save`."""
        check_width(self.name, self.features, np.empty((0, len(self.features)), dtype=np.float32))
        header = artefacts.Header(self.name, self.features, "model.bin", {"column": self.column})
        return artefacts.write(folder, header, b"")


class Zero:
    """Forecasts 0 for all: what remains is what the portfolio rule earns by itself."""

    name = "zero"

    def __init__(self) -> None:
        self.features: tuple[str, ...] = ()

    @classmethod
    def create(cls, settings: Settings) -> Self:
        """It has no parameters."""
        return cls()

    @classmethod
    def restore(cls, header: artefacts.Header, payload: bytes) -> Self:
        """From an artefact."""
        forecaster = cls()
        forecaster.features = header.features
        return forecaster

    def fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        *,
        features: tuple[str, ...],
        times: NDArray[np.datetime64],
        seed: int,
        weight: NDArray[np.float32] | None = None,
        label_end: NDArray[np.datetime64] | None = None,
        threads: int = 1,
    ) -> None:
        """Nothing is learnt."""
        check_rows(self.name, features, X, y)
        self.features = features

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Zeros."""
        check_width(self.name, self.features, X)
        return np.zeros(len(X))

    def explain(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Zeros."""
        check_width(self.name, self.features, X)
        return np.zeros((len(X), len(self.features) + 1))

    def importance(self) -> dict[str, float]:
        """Empty."""
        return {}

    def save(self, folder: Path) -> str:
        """Nothing but the header matters. See :meth:`Forecaster.save`."""
        check_width(self.name, self.features, np.empty((0, len(self.features)), dtype=np.float32))
        return artefacts.write(folder, artefacts.Header(self.name, self.features, "model.bin"), b"")
