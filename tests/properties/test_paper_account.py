"""An account that is put aside and taken up again, as often as one likes, is the backtest to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aiquant.backtest import engine, paper
from aiquant.backtest.paper import PaperAccount
from aiquant.calendars import sessions
from aiquant.settings import BacktestSettings

MakeBars = Callable[..., pa.Table]
FIRST, LAST = date(2019, 1, 2), date(2019, 4, 30)


@pytest.fixture(scope="module")
def bars(make_bars: MakeBars) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(make_bars(symbols=5, first=FIRST, last=LAST, seed=8)))


rules = st.builds(
    BacktestSettings,
    capital=st.sampled_from([5_000.0, 1e6]),
    commission_bps=st.sampled_from([0.0, 7.0]),
    slippage_bps=st.sampled_from([0.0, 13.0]),
    borrow_bps=st.sampled_from([0.0, 400.0]),
    fill=st.sampled_from(["next-open", "close"]),
    shares=st.sampled_from(["fractional", "whole"]),
    margin=st.booleans(),
    commission_minimum=st.sampled_from([0.0, 2.0]),
    spread_bps=st.sampled_from([0.0, 4.0]),
    participation=st.sampled_from([0.0, 0.001]),
    rest=st.sampled_from(["wait", "withdraw"]),
    cash_rate=st.sampled_from([0.0, 0.03]),
    max_position=st.sampled_from([None, 0.2]),
    stop_loss=st.sampled_from([0.0, 0.03]),
    trailing_stop=st.sampled_from([0.0, 0.05]),
    slippage_volatility=st.sampled_from([0.0, 0.1]),
    impact=st.sampled_from([0.0, 0.1]),
)


@hypothesis_settings(max_examples=15, deadline=None)
@given(
    rules=rules,
    seed=st.integers(0, 10_000),
    every=st.integers(1, 9),
    gross=st.floats(0.2, 1.0),
    missing=st.floats(0.0, 0.3),
    put_aside=st.sets(st.integers(0, 56)),
)
def test_it_is_the_backtest_however_often_it_was_put_aside(
    bars: pl.DataFrame,
    rules: BacktestSettings,
    seed: int,
    every: int,
    gross: float,
    missing: float,
    put_aside: set[int],
) -> None:
    rng = np.random.default_rng(seed)
    kept = bars.filter(pl.Series(rng.random(len(bars)) >= missing))
    days = sessions("XNYS", FIRST, LAST)
    symbols = kept["symbol"].unique().sort().to_list()
    dates = pl.Series(days.dates).cast(pl.Date).to_list()
    books = {}
    for day in dates[25::every]:
        drawn = rng.normal(size=len(symbols)) * (rng.random(len(symbols)) < 0.7)
        total = np.abs(drawn).sum()
        weights = gross * drawn / total if total else drawn
        books[day] = pl.DataFrame({"date": [day] * len(symbols), "symbol": symbols, "weight": weights})
    table = kept.to_arrow()
    once = engine.run(pl.concat(books.values()).to_arrow(), table, days, rules)
    if once.bankrupt is not None:
        return
    equity, fills, flows = [], [], []
    stage = paper.stage(symbols, table, days, rules, dates[25])
    account = PaperAccount.open(stage, rules.capital)
    for t, day in enumerate(dates[25:]):
        if t in put_aside:
            account = PaperAccount.load(account.save())
            stage = paper.stage(symbols, table, days, rules, day, fill=stage.fill)
        place = int(np.searchsorted(stage.market.dates, np.datetime64(day)))
        happened = account.play(stage, place, "")
        equity, fills, flows = [*equity, happened.equity], [*fills, happened.fills], [*flows, happened.flows]
        if day in books:
            for wanted in account.decide(books[day].to_arrow(), stage):
                account.give(wanted.symbol, f"{day} {wanted.symbol}")
    assert pa.concat_tables(equity).equals(once.equity)
    assert pa.concat_tables(fills).equals(once.fills)
    assert pa.concat_tables(flows).equals(once.flows)


def test_money_that_is_not_there_yet_earns_no_interest(bars: pl.DataFrame) -> None:
    """The account begins with its first decision, though it was shown the closes of a month before."""
    days = sessions("XNYS", FIRST, LAST)
    first = days.dates[25].item()
    book = pl.DataFrame({"date": [first], "symbol": ["S000"], "weight": [0.0]}).to_arrow()
    made = engine.run(book, bars.to_arrow(), days, BacktestSettings(cash_rate=0.05))
    assert made.flows["date"][0].as_py() == made.equity["date"][0].as_py() == first
    assert made.equity["equity"][0].as_py() == pytest.approx(1e6 + made.flows["amount"][0].as_py(), abs=1e-9)
    assert made.flows["amount"][0].as_py() == pytest.approx(1e6 * 0.05 / days.per_year, rel=0.05)
