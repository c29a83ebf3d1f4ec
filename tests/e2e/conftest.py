"""A small market on disk, and the command line as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

FAST = """
[learning]
min_train_years = 2
threads = 1

[xgboost]
n_estimators = 20
max_depth = 2

[leakage]
cuts = 1
"""
"""Settings under which a whole run takes seconds."""


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which has to be one JSON object."""
        return json.loads(self.out)


Aiquant = Callable[..., Answer]


def run_aiquant(*words: object, cwd: Path | None = None, timeout: float = 240) -> Answer:
    """Run ``aiquant`` in a process of its own, as a user does."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AIQUANT_")}
    done = subprocess.run(
        [sys.executable, "-m", "aiquant", *map(str, words)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def aiquant() -> Aiquant:
    """``aiquant("lake", "ls", "-w", folder)`` → code, out, err."""
    return run_aiquant


@pytest.fixture(scope="session")
def prices(tmp_path_factory: pytest.TempPathFactory, make_bars: Callable[..., Any]) -> Path:
    """A CSV of twelve symbols and four years, with one bad row."""
    bars = pl.DataFrame(make_bars(symbols=12, first=date(2015, 1, 2), last=date(2018, 12, 31), seed=1))
    frame = bars.select("symbol", "date", "open", "high", "low", "close", "volume")
    frame = frame.with_columns(
        close=pl.when((pl.col("symbol") == "S001") & (pl.col("date") == date(2016, 3, 1))).then(-1.0).otherwise("close")
    )
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    frame.write_csv(path)
    return path


@pytest.fixture(scope="session")
def done_run(tmp_path_factory: pytest.TempPathFactory, prices: Path) -> tuple[Path, Answer]:
    """A workspace in which ``run`` was done once, and its answer. Tests that use it must not change it."""
    folder = tmp_path_factory.mktemp("whole") / "research"
    assert run_aiquant("init", folder).code == 0
    (folder / "aiquant.toml").write_text(FAST)
    answer = run_aiquant("run", "--source", "files", "--path", prices, "-w", folder, "--json")
    assert answer.code == 0, answer.err
    return folder, answer
