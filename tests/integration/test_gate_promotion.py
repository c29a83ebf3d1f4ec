"""From a market with a planted signal to a champion, and what happens when the way is cut."""

from __future__ import annotations

import shutil
import socket
import sys
from datetime import date
from pathlib import Path

import pytest

from aiquant import schemas
from aiquant.errors import MissingError, RefusedError, Unreachable, UsageError
from aiquant.jobs import backtest, evaluate, models, train, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace, read_json
from aiquant.learning import registry, tracking
from aiquant.learning import trials as ledger

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TOLD = {"learning.model": "ridge", "leakage.cuts": "1"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A market with a signal that ridge finds; trained and backtested, not judged yet."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        import gate_market
    finally:
        sys.path.remove(str(SCRIPTS))
    home = workspace.create(tmp_path_factory.mktemp("gate") / "w")
    home.lake.write(schemas.BARS, gate_market.bars(5, 0.12, symbols=20, last=date(2018, 12, 31)))
    opened = workspace.open_(home.root, TOLD)
    run_id = train.train(opened, Journal()).run_id
    backtest.of_run(opened, Journal(), run_id)
    return opened, run_id


def again(home: Workspace, **told: str) -> Workspace:
    return workspace.open_(home.root, TOLD | {name.replace("__", "."): value for name, value in told.items()})


@pytest.fixture
def apart(trained: tuple[Workspace, str], tmp_path: Path) -> tuple[Workspace, str]:
    """The same in a workspace of its own, which MLflow knows nothing of."""
    root = tmp_path / "w"
    shutil.copytree(trained[0].root, root, ignore=shutil.ignore_patterns("mlflow.db", "mlartifacts"))
    return workspace.open_(root, TOLD), trained[1]


def try_more(home: Workspace, count: int) -> None:
    told = [ledger.Trial("luck", str(i), "ridge", f"configuration {i}", state="pruned") for i in range(count)]
    home.lake.write(schemas.TRIALS, ledger.rows(told))


def overtaken(home: Workspace, first: str) -> str:
    """The run passed and was in use, until somebody put another, refused one in its place; the other's id."""
    assert evaluate.evaluate(home, Journal(), first).promoted
    rival = again(home, portfolio__quantile="0.3", labels__target="excess")
    run_id = train.train(rival, Journal()).run_id
    backtest.of_run(rival, Journal(), run_id)
    assert not evaluate.evaluate(rival, Journal(), run_id).promoted
    assert models.promote(home, run_id, override="a test").line.aliases == ["champion"]
    return run_id


def test_a_pass_counts_no_longer_when_more_was_tried(apart: tuple[Workspace, str]) -> None:
    home, first = apart
    second = overtaken(home, first)
    assert models.show(home, "previous").passed
    try_more(home, 5000)
    for name in ("1", "previous", first):
        with pytest.raises(RefusedError, match="version 1 of model aiquant did not pass the gate"):
            models.promote(home, name)
    shown = models.show(home, "previous")
    assert not shown.passed and shown.figures["trials"] == 5002, "the verdict of now is stored"
    assert models.show(home).line.run_id == second

    shutil.rmtree(home.runs / first)
    try_more(home, 5001)
    with pytest.raises(MissingError, match=f"run {first} cannot be judged again.*no run"):
        models.promote(home, "1")
    used = models.promote(home, "1", override="the folder is lost")
    assert used.line.aliases == ["champion"] and used.line.override == "the folder is lost"
    assert models.rollback(home).promotions[-1]["override"] is None, "a way back is no override of its own"


def test_a_verdict_of_now_is_not_asked_for_again(apart: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch) -> None:
    home, first = apart
    run_id = overtaken(home, first)
    assert models.rollback(home).line.run_id == first
    monkeypatch.setattr(evaluate, "evaluate", None)  # would fail when asked
    with pytest.raises(RefusedError, match="did not pass the gate"):
        models.promote(home, run_id)
    assert models.promote(home, first).line.aliases == ["champion"], "it is the champion already"


def test_a_refused_run_that_nobody_judged_since_is_told_its_reasons_of_now(apart: tuple[Workspace, str]) -> None:
    home, first = apart
    strict = again(home, gate__min_sessions="100000")
    assert not evaluate.evaluate(strict, Journal(), first).promoted
    with pytest.raises(RefusedError, match="at least 100000 is asked for"):
        models.promote(strict, first)
    assert models.promote(home, first).passed, "by the thresholds of now it passes"


@pytest.mark.parametrize("name", ["model.json", "coefficients.json"])
@pytest.mark.parametrize("content", ["{", '{"payload": "other"}'])
def test_a_damaged_model_is_neither_judged_nor_used(apart: tuple[Workspace, str], name: str, content: str) -> None:
    home, first = apart
    (home.runs / first / "models" / "final" / name).write_text(content, encoding="utf-8")
    with pytest.raises(RefusedError, match="do not use it"):
        evaluate.evaluate(home, Journal(), first)
    assert not (home.runs / first / "verdict.json").exists() and models.list_models(home) == []


def test_nothing_is_registered_where_mlflow_does_not_answer(trained: tuple[Workspace, str]) -> None:
    home, run_id = trained
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unreachable):
        evaluate.evaluate(again(home, tracking__uri=f"http://127.0.0.1:{port}"), Journal(), run_id)
    assert not (home.runs / run_id / "verdict.json").exists()
    assert models.list_models(home) == []


