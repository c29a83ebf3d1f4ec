"""``aiquant explain``: the parts of a forecast add up to the forecast that was made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Aiquant = Callable[..., Any]
Done = tuple[Path, Any]


def forecasts(aiquant: Aiquant, folder: Path, run: str) -> list[dict[str, Any]]:
    """The rows of one date that was tested."""
    day = f"(select median(date) from forecasts where run_id = '{run}' and fold >= 0)"
    query = f"select symbol, date, forecast, fold from forecasts where run_id = '{run}' and fold >= 0 and date = "
    last = f"(select max(date) from forecasts where run_id = '{run}' and fold >= 0 and date <= {day})"
    answer = aiquant("lake", "sql", f"{query}{last} order by forecast desc", "-w", folder, "--json")
    assert answer.code == 0, answer.err
    rows: list[dict[str, Any]] = answer.json["rows"]
    return rows


def test_the_parts_add_up_to_the_forecast_that_was_made(done_run: Done, tmp_path: Path, aiquant: Aiquant) -> None:
    folder, ran = done_run
    rows = forecasts(aiquant, folder, ran.json["run_id"])
    row, picture = rows[2], tmp_path / "why.html"
    words = ("--symbol", row["symbol"], "--date", row["date"], "--run", ran.json["run_id"])
    done = aiquant("explain", *words, "--picture", picture, "-w", folder, "--json")
    assert done.code == 0, done.err
    told = done.json
    assert told["forecast"] == pytest.approx(row["forecast"], abs=1e-9)
    place = 1 + sum(other["forecast"] > row["forecast"] for other in rows)
    assert (told["fold"], told["place"], told["symbols"]) == (row["fold"], place, len(rows))
    whole = told["base"] + sum(line["contribution"] for line in told["features"])
    assert whole == pytest.approx(told["forecast"], abs=1e-6)
    sizes = [abs(line["contribution"]) for line in told["features"]]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0
    assert all(line["percentile"] is None or 0 <= line["percentile"] <= 1 for line in told["features"])
    assert row["symbol"] in picture.read_text() and "plotly" in picture.read_text()


def test_the_percentile_is_the_place_of_the_value_among_the_others(done_run: Done, aiquant: Aiquant) -> None:
    folder, ran = done_run
    rows = forecasts(aiquant, folder, ran.json["run_id"])
    found = {}
    for row in rows:
        words = ("--symbol", row["symbol"], "--date", row["date"], "--run", ran.json["run_id"])
        if len(found) < 3:
            told = aiquant("explain", *words, "-w", folder, "--json").json["features"]
            found[row["symbol"]] = next(line for line in told if line["feature"] == "return_21")
    query = f"select symbol, return_21 as x from features_core where date = '{rows[0]['date']}'"
    values = {r["symbol"]: r["x"] for r in aiquant("lake", "sql", query, "-w", folder, "--json").json["rows"]}
    for symbol, line in found.items():
        others = [value for name, value in values.items() if name != symbol]
        below = sum(value < values[symbol] for value in others) / len(others)
        assert line["percentile"] == pytest.approx(below)
        assert line["value"] == pytest.approx(values[symbol], rel=1e-6)


def test_wrong_use_is_told(done_run: Done, aiquant: Aiquant) -> None:
    folder = done_run[0]
    for words, told in (
        (("--symbol", "NOPE", "--date", "2018-06-01"), "NOPE has no bar"),
        (("--symbol", "S001", "--date", "2018-06-02"), "no symbol has a bar on 2018-06-02"),
        (("--symbol", "S001", "--date", "2018-06-01", "--picture", "why.gif"), "ends in .html or .png"),
    ):
        answer = aiquant("explain", *words, "-w", folder)
        assert (answer.code, told in answer.err) == (2, True), answer.err


def test_a_run_tells_what_helped_out_of_sample(done_run: Done) -> None:
    folder, ran = done_run
    told = json.loads((folder / "runs" / ran.json["run_id"] / "importance.json").read_text())
    falls = [line["permutation"] for line in told["features"]]
    assert falls == sorted(falls, reverse=True) and len(falls) == len({line["feature"] for line in told["features"]})
    members = [name for line in told["clusters"] for name in line["features"]]
    assert len(members) == len(set(members)) and told["clusters"]
    assert "What helped out of sample" in (folder / "runs" / ran.json["run_id"] / "report.html").read_text()
