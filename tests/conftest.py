"""What all tests share. Real data is used where it lies beside the project, and never copied into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data beside the project; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the project: this test needs real market data")
    return folder


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of the person who runs the tests must not reach them."""
    for name in list(os.environ):
        if name.startswith("AIQUANT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AIQUANT_SECRETS_DIR", str(tmp_path / "no-secrets"))
