"""Built-in strategies keep the contract, and hold what a plain loop over Python's own numbers says."""

from __future__ import annotations

import math
import statistics
from datetime import date

import polars as pl
import pytest

from aiquant.errors import UsageError
from aiquant.portfolio import weights
from aiquant.portfolio.strategies import builtin, runner
from aiquant.portfolio.strategies.contract import StrategyContract, market
from aiquant.portfolio.strategies.feed import Tables
from aiquant.settings import PortfolioSettings, Settings


class TestEqualWeight(StrategyContract):
    def strategy(self) -> builtin.EqualWeight:
        return builtin.EqualWeight()


class TestInverseVolatility(StrategyContract):
    def strategy(self) -> builtin.InverseVolatility:
        return builtin.InverseVolatility(window=20, every="week")


class TestMomentum(StrategyContract):
    def strategy(self) -> builtin.Momentum:
        return builtin.Momentum(formation=63, skip=5, short=True)


class TestMeanReversion(StrategyContract):
    def strategy(self) -> builtin.MeanReversion:
        return builtin.MeanReversion()


class TestSmaCross(StrategyContract):
    def strategy(self) -> builtin.SmaCross:
        return builtin.SmaCross(fast=5, slow=20)


class TestForecasts(StrategyContract):
    def strategy(self) -> builtin.Forecasts:
        return builtin.Forecasts(PortfolioSettings(), horizon=5)


@pytest.fixture(scope="module")
def told() -> Tables:
    return market()


def closes_of(tables: Tables) -> tuple[list[date], dict[str, dict[date, float]]]:
    """First versions of the closes, in units of the last share: what the market's one split makes of them."""
    frame = pl.DataFrame(tables.bars).sort("known_from").unique(["symbol", "date"], keep="first")
    days = sorted(set(frame["date"].to_list()))
    prices: dict[str, dict[date, float]] = {}
    for symbol, day, close in frame.select("symbol", "date", "close").iter_rows():
        prices.setdefault(symbol, {})[day] = close
    return days, prices


def books(strategy: object, tables: Tables) -> dict[date, dict[str, float]]:
    feed = tables.feed()
    made = runner.decisions(strategy, feed, "x")  # type: ignore[arg-type]
    return {feed.dates[d.at].item(): book.amounts for d in made if (book := d.wanted(feed)) is not None}


def without_corrections_and_splits(tables: Tables) -> Tables:
    frame = pl.DataFrame(tables.bars).filter(~pl.col("symbol").is_in(["S00", "S04"]))
    return Tables(frame.to_arrow().cast(tables.bars.schema))


def test_equal_weight_is_decided_on_the_first_session_of_each_month(told: Tables) -> None:
    days, prices = closes_of(told)
    wanted = {}
    for before, day in zip(days, days[1:], strict=False):
        if before.month != day.month:
            there = [symbol for symbol in prices if day in prices[symbol]]
            wanted[day] = dict.fromkeys(there, 1 / len(there))
    assert books(builtin.EqualWeight(), told) == wanted


def test_momentum_holds_the_winners(told: Tables) -> None:
    plain = without_corrections_and_splits(told)
    days, prices = closes_of(plain)
    found = books(builtin.Momentum(formation=63, skip=5, top=0.3), plain)
    assert found
    for day, book in found.items():
        at = days.index(day)
        past = {
            symbol: closes[days[at - 5]] / closes[days[at - 63]] - 1
            for symbol, closes in prices.items()
            if all(d in closes for d in (day, days[at - 5], days[at - 63]))
        }
        winners = sorted(past, key=past.__getitem__, reverse=True)[: int(len(past) * 0.3 + 1e-9)]
        assert book == dict.fromkeys(winners, pytest.approx(1 / len(winners)))


