"""Features from the lake to the online store and into training frames, as a user does it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

Aiquant = Callable[..., Any]


@pytest.fixture(scope="module")
def research(done_run: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of its own with features of set core."""
    return Path(shutil.copytree(done_run[0], tmp_path_factory.mktemp("served") / "research"))


@pytest.mark.slow
def test_lake_to_online_store_and_back(aiquant: Aiquant, research: Path) -> None:
    empty = aiquant("features", "get", "-w", research)
    assert empty.code == 3 and "aiquant features materialize --set core" in empty.err
    first = aiquant("features", "materialize", "-w", research, "--to", "2017-12-29", "--json").json
    assert (first["symbols"], first["rows"], first["newest"]) == (12, 12, "2017-12-29T21:00:00+00:00")
    second = aiquant("features", "materialize", "-w", research)
    assert second.code == 0 and second.out.startswith("12 of 12 symbols of set core")
    assert "the newest of 2018-12-31 21:00 UTC" in second.out
    older = aiquant("features", "materialize", "-w", research, "--to", "2017-12-29", "--json").json
    assert older["rows"] == 0  # the past does not come back by itself

    found = aiquant("features", "get", "-w", research, "--symbols", "s003,NONE,S001", "--json").json
    assert [(value["symbol"], value["state"]) for value in found["values"]] == [
        *(("S003", "stale"), ("NONE", "missing"), ("S001", "stale"))
    ]
    assert found["ttl"] == "5d" and found["values"][0]["age_seconds"] > 1e8
    table = aiquant(
        *("lake", "sql", "select * from features_core where symbol = 'S003' order by event_time desc"),
        *("--limit", "1", "-w", research, "--json"),
    ).json["rows"][0]
    features = found["values"][0]["features"]
    assert len(features) > 10 and all(v is None or np.float32(v) == np.float32(table[n]) for n, v in features.items())
    assert set(found["values"][1]["features"].values()) == {None}

    told = aiquant("features", "get", "-w", research, "--symbols", "S001", "--features", "return_5")
    assert "1 of 1 symbols are stale: their row is older than 5d" in told.out and "return_5" in told.out
    everything = aiquant("features", "get", "-w", research)
    assert "S011" in everything.out and "features each" in everything.out


def test_training_frame_of_a_file(aiquant: Aiquant, research: Path, tmp_path: Path) -> None:
    rows = "symbol,event_time,side\nS001,2018-06-01T15:00:00Z,buy\nNONE,2018-06-01T15:00:00Z,buy\n"
    (tmp_path / "trades.csv").write_text(rows + "S001,2018-06-01T20:00:00Z,sell\nS001,2014-01-02T20:00:00Z,sell\n")
    done = aiquant(
        *("features", "frame", "-w", research, "--entities", tmp_path / "trades.csv", "--set", "core"),
        *("--out", tmp_path / "frame.parquet", "--times", "--json"),
    )
    assert done.code == 0, done.err
    assert done.json["rows"] == 4 and done.json["matched"] == {"core": 2}
    frame = pl.read_parquet(tmp_path / "frame.parquet")
    assert frame["side"].to_list() == ["buy", "buy", "sell", "sell"]
    taken = [str(moment) for moment in frame["core__event_time"].to_list()]
    assert taken == ["2018-05-31 20:00:00+00:00", "None", "2018-06-01 20:00:00+00:00", "None"]
    short = aiquant(
        *("features", "frame", "-w", research, "--entities", tmp_path / "trades.csv", "--set", "core"),
        *("--out", tmp_path / "short.csv", "--ttl", "12h", "--json"),
    ).json
    assert short["matched"] == {"core": 1}
    assert pl.read_csv(tmp_path / "short.csv").columns[:4] == ["symbol", "event_time", "side", "return_1"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["materialize", "--set", "alpha158"], 3, "aiquant features build --set alpha158"),
        (["materialize", "--set", "cor"], 2, "core"),
        (["get", "--features", "retrun_5"], 2, "no feature retrun_5"),
        (["frame", "--entities", "gone.csv", "--set", "core", "--out", "x.csv"], 3, "gone.csv"),
        (["frame", "--entities", "aiquant.toml", "--set", "core", "--out", "x.csv"], 2, "ending"),
        (["frame", "--entities", "dates.csv", "--set", "core", "--out", "x.csv"], 2, "lack the column event_time"),
        (["frame", "--entities", "naive.csv", "--set", "core", "--out", "x.csv"], 2, "time zone"),
        (["frame", "--entities", "good.csv", "--set", "core", "--out", "x.csv", "--ttl", "5 days"], 2, "36h"),
        (["frame", "--entities", "good.csv", "--set", "core", "--out", "x.docx"], 2, ".parquet"),
    ],
)
def test_a_mistake_gets_one_line_that_says_what_to_do(
    aiquant: Aiquant, research: Path, words: list[str], code: int, told: str
) -> None:
    (research / "dates.csv").write_text("symbol,date\nS001,2018-06-01\n")
    (research / "naive.csv").write_text("symbol,event_time\nS001,2018-06-01T20:00:00\n")
    (research / "good.csv").write_text("symbol,event_time\nS001,2018-06-01T20:00:00Z\n")
    done = aiquant("features", *words, cwd=research)
    assert done.code == code, done.err
    assert told in done.err and "Traceback" not in done.err


def test_a_store_that_is_down_is_told_at_once(aiquant: Aiquant, research: Path, tmp_path: Path) -> None:
    pytest.importorskip("redis")
    apart = Path(shutil.copytree(research, tmp_path / "w"))
    with (apart / "aiquant.toml").open("a") as settings:
        settings.write('\n[online]\nstore = "redis"\naddress = "127.0.0.1:9"\ntimeout_seconds = 1\n')
    done = aiquant("features", "get", "-w", apart, "--json")
    assert done.code == 3 and done.json["error"]["kind"] == "Unreachable"
    assert "Redis at 127.0.0.1:9" in done.json["error"]["problem"]
    seen = {finding["what"]: finding for finding in aiquant("doctor", "--json", cwd=apart).json["findings"]}
    assert seen["online store"]["state"] == "wrong" and "127.0.0.1:9" in seen["online store"]["found"]


@pytest.mark.slow
def test_registry_of_feast(aiquant: Aiquant, research: Path) -> None:
    pytest.importorskip("feast")
    done = aiquant("features", "apply", "-w", research, "--json")
    assert done.code == 0, done.err
    assert "core" in done.json["views"] and any(name.startswith("core_") for name in done.json["services"])
    assert (research / "feast" / "registry.db").exists()


def test_without_feast_one_line_names_the_extra_and_the_rest_works(research: Path) -> None:
    block = "import sys; sys.modules['feast'] = None; sys.modules['redis'] = None; sys.argv = ['aiquant', {words}]"
    run = block + "; from aiquant.cli.main import main; main()"

    def aiquant(*words: str) -> subprocess.CompletedProcess[str]:
        told = ", ".join(repr(word) for word in words)
        command = [sys.executable, "-c", run.format(words=told)]
        return subprocess.run(command, cwd=research, capture_output=True, text=True, timeout=120)

    refused = aiquant("features", "apply")
    assert refused.returncode == 3 and "aiquant[feast]" in refused.stderr and "Traceback" not in refused.stderr
    assert aiquant("features", "materialize").returncode == 0
    assert aiquant("features", "get", "--symbols", "S001").returncode == 0
