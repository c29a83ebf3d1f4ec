"""The ledger of an account in the lake: what happened to it, and the tables that are made from that.

The rows of a session, with the account's state after it, are one commit of the table ``trade_ledger``, and the same
commit says how many rows the account has: a process that dies has committed a session whole or not at all, and one that
would commit a second time is refused. All other tables are made from this one and can be made again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import MissingError, RefusedError
from aiquant.jobs.workspace import Workspace

OPENED, SESSION, TARGET, ORDER, FILL, FLOW = "opened", "session", "target", "order", "fill", "flow"
STOPPED = "stopped"

Row = dict[str, Any]


def run_id(account: str) -> str:
    """Under which id the tables of backtests hold an account that trades."""
    return f"trade-{account}"


class Book:
    """The ledger of one account; one object for the life of a process.

    Attributes
    ----------
    opening
        What the account was opened with; None before.
    last
        The last session that is written; None before the first.
    state
        The account after that session.
    stops
        Why the last written session stops the account, as long as it is not noted that the switch was pulled for it.
    sessions
        How many were noted and are not written yet.
    """

    def __init__(self, workspace: Workspace, account: str) -> None:
        from aiquant.lake.ledger import Ledger

        self.account = account
        self.lake = workspace.lake
        self._log = (account, 0)
        self._ledger = Ledger(self.lake, schemas.TRADE_LEDGER, reader="trade")
        self.number = self._ledger.positions([self._log])[self._log]
        self.opening: dict[str, Any] | None = None
        self.last: date | None = None
        self.state: bytes | None = None
        self.stops: str | None = None
        self._noted: list[Row] = []
        self._opened = False
        self.sessions = 0
        self._read()

    def _read(self) -> None:
        if not self.number:
            return
        first = rows(self.lake, self.account, [OPENED], ["detail"])
        self.opening = json.loads(first["detail"][0])
        sessions = rows(self.lake, self.account, [SESSION], ["date", "number", "reason"])
        newest = sessions.row(-1, named=True)
        kept = self.lake.read(
            schemas.TRADE_LEDGER,
            ["state"],
            (pl.col("account") == self.account) & (pl.col("number") == newest["number"]),
        )
        self.last, self.state = newest["date"], kept["state"][0].as_py()
        pulled = rows(self.lake, self.account, [STOPPED], ["number"])["number"]
        self.stops = None if (pulled > newest["number"]).any() else newest["reason"]

    def open(self, opening: dict[str, Any]) -> None:
        """Say what an account is opened with; it is written with its first session."""
        self.opening = opening
        self._opened = True

    def add(self, happened: Sequence[Row]) -> None:
        """Note a session; its own row comes last. :meth:`flush` writes it."""
        if self._opened:
            first, detail = happened[-1], json.dumps(self.opening, sort_keys=True)
            when = {"date": first["date"], "event_time": first["event_time"]}
            self._noted.append({**when, "kind": OPENED, "detail": detail})
            self._opened = False
        self._noted += happened
        self.sessions += 1

    def flush(self, state: bytes) -> None:
        """Write the sessions that were noted, with the account after the last of them, in one commit.

        Raises
        ------
        RefusedError
            When another process has written to the account.
        """
        noted, self._noted, self.sessions = self._noted, [], 0
        if noted:
            noted[-1] = {**noted[-1], "state": state}
            self._commit(noted)
            self.last, self.state, self.stops = noted[-1]["date"], state, noted[-1].get("reason")

    def note(self, happened: Sequence[Row]) -> None:
        """Write what became of orders after their session, in a commit of its own."""
        if happened:
            self._commit(happened)

    def stopped(self, reason: str) -> None:
        """Note that the switch was pulled for the last session."""
        when = rows(self.lake, self.account, [SESSION], ["date", "event_time"]).row(-1, named=True)
        self.note([{**when, "kind": STOPPED, "reason": reason}])
        self.stops = None

    def _commit(self, happened: Sequence[Row]) -> None:
        from aiquant.lake.ledger import Fenced

        now = datetime.now(UTC)
        numbered = [
            {**row, "account": self.account, "number": self.number + i, "ingest_time": now}
            for i, row in enumerate(happened)
        ]
        table = pa.Table.from_pylist(numbered, schema=schemas.TRADE_LEDGER.schema)
        after = self.number + len(numbered)
        nothing = schemas.DEAD_LETTERS.schema.empty_table()
        try:
            self._ledger.append(table, nothing, {self._log: self.number}, {self._log: after})
        except Fenced as error:
            raise RefusedError(
                f"another process has written to the account {self.account!r}: nothing was written",
                "let one process trade an account, on one machine",
            ) from error
        self.number = after

    def working(self) -> pl.DataFrame:
        """Orders that can still be executed: their last row, with the shares that were executed so far."""
        from aiquant.brokers.base import WORKING

        return orders(self.lake, self.account).filter(pl.col("status").is_in(list(WORKING)))

    def publish(self) -> None:
        """Make the tables that are made from the ledger."""
        publish(self.lake, self.account)


def rows(lake: Any, account: str, kinds: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    """Rows of some kinds in the order in which they happened."""
    asked = list(dict.fromkeys([*columns, "number"]))
    where = (pl.col("account") == account) & pl.col("kind").is_in(list(kinds))
    found = lake.read(schemas.TRADE_LEDGER, asked, where, missing_ok=True)
    return pl.DataFrame(pl.from_arrow(found)).sort("number").select(columns)


def demand(lake: Any, account: str) -> None:
    """Refuse an account that was never opened.

    Raises
    ------
    MissingError
        With the accounts that there are.
    """
    there = accounts(lake)
    if account not in there:
        told = f"there are: {', '.join(there)}" if there else "open one with: aiquant trade --paper --replay"
        raise MissingError(f"there is no account {account!r} in this workspace", told)


def accounts(lake: Any) -> list[str]:
    """Names of all accounts that were opened."""
    if lake.version(schemas.TRADE_LEDGER) is None:
        return []
    return sorted(lake.scan(schemas.TRADE_LEDGER, ["account"], ordered=False).unique().collect()["account"])


def orders(lake: Any, account: str) -> pl.DataFrame:
    """All orders: ``symbol, date, event_time, order_id, shares, price, status, reason, filled, paid``."""
    told = ["date", "event_time", "symbol", "order_id", "status", "reason", "shares", "price"]
    said = rows(lake, account, [ORDER], told)
    decided = said.group_by("order_id", maintain_order=True).agg(
        pl.col("symbol", "date", "event_time", "shares", "price").first(), pl.col("status", "reason").last()
    )
    filled = rows(lake, account, [FILL], ["order_id", "shares", "price"]).filter(pl.col("order_id").is_not_null())
    done = filled.group_by("order_id").agg(
        filled=pl.col("shares").sum(), paid=(pl.col("shares") * pl.col("price")).sum() / pl.col("shares").sum()
    )
    return decided.join(done, on="order_id", how="left", maintain_order="left")


def publish(lake: Any, account: str) -> None:
    """Make ``trade_orders``, ``target_weights``, ``fills``, ``cash_flows`` and ``equity`` of an account anew."""
    name = run_id(account)
    happened = (
        (schemas.TRADE_ORDERS, orders(lake, account)),
        (schemas.TARGET_WEIGHTS, rows(lake, account, [TARGET], ["symbol", "date", "event_time", "weight"])),
        (schemas.FILLS, fills(lake, account)),
        (schemas.CASH_FLOWS, flows(lake, account)),
        (schemas.EQUITY, equity(lake, account)),
    )
    for table, frame in happened:
        known = frame.with_columns(run_id=pl.lit(name)).select(table.schema.names).to_arrow()
        lake.replace(table, schemas.conform(known, table), {"run_id": name})


def fills(lake: Any, account: str) -> pl.DataFrame:
    """As the table ``fills``, without ``run_id``."""
    names = [name for name in schemas.FILLS.schema.names if name != "run_id"]
    return rows(lake, account, [FILL], names)


def flows(lake: Any, account: str) -> pl.DataFrame:
    """As the table ``cash_flows``, without ``run_id``."""
    return rows(lake, account, [FLOW], ["date", "symbol", "reason", "amount"]).rename({"reason": "kind"})


def equity(lake: Any, account: str) -> pl.DataFrame:
    """As the table ``equity``, without ``run_id``."""
    names = [name for name in schemas.EQUITY.schema.names if name != "run_id"]
    return rows(lake, account, [SESSION], names)