def test_mean_reversion_sells_the_winners_and_buys_the_losers(told: Tables) -> None:
    plain = without_corrections_and_splits(told)
    days, prices = closes_of(plain)
    for day, book in books(builtin.MeanReversion(window=5, bottom=0.2, short=True), plain).items():
        at = days.index(day)
        assert days[at - 1].isocalendar()[:2] != day.isocalendar()[:2], "not the first session of its week"
        past = {s: c[day] / c[days[at - 5]] for s, c in prices.items() if day in c and days[at - 5] in c}
        order, places = sorted(past, key=past.__getitem__), int(len(past) * 0.2 + 1e-9)
        wanted = dict.fromkeys(order[:places], 0.5 / places) | dict.fromkeys(order[-places:], -0.5 / places)
        assert book == pytest.approx(wanted)


def test_inverse_volatility_is_what_the_standard_library_says(told: Tables) -> None:
    plain = without_corrections_and_splits(told)
    days, prices = closes_of(plain)
    for day, book in books(builtin.InverseVolatility(window=20), plain).items():
        window = days[days.index(day) - 20 : days.index(day) + 1]
        spread = {}
        for symbol, closes in prices.items():
            if all(d in closes for d in window):
                returns = [math.log(closes[b] / closes[a]) for a, b in zip(window, window[1:], strict=False)]
                spread[symbol] = statistics.stdev(returns)
        whole = sum(1 / s for s in spread.values())
        assert book == pytest.approx({symbol: 1 / s / whole for symbol, s in spread.items()}, rel=1e-9)


def test_sma_cross_decides_when_the_set_of_symbols_above_changes(told: Tables) -> None:
    plain = without_corrections_and_splits(told)
    days, prices = closes_of(plain)
    above: dict[date, set[str]] = {}
    for at, day in enumerate(days):
        slow, fast = days[max(0, at - 19) : at + 1], days[max(0, at - 4) : at + 1]
        above[day] = {
            s
            for s, c in prices.items()
            if len(slow) == 20
            and all(d in c for d in slow)
            and statistics.fmean(c[d] for d in fast) > statistics.fmean(c[d] for d in slow)
        }
    wanted = {}
    for before, day in zip([None, *days], days, strict=False):
        if above[day] != (above[before] if before else set()):
            count = sum(day in closes for closes in prices.values())
            wanted[day] = dict.fromkeys(above[day], 1 / count)
    assert books(builtin.SmaCross(fast=5, slow=20), plain) == wanted


def test_a_constant_price_is_never_above_itself() -> None:
    bars = pl.DataFrame(market().bars).with_columns(close=pl.lit(10.1))
    flat = Tables(bars.to_arrow().cast(market().bars.schema))
    assert books(builtin.SmaCross(fast=3, slow=7), flat) == {}


@pytest.mark.parametrize("rebalance", [None, 3])
def test_forecasts_decide_what_the_rule_of_the_settings_says_of_all_of_them(
    told: Tables, rebalance: int | None
) -> None:
    portfolio = PortfolioSettings(rebalance=rebalance)
    feed = told.feed()
    made = runner.decisions(builtin.Forecasts(portfolio, horizon=5), feed, "forecasts")
    rows = runner.tables_of(made, feed, "run").rows.sort_by([("date", "ascending"), ("symbol", "ascending")])
    assert rows.equals(weights.from_forecasts(told.forecasts, portfolio, 5, "run"))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: builtin.SmaCross(fast=20, slow=20), "slow"),
        (lambda: builtin.Momentum(top=0.6, short=True), "top"),
        (lambda: builtin.Momentum(formation=5, skip=5), "formation"),
        (lambda: builtin.EqualWeight(every="year"), "every"),  # type: ignore[arg-type]
        (lambda: builtin.InverseVolatility(window=1), "window"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make: object, problem: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=problem):
        make()


def test_forecasts_of_a_day_are_not_enough_for_a_rule_that_needs_the_past() -> None:
    settings = Settings(portfolio=PortfolioSettings(rule="min-variance"))
    with pytest.raises(UsageError, match="rule min-variance") as caught:
        builtin.Forecasts.from_settings(settings)
    assert "--run" in str(caught.value.remedy)
