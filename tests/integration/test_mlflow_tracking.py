"""Runs and versions in a real MLflow: a SQLite store made here, and a server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aiquant.errors import MissingError, RefusedError, Unreachable
from aiquant.learning import forecasters, registry, tracking
from aiquant.learning.forecasters import Forecaster
from aiquant.learning.gate import Check, Verdict
from aiquant.learning.tracking import Data, Record, Tracking
from aiquant.settings import Settings, TrackingSettings, XGBoostSettings

NAMES = ("a", "b", "c")
X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
PASSED = Verdict(True, (Check("sessions", True, 900, 500, "the sessions out of sample are 900"),))
REFUSED = Verdict(False, (Check("rank_ic_t", False, 0.3, 2.0, "the t-statistic is 0.3"),))


def model(folder: Path, seed: int = 7) -> Forecaster:
    made = forecasters.create("xgboost", Settings(xgboost=XGBoostSettings(n_estimators=5, min_child_weight=1)))
    y = (X[:, 0] + 0.1 * seed).astype(np.float32)
    made.fit(X, y, features=NAMES, times=np.arange(200).astype("datetime64[us]"), seed=seed)
    made.save(folder)
    return made


def record(run_id: str, folder: Path) -> Record:
    (folder / "judgement.json").write_text('{"rank_ic": 0.02}')
    return Record(
        run_id=run_id,
        params={"learning.seed": 7, "labels.target": "rank"},
        metrics={"rank_ic": 0.02, "sharpe_net": float("nan")},
        by_fold={"fold_rank_ic": [0.01, float("nan"), 0.03]},
        tags={"code_version": "0.1.0"},
        data=[Data("bars", "/lake/bars", 3, 1000, "d" * 64)],
        files=[folder / "judgement.json"],
        model=folder / "model",
        example=X[:2],
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("my work")  # a blank in the path is on purpose


@pytest.fixture(scope="module")
def opened(workspace: Path) -> Tracking:
    return tracking.warm_up(TrackingSettings(), workspace).result(timeout=120)


@pytest.fixture
def store(opened: Tracking, request: pytest.FixtureRequest) -> Tracking:
    """The store with a registered model of the test's own."""
    return replace(opened, model_name=request.node.name)


@pytest.fixture
def run_id(request: pytest.FixtureRequest) -> str:
    return f"run-{request.node.name}"


def test_a_run_is_told_whole(store: Tracking, run_id: str, tmp_path: Path) -> None:
    made = model(tmp_path / "model")
    logged = tracking.log_run(store, record(run_id, tmp_path))
    run = store.client.get_run(logged.mlflow_run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == run_id
    assert run.data.params == {"learning.seed": "7", "labels.target": "rank"}
    assert run.data.metrics == {"rank_ic": 0.02, "fold_rank_ic": 0.03}
    history = store.client.get_metric_history(logged.mlflow_run_id, "fold_rank_ic")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.01), (2, 0.03)]
    assert run.data.tags["code_version"] == "0.1.0" and run.data.tags["aiquant.run_id"] == run_id
    (data,) = run.inputs.dataset_inputs
    assert json.loads(data.dataset.source) == {"path": "/lake/bars", "delta_table_version": 3}
    assert [file.path for file in store.client.list_artifacts(logged.mlflow_run_id)] == ["judgement.json"]
    assert logged.digest is not None and made.save(tmp_path / "again") == logged.digest


def test_the_model_can_be_used_by_mlflow_in_any_order_of_columns(
    store: Tracking, run_id: str, tmp_path: Path, workspace: Path
) -> None:
    import mlflow.pyfunc
    import pandas as pd

    made = model(tmp_path / "model")
    logged = tracking.log_run(store, record(run_id, tmp_path))
    loaded = mlflow.pyfunc.load_model(store.client.get_logged_model(str(logged.model_id)).artifact_location)
    rows = pd.DataFrame(X.astype("float64"), columns=list(NAMES))[["c", "a", "b"]]
    np.testing.assert_array_equal(loaded.predict(rows), made.predict(X))
    assert loaded.metadata.get_input_schema().input_names() == list(NAMES)
    assert loaded.metadata.saved_input_example_info is not None


def test_logging_twice_is_logging_once(store: Tracking, run_id: str, tmp_path: Path) -> None:
    model(tmp_path / "model")
    first = tracking.log_run(store, record(run_id, tmp_path))
    assert tracking.log_run(store, record(run_id, tmp_path)) == first == tracking.find(store, run_id)
    found = store.client.search_runs([store.experiment_id], f"tags.`aiquant.run_id` = '{run_id}'")
    assert len(found) == 1


