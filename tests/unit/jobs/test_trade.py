"""An account on paper: beside the backtest, session by session, checked, stopped, corrected and disturbed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from trading_cases import a_workspace, dates_of, random_weights, traded, up_to, written

from aiquant import schemas
from aiquant.errors import DataError, MissingError, RefusedError, UsageError
from aiquant.jobs import trade_book, trade_reconcile, trade_status, trade_switch
from aiquant.jobs.trade_switch import Switch
from aiquant.jobs.workspace import Workspace, open_

MakeBars = Callable[..., pa.Table]


@pytest.fixture(scope="module")
def bars(make_bars: MakeBars) -> pa.Table:
    return make_bars(symbols=5, first=date(2019, 1, 2), last=date(2019, 5, 31), seed=3)


@pytest.fixture
def weights(bars: pa.Table, tmp_path: Path) -> Path:
    return written(random_weights(bars), tmp_path / "weights.csv")


@pytest.fixture
def market(bars: pa.Table, tmp_path: Path) -> Workspace:
    return a_workspace(tmp_path / "ws", bars)


def ledger(opened: Workspace, account: str = "paper") -> pl.DataFrame:
    """All but what differs from process to process: when rows were written, and which of them ended a commit."""
    rows = opened.lake.read(schemas.TRADE_LEDGER, where={"account": account})
    return pl.DataFrame(pl.from_arrow(rows)).sort("number").drop("ingest_time", "state")


def refused(opened: Workspace) -> list[str]:
    orders = trade_book.orders(opened.lake, "paper").filter(pl.col("status") == "refused")
    return [reason.split(":")[0] for reason in orders["reason"]]


def given(bars: pa.Table, path: Path, rows: list[tuple[int, str, float]]) -> Path:
    """Weights of some sessions, by their place."""
    days = dates_of(bars)
    told = [{"date": days[at], "symbol": symbol, "weight": weight} for at, symbol, weight in rows]
    return written(pl.DataFrame(told), path)


# --- the account and the backtest


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"backtest__shares": "whole", "backtest__capital": 20_000},
        {"backtest__fill": "close", "backtest__borrow_bps": 300, "backtest__margin": "true"},
    ],
)
def test_it_has_the_numbers_of_the_backtest_to_the_last_bit(
    bars: pa.Table, weights: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    opened = a_workspace(tmp_path / "ws", bars, **settings)
    done = traded(opened, weights)
    made = trade_reconcile.reconcile(opened, "paper")
    assert done.sessions == made.sessions == len(dates_of(bars)) - 10
    assert made.equal and made.identical and made.difference == 0.0, made.sentence()
    assert made.fills > 50 and made.reasons == []


def test_it_has_these_numbers_when_each_session_is_a_process_of_its_own(
    bars: pa.Table, weights: Path, tmp_path: Path
) -> None:
    days = dates_of(bars)
    daily = a_workspace(tmp_path / "daily", up_to(bars, days[10]))
    for place, day in enumerate(days[10:22]):
        daily.lake.write(schemas.BARS, up_to(bars, day))
        assert traded(open_(daily.root), weights if not place else None, replay=not place).sessions == 1
    whole = a_workspace(tmp_path / "whole", bars)
    traded(whole, weights, last=days[21])
    assert ledger(daily).drop("bars_version").equals(ledger(whole).drop("bars_version"))
    assert trade_reconcile.reconcile(daily, "paper").identical


def test_splits_dividends_and_delistings_meet_it_as_they_meet_the_backtest(
    bars: pa.Table, weights: Path, tmp_path: Path
) -> None:
    opened = a_workspace(tmp_path / "ws", bars, trade__price_collar=9, trade__max_daily_loss=1)  # prices stay as is
    days = dates_of(bars)
    told = [
        {"symbol": "S000", "kind": "split", "date": days[30], "ratio": 2.0},
        {"symbol": "S001", "kind": "dividend", "date": days[33], "amount": 0.7},
        {"symbol": "S002", "kind": "delisting", "date": days[60], "amount": 11.0},
    ]
    at = bars["event_time"][0].as_py()
    rows = [{"ratio": None, "amount": None, "event_time": at, "known_from": at, "source": "test", **r} for r in told]
    actions = pa.Table.from_pylist(rows, schema=schemas.CORPORATE_ACTIONS.schema)
    opened.lake.write(schemas.CORPORATE_ACTIONS, actions)
    traded(opened, weights)
    flows = trade_book.flows(opened.lake, "paper")
    assert "dividend" in set(flows["kind"])
    assert "delisting" in set(trade_book.fills(opened.lake, "paper")["reason"])
    assert trade_reconcile.reconcile(opened, "paper").identical


def test_a_symbol_that_joins_later_is_known_by_its_past(bars: pa.Table, tmp_path: Path) -> None:
    days = dates_of(bars)
    first = given(bars, tmp_path / "w.csv", [(10, "S001", 0.4), (10, "S003", 0.2)])
    opened = a_workspace(tmp_path / "ws", up_to(bars, days[20]))
    traded(opened, first)
    given(bars, tmp_path / "w.csv", [(10, "S001", 0.4), (10, "S003", 0.2), (30, "S000", 0.5), (30, "S004", -0.3)])
    opened.lake.write(schemas.BARS, bars)
    traded(open_(opened.root))
    assert {p[0] for p in trade_status.status(opened, "paper")[0].positions} == {"S000", "S004"}
    assert trade_reconcile.reconcile(opened, "paper").identical


STRATEGY = """
from aiquant.portfolio.strategies import History


