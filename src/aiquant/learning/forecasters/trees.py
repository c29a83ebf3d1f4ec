"""Gradient boosted trees (XGBoost, histogram method): T. Chen, C. Guestrin, *XGBoost: A Scalable Tree Boosting System*,
KDD 2016."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiquant.errors import DataError, MissingError, UsageError
from aiquant.learning.forecasters import artefacts, holdout
from aiquant.learning.forecasters.base import check_rows, check_width
from aiquant.learning.forecasters.blocks import Rows
from aiquant.learning.scores import rank_ic
from aiquant.settings import Settings, SparkSettings, XGBoostSettings

if TYPE_CHECKING:
    from xgboost import Booster, DMatrix

VALUES_PER_THREAD = 5_000_000
"""Feature values that a thread has to have for itself: with fewer, waiting for each other costs more than it brings."""

GRADES = 10
"""Grades of relevance that a date's targets are sorted into for a ranking objective."""

_NOT_THE_LIBRARYS = {"n_estimators", "early_stopping_rounds", "validation_share"}


class XGBoost:
    """Boosted trees on the squared error or on the order within each date; a missing value goes the way that training
    found better.

    Bin edges are found on the rows that are fitted alone. With early stopping the number of trees is the one with the
    best rank IC on the latest dates of the training rows, which are held out and purged for it; the trees are then
    grown on all training rows.
    """

    name = "xgboost"

    def __init__(
        self,
        parameters: XGBoostSettings,
        embargo: int = 0,
        out_of_core: bool = False,
        spark: SparkSettings | None = None,
    ) -> None:
        self.parameters = parameters
        self.embargo = embargo
        self.out_of_core = out_of_core
        self.spark = spark
        self.features: tuple[str, ...] = ()
        self._booster: Booster | None = None

    @classmethod
    def create(cls, settings: Settings) -> Self:
        """With the parameters of ``settings.xgboost``."""
        learning = settings.learning
        spark = settings.spark if learning.engine == "spark" else None
        return cls(settings.xgboost, learning.embargo, learning.out_of_core, spark)

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

    @property
    def trees(self) -> int:
        """Trees that were grown; 0 before :meth:`fit`."""
        return 0 if self._booster is None else int(self._booster.num_boosted_rounds())

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
        """Grow trees. See :meth:`Forecaster.fit`.

        Raises
        ------
        DataError
            When there is no row, too few dates to hold some out, or no date whose rows could be ranked.
        MissingError
            When a GPU is asked for that this XGBoost cannot use.
        UsageError
            When Spark is asked for what it cannot do.
        """
        check_rows(self.name, features, X, y)
        _demand_device(self.parameters.device)
        rows, threads = Rows(X, y, times, weight), min(threads, 1 + X.size // VALUES_PER_THREAD)
        rounds = self.parameters.n_estimators
        if self.parameters.early_stopping_rounds:
            if self.spark is not None:
                raise UsageError(
                    "trees that Spark grows are not stopped early", "set xgboost.early_stopping_rounds to 0"
                )
            rounds = self._best_rounds(rows, times if label_end is None else label_end, seed, threads)
        self._booster = self._grown(rows, rounds, seed, threads)
        if self.spark is None:
            _demand_trained_on(self.parameters.device, self._booster)
        self._booster.set_param({"nthread": 1, "device": "cpu"})
        self.features = features

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """See :meth:`Forecaster.predict`."""
        check_width(self.name, self.features, X)
        assert self._booster is not None
        # Of no rows some versions make a matrix.
        return np.asarray(self._booster.inplace_predict(X), dtype=np.float64).reshape(len(X))

    def explain(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Shapley values of the trees, as XGBoost computes them.

        S. M. Lundberg et al., *From Local Explanations to Global Understanding with Explainable AI for Trees*, Nature
        Machine Intelligence 2 (2020), 56–67.
        """
        import xgboost

        check_width(self.name, self.features, X)
        assert self._booster is not None
        if not len(X):
            return np.empty((0, X.shape[1] + 1))
        return np.asarray(self._booster.predict(xgboost.DMatrix(X, nthread=1), pred_contribs=True), dtype=np.float64)

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

    @property
    def _ranks(self) -> bool:
        return self.parameters.objective != "reg:squarederror"

    def _grown(self, rows: Rows, rounds: int, seed: int, threads: int, **watching: Any) -> Booster:
        import xgboost

        from aiquant.learning.forecasters import blocks, cluster

        told = {
            **self.parameters.model_dump(exclude=_NOT_THE_LIBRARYS),
            "tree_method": "hist",
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
        }
        if self._ranks:
            # Pairs from the whole of a date: a book is built from both of its ends, not from the top alone.
            told |= {"lambdarank_pair_method": "mean", "ndcg_exp_gain": False}
            rows = _graded(rows)
        if self.spark is not None:
            return cluster.grow(told, rows, rounds, self.spark)
        bins = self.parameters.max_bin
        if self.out_of_core:
            with blocks.matrix(rows, bins, threads) as on_disk:
                return xgboost.train(told, on_disk, num_boost_round=rounds, **watching)
        data = xgboost.QuantileDMatrix(
            rows.X, label=rows.y, weight=rows.weight, qid=rows.groups, max_bin=bins, nthread=threads
        )
        return xgboost.train(told, data, num_boost_round=rounds, **watching)

    def _best_rounds(self, rows: Rows, label_end: NDArray[np.datetime64], seed: int, threads: int) -> int:
        """Trees with the best rank IC on the held-out tail."""
        import xgboost

        p = self.parameters
        head, tail = holdout.split(rows.times, label_end, p.validation_share, self.embargo)
        fitted, held = rows.take(head), rows.take(tail)
        stopping = xgboost.callback.EarlyStopping(rounds=p.early_stopping_rounds, metric_name="rank_ic", maximize=True)
        watched = xgboost.DMatrix(held.X, label=held.y, nthread=threads)
        booster = self._grown(
            fitted,
            p.n_estimators,
            seed,
            threads,
            evals=[(watched, "held_out")],
            custom_metric=_rank_ic_of(held),
            callbacks=[stopping],
            verbose_eval=False,
        )
        return int(booster.best_iteration) + 1


def _rank_ic_of(held: Rows) -> Callable[[NDArray[np.float32], DMatrix], tuple[str, float]]:
    def measure(forecast: NDArray[np.float32], _: DMatrix) -> tuple[str, float]:
        # Where all forecasts of all dates are equal there is no order, which is as good as none.
        return "rank_ic", float(np.nan_to_num(rank_ic(held.times, forecast, held.y)))

    return measure


def _graded(rows: Rows) -> Rows:
    """For a ranking: the grade of each row in place of its target (0 worst, ``GRADES`` − 1 best), one weight a date."""
    _, date, count = np.unique(rows.times, return_inverse=True, return_counts=True)
    if count.max() < 2:
        raise DataError(
            "a ranking objective compares the symbols of a date, and no date has two",
            "give bars of more symbols, or set xgboost.objective to reg:squarederror",
        )
    place = pl.DataFrame({"date": date, "y": rows.y}).select(pl.col("y").rank("average").over("date"))["y"].to_numpy()
    grade = np.floor((place - 0.5) / count[date] * GRADES).astype(np.float32)
    weight = None if rows.weight is None else (np.bincount(date, rows.weight) / count).astype(np.float32)
    return replace(rows, y=grade, weight=weight, groups=date)


def _demand_trained_on(device: str, booster: Booster) -> None:
    """Without a GPU, XGBoost goes on with the CPU and says so in its log alone."""
    used = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    if not used.startswith(device):
        raise MissingError(
            f"setting xgboost.device = {device}: XGBoost found no GPU that it can use",
            "see that nvidia-smi shows one here, or set xgboost.device to cpu",
        )


def _demand_device(device: str) -> None:
    if device == "cuda":
        import xgboost

        if not xgboost.build_info().get("USE_CUDA"):  # XGBoost itself would go on with the CPU
            raise MissingError(
                "setting xgboost.device = cuda: the XGBoost that is installed was built without CUDA",
                "set xgboost.device to cpu, or install the package xgboost in place of xgboost-cpu",
            )