def test_what_a_killed_process_left_is_taken_away(store: Tracking, run_id: str, tmp_path: Path) -> None:
    half = store.client.create_run(store.experiment_id, tags={"aiquant.run_id": run_id})
    store.client.log_param(half.info.run_id, "learning.seed", "8")
    assert tracking.find(store, run_id) is None
    model(tmp_path / "model")
    logged = tracking.log_run(store, record(run_id, tmp_path))
    assert logged.mlflow_run_id != half.info.run_id
    found = store.client.search_runs([store.experiment_id], f"tags.`aiquant.run_id` = '{run_id}'")
    assert [run.info.run_id for run in found] == [logged.mlflow_run_id]


def test_more_can_be_told_later_and_the_last_word_counts(store: Tracking, run_id: str, tmp_path: Path) -> None:
    logged = tracking.log_run(store, replace(record(run_id, tmp_path), model=None))
    assert logged.model_id is None
    for sharpe in (0.4, 0.5):
        tracking.add(store, logged, {"sharpe_net": sharpe}, {"verdict": "promoted"})
    run = store.client.get_run(logged.mlflow_run_id)
    assert run.data.metrics["sharpe_net"] == 0.5 and run.data.tags["verdict"] == "promoted"


class TestRegistry:
    def offer(self, store: Tracking, folder: Path, run: str, promote_it: bool = True) -> registry.Version:
        here = folder / run
        here.mkdir(exist_ok=True)
        model(here / "model", seed=len(run))
        logged = tracking.log_run(store, record(f"{store.model_name}-{run}", here))
        return registry.register(store, logged, PASSED, {"rank_ic": 0.02}, promote_it)

    def aliases(self, store: Tracking) -> dict[int, tuple[str, ...]]:
        return {version.version: version.aliases for version in registry.list_versions(store)}

    def test_nothing_is_registered_at_first(self, store: Tracking) -> None:
        assert registry.list_versions(store) == []
        assert registry.champion(store) is None
        with pytest.raises(MissingError, match="no version 1"):
            registry.promote(store, 1)
        with pytest.raises(MissingError, match="no previous champion"):
            registry.rollback(store)

    def test_a_version_keeps_what_it_stands_for(self, store: Tracking, tmp_path: Path) -> None:
        version = self.offer(store, tmp_path, "first")
        assert (version.version, version.aliases, version.verdict) == (1, ("champion",), "promoted")
        assert version.run_id == f"{store.model_name}-first"
        assert version.metrics == {"rank_ic": 0.02}
        assert version.checks[0]["name"] == "sessions"
        assert self.offer(store, tmp_path, "first") == version  # once more: the same
        assert len(registry.list_versions(store)) == 1

    def test_the_champion_gives_way_and_can_come_back(self, store: Tracking, tmp_path: Path) -> None:
        self.offer(store, tmp_path, "one")
        self.offer(store, tmp_path, "three")
        assert self.aliases(store) == {2: ("champion",), 1: ("previous",)}
        assert registry.rollback(store).version == 1
        assert self.aliases(store) == {2: ("previous",), 1: ("champion",)}
        assert registry.promote(store, 1).aliases == ("champion",)  # it is already
        assert self.aliases(store) == {2: ("previous",), 1: ("champion",)}

    def test_a_challenger_waits_until_it_is_promoted(self, store: Tracking, tmp_path: Path) -> None:
        assert self.offer(store, tmp_path, "one", promote_it=False).aliases == ("champion",)  # there was none
        assert self.offer(store, tmp_path, "three", promote_it=False).aliases == ("challenger",)
        assert registry.promote(store, 2).aliases == ("champion",)
        assert self.aliases(store) == {2: ("champion",), 1: ("previous",)}

    def test_the_gate_decides(self, store: Tracking, tmp_path: Path) -> None:
        model(tmp_path / "model")
        logged = tracking.log_run(store, record(f"{store.model_name}-noise", tmp_path))
        with pytest.raises(RefusedError, match="is not registered: the t-statistic is 0.3"):
            registry.register(store, logged, REFUSED, {})
        assert registry.list_versions(store) == []

    def test_who_followed_whom_is_kept_with_the_version(self, store: Tracking, tmp_path: Path) -> None:
        self.offer(store, tmp_path, "one")
        self.offer(store, tmp_path, "three")
        back = registry.rollback(store)
        assert [(p.kind, p.before, p.override) for p in back.promotions] == [
            ("promote", None, None),
            ("rollback", 2, None),
        ]
        assert back.promotions[0].by and back.promotions[0].at <= back.promotions[1].at

    def refused(self, store: Tracking, folder: Path, run: str) -> registry.Version:
        """A version that was let pass once, and would be no longer."""
        version = self.offer(store, folder, run)
        logged = tracking.find(store, version.run_id)
        assert logged is not None
        again = registry.restate(store, logged, REFUSED)
        assert again is not None and again.aliases == version.aliases, "who is in use does not change"
        return again

    def test_a_refused_version_needs_a_reason_which_stays_with_it(self, store: Tracking, tmp_path: Path) -> None:
        version = self.refused(store, tmp_path, "one").version
        self.offer(store, tmp_path, "three")
        with pytest.raises(RefusedError, match="did not pass the gate: the t-statistic is 0.3"):
            registry.promote(store, version)
        assert self.aliases(store) == {2: ("champion",), 1: ("previous",)}
        used = registry.promote(store, version, override="the feed of May was wrong")
        assert used.aliases == ("champion",) and used.override == "the feed of May was wrong"
        assert used.verdict == "refused", "an override changes who is in use, not the verdict"
        registry.rollback(store)
        assert (
            registry.rollback(store).override == "the feed of May was wrong"
        ), "rolled back to, it is still overridden"

    def test_a_refused_run_is_registered_with_a_reason_alone(self, store: Tracking, tmp_path: Path) -> None:
        model(tmp_path / "model")
        logged = tracking.log_run(store, record(f"{store.model_name}-noise", tmp_path))
        version = registry.register(store, logged, REFUSED, {}, override="a test of the way")
        assert (version.aliases, version.verdict, version.override) == (("champion",), "refused", "a test of the way")

    def test_a_verdict_on_another_artefact_does_not_count(self, store: Tracking, tmp_path: Path) -> None:
        version = self.offer(store, tmp_path, "one")
        tag = json.dumps(PASSED.to_dict() | {"digest": "of another"})
        store.client.set_model_version_tag(store.model_name, str(version.version), "aiquant.verdict", tag)
        with pytest.raises(RefusedError, match="given on another artefact"):
            registry.promote(store, version.version)

    @pytest.mark.parametrize("step", range(4))
    def test_killed_anywhere_one_champion_is_in_use_and_the_way_back_is_known(
        self, store: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        self.offer(store, tmp_path, "one")
        self.offer(store, tmp_path, "three")
        self.offer(store, tmp_path, "fives", promote_it=False)
        writes = ("set_model_version_tag", "set_registered_model_alias", "delete_registered_model_alias")
        done = 0

        def dying(write: Any) -> Any:
            def once(*args: Any) -> None:
                nonlocal done
                if done == step:
                    raise KeyboardInterrupt
                done += 1
                write(*args)

            return once

        with monkeypatch.context() as patch:
            for name in writes:
                patch.setattr(store.client, name, dying(getattr(store.client, name)))
            with pytest.raises(KeyboardInterrupt):
                registry.promote(store, 3)
        moved = step > 1  # the note is written first, then the champion's alias moves
        expected = {3: ("champion",), 2: ("previous",), 1: ()}
        assert self.aliases(store) == (expected if moved else {3: ("challenger",), 2: ("champion",), 1: ("previous",)})
        registry.promote(store, 3)
        assert self.aliases(store) == expected
        told = store.client.get_registered_model(store.model_name).aliases
        assert {name: int(number) for name, number in told.items()} == {"champion": 3, "previous": 2}
        assert registry.rollback(store).version == 2

    @pytest.mark.parametrize("change", ["another", "broken"])
    def test_a_damaged_artefact_does_not_come_into_use(self, store: Tracking, tmp_path: Path, change: str) -> None:
        version = self.offer(store, tmp_path, "one")
        self.offer(store, tmp_path, "three")
        place = Path(store.client.get_logged_model(version.model_id).artifact_location.removeprefix("file://"))
        place = Path(str(place).replace("%20", " ")) / tracking.MODEL_DATA
        if change == "another":
            model(place, seed=99)
        else:
            (place / "model.json").write_text("{", encoding="utf-8")
        for attempt in (lambda: registry.promote(store, 1), lambda: registry.rollback(store)):
            with pytest.raises(RefusedError, match="do not use it"):
                attempt()
        assert self.aliases(store) == {2: ("champion",), 1: ("previous",)}

    def test_a_version_is_found_by_its_number_run_or_alias(self, store: Tracking, tmp_path: Path) -> None:
        one = self.offer(store, tmp_path, "one")
        assert [registry.named(store, name) for name in ("1", "champion", one.run_id)] == [one] * 3
        with pytest.raises(MissingError, match="has no challenger; see the versions"):
            registry.named(store, "challenger")

    def test_the_champion_is_loaded_as_it_was_registered_or_not_at_all(self, store: Tracking, tmp_path: Path) -> None:
        version = self.offer(store, tmp_path, "first")
        expected = forecasters.load(tmp_path / "first" / "model").predict(X)
        np.testing.assert_array_equal(registry.load(store, version).predict(X), expected)
        # Exchanged for another model that is whole in itself: only the registered digest tells.
        place = Path(store.client.get_logged_model(version.model_id).artifact_location.removeprefix("file://"))
        place = Path(str(place).replace("%20", " ")) / tracking.MODEL_DATA
        model(place, seed=99)
        assert forecasters.load(place) is not None
        with pytest.raises(RefusedError, match="is not the one that was saved"):
            registry.load(store, version)


QUIET = """
import sys
from pathlib import Path
from typing import Any
import numpy as np
from aiquant.learning import tracking
from aiquant.learning.tracking import Record
from aiquant.settings import TrackingSettings
workspace = Path(sys.argv[1])
opened = tracking.warm_up(TrackingSettings(), workspace).result()
example = np.zeros((1, 3), dtype=np.float32)
tracking.log_run(opened, Record("quiet", {}, {"rank_ic": 0.1}, model=workspace / "model", example=example))
"""


def test_it_says_nothing_and_leaves_nothing_in_the_current_folder(tmp_path: Path) -> None:
    workspace, elsewhere = tmp_path / "workspace", tmp_path / "elsewhere"
    elsewhere.mkdir()
    model(workspace / "model")
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(workspace)], cwd=elsewhere, capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(elsewhere.iterdir()) == []
    assert {path.name for path in workspace.iterdir()} == {"mlflow.db", "mlartifacts", "model"}


