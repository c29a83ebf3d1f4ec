"""Trainings and other books of one write themselves into the ledger of trials, each once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from aiquant import schemas, settings
from aiquant.jobs import backtest, train, trials, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

TOLD = {"learning.model": "ridge", "learning.min_train_years": "1"}


@pytest.fixture
def home(tmp_path: Path, make_bars: Callable[..., pa.Table]) -> Workspace:
    made = workspace.create(tmp_path / "w")
    made.lake.write(schemas.BARS, make_bars(symbols=6, first=_day(2016), last=_day(2018)))
    return workspace.open_(made.root, TOLD)


def _day(year: int) -> date:
    return date(year, 1, 4)


def test_trainings_and_other_books_are_trials_once_each(home: Workspace) -> None:
    assert trials.read(home.lake).count == 0
    done = train.train(home, Journal())
    train.train(home, Journal())
    tried = trials.read(home.lake)
    assert (tried.count, tried.matrix.shape[1]) == (1, 1)
    row = home.lake.read(schemas.TRIALS).to_pylist()[0]
    assert (row["study"], row["trial"], row["run_id"], row["model"]) == ("runs", done.run_id, done.run_id, "ridge")
    assert row["objective"] == pytest.approx(done.study.judgement.rank_ic)

    backtest.of_run(home, Journal(), done.run_id)
    equity = home.lake.read(schemas.EQUITY, where={"run_id": done.run_id})["equity"].to_numpy()
    assert tried.matrix[:, 0] == pytest.approx(equity[1:] / equity[:-1] - 1), "the trial earned what the run earned"
    assert trials.read(home.lake).count == 1, "the run's own book is the trial that training wrote"

    other = workspace.open_(home.root, TOLD | {"portfolio.quantile": "0.4"})
    for _ in range(2):
        backtest.of_run(other, Journal(), done.run_id)
    assert trials.read(home.lake).count == 2
    strict = workspace.open_(home.root, TOLD | {"gate.min_breadth": "99"})
    train.train(strict, Journal())
    assert trials.read(home.lake).count == 2, "another threshold of the gate is another run, but no other trial"


def test_an_edited_feature_set_is_another_trial(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    told = settings.load(None, {"features.set": str(own)})

    def written(formula: str) -> str:
        own.write_text(f'[features.gap]\nformula = "{formula}"\n', encoding="utf-8")
        return trials.configuration(told)

    first = written("$close / Mean($close, 20)")
    assert written("$close / Mean($close, 21)") != first
    assert written("$close / Mean($close, 20)") == first
