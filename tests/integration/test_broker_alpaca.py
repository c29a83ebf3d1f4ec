"""Alpaca by its own client library, against a local server that answers as Alpaca does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from alpaca_server import KEY, NUMBER, SECRET, AlpacaServer
from trading_cases import a_workspace, dates_of, traded, up_to, written

from aiquant import plugins, schemas
from aiquant.brokers import base
from aiquant.brokers.base import Order
from aiquant.errors import AiquantError, MissingError, RefusedError, SettingsError, Unreachable, UsageError
from aiquant.jobs import trade_book, trade_status
from aiquant.jobs.trade_switch import Switch
from aiquant.jobs.workspace import Workspace
from aiquant.settings import Settings, load

MakeBars = Callable[..., pa.Table]
PRICES = {"AAPL": 200.0, "BRK.B": 400.0, "MSFT": 100.0}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AlpacaServer]:
    monkeypatch.setenv("AIQUANT_ALPACA__KEY_ID", KEY)
    monkeypatch.setenv("AIQUANT_ALPACA__SECRET_KEY", SECRET)
    with AlpacaServer(prices=PRICES) as running:
        monkeypatch.setenv("AIQUANT_ALPACA__BASE_URL", running.url)
        monkeypatch.setenv("AIQUANT_ALPACA__RETRY_S", "0.01")
        monkeypatch.setenv("AIQUANT_ALPACA__TIMEOUT_S", "5")
        monkeypatch.setenv("AIQUANT_TRADE__BROKER", "alpaca")
        yield running


def broker(**told: str) -> base.Broker:
    return base.get("alpaca", load(None, {name.replace("__", "."): value for name, value in told.items()}))


# --- the adapter


def test_an_order_goes_its_way_and_the_account_follows(server: AlpacaServer) -> None:
    alpaca = broker()
    assert alpaca.holdings() == base.Holdings(NUMBER, 100_000.0, 100_000.0)
    placed = alpaca.submit(Order("a" * 32, "AAPL", 10.5))
    assert (placed.status, placed.filled, placed.price) == ("sent", 0.0, None)
    server.trade(share=0.5, AAPL=201.0)
    assert alpaca.find("a" * 32) == base.Placed("a" * 32, "partial", 5.25, 201.0)
    server.trade(AAPL=203.0)
    assert alpaca.find("a" * 32) == base.Placed("a" * 32, "filled", 10.5, 202.0)
    held = alpaca.holdings()
    assert held.positions == {"AAPL": 10.5} and held.cash == 100_000 - 10.5 * 202
    assert held.equity == held.cash + 10.5 * 203


def test_symbols_are_written_as_each_side_writes_them(server: AlpacaServer) -> None:
    alpaca = broker()
    alpaca.submit(Order("b" * 32, "BRK-B", 2.0))
    server.trade()
    assert server.positions.keys() == {"BRK.B"} and alpaca.holdings().positions == {"BRK-B": 2.0}
    alpaca.submit(Order("c" * 32, "BRK-B", -2.0))
    server.trade()
    assert alpaca.find("c" * 32) == base.Placed("c" * 32, "filled", -2.0, 400.0)


def test_the_same_order_twice_is_one_order(server: AlpacaServer) -> None:
    alpaca = broker()
    alpaca.submit(Order("d" * 32, "AAPL", 10))
    server.trade()
    again = alpaca.submit(Order("d" * 32, "AAPL", 10))
    assert (again.status, again.filled) == ("filled", 10.0)
    assert len(server.orders) == 1 and server.positions == {"AAPL": 10}


REFUSALS = [
    (Order("e" * 32, "AAPL", 1000), "insufficient buying power"),
    (Order("e" * 32, "MSFT", -0.5), "fractional orders cannot be sold short"),
    (Order("e" * 32, "NONE", 1), 'asset "NONE" not found'),
]


@pytest.mark.parametrize(("order", "words"), REFUSALS)
def test_what_the_broker_refuses_is_said_in_its_words(server: AlpacaServer, order: Order, words: str) -> None:
    placed = broker().submit(order)
    assert placed.status == "rejected" and placed.reason == words


def test_orders_are_taken_back_once(server: AlpacaServer) -> None:
    alpaca = broker()
    alpaca.submit(Order("f" * 32, "AAPL", 10))
    alpaca.cancel("f" * 32)
    alpaca.cancel("f" * 32)
    alpaca.cancel("0" * 32)
    placed = alpaca.find("f" * 32)
    assert placed is not None and placed.status == "cancelled"
    assert alpaca.find("0" * 32) is None


def test_a_limit_of_requests_is_waited_for_and_then_told(server: AlpacaServer) -> None:
    server.faults = [429, 429]
    assert broker().holdings().cash == 100_000
    server.faults = [429] * 10
    with pytest.raises(Unreachable, match="limit of requests"):
        broker().holdings()


@pytest.mark.parametrize("fault", ["drop", "lose", 500])
def test_a_broker_that_does_not_answer_gets_nothing_twice(server: AlpacaServer, fault: object) -> None:
    alpaca, order = broker(), Order("1" * 32, "AAPL", 10)
    server.faults = [("POST", fault)]
    with pytest.raises(Unreachable, match="Alpaca"):
        alpaca.submit(order)
    assert len(server.orders) == (1 if fault == "lose" else 0)
    assert alpaca.submit(order).status == "sent"
    assert len(server.orders) == 1


def test_a_wrong_key_and_no_key_are_said_plainly_and_never_shown(
    server: AlpacaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIQUANT_ALPACA__SECRET_KEY", "anotherSecretThatIsWrong")
    with pytest.raises(MissingError, match="refuses the keys") as told:
        broker().holdings()
    assert "anotherSecret" not in str(told.value) and KEY not in str(told.value)
    monkeypatch.delenv("AIQUANT_ALPACA__KEY_ID")
    with pytest.raises(SettingsError, match="alpaca.key_id is missing"):
        broker()


def test_the_secrets_are_not_in_what_is_printed_of_the_settings(server: AlpacaServer) -> None:
    assert SECRET not in repr(load(None)) and KEY not in repr(load(None))


# --- real money


def test_real_money_needs_two_settings_and_the_flag(server: AlpacaServer, market: Workspace, book: Path) -> None:
    for settings, live, words in (
        ({}, True, "real money is not allowed here"),
        ({"trade.live": "true"}, False, "was not told --live"),
        ({"trade.live": "true"}, True, "trade.account_id does not say"),
        ({"trade.live": "true", "trade.account_id": "123456789"}, True, "keys belong to account …2345"),
    ):
        with pytest.raises(RefusedError, match=words):
            traded(Workspace(market.root, settings), book, live=live, replay=False)
    assert not [path for method, path in server.seen if method != "GET"]
    told = Workspace(market.root, {"trade.live": "true", "trade.account_id": NUMBER})
    assert traded(told, book, live=True, replay=False).accepted == 2


def test_the_address_of_live_accounts_needs_the_flag_too() -> None:
    settings = {"alpaca.base_url": "https://api.alpaca.markets"}
    with pytest.raises(RefusedError, match="address of live accounts"):
        base.get("alpaca", load(None, settings))


def test_the_paper_account_here_has_no_real_money(market: Workspace, book: Path) -> None:
    told = Workspace(market.root, {"trade.live": "true", "trade.account_id": "1", "trade.broker": "paper"})
    with pytest.raises(RefusedError, match="no real money"):
        traded(told, book, live=True)


def test_a_blocked_account_does_not_trade(server: AlpacaServer, market: Workspace, book: Path) -> None:
    server.blocked = True
    with pytest.raises(RefusedError, match="trading_blocked"):
        traded(market, book, replay=False)


# --- an account at the broker


@pytest.fixture
def market(tmp_path: Path, make_bars: MakeBars, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Ten sessions of AAPL at 200 and MSFT at 100; now is an hour after the last close."""
    made = pl.DataFrame(pl.from_arrow(make_bars(symbols=2, first=date(2024, 3, 1), last=date(2024, 3, 14))))
    names = {"S000": ("AAPL", 200.0), "S001": ("MSFT", 100.0)}
    priced = [
        made.filter(pl.col("symbol") == old).with_columns(
            pl.lit(new).alias("symbol"), *[pl.lit(price).alias(n) for n in ("open", "high", "low", "close")]
        )
        for old, (new, price) in names.items()
    ]
    bars = pl.concat(priced).to_arrow().cast(schemas.BARS.schema)
    opened = a_workspace(tmp_path / "ws", up_to(bars, dates_of(bars)[-2]))
    at_the_clock(monkeypatch, opened.lake.read(schemas.BARS))
    bars_to_come[opened.root] = bars
    return opened


