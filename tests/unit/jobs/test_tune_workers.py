"""The processes of a tuning work on the study and the data that they are told, whatever the lake takes in meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.errors import DataError
from aiquant.jobs import features, tune_bench, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace
from aiquant.learning import tuning
from aiquant.schemas import BARS

TOLD = {
    "learning.model": "ridge",
    "learning.min_train_years": "2",
    "learning.threads": "2",
    "tuning.trials": "2",
    "tuning.jobs": "2",
}


@pytest.fixture(scope="module")
def bars(make_bars: Callable[..., pa.Table]) -> pl.DataFrame:
    return pl.DataFrame(make_bars(symbols=6, first=date(2015, 1, 2), last=date(2018, 12, 31)))


@pytest.fixture
def home(tmp_path: Path, bars: pl.DataFrame) -> Workspace:
    root = workspace.create(tmp_path / "home").root
    opened = Workspace(root, TOLD)
    put(opened, bars.filter(pl.col("date") < date(2018, 12, 20)))
    return opened


def put(home: Workspace, rows: pl.DataFrame) -> None:
    home.lake.write(BARS, rows.to_arrow().cast(BARS.schema))


def begun(home: Workspace) -> tune_bench.Bench:
    return tune_bench.build(home, Journal(), tune_bench.start(home, Journal()))


def helper(home: Workspace, assigned: tune_bench.Assignment) -> tune_bench.Bench:
    return tune_bench.build(home, Journal(), tune_bench.start(home, Journal(), assigned.versions), assigned)


def test_bars_that_arrive_after_the_beginning_change_nothing(home: Workspace, bars: pl.DataFrame) -> None:
    bench = begun(home)
    assigned = tune_bench.assignment(home, bench)
    put(home, bars.with_columns(pl.col("known_from").max(), pl.col("close") * 1.01))
    features.build(home, Journal())
    version = home.lake.version("features_core")
    again = helper(home, assigned)
    assert again.plan == bench.plan
    np.testing.assert_array_equal(again.panel.X, bench.panel.X)
    assert home.lake.version("features_core") == version, "the table of features is left as it is"


@pytest.mark.slow
def test_processes_work_on_the_study_that_was_begun(home: Workspace, bars: pl.DataFrame) -> None:
    bench, storage = begun(home), tuning.local_storage(home.root)
    put(home, bars)
    version = home.lake.version("features_core")
    tune_bench.work(home, bench, storage, None, lambda done, total: None)
    assert [each.place for each in tuning.outcomes(storage, bench.plan)] == [0, 1]
    assert home.lake.version("features_core") == version


def test_a_process_that_finds_another_study_refuses(home: Workspace, bars: pl.DataFrame) -> None:
    assigned = tune_bench.assignment(home, begun(home))
    with pytest.raises(DataError, match=f"study {assigned.plan.name} cannot be worked on.*run it again"):
        helper(Workspace(home.root, {**TOLD, "tuning.folds": "5"}), assigned)
    put(home, bars)
    features.build(home, Journal())
    newer = home.lake.version("features_core")
    assert newer is not None
    with pytest.raises(DataError, match=f"version {newer} of table features_core was made from other data"):
        helper(home, replace(assigned, features=newer))
