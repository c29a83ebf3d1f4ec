"""The whole way on a user's own file: what others rely on is there, and comes out the same again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

Done = tuple[Path, Any]


def test_run_answers_with_what_others_rely_on(done_run: Done) -> None:
    folder, answer = done_run
    told = answer.json
    assert {"rank_ic", "rank_ic_t", "sharpe_net", "report", "run_id", "verdict"} <= set(told)
    assert told["verdict"] in ("promoted", "refused")
    assert isinstance(told["rank_ic"], float) and abs(told["rank_ic"]) < 0.2
    assert told["leakage"]["passed"] is True
    assert told["ingested"]["dead_letters"] == 1
    assert Path(told["report"]).stat().st_size > 100_000
    assert "Traceback" not in answer.err and "Warning" not in answer.err


def test_a_random_market_is_refused_and_not_registered(done_run: Done, aiquant: Callable[..., Any]) -> None:
    folder, answer = done_run
    assert answer.json["verdict"] == "refused" and answer.json["reasons"]
    gate = aiquant("evaluate", "-w", folder, "--json")
    assert gate.code == 4
    assert gate.json["verdict"] == "refused" and any(not c["passed"] for c in gate.json["checks"])
    assert aiquant("models", "ls", "-w", folder, "--json").json == {"models": []}


def test_a_cross_validation_tells_how_much_hangs_on_the_order_of_history(
    done_run: Done, tmp_path: Path, aiquant: Callable[..., Any]
) -> None:
    folder, answer = done_run
    shutil.copytree(folder, tmp_path / "copy")
    asked = ("--set", "cpcv.enabled=true", "--set", "cpcv.groups=4", "--set", "cpcv.tested=2")
    told = aiquant("evaluate", "-w", tmp_path / "copy", *asked, "--json")
    assert told.code == 4, told.err
    assert told.json["judgement"]["rank_ic"] == answer.json["rank_ic"]
    assert {row["horizon"] for row in told.json["judgement"]["decay"]} >= {1, 5, 21}
    crossed = told.json["paths"]
    assert (crossed["fits"], len(crossed["paths"])) == (6, 3)
    assert all(abs(path["rank_ic"]) < 0.1 for path in crossed["paths"])  # the market is random
    assert crossed["spread"]["sharpe"]["lowest"] <= crossed["spread"]["sharpe"]["mean"]
    report = aiquant("report", "-w", tmp_path / "copy", "--json")
    assert "Other orders of history" in Path(report.json["report"]).read_text()
    refused = aiquant("evaluate", "-w", tmp_path / "copy", *asked, "--set", "cpcv.tested=4", "--json")
    assert refused.code == 2 and "one must be left to learn from" in refused.json["error"]["problem"]


def test_the_manifest_tells_where_a_result_came_from(done_run: Done) -> None:
    folder, answer = done_run
    told = json.loads((folder / "runs" / answer.json["run_id"] / "manifest.json").read_text())
    assert told["data"]["bars"]["version"] == 1 and len(told["data"]["bars"]["digest"]) == 16
    assert told["seed"] == 7 and len(told["settings_hash"]) == 16
    assert told["libraries"]["polars"] == pl.__version__
    assert told["code"]["version"] and told["code"]["digest"]


def test_the_same_data_and_settings_are_the_same_run(
    done_run: Done, prices: Path, tmp_path: Path, aiquant: Callable[..., Any]
) -> None:
    folder, answer = done_run
    assert aiquant("init", tmp_path / "again").code == 0
    shutil.copy(folder / "aiquant.toml", tmp_path / "again" / "aiquant.toml")
    again = aiquant("run", "--source", "files", "--path", prices, "-w", tmp_path / "again", "--json")
    assert again.code == 0, again.err
    names = ("run_id", "rank_ic", "rank_ic_t", "sharpe_net")
    assert {n: again.json[n] for n in names} == {n: answer.json[n] for n in names}
    forecasts = [
        aiquant("lake", "sql", "select * from forecasts order by all", "--limit", "100000", "-w", f, "--json").json[
            "rows"
        ]
        for f in (folder, tmp_path / "again")
    ]
    assert forecasts[0] == forecasts[1] and len(forecasts[0]) > 5000


def test_reproduce_says_identical(done_run: Done, aiquant: Callable[..., Any]) -> None:
    folder, answer = done_run
    told = aiquant("reproduce", answer.json["run_id"], "-w", folder, "--json")
    assert told.code == 0, told.err
    assert told.json["identical"] is True
    assert set(told.json["compared"]) == {"forecasts", "judgement", "equity", "figures"}


def test_reproduce_notices_a_changed_result(done_run: Done, tmp_path: Path, aiquant: Callable[..., Any]) -> None:
    folder, answer = done_run
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    manifest = copy / "runs" / answer.json["run_id"] / "manifest.json"
    told = json.loads(manifest.read_text())
    told["settings"]["learning.seed"] = 8
    manifest.write_text(json.dumps(told))
    answered = aiquant("reproduce", answer.json["run_id"], "-w", copy, "--json")
    assert answered.code == 1
    assert answered.json["compared"]["forecasts"] is False


def test_each_step_by_itself_gives_what_run_gives(
    done_run: Done, prices: Path, tmp_path: Path, aiquant: Callable[..., Any]
) -> None:
    folder, answer = done_run
    home = tmp_path / "steps"
    aiquant("init", home)
    shutil.copy(folder / "aiquant.toml", home / "aiquant.toml")
    taken = aiquant("ingest", "bars", "--source", "files", "--path", prices, "--json", cwd=home)
    assert taken.code == 0 and taken.json["rows"] + taken.json["dead_letters"] == 12 * 1006
    built = aiquant("features", "build", "--set", "core", "--out", "features.parquet", "--json", cwd=home)
    assert built.code == 0, built.err
    features = pl.read_parquet(home / "features.parquet")
    assert features.columns[:4] == ["symbol", "date", "event_time", "known_from"]
    assert set(features.dtypes[4:]) == {pl.Float32} and features.height == taken.json["rows"]
    trained = aiquant("train", "xgboost", "--json", cwd=home)
    assert trained.code == 0, trained.err
    assert trained.json["run_id"] == answer.json["run_id"]
    traded = aiquant("backtest", "--out", "equity.csv", "--json", cwd=home)
    assert traded.code == 0, traded.err
    assert traded.json["figures"]["strategy"]["sharpe"] == answer.json["sharpe_net"]
    assert pl.read_csv(home / "equity.csv").columns == ["date", "equity"]
    predicted = aiquant("predict", "--out", "forecasts.csv", "--json", cwd=home)
    assert predicted.code == 0 and len(predicted.json["forecasts"]) == 12
    assert predicted.json["date"] == "2018-12-31"
    reported = aiquant("report", "--out", "report.html", "--json", cwd=home)
    assert reported.code == 0 and (home / "report.html").is_file()
    listed = aiquant("runs", "ls", "--json", cwd=home).json["runs"]
    assert [line["run_id"] for line in listed] == [answer.json["run_id"]]


def test_taking_a_file_in_twice_is_taking_it_in_once(
    done_run: Done, prices: Path, tmp_path: Path, aiquant: Callable[..., Any]
) -> None:
    home = tmp_path / "twice"
    aiquant("init", home)
    first = aiquant("ingest", "bars", "--path", prices, "-w", home, "--json").json
    second = aiquant("ingest", "bars", "--path", prices, "-w", home, "--json").json
    assert (first["inserted"], second["inserted"], second["unchanged"]) == (first["rows"], 0, first["rows"])
    assert first["version"] == second["version"]
    letters = aiquant("lake", "sql", "select place, reason from dead_letters", "-w", home, "--json").json["rows"]
    assert len(letters) == 1 and "close is not a positive number" in letters[0]["reason"]


@pytest.mark.parametrize("verb", ["ls", "sql"])
def test_the_lake_can_be_looked_into(done_run: Done, aiquant: Callable[..., Any], verb: str) -> None:
    folder, _ = done_run
    if verb == "ls":
        names = {t["name"] for t in aiquant("lake", "ls", "-w", folder, "--json").json["tables"]}
        assert {"bars", "features_core", "forecasts", "target_weights", "fills", "equity", "dead_letters"} <= names
    else:
        query = "select symbol, count(*) as n from bars group by symbol order by symbol"
        rows = aiquant("lake", "sql", query, "-w", folder, "--json").json["rows"]
        assert rows[0] == {"symbol": "S000", "n": 1006} and rows[1] == {"symbol": "S001", "n": 1005}


def test_two_symbols_are_too_few_to_judge_and_the_run_says_so(
    done_run: Done, prices: Path, tmp_path: Path, aiquant: Callable[..., Any]
) -> None:
    folder, _ = done_run
    pl.read_csv(prices).filter(pl.col("symbol").is_in(["S000", "S002"])).write_csv(tmp_path / "two.csv")
    assert aiquant("init", tmp_path / "two").code == 0
    shutil.copy(folder / "aiquant.toml", tmp_path / "two" / "aiquant.toml")
    told = aiquant("run", "--path", tmp_path / "two.csv", "-w", tmp_path / "two", "--json")
    assert told.code == 0, told.err
    assert told.json["rank_ic"] is None and told.json["verdict"] == "refused"


def test_a_backtest_by_other_costs_is_answered_and_not_kept(done_run: Done, aiquant: Callable[..., Any]) -> None:
    folder, answer = done_run
    kept = folder / "runs" / answer.json["run_id"] / "backtest.json"
    before = kept.read_text()
    free = aiquant("backtest", "--commission-bps", "0", "--slippage-bps", "0", "-w", folder, "--json")
    assert free.code == 0 and free.json["kept"] is False
    assert free.json["figures"]["strategy"]["sharpe"] > answer.json["sharpe_net"]
    terms = folder.parent / "instruments.csv"
    terms.write_text("symbol,spread_bps\nS000,100\n")
    dear = aiquant("backtest", "--instruments", terms, "-w", folder, "--json")
    assert dear.code == 0 and dear.json["kept"] is False
    assert dear.json["figures"]["strategy"]["sharpe"] < answer.json["sharpe_net"]
    assert kept.read_text() == before
    again, first = aiquant("evaluate", "-w", folder, "--json").json, answer.json["gate"]
    same = ("leakage", "costs", "rank_ic_t", "sharpe_net", "beats_zero", "beats_momentum", "breadth")
    assert [c for c in again["checks"] if c["name"] in same] == [c for c in first["checks"] if c["name"] in same]
    assert again["figures"]["trials"] > first["figures"]["trials"], "to look at another book is to try it"
