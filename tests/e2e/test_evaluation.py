"""Evaluation and comparison from the command line: of weights in a file, and of runs of a workspace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, prices: Path) -> Path:
    """Each quarter another three of the symbols."""
    days = pl.read_csv(prices)["date"].unique().sort().to_list()
    rows = [(days[i], f"S{(i // 63 + j) % 12:03d}", 0.3) for i in range(0, len(days), 63) for j in range(3)]
    path = tmp_path_factory.mktemp("books") / "rotation.csv"
    pl.DataFrame(rows, schema=["date", "symbol", "weight"], orient="row").write_csv(path)
    return path


def test_weights_of_a_file_are_evaluated_and_reported(
    aiquant: Callable[..., Any], prices: Path, weights: Path, tmp_path: Path
) -> None:
    page, curve = tmp_path / "tearsheet.html", tmp_path / "rotation.csv"
    given = ("backtest", "--weights", weights, "--bars", prices)
    told = aiquant(*given, "--report", page, "--out", curve, "--json", "--set", "evaluation.draws=200")
    assert told.code == 0, told.err
    found = json.loads(told.out)["evaluation"]
    assert found["monte_carlo"]["draws"] == 200
    assert [row["multiple"] for row in found["costs"]["rows"]] == [0, 0.5, 1, 2, 3, 5]
    returns = [row["annual_return"] for row in found["costs"]["rows"]]
    assert returns == sorted(returns, reverse=True), "more costs leave less"
    assert found["holding"]["closed"] > 20 and found["holding"]["longest_sessions"] <= 1008
    assert {row["name"] for row in found["factors"]["exposures"]} >= {"alpha", "market"}
    assert found["sectors"] is None and any("classification" in note for note in found["notes"])
    text = page.read_text()
    for chart in ("fan", "depths", "cost_curve", "holding", "factors"):
        assert f'id="figure-{chart}"' in text
    plain = aiquant(*given, "--json")
    assert "evaluation" not in json.loads(plain.out), "only where it is asked for"

    other = tmp_path / "half.csv"
    frame = pl.read_csv(curve)
    frame.with_columns(equity=1e6 + (pl.col("equity") - 1e6) / 2).write_csv(other)
    out = tmp_path / "comparison.html"
    compared = aiquant("compare", curve, other, "--out", out, "--json", "--set", "evaluation.draws=200")
    assert compared.code == 0, compared.err
    found = json.loads(compared.out)
    assert [s["name"] for s in found["strategies"]] == ["rotation", "half"]
    assert found["correlation"][0][1] > 0.98
    assert 'id="figure-correlation"' in out.read_text()
    assert aiquant("compare", curve, curve).code == 2
    assert aiquant("compare", curve, tmp_path / "none.csv").code == 3


@pytest.mark.slow
def test_a_run_is_evaluated_reported_and_compared(
    aiquant: Callable[..., Any], done_run: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "research"
    shutil.copytree(done_run[0], folder)
    (run,) = [path.parent for path in folder.glob("runs/*/manifest.json")]
    told = aiquant("backtest", "--evaluate", "--json", "-w", folder)
    assert told.code == 0, told.err
    done, kept = json.loads(told.out), json.loads((run / "evaluation.json").read_text())
    assert {"digest": done["digest"], **done["evaluation"]} == kept
    (run / "evaluation.json").unlink()
    page = tmp_path / "report.html"
    assert aiquant("report", "--out", page, "-w", folder).code == 0
    assert 'id="figure-fan"' not in page.read_text()
    assert aiquant("report", "--evaluate", "--out", page, "-w", folder).code == 0
    assert 'id="figure-fan"' in page.read_text()
    assert json.loads((run / "evaluation.json").read_text()) == kept, "of the lake as of the account just traded"
    compared = aiquant("compare", run.name[:8], "--baselines", "--json", "-w", folder)
    assert compared.code == 0, compared.err
    assert [s["name"] for s in json.loads(compared.out)["strategies"]] == [run.name, "equal weight", "buy and hold"]
