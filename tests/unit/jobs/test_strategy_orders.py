"""A strategy that orders shares, from its file to lake, report and ledger: numbers worked out on paper."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from aiquant import schemas
from aiquant.backtest import engine
from aiquant.errors import UsageError
from aiquant.jobs import strategies, strategy_checks, sweep, sweep_runs, trade, trials, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

OPENS = {"S000": [9.0, 10, 11, 12, 13, 14], "S001": [30.0, 30, 30, 20, 21, 22]}
CLOSES = {"S000": [10.0, 11, 12, 13, 14, 15], "S001": [30.0, 30, 20, 21, 22, 20]}

STRATEGY = """
import polars as pl

class Ladder:
    def __init__(self, size: float = 10.0):
        self.size = size

    def decide(self, history):
        if history.date.day == 2:
            return pl.DataFrame({"symbol": ["S000"], "shares": [self.size]})
        if history.date.day == 4:
            return pl.DataFrame({"symbol": ["S001", "S000"], "shares": [5.0, -4.0]})
        return None
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_bars: Callable[..., pa.Table]) -> Workspace:
    """Sessions of 2019-01-02, 03, 04, 07, 08 and 09."""
    root = workspace.create(tmp_path_factory.mktemp("work") / "w").root
    (root / "aiquant.toml").write_text(
        "[backtest]\ncapital = 1000.0\ncommission_bps = 0.0\nslippage_bps = 0.0\n[sweep]\nworkers = 1\n"
    )
    (root / "strategies").mkdir(exist_ok=True)
    (root / "strategies" / "ladder.py").write_text(STRATEGY)
    opened = workspace.open_(root)
    frame = pl.DataFrame(make_bars(symbols=2, first=date(2019, 1, 2), last=date(2019, 1, 9))).sort("symbol", "date")
    prices = {
        name: pl.Series([value for values in told.values() for value in values])
        for name, told in (("open", OPENS), ("close", CLOSES))
    }
    frame = frame.with_columns(**prices).with_columns(
        high=pl.max_horizontal("open", "close"), low=pl.min_horizontal("open", "close")
    )
    opened.lake.write(schemas.BARS, frame.to_arrow().cast(schemas.BARS.schema))
    return opened


def test_orders_are_traded_kept_evaluated_and_counted(place: Workspace) -> None:
    chosen = strategies.choose(place, "ladder")
    done = strategies.run(place, Journal(), chosen)
    # Day 2: buy 10 S000, at the open of day 3 (10): 900 cash. Day 4: sell 4 S000 and buy 5 S001, at the opens of day 7
    # (12 and 20): 900 + 48 − 100 = 848 cash. Nothing else is ever sold. Closes: 900 + 10 × 11, 900 + 10 × 12,
    # 848 + 6 × 13 + 5 × 21, 848 + 6 × 14 + 5 × 22, 848 + 6 × 15 + 5 × 20.
    assert done.equity["strategy"]["equity"].to_pylist() == [1000, 1010, 1020, 1031, 1042, 1038]
    key = {"run_id": done.run_id}
    fills = place.lake.read(schemas.FILLS, where=key).sort_by([("date", "ascending"), ("symbol", "ascending")])
    told = [(r["date"].day, r["symbol"], r["shares"], r["price"]) for r in fills.to_pylist()]
    assert told == [(3, "S000", 10, 10), (7, "S000", -4, 12), (7, "S001", 5, 20)]
    assert place.lake.read(schemas.TARGET_WEIGHTS, where=key, missing_ok=True).num_rows == 0
    assert "orders in shares" in " ".join(done.conventions.values())
    assert "ladder" in (place.root / "backtests" / str(done.run_id) / "report.html").read_text()
    assert trials.read(place.lake).count == 1
    again = strategies.run(place, Journal(), chosen)
    assert (again.run_id, again.digest) == (done.run_id, done.digest) and trials.read(place.lake).count == 1
    traded = done.traded
    assert traded is not None, "what an evaluation trades again, by other costs"
    replayed = engine.run(
        traded.weights, traded.bars, traded.sessions, traded.settings.backtest, "", traded.actions, **traded.more
    )
    assert replayed.equity["equity"].to_pylist() == done.equity["strategy"]["equity"].to_pylist()


def test_a_sweep_plays_orders_as_the_backtest_does(place: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "sets.parquet"
    done = sweep.run(place, Journal(), "ladder", {"size": "10,20"}, out=out)
    # 20 shares: 800 + 48 − 100 = 748 cash, 16 × 15 + 5 × 20 at the end.
    assert done.way == "strategy by strategy"
    assert dict(pl.read_parquet(out).select("size", "final").iter_rows()) == {10.0: 1038.0, 20.0: 1088.0}
    curve = sweep_runs.account_of(strategies.choose(place, "ladder"), strategies.material(place), {"size": 20.0})
    assert curve.equity[-1] == 1088.0 and curve.fills == 3


def test_orders_pass_the_check_of_leakage(place: Workspace) -> None:
    assert strategy_checks.leakage(place, Journal(), strategies.choose(place, "ladder")).passed


def test_an_account_that_trades_refuses_orders(place: Workspace) -> None:
    with pytest.raises(UsageError, match="ladder orders shares") as caught:
        trade.trade(place, Journal(), trade.Asked(strategy="ladder", replay=True))
    assert "aiquant backtest --strategy ladder" in str(caught.value.remedy)
