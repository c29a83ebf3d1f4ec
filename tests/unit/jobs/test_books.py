"""Rules of the portfolio in runs, backtests and forecasts, and the verb that makes one book."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from aiquant import schemas, settings
from aiquant.cli.main import app
from aiquant.errors import DataError, UsageError
from aiquant.jobs import backtest, books, optimise, pipeline, predict, reproduce, train, trials, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace, read_json

TOLD = {
    "learning.model": "ridge",
    "learning.min_train_years": "1",
    "importance.dates": "0",
    "labels.horizon": "20",
    "portfolio.rule": "mean-risk",
    "portfolio.max_position": "0.25",
}
LAST = date(2018, 1, 4)
EMPIRICAL = ("--set", "portfolio.covariance=empirical", "--set", "portfolio.max_position=0.17")
"""Unshrunk, variances by chance a tenth apart move weights as far from a sixth: the limit binds."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, make_bars: Callable[..., pa.Table]) -> Workspace:
    made = workspace.create(tmp_path_factory.mktemp("books") / "w")
    made.lake.write(schemas.BARS, make_bars(symbols=6, first=date(2016, 1, 4), last=LAST))
    return workspace.open_(made.root, TOLD)


@pytest.fixture(scope="module")
def run_id(home: Workspace) -> str:
    done = train.train(home, Journal())
    backtest.of_run(home, Journal(), done.run_id)
    return done.run_id


def other(home: Workspace, **told: str) -> Workspace:
    return workspace.open_(home.root, TOLD | {f"portfolio.{name}": value for name, value in told.items()})


def test_a_run_trades_the_rule_of_its_settings_and_can_be_made_again(home: Workspace, run_id: str) -> None:
    targets = pl.DataFrame(home.lake.read(schemas.TARGET_WEIGHTS, where={"run_id": run_id}))
    assert targets["weight"].max() == pytest.approx(0.25, abs=1e-6)
    assert targets.group_by("date").agg(pl.col("weight").sum())["weight"].to_list() == pytest.approx(
        [1.0] * targets["date"].n_unique(), abs=1e-6
    )
    kept = read_json(home.run_folder(run_id) / "backtest.json")
    assert kept["decisions"] == {"decisions": targets["date"].n_unique(), "kept": 0, "fallbacks": 0}
    assert reproduce.reproduce(home, Journal(), run_id).identical


def test_another_rule_is_another_trial_and_is_held_for_the_same_forecasts(home: Workspace, run_id: str) -> None:
    before = trials.read(home.lake).count
    for told in ({"rule": "hrp"}, {"rule": "hrp", "max_position": "0.3"}):
        for _ in range(2):
            done = backtest.of_run(other(home, **told), Journal(), run_id)
            assert not done.kept
    assert trials.read(home.lake).count == before + 2


def test_fallbacks_are_counted_and_told(home: Workspace, run_id: str) -> None:
    done = backtest.of_run(other(home, max_position="0.1"), Journal(), run_id)
    assert done.decisions["fallbacks"] == done.decisions["decisions"] > 1
    assert any("the rule mean-risk found no book on" in note for note in done.notes)


def test_forecasts_of_today_come_with_the_book_that_they_lead_to(home: Workspace, run_id: str) -> None:
    done = predict.predict(home, Journal(), run_id)
    assert sum(weight for _, weight in done.weights) == pytest.approx(1.0, abs=1e-6)
    assert max(weight for _, weight in done.weights) <= 0.25 + 1e-6
    assert [abs(w) for _, w in done.weights] == sorted((abs(w) for _, w in done.weights), reverse=True)
    turnover = predict.predict(other(home, max_turnover="0.01"), Journal(), run_id)
    held = books.held_by(
        home.lake.read(schemas.TARGET_WEIGHTS, where={"run_id": run_id}),
        books.history(home.settings, pipeline.read(home.lake, home.settings)),
        turnover.date,
    )
    told = dict(turnover.weights)
    assert 0.5 * sum(abs(told.get(s, 0.0) - held.get(s, 0.0)) for s in {*told, *held}) == pytest.approx(0.01, abs=1e-5)