class Strategy:
    def __init__(self, top: int = 2) -> None:
        self.top = top

    def decide(self, history: History):
        if len(history) < 21 or len(history) % 5:
            return None
        closes = history.closes(21)
        best = (closes[-1] / closes[0]).argsort()[-self.top :]
        return {history.symbols[i]: 0.9 / self.top for i in best}
"""


def test_a_strategy_decides_session_by_session_what_it_decides_in_a_backtest(bars: pa.Table, tmp_path: Path) -> None:
    days = dates_of(bars)
    opened = a_workspace(tmp_path / "ws", up_to(bars, days[30]))
    (opened.root / "strategies").mkdir()
    (opened.root / "strategies" / "winners.py").write_text(STRATEGY)
    traded(opened, strategy="winners", params={"top": "3"}, replay=False, first=days[5])  # nothing is decided at first
    opened.lake.write(schemas.BARS, bars)
    traded(open_(opened.root))
    daily = trade_book.rows(opened.lake, "paper", ["target"], ["date", "symbol", "weight"])
    whole = a_workspace(tmp_path / "whole", bars)
    (whole.root / "strategies").mkdir()
    (whole.root / "strategies" / "winners.py").write_text(STRATEGY)
    traded(whole, strategy="winners", params={"top": "3"})
    assert trade_book.rows(whole.lake, "paper", ["target"], ["date", "symbol", "weight"]).equals(daily)
    assert set(daily.group_by("date").len()["len"]) == {3} and daily["date"].n_unique() > 10
    assert all(trade_reconcile.reconcile(each, "paper").identical for each in (opened, whole))
    (opened.root / "strategies" / "winners.py").write_text(STRATEGY.replace("0.9", "0.8"))
    with pytest.raises(RefusedError, match="version"):
        traded(open_(opened.root))


def test_one_symbol_without_opens_decides_the_fill_on_both_sides(bars: pa.Table, tmp_path: Path) -> None:
    """S004 has weight 0 only, so the backtest by itself would fill at the open, and the account does not."""
    frame = pl.DataFrame(pl.from_arrow(bars))
    without = frame.with_columns(open=pl.when(pl.col("symbol") != "S004").then(pl.col("open")))
    opened = a_workspace(tmp_path / "ws", without.to_arrow().cast(schemas.BARS.schema))
    traded(opened, given(bars, tmp_path / "w.csv", [(10, "S000", 0.5), (10, "S004", 0.0), (20, "S001", 0.5)]))
    made = trade_reconcile.reconcile(opened, "paper")
    assert made.identical and made.fills == 3, made.sentence()


def test_adjusted_prices_that_were_restated_are_refused(bars: pa.Table, tmp_path: Path) -> None:
    """The vendor halves all earlier prices of S000 after a split; as traded, a correction is taken as it comes."""
    days, names = dates_of(bars), ("open", "high", "low", "close")
    mine = pl.col("symbol") == "S000"
    for kind, refused_ in (("splits", True), ("none", False)):
        frame = pl.DataFrame(pl.from_arrow(bars)).with_columns(adjustment=pl.lit(kind))
        restated = frame.with_columns([pl.when(mine).then(pl.col(n) / 2).otherwise(pl.col(n)) for n in names])
        opened = a_workspace(tmp_path / kind, up_to(frame.to_arrow(), days[20]))
        traded(opened, given(bars, tmp_path / f"{kind}.csv", [(10, "S000", 0.5), (10, "S001", 0.3)]))
        before = ledger(opened)
        opened.lake.write(schemas.BARS, up_to(frame.to_arrow(), days[21]))
        assert traded(open_(opened.root)).sessions == 1
        opened.lake.write(schemas.BARS, restated.to_arrow().cast(schemas.BARS.schema))
        if refused_:
            with pytest.raises(DataError, match="restated the adjusted prices of S000"):
                traded(open_(opened.root))
            assert len(ledger(opened)) > len(before) and ledger(opened).head(len(before)).equals(before)
        else:
            assert traded(open_(opened.root)).sessions


def test_an_order_that_got_a_part_only_is_not_filled(bars: pa.Table, tmp_path: Path) -> None:
    told = {"backtest__participation": 1e-5, "backtest__rest": "withdraw"}
    opened = a_workspace(tmp_path / "ws", bars, **told)
    traded(opened, given(bars, tmp_path / "w.csv", [(10, "S000", 0.5), (20, "S001", 0.00001)]))
    said = trade_book.orders(opened.lake, "paper").sort("date", "symbol")
    parts = said.filter(pl.col("filled").abs() < pl.col("shares").abs() * 0.999)
    assert len(parts) and set(parts["status"]) == {"expired"}
    assert all("shares; the rest was withdrawn" in reason for reason in parts["reason"])
    assert "filled" in set(said["status"])


def test_an_order_that_a_stop_loss_took_back_says_so(bars: pa.Table, tmp_path: Path) -> None:
    """Of a session's close the stop comes first, and takes back the order that would have filled there."""
    frame, days = pl.DataFrame(pl.from_arrow(bars)), dates_of(bars)
    fall = (pl.col("symbol") == "S000") & (pl.col("date") >= days[15])
    names = ("open", "high", "low", "close")
    cut = [pl.when(fall).then(pl.col(n) / 2).otherwise(pl.col(n)).alias(n) for n in names]
    fallen = frame.with_columns(cut).to_arrow().cast(schemas.BARS.schema)
    rules = {"backtest__fill": "close", "backtest__stop_loss": 0.3}
    opened = a_workspace(tmp_path / "ws", fallen, trade__max_daily_loss=1, **rules)
    traded(opened, given(bars, tmp_path / "w.csv", [(10, "S000", 0.2), (14, "S000", 0.1)]))
    last = trade_book.orders(opened.lake, "paper").sort("date").row(-1, named=True)
    assert (last["status"], last["reason"]) == ("expired", "withdrawn: the position was closed (stop-loss)")


