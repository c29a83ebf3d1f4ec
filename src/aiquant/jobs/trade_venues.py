"""Where an account's orders are filled: simulated here. What a broker does instead is in :mod:`.trade_broker`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from aiquant.brokers.base import order_id
from aiquant.brokers.risk import Proposal
from aiquant.errors import RefusedError
from aiquant.jobs.trade_book import FILL, FLOW, ORDER, SESSION, Row
from aiquant.jobs.trade_market import Seen
from aiquant.settings import BacktestSettings

if TYPE_CHECKING:
    from aiquant.backtest.paper import PaperAccount, Stage


@dataclass
class Settled:
    """A session up to its close.

    Attributes
    ----------
    rows
        Of the ledger: fills, flows, and what became of orders.
    session
        The session's own row, without the state.
    before
        Equity of the close before.
    alive
        Whether the account can go on.
    """

    session: Row
    before: float
    rows: list[Row] = field(default_factory=list)
    alive: bool = True

    @property
    def equity(self) -> float:
        """At the close."""
        return float(self.session["equity"])

    def order(self, symbol: str, order_id: str, status: str, reason: str | None = None) -> Row:
        """A row that says what became of an order in this session."""
        told = {"symbol": symbol, "order_id": order_id, "status": status, "reason": reason or None}
        return {**self.when(ORDER), **told}

    def when(self, kind: str) -> Row:
        """The beginning of a row of this session."""
        return {"kind": kind, "date": self.session["date"], "event_time": self.session["event_time"]}


class Venue(Protocol):
    """What fills the orders of an account, session by session."""

    per_commit: int
    """Sessions that may be written together, where several are there at once."""

    catches_up: bool
    """Whether sessions that were missed are played; a broker's market has gone on without us."""

    @property
    def opening(self) -> dict[str, Any]:
        """What an account is opened with, besides what was asked for."""
        ...

    def begin(self) -> None:
        """Finish what a process before this one left."""
        ...

    def look(self, seen: Seen, due: Sequence[date], symbols: set[str]) -> None:
        """Take note of the bars for the sessions ``due``; ``symbols`` may be traded in them."""
        ...

    def hindrance(self) -> str | None:
        """Why no order of the session may be given; None when one may."""
        ...

    def withdraw(self) -> list[tuple[str, str]]:
        """Take back all orders that wait: symbol and order id of each."""
        ...

    def settle(self, day: date) -> Settled:
        """Play a session up to its close."""
        ...

    def propose(self, book: pa.Table) -> tuple[list[Proposal], list[tuple[str, str]]]:
        """Orders that lead to a book, of which each has to be given or refused; and those that it replaces."""
        ...

    def gross(self) -> float:
        """Value of all positions at the last close, shorts as positive numbers."""
        ...

    def give(self, proposal: Proposal) -> None:
        """Count an order as given; a broker gets it after the commit."""
        ...

    def refuse(self, proposal: Proposal) -> None:
        """Forget an order."""
        ...

    def state(self) -> bytes:
        """What has to be kept of the account."""
        ...

    def send(self) -> None:
        """Hand over what was given, once it is in the ledger."""
        ...


