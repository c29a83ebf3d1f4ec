"""``check leakage``: cut history at random times, compute again, and demand that nothing before the cut changes.

Whatever a model sees at a time t (features, who is in the universe, the labels it was trained on) and what it says must
be the same whether or not the data after t exist. Cuts fall on random decision times and, besides, on the first
decision of the test window around each: there a training label that reaches into the test window is not known yet, so
a split without a purge shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, read
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.learning.panel import Panel
    from aiquant.learning.splits import Fold

KEY = ["symbol", "event_time"]


@dataclass(frozen=True)
class Comparison:
    """One comparison of the whole history with a history that was cut.

    Attributes
    ----------
    at
        The cut (UTC).
    what
        ``features``, ``labels``, ``forecasts`` or ``splits``; a set of features where sets are checked alone.
    compared, differing
        Values that were compared, and how many differed; a row that only one side has counts once.
    example
        One difference, for a person.
    """

    at: datetime
    what: str
    compared: int
    differing: int
    example: str | None = None


@dataclass
class Verdict:
    """What the check found."""

    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing differed, and something was compared."""
        return bool(self.comparisons) and not any(c.differing for c in self.comparisons)

    @property
    def leaking(self) -> list[str]:
        """What differed: some of ``features``, ``labels``, ``forecasts`` and ``splits``."""
        return sorted({c.what for c in self.comparisons if c.differing})

    def sentence(self) -> str:
        """The verdict in one sentence."""
        cuts = len({c.at for c in self.comparisons if c.what != "splits"})
        values = sum(c.compared for c in self.comparisons)
        if self.passed:
            return f"No leak found: {values:,} values at {cuts} cuts are the same with and without the future."
        bad = sum(c.differing for c in self.comparisons)
        return f"Leak: {bad:,} of {values:,} values ({', '.join(self.leaking)}) change when the future is cut off."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON and for the report."""
        return {
            "passed": self.passed,
            "sentence": self.sentence(),
            "leaking": self.leaking,
            "comparisons": [{**asdict(c), "at": c.at.isoformat()} for c in self.comparisons],
        }


def check(
    workspace: Workspace, journal: Journal, pipeline: Pipeline | None = None, inputs: Inputs | None = None
) -> Verdict:
    """Run the check on a workspace's data, for the pipeline of its settings or for another one.

    Raises
    ------
    DataError
        When there is too little history for a single test window.
    """
    settings = workspace.settings
    pipeline = pipeline or Pipeline(settings)
    inputs = inputs or read(workspace.lake, settings)
    with journal.station("check leakage") as station:
        verdict = examine(pipeline, inputs, settings.leakage.cuts, settings.learning.seed, journal)
        station.rows = sum(c.compared for c in verdict.comparisons)
        station.note = "passed" if verdict.passed else "LEAK: " + ", ".join(verdict.leaking)
    return verdict


def examine(pipeline: Pipeline, inputs: Inputs, cuts: int, seed: int, journal: Journal | None = None) -> Verdict:
    """Compare the pipeline on ``inputs`` with itself on inputs cut at ``cuts`` random times and fold starts."""
    whole = _Computed.of(pipeline, inputs)
    verdict = Verdict(list(_overlaps(whole.panel, whole.folds)))
    moments = _moments(whole, cuts, seed)
    forecasts: dict[int, pl.DataFrame] = {}
    advance = journal.progress("check leakage") if journal is not None else (lambda done, total: None)
    for done, (moment, fold) in enumerate(moments):
        advance(done, len(moments))
        if fold.number not in forecasts:
            forecasts[fold.number] = whole.forecast(pipeline, fold)
        verdict.comparisons.extend(_compare(pipeline, inputs, whole, moment, fold, forecasts[fold.number]))
    return verdict


@dataclass(frozen=True)
class _Computed:
    """All that a pipeline makes of inputs, short of forecasts."""

    features: pl.DataFrame
    labels: pl.DataFrame
    panel: Panel
    folds: list[Fold]

    @classmethod
    def of(cls, pipeline: Pipeline, inputs: Inputs) -> _Computed:
        features = pipeline.features(inputs)
        return cls.behind(pipeline, inputs, features, pl.DataFrame(features))

    @classmethod
    def behind(cls, pipeline: Pipeline, inputs: Inputs, features: pa.Table, kept: pl.DataFrame) -> _Computed:
        """What follows from features; ``kept`` of them are remembered, which may be none."""
        labels = pipeline.learnt(inputs, pipeline.labels(inputs))
        panel = pipeline.panel(features, labels, pipeline.universe(inputs))
        return cls(kept, pl.DataFrame(labels), panel, pipeline.folds(panel))

    def forecast(self, pipeline: Pipeline, fold: Fold) -> pl.DataFrame:
        trained = pipeline.train(self.panel, [fold], run_id="leakage-check")
        return pl.DataFrame(trained.forecasts).select(*KEY, "forecast")


def _moments(whole: _Computed, cuts: int, seed: int) -> list[tuple[datetime, Fold]]:
    """Random decision times of test windows, and the first decision of the window of each."""
    if not whole.folds:
        raise DataError(
            "there is too little history for a single test window", "lower learning.min_train_years, or add bars"
        )
    rng = np.random.default_rng(seed)
    times = [np.unique(whole.panel.event_time[fold.test]) for fold in whole.folds]
    choices = [(at, fold) for at, fold in zip(times, whole.folds, strict=True) if len(at)]
    found: dict[datetime, Fold] = {}
    for pick in rng.choice(len(choices), size=min(cuts, len(choices)), replace=False):
        at, fold = choices[int(pick)]
        found[_utc(at[0])] = fold
        found[_utc(rng.choice(at))] = fold
    return sorted(found.items(), key=lambda pair: pair[0])


def _utc(moment: np.datetime64) -> datetime:
    plain: datetime = moment.astype("datetime64[us]").item()
    return plain.replace(tzinfo=UTC)


def _overlaps(panel: Panel, folds: list[Fold]) -> Iterator[Comparison]:
    """Training labels that are not known at the first decision of the test window."""
    for fold in folds:
        if not len(fold.test) or not len(fold.train):
            continue
        start = panel.event_time[fold.test].min()
        ends = panel.label_end[fold.train]
        reaching = int((ends >= start).sum())
        example = f"{reaching} training labels of fold {fold.number} end in its test window" if reaching else None
        yield Comparison(_utc(start), "splits", len(fold.train), reaching, example)


def _compare(
    pipeline: Pipeline, inputs: Inputs, whole: _Computed, moment: datetime, fold: Fold, forecasts: pl.DataFrame
) -> Iterator[Comparison]:
    seen = inputs.known_at(moment)
    until = pl.col("event_time") <= moment
    features = pipeline.features(seen)
    yield differences("features", moment, whole.features, pl.DataFrame(features), until)
    cut = _Computed.behind(pipeline, seen, features, whole.features.clear())
    del features  # as large as all the rest, and the training that follows needs the panel alone
    known = pl.col("label_end") <= moment
    early = cut.labels.filter(~known)
    told = differences("labels", moment, whole.labels, cut.labels.filter(known), known)
    if early.height:
        example = f"{early.height} labels end after the cut"
        told = Comparison(moment, "labels", told.compared + early.height, told.differing + early.height, example)
    yield told
    same = [f for f in cut.folds if f.number == fold.number]
    made = cut.forecast(pipeline, same[0]) if same else forecasts.clear()
    yield differences("forecasts", moment, forecasts, made.filter(until), until)


def differences(what: str, moment: datetime, whole: pl.DataFrame, cut: pl.DataFrame, until: pl.Expr) -> Comparison:
    """Compare all values, bit for bit; NaN equals NaN.

    Parameters
    ----------
    whole, cut
        Rows with the future, and rows without it.
    until
        Which rows of ``whole`` should be those of ``cut``; filtered column by column, so that no copy of all is made.
    """
    values = [name for name in whole.columns if name not in KEY]
    mask = whole.select(until.fill_null(False)).to_series()
    keys, rows = whole.select(KEY).filter(mask), int(mask.sum())
    if values != [name for name in cut.columns if name not in KEY] and cut.height and rows:
        return Comparison(moment, what, rows, rows, "the columns differ")
    lonely, example = 0, None
    if not keys.equals(cut.select(KEY)):
        whole, cut, lonely, example = _paired(whole.filter(mask), cut)
        mask = pl.Series([True]).new_from_index(0, whole.height)
        keys, rows = whole.select(KEY), whole.height
    differing = lonely
    for name in values:
        column = whole[name].filter(mask)
        unequal = column.ne_missing(cut[name])
        if count := int(unequal.sum()):
            differing += count
            symbol, at = keys.row(first := int(unequal.arg_max() or 0))
            example = example or (
                f"{name} of {symbol} at {at:%Y-%m-%d} is {column[first]!r} with the future "
                f"and {cut[name][first]!r} without it"
            )
    return Comparison(moment, what, lonely + rows * len(values), differing, example)


def _paired(whole: pl.DataFrame, cut: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, int, str | None]:
    """The rows that both have, in one order; how many only one has, and an example of these."""
    lonely, example = 0, None
    for side, rows, other in (("with", whole, cut), ("without", cut, whole)):
        alone = rows.select(KEY).join(other.select(KEY), on=KEY, how="anti").sort("event_time", "symbol")
        if alone.height:
            symbol, at = alone.row(0)
            lonely += alone.height
            example = example or f"{symbol} at {at:%Y-%m-%d} is there only {side} the future"
    return (
        whole.join(cut.select(KEY), on=KEY, how="semi").sort(KEY),
        cut.join(whole.select(KEY), on=KEY, how="semi").sort(KEY),
        lonely,
        example,
    )