def test_past_returns_are_those_known_at_their_own_time(tmp_path: Path, make_bars: Callable[..., pa.Table]) -> None:
    made = workspace.create(tmp_path / "w")
    bars = pl.DataFrame(make_bars(symbols=2, first=date(2018, 1, 2), last=date(2018, 3, 29)))
    made.lake.write(schemas.BARS, bars.to_arrow().cast(schemas.BARS.schema))
    row = bars.filter(pl.col("symbol") == "S000").row(10, named=True)
    late = row["event_time"] + timedelta(days=30)
    fixed = bars.filter((pl.col("symbol") == "S000") & (pl.col("event_time") == row["event_time"])).with_columns(
        close=pl.lit(row["high"]), known_from=pl.lit(late, pl.Datetime("us", "UTC"))
    )
    plain = books.history(made.settings, pipeline.read(made.lake, made.settings))
    made.lake.write(schemas.BARS, fixed.to_arrow().cast(schemas.BARS.schema))
    again = books.history(made.settings, pipeline.read(made.lake, made.settings))
    assert (again.returns[1:12] == plain.returns[1:12]).all(), "a correction that came later changes no earlier return"
    closes = bars.filter(pl.col("symbol") == "S000")["close"].to_numpy()
    assert plain.returns[1:, 0] == pytest.approx(closes[1:] / closes[:-1] - 1, rel=1e-4)
    volume = bars.filter(pl.col("symbol") == "S000")["volume"].to_numpy()
    assert plain.dollar_volume[:, 0] == pytest.approx(closes * volume)


def test_splits_and_dividends_are_part_of_past_returns(tmp_path: Path, make_bars: Callable[..., pa.Table]) -> None:
    made = workspace.create(tmp_path / "w")
    bars = pl.DataFrame(make_bars(symbols=1, first=date(2018, 1, 2), last=date(2018, 3, 29)))
    day: datetime = bars["event_time"][20]
    halved = [
        pl.when(pl.col("event_time") >= day).then(pl.col(c) / 2).otherwise(pl.col(c))
        for c in ("open", "high", "low", "close")
    ]
    made.lake.write(schemas.BARS, bars.with_columns(halved).to_arrow().cast(schemas.BARS.schema))
    split = {"symbol": "S000", "kind": "split", "date": bars["date"][20], "event_time": day - timedelta(hours=6)}
    row = split | {"known_from": split["event_time"], "ratio": 2.0, "amount": None, "source": "test"}
    made.lake.write(schemas.CORPORATE_ACTIONS, schemas.conform(pa.Table.from_pylist([row]), schemas.CORPORATE_ACTIONS))
    found = books.history(made.settings, pipeline.read(made.lake, made.settings)).returns[1:, 0]
    closes = bars["close"].to_numpy()
    assert found == pytest.approx(closes[1:] / closes[:-1] - 1, rel=1e-4)


def test_rules_that_compare_sectors_need_them(home: Workspace, run_id: str) -> None:
    with pytest.raises(
        Exception, match="the lake knows no sectors; take classes in with: aiquant ingest classification"
    ):
        backtest.of_run(other(home, max_sector="0.5"), Journal(), run_id)


def test_a_wrong_rule_is_refused_before_anything_is_trained(home: Workspace) -> None:
    with pytest.raises(UsageError, match="no rule is named 'hrb'; did you mean"):
        train.train(other(home, rule="hrb"), Journal())


