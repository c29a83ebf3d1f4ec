"""What a broker is, how one is found by its name, and the order that is handed to it."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Protocol, runtime_checkable

from aiquant import plugins
from aiquant.errors import UsageError
from aiquant.settings import Settings

ENTRY_POINTS = "aiquant.brokers"
"""Group of entry points by which a package offers a broker: ``name = "package.module:Class"``."""

PAPER = "paper"
"""The built-in broker: fills are simulated by the accounting of the backtest, and nothing leaves the machine."""

Status = Literal["accepted", "refused", "sent", "partial", "filled", "expired", "cancelled", "replaced", "rejected"]
STATUSES: dict[str, str] = {
    "accepted": "passed all checks and waits for its fill, or for being sent",
    "refused": "did not pass a check here, and was never given",
    "sent": "a broker has it",
    "partial": "executed in part, the rest waits",
    "filled": "executed; the fills say how much",
    "expired": "ended without a trade, or by its time",
    "cancelled": "taken back because the account was stopped",
    "replaced": "taken back because of a newer decision",
    "rejected": "a broker refused it",
}
"""What can become of an order."""

WORKING: frozenset[str] = frozenset(("accepted", "sent", "partial"))
"""Statuses of orders that can still be executed."""

_BUILT_IN = {"alpaca": "aiquant.brokers.alpaca:Alpaca"}


@dataclass(frozen=True)
class Order:
    """An order at the market.

    Attributes
    ----------
    order_id
        The same for the same decision, however often it is sent: see :func:`order_id`.
    shares
        To buy (> 0) or to sell (< 0).
    """

    order_id: str
    symbol: str
    shares: float


@dataclass(frozen=True)
class Placed:
    """What a broker says of an order.

    Attributes
    ----------
    filled
        Shares that were executed so far, signed as the order.
    price
        Average price of these; None before the first.
    """

    order_id: str
    status: Status
    filled: float = 0.0
    price: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Holdings:
    """An account as the broker sees it now.

    Attributes
    ----------
    account_id
        The broker's number of the account.
    positions
        Shares by symbol, in our form (``BRK-B``), negative for shorts.
    blocked
        Why it may not trade; empty when it may.
    """

    account_id: str
    cash: float
    equity: float
    positions: Mapping[str, float] = field(default_factory=dict)
    blocked: str = ""


@runtime_checkable
class Broker(Protocol):
    """Where orders go.

    A class that has ``from_settings(settings: Settings, live: bool)`` is made by it, any other by calling it without
    arguments. Every method raises :class:`~aiquant.errors.Unreachable` when the broker does not answer (what was asked
    may have been done or not: ask again by :meth:`find`) and :class:`~aiquant.errors.MissingError` when it refuses the
    keys.
    """

    live: bool
    """Whether its orders are real money."""

    def holdings(self) -> Holdings:
        """Cash and positions now."""
        ...

    def submit(self, order: Order) -> Placed:
        """Give an order. The same ``order_id`` twice is one order: the second time says what became of the first."""
        ...

    def find(self, order_id: str) -> Placed | None:
        """What became of an order; None when the broker has never seen it."""
        ...

    def cancel(self, order_id: str) -> None:
        """Take an order back; nothing happens when it has ended already, or was never given."""
        ...


def order_id(account: str, day: date, symbol: str) -> str:
    """The name of the order that ``account`` decides for ``symbol`` at the close of ``day``: 32 hexadecimal digits.

    It is a digest, so that whoever decides the same once more, after a crash or by mistake, gives the same order.
    """
    return hashlib.sha256("\x1f".join((account, day.isoformat(), symbol, "rebalance")).encode()).hexdigest()[:32]


def names() -> list[str]:
    """Names of all brokers: the built-in ones and those of installed packages."""
    return sorted({PAPER, *_BUILT_IN, *plugins.names(ENTRY_POINTS)})


def get(name: str, settings: Settings, live: bool = False) -> Broker:
    """The broker of that name, ready to be used.

    Parameters
    ----------
    live
        Whether real money may be traded; :func:`aiquant.brokers.permission.demand` has to agree first.

    Raises
    ------
    UsageError
        When no broker has that name, or what a package offers is none.
    MissingError
        When its package cannot be imported, or a key is missing.
    """
    found = _found(name)
    made = getattr(found, "from_settings", None)
    broker = made(settings, live) if made is not None else found()
    if not isinstance(broker, Broker):
        raise UsageError(f"broker {name!r} is not a broker: it lacks a method", "see aiquant.brokers.base.Broker")
    return broker


def _found(name: str) -> Any:
    if name in _BUILT_IN:
        return plugins.built_in(_BUILT_IN[name])
    if (point := plugins.find(ENTRY_POINTS, name)) is not None:
        return plugins.load(point, "broker")
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
    meant = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names())}"
    raise UsageError(f"setting trade.broker: no broker is named {name!r}", meant)
