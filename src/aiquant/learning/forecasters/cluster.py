"""Trees that Spark grows: ``xgboost.spark`` on the same rows, in the session that features are computed in."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aiquant.errors import Unreachable, UsageError
from aiquant.features import spark
from aiquant.learning.forecasters.blocks import Rows
from aiquant.settings import SparkSettings

if TYPE_CHECKING:
    from xgboost import Booster

FOLDER = "AIQUANT_SPARK_FOLDER"
"""Variable that names a folder which all machines of the cluster see; by default a temporary one of this machine."""

_ONE_AT_A_TIME = threading.Lock()  # a training holds all its tasks at once: two would wait for each other for ever


def grow(told: dict[str, Any], rows: Rows, rounds: int, settings: SparkSettings) -> Booster:
    """Grow trees with ``settings.train_workers`` tasks.

    The rows go through a Parquet file, which Spark reads. With one task the trees are those of this machine; several
    find bin edges together, which differ a little.

    Parameters
    ----------
    told
        Parameters of XGBoost.

    Raises
    ------
    MissingExtra
        Without pyspark.
    MissingError
        Without Java, or the jars that the session needs.
    UsageError
        For a ranking.
    Unreachable
        When Spark does not start, or a task fails.
    """
    if rows.groups is not None:
        raise UsageError("a ranking is not trained on Spark", "set xgboost.objective to reg:squarederror")
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="aiquant-", dir=os.environ.get(FOLDER)) as folder:
        file = Path(folder) / "rows.parquet"
        names, session = _write(rows, file), spark.session(settings)
        try:
            return _fitted(session, told, file, names, rows.weight is not None, rounds, settings.train_workers)
        except Exception as error:  # the errors of Spark, py4j and the tasks share no class of their own
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Unreachable(
                f"the training on Spark failed: {first[:300]}",
                f"see Spark's log; on a cluster set {FOLDER} to a folder that all its machines see",
            ) from error


def _write(rows: Rows, file: Path) -> list[str]:
    names = [f"f{place}" for place in range(rows.X.shape[1])]
    fields = [pa.field(name, pa.float32()) for name in (*names, "label", "weight")]
    starts = rows.starts()
    with pq.ParquetWriter(file, pa.schema(fields)) as writer:
        for start, end in zip(starts, starts[1:], strict=False):
            part = slice(start, end)
            weight = np.ones(end - start, np.float32) if rows.weight is None else rows.weight[part]
            columns = [*np.ascontiguousarray(rows.X[part].T), rows.y[part], weight]
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=pa.schema(fields)))
    return names


def _fitted(
    session: Any, told: dict[str, Any], file: Path, names: list[str], weighted: bool, rounds: int, workers: int
) -> Booster:
    from xgboost.spark import SparkXGBRegressor

    logging.getLogger("XGBoost-PySpark").setLevel(logging.ERROR)
    apart = {"objective", "nthread", "seed", "learning_rate"}
    regressor = SparkXGBRegressor(
        features_col=names,
        label_col="label",
        weight_col="weight" if weighted else None,
        num_workers=workers,
        n_estimators=rounds,
        learning_rate=told["learning_rate"],
        random_state=told["seed"],
        missing=float("nan"),
        **{name: value for name, value in told.items() if name not in apart},
    )
    booster: Booster = regressor.fit(session.read.parquet(str(file))).get_booster()
    booster.feature_names = None  # as they are trained here, where the forecaster keeps the names
    return booster
