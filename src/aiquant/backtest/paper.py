"""A paper account: the accounting of the backtest, gone through session by session and kept in between.

It calls :func:`aiquant.backtest.kernel.step` and :func:`~aiquant.backtest.kernel.decide`, the two functions that a
backtest is made of, on a market that :mod:`aiquant.backtest.market` laid out. So an account that traded the same
weights on the same bars has the same numbers, to the last bit, however often it was put aside and taken up again.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from aiquant.backtest import engine
from aiquant.backtest import market as markets
from aiquant.backtest import rules as house
from aiquant.backtest.targets import Targets, read_targets
from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.settings import BacktestSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.backtest.kernel import Account, Journal, Tape

_FIELD = "account."
_SAME = 1e-6
"""Relative difference up to which two prices are the same, and two numbers of shares."""

_FILLED, _PARTIAL, _EXPIRED = "filled", "partial", "expired"


@dataclass(frozen=True)
class Stage:
    """The market of some sessions, and the rules by which an account trades in it.

    Attributes
    ----------
    market
        From a month before the first session that is to be played to the last that has a bar.
    begin
        Place of the first session that is to be played, among those of the market.
    """

    market: markets.Market
    sessions: Sessions
    settings: BacktestSettings
    fill: house.Fill
    why: str
    begin: int
    tape: Tape
    rules: house.Rules
    journal: Journal

    @property
    def symbols(self) -> list[str]:
        """In alphabetical order."""
        return self.market.symbols


class Wanted(NamedTuple):
    """An order that an account would give.

    Attributes
    ----------
    shares
        To buy (> 0) or to sell (< 0).
    held
        Shares that are held now.
    price
        Last known close.
    before
        The close before that, as of the session before, splits taken in; NaN without one.
    age
        Sessions since the last known close, 0 if it is of this session.
    """

    symbol: str
    shares: float
    held: float
    price: float
    before: float
    age: int


@dataclass(frozen=True)
class Day:
    """What a session brought.

    Attributes
    ----------
    alive
        Whether the account is not bankrupt.
    equity, fills, flows
        In the schemas of the tables of these names; ``equity`` has one row.
    orders
        What became of orders that waited: symbol, order id, status, reason.
    """

    alive: bool
    equity: pa.Table
    fills: pa.Table
    flows: pa.Table
    orders: tuple[tuple[str, str, str, str], ...] = ()


def stage(
    symbols: Iterable[str],
    bars: pa.Table,
    sessions: Sessions,
    settings: BacktestSettings,
    begin: date,
    actions: pa.Table | None = None,
    fill: house.Fill | None = None,
) -> Stage:
    """Lay out the sessions from ``begin`` to the last bar for those of ``symbols`` that have bars.

    Parameters
    ----------
    bars, sessions, settings, actions
        As :func:`aiquant.backtest.engine.run` takes them.
    fill
        When orders fill, for an account that was opened before; default: as the bars allow.

    Raises
    ------
    DataError
        When bars are not what they have to be, not daily, or ``begin`` is no session of them.
    """
    from aiquant.backtest import kernel

    checked = markets.read_bars(bars, sessions, settings)
    if checked.interval != "1d":
        raise DataError(
            f"a paper account goes from session to session, and these bars have the interval {checked.interval}",
            "set data.interval = '1d'; intraday bars: aiquant backtest",
        )
    known = sorted(set(symbols) & set(checked.symbols))
    at = int(sessions.index_of(np.array([begin], dtype="datetime64[D]"))[0])
    if at < 0:
        raise DataError(f"{begin} is no session of {sessions.calendar} with bars")
    some = Targets(np.zeros((1, len(known))), np.array([at], dtype=np.int64), known)
    market = markets.lay_out(checked, some, sessions, settings, None, actions)
    chosen, why = market.fill_time(np.ones(len(known), dtype=np.bool_), settings.fill)
    chosen = fill or chosen
    tape = engine.tape_of(market, chosen)
    room = 8 * (len(known) + 1)
    return Stage(
        market=market,
        sessions=sessions,
        settings=settings,
        fill=chosen,
        why=why,
        begin=int(np.searchsorted(market.dates, np.datetime64(begin))),
        tape=tape,
        rules=engine.rules_of(market, settings, chosen),
        journal=kernel.open_journal(len(market.dates), fills=room, flows=room + len(tape.action_kind)),
    )


@dataclass
class PaperAccount:
    """An account between two sessions.

    Attributes
    ----------
    symbols
        Those it can hold, in alphabetical order.
    account
        Its cash, positions and waiting orders, as the kernel keeps them.
    orders
        Id of the order that waits for each symbol.
    """

    symbols: list[str]
    account: Account
    orders: dict[str, str] = field(default_factory=dict)
    _before: NDArray[np.float64] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, stage: Stage, capital: float) -> PaperAccount:
        """An account that holds cash only; it knows the closes of the sessions before ``stage.begin``."""
        from aiquant.backtest import kernel

        made = cls(list(stage.symbols), kernel.open_account(len(stage.symbols), capital))
        for t in range(stage.begin):
            stage.journal.counts[:] = 0
            kernel.step(stage.tape, stage.rules, made.account, stage.journal, t)
        kernel.begin_with(capital, made.account, stage.journal)
        return made

    @property
    def equity(self) -> float:
        """At the last close."""
        return float(self.account.equity[0])

    @property
    def held(self) -> dict[str, float]:
        """Shares of each position."""
        return {s: float(n) for s, n in zip(self.symbols, self.account.shares, strict=True) if n}

    def join(self, others: PaperAccount) -> None:
        """Take in symbols of an account that holds none of them: what it knows of their prices comes along."""
        from aiquant.backtest import kernel

        symbols = sorted({*self.symbols, *others.symbols})
        places = [[symbols.index(s) for s in known] for known in (self.symbols, others.symbols)]
        empty = kernel.open_account(len(symbols), 1.0)
        for name in self._by_symbol():
            for at, part in zip(places, (self.account, others.account), strict=True):
                getattr(empty, name)[at] = getattr(part, name)
        rest = {n: getattr(self.account, n) for n in empty._fields if n not in self._by_symbol()}
        self.symbols, self.account = symbols, empty._replace(**rest)

    def demand_own_prices(self, stage: Stage) -> None:
        """Refuse a market whose source has restated adjusted prices since the account's last session.

        Its shares are counted in the old prices. Prices as traded are never restated, only corrected.

        Raises
        ------
        DataError
            With the first symbol.
        """
        if not stage.market.adjusted or not stage.begin:
            return
        closes = stage.market.close[: stage.begin]
        for j, symbol in enumerate(self.symbols):
            told, mark = closes[np.isfinite(closes[:, j]), j][-1:], self.account.mark[j]
            if len(told) and abs(told[0] - mark) > _SAME * abs(mark):
                raise DataError(
                    f"the source has restated the adjusted prices of {symbol}: the close that the account knows as "
                    f"{mark:g} is {told[0]:g} now, and its shares are counted in the old ones",
                    "take in bars as traded, with their corporate actions, and open another account with --account",
                )

    def play(self, stage: Stage, t: int, run_id: str) -> Day:
        """Play the session at place ``t`` of the market up to its close."""
        from aiquant.backtest import kernel

        assert stage.symbols == self.symbols, "the account and its market have other symbols"
        stage.journal.counts[:] = 0
        self._before = self.account.mark.copy()
        asked = self.account.target - self.account.shares
        for i in range(stage.tape.action_row[t], stage.tape.action_row[t + 1]):
            if stage.tape.action_kind[i] == house.SPLIT:
                self._before[stage.tape.action_symbol[i]] /= stage.tape.action_value[i]
                asked[stage.tape.action_symbol[i]] *= stage.tape.action_value[i]
        alive = bool(kernel.step(stage.tape, stage.rules, self.account, stage.journal, t))
        fills = engine.fill_rows(stage.journal, stage.market, stage.fill, run_id)
        return Day(
            alive,
            engine.equity_rows(stage.journal, stage.market, t, t + 1, run_id),
            fills,
            engine.flow_rows(stage.journal, stage.market, run_id),
            tuple(self._ended(fills, asked, _least(stage.settings))),
        )

    def _ended(
        self, fills: pa.Table, asked: NDArray[np.float64], least: float | None
    ) -> Iterator[tuple[str, str, str, str]]:
        """What became of orders; one that lacks ``least`` shares or more of what it asked for is not filled."""
        traded: dict[str, float] = {}
        others: dict[str, str] = {}
        for symbol, why, shares in zip(*(fills[n].to_pylist() for n in ("symbol", "reason", "shares")), strict=True):
            if why == house.REASONS[house.REBALANCE]:
                traded[symbol] = traded.get(symbol, 0.0) + shares
            else:
                others[symbol] = why
        waiting = self._waiting()
        for symbol, order_id in list(self.orders.items()):
            if symbol in waiting:
                if symbol in traded:
                    yield symbol, order_id, _PARTIAL, "the rest waits"
                continue
            del self.orders[symbol]
            wanted, got = abs(asked[self.symbols.index(symbol)]), abs(traded.get(symbol, 0.0))
            if symbol in traded and least is not None and wanted - got >= max(least, _SAME * wanted):
                yield symbol, order_id, _EXPIRED, f"{got:,.6g} of {wanted:,.6g} shares; the rest was withdrawn"
            elif symbol in traded:
                yield symbol, order_id, _FILLED, ""
            elif symbol in others:
                yield symbol, order_id, _EXPIRED, f"withdrawn: the position was closed ({others[symbol]})"
            else:
                yield symbol, order_id, _EXPIRED, "nothing was traded: no bar, no cash, or less than a share"

    def decide(self, rows: pa.Table, stage: Stage) -> list[Wanted]:
        """Size a new book on this close; the orders that it takes, of which each has to be given or refused.

        Parameters
        ----------
        rows
            ``date, symbol, weight`` of one date; every symbol has bars.

        Raises
        ------
        DataError
            As :func:`aiquant.backtest.targets.read_targets`.
        """
        from aiquant.backtest import kernel

        told = stage.settings
        known = set(self.symbols)
        read = read_targets(rows, known, stage.sessions, allow_short=told.allow_short, margin=told.margin)
        weights = np.zeros(len(self.symbols))
        weights[[self.symbols.index(symbol) for symbol in read.symbols]] = read.weights[0]
        stage.journal.counts[:] = 0
        kernel.decide(weights, stage.rules, self.account, stage.journal)
        self.orders = {}
        before = np.full(len(weights), np.nan) if self._before is None else self._before
        return [
            Wanted(
                symbol,
                float(self.account.target[j] - self.account.shares[j]),
                float(self.account.shares[j]),
                float(self.account.mark[j]),
                float(before[j]),
                int(self.account.silent[j]),
            )
            for symbol, j in self._waiting().items()
        ]

    def give(self, symbol: str, order_id: str) -> None:
        """Let the order of a symbol wait for its fill."""
        self.orders[symbol] = order_id

    def withdraw(self, symbol: str) -> str | None:
        """Take the order of a symbol back; its id, if it had been given."""
        self.account.target[self.symbols.index(symbol)] = np.nan
        return self.orders.pop(symbol, None)

    def _waiting(self) -> dict[str, int]:
        """Places of the symbols that the kernel holds an order for."""
        return {self.symbols[j]: int(j) for j in np.flatnonzero(~np.isnan(self.account.target))}

    def save(self) -> bytes:
        """All of it, as NumPy's ``.npz``; no pickle."""
        stream = io.BytesIO()
        fields = {f"{_FIELD}{name}": value for name, value in self.account._asdict().items()}
        named = [*self.orders.items()]
        np.savez(
            stream,
            allow_pickle=False,
            symbols=np.array(self.symbols, dtype=np.str_),
            orders=np.array(named, dtype=np.str_).reshape(len(named), 2),
            **fields,
        )
        return stream.getvalue()

    @classmethod
    def load(cls, saved: bytes) -> PaperAccount:
        """What :meth:`save` gave. A field that accounts did not have then begins as in a new account.

        Raises
        ------
        DataError
            When it holds a field that accounts do not have now.
        """
        from aiquant.backtest import kernel

        with np.load(io.BytesIO(saved), allow_pickle=False) as stored:
            symbols = stored["symbols"].tolist()
            orders = {str(symbol): str(order_id) for symbol, order_id in stored["orders"]}
            fields = {n.removeprefix(_FIELD): stored[n] for n in stored.files if n.startswith(_FIELD)}
        account = kernel.open_account(len(symbols), 1.0)
        if unknown := sorted(set(fields) - set(account._fields)):
            raise DataError(
                f"a later version of aiquant has kept this account: it has {', '.join(unknown)}",
                "go on with that version",
            )
        return cls(symbols, account._replace(**fields), orders)

    @staticmethod
    def _by_symbol() -> list[str]:
        """Fields of the kernel's account that have a row for each symbol."""
        from aiquant.backtest import kernel

        two, three = kernel.open_account(2, 1.0), kernel.open_account(3, 1.0)
        return [n for n in two._fields if len(getattr(two, n)) == 2 and len(getattr(three, n)) == 3]


def _least(settings: BacktestSettings) -> float | None:
    """The fewest shares that a bar's volume can leave of an order; None where volume limits nothing."""
    if not settings.participation:
        return None
    return float(settings.lot) if settings.shares == "whole" else 0.0
