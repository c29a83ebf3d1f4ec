"""A strategy by its name: to lake, report and ledger; the same twice is one; checks as verbs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from aiquant import schemas
from aiquant.backtest import engine
from aiquant.errors import DataError, MissingError, UsageError
from aiquant.jobs import strategies, strategy_checks, strategy_files, trials, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_bars: Callable[..., pa.Table]) -> Workspace:
    opened = workspace.create(tmp_path_factory.mktemp("work") / "w")
    opened.lake.write(schemas.BARS, make_bars(symbols=5, first=date(2018, 1, 2), last=date(2019, 12, 31)))
    return opened


def test_a_backtest_is_kept_reported_and_counted_once(place: Workspace, tmp_path: Path) -> None:
    chosen = strategies.choose(place, "sma-cross", {"fast": "5", "slow": "20"})
    out = tmp_path / "equity.csv"
    first, second = (strategies.run(place, Journal(), chosen, out=out) for _ in range(2))
    assert first.run_id == second.run_id and first.digest == second.digest
    key = {"run_id": first.run_id}
    weights = place.lake.read(schemas.TARGET_WEIGHTS, where=key)
    equity = place.lake.read(schemas.EQUITY, where=key).sort_by("date")
    inputs = strategies.material(place).inputs
    by_hand = engine.run(weights, inputs.newest, inputs.sessions, place.settings.backtest)
    assert equity["equity"].to_pylist() == by_hand.equity["equity"].to_pylist()
    assert place.lake.read(schemas.FILLS, where=key).num_rows == by_hand.fills.num_rows > 0
    assert pl.read_csv(out).height == equity.num_rows
    folder = place.root / "backtests" / str(first.run_id)
    assert json.loads((folder / "manifest.json").read_text())["params"] == {"fast": 5, "slow": 20}
    assert "sma-cross" in (folder / "report.html").read_text()
    before = trials.read(place.lake).count
    strategies.run(place, Journal(), strategies.choose(place, "sma-cross", {"fast": "6", "slow": "20"}))
    assert trials.read(place.lake).count == before + 1
    assert place.run_ids() == [], "no training run: other verbs do not take it for one"


def test_what_is_decided_from_a_date_on_knows_what_was_before(place: Workspace) -> None:
    chosen = strategies.choose(place, "mean-reversion")
    done = strategies.run(place, Journal(), chosen, first=date(2019, 1, 2))
    weights = place.lake.read(schemas.TARGET_WEIGHTS, where={"run_id": done.run_id})
    assert min(weights["date"].to_pylist()) < date(2019, 1, 10)


def test_the_settings_name_a_strategy_and_its_parameters(tmp_path: Path) -> None:
    opened = workspace.create(tmp_path / "w")
    (opened.root / "aiquant.toml").write_text('[strategy]\nname = "momentum"\n[strategy.params]\nskip = 3\ntop = 0.3\n')
    opened = workspace.open_(opened.root)
    assert strategies.choose(opened, None, {"top": "0.5"}).params == {"skip": 3, "top": 0.5}
    assert strategies.choose(opened, "equal-weight").params == {}


def test_what_cannot_be_is_told(place: Workspace) -> None:
    with pytest.raises(DataError, match="decided nothing at"):
        strategies.run(place, Journal(), strategies.choose(place, "sma-cross", {"slow": "5000"}))
    with pytest.raises(UsageError, match="no bar on or after"):
        strategies.run(place, Journal(), strategies.choose(place, "momentum"), first=date(2031, 1, 1))
    with pytest.raises(MissingError, match="no run"):
        strategies.material(place, "nothing")


def test_files_of_the_workspace_are_listed_and_never_overwritten(place: Workspace) -> None:
    path = strategy_files.begin(place, "own-idea")
    (path.parent / "broken.py").write_text("1 / 0\n")
    lines = {line.name: line for line in strategy_files.list_all(place.root)}
    assert lines["own-idea"].origin == "file" and lines["own-idea"].params == "window=50"
    assert "broken.py:1: ZeroDivisionError" in lines["broken"].about and lines["momentum"].origin == "built-in"
    assert strategy_files.show(place.root, "own-idea")["parameters"][0]["default"] == 50
    with pytest.raises(UsageError, match="is there already"):
        strategy_files.begin(place, "own-idea")
    with pytest.raises(UsageError, match="named 'momentum' already"):
        strategy_files.begin(place, "momentum")


def test_the_checks_pass_a_function_of_history_and_fail_what_is_none(place: Workspace) -> None:
    good = strategies.choose(place, "sma-cross", {"fast": "5", "slow": "20"})
    verdict = strategy_checks.leakage(place, Journal(), good)
    assert verdict.passed and "No leak found" in verdict.sentence()
    found = strategy_checks.recursive(place, Journal(), good)
    assert (found.warm_up, found.lookback) == (21, 21) and strategy_checks.told(found)["passed"]
    (place.root / "strategies" / "counts.py").write_text(
        "class Counts:\n    n = 0\n    def decide(self, history):\n        Counts.n += 1\n"
        "        return {history.symbols[0]: 1.0} if Counts.n % 3 else {}\n"
    )
    bad = strategy_checks.leakage(place, Journal(), strategies.choose(place, "counts"))
    assert not bad.passed and "asked alone" in bad.leaking
