"""The linear baseline: ridge regression on standardised features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aiquant.learning.forecasters import artefacts
from aiquant.learning.forecasters.base import check_rows, check_width
from aiquant.settings import Settings

BLOCK = 65_536
"""Rows that are held in ``float64`` at a time."""


class Ridge:
    """Least squares with an L2 penalty, on features that are imputed (median) and standardised by the training rows.

    Minimises Σ w (y − b − zᵀβ)² + α‖β‖²; the constant is not penalised. The normal equations are summed over blocks of
    rows in a fixed order, so that neither memory nor threads matter. A feature that is constant, or always missing,
    gets no weight.
    """

    name = "ridge"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha
        self.features: tuple[str, ...] = ()
        self._median: NDArray[np.float64] = np.empty(0)
        self._mean: NDArray[np.float64] = np.empty(0)
        self._scale: NDArray[np.float64] = np.empty(0)
        self._slope: NDArray[np.float64] = np.empty(0)
        self._constant = 0.0

    @classmethod
    def create(cls, settings: Settings) -> Self:
        """With the penalty of ``settings.ridge``."""
        return cls(settings.ridge.alpha)

    @classmethod
    def restore(cls, header: artefacts.Header, payload: bytes) -> Self:
        """From an artefact."""
        forecaster = cls(alpha=float(header.parameters["alpha"]))
        forecaster.features = header.features
        told = json.loads(payload)
        forecaster._median, forecaster._mean = np.array(told["median"]), np.array(told["mean"])
        forecaster._scale, forecaster._slope = np.array(told["scale"]), np.array(told["slope"])
        forecaster._constant = told["constant"]
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
        """Solve the normal equations. See :meth:`Forecaster.fit`."""
        check_rows(self.name, features, X, y)
        w = np.ones(len(y)) if weight is None else weight.astype(np.float64)
        self._median = np.array([_median(X[:, place]) for place in range(X.shape[1])])
        self._mean, self._scale = self._moments(X, w)
        gram, cross = np.zeros((X.shape[1], X.shape[1])), np.zeros(X.shape[1])
        level = float(w @ y.astype(np.float64)) / float(w.sum())
        for start in range(0, len(X), BLOCK):
            rows = slice(start, start + BLOCK)
            z = self._standardised(X[rows])
            weighted = z * w[rows, None]
            gram += weighted.T @ z
            cross += weighted.T @ (y[rows].astype(np.float64) - level)
        self._slope = np.linalg.solve(gram + self.alpha * np.eye(len(gram)), cross).astype(np.float64)
        self._constant = level
        self.features = features

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """See :meth:`Forecaster.predict`."""
        check_width(self.name, self.features, X)
        # Row by row, not by BLAS: there the last bits of a forecast depend on how many rows stand beside it.
        blocks = [(self._standardised(X[s : s + BLOCK]) * self._slope).sum(axis=1) for s in range(0, len(X), BLOCK)]
        return self._constant + np.concatenate(blocks or [np.empty(0)])

    def explain(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Coefficient times standardised feature; the base is the constant."""
        check_width(self.name, self.features, X)
        told = np.empty((len(X), len(self.features) + 1))
        told[:, -1] = self._constant
        for start in range(0, len(X), BLOCK):
            told[start : start + BLOCK, :-1] = self._standardised(X[start : start + BLOCK]) * self._slope
        return told

    def importance(self) -> dict[str, float]:
        """Absolute coefficient of each standardised feature, as a share of all; empty where all are 0."""
        size = np.abs(self._slope)
        whole = float(size.sum())
        if not whole:
            return {}
        return {name: float(s) / whole for name, s in zip(self.features, size, strict=True)}

    def save(self, folder: Path) -> str:
        """As numbers in JSON, to the last bit. See :meth:`Forecaster.save`."""
        check_width(self.name, self.features, np.empty((0, len(self.features)), dtype=np.float32))
        payload = {
            "median": self._median.tolist(),
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
            "slope": self._slope.tolist(),
            "constant": self._constant,
        }
        header = artefacts.Header(
            forecaster=self.name,
            features=self.features,
            payload="coefficients.json",
            parameters={"alpha": self.alpha},
            libraries={"numpy": np.__version__},
        )
        return artefacts.write(folder, header, json.dumps(payload).encode())

    def _moments(
        self, X: NDArray[np.float32], w: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weighted mean and one over the deviation of the imputed features; 0 where a feature is constant."""
        whole = w.sum()
        mean = np.zeros(X.shape[1])
        for start in range(0, len(X), BLOCK):
            mean += w[start : start + BLOCK] @ self._imputed(X[start : start + BLOCK])
        mean /= whole
        square = np.zeros(X.shape[1])
        for start in range(0, len(X), BLOCK):
            square += w[start : start + BLOCK] @ (self._imputed(X[start : start + BLOCK]) - mean) ** 2
        deviation = np.sqrt(square / whole)
        varies = deviation > np.finfo(np.float32).eps * np.abs(mean)
        return mean, np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)

    def _imputed(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.where(np.isnan(X), self._median, X).astype(np.float64)

    def _standardised(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        z: NDArray[np.float64] = (self._imputed(X) - self._mean) * self._scale
        return z


def _median(column: NDArray[np.float32]) -> float:
    known = column[~np.isnan(column)]
    return float(np.median(known)) if len(known) else 0.0