def told(home: Workspace, *words: str) -> dict[str, object]:
    result = CliRunner().invoke(app, ["optimise", "-w", str(home.root), "--json", *words], catch_exceptions=False)
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_one_book_from_prices_alone(home: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "book.csv"
    found = told(home, "--rule", "min-variance", *EMPIRICAL, "--out", str(out))
    assert (found["rule"], found["used"], found["source"]) == ("min-variance", "min-variance", "prices alone")
    assert sum(weight for _, weight in found["weights"]) == pytest.approx(1.0, abs=1e-6)  # type: ignore[attr-defined]
    binding = found["binding"]
    assert isinstance(binding, list) and binding and all(name.startswith("position of S") for name in binding)
    risk = found["risk"]
    assert sum(risk["shares"].values()) == pytest.approx(1.0)  # type: ignore[index]
    # Six independent symbols of 0.02 x sqrt(252) = 32 % a year, about equally weighed: 32 % / sqrt(6) = 13 %.
    assert 0.10 < risk["volatility"] < 0.16  # type: ignore[index]
    assert pl.read_csv(out).columns == ["date", "symbol", "weight"]


def test_one_book_from_a_run_and_from_a_file(home: Workspace, run_id: str, tmp_path: Path) -> None:
    found = told(home, "--run", run_id)
    assert found["source"] == f"run {run_id}"
    views, held = tmp_path / "views.csv", tmp_path / "held.csv"
    views.write_text("symbol,expected_return\ns000,0.2\nS001,0.1\nS002,-0.1\n")
    held.write_text("symbol,weight\nS001,1.0\n")
    wanted = ["--rule", "max-sharpe", "--expected", str(views), "--set", "portfolio.max_position=none"]
    free = told(home, *wanted)
    assert [symbol for symbol, _ in free["weights"]] == ["S000", "S001"]  # type: ignore[attr-defined]
    weights = dict(free["weights"])  # type: ignore[call-overload]
    assert free["expected_return"] == pytest.approx(0.2 * weights["S000"] + 0.1 * weights["S001"])
    bound = told(home, *wanted, "--held", str(held), "--set", "portfolio.max_turnover=0.1")
    assert dict(bound["weights"]) == pytest.approx({"S001": 0.9, "S000": 0.1}, abs=1e-5)  # type: ignore[call-overload]
    assert (bound["turnover"], bound["binding"]) == (pytest.approx(0.1, abs=1e-5), ["turnover"])


def test_a_person_reads_weights_risk_and_what_stood_in(home: Workspace) -> None:
    words = ["optimise", "-w", str(home.root), "--rule", "min-variance", "--set", "portfolio.max_position=0.1"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "Limits that bind: position of S000" in result.stdout
    reason = "6 symbols within their limits make a net of 0.6 at most, not 1"
    assert f"The rule found no book ({reason}): inverse-volatility stands in." in result.stdout
    assert "a year, beta" in result.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("symbol,weight\nA,1\n", "lacks the column"),
        ("symbol,expected_return\nS000,x\n", "is not a number in each row"),
        ("symbol,expected_return\nS000,1\nS000,2\n", "S000 stands in more than one row"),
        ("symbol,expected_return\nS000,\n", "of S000 is not a finite number"),
        ("symbol,expected_return\nZZZ,0.1\n", "none of its symbols has a bar on"),
    ],
)
def test_files_that_do_not_say_what_they_should_are_refused(
    home: Workspace, tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "views.csv"
    file.write_text(content)
    with pytest.raises(DataError, match=words):
        optimise.optimise(home.settings, Journal(), home, expected=file)


def test_days_and_rules_that_cannot_be_are_refused(home: Workspace, run_id: str) -> None:
    with pytest.raises(UsageError, match="the rule mean-risk needs forecasts; name a run, or a file with --expected"):
        optimise.optimise(home.settings, Journal(), home)
    with pytest.raises(DataError, match="no symbol has a bar on 2018-01-06; the bars reach from 2016-01-04 to"):
        optimise.optimise(other(home, rule="hrp").settings, Journal(), home, day=date(2018, 1, 6))
    with pytest.raises(DataError, match="has no forecasts out of sample of 2016-02-01"):
        optimise.optimise(home.settings, Journal(), home, run_id=run_id, day=date(2016, 2, 1))


def test_optimisers_reckon_with_half_the_spread() -> None:
    told = settings.Settings(backtest=settings.BacktestSettings(commission_bps=3.0, slippage_bps=4.0, spread_bps=20.0))
    assert books.terms(told).cost == pytest.approx(0.0017)
