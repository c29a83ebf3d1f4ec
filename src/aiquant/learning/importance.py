"""Which features a model uses, and which of them helped out of sample: gain, permutation, clusters, Shapley values.

Shares of gain say what the trees split on, in training. Permutation says what the forecasts lose out of sample when a
feature is shuffled within each date: near 0 for one that did not help, or that another one stands in for. Features that
move together are therefore also shuffled together, cluster by cluster (M. López de Prado, *Machine Learning for Asset
Managers*, 2020, chapter 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from aiquant.learning.forecasters import Forecaster
from aiquant.learning.forecasters.base import take
from aiquant.learning.panel import Panel
from aiquant.learning.scores import rank_ic
from aiquant.learning.splits import Fold
from aiquant.settings import ImportanceSettings

CLUSTER_ROWS = 20_000
"""Rows, evenly spaced, by which features are found to move together."""


@dataclass(frozen=True, eq=False)
class Importance:
    """The importance of each feature and cluster, by fold.

    Attributes
    ----------
    by_fold
        Columns ``fold``, ``feature``, ``gain`` (share by the forecaster's own measure), ``shap`` (share of the
        mean absolute contribution), ``permutation`` (fall of the rank IC; NaN where the fold has no date to judge).
    clusters_by_fold
        Columns ``fold``, ``cluster``, ``permutation``.
    cluster
        Feature → number of its cluster, from 1 on.
    stability
        Mean rank correlation of the permutation importance between folds; NaN with one fold.
    """

    by_fold: pa.Table
    clusters_by_fold: pa.Table
    cluster: dict[str, int]
    stability: float

    def features(self) -> list[dict[str, Any]]:
        """A line for each feature, the greatest fall of the rank IC first: means over folds, the deviation of the
        permutation importance, and the share of folds in which it is above 0."""
        mean = pl.DataFrame(pl.from_arrow(self.by_fold)).group_by("feature", maintain_order=True)
        told = mean.agg(
            pl.col("gain", "shap").mean(),
            pl.col("permutation").drop_nans().mean(),
            pl.col("permutation").drop_nans().std().alias("permutation_std"),
            (pl.col("permutation").drop_nans() > 0).mean().alias("share_of_folds"),
        )
        lines = [{**line, "cluster": self.cluster[line["feature"]]} for line in told.iter_rows(named=True)]
        return sorted(lines, key=lambda line: (-(line["permutation"] or 0.0), -line["shap"], line["feature"]))

    def clusters(self) -> list[dict[str, Any]]:
        """A line for each cluster of more than one feature, likewise."""
        told = (
            pl.DataFrame(pl.from_arrow(self.clusters_by_fold))
            .group_by("cluster", maintain_order=True)
            .agg(
                pl.col("permutation").drop_nans().mean(),
                pl.col("permutation").drop_nans().std().alias("permutation_std"),
            )
        )
        members = {number: [f for f, c in self.cluster.items() if c == number] for number in self.cluster.values()}
        lines = [{**line, "features": members[line["cluster"]]} for line in told.iter_rows(named=True)]
        return sorted(lines, key=lambda line: -(line["permutation"] or 0.0))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; NaN is null."""
        told = {
            "features": self.features(),
            "clusters": self.clusters(),
            "stability": self.stability,
            "folds": self.by_fold.to_pylist(),
        }
        return {name: _plain(value) for name, value in told.items()}


def measure(
    panel: Panel,
    folds: list[Fold],
    models: Mapping[int, Forecaster],
    settings: ImportanceSettings,
    seed: int,
) -> Importance:
    """Measure what each fold's model makes of the rows that the fold tests.

    Parameters
    ----------
    models
        Number of the fold → its fitted forecaster.
    settings
        Dates of each fold that are looked at, and the correlation from which features form a cluster.
    """
    cluster = clusters(panel, settings.correlation)
    groups = [[f for f, name in enumerate(panel.features) if cluster[name] == c] for c in sorted(set(cluster.values()))]
    lines, cluster_lines = [], []
    for fold in folds:
        model, rows = models[fold.number], _some_dates(panel, fold.test, settings.dates)
        found = _Permuted(panel, rows, model, np.random.default_rng([seed, fold.number]))
        gain, shap = model.importance(), _shap(model, take(panel.X, rows))
        for place, name in enumerate(panel.features):
            line = {"fold": fold.number, "feature": name, "gain": gain.get(name, 0.0), "shap": float(shap[place])}
            lines.append({**line, "permutation": found.fall([place])})
        for number, places in enumerate(groups, start=1):
            if len(places) > 1:
                cluster_lines.append({"fold": fold.number, "cluster": number, "permutation": found.fall(places)})
    kinds = [("fold", pa.int32()), ("cluster", pa.int32()), ("permutation", pa.float64())]
    by_fold = pa.Table.from_pylist(lines)
    return Importance(
        by_fold, pa.Table.from_pylist(cluster_lines, schema=pa.schema(kinds)), cluster, _stability(by_fold)
    )


