"""What a forecaster has to do."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning.forecasters.artefacts import Header
from aiquant.settings import Settings


class Forecaster(Protocol):
    """Learns from past rows, forecasts later ones. Only the order of forecasts within a date has to have a meaning.

    Attributes
    ----------
    name
        The name it is created by.
    features
        Names of the columns that it was fitted on, in their order; empty before :meth:`fit`.
    """

    name: str
    features: tuple[str, ...]

    @classmethod
    def create(cls, settings: Settings) -> Self:
        """A forecaster with the parameters of ``settings``, not fitted yet."""

    @classmethod
    def restore(cls, header: Header, payload: bytes) -> Self:
        """The fitted forecaster of an artefact whose digest was checked."""

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
        """Learn. The result must be the same for any number of ``threads``.

        Parameters
        ----------
        X
            ``float32``, shape (n, k), C order; NaN where a value is missing.
        y
            ``float32``, shape (n,), finite.
        features
            Names of the k columns.
        times
            ``datetime64[us]``, shape (n,), ascending: the decision time of each row, for forecasters that rank within
            a date or hold out the latest dates.
        seed
            Seed of all random choices.
        weight
            ``float32``, shape (n,): weight of each row, by default 1.
        label_end
            ``datetime64[us]``, shape (n,): when the label of each row was known, for forecasters that hold out the
            latest dates and must purge what overlaps them; by default at ``times``.

        Raises
        ------
        DataError
            When there is no row, or the rows cannot be learnt from.
        """

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Forecasts, ``float64``, shape (n,), of rows with the columns that it was fitted on; NaN for no forecast."""

    def explain(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each feature adds to each forecast, ``float64``, shape (n, k + 1).

        The last column is the forecast's base; a row sums to its forecast. NaN where there is no forecast.
        """

    def importance(self) -> dict[str, float]:
        """Share of each feature in the forecasts, of sum 1 (or empty, where no feature is used)."""

    def save(self, folder: Path) -> str:
        """Write the artefact into ``folder`` and return its digest (SHA-256, 64 hex digits)."""


def check_width(name: str, features: tuple[str, ...], X: NDArray[np.float32]) -> None:
    """Refuse rows of another width than the forecaster was fitted on.

    Raises
    ------
    DataError
        When it was not fitted, or the number of columns differs.
    """
    if not features:
        raise DataError(f"forecaster {name} was not fitted", "fit or load it first")
    if X.ndim != 2 or X.shape[1] != len(features):
        raise DataError(f"forecaster {name} was fitted on {len(features)} features, the rows have shape {X.shape}")


def check_rows(name: str, features: tuple[str, ...], X: NDArray[np.float32], y: NDArray[np.float32]) -> None:
    """Refuse to learn from no rows, or from rows that do not fit one another.

    Raises
    ------
    DataError
        When there is no row, or X, y and the names of features are of different sizes.
    """
    if not len(y):
        raise DataError(f"forecaster {name}: there is no row to learn from", "give more history, or fewer folds")
    if X.shape != (len(y), len(features)):
        raise DataError(f"forecaster {name}: {len(y)} targets and {len(features)} names for rows of shape {X.shape}")


def take(X: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rows of ``X``, ascending: a view where they are one stretch, as they mostly are, else a copy."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return X[rows[0] : rows[-1] + 1]
    return X[rows]
