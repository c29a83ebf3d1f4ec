"""Runs in MLflow as a user meets them: kept where it does not answer, sent later, compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Aiquant = Callable[..., Any]
Done = tuple[Path, Any]


def test_a_training_whose_server_is_away_is_kept_and_sent_later(
    done_run: Done, tmp_path: Path, aiquant: Aiquant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    home = tmp_path / "research"
    shutil.copytree(done_run[0], home)
    away = ("--set", "tracking.uri=http://127.0.0.1:9")
    done = aiquant("train", "ridge", *away, "-w", home)
    assert done.code == 0, done.err
    assert "aiquant runs send" in done.err
    again = aiquant("runs", "send", *away, "-w", home)
    assert (again.code, "tracking.uri" in again.err) == (3, True)
    (sent,) = aiquant("runs", "send", "-w", home, "--json").json["sent"]
    assert sent.startswith("ridge-")
    assert aiquant("runs", "send", "-w", home, "--json").json["sent"] == []
    from aiquant.learning import tracking
    from aiquant.settings import TrackingSettings

    store = tracking.connect(TrackingSettings(), home)
    logged = tracking.find(store, sent)
    assert logged is not None and logged.model_id is not None
    below = store.client.search_runs([store.experiment_id], f"tags.`mlflow.parentRunId` = '{logged.mlflow_run_id}'")
    assert {run.info.run_name for run in below} >= {"fold 0", "fold 1"}
    files = {file.path for file in store.client.list_artifacts(logged.mlflow_run_id)}
    assert files >= {"manifest.json", "importance.json", "importance.svg"}


def test_two_versions_are_compared_side_by_side(done_run: Done, tmp_path: Path, aiquant: Aiquant) -> None:
    home = tmp_path / "research"
    shutil.copytree(done_run[0], home)
    runs = [done_run[1].json["run_id"]]
    answer = aiquant("models", "compare", "-w", home)
    assert answer.code == 3, "nothing is registered yet"
    runs.append(aiquant("run", "--model", "ridge", "-w", home, "--json").json["run_id"])
    for run in runs:
        answer = aiquant("models", "promote", run, "--override", "a test of comparing", "-w", home)
        assert answer.code == 0, answer.err
    told = aiquant("models", "compare", "previous", "-w", home, "--json").json
    assert [told[side]["run_id"] for side in ("first", "second")] == runs
    assert told["settings"]["learning.model"] == ["xgboost", "ridge"]
    for side, run in enumerate(runs):
        manifest = json.loads((home / "runs" / run / "manifest.json").read_text())
        assert told["figures"]["rank_ic"][side] == manifest["results"]["rank_ic"]
        traded = json.loads((home / "runs" / run / "backtest.json").read_text())["figures"]["strategy"]
        assert told["figures"]["net_sharpe"][side] == pytest.approx(traded["sharpe"])
    assert aiquant("models", "compare", "-w", home, "--json").json["first"]["run_id"] == runs[0]
    answer = aiquant("models", "compare", "9", "-w", home)
    assert (answer.code, "no version 9" in answer.err) == (3, True)
