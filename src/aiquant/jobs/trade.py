"""Bars → decisions → checked orders → fills → the ledger, session by session, for an account that goes on.

A session is written whole to the ledger (:mod:`aiquant.jobs.trade_book`), in one commit: what was filled in it, what
was decided at its close, and the account after it. Sessions that an account catches up with may share one.
Whatever a process was doing when it died, the next one begins with the first session
that the ledger does not hold, from the state that it does hold.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from aiquant import schemas
from aiquant.brokers import base, risk
from aiquant.errors import MissingError, RefusedError, UsageError
from aiquant.jobs import trade_decisions, trade_market, trade_reconcile, trade_switch, trade_venues
from aiquant.jobs.journal import Journal
from aiquant.jobs.trade_book import TARGET, Book, Row
from aiquant.jobs.trade_decisions import Decisions
from aiquant.jobs.trade_switch import Switch
from aiquant.jobs.trade_venues import Settled, Simulated, Venue
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.jobs.trade_market import Seen
    from aiquant.streams import metrics


@dataclass(frozen=True)
class Asked:
    """What a command asks for.

    Attributes
    ----------
    run_id, weights, strategy
        What decides; the account's own, or the newest run, where none is said.
    params
        Parameters of the strategy.
    first, last
        Sessions to be played, both included. Default: the newest session on, or for a replay the first decision.
    replay
        Begin with the first decision.
    follow
        Go on with the bars that come in.
    """

    account: str = "paper"
    run_id: str | None = None
    weights: Path | None = None
    first: date | None = None
    last: date | None = None
    replay: bool = False
    follow: bool = False
    live: bool = False
    strategy: str | None = None
    params: dict[str, Any] = field(default_factory=dict)


@dataclass
class Traded:
    """What a process did, and how the account stands."""

    account: str
    broker: str
    sessions: int = 0
    accepted: int = 0
    refused: int = 0
    fills: int = 0
    last: date | None = None
    equity: float | None = None
    stopped: str | None = None
    notes: list[str] = field(default_factory=list)


def trade(workspace: Workspace, journal: Journal, asked: Asked, stop: threading.Event | None = None) -> Traded:
    """Trade an account up to the newest session, or until ``stop`` is set.

    Raises
    ------
    RefusedError
        When another process trades the account, its rules or decisions are others than it was opened with, or it is
        bankrupt.
    AiquantError
        When bars, decisions, the lake or the broker refuse.
    """
    told = workspace.settings.trade
    if asked.follow and asked.last is not None:
        raise UsageError("--follow goes on until it is stopped, and --to ends", "say one of them")
    with trade_switch.alone(workspace, asked.account), journal.station(f"trade {asked.account}") as station:
        desk = _Desk(workspace, journal, asked)
        desk.run(stop or threading.Event())
        desk.book.publish()
        done = desk.done
        done.stopped = desk.switch.reason()
        station.rows, station.note = done.sessions, f"sessions at {told.broker}"
    return done


class _Desk:
    """One account and all that it takes to trade it."""

    def __init__(self, workspace: Workspace, journal: Journal, asked: Asked) -> None:
        settings = workspace.settings
        self._workspace, self._journal, self._asked = workspace, journal, asked
        self._told = settings.trade
        self.done = Traded(asked.account, self._told.broker)
        self.switch = Switch(workspace, asked.account)
        self.book = Book(workspace, asked.account)
        self._decisions = self._decide()
        self._opening: dict[str, Any] = {
            "broker": self._told.broker,
            "decisions": self._decisions.origin,
            "rules": settings.backtest.model_dump(mode="json"),
            "interval": settings.data.interval,
        }
        if self.book.opening is not None:
            trade_venues.demand_same(self.book.opening, self._opening, asked.account)
        self._venue = self._open_venue()
        self._waits = True
        self._taken_back = False
        self._metrics: metrics.TradeMetrics | None = None
        if asked.follow:
            from aiquant.streams.metrics import TradeMetrics

            self._metrics = TradeMetrics(self._told.metrics_port)

    def _decide(self) -> Decisions:
        asked, opening = self._asked, self.book.opening
        if asked.run_id is None and asked.weights is None and asked.strategy is None and opening is not None:
            return trade_decisions.again(self._workspace, self._journal, opening["decisions"])
        named = (asked.run_id, asked.weights, asked.strategy, asked.params)
        return trade_decisions.of(self._workspace, self._journal, *named)

    def _open_venue(self) -> Venue:
        settings, opening = self._workspace.settings, self.book.opening or {}
        if self._told.broker != base.PAPER:
            from aiquant.jobs.trade_broker import AtBroker

            return AtBroker(self._workspace, self._journal, self.book, self.switch, self._asked.live)
        if self._asked.live:
            raise RefusedError("--live: the paper account has no real money", "name a broker with --broker")
        return Simulated(self._asked.account, settings.backtest, self.book.state, opening.get("fill"))

    def run(self, stop: threading.Event) -> None:
        """Play what is there; with ``follow`` what comes, too."""
        from aiquant.lake.following import Follower

        self._stop_as_written()
        self._venue.begin()
        follower = Follower(self._workspace.lake, schemas.BARS)
        known: int | None = None
        while not stop.is_set():
            self._take_back()
            version = follower.version()
            # A session may become complete by the clock alone, so it is looked at again while one is waited for.
            if version != known or self._waits:
                known = version
                self._turn(stop)
            if not self._asked.follow:
                return
            stop.wait(self._told.every_seconds)

    def _take_back(self) -> None:
        """Once after the switch was pulled: what waits at a broker is taken back at once, not with the next session."""
        if self._venue.catches_up:
            return
        stopped = self.switch.reason() is not None
        if stopped and not self._taken_back:
            self._venue.withdraw()
        self._taken_back = stopped

    def _turn(self, stop: threading.Event) -> None:
        seen = trade_market.look(self._workspace)
        due = seen.due(self.book.last, self._asked.last)
        if self.book.opening is None:
            due = self._from_the_beginning(due)
        lateness = timedelta(seconds=self._told.lateness_seconds)
        self._waits = False
        if self._asked.follow and due and not seen.complete(due[-1], lateness, datetime.now(UTC)):
            self._waits = True
            due = due[:-1]
        if not due:
            return
        if not self._venue.catches_up:
            due = due[-1:]
        known: set[str] = set()
        step = self._journal.progress(f"trade {self._asked.account}")
        for place, day in enumerate(due):
            book = self._decisions.at(day)
            if not place or self._decisions.symbols() != known:
                known = self._decisions.symbols()
                self._venue.look(seen, due[place:], known)
            if stop.is_set() or not self._session(seen, day, book):
                break
            step(place + 1, len(due))
        self._write()
        if self._metrics is not None:
            self.book.publish()
            self._measure(self._metrics)

    def _measure(self, metrics: metrics.TradeMetrics) -> None:
        """Show how far the account is from the backtest of the same days."""
        try:
            made = trade_reconcile.reconcile(self._workspace, self._asked.account)
        except MissingError:
            return  # nothing was decided yet
        metrics.difference.labels(self._asked.account).set(made.difference)

    def _from_the_beginning(self, due: list[date]) -> list[date]:
        """Sessions that a new account plays."""
        first = self._asked.first
        if self._asked.replay:
            begun = self._decisions.first()
            first = max((day for day in (first, begun) if day is not None), default=None)
        elif first is None:
            return due[-1:]
        kept = [day for day in due if first is None or day >= first]
        if not kept:
            raise UsageError(f"no session with bars lies between {first} and {self._asked.last or 'the last bar'}")
        return kept

    def _session(self, seen: Seen, day: date, book: pa.Table | None) -> bool:
        """Play one session, decide ``book`` at its close and write it; whether the account goes on."""
        cancelled = self._venue.withdraw() if self.switch.reason() else []
        settled = self._venue.settle(day)
        rows = [settled.order(*order, "cancelled", self.switch.reason()) for order in cancelled]
        rows += settled.rows
        halted = risk.loss(settled.equity, settled.before, self._told) if settled.alive else "bankrupt"
        if book is not None and settled.alive:
            rows += self._decided(book, settled, halted)
        if self.book.opening is None:
            self.book.open(self._new_opening())
        self.book.add([*rows, {**settled.session, "bars_version": seen.version, "reason": halted}])
        if halted or self.book.sessions >= self._venue.per_commit:
            self._write()
        self._stop_as_written()
        self._count(rows, settled)
        return settled.alive

    def _stop_as_written(self) -> None:
        """Pull the switch for a loss that is in the ledger, and note that it was pulled.

        In this order: a switch that is pulled for a session which a crash undoes would stop the sessions before it. And
        once it is noted, a person may put it back.
        """
        reason = self.book.stops
        if reason is not None:
            self.switch.stop(reason)
            self.book.stopped(reason)

    def _write(self) -> None:
        """Commit what was noted; only then does a broker get its orders."""
        if self.book.sessions:
            self.book.flush(self._venue.state())
            self._venue.send()

    def _new_opening(self) -> dict[str, Any]:
        told = self._venue.opening
        if "why" in told:
            self._journal.note(told["why"])
        return {**self._opening, "capital": self._workspace.settings.backtest.capital, **told}

    def _decided(self, book: pa.Table, settled: Settled, halted: str | None) -> list[Row]:
        """The rows of a decision: its targets, the orders it replaces, and the orders that it takes."""
        rows = [{**settled.when(TARGET), "symbol": s, "weight": w} for s, w in _pairs(book)]
        proposals, replaced = self._venue.propose(book)
        rows += [settled.order(*order, "replaced") for order in replaced]
        checks = risk.Checks(self._told, settled.equity, self._venue.gross())
        for order in risk.in_turn(proposals):
            reason = halted or self.switch.reason() or self._venue.hindrance() or checks.refusal(order)
            status = "accepted" if reason is None else "refused"
            (self._venue.give if reason is None else self._venue.refuse)(order)
            row = settled.order(order.symbol, order.order_id, status, reason)
            rows.append({**row, "shares": order.shares, "price": order.price})
        return rows

    def _count(self, rows: list[Row], settled: Settled) -> None:
        done = self.done
        done.sessions += 1
        done.accepted += sum(row.get("status") == "accepted" for row in rows)
        done.refused += sum(row.get("status") == "refused" for row in rows)
        done.fills += sum(row["kind"] == "fill" for row in rows)
        done.last, done.equity = settled.session["date"], settled.equity
        if self._metrics is not None:
            self._metrics.session(self._asked.account, rows, settled.equity, self.switch.reason() is not None)


def _pairs(book: pa.Table) -> list[tuple[str, float]]:
    return sorted(zip(book["symbol"].to_pylist(), book["weight"].to_pylist(), strict=True))
