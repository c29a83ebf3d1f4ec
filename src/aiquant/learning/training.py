"""Fitting forecasters: fold by fold for forecasts out of sample, and once on everything for those of tomorrow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning.forecasters import Forecaster
from aiquant.learning.forecasters.base import take
from aiquant.learning.panel import Panel
from aiquant.learning.splits import Fold, spans
from aiquant.schemas import FORECASTS, conform

Progress = Callable[[int, int], None]
"""Called with the folds done and all folds, from the calling thread."""

Weigh = Callable[[Panel, NDArray[np.int64]], NDArray[np.float32] | None]
"""Gives the weights (shape (rows,)) of rows that are trained on, or None where all count alike."""

FINAL = -1
"""Fold number of a forecaster that was fitted on all of the history."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """One fold's forecaster.

    Attributes
    ----------
    seconds
        Wall time of the fit and the forecasts.
    """

    fold: Fold
    model: Forecaster
    forecast: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True, eq=False)
class Trained:
    """What a walk-forward gives.

    Attributes
    ----------
    forecasts
        Schema ``FORECASTS``, sorted by time and symbol; rows without a forecast are left out.
    models
        Fold number → fitted forecaster.
    folds
        One row per fold: ``fold``, ``train_start``, ``train_end``, ``test_start``, ``test_end``, ``train_rows``,
        ``test_rows``, ``purged``, ``embargoed``, ``seconds``, and ``spans``: first and last date of each unbroken
        stretch of ``train``, ``test``, ``purge`` and ``embargo``.
    importances
        Columns ``fold``, ``feature``, ``importance`` (shares of sum 1 within a fold).
    """

    forecasts: pa.Table
    models: dict[int, Forecaster]
    folds: pa.Table
    importances: pa.Table


def walk_forward(
    panel: Panel,
    folds: list[Fold],
    make: Callable[[], Forecaster],
    *,
    run_id: str,
    seed: int,
    threads: int = 0,
    weigh: Weigh | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Fit a fresh forecaster for each fold and forecast the rows that the fold tests.

    Folds are fitted beside one another, so that small fits use all cores; results do not depend on ``threads``.

    Parameters
    ----------
    make
        Gives a forecaster that is not fitted yet.
    threads
        Threads in all; 0 takes all cores.
    weigh
        See :data:`Weigh`.
    progress
        See :data:`Progress`.

    Raises
    ------
    DataError
        When all labels that a fold is trained on are equal.
    """
    cores = threads or os.cpu_count() or 1
    workers = max(1, min(cores, len(folds)))
    fitted: dict[int, Fitted] = {}
    with one_thread_in_linear_algebra(), ThreadPoolExecutor(workers, thread_name_prefix="fold") as pool:
        running: list[Future[Fitted]] = []
        try:
            for fold in sorted(
                folds, key=lambda f: -len(f.train)
            ):  # the longest first, so that none is left at the end
                running.append(pool.submit(fit_fold, panel, fold, make, seed, cores // workers, weigh))
            for done in as_completed(running):
                fitted[done.result().fold.number] = done.result()
                if progress is not None:
                    progress(len(fitted), len(folds))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return assembled(panel, [fitted[number] for number in sorted(fitted)], run_id)


def fit_final(
    panel: Panel, make: Callable[[], Forecaster], *, seed: int, threads: int = 0, weigh: Weigh | None = None
) -> Forecaster:
    """A forecaster fitted on all rows with a label, for decisions after the panel's end.

    Raises
    ------
    DataError
        When no row has a label, or all labels are equal.
    """
    rows = np.flatnonzero(panel.labelled)
    if not len(rows):
        raise DataError("no label is known: there is nothing to train on", "give more history")
    with one_thread_in_linear_algebra():
        return _fit(panel, rows, make(), seed, threads or os.cpu_count() or 1, weigh)


def predict(
    panel: Panel, model: Forecaster, *, run_id: str, rows: NDArray[np.int64] | None = None, fold: int = FINAL
) -> pa.Table:
    """Forecasts of ``rows`` (by default of all), schema ``FORECASTS``; rows without a forecast are left out.

    Raises
    ------
    DataError
        When the panel lacks a feature that the model was fitted on.
    """
    taken = np.arange(len(panel), dtype=np.int64) if rows is None else rows
    forecast = model.predict(columns(panel, model.features, taken))
    return _forecasts(panel, taken, forecast, np.full(len(taken), fold, dtype=np.int32), run_id, model.name)


def fit_fold(
    panel: Panel, fold: Fold, make: Callable[[], Forecaster], seed: int, threads: int, weigh: Weigh | None
) -> Fitted:
    """Fit a fresh forecaster on what the fold trains on, and forecast what it tests."""
    began = time.perf_counter()
    model = _fit(panel, fold.train, make(), seed, threads, weigh)
    forecast = model.predict(take(panel.X, fold.test))
    return Fitted(fold, model, forecast, time.perf_counter() - began)


def _fit(
    panel: Panel, rows: NDArray[np.int64], model: Forecaster, seed: int, threads: int, weigh: Weigh | None
) -> Forecaster:
    _demand_difference(panel, rows)
    model.fit(
        take(panel.X, rows),
        panel.y[rows],
        features=panel.features,
        times=panel.event_time[rows],
        label_end=panel.label_end[rows],
        seed=seed,
        weight=None if weigh is None else weigh(panel, rows),
        threads=max(threads, 1),
    )
    return model


def _demand_difference(panel: Panel, rows: NDArray[np.int64]) -> None:
    learnt = panel.y[rows]
    if len(learnt) > 1 and learnt.min() == learnt.max():
        raise DataError(
            f"all {len(learnt):,} labels from {panel.dates[rows[0]]} to {panel.dates[rows[-1]]} are equal"
            f" ({learnt[0]:g}): there is nothing to learn",
            "see whether the prices of the bars move, and which setting labels.target has",
        )


def columns(panel: Panel, features: tuple[str, ...], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """``X`` of the rows with the columns put in the order of ``features``.

    Raises
    ------
    DataError
        When the panel lacks one.
    """
    if features == panel.features:
        return take(panel.X, rows)
    missing = [name for name in features if name not in panel.features]
    if missing:
        raise DataError(
            f"the model needs the feature(s) {', '.join(missing[:5])}, which the panel does not have",
            "build the feature set that the model was trained on",
        )
    return np.ascontiguousarray(take(panel.X, rows)[:, [panel.features.index(name) for name in features]])


def assembled(panel: Panel, fitted: list[Fitted], run_id: str) -> Trained:
    """Folds that were fitted, by their numbers, as one result."""
    rows = np.concatenate([f.fold.test for f in fitted])
    forecast = np.concatenate([f.forecast for f in fitted])
    numbers = np.concatenate([np.full(len(f.fold.test), f.fold.number, dtype=np.int32) for f in fitted])
    shares = [(f.fold.number, name, share) for f in fitted for name, share in f.model.importance().items()]
    return Trained(
        forecasts=_forecasts(panel, rows, forecast, numbers, run_id, fitted[0].model.name),
        models={f.fold.number: f.model for f in fitted},
        folds=pa.Table.from_pylist([_told(panel, f) for f in fitted]),
        importances=pa.table(
            {
                "fold": pa.array([fold for fold, _, _ in shares], pa.int32()),
                "feature": pa.array([name for _, name, _ in shares], pa.string()),
                "importance": pa.array([share for _, _, share in shares], pa.float64()),
            }
        ),
    )


def _told(panel: Panel, fitted: Fitted) -> dict[str, object]:
    fold = fitted.fold
    parts = {"train": fold.train, "test": fold.test, "purge": fold.purged, "embargo": fold.embargoed}
    return {
        "fold": fold.number,
        "train_start": fold.train_start.item(),
        "train_end": fold.train_end.item(),
        "test_start": fold.test_start.item(),
        "test_end": fold.test_end.item(),
        "train_rows": len(fold.train),
        "test_rows": len(fold.test),
        "purged": len(fold.purged),
        "embargoed": len(fold.embargoed),
        "seconds": fitted.seconds,
        "spans": {name: [list(span) for span in spans(panel, rows)] for name, rows in parts.items()},
    }


def _forecasts(
    panel: Panel,
    rows: NDArray[np.int64],
    forecast: NDArray[np.float64],
    folds: NDArray[np.int32],
    run_id: str,
    model: str,
) -> pa.Table:
    known = np.isfinite(forecast)
    rows, forecast, folds = rows[known], forecast[known], folds[known]
    symbols = pa.DictionaryArray.from_arrays(pa.array(panel.symbols[rows]), pa.array(panel.symbol_names, pa.string()))
    return conform(
        pa.table(
            {
                "run_id": pa.repeat(pa.scalar(run_id, pa.string()), len(rows)),
                "model": pa.repeat(pa.scalar(model, pa.string()), len(rows)),
                "symbol": symbols.cast(pa.string()),
                "date": pa.array(panel.dates[rows]),
                "event_time": pa.array(panel.event_time[rows], pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
                "horizon": pa.repeat(pa.scalar(panel.horizon, pa.int32()), len(rows)),
                "forecast": pa.array(forecast),
                "fold": pa.array(folds),
            }
        ),
        FORECASTS,
    )


def one_thread_in_linear_algebra() -> AbstractContextManager[object]:
    """Sums of BLAS depend on its number of threads; one thread makes them the same everywhere."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # comes with scikit-learn; without it the results of linear models may differ in the last bits
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
