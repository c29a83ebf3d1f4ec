"""Terms of single symbols and exchange rates beside a run and a strategy: what they cost, and what counts as tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from aiquant import schemas
from aiquant.errors import DataError
from aiquant.jobs import backtest, strategies, terms, train, trials, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

FREE = {"backtest.commission_bps": "0", "backtest.slippage_bps": "0", "backtest.borrow_bps": "0"}


def written(folder: Path, name: str, *lines: str) -> Path:
    path = folder / f"{name}.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def flat(tmp_path: Path, make_bars: Callable[..., pa.Table]) -> Workspace:
    """Two symbols at a price of 100 all along, traded free of costs with 1,000,000 of dollars."""
    random = pl.DataFrame(pl.from_arrow(make_bars(symbols=2, first=date(2020, 1, 2), last=date(2020, 3, 31))))
    prices = random.with_columns(pl.lit(100.0).alias(name) for name in ("open", "high", "low", "close"))
    made = workspace.create(tmp_path / "flat")
    made.lake.write(schemas.BARS, schemas.conform(prices.to_arrow(), schemas.BARS))
    return workspace.open_(made.root, FREE | {"backtest.currency": "USD"})


def test_a_strategy_trades_in_the_currencies_of_its_symbols(flat: Workspace, tmp_path: Path) -> None:
    told = terms.read(
        written(tmp_path, "instruments", "symbol,currency", "S001,EUR"),
        written(tmp_path, "rates", "currency,date,rate", "EUR,2019-12-30,1.25", "EUR,2020-03-16,2.5"),
    )
    plain = strategies.run(flat, Journal(), strategies.choose(flat, "equal-weight"))
    done = strategies.run(flat, Journal(), strategies.choose(flat, "equal-weight", None, told))
    # Half of a million each: 5,000 at 100 dollars, and 4,000 at 100 euros of 1.25. On 16 March a euro doubles, and with
    # it half of the account: 1,500,000.
    assert done.traded is not None and plain.traded is not None
    bought = {row["symbol"]: (row["shares"], row["price"]) for row in done.traded.fills.to_pylist()[:2]}
    assert bought == {"S000": (pytest.approx(5000), 100), "S001": (pytest.approx(4000), 125)}
    equity = {row["date"]: row["equity"] for row in done.equity["strategy"].to_pylist()}
    assert equity[date(2020, 3, 13)] == pytest.approx(1_000_000)
    assert equity[date(2020, 3, 16)] == pytest.approx(1_500_000)
    assert plain.equity["strategy"]["equity"].to_pylist()[-1] == pytest.approx(1_000_000)
    held = done.equity["buy and hold"]["equity"].to_pylist()
    assert held[-1] == pytest.approx(1_500_000), "the benchmarks trade on the same terms"

    assert done.run_id != plain.run_id and trials.read(flat.lake).count == 2
    about = json.loads((flat.root / "backtests" / str(done.run_id) / "manifest.json").read_text())
    assert about["terms"] == terms.digests(told) and set(told) == {"instruments", "fx"}
    again = strategies.run(flat, Journal(), strategies.choose(flat, "equal-weight", None, told))
    assert again.run_id == done.run_id and trials.read(flat.lake).count == 2


def test_an_account_without_a_rate_is_refused(flat: Workspace, tmp_path: Path) -> None:
    told = terms.read(written(tmp_path, "instruments", "symbol,currency", "S001,EUR"), None)
    with pytest.raises(DataError, match="no exchange rates of EUR"):
        strategies.run(flat, Journal(), strategies.choose(flat, "equal-weight", None, told))


def test_the_order_of_rows_makes_no_other_terms(tmp_path: Path) -> None:
    def of(*lines: str) -> dict[str, str]:
        return terms.digests(terms.read(written(tmp_path, "instruments", "symbol,lot,spread_bps", *lines), None))

    first = of("A,100,", "B,,20")
    assert of("B,,20", "A,100,") == first != of("B,,21", "A,100,")


def test_a_run_on_other_terms_is_a_trial_and_not_kept(tmp_path: Path, make_bars: Callable[..., pa.Table]) -> None:
    made = workspace.create(tmp_path / "w")
    made.lake.write(schemas.BARS, make_bars(symbols=6, first=date(2016, 1, 4), last=date(2018, 1, 4)))
    home = workspace.open_(made.root, {"learning.model": "ridge", "learning.min_train_years": "1"})
    run_id = train.train(home, Journal()).run_id
    own = backtest.of_run(home, Journal(), run_id)
    kept = home.lake.read(schemas.EQUITY, where={"run_id": run_id})
    figures = (home.root / "runs" / run_id / "backtest.json").read_bytes()

    def on(spread: int) -> backtest.Backtested:
        path = written(tmp_path, "instruments", "symbol,spread_bps", f"S001,{spread}")
        return backtest.of_run(home, Journal(), run_id, terms=terms.read(path, None))

    done = on(40)
    assert own.kept and not done.kept and "not kept" in done.notes[-1]
    assert done.traded is not None
    opens = {(b["symbol"], b["date"]): b["open"] for b in home.lake.read(schemas.BARS).to_pylist()}
    for fill in done.traded.fills.to_pylist():
        # 5 bp of slippage for each symbol, and half of 40 bp for S001; against the trade.
        share = 0.0005 + (0.0020 if fill["symbol"] == "S001" else 0.0)
        side = 1 if fill["shares"] > 0 else -1
        assert fill["price"] == pytest.approx(opens[fill["symbol"], fill["date"]] * (1 + side * share))
    assert home.lake.read(schemas.EQUITY, where={"run_id": run_id}).equals(kept)
    assert (home.root / "runs" / run_id / "backtest.json").read_bytes() == figures

    assert trials.read(home.lake).count == 2
    on(40)
    assert trials.read(home.lake).count == 2, "the same terms are the same trial"
    on(41)
    assert trials.read(home.lake).count == 3
    tried = [json.loads(row["params"]) for row in home.lake.read(schemas.TRIALS).to_pylist()]
    assert sum("terms" in params for params in tried) == 2
