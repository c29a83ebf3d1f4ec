"""The search: what it finds, that it can be killed at any moment, and that processes share it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aiquant.errors import MissingError, Unreachable
from aiquant.learning import tuning
from aiquant.learning.spaces import Params, Range
from aiquant.learning.tuning import Outcome, Plan

PLAN = Plan(
    name="hill",
    space={"x": Range(-4, 4), "k": Range(1, 100, integer=True, log=True)},
    first={"x": 1.5},
    trials=14,
    seed=7,
    startup=5,
    prune=True,
)


def hill(place: int, params: Params) -> Iterator[float]:
    """Highest at x = 2, found out over three folds."""
    for fold in (1, 2, 3):
        yield -((params["x"] - 2) ** 2) - 0.01 * fold


def run(storage: str, plan: Plan = PLAN) -> tuple[list[Outcome], list[Outcome]]:
    kept: list[Outcome] = []
    tuning.work(storage, plan, hill, kept.append)
    return tuning.outcomes(storage, plan), kept


def facts(found: list[Outcome]) -> list[Outcome]:
    return [replace(each, seconds=0) for each in found]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Outcome], list[Outcome]]:
    """One search from beginning to end."""
    return run(tuning.local_storage(tmp_path_factory.mktemp("whole")))


def test_all_places_are_taken_once_and_told_as_they_are_kept(whole: tuple[list[Outcome], list[Outcome]]) -> None:
    found, kept = whole
    assert [each.place for each in found] == list(range(PLAN.trials))
    assert facts(found) == facts(sorted(kept, key=lambda each: each.place))
    assert found[0].params["x"] == 1.5, "it begins with what is set"
    assert all(PLAN.space[name].holds(value) for each in found for name, value in each.params.items())
    assert all(isinstance(each.params["k"], int) for each in found)


def test_it_finds_the_top_and_gives_up_what_is_far_from_it(whole: tuple[list[Outcome], list[Outcome]]) -> None:
    found, _ = whole
    top = tuning.best(found)
    assert top is not None and top.objective > -0.3
    pruned = [each for each in found if each.state == "pruned"]
    assert pruned and max(each.objective for each in pruned) < top.objective


def test_the_seed_decides(tmp_path: Path, whole: tuple[list[Outcome], list[Outcome]]) -> None:
    again, _ = run(tuning.local_storage(tmp_path))
    assert facts(again) == facts(whole[0])
    other, _ = run(tuning.local_storage(tmp_path), replace(PLAN, name="other", seed=8))
    assert facts(other) != facts(again)


def test_run_again_it_does_nothing_and_more_trials_add_to_it(
    tmp_path: Path, whole: tuple[list[Outcome], list[Outcome]]
) -> None:
    storage = tuning.local_storage(tmp_path)
    few, _ = run(storage, replace(PLAN, trials=6))
    assert facts(few) == facts(whole[0][:6])
    assert run(storage, replace(PLAN, trials=6))[1] == []
    more, kept = run(storage)
    assert facts(more) == facts(whole[0]) and len(kept) == PLAN.trials - 6


def test_after_its_time_no_trial_is_begun(tmp_path: Path) -> None:
    storage = tuning.local_storage(tmp_path)
    tuning.work(storage, PLAN, hill, lambda _: None, until=time.time() - 1)
    assert tuning.outcomes(storage, PLAN) == []


def test_an_error_of_a_trial_ends_the_search_and_gives_the_place_back(
    tmp_path: Path, whole: tuple[list[Outcome], list[Outcome]]
) -> None:
    storage = tuning.local_storage(tmp_path)

    def breaks(place: int, params: Params) -> Iterator[float]:
        yield 0.0
        if place == 3:
            raise ZeroDivisionError
        yield from hill(place, params)

    with pytest.raises(ZeroDivisionError):
        tuning.work(storage, replace(PLAN, prune=False), breaks, lambda _: None)
    assert [each.place for each in tuning.outcomes(storage, PLAN)] == [0, 1, 2]


def test_forecasts_without_any_order_are_no_better_than_none(tmp_path: Path) -> None:
    storage = tuning.local_storage(tmp_path)
    plan = replace(PLAN, trials=3, prune=False)
    tuning.work(storage, plan, lambda place, params: iter([float("nan")] * 2), lambda _: None)
    found = tuning.outcomes(storage, plan)
    assert [each.state for each in found] == ["complete"] * 3
    assert tuning.best(found) is None


WORKER = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
from aiquant.learning import tuning
from test_tuning import PLAN, hill
folder = Path(sys.argv[1])
storage = tuning.local_storage(folder)
def slow(place, params):
    for value in hill(place, params):
        time.sleep(0.02)
        yield value
def keep(outcome):
    (folder / f"{outcome.place}.json").write_text(json.dumps([outcome.params, outcome.objective, outcome.state]))
tuning.give_back(storage, PLAN)
print("ready", flush=True)
tuning.work(storage, PLAN, slow, keep)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], env=here, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_random_and_run_again_it_finds_the_same(
    tmp_path: Path, whole: tuple[list[Outcome], list[Outcome]]
) -> None:
    chance, storage = random.Random(), tuning.local_storage(tmp_path)
    killed = 0
    for _ in range(20):
        process = start(tmp_path)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=chance.uniform(0.05, 1.2) if killed < 3 else 120)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
    assert killed and process.returncode == 0
    found = tuning.outcomes(storage, PLAN)
    assert facts(found) == facts(whole[0])
    for each in found:  # what was told on the way is what counts in the end, though some was told twice
        told = json.loads((tmp_path / f"{each.place}.json").read_text())
        assert told == [each.params, each.objective, each.state]


@pytest.mark.slow
def test_processes_beside_one_another_share_the_places(tmp_path: Path) -> None:
    running = [start(tmp_path) for _ in range(3)]
    assert [process.wait(timeout=200) for process in running] == [0, 0, 0]
    found = tuning.outcomes(tuning.local_storage(tmp_path), PLAN)
    assert [each.place for each in found] == list(range(PLAN.trials))


def test_a_store_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="the store of the tuning at .*nowhere") as told:
        tuning.outcomes(f"sqlite:///{tmp_path}/nowhere/optuna.db", PLAN)
    with pytest.raises((Unreachable, MissingError)) as other:
        tuning.outcomes("postgresql://me:hidden@127.0.0.1:9/none", PLAN)
    assert "hidden" not in str(told.value) + str(other.value)