def test_intraday_bars_are_refused_for_what_they_are(bars: pa.Table, weights: Path, tmp_path: Path) -> None:
    frame = pl.DataFrame(pl.from_arrow(bars)).with_columns(interval=pl.lit("5m"))
    twice = pl.concat([frame, frame.with_columns(pl.col("event_time", "known_from") - timedelta(minutes=5))])
    opened = a_workspace(tmp_path / "ws", twice.to_arrow().cast(schemas.BARS.schema), data__interval="5m")
    with pytest.raises(DataError, match="go from session to session"):
        traded(opened, weights)


def test_a_strategy_on_the_forecasts_of_a_run_is_no_account(bars: pa.Table, tmp_path: Path) -> None:
    """The next training would swap its model unseen."""
    opened = a_workspace(tmp_path / "ws", bars)
    (opened.root / "strategies").mkdir()
    text = "class Strategy:\n    def decide(self, history):\n        history.forecasts()\n"
    (opened.root / "strategies" / "seer.py").write_text(text)
    for name in ("seer", "forecasts"):
        with pytest.raises(RefusedError, match="reads the forecasts of a run"):
            traded(opened, strategy=name, replay=False)
    assert trade_book.accounts(opened.lake) == []


def test_what_it_did_can_be_read_as_the_tables_of_a_backtest(market: Workspace, weights: Path) -> None:
    done = traded(market, weights)
    name = {"run_id": trade_book.run_id("paper")}
    equity = market.lake.read(schemas.EQUITY, where=name)
    orders = pl.DataFrame(pl.from_arrow(market.lake.read(schemas.TRADE_ORDERS, where=name)))
    assert equity.num_rows == done.sessions and equity["equity"][-1].as_py() == done.equity
    assert market.lake.read(schemas.FILLS, where=name).num_rows == done.fills
    assert orders["status"].value_counts().rows() == [("filled", done.fills)]
    assert orders["filled"].to_list() == pytest.approx(orders["shares"].to_list())
    assert orders["order_id"].n_unique() == len(orders) == done.accepted


