"""``aiquant tune`` as a user runs it: what it finds counts in training, in the ledger of trials, and after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Aiquant = Callable[..., Any]

TRIALS = 6
QUERY = "select study, trial, configuration, objective, state from trials where study not in ('runs', 'backtests')"
RETURNS = "select trial, count(*) as n, count(distinct date) as days, sum(net_return) as total from trial_returns"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, done_run: tuple[Path, Any], aiquant: Aiquant) -> tuple[Path, Any]:
    """A workspace with a run, tuned in one go, and the answer."""
    folder = tmp_path_factory.mktemp("tuned") / "research"
    shutil.copytree(done_run[0], folder)
    answer = aiquant("tune", "ridge", "--trials", TRIALS, "--apply", "--json", "-w", folder)
    assert answer.code == 0, answer.err
    return folder, answer


def ledger(aiquant: Aiquant, folder: Path) -> list[dict[str, Any]]:
    told = aiquant("lake", "sql", f"{QUERY} order by trial", "-w", folder, "--json")
    query = f"{RETURNS} where study like 'ridge%' group by trial order by trial"
    earned = aiquant("lake", "sql", query, "-w", folder, "--json")
    assert told.code == earned.code == 0, told.err + earned.err
    return [*told.json["rows"], *earned.json["rows"]]


def test_the_training_period_alone_is_seen(tuned: tuple[Path, Any], aiquant: Aiquant) -> None:
    folder, answer = tuned
    assert (answer.json["complete"] + answer.json["pruned"], answer.json["found_before"]) == (TRIALS, 0)
    tested = aiquant("lake", "sql", "select min(date) as d from forecasts where fold >= 0", "-w", folder, "--json")
    query = "select max(date) as d from trial_returns where study like 'ridge%'"
    seen = aiquant("lake", "sql", query, "-w", folder, "--json")
    assert seen.json["rows"][0]["d"] < tested.json["rows"][0]["d"]


def test_each_trial_is_in_the_ledger_with_what_it_earned(tuned: tuple[Path, Any], aiquant: Aiquant) -> None:
    folder, answer = tuned
    rows = ledger(aiquant, folder)
    told, earned = [r for r in rows if "state" in r], [r for r in rows if "days" in r]
    assert [row["trial"] for row in told] == [str(each["trial"]) for each in answer.json["trials"]]
    assert [row["objective"] for row in told] == [each["rank_ic"] for each in answer.json["trials"]]
    assert {row["trial"] for row in earned} == {row["trial"] for row in told if row["state"] == "complete"}
    assert all(row["n"] == row["days"] > 100 for row in earned)


def test_what_was_applied_is_trained_and_known_as_a_trial(tuned: tuple[Path, Any], aiquant: Aiquant) -> None:
    folder, answer = tuned
    shown = aiquant("config", "show", "-w", folder, "--json").json["settings"]["ridge.alpha"]
    assert shown == {"value": answer.json["best"]["alpha"], "origin": "tuned.toml"}
    assert aiquant("run", "--model", "ridge", "-w", folder, "--json").code == 0
    trained = "select configuration from trials where study = 'runs' and model = 'ridge'"
    query = f"select count(distinct configuration) as c, count(*) as n from trials where configuration in ({trained})"
    (found,) = aiquant("lake", "sql", query, "-w", folder, "--json").json["rows"]
    assert found == {"c": 1, "n": 2}, "the training and the trial that it repeats are one configuration"
    again = aiquant("tune", "ridge", "--trials", TRIALS, "--resume", "--json", "-w", folder)
    assert again.json["found_before"] == TRIALS, "applying begins no other study"


def test_killed_on_the_way_it_goes_on_to_the_same_ledger(
    tuned: tuple[Path, Any], done_run: tuple[Path, Any], tmp_path: Path, aiquant: Aiquant
) -> None:
    home, killed = tmp_path / "research", False
    shutil.copytree(done_run[0], home)
    words = ["tune", "ridge", "--trials", str(TRIALS), "-w", str(home)]
    process = subprocess.Popen(
        [sys.executable, "-m", "aiquant", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    store, deadline = home / "optuna.db", time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if store.is_file() and _trials(store) >= 3:
            os.kill(process.pid, signal.SIGKILL)
            killed = True
            break
        time.sleep(0.02)
    process.wait()
    assert killed, "it had ended before it was killed"
    after = aiquant(*words, "--resume", "--json")
    assert after.code == 0, after.err
    assert 0 < after.json["found_before"] < TRIALS
    assert ledger(aiquant, home) == ledger(aiquant, tuned[0])


def test_wrong_use_is_told(done_run: tuple[Path, Any], aiquant: Aiquant) -> None:
    folder = done_run[0]
    for words, code, told in (
        (("tune", "zero"), 2, "has nothing to tune"),
        (("tune", "xgboost", "--resume"), 3, "no study"),
        (("tune", "xgboost", "--trials", "0"), 2, "tuning.trials"),
    ):
        answer = aiquant(*words, "-w", folder)
        assert (answer.code, told in answer.err) == (code, True), answer.err
        assert "read bars" not in answer.err, "it is told before anything is read"


def _trials(store: Path) -> int:
    import sqlite3

    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
            return int(database.execute("select count(*) from trials").fetchone()[0])
    except sqlite3.Error:
        return 0