def test_a_registration_that_is_cut_leaves_no_champion_and_is_completed_later(
    trained: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, run_id = trained

    def cut(*_: object) -> None:
        raise Unreachable("MLflow does not answer", "try later")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "promote", cut)
        with pytest.raises(Unreachable):
            evaluate.evaluate(home, Journal(), run_id)
    (line,) = models.list_models(home)
    assert (line.aliases, line.verdict) == ([], "promoted"), "it waits with its verdict, and is not in use"
    assert read_json(home.runs / run_id / "verdict.json")["model_version"] is None

    done = evaluate.evaluate(home, Journal(), run_id)
    assert done.promoted and done.model_version == line.version, done.reasons
    (line,) = models.list_models(home)
    assert line.aliases == ["champion"]
    shown = models.show(home).to_dict()
    assert shown["passed"] and shown["checks"] == done.checks and shown["figures"]["trials"] == 1
    assert read_json(home.runs / run_id / "verdict.json")["model_version"] == line.version


def test_a_rival_is_held_against_the_champion_and_a_refusal_can_be_overridden_in_the_open(
    trained: tuple[Workspace, str],
) -> None:
    home, first = trained
    evaluate.evaluate(home, Journal(), first)
    rival = again(home, portfolio__quantile="0.3", labels__target="excess")
    run_id = train.train(rival, Journal()).run_id
    backtest.of_run(rival, Journal(), run_id)
    done = evaluate.evaluate(rival, Journal(), run_id)
    check = next(c for c in done.checks if c["name"] == "beats_champion")
    assert not done.promoted and not check["passed"] and check["setting"] == "gate.min_better_than_champion"
    assert done.figures["trials"] == 2
    assert [m.run_id for m in models.list_models(home)] == [first], "a refused run is not registered"

    with pytest.raises(RefusedError, match="than champion is"):
        models.promote(home, run_id)
    with pytest.raises(UsageError, match="needs a reason"):
        models.promote(home, run_id, override=" ")
    used = models.promote(home, run_id, override="asked for by the desk").to_dict()
    assert used["aliases"] == ["champion"] and not used["passed"] and used["verdict"] == "refused"
    assert used["promotions"][-1]["override"] == used["override"] == "asked for by the desk"
    assert models.rollback(home).line.run_id == first
    assert models.promote(home, str(used["version"]), override="again").line.override == "again"
    assert models.rollback(home).line.aliases == ["champion"]


def test_other_thresholds_on_the_same_settings_renew_the_champion(trained: tuple[Workspace, str]) -> None:
    home, first = trained
    evaluate.evaluate(home, Journal(), first)
    other = again(home, gate__min_breadth="5")
    run_id = train.train(other, Journal()).run_id
    assert run_id != first
    backtest.of_run(other, Journal(), run_id)
    check = next(c for c in evaluate.evaluate(other, Journal(), run_id).checks if c["name"] == "beats_champion")
    assert check["passed"] and check["why"].startswith("the model renews the champion")


def test_a_champion_whose_forecasts_are_gone_is_not_beaten(trained: tuple[Workspace, str]) -> None:
    from aiquant.jobs import rivals
    from aiquant.lake import Lake
    from aiquant.learning.judgement import judge

    home, first = trained
    evaluate.evaluate(home, Journal(), first)
    store = tracking.connect(home.settings.tracking, home.root)
    forecasts = home.lake.read(schemas.FORECASTS, where={"run_id": first})
    judged = judge(forecasts.slice(0, 0) if not forecasts.num_rows else forecasts, schemas.LABELS.schema.empty_table())
    empty = Lake(home.root / "another lake")
    rival = rivals.champion(
        empty, store, again(home, learning__seed="9").settings, "other", schemas.LABELS.schema.empty_table(), judged
    )
    assert rival is not None and rival.difference is None and "holds no forecasts" in rival.unknown
