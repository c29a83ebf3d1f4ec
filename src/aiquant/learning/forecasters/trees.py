"""Gradient boosted trees (XGBoost, histogram method): T. Chen, C. Guestrin, *XGBoost: A Scalable Tree Boosting System*,
KDD 2016."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import MissingError
from aiquant.learning.forecasters import artefacts
from aiquant.learning.forecasters.base import check_width
from aiquant.settings import Settings, XGBoostSettings

if TYPE_CHECKING:
    from xgboost import Booster


VALUES_PER_THREAD = 5_000_000
"""Feature values that a thread has to have for itself: with fewer, waiting for each other costs more than it brings."""


class XGBoost:
    """Regression trees on the squared error; a missing value goes the way that training found better.

    Bin edges are found on the rows that are fitted alone.
    """

    name = "xgboost"

    def __init__(self, parameters: XGBoostSettings) -> None:
        self.parameters = parameters
        self.features: tuple[str, ...] = ()
        self._booster: Booster | None = None

    @classmethod
    def create(cls, settings: Settings) -> Self:
        """With the parameters of ``settings.xgboost``."""
        return cls(settings.xgboost)

    @classmethod
    def restore(cls, header: artefacts.Header, payload: bytes) -> Self:
        """From an artefact."""
        from xgboost import Booster

        forecaster = cls(XGBoostSettings(**header.parameters))
        forecaster.features = header.features
        forecaster._booster = Booster()
        forecaster._booster.load_model(bytearray(payload))
        # A loaded booster forgets the setting; one thread is quickest for a few rows and never spins at a barrier.
        forecaster._booster.set_param({"nthread": 1})
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
        threads: int = 1,
    ) -> None:
        """Learn ``n_estimators`` trees. See :meth:`Forecaster.fit`.

        Raises
        ------
        MissingError
            When a GPU is asked for that this XGBoost cannot use.
        """
        import xgboost

        if self.parameters.device == "cuda" and not xgboost.build_info().get("USE_CUDA"):
            raise MissingError(  # XGBoost itself would go on with the CPU
                "setting xgboost.device = cuda: the XGBoost that is installed was built without CUDA",
                "set xgboost.device to cpu, or install the package xgboost in place of xgboost-cpu",
            )
        p = self.parameters
        threads = min(threads, 1 + X.size // VALUES_PER_THREAD)
        told: dict[str, Any] = p.model_dump(exclude={"n_estimators"})
        told |= {
            "objective": "reg:squarederror",
            "tree_method": "hist",
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
        }
        data = xgboost.QuantileDMatrix(X, label=y, weight=weight, max_bin=p.max_bin, nthread=threads)
        self._booster = xgboost.train(told, data, num_boost_round=p.n_estimators)
        self._booster.set_param({"nthread": 1, "device": "cpu"})
        self.features = features

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """See :meth:`Forecaster.predict`."""
        check_width(self.name, self.features, X)
        assert self._booster is not None
        # Of no rows some versions make a matrix.
        return np.asarray(self._booster.inplace_predict(X), dtype=np.float64).reshape(len(X))

    def importance(self) -> dict[str, float]:
        """Total gain of the splits on each feature, as a share of all; empty where no split was worth it."""
        if self._booster is None:
            return {}
        told = self._booster.get_score(importance_type="total_gain")
        gains = {name: float(np.sum(gain)) for name, gain in told.items()}
        whole = sum(gains.values())
        if not whole:
            return {}
        return {name: gains.get(f"f{place}", 0.0) / whole for place, name in enumerate(self.features)}

    def save(self, folder: Path) -> str:
        """As UBJSON. See :meth:`Forecaster.save`."""
        import xgboost

        check_width(self.name, self.features, np.empty((0, len(self.features)), dtype=np.float32))
        assert self._booster is not None
        header = artefacts.Header(
            forecaster=self.name,
            features=self.features,
            payload="model.ubj",
            parameters=self.parameters.model_dump(mode="json"),
            libraries={"xgboost": xgboost.__version__},
        )
        return artefacts.write(folder, header, bytes(self._booster.save_raw("ubj")))
