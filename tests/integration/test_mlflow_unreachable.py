"""MLflow stops answering half-way: nothing is lost, nothing is half there, and what was kept is sent later."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aiquant.errors import Unreachable
from aiquant.learning import forecasters, tracking
from aiquant.learning.tracking import Data, Part, Record
from aiquant.settings import Settings, TrackingSettings, XGBoostSettings

X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)


class Server:
    """``mlflow server`` that can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder = folder
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", str(self.folder / "artefacts")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).read()
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=30)
            self.process = None


def record(folder: Path) -> Record:
    made = forecasters.create("xgboost", Settings(xgboost=XGBoostSettings(n_estimators=5, min_child_weight=1)))
    made.fit(X, X[:, 0], features=("a", "b", "c"), times=np.arange(200).astype("datetime64[us]"), seed=7)
    made.save(folder / "model")
    (folder / "judgement.json").write_text("{}")
    return Record(
        run_id="the-run",
        params={"learning.seed": 7},
        metrics={"rank_ic": 0.02},
        data=[Data("bars", "/lake/bars", 3, 1000, "d" * 64)],
        parts=[Part(f"fold {n}", {"test_start": f"201{n}"}, {"rank_ic": 0.01 * n}) for n in range(3)],
        files=[folder / "judgement.json"],
        model=folder / "model",
        example=X[:2],
    )


@pytest.mark.slow
def test_killed_at_each_stage_of_logging_the_server_has_the_run_once_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    server, told = Server(tmp_path), record(tmp_path)
    server.start()
    try:
        store = tracking.connect(TrackingSettings(uri=server.uri, experiment="e"), tmp_path)
        for stage in ("log_artifact", "create_logged_model", "finalize_logged_model"):
            _kills_before(store.client, stage, server, monkeypatch)
            with pytest.raises(Unreachable, match="does not answer as it should"):
                tracking.log_run(store, told)
            monkeypatch.undo()
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            server.start()
            assert tracking.find(store, "the-run") is None, f"killed before {stage} the run passes for whole"
        logged = tracking.log_run(store, told)
        assert tracking.log_run(store, told) == logged == tracking.find(store, "the-run")
        alive = store.client.search_runs([store.experiment_id])
        assert sorted(run.info.run_name for run in alive) == ["fold 0", "fold 1", "fold 2", "the-run"]
        below = [run for run in alive if run.data.tags.get("mlflow.parentRunId") == logged.mlflow_run_id]
        assert len(below) == 3 and all(run.info.status == "FINISHED" for run in below)
        models = store.client.search_logged_models([store.experiment_id])
        assert [model.model_id for model in models if model.status == "READY"] == [logged.model_id]
    finally:
        server.kill()


def _kills_before(client: Any, stage: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    own: Callable[..., Any] = getattr(client, stage)

    def killing(*words: Any, **named: Any) -> Any:
        server.kill()
        return own(*words, **named)

    monkeypatch.setattr(client, stage, killing)
