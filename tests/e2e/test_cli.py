"""The command line itself: quick, lazy, honest about errors, one JSON object on standard output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Aiquant = Callable[..., Any]

HEAVY = (
    "polars",
    "pyarrow",
    "numpy",
    "pandas",
    "numba",
    "deltalake",
    "duckdb",
    "xgboost",
    "sklearn",
    "mlflow",
    "skfolio",
    "plotly",
    "pydantic",
    "confluent_kafka",
    "feast",
    "redis",
)

VERBS = [
    "demo",
    "init",
    "run",
    "train",
    "tune",
    "predict",
    "backtest",
    "report",
    "compare",
    "evaluate",
    "explain",
    "reproduce",
    "doctor",
    "simulate",
    "ingest bars",
    "ingest actions",
    "ingest universe",
    "ingest classification",
    "ingest ticks",
    "ingest news",
    "ingest tweets",
    "features build",
    "features list",
    "features show",
    "features apply",
    "features materialize",
    "features get",
    "features frame",
    "lake ls",
    "lake sql",
    "lake history",
    "lake compact",
    "lake vacuum",
    "lake verify",
    "lake rotate-key",
    "lake erase",
    "stream init",
    "stream produce",
    "stream consume",
    "stream replay",
    "stream bars",
    "stream live",
    "trade",
    "trade status",
    "trade stop",
    "trade resume",
    "trade reconcile",
    "check leakage",
    "check parity",
    "check recursive",
    "strategies list",
    "strategies show",
    "new strategy",
    "optimise",
    "sweep",
    "models ls",
    "models show",
    "models compare",
    "models promote",
    "models rollback",
    "runs ls",
    "runs show",
    "runs send",
    "config show",
]


def test_help_imports_no_engine() -> None:
    code = "import sys; from aiquant.cli import main; " f"print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_with_an_example_and_json(verb: str) -> None:
    from typer.testing import CliRunner

    from aiquant.cli.main import app

    done = CliRunner().invoke(app, [*verb.split(), "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 0
    assert f"Example: aiquant {verb}" in done.output
    assert "--json" in done.output


def test_every_verb_is_in_the_list_above() -> None:
    import typer

    from aiquant.cli.main import app

    group: Any = typer.main.get_command(app)
    found = set()
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}" for sub in inner} if inner else {name}
        found |= {name} if getattr(command, "invoke_without_command", False) else set()
    assert found == set(VERBS), sorted(found ^ set(VERBS))


def test_version_and_completion(aiquant: Aiquant) -> None:
    assert aiquant("--version").out.startswith("aiquant 0.")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "aiquant")],
        env={
            "_AIQUANT_COMPLETE": "complete_bash",
            "COMP_WORDS": "aiquant la",
            "COMP_CWORD": "1",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
    )
    assert "lake" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nonsense"], 2, "nonsense"),
        (["lake", "ls"], 3, "aiquant init"),
        (["lake", "ls", "-w", "nowhere"], 3, "nowhere"),
        (["train", "--set", "learning.sead=3", "-w", "."], 2, "learning.seed"),
        (["train", "--set", "learning.seed", "-w", "."], 2, "NAME=VALUE"),
        (["train", "--set", "learning.seed=x", "-w", "."], 2, "learning.seed"),
        (["train", "xgbost", "-w", "."], 2, "xgboost"),
        (["train", "-w", "."], 3, "aiquant ingest bars"),
        (["report", "-w", "."], 3, "aiquant run"),
        (["reproduce", "none-such", "-w", "."], 3, "none-such"),
        (["ingest", "bars", "--source", "fils", "-w", "."], 2, "files"),
        (["ingest", "bars", "--source", "files", "-w", "."], 2, "--path"),
        (["ingest", "bars", "--path", "missing.csv", "-w", "."], 3, "missing.csv"),
        (["features", "build", "--set", "cor", "-w", "."], 2, "core"),
        (["features", "show", "alpha15"], 2, "alpha158"),
        (["lake", "sql", "select * from barz", "-w", "."], 3, "barz"),
        (["config", "show", "--set", "x=1"], 2, "x"),
        (["backtest", "--weights", "missing.csv", "--bars", "missing.csv"], 3, "missing.csv"),
        (["backtest", "--orders", "missing.csv", "--bars", "missing.csv"], 3, "missing.csv"),
        (["backtest", "--orders", "a.csv", "--weights", "b.csv"], 2, "--weights and --orders were given"),
        (["backtest", "--bars", "a.csv", "-w", "."], 2, "leave --bars away"),
        (["backtest", "--strategy", "momentum", "--fx", "missing.csv", "-w", "."], 3, "missing.csv"),
        (
            ["backtest", "--strategy", "momentum", "--bars", "a.csv", "-w", "."],
            2,
            "leave --weights, --orders and --bars away",
        ),
    ],
)
def test_a_mistake_gets_one_line_and_its_exit_code(
    aiquant: Aiquant, tmp_path: Path, words: list[str], code: int, told: str
) -> None:
    from aiquant.jobs import workspace

    if "." in words:
        workspace.create(tmp_path)
    done = aiquant(*words, cwd=tmp_path)
    assert done.code == code, done.err
    assert told in done.err
    assert "Traceback" not in done.err


def test_an_error_is_json_too(aiquant: Aiquant, tmp_path: Path) -> None:
    done = aiquant("lake", "ls", "--json", cwd=tmp_path)
    error = done.json["error"]
    assert error["exit_code"] == 3 == done.code and "aiquant init" in error["remedy"]


def test_a_workspace_of_another_format_is_refused(aiquant: Aiquant, tmp_path: Path) -> None:
    aiquant("init", tmp_path / "w")
    marker = tmp_path / "w" / ".aiquant" / "workspace.json"
    marker.write_text(json.dumps({"format": 99}))
    done = aiquant("lake", "ls", "-w", tmp_path / "w")
    assert done.code == 2 and "format 99" in done.err


def test_init_keeps_what_is_there(aiquant: Aiquant, tmp_path: Path) -> None:
    aiquant("init", tmp_path)
    (tmp_path / "aiquant.toml").write_text("[learning]\nseed = 99\n")
    assert aiquant("init", tmp_path).code == 0
    assert "99" in (tmp_path / "aiquant.toml").read_text()


def test_config_show_hides_secrets(aiquant: Aiquant, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "tracking__token").write_text("hunter2")
    environment = {**os.environ, "AIQUANT_SECRETS_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "aiquant", "config", "show", "--json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)["settings"]
    assert told["tracking.token"] == {"value": "***", "origin": "secrets folder"}
    assert "hunter2" not in done.stdout + done.stderr
    assert told["labels.horizon"] == {"value": 5, "origin": "default"}


def test_doctor_says_what_is_there(aiquant: Aiquant, tmp_path: Path) -> None:
    aiquant("init", tmp_path)
    done = aiquant("doctor", "--json", cwd=tmp_path)
    found = {f["what"]: f for f in done.json["findings"]}
    assert found["polars"]["state"] == "fine" and found["workspace"]["state"] == "fine"
    assert found["lake"]["remedy"].endswith("aiquant ingest bars")
    assert done.code == (0 if done.json["ok"] else 3)


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m aiquant features show alpha158 | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert "Traceback" not in done.stderr


def test_a_misspelt_option_is_one_json_object_too(aiquant: Aiquant) -> None:
    answer = aiquant("lake", "ls", "--wrkspace", "x", "--json")
    assert answer.code == 2 and "no such option" in answer.err
    assert answer.json["error"]["exit_code"] == 2 and "--wrkspace" in answer.json["error"]["problem"]


@pytest.mark.parametrize(
    ("words", "problem", "remedy"),
    [
        (("explain",), "missing option '--symbol'", "aiquant explain --help"),
        (("models", "promote"), "missing argument", "aiquant models promote --help"),
        (("tune", "--trials", "x"), "the value of --trials is not a whole number", "write a whole number"),
        (("tune", "--timeout", "x"), "the value of --timeout is not a number", "write a number"),
        (("predict", "--date", "2020-13-01"), "the value of --date is not a date", "write a date, as 2024-06-28"),
        (("models", "nosuch"), "no such command 'nosuch'", "aiquant models --help"),
    ],
)
def test_misuse_is_told_as_every_other_error(
    aiquant: Aiquant, tmp_path: Path, words: tuple[str, ...], problem: str, remedy: str
) -> None:
    answer = aiquant(*words, "--json", cwd=tmp_path)
    told = answer.json["error"]
    assert (answer.code, told["kind"], told["exit_code"]) == (2, "UsageError", 2)
    assert problem in told["problem"] and remedy in told["remedy"]
    assert answer.err.startswith("error: ") and "\n  try: " in answer.err


def test_a_setting_that_cannot_be_says_what_to_do(aiquant: Aiquant, tmp_path: Path) -> None:
    aiquant("init", tmp_path)
    for name, text, why in (
        ("tuning.trials", "0", "it has to be greater than or equal to 1"),
        ("learning.seed", "x", "not a whole number"),
        ("xgboost.subsample", "much", "not a number"),
        ("data.screen", "perhaps", "neither true nor false"),
    ):
        answer = aiquant("config", "show", "--set", f"{name}={text}", cwd=tmp_path)
        assert answer.code == 2 and f"setting {name} = '{text}': {why}" in answer.err
        assert "\n  try: correct it" in answer.err


def test_an_interruption_is_told(tmp_path: Path, prices: Path, aiquant: Aiquant) -> None:
    assert aiquant("init", tmp_path / "w").code == 0
    words = [sys.executable, "-m", "aiquant", "run", "--path", str(prices), "-w", str(tmp_path / "w"), "--json"]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and not (tmp_path / "w" / "lake" / "bars").exists():
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130 and err.strip() == "stopped"
    assert json.loads(out)["error"]["kind"] == "Interrupted"
