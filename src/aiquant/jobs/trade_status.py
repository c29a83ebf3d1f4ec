"""How the accounts of a workspace stand, by their ledgers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import date

from aiquant.jobs import trade_book
from aiquant.jobs.trade_switch import Switch
from aiquant.jobs.workspace import Workspace


@dataclass
class Standing:
    """An account after its last session.

    Attributes
    ----------
    gained
        Equity over what the account was opened with, as a fraction.
    positions
        Symbol, shares, last close, value.
    working
        Orders that wait: symbol, shares, decided on, status, order id.
    orders
        Orders by what became of them.
    stopped
        Why no order is given; None when they are.
    """

    account: str
    broker: str
    decisions: dict[str, object]
    first: date
    last: date
    sessions: int
    equity: float
    cash: float
    gained: float
    gross_exposure: float
    positions: list[tuple[str, float, float, float]] = field(default_factory=list)
    working: list[tuple[str, float, date, str, str]] = field(default_factory=list)
    orders: dict[str, int] = field(default_factory=dict)
    fills: int = 0
    stopped: str | None = None


def status(workspace: Workspace, account: str | None) -> list[Standing]:
    """How an account stands; all of them where none is named.

    Raises
    ------
    MissingError
        When there is no such account.
    """
    if account is not None:
        trade_book.demand(workspace.lake, account)
    names = trade_book.accounts(workspace.lake) if account is None else [account]
    return [_standing(workspace, name) for name in names]


def _standing(workspace: Workspace, account: str) -> Standing:
    lake = workspace.lake
    book = trade_book.Book(workspace, account)
    assert book.opening is not None
    sessions = trade_book.equity(lake, account)
    newest = sessions.row(-1, named=True)
    orders = trade_book.orders(lake, account)
    counted = orders.group_by("status").len().sort("status")
    working = book.working().select("symbol", "shares", "date", "status", "order_id")
    begun = float(book.opening["capital"])
    return Standing(
        account=account,
        broker=book.opening["broker"],
        decisions=book.opening["decisions"],
        first=sessions["date"][0],
        last=newest["date"],
        sessions=len(sessions),
        equity=newest["equity"],
        cash=newest["cash"],
        gained=newest["equity"] / begun - 1,
        gross_exposure=newest["gross_exposure"],
        positions=_positions(book),
        working=[tuple(row) for row in working.iter_rows()],
        orders=dict(counted.iter_rows()),
        fills=len(trade_book.fills(lake, account)),
        stopped=Switch(workspace, account).reason(),
    )


def _positions(book: trade_book.Book) -> list[tuple[str, float, float, float]]:
    """From the state that the ledger keeps: symbol, shares, last close, value."""
    from aiquant.backtest.paper import PaperAccount
    from aiquant.brokers.base import PAPER

    assert book.opening is not None and book.state is not None
    if book.opening["broker"] == PAPER:
        paper = PaperAccount.load(book.state)
        held, closes = paper.held, dict(zip(paper.symbols, paper.account.mark.tolist(), strict=True))
    else:
        told = json.loads(book.state)
        held, closes = told["positions"], told["closes"]
    return [(s, shares, closes.get(s, math.nan), shares * closes.get(s, math.nan)) for s, shares in held.items()]
