"""An account that follows the lake, what it tells Prometheus, and how a command says it."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from trading_cases import a_workspace, dates_of, random_weights, traded, up_to, written
from typer.testing import CliRunner

from aiquant import schemas
from aiquant.cli.main import app
from aiquant.jobs import trade, trade_book, trade_reconcile
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

MakeBars = Callable[..., pa.Table]


@pytest.fixture(scope="module")
def bars(make_bars: MakeBars) -> pa.Table:
    return make_bars(symbols=4, first=date(2019, 1, 2), last=date(2019, 2, 15), seed=3)


@pytest.fixture
def weights(bars: pa.Table, tmp_path: Path) -> Path:
    return written(random_weights(bars, every=3, begin=10), tmp_path / "weights.csv")


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def follower(bars: pa.Table, weights: Path, tmp_path: Path) -> Iterator[tuple[Workspace, int]]:
    """An account that follows a lake which has eleven sessions, and the port of its metrics."""
    port = free_port()
    told = {"trade__every_seconds": 0.1, "trade__metrics_port": port}
    opened = a_workspace(tmp_path / "ws", up_to(bars, dates_of(bars)[10]), **told)
    stop, fault = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            asked = trade.Asked(weights=weights, replay=True, follow=True)
            trade.trade(Workspace(opened.root, opened.overrides), Journal(), asked, stop)
        except BaseException as error:
            fault.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield opened, port
    stop.set()
    thread.join(60)
    assert not thread.is_alive() and not fault, fault


def sessions(opened: Workspace) -> int:
    return len(trade_book.rows(opened.lake, "paper", ["session"], ["date"]))


def test_it_plays_what_comes_and_tells_it(bars: pa.Table, follower: tuple[Workspace, int]) -> None:
    opened, port = follower
    days = dates_of(bars)
    until(lambda: sessions(opened) == 1)
    opened.lake.write(schemas.BARS, up_to(bars, days[11]))
    until(lambda: sessions(opened) == 2)
    opened.lake.write(schemas.BARS, bars)
    until(lambda: sessions(opened) == len(days) - 10)
    until(lambda: f"aiquant_trade_sessions_total{{{PAPER}}} {len(days) - 10}.0" in told(port))
    until(lambda: f"aiquant_trade_reconciliation_difference{{{PAPER}}}" in told(port))
    text = told(port)
    assert f"aiquant_trade_reconciliation_difference{{{PAPER}}} 0.0" in text
    assert f"aiquant_trade_stopped{{{PAPER}}} 0.0" in text
    orders = trade_book.orders(opened.lake, "paper")
    assert f'aiquant_trade_orders_total{{account="paper",status="accepted"}} {len(orders)}.0' in text
    assert trade_reconcile.reconcile(opened, "paper").identical


PAPER = 'account="paper"'


def told(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_session_that_is_not_complete_waits(bars: pa.Table, weights: Path, tmp_path: Path) -> None:
    """Of its last session one symbol is missing, and it is not late yet: nothing is played before it comes."""
    days = dates_of(bars)
    part = pl.DataFrame(pl.from_arrow(up_to(bars, days[11]))).filter(
        ~((pl.col("symbol") == "S001") & (pl.col("date") == days[11]))
    )
    century = 100 * 365 * 86_400
    told = {"trade__every_seconds": 0.1, "trade__lateness_seconds": century}
    opened = a_workspace(tmp_path / "ws", part.to_arrow().cast(schemas.BARS.schema), **told)
    stop = threading.Event()
    asked = trade.Asked(weights=weights, replay=True, follow=True)
    thread = threading.Thread(target=trade.trade, args=(opened, Journal(), asked, stop))
    thread.start()
    other = Workspace(opened.root)
    try:
        until(lambda: sessions(other) == 1)
        time.sleep(1.0)
        assert sessions(other) == 1
        other.lake.write(schemas.BARS, up_to(bars, days[11]))
        until(lambda: sessions(other) == 2)
    finally:
        stop.set()
        thread.join(60)
    assert trade_reconcile.reconcile(other, "paper").identical


# --- the command


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["trade", *words])
    return done.exit_code, done.output


def test_the_difference_can_be_drawn_kept_and_measured(bars: pa.Table, weights: Path, tmp_path: Path) -> None:
    opened = a_workspace(tmp_path / "ws", bars)
    traded(opened, weights)
    page, table, measured = tmp_path / "page.html", tmp_path / "curve.csv", tmp_path / "aiquant.prom"
    where = ("-w", str(opened.root))
    code, text = run("reconcile", *where, "--out", str(page), "--metrics", str(measured))
    assert code == 0 and "Equal to the last bit" in text
    assert "backtest of the same days" in page.read_text()
    assert 'aiquant_trade_reconciliation_difference{account="paper"} 0.0' in measured.read_text()
    assert run("reconcile", *where, "--out", str(table))[0] == 0
    assert pl.read_csv(table)["difference"].abs().sum() == 0.0


def test_an_account_that_differs_ends_the_command_with_1(bars: pa.Table, weights: Path, tmp_path: Path) -> None:
    opened = a_workspace(tmp_path / "ws", bars, trade__max_position=0.1)
    traded(opened, weights)
    code, text = run("reconcile", "-w", str(opened.root))
    assert code == 1 and "DIFFERENT" in text and "refused: exposure" in text


def test_stop_status_and_resume(bars: pa.Table, weights: Path, tmp_path: Path) -> None:
    opened = a_workspace(tmp_path / "ws", bars)
    where = ("-w", str(opened.root))
    assert "no account yet" in run("status", *where)[1]
    assert run("stop", *where, "--why", "a test")[0] == 0
    code, text = run("--paper", "--replay", "--weights", str(weights), *where)
    assert code == 0 and "Stopped: stopped: a test" in text and "0 orders given" in text
    assert "stopped: a test" in run("status", *where)[1]
    assert "resumed (stopped: a test)" in run("resume", *where)[1]
    assert "was not stopped" in run("resume", *where)[1]
    assert "up to date" in run("--paper", *where)[1]


def test_contradictions_are_refused(bars: pa.Table, weights: Path, tmp_path: Path) -> None:
    opened = a_workspace(tmp_path / "ws", bars)
    for words in (
        ("--paper", "--broker", "alpaca"),
        ("--paper", "--run", "x", "--weights", str(weights)),
        ("--broker", "alpacca", "--weights", str(weights)),
    ):
        done = CliRunner().invoke(app, ["trade", *words, "-w", str(opened.root)])
        assert done.exit_code != 0 and done.exception is not None, words
