"""Corporate actions, universes and corrected bars on the way from bars to forecasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from aiquant import schemas, settings
from aiquant.calendars import sessions
from aiquant.jobs import backtest, vintages
from aiquant.jobs.pipeline import Inputs, Pipeline, describe, sessions_of
from aiquant.jobs.vintages import Reach

SETTINGS = settings.load(None, {"learning.min_train_years": "1", "learning.threads": "1"})
SPLIT_DAY = date(2016, 6, 1)


def _inputs(bars: pa.Table, actions: pa.Table | None = None, universe: pa.Table | None = None) -> Inputs:
    stated = {"bars": 0, "corporate_actions": None, "universe": None}
    return Inputs(bars, actions, universe, sessions_of(bars, "XNYS"), stated)


@pytest.fixture(scope="module")
def bars(make_bars: Callable[..., Any]) -> pa.Table:
    return make_bars(symbols=6, first=date(2015, 1, 2), last=date(2016, 12, 30), seed=2)


@pytest.fixture(scope="module")
def split(bars: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The same market with a two-for-one split of one symbol: bars as traded, and the action."""
    after = (pl.col("symbol") == "S002") & (pl.col("date") >= SPLIT_DAY)
    halved = [
        pl.when(after).then(pl.col(c) / 2).otherwise(pl.col(c)).alias(c) for c in ("open", "high", "low", "close")
    ]
    doubled = pl.when(after).then(pl.col("volume") * 2).otherwise("volume").alias("volume")
    traded = pl.DataFrame(bars).with_columns(*halved, doubled).to_arrow().cast(schemas.BARS.schema)
    opened = sessions("XNYS", SPLIT_DAY, SPLIT_DAY).opens[0].item().replace(tzinfo=UTC)
    action = {"symbol": "S002", "kind": "split", "date": SPLIT_DAY, "event_time": opened, "known_from": opened}
    rows = [{**action, "ratio": 2.0, "amount": None, "source": "test"}]
    return traded, pa.Table.from_pylist(rows, schema=schemas.CORPORATE_ACTIONS.schema)


def test_a_split_changes_no_feature_and_no_label(bars: pa.Table, split: tuple[pa.Table, pa.Table]) -> None:
    pipeline = Pipeline(SETTINGS)
    whole, traded = _inputs(bars), _inputs(*split)
    assert pl.DataFrame(pipeline.features(traded)).equals(pl.DataFrame(pipeline.features(whole)))
    labels = [pl.DataFrame(pipeline.labels(i)) for i in (whole, traded)]
    assert labels[0].drop("forward_return").equals(labels[1].drop("forward_return"))
    assert (labels[0]["forward_return"] - labels[1]["forward_return"]).abs().max() < 1e-12
    ignored = pl.DataFrame(pipeline.labels(replace(traded, actions=None)))
    assert (ignored["forward_return"] - labels[0]["forward_return"]).abs().max() > 0.4  # type: ignore[operator]


def test_a_split_changes_no_equity(bars: pa.Table, split: tuple[pa.Table, pa.Table]) -> None:
    days = sorted(set(bars["date"].to_pylist()))[300::5]
    names = ("S001", "S002", "S003")
    weights = pa.Table.from_pylist([{"date": d, "symbol": s, "weight": 0.3} for d in days for s in names])
    weights = weights.cast(pa.schema([("date", pa.date32()), ("symbol", pa.string()), ("weight", pa.float64())]))
    traded, actions = split
    calendar = sessions_of(bars, "XNYS")
    plain = backtest.simulate(SETTINGS, weights, bars, calendar, None)["strategy"].equity
    acted = backtest.simulate(SETTINGS, weights, traded, calendar, actions)["strategy"].equity
    assert acted["equity"].to_pylist() == pytest.approx(plain["equity"].to_pylist(), rel=1e-12)


def test_only_members_are_forecast(bars: pa.Table) -> None:
    known = datetime(2015, 1, 1, tzinfo=UTC)
    member = {"universe": "u", "event_time": known, "known_from": known, "source": "test"}
    rows = [
        {
            **member,
            "symbol": f"S{i:03d}",
            "member_from": date(2015, 1, 1),
            "member_to": date(2016, 6, 30) if i == 0 else None,
        }
        for i in range(5)
    ]
    universe = pa.Table.from_pylist(rows, schema=schemas.UNIVERSE.schema)
    pipeline, inputs = Pipeline(SETTINGS), _inputs(bars, universe=universe)
    panel = pipeline.panel(pipeline.features(inputs), pipeline.labels(inputs), pipeline.universe(inputs))
    forecasts = pl.DataFrame(pipeline.train(panel, pipeline.folds(panel), "r").forecasts)
    assert set(forecasts["symbol"]) == {"S000", "S001", "S002", "S003", "S004"}
    assert forecasts.filter(pl.col("symbol") == "S000")["date"].max() == date(2016, 6, 30)