KILLED = """
import os, signal, sys
from pathlib import Path
from typing import Any
from aiquant.learning import tracking
from aiquant.settings import TrackingSettings
os.link = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
tracking.connect(TrackingSettings(), Path(sys.argv[1]))
"""


def test_a_process_killed_while_it_makes_the_store_leaves_no_half_store(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=200)
    assert done.returncode == -9
    assert not tracking.is_there(TrackingSettings(), tmp_path)
    opened = tracking.connect(TrackingSettings(), tmp_path)
    assert tracking.is_there(TrackingSettings(), tmp_path)
    assert registry.list_versions(opened) == []


def test_a_server_that_is_not_there_is_named_with_a_remedy(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"MLflow at http://127.0.0.1:\d+ .*tracking.uri"):
        tracking.connect(TrackingSettings(uri=f"http://127.0.0.1:{_free_port()}"), tmp_path)
    assert time.monotonic() - began < 60


def test_a_store_that_is_no_database_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database at all, only some text that is long enough to be read" * 20)
    with pytest.raises(Unreachable, match="mlflow.db does not answer as it should"):
        tracking.connect(TrackingSettings(), tmp_path)


@pytest.fixture
def server(workspace: Path, opened: Tracking, tmp_path: Path) -> Iterator[str]:
    """``mlflow server`` on a copy of the store."""
    shutil.copy(workspace / "mlflow.db", tmp_path / "server.db")
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "a"),
    ]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


@pytest.mark.slow
def test_a_server_holds_the_same_as_the_store_in_the_workspace(server: str, tmp_path: Path) -> None:
    settings = TrackingSettings(uri=server, experiment="on the server", model_name="served")
    opened = tracking.connect(settings, tmp_path)
    made = model(tmp_path / "model")
    logged = tracking.log_run(opened, record("served-run", tmp_path))
    assert tracking.log_run(opened, record("served-run", tmp_path)) == logged
    version = registry.register(opened, logged, PASSED, {})
    assert registry.champion(opened) == version
    np.testing.assert_array_equal(registry.load(opened, version).predict(X), made.predict(X))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
