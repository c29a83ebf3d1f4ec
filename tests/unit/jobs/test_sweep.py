"""``aiquant sweep``: each set is the backtest of that set, compiled or not; all of them count; how good the best is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import schemas
from aiquant.errors import DataError, UsageError
from aiquant.jobs import strategies, sweep, sweep_runs, trials, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

SETS = {"fast": "3,5,9", "slow": "5:25:10"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_bars: Callable[..., pa.Table]) -> Workspace:
    opened = workspace.create(tmp_path_factory.mktemp("work") / "w")
    bars = pl.DataFrame(make_bars(symbols=3, first=date(2018, 1, 2), last=date(2019, 6, 28)))
    gap = (pl.col("symbol") == "S001") & pl.col("date").is_between(date(2018, 6, 4), date(2018, 6, 8))
    opened.lake.write(schemas.BARS, bars.filter(~gap).to_arrow().cast(schemas.BARS.schema))
    return opened


def test_each_set_is_the_backtest_of_that_set(place: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "sets.parquet"
    done = sweep.run(place, Journal(), "sma-cross", SETS, out=out)
    assert (done.sets, done.refused, done.way) == (7, 2, "compiled")
    rows = pl.read_parquet(out)
    for row in rows.iter_rows(named=True):
        chosen = strategies.choose(place, "sma-cross", {"fast": row["fast"], "slow": row["slow"]})
        told = strategies.run(place, Journal(), chosen)
        figures = told.figures["strategy"]
        assert told.equity["strategy"]["equity"][-1].as_py() == row["final"]
        for name in ("annual_return", "volatility", "sharpe", "max_drawdown"):
            assert row[name] == pytest.approx(figures[name], rel=1e-9), name
    assert done.best[0].sharpe == rows["sharpe"].max()


def test_compiled_and_strategy_by_strategy_are_one(place: Workspace) -> None:
    chosen, seen = strategies.choose(place, "sma-cross"), strategies.material(place)
    sets = [{"fast": 3, "slow": 10}, {"fast": 4, "slow": 40}, {"fast": 2, "slow": 3000}]
    family = sweep_runs.Family.of(chosen, seen)
    assert family is not None
    for params, curve in zip(sets, family.curves(chosen, sets, lambda done, total: None), strict=True):
        other = sweep_runs.account_of(chosen, seen, params)
        assert np.array_equal(curve.dates, other.dates) and curve.fills == other.fills
        np.testing.assert_array_equal(curve.equity, other.equity)


@pytest.mark.slow
def test_other_strategies_run_in_processes_with_the_same_result(place: Workspace) -> None:
    grid = {"window": "3,5", "bottom": "0.4"}
    found = []
    for workers in ("1", "2"):
        opened = Workspace(place.root, {"sweep.workers": workers})
        found.append(sweep.run(opened, Journal(), "mean-reversion", grid))
    assert found[0].way == "strategy by strategy" and found[0].best == found[1].best
    assert found[0].study == found[1].study


def test_what_a_family_does_not_know_is_played_strategy_by_strategy(place: Workspace) -> None:
    seen = strategies.material(place)
    told = Workspace(place.root, {"backtest.stop_loss": "0.1"})
    assert sweep_runs.Family.of(strategies.choose(told, "sma-cross"), seen) is None
    assert sweep_runs.Family.of(strategies.choose(place, "momentum"), seen) is None
    weighted = Workspace(place.root, {"backtest.fill": "vwap"})
    assert sweep_runs.Family.of(strategies.choose(weighted, "sma-cross"), seen) is None


def test_every_set_is_a_trial_and_the_same_sweep_twice_is_one(tmp_path: Path, place: Workspace) -> None:
    opened = workspace.create(tmp_path / "w")
    opened.lake.write(schemas.BARS, place.lake.read(schemas.BARS))
    opened = Workspace(opened.root, {"sweep.kept": "3"})
    first = sweep.run(opened, Journal(), "sma-cross", SETS)
    assert trials.read(opened.lake).count == 7 and 2 <= first.kept <= 4
    again = sweep.run(opened, Journal(), "sma-cross", SETS)
    assert again == first and trials.read(opened.lake).count == 7
    strategies.run(opened, Journal(), strategies.choose(opened, "sma-cross", {"fast": 5, "slow": 25}))
    assert trials.read(opened.lake).count == 7, "a set that was swept is no new trial when it is backtested"


def test_more_sets_ask_more_of_the_best(place: Workspace) -> None:
    few = sweep.run(place, Journal(), "sma-cross", {"fast": "3,4", "slow": "20"})
    many = sweep.run(place, Journal(), "sma-cross", {"fast": "2:15", "slow": "16:60:4"})
    assert few.luck is not None and many.luck is not None and few.luck < many.luck
    assert many.deflated is not None and 0 <= many.deflated <= 1
    assert many.overfitting is not None and 0 <= many.overfitting <= 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5,10", ["5", "10"]),
        ("5:20:5", ["5", "10", "15", "20"]),
        ("0.1:0.3:0.1", ["0.1", "0.2", "0.3"]),
        ("2:4", list("234")),
    ],
)
def test_values_are_lists_and_ranges(text: str, found: list[str]) -> None:
    assert sweep.values(text) == found


def test_what_cannot_be_swept_is_told(place: Workspace) -> None:
    for text in ("a:b:c", "5:1:1", "1:5:0", "1:2:3:4"):
        with pytest.raises(UsageError, match="no range"):
            sweep.values(text)
    with pytest.raises(UsageError, match="are more than"):
        sweep.run(place, Journal(), "sma-cross", {"fast": "1:2000", "slow": "1:2000"})
    with pytest.raises(DataError, match="every one of 2 parameter sets is refused"):
        sweep.run(place, Journal(), "sma-cross", {"fast": "30,40", "slow": "20"})
    with pytest.raises(DataError, match="decided nothing with any"):
        sweep.run(place, Journal(), "sma-cross", {"slow": "5000,6000"})