def clusters(panel: Panel, correlation: float) -> dict[str, int]:
    """Features that move together: joined as long as the mean |Spearman correlation| between groups is high enough.

    Parameters
    ----------
    correlation
        From this mean absolute correlation on two groups are one.

    Returns
    -------
    dict
        Feature → number of its cluster, from 1 on in the order of the panel's columns.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(panel.features) < 2:
        return dict.fromkeys(panel.features, 1)
    rows = np.unique(np.linspace(0, len(panel) - 1, min(len(panel), CLUSTER_ROWS)).astype(np.int64))
    distance = 1 - np.abs(_spearman(panel.X[rows]))
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(np.clip(distance, 0, 1), checks=False), method="average")
    found = fcluster(tree, 1 - correlation, criterion="distance")
    numbers: dict[int, int] = {}
    return {name: numbers.setdefault(int(c), len(numbers) + 1) for name, c in zip(panel.features, found, strict=True)}


def picture(importance: Importance, top: int = 20) -> str:
    """Bars of the ``top`` falls of the rank IC, as SVG: a picture that MLflow shows as it is."""
    lines = [line for line in importance.features() if line["permutation"] is not None][:top]
    largest = max((abs(line["permutation"]) for line in lines), default=0.0) or 1.0
    drawn = []
    for place, line in enumerate(lines):
        y, width = 40 + 22 * place, 300 * abs(line["permutation"]) / largest
        colour = "#2b8a3e" if line["permutation"] >= 0 else "#c92a2a"
        drawn.append(
            f'<text x="190" y="{y + 12}" text-anchor="end">{escape(line["feature"])}</text>'
            f'<rect x="200" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>'
            f'<text x="{205 + width:.1f}" y="{y + 12}">{line["permutation"]:+.4f}</text>'
        )
    height = 50 + 22 * len(lines)
    size = f'width="580" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
        f'<rect {size} fill="white"/><text x="10" y="22" font-size="14">Fall of the rank IC when a feature is '
        f'shuffled</text>{"".join(drawn)}</svg>\n'
    )


class _Permuted:
    """The rank IC of a model on some rows, and what is left of it when columns are shuffled within each date."""

    def __init__(self, panel: Panel, rows: NDArray[np.int64], model: Forecaster, rng: np.random.Generator) -> None:
        self._X = np.array(take(panel.X, rows))  # a copy: its columns are shuffled and put back
        self._times, self._outcome = panel.event_time[rows], panel.forward_return[rows]
        self._model = model
        self._used = model.importance()
        self._names = panel.features
        # One order for all features: within each date, and the same whatever feature is asked about first.
        self._order = np.lexsort((rng.random(len(rows)), self._times))
        self._base = self._rank_ic()

    def fall(self, places: list[int]) -> float:
        """Fall of the rank IC when these columns are shuffled together; 0 for what the model does not use."""
        if self._used and all(self._used.get(self._names[place], 0.0) == 0.0 for place in places):
            return 0.0 if np.isfinite(self._base) else float("nan")
        kept = self._X[:, places].copy()
        self._X[:, places] = kept[self._order]
        left = self._rank_ic()
        self._X[:, places] = kept
        # Without any order left there is no skill left.
        return float(self._base - np.nan_to_num(left))

    def _rank_ic(self) -> float:
        return rank_ic(self._times, self._model.predict(self._X), self._outcome)


def _some_dates(panel: Panel, rows: NDArray[np.int64], dates: int) -> NDArray[np.int64]:
    """The rows of at most so many dates, evenly spaced, of those that have a label."""
    known = rows[np.isfinite(panel.forward_return[rows])]
    times = np.unique(panel.event_time[known])
    chosen = times[np.unique(np.linspace(0, len(times) - 1, min(dates, len(times))).astype(np.int64))]
    return known[np.isin(panel.event_time[known], chosen)]


def _shap(model: Forecaster, X: NDArray[np.float32], most: int = 2000) -> NDArray[np.float64]:
    """Mean absolute contribution of each feature, as a share of all, on at most so many rows; 0 where all are 0."""
    step = max(1, len(X) // most)
    told = np.abs(model.explain(np.ascontiguousarray(X[::step]))[:, :-1])
    known = told[np.isfinite(told).all(axis=1)]
    mean = known.mean(axis=0) if len(known) else np.zeros(X.shape[1])
    whole = mean.sum()
    share: NDArray[np.float64] = mean / whole if whole > 0 else mean
    return share


def _spearman(X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rank correlation of all pairs of columns; missing values stand in the middle, constant columns apart."""
    ranks = pl.DataFrame(X, orient="row").select(pl.all().fill_nan(None).rank("average")).to_numpy()
    centred = np.nan_to_num(ranks - np.nanmean(np.where(np.isnan(ranks).all(axis=0), 0.0, ranks), axis=0))
    norm = np.sqrt((centred**2).sum(axis=0))
    norm[norm == 0] = np.inf
    found: NDArray[np.float64] = (centred.T @ centred) / np.outer(norm, norm)
    return found


def _stability(by_fold: pa.Table) -> float:
    wide = pl.DataFrame(pl.from_arrow(by_fold)).pivot("fold", index="feature", values="permutation").drop("feature")
    usable = [name for name in wide.columns if wide[name].is_finite().all() and wide[name].n_unique() > 1]
    if len(usable) < 2:
        return float("nan")
    correlation = np.corrcoef(np.column_stack([wide[name].rank().to_numpy() for name in usable]), rowvar=False)
    return float(correlation[np.triu_indices(len(usable), 1)].mean())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