def _mean_of_three(bars: pa.Table) -> pa.Table:
    frame = pl.DataFrame(bars).sort("symbol", "event_time")
    mean = pl.col("close").rolling_mean(3, min_samples=1).over("symbol")
    return frame.select("symbol", "date", "event_time", mean.alias("mean")).to_arrow()


@pytest.mark.parametrize("by_symbol", [True, False])
def test_each_row_knows_the_versions_of_its_own_time(bars: pa.Table, by_symbol: bool) -> None:
    """Against the definition: for each row, compute with what was known at its time, and take that row."""
    frame = pl.DataFrame(bars).filter(pl.col("symbol").is_in(["S000", "S001"]) & (pl.col("date") < date(2015, 3, 15)))
    days = frame["date"].unique().sort().to_list()
    corrected = [
        ("S000", days[5], timedelta(days=1)),
        ("S000", days[5], timedelta(days=9)),
        ("S001", days[20], timedelta(days=4, hours=3)),
        ("S001", days[21], timedelta(days=4)),
        ("S000", days[-1], timedelta(days=400)),
    ]
    late = []
    for number, (symbol, day, after) in enumerate(corrected):
        row = frame.filter((pl.col("symbol") == symbol) & (pl.col("date") == day))
        late.append(row.with_columns(pl.col("known_from") + after, pl.col("close") * (2 + number)))
    versions = pl.concat([frame, *late]).to_arrow().cast(schemas.BARS.schema)
    reach = Reach(sessions_of(versions, "XNYS"), 3, vintages.first_bars(versions))

    found = pl.DataFrame(
        vintages.point_in_time(versions, lambda bars, _: _mean_of_three(bars), "event_time", reach, by_symbol=by_symbol)
    )

    expected = []
    for moment in frame["event_time"].unique().sort():
        known = vintages.newest(vintages.known_at(versions, moment))
        rows = pl.DataFrame(_mean_of_three(known))
        expected.append(rows.filter(pl.col("event_time") == moment))
    wanted = pl.concat(expected).sort("symbol", "event_time")
    assert found.select("symbol", "event_time").equals(wanted.select("symbol", "event_time"))
    assert (found["mean"] - wanted["mean"]).abs().max() < 1e-12  # type: ignore[operator]
    careless = pl.DataFrame(_mean_of_three(vintages.newest(versions)))
    assert (found["mean"] - careless["mean"]).abs().max() > 1  # type: ignore[operator]


def test_without_corrections_nothing_is_computed_twice(bars: pa.Table) -> None:
    calls = []

    def compute(rows: pa.Table, _: Reach) -> pa.Table:
        calls.append(rows.num_rows)
        return _mean_of_three(rows)

    reach = Reach(sessions_of(bars, "XNYS"), 3, vintages.first_bars(bars))
    vintages.point_in_time(bars, compute, "event_time", reach)
    assert calls == [bars.num_rows]


@pytest.mark.parametrize(("left", "free"), [(date(2016, 3, 1), True), (None, False), (date(2019, 1, 2), False)])
def test_a_universe_that_nobody_left_is_not_called_free_of_survivorship(
    bars: pa.Table, left: date | None, free: bool
) -> None:
    known = datetime(2015, 1, 2, 14, 30, tzinfo=UTC)
    row = {"universe": "u", "member_from": known.date(), "event_time": known, "known_from": known, "source": "test"}
    members = [{**row, "symbol": "S000", "member_to": left}, {**row, "symbol": "S001", "member_to": None}]
    universe = pa.Table.from_pylist(members, schema=schemas.UNIVERSE.schema)
    assert describe(_inputs(bars, universe=universe))["survivorship_free"] is free
    assert describe(_inputs(bars))["survivorship_free"] is False


@pytest.mark.parametrize("window", ["horizon", "triple-barrier"])
def test_a_correction_of_a_symbol_that_stopped_takes_none_of_its_labels(bars: pa.Table, window: str) -> None:
    stops, corrected = date(2016, 3, 1), date(2015, 6, 1)
    frame = pl.DataFrame(bars).filter((pl.col("symbol") != "S003") | (pl.col("date") < stops))
    later = frame.filter((pl.col("symbol") == "S003") & (pl.col("date") == corrected)).with_columns(
        pl.col("known_from") + timedelta(days=20), pl.col("volume") + 1
    )
    pipeline = Pipeline(SETTINGS.model_copy(update={"labels": SETTINGS.labels.model_copy(update={"window": window})}))

    def labels(rows: pl.DataFrame) -> pl.DataFrame:
        inputs = _inputs(rows.to_arrow().cast(schemas.BARS.schema))
        return pl.DataFrame(pipeline.learnt(inputs, pipeline.labels(inputs)))

    plain, mended = labels(frame), labels(pl.concat([frame, later]))
    assert plain.filter(pl.col("symbol") == "S003").height > 200
    assert mended.equals(plain)