def test_cash_positions_and_fills_explain_each_other(market: Workspace, weights: Path) -> None:
    traded(market, weights)
    fills, flows = trade_book.fills(market.lake, "paper"), trade_book.flows(market.lake, "paper")
    standing = trade_status.status(market, "paper")[0]
    spent = (fills["shares"] * fills["price"]).sum() + fills["commission"].sum()
    assert standing.cash == pytest.approx(1_000_000 - spent + flows["amount"].sum(), abs=1e-6)
    held = dict(fills.group_by("symbol").agg(pl.col("shares").sum()).iter_rows())
    assert {p[0]: p[1] for p in standing.positions} == pytest.approx(held)
    assert standing.equity == pytest.approx(standing.cash + sum(p[3] for p in standing.positions), abs=1e-6)


# --- twice, and two at once


def test_a_second_call_does_nothing(market: Workspace, weights: Path) -> None:
    traded(market, weights)
    before = ledger(market)
    again = traded(open_(market.root))
    assert (again.sessions, again.accepted) == (0, 0)
    assert ledger(market).equals(before)


def test_two_processes_cannot_trade_one_account(market: Workspace, weights: Path) -> None:
    with trade_switch.alone(market, "paper"), pytest.raises(RefusedError, match="another process trades the account"):
        traded(market, weights)
    assert traded(market, weights).sessions  # the lock went with its holder


def test_a_rival_that_the_lock_does_not_see_is_refused_by_the_ledger(market: Workspace, weights: Path) -> None:
    """As from another machine: both began at the same entry, and the slower one must not write."""
    traded(market, weights, last=dates_of(market.lake.read(schemas.BARS))[20])
    ours, theirs = (trade_book.Book(open_(market.root), "paper") for _ in range(2))
    assert ours.state is not None
    row = {"kind": "session", "date": date(2019, 2, 4), "event_time": pl.datetime(2019, 2, 4)}
    row["event_time"] = market.lake.read(schemas.BARS)["event_time"][0].as_py()
    theirs.add([row])
    theirs.flush(ours.state)
    before = ledger(market)
    ours.add([row])
    with pytest.raises(RefusedError, match="another process has written"):
        ours.flush(ours.state)
    assert ledger(market).equals(before)


def test_an_account_keeps_to_its_rules_and_decisions(market: Workspace, weights: Path, tmp_path: Path) -> None:
    traded(market, weights, last=date(2019, 2, 1))
    dearer = Workspace(market.root, {"backtest.commission_bps": "7"})
    with pytest.raises(RefusedError, match=r"commission_bps = 5\.0, not 7\.0"):
        traded(dearer)
    other = written(pl.read_csv(weights), tmp_path / "other.csv")
    with pytest.raises(RefusedError, match="other.csv"):
        traded(market, other)