bars_to_come: dict[Path, pa.Table] = {}


def at_the_clock(monkeypatch: pytest.MonkeyPatch, bars: pa.Table, hours: float = 1.0) -> None:
    """Let it be some hours after the last close."""
    now = max(bars["event_time"].to_pylist()) + timedelta(hours=hours)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return now.astimezone(UTC)

    monkeypatch.setattr("aiquant.jobs.trade_broker.datetime", Clock)


def next_session(opened: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    opened.lake.write(schemas.BARS, bars_to_come[opened.root])
    at_the_clock(monkeypatch, bars_to_come[opened.root])
    return Workspace(opened.root)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Half of the equity in AAPL and a fifth in MSFT, then MSFT only."""
    days = [date(2024, 3, 13), date(2024, 3, 13), date(2024, 3, 14)]
    rows = {"date": days, "symbol": ["AAPL", "MSFT", "MSFT"], "weight": [0.5, 0.2, 0.3]}
    return written(pl.DataFrame(rows), tmp_path / "w.csv")


def test_two_sessions_at_the_broker(
    server: AlpacaServer, market: Workspace, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = traded(market, book, replay=False)
    assert (done.accepted, done.fills, done.equity) == (2, 0, 100_000.0)
    assert {o["symbol"]: o["qty"] for o in server.orders.values()} == {"AAPL": "250.0", "MSFT": "200.0"}
    assert set(trade_book.orders(market.lake, "paper")["status"]) == {"sent"}
    server.trade(AAPL=202.0, MSFT=99.0)
    server.end_of_day()
    server.trade(AAPL=200.0, MSFT=100.0)  # the close
    done = traded(next_session(market, monkeypatch))
    assert done.fills == 2 and done.accepted == 2
    fills = trade_book.fills(market.lake, "paper").select("symbol", "shares", "price").rows()
    assert sorted(fills) == [("AAPL", 250.0, 202.0), ("MSFT", 200.0, 99.0)]
    # equity 99,700: 299.1 of MSFT are wanted, 200 are held; AAPL is sold
    told = {o["symbol"]: (o["side"], float(o["qty"])) for o in list(server.orders.values())[2:]}
    assert told == {"AAPL": ("sell", 250.0), "MSFT": ("buy", pytest.approx(99.1))}
    standing = trade_status.status(market, "paper")[0]
    assert standing.equity == pytest.approx(99_700) and standing.broker == "alpaca"
    assert standing.orders == {"filled": 2, "sent": 2}
    assert {p[0]: p[1] for p in standing.positions} == {"AAPL": 250.0, "MSFT": 200.0}


def test_fills_in_parts_are_each_written_once(
    server: AlpacaServer, market: Workspace, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traded(market, book, replay=False)
    server.trade(share=0.5, AAPL=202.0, MSFT=99.0)
    server.end_of_day()
    opened = next_session(market, monkeypatch)
    traded(opened)
    traded(Workspace(market.root))
    said = trade_book.orders(market.lake, "paper").filter(pl.col("date") == date(2024, 3, 13))
    assert said.sort("symbol").select("symbol", "status", "filled", "paid").rows() == [
        ("AAPL", "expired", 125.0, 202.0),
        ("MSFT", "expired", 100.0, 99.0),
    ]


@pytest.mark.parametrize("fault", ["drop", "lose", 500])
def test_a_broker_that_fails_while_orders_are_sent(
    server: AlpacaServer, market: Workspace, book: Path, fault: object
) -> None:
    """The first order goes, the second meets the fault; run again, each stands there once."""
    server.faults = [("POST", None), ("POST", fault)]
    with pytest.raises(Unreachable):
        traded(market, book, replay=False)
    said = dict(trade_book.orders(market.lake, "paper").select("symbol", "status").iter_rows())
    assert said == {"AAPL": "sent", "MSFT": "accepted"}
    done = traded(Workspace(market.root))
    assert done.sessions == 0  # the session stands in the ledger already
    assert set(trade_book.orders(market.lake, "paper")["status"]) == {"sent"}
    assert sorted(o["symbol"] for o in server.orders.values()) == ["AAPL", "MSFT"]


def test_a_process_that_dies_before_it_sends_is_made_up_for(
    server: AlpacaServer, market: Workspace, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiquant.jobs.trade_broker import AtBroker

    with monkeypatch.context() as patch:
        patch.setattr(AtBroker, "send", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            traded(market, book, replay=False)
    assert not server.orders and set(trade_book.orders(market.lake, "paper")["status"]) == {"accepted"}
    traded(Workspace(market.root))
    assert len(server.orders) == 2 and set(trade_book.orders(market.lake, "paper")["status"]) == {"sent"}


def test_what_was_not_sent_in_time_is_never_sent(
    server: AlpacaServer, market: Workspace, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults = [("POST", "drop")]
    with pytest.raises(Unreachable):
        traded(market, book, replay=False)
    at_the_clock(monkeypatch, market.lake.read(schemas.BARS), hours=30.0)
    traded(Workspace(market.root))
    said = trade_book.orders(market.lake, "paper")
    assert not server.orders and set(said["status"]) == {"expired"}
    assert all(reason.startswith("stale data: 30.0 hours") for reason in said["reason"])


def test_a_late_decision_is_not_given(
    server: AlpacaServer, market: Workspace, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_clock(monkeypatch, market.lake.read(schemas.BARS), hours=25.0)
    done = traded(market, book, replay=False)
    assert (done.accepted, done.refused) == (0, 2) and not server.orders


def test_the_switch_takes_back_what_waits_at_the_broker(
    server: AlpacaServer, market: Workspace, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traded(market, book, replay=False)
    Switch(market, "paper").stop("stopped: by hand")
    done = traded(next_session(market, monkeypatch))
    assert {o["status"] for o in server.orders.values()} == {"canceled"} and done.accepted == 0
    assert trade_status.status(market, "paper")[0].orders == {"cancelled": 2, "refused": 1}


def test_the_switch_takes_them_back_before_the_next_session(
    server: AlpacaServer, market: Workspace, book: Path
) -> None:
    """Run in the same evening, with no session due; what the broker says of it comes with the next one."""
    traded(market, book, replay=False)
    assert {o["status"] for o in server.orders.values()} == {"accepted"}
    Switch(market, None).stop("stopped: by hand")
    assert traded(Workspace(market.root)).sessions == 0
    assert {o["status"] for o in server.orders.values()} == {"canceled"}


def test_whole_shares_are_those_of_the_backtest(server: AlpacaServer, market: Workspace, tmp_path: Path) -> None:
    """0.57 × 100,000 ÷ 100 is 570 shares, though as floats it is a little less."""
    day = date(2024, 3, 13)
    file = written(pl.DataFrame({"date": [day], "symbol": ["MSFT"], "weight": [0.57]}), tmp_path / "w.csv")
    assert 0.57 * 100_000 / 100 < 570
    traded(Workspace(market.root, {"backtest.shares": "whole"}), file, replay=False)
    assert [float(o["qty"]) for o in server.orders.values()] == [570.0]


def test_the_switch_is_looked_at_between_two_orders(
    server: AlpacaServer, market: Workspace, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiquant.brokers.alpaca import Alpaca

    given = Alpaca.submit

    def and_stop(self: Alpaca, order: Order) -> base.Placed:
        placed = given(self, order)
        Switch(market, None).stop("stopped: now")
        return placed

    monkeypatch.setattr(Alpaca, "submit", and_stop)
    traded(market, book, replay=False)
    said = trade_book.orders(market.lake, "paper").sort("symbol").select("symbol", "status", "reason").rows()
    assert said == [("AAPL", "sent", None), ("MSFT", "cancelled", "stopped: now")] and len(server.orders) == 1


def test_a_position_that_would_turn_around_is_closed_only(
    server: AlpacaServer, market: Workspace, tmp_path: Path
) -> None:
    server.positions = {"AAPL": server.cash * 0 + 50}
    file = written(
        pl.DataFrame({"date": [date(2024, 3, 13)], "symbol": ["AAPL"], "weight": [-0.2]}), tmp_path / "w.csv"
    )
    traded(market, file, replay=False)
    assert [(o["side"], float(o["qty"])) for o in server.orders.values()] == [("sell", 50.0)]


# --- brokers by name


def test_a_name_that_nobody_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'alpaca'"):
        base.get("alpacca", load(None))


def test_a_package_can_offer_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint, EntryPoints

    class Own:
        live = False

        @classmethod
        def from_settings(cls, settings: Settings, live: bool) -> Own:
            return cls()

        def holdings(self) -> base.Holdings:
            return base.Holdings("own", 1.0, 1.0)

        def submit(self, order: Order) -> base.Placed:
            return base.Placed(order.order_id, "sent")

        def find(self, order_id: str) -> base.Placed | None:
            return None

        def cancel(self, order_id: str) -> None: ...

    points = EntryPoints([EntryPoint("own", f"{__name__}:Own", base.ENTRY_POINTS)])
    monkeypatch.setattr(plugins, "entry_points", lambda **asked: points.select(**asked))
    monkeypatch.setattr(EntryPoint, "load", lambda self: Own)
    assert base.get("own", load(None)).holdings().account_id == "own"
    assert base.names() == ["alpaca", "own", "paper"]
    monkeypatch.setattr(EntryPoint, "load", lambda self: object)
    with pytest.raises(AiquantError, match="not a broker"):
        base.get("own", load(None))
