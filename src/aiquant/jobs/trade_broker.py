"""An account whose orders go to a broker: written to the ledger first, then sent, and asked after until they end.

An order has its name before it is sent, and the broker knows it by that name. So whatever was interrupted is taken up
by asking: an order that the broker does not know was never sent, and sending one twice is sending it once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest.targets import read_targets
from aiquant.brokers import base, permission
from aiquant.brokers.base import Holdings, Order, Placed, order_id
from aiquant.brokers.risk import Proposal
from aiquant.errors import Unreachable
from aiquant.jobs.journal import Journal
from aiquant.jobs.trade_book import FILL, ORDER, SESSION, Book, Row
from aiquant.jobs.trade_market import Seen
from aiquant.jobs.trade_switch import Switch
from aiquant.jobs.trade_venues import Settled
from aiquant.jobs.workspace import Workspace

_DECIMALS = 6
"""Of a share; smaller parts are not traded."""

_PATIENCE = 10
"""How often an order that was taken back is asked after."""


class AtBroker:
    """The account at the broker that the setting ``trade.broker`` names.

    Raises
    ------
    RefusedError
        When real money is asked for and not allowed, or the account is another one or blocked.
    """

    per_commit = 1
    catches_up = False

    def __init__(self, workspace: Workspace, journal: Journal, book: Book, switch: Switch, live: bool) -> None:
        self._settings = workspace.settings
        told = self._settings.trade
        permission.demand(told, live)
        self._broker = base.get(told.broker, self._settings, live)
        permission.verify(told, self._broker)
        self._journal, self._book, self._switch = journal, book, switch
        self._given: list[Proposal] = []
        self._holdings = Holdings("", 0.0, 0.0)
        self._closes: dict[str, list[float]] = {}
        self._age: dict[str, int] = {}
        self._close = datetime.now(UTC)
        self.opening = {"capital": self._broker.holdings().equity}

    def begin(self) -> None:
        """Send what was given and not sent when a process before this one ended."""
        rows: list[Row] = []
        for order in self._book.working().iter_rows(named=True):
            if order["status"] != "accepted":
                continue
            placed = self._broker.find(order["order_id"])
            placed = placed or self._sent(order["order_id"], order["symbol"], order["shares"], order["event_time"])
            rows.append(_said(order, placed))
        self._book.note(rows)

    def look(self, seen: Seen, due: Sequence[date], symbols: set[str]) -> None:
        """The last two closes of each symbol, and how old they are."""
        at = int(seen.sessions.index_of(np.array([due[-1]], dtype="datetime64[D]"))[0])
        self._close = seen.sessions.closes[at].item().replace(tzinfo=UTC)
        self._known = set(seen.bars["symbol"].unique().to_pylist())
        self._sessions = seen.sessions
        days = {day: place for place, day in enumerate(seen.sessions.dates.tolist())}
        bars = pl.DataFrame(pl.from_arrow(seen.bars.select(["symbol", "date", "close"])))
        recent = bars.filter(pl.col("date") <= due[-1]).sort("date").group_by("symbol").tail(2)
        for (symbol,), rows in recent.group_by("symbol"):
            self._closes[str(symbol)] = rows["close"].to_list()
            self._age[str(symbol)] = at - days[rows["date"][-1]]

    def hindrance(self) -> str | None:
        """Too late: by now others know more than the close."""
        return self._too_late(self._close)

    def _too_late(self, close: datetime) -> str | None:
        told, late = self._settings.trade.max_delay_hours, datetime.now(UTC) - close
        if late <= timedelta(hours=told):
            return None
        hours = late.total_seconds() / 3600
        return f"stale data: {hours:,.1f} hours after the close (trade.max_delay_hours = {told:g})"

    def withdraw(self) -> list[tuple[str, str]]:
        """Ask the broker to take back what waits; :meth:`settle` learns what came of it."""
        for order in self._book.working()["order_id"]:
            self._broker.cancel(order)
        return []

    def settle(self, day: date) -> Settled:
        """What the broker says by now of orders and account."""
        when = {"date": day, "event_time": self._close}
        rows = self._news(when)
        held = self._holdings = self._broker.holdings()
        long = sum(v for v in self._values() if v > 0)
        short = -sum(v for v in self._values() if v < 0)
        before = self._equity_before(held.equity)
        traded = sum(abs(r["shares"]) * r["price"] for r in rows if r["kind"] == FILL)
        session = {
            "kind": SESSION,
            **when,
            "equity": held.equity,
            "cash": held.cash,
            "gross_exposure": (long + short) / held.equity if held.equity > 0 else 0.0,
            "net_exposure": (long - short) / held.equity if held.equity > 0 else 0.0,
            "turnover": 0.5 * traded / before,
            "costs": 0.0,  # what the broker charged is in its equity
        }
        return Settled(session, before, rows, alive=held.equity > 0)

    def _news(self, when: Row) -> list[Row]:
        """What became of the orders that could still be executed, and the fills that are not in the ledger yet."""
        rows: list[Row] = []
        for order in self._book.working().iter_rows(named=True):
            placed = self._broker.find(order["order_id"])
            if placed is None:
                continue  # given and not sent: :meth:`begin` sees to it
            rows += _fills(order, placed, when)
            if placed.status != order["status"]:
                rows.append(_said({**order, **when}, placed, settled=True))
        return rows

    def _equity_before(self, now: float) -> float:
        kept = json.loads(self._book.state) if self._book.state else {}
        return float(kept.get("equity", now))

    def propose(self, book: pa.Table) -> tuple[list[Proposal], list[tuple[str, str]]]:
        """Orders from what is held to the wanted weights, sized on this close.

        A position that would turn around is closed only: brokers do not take both in one order. The next decision
        opens the other side.
        """
        told = self._settings.backtest
        read_targets(book, self._known, self._sessions, allow_short=told.allow_short, margin=told.margin)
        self._clear()
        held = self._holdings = self._broker.holdings()
        weights = dict(zip(book["symbol"].to_pylist(), book["weight"].to_pylist(), strict=True))
        day: date = book["date"][0].as_py()
        made = [
            self._proposal(day, symbol, weights.get(symbol, 0.0), held)
            for symbol in sorted({*weights, *held.positions})
        ]
        return [proposal for proposal in made if proposal.shares], []

    def _proposal(self, day: date, symbol: str, weight: float, held: Holdings) -> Proposal:
        before, price = [*[float("nan")] * 2, *self._closes.get(symbol, [])][-2:]
        now = held.positions.get(symbol, 0.0)
        shares = (weight * held.equity / price if weight else 0.0) - now
        if (now + shares) * now < 0:
            shares = -now
        if self._settings.backtest.shares == "whole":
            from aiquant.backtest.fills import whole

            shares = float(whole.py_func(shares))  # as Python: compiled it can be called by the kernel only
        else:
            shares = round(shares, _DECIMALS)
        name = order_id(self._book.account, day, symbol)
        return Proposal(name, symbol, shares, now, price, before, self._age.get(symbol, 0))

    def _clear(self) -> None:
        """Nothing may wait at the broker when a new book is sized on what is held."""
        waiting = [o for o in self._book.working()["order_id"] if not _ended(self._broker.find(o))]
        for order in waiting:
            self._broker.cancel(order)
        for tries in range(_PATIENCE):
            waiting = [order for order in waiting if not _ended(self._broker.find(order))]
            if not waiting:
                return
            time.sleep(0.1 * (tries + 1))
        raise Unreachable(f"the broker has not taken back {len(waiting)} order(s) yet", "run it again in a minute")

    def gross(self) -> float:
        """Value of all positions at the last close."""
        return float(sum(abs(value) for value in self._values()))

    def _values(self) -> Iterable[float]:
        return [n * self._closes[s][-1] for s, n in self._holdings.positions.items() if s in self._closes]

    def give(self, proposal: Proposal) -> None:
        self._given.append(proposal)

    def refuse(self, proposal: Proposal) -> None:
        """Nothing: it was never given."""

    def state(self) -> bytes:
        """What the broker said last, for who looks at the ledger."""
        held = self._holdings
        closes = {symbol: self._closes[symbol][-1] for symbol in held.positions if symbol in self._closes}
        told = {"equity": held.equity, "cash": held.cash, "positions": dict(held.positions), "closes": closes}
        return json.dumps(told, sort_keys=True).encode()

    def send(self) -> None:
        """Hand over what is in the ledger by now; what the broker says is written at once."""
        given, self._given = self._given, []
        rows: list[Row] = []
        try:
            for order in given:
                placed = self._sent(order.order_id, order.symbol, order.shares, self._close)
                when = {"date": self._book.last, "event_time": self._close}
                told = {"symbol": order.symbol, "order_id": order.order_id}
                rows.append(_said({**when, **told}, placed))
        finally:
            self._book.note(rows)

    def _sent(self, name: str, symbol: str, shares: float, close: datetime) -> Placed:
        """Send an order, unless the switch was pulled meanwhile or it is too late."""
        reason = self._switch.reason()
        if reason is not None:
            return Placed(name, "cancelled", reason=reason)
        late = self._too_late(close)
        if late is not None:
            return Placed(name, "expired", reason=late)
        placed = self._broker.submit(Order(name, symbol, shares))
        if placed.status == "rejected":
            self._journal.note(f"the broker refused an order for {symbol}: {placed.reason}")
        return placed


def _ended(placed: Placed | None) -> bool:
    return placed is None or placed.status not in base.WORKING


def _said(order: Row, placed: Placed, settled: bool = False) -> Row:
    """A row of the ledger: what a broker says of an order.

    What was executed counts once its fills are written, with the next session: until then the order counts as sent.
    """
    names = ("date", "event_time", "symbol", "order_id")
    status = "sent" if placed.filled and not settled else placed.status
    return {"kind": ORDER, **{n: order[n] for n in names}, "status": status, "reason": placed.reason or None}


def _fills(order: Row, placed: Placed, when: Row) -> list[Row]:
    """What was executed since the ledger was written; the price is the average of just that."""
    had, paid = order["filled"] or 0.0, order["paid"] or 0.0
    new = placed.filled - had
    if not new or placed.price is None:
        return []
    price = (placed.filled * placed.price - had * paid) / new
    told = {"symbol": order["symbol"], "order_id": order["order_id"], "shares": new, "price": price}
    return [{"kind": FILL, **when, **told, "commission": 0.0, "slippage": 0.0, "reason": "rebalance"}]