class Simulated:
    """A paper account: fills by the accounting of the backtest, on the bars of the lake."""

    per_commit = 21  # a month: what a crash undoes is made again in a second
    catches_up = True

    def __init__(self, account: str, settings: BacktestSettings, state: bytes | None, fill: str | None) -> None:
        from aiquant.backtest.paper import PaperAccount

        self._name, self._settings = account, settings
        self._fill: Any = fill
        self._paper: PaperAccount | None = None if state is None else PaperAccount.load(state)
        self._stage: Stage | None = None
        self._day: date | None = None
        if self._paper is not None and self._paper.equity <= 0:
            raise RefusedError(f"account {account!r} is bankrupt", "open another one with --account")

    @property
    def opening(self) -> dict[str, Any]:
        """When orders fill: at the next open, or at the next close, and why so if the settings ask for the open."""
        stage = self._on_stage()
        return {"fill": stage.fill, **({"why": stage.why} if stage.why else {})}

    def begin(self) -> None:
        """Nothing: a commit leaves nothing undone."""

    def hindrance(self) -> str | None:
        """None: a simulated market waits."""
        return None

    def look(self, seen: Seen, due: Sequence[date], symbols: set[str]) -> None:
        from aiquant.backtest import paper

        def stage(of: set[str]) -> Stage:
            return paper.stage(of, seen.bars, seen.sessions, self._settings, due[0], seen.actions, self._fill)

        if self._paper is None:
            self._paper = paper.PaperAccount.open(stage(symbols), self._settings.capital)
        elif new := symbols - set(self._paper.symbols):
            self._paper.join(paper.PaperAccount.open(stage(new), 1.0))
        self._stage = stage(set(self._paper.symbols))
        self._paper.demand_own_prices(self._stage)
        self._fill = self._stage.fill

    def withdraw(self) -> list[tuple[str, str]]:
        paper = self._account()
        given = list(paper.orders.items())
        for symbol, _ in given:
            paper.withdraw(symbol)
        return given

    def settle(self, day: date) -> Settled:
        paper, stage = self._account(), self._on_stage()
        self._day, before = day, paper.equity
        t = int(np.searchsorted(stage.market.dates, np.datetime64(day)))
        waiting = dict(paper.orders)
        happened = paper.play(stage, t, "")
        session = happened.equity.drop_columns(["run_id"]).to_pylist()[0]
        settled = Settled({"kind": SESSION, **session}, before, alive=happened.alive)
        for row in happened.fills.drop_columns(["run_id"]).to_pylist():
            own = waiting.get(row["symbol"]) if row["reason"] == "rebalance" else None
            settled.rows.append({"kind": FILL, **row, "order_id": own})
        for row in happened.flows.drop_columns(["run_id"]).to_pylist():
            flow = {"symbol": row["symbol"], "reason": row["kind"], "amount": row["amount"]}
            settled.rows.append({**settled.when(FLOW), **flow})
        settled.rows += [settled.order(*told) for told in happened.orders]
        return settled

    def propose(self, book: pa.Table) -> tuple[list[Proposal], list[tuple[str, str]]]:
        assert self._day is not None
        paper = self._account()
        replaced = list(paper.orders.items())
        wanted = paper.decide(book, self._on_stage())
        day, name = self._day, self._name
        return [Proposal(order_id(name, day, w.symbol), **w._asdict()) for w in wanted if w.shares], replaced

    def gross(self) -> float:
        account = self._account().account
        return float(np.abs(account.shares * np.nan_to_num(account.mark)).sum())

    def give(self, proposal: Proposal) -> None:
        self._account().give(proposal.symbol, proposal.order_id)

    def refuse(self, proposal: Proposal) -> None:
        self._account().withdraw(proposal.symbol)

    def state(self) -> bytes:
        return self._account().save()

    def send(self) -> None:
        """Nothing: the commit of the ledger is what gives an order."""

    def _account(self) -> PaperAccount:
        assert self._paper is not None, "no bars were looked at"
        return self._paper

    def _on_stage(self) -> Stage:
        assert self._stage is not None, "no bars were looked at"
        return self._stage


def demand_same(opening: dict[str, Any], asked: dict[str, Any], account: str) -> None:
    """Refuse to go on with an account by other rules than it was opened with.

    Raises
    ------
    RefusedError
        With what differs.
    """
    for name, value in asked.items():
        if opening.get(name) != value:
            raise RefusedError(
                f"account {account!r} was opened with {name} {_short(opening.get(name), value)}",
                "go on with what it was opened with, or open another one with --account",
            )


def _short(was: Any, now: Any) -> str:
    if isinstance(was, dict) and isinstance(now, dict):
        differ = [n for n in sorted({*was, *now}) if was.get(n) != now.get(n)]
        return "; ".join(f"{n} = {was.get(n)}, not {now.get(n)}" for n in differ)
    return f"{was}, not {now}"
