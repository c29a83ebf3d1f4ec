"""How MLflow loads a forecaster: the loader that a logged model names. Columns are put in order and cast by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning import forecasters
from aiquant.learning.forecasters import Forecaster


class Loaded:
    """A forecaster behind MLflow's interface."""

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster = forecaster

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> NDArray[np.float64]:
        """Forecasts, ``float64``, shape (n,), of rows with at least the features that the forecaster was fitted on.

        Raises
        ------
        DataError
            When a feature is missing.
        """
        names = list(self.forecaster.features)
        missing = [name for name in names if name not in rows.columns]
        if missing:
            raise DataError(f"the rows lack the feature(s) {', '.join(missing[:5])}")
        return self.forecaster.predict(np.ascontiguousarray(rows[names].to_numpy(dtype=np.float32)))


def _load_pyfunc(data_path: str) -> Loaded:
    """MLflow's own name for the entry to a loader module; the artefact's digest is checked."""
    return Loaded(forecasters.load(Path(data_path)))
