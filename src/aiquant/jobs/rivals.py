"""What a model has to be better than: zero, momentum, the plain book, and the champion; compared pair by pair.

Forecasts are compared by their rank IC of each date. It is the same question for every model of a horizon, whatever
book is held on it, and far less noisy than a book's returns: a model that orders the symbols better by 0.02 shows it in
two years, a Sharpe ratio that is better by 0.5 in ten. That a profit is left after costs is asked by other rules. A
book that makes no forecast (equal weight) is compared by net returns, and only with a book that is long like itself: a
book of longs and shorts has not the market's risk, and is held against cash.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.jobs import trials
from aiquant.jobs.pipeline import Inputs, Pipeline
from aiquant.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.backtest.bootstrap import Difference
    from aiquant.features.catalogue import FeatureSet
    from aiquant.lake import Lake
    from aiquant.learning.gate import Rival
    from aiquant.learning.judgement import Judgement
    from aiquant.learning.selection import NetResult
    from aiquant.learning.tracking import Tracking

FORECAST_ROWS = ["symbol", "event_time"]

LEAST_SHARED = 0.5
"""Share of a model's dates on which a rival must be judged, too: a few shared dates show nothing."""


def baselines(
    pipeline: Pipeline,
    inputs: Inputs,
    forecasts: pa.Table,
    labels: pa.Table,
    judged: Judgement,
    net: NetResult,
    equal_weight: pa.Table | None,
) -> list[Rival]:
    """The rivals that learn nothing.

    Parameters
    ----------
    equal_weight
        Table ``equity`` of the plain book over the sessions of ``net``; None where it is not known.
    """
    from aiquant.learning import judgement, trials
    from aiquant.learning.gate import Rival
    from aiquant.portfolio import rules

    seed, settings = pipeline.settings.learning.seed, pipeline.settings
    ours = judged.by_date["rank_ic"].to_numpy()
    found = [Rival("zero", "rank IC", _difference(ours, np.zeros(len(ours)), seed))]
    if settings.learning.model == "momentum":
        found.append(Rival("momentum", "rank IC", excused="the model is momentum itself"))
    else:
        plain = _momentum(pipeline, inputs, forecasts)
        if plain.num_rows:
            found.append(by_rank_ic("momentum", judged, judgement.judge(plain, labels), seed))
        else:
            found.append(Rival("momentum", "rank IC", unknown="its twelve months reach over no date of the forecasts"))
    long = rules.is_long(settings.portfolio)
    if long and equal_weight is None:
        found.append(Rival("equal weight", "net return", unknown="its account is not in the lake"))
    elif long:
        book = pl.DataFrame(trials.returns(equal_weight, "", "")).select("date", theirs="net_return")
        own = pl.DataFrame({"date": pl.Series(net.dates), "ours": net.returns + net.risk_free})
        both = own.join(book, on="date", how="inner").sort("date")
        difference = _difference(both["ours"].to_numpy(), both["theirs"].to_numpy(), seed)
        found.append(Rival("equal weight", "net return", difference))
    return found


def champion(
    lake: Lake, tracking: Tracking, settings: Settings, run_id: str, labels: pa.Table, judged: Judgement
) -> Rival | None:
    """The model in use; None where there is none."""
    from aiquant.learning import gate, judgement, registry

    name = gate.CHAMPION
    used = registry.champion(tracking)
    if used is None:
        return None
    if used.run_id == run_id:
        return gate.Rival(name, "rank IC", excused=f"the model is the champion itself, version {used.version}")
    told = lake.read(schemas.TRIALS, where={"run_id": used.run_id}, missing_ok=True)
    if trials.configuration(settings) in told["configuration"].to_pylist():
        why = f"the model renews the champion, version {used.version}: the same settings on other data"
        return gate.Rival(name, "rank IC", excused=why)
    of_champion = (pl.col("run_id") == used.run_id) & (pl.col("fold") >= 0)
    theirs = lake.read(schemas.FORECASTS, where=of_champion, missing_ok=True)
    if not theirs.num_rows:
        why = f"the lake holds no forecasts of its run {used.run_id}"
        return gate.Rival(name, "rank IC", unknown=why)
    if theirs["horizon"][0].as_py() != judged.horizon:
        why = f"it forecasts {theirs['horizon'][0]} sessions ahead, and this model {judged.horizon}"
        return gate.Rival(name, "rank IC", unknown=why)
    return by_rank_ic(name, judged, judgement.judge(theirs, labels), settings.learning.seed)


def by_rank_ic(name: str, ours: Judgement, theirs: Judgement, seed: int) -> Rival:
    """Compare two judgements on the decision times that both have."""
    from aiquant.learning.gate import Rival

    both = pl.DataFrame(ours.by_date).join(pl.DataFrame(theirs.by_date), on="event_time", how="inner", suffix="_theirs")
    both = both.sort("event_time")
    dates = ours.by_date.num_rows
    if both.height < max(2, LEAST_SHARED * dates):
        why = (
            f"{both.height} of the model's {dates} dates are judged for both, at least {LEAST_SHARED:.0%} are asked for"
        )
        return Rival(name, "rank IC", unknown=why)
    return Rival(name, "rank IC", _difference(both["rank_ic"].to_numpy(), both["rank_ic_theirs"].to_numpy(), seed))


def _difference(ours: NDArray[np.float64], theirs: NDArray[np.float64], seed: int) -> Difference:
    from aiquant.backtest import bootstrap

    return bootstrap.difference(ours, theirs, seed=seed)


class _OneFeature(Pipeline):
    """The pipeline of the same settings, with the one feature that momentum is."""

    @cached_property
    def feature_set(self) -> FeatureSet:
        """Momentum alone."""
        from dataclasses import replace

        from aiquant.features import catalogue
        from aiquant.learning.forecasters.baselines import MOMENTUM

        core = catalogue.get("core")
        return replace(core, name=MOMENTUM, features=tuple(f for f in core.features if f.name == MOMENTUM))


def _momentum(pipeline: Pipeline, inputs: Inputs, forecasts: pa.Table) -> pa.Table:
    """Momentum as forecasts, for the rows that the model forecast; whatever features the model itself has."""
    from aiquant.learning.forecasters.baselines import MOMENTUM

    feature = pl.DataFrame(_OneFeature(pipeline.settings).features(inputs)).select(*FORECAST_ROWS, MOMENTUM)
    rows = pl.DataFrame(forecasts).join(feature, on=FORECAST_ROWS, how="inner")
    rows = rows.with_columns(pl.lit("momentum").alias("model"), pl.col(MOMENTUM).cast(pl.Float64).alias("forecast"))
    return schemas.conform(rows.filter(pl.col("forecast").is_finite()).drop(MOMENTUM).to_arrow(), schemas.FORECASTS)