def test_accounts_do_not_know_one_another(market: Workspace, weights: Path) -> None:
    traded(market, weights, account="one")
    first = ledger(market, "one")
    traded(market, weights, account="two", last=date(2019, 3, 1))
    assert ledger(market, "one").equals(first)
    assert [s.account for s in trade_status.status(market, None)] == ["one", "two"]
    ids = [set(trade_book.orders(market.lake, name)["order_id"]) for name in ("one", "two")]
    assert ids[0] and ids[1] and not ids[0] & ids[1]


# --- checks before an order

CHECKS = [
    ({"trade__max_order": 0.1}, "order size"),
    ({"trade__max_order_value": 90_000}, "order size"),
    ({"trade__max_position": 0.2}, "exposure"),
    ({"trade__max_gross": 0.5}, "exposure"),
]


@pytest.mark.parametrize(("settings", "reason"), CHECKS)
def test_an_order_beyond_a_limit_is_refused_with_its_reason(
    bars: pa.Table, tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    """By hand: of a million, 30 % are bought of S000, then 30 % sold short of S001 and 8 % of S002 bought."""
    file = given(bars, tmp_path / "w.csv", [(10, "S000", 0.3), (10, "S001", -0.3), (10, "S002", 0.08)])
    opened = a_workspace(tmp_path / "ws", bars, **settings)
    done = traded(opened, file)
    assert set(refused(opened)) == {reason}
    assert done.refused == (2 if settings.get("trade__max_gross") is None else 1)
    held = {p[0] for p in trade_status.status(opened, "paper")[0].positions}
    assert held == ({"S000", "S002"} if "trade__max_gross" in settings else {"S002"})


def test_orders_that_only_reduce_are_free_of_limits_of_size(bars: pa.Table, tmp_path: Path) -> None:
    file = given(bars, tmp_path / "w.csv", [(10, "S000", 0.5), (20, "S000", 0.05)])
    opened = a_workspace(tmp_path / "ws", bars)
    traded(opened, file, last=dates_of(bars)[19])
    narrow = Workspace(opened.root, {"trade.max_order": "0.1", "trade.max_gross": "0.1"})
    assert traded(narrow).refused == 0


def test_a_close_that_jumped_is_outside_of_the_collar(bars: pa.Table, tmp_path: Path) -> None:
    frame, days = pl.DataFrame(pl.from_arrow(bars)), dates_of(bars)
    wrong = (pl.col("symbol") == "S000") & (pl.col("date") == days[10])
    prices = [pl.when(wrong).then(pl.col(n) * 10).otherwise(pl.col(n)).alias(n) for n in ("high", "close")]
    spoilt = frame.with_columns(prices).to_arrow().cast(schemas.BARS.schema)
    file = given(bars, tmp_path / "w.csv", [(10, "S000", 0.3), (10, "S001", 0.3)])
    opened = a_workspace(tmp_path / "ws", spoilt)
    traded(opened, file)
    assert refused(opened) == ["price collar"]
    assert "+9" in trade_book.orders(opened.lake, "paper").filter(pl.col("symbol") == "S000")["reason"][0]


def test_a_split_is_no_jump(bars: pa.Table, tmp_path: Path) -> None:
    frame, days = pl.DataFrame(pl.from_arrow(bars)), dates_of(bars)
    after = (pl.col("symbol") == "S000") & (pl.col("date") >= days[10])
    names = ("open", "high", "low", "close")
    tenth = [pl.when(after).then(pl.col(n) / 10).otherwise(pl.col(n)).alias(n) for n in names]
    opened = a_workspace(tmp_path / "ws", frame.with_columns(tenth).to_arrow().cast(schemas.BARS.schema))
    at = bars["event_time"][0].as_py()
    split = {"symbol": "S000", "kind": "split", "date": days[10], "event_time": at, "known_from": at}
    rows = [{**split, "ratio": 10.0, "amount": None, "source": "test"}]
    opened.lake.write(schemas.CORPORATE_ACTIONS, pa.Table.from_pylist(rows, schema=schemas.CORPORATE_ACTIONS.schema))
    traded(opened, given(bars, tmp_path / "w.csv", [(8, "S000", 0.1), (10, "S000", 0.3)]))
    assert refused(opened) == []


def test_an_old_price_is_no_price(bars: pa.Table, tmp_path: Path) -> None:
    frame, days = pl.DataFrame(pl.from_arrow(bars)), dates_of(bars)
    silent = (pl.col("symbol") == "S000") & pl.col("date").is_between(days[5], days[12])
    gap = frame.filter(~silent).to_arrow().cast(schemas.BARS.schema)
    file = given(bars, tmp_path / "w.csv", [(9, "S000", 0.2), (9, "S001", 0.2), (12, "S000", 0.2), (12, "S001", 0.2)])
    opened = a_workspace(tmp_path / "ws", gap)  # at place 9 the last bar is 5 sessions old, at 12 it is 8
    traded(opened, file)
    reasons = trade_book.orders(opened.lake, "paper").filter(pl.col("status") == "refused")
    assert reasons.select("symbol", "date").rows() == [("S000", days[12])]
    assert "8 sessions old" in reasons["reason"][0]


def test_the_backtest_says_what_refused_orders_made_of_it(bars: pa.Table, weights: Path, tmp_path: Path) -> None:
    opened = a_workspace(tmp_path / "ws", bars, trade__max_position=0.2)
    traded(opened, weights)
    made = trade_reconcile.reconcile(opened, "paper")
    assert not made.equal and made.difference > 1 and made.odd_fills > 0
    assert any("refused: exposure" in reason for reason in made.reasons), made.reasons
    assert made.since in dates_of(bars)[11:13] and made.days[0][0] == made.since


# --- the kill switch


def test_the_switch_stops_orders_and_takes_back_those_that_wait(bars: pa.Table, tmp_path: Path) -> None:
    days = dates_of(bars)
    file = given(bars, tmp_path / "w.csv", [(10, "S000", 0.3), (15, "S001", 0.3), (20, "S002", 0.3)])
    opened = a_workspace(tmp_path / "ws", up_to(bars, days[10]))
    assert traded(opened, file).accepted == 1
    Switch(opened, None).stop("stopped: a bad day")
    opened.lake.write(schemas.BARS, up_to(bars, days[16]))
    done = traded(open_(opened.root))
    assert (done.accepted, done.refused, done.fills, done.stopped) == (0, 1, 0, "stopped: a bad day")
    said = trade_book.orders(opened.lake, "paper")
    assert said.select("symbol", "status", "reason").rows() == [
        ("S000", "cancelled", "stopped: a bad day"),
        ("S001", "refused", "stopped: a bad day"),
    ]
    assert trade_status.status(opened, "paper")[0].stopped == "stopped: a bad day"
    assert Switch(opened, "paper").resume() is None and Switch(opened, "paper").reason() is not None
    assert Switch(opened, None).resume() == "stopped: a bad day"
    opened.lake.write(schemas.BARS, bars)
    done = traded(open_(opened.root))
    assert (done.accepted, done.refused, done.fills, done.stopped) == (1, 0, 1, None)


def test_the_switch_is_looked_at_before_each_order(
    market: Workspace, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def after_seven(self: Switch) -> str | None:
        asked.append(1)
        return "stopped: now" if len(asked) > 7 else None

    monkeypatch.setattr(Switch, "reason", after_seven)
    done = traded(market, weights, last=dates_of(market.lake.read(schemas.BARS))[10])
    assert (done.accepted, done.refused) == (5, 0) and len(asked) >= 6
    asked.clear()
    asked.extend([1] * 4)
    done = traded(market, weights, account="second", last=dates_of(market.lake.read(schemas.BARS))[10])
    assert done.accepted and done.refused and done.accepted + done.refused == 5


def test_a_loss_in_a_day_stops_the_account(bars: pa.Table, tmp_path: Path) -> None:
    """S000 loses a third of its close while it is half of the book: 17 % of equity, more than the 10 % allowed."""
    frame, days = pl.DataFrame(pl.from_arrow(bars)), dates_of(bars)
    fall = (pl.col("symbol") == "S000") & (pl.col("date") >= days[15])
    names = ("open", "high", "low", "close")
    cut = [pl.when(fall).then(pl.col(n) * 2 / 3).otherwise(pl.col(n)).alias(n) for n in names]
    opened = a_workspace(
        tmp_path / "ws", frame.with_columns(cut).to_arrow().cast(schemas.BARS.schema), trade__max_daily_loss=0.1
    )
    file = given(bars, tmp_path / "w.csv", [(10, "S000", 0.5), (15, "S001", 0.4), (16, "S002", 0.4)])
    done = traded(opened, file)
    assert done.stopped is not None and done.stopped.startswith("daily loss: 1")
    assert refused(opened) == ["daily loss"] * 4  # sales of S000 too: a person decides what is done now
    loss = trade_book.equity(opened.lake, "paper")["equity"].pct_change().min()
    assert isinstance(loss, float) and -0.2 < loss < -0.1


@pytest.fixture
def falling(bars: pa.Table, tmp_path: Path) -> tuple[pa.Table, Path]:
    """S000 loses half at its place 15 while it is half of the book: a loss that stops the account."""
    frame, days = pl.DataFrame(pl.from_arrow(bars)), dates_of(bars)
    fall = (pl.col("symbol") == "S000") & (pl.col("date") >= days[15])
    names = ("open", "high", "low", "close")
    cut = [pl.when(fall).then(pl.col(n) / 2).otherwise(pl.col(n)).alias(n) for n in names]
    file = given(bars, tmp_path / "w.csv", [(10, "S000", 0.5), (15, "S001", 0.4), (16, "S002", 0.4)])
    return frame.with_columns(cut).to_arrow().cast(schemas.BARS.schema), file


@pytest.mark.parametrize("dies_in", ["flush", "stop", "stopped"])
def test_a_process_that_dies_at_a_loss_rewrites_no_history(
    falling: tuple[pa.Table, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    """Before the session of the loss is written, between that and the switch, and before the switch is noted."""
    bars, file = falling
    calm, other = (a_workspace(tmp_path / name, bars, trade__max_daily_loss=0.1) for name in ("calm", "other"))
    traded(calm, file)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Switch if dies_in == "stop" else trade_book.Book, dies_in, die)
        with pytest.raises(KeyboardInterrupt):
            traded(other, file)
    assert (Switch(other, "paper").reason() is None) == (dies_in != "stopped")
    traded(Workspace(other.root, other.overrides), file)
    assert ledger(other).equals(ledger(calm))
    said = trade_book.orders(calm.lake, "paper")["status"].to_list()
    assert said.count("filled") == 1 and said.count("refused") == 4
    assert set(trade_book.rows(calm.lake, "paper", ["stopped"], ["reason"])["reason"]) == {
        Switch(other, "paper").reason()
    }


def test_a_stop_that_a_person_put_back_is_not_pulled_again(falling: tuple[pa.Table, Path], tmp_path: Path) -> None:
    bars, file = falling
    opened = a_workspace(tmp_path / "ws", bars, trade__max_daily_loss=0.1)
    traded(opened, file, last=dates_of(bars)[15])
    assert str(Switch(opened, "paper").resume()).startswith("daily loss")
    done = traded(Workspace(opened.root, opened.overrides))
    assert done.stopped is None and done.accepted


# --- bars that come late, are corrected, or are not there


def test_a_bar_that_comes_late_is_not_traded_on_and_shows_in_the_reconciliation(
    bars: pa.Table, weights: Path, tmp_path: Path
) -> None:
    days, frame = dates_of(bars), pl.DataFrame(pl.from_arrow(bars))
    late = (pl.col("symbol") == "S001") & (pl.col("date") == days[12])
    opened = a_workspace(tmp_path / "ws", up_to(frame.filter(~late).to_arrow(), days[12]))
    traded(opened, weights)
    before = ledger(opened)
    opened.lake.write(schemas.BARS, bars)
    traded(open_(opened.root))
    assert ledger(opened).head(len(before)).equals(before)
    made = trade_reconcile.reconcile(opened, "paper")
    assert made.identical, made.sentence()


def test_a_correction_does_not_rewrite_the_past_and_is_told(bars: pa.Table, weights: Path, tmp_path: Path) -> None:
    days, frame = dates_of(bars), pl.DataFrame(pl.from_arrow(bars))
    opened = a_workspace(tmp_path / "ws", up_to(bars, days[30]))
    traded(opened, weights)
    before = ledger(opened)
    wrong = (pl.col("symbol") == "S001") & (pl.col("date") == days[21])
    dearer = frame.with_columns([pl.when(wrong).then(pl.col(n) * 1.05).otherwise(pl.col(n)) for n in ("open", "high")])
    opened.lake.write(schemas.BARS, dearer.to_arrow().cast(schemas.BARS.schema))
    traded(open_(opened.root))
    assert ledger(opened).head(len(before)).equals(before)
    made = trade_reconcile.reconcile(opened, "paper")
    assert made.identical, made.sentence()
    assert made.corrected is not None and made.corrected > 1
    assert any("corrected" in reason for reason in made.reasons)


def test_a_session_waits_for_bars_that_are_missing(bars: pa.Table, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from aiquant.jobs.trade_market import look

    days = dates_of(bars)
    whole = a_workspace(tmp_path / "ws", up_to(bars, days[10]))
    now, moment = datetime(2019, 1, 16, 21, 5, tzinfo=UTC), timedelta(minutes=15)  # five minutes after the close
    assert days[10] == date(2019, 1, 16)
    assert look(whole).complete(days[10], moment, now)
    frame = pl.DataFrame(pl.from_arrow(bars))
    missing = frame.filter(~((pl.col("symbol") == "S001") & (pl.col("date") == days[10])))
    part = a_workspace(tmp_path / "part", up_to(missing.to_arrow(), days[10]))
    assert not look(part).complete(days[10], moment, now)
    assert look(part).complete(days[10], moment, now + timedelta(minutes=10))
    assert look(part).complete(days[9], moment, now)


def test_what_cannot_be_is_said_plainly(market: Workspace, weights: Path, tmp_path: Path) -> None:
    bars = market.lake.read(schemas.BARS)
    with pytest.raises(MissingError, match="no account 'paper'"):
        trade_reconcile.reconcile(market, "paper")
    with pytest.raises(UsageError, match="no name of an account"):
        traded(market, weights, account="../x")
    with pytest.raises(UsageError, match="--follow goes on"):
        traded(market, weights, follow=True, last=date(2019, 2, 1))
    with pytest.raises(UsageError, match="no session with bars"):
        traded(market, weights, first=date(2030, 1, 1))
    with pytest.raises(DataError, match="no bars of NONE"):
        traded(market, given(bars, tmp_path / "x.csv", [(10, "NONE", 0.5), (10, "S000", 0.5)]), account="x")
    with pytest.raises(DataError, match="more than the account can pay"):
        traded(market, given(bars, tmp_path / "y.csv", [(10, "S001", 1.5)]), account="y")
    assert trade_book.accounts(market.lake) == []
    with pytest.raises(MissingError, match="holds no bar"):
        traded(a_workspace(tmp_path / "empty", schemas.BARS.schema.empty_table()), weights)


def test_a_bankrupt_account_ends(bars: pa.Table, tmp_path: Path) -> None:
    frame, days = pl.DataFrame(pl.from_arrow(bars)), dates_of(bars)
    rise = (pl.col("symbol") == "S000") & (pl.col("date") >= days[15])
    names = ("open", "high", "low", "close")
    up = [pl.when(rise).then(pl.col(n) * 4).otherwise(pl.col(n)).alias(n) for n in names]
    opened = a_workspace(tmp_path / "ws", frame.with_columns(up).to_arrow().cast(schemas.BARS.schema))
    done = traded(opened, given(bars, tmp_path / "w.csv", [(10, "S000", -0.9), (20, "S001", 0.5)]))
    assert done.equity is not None and done.equity <= 0 and done.last == days[15] and done.stopped == "bankrupt"
    assert trade_reconcile.reconcile(opened, "paper").identical
    with pytest.raises(RefusedError, match="bankrupt"):
        traded(open_(opened.root))
