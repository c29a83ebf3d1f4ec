"""What decided weights would have earned: the way from Arrow tables through the kernel and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest import market as markets
from aiquant.backtest import rules as house
from aiquant.backtest.axis import Axis
from aiquant.backtest.conventions import conventions
from aiquant.backtest.naming import some
from aiquant.backtest.targets import Targets, read_orders, read_targets
from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.schemas import CASH_FLOWS, EQUITY, FILLS, TIME, conform
from aiquant.settings import BacktestSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.backtest.ledger import Account, Journal, Tape


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes
    ----------
    equity
        Table ``equity``: a row for each session from the first decision on.
    path
        The same with a row for each bar; ``equity`` itself where bars are sessions.
    fills
        Table ``fills``, in the order in which they were executed.
    conventions
        Each rule of the account in words, by its name.
    notes
        What the reader of the figures has to know: what was left out, or done differently than asked.
    flows
        Table ``cash_flows``: cash that moved without a trade; with the fills it explains all cash.
    bankrupt
        The session on which equity fell to zero or less, where the run ends; None otherwise.
    """

    equity: pa.Table
    fills: pa.Table
    conventions: dict[str, str]
    notes: tuple[str, ...] = ()
    flows: pa.Table = field(default_factory=lambda: CASH_FLOWS.schema.empty_table())
    bankrupt: date | None = None
    path: pa.Table = field(default_factory=lambda: EQUITY.schema.empty_table(), repr=False)


def run(
    weights: pa.Table | None,
    bars: pa.Table,
    sessions: Sessions,
    settings: BacktestSettings,
    run_id: str = "",
    actions: pa.Table | None = None,
    *,
    last: date | None = None,
    orders: pa.Table | None = None,
    instruments: pa.Table | None = None,
    fx: pa.Table | None = None,
    fill: house.Fill | None = None,
) -> Result:
    """Trade ``weights``, or ``orders`` in shares, on ``bars`` by the rules of :mod:`aiquant.backtest.kernel`.

    Parameters
    ----------
    weights
        At least ``date`` (the session at whose close they are decided), ``symbol``, ``weight`` (fraction of equity). A
        date that is present replaces the whole book; symbols absent from it become 0. On intraday bars decisions with
        an ``event_time`` are made at that moment.
    bars
        Table ``bars``, of one interval, daily or intraday.
    sessions
        At least from the first to the last bar.
    actions
        Table ``corporate_actions``; applied as far as the prices do not contain them already.
    last
        The last session that is played; default: the last that has a bar.
    orders
        Instead of weights: at least ``date``, ``symbol``, ``shares`` (to buy > 0, to sell < 0), decided and timed as
        weights are. An order adds to what waits for its symbol, and nothing else changes.
    instruments
        Table ``instruments``: terms of single symbols.
    fx
        Table ``fx_rates``, needed for instruments whose currency is not that of the account.
    fill
        When orders fill, where an account has settled that already; default: as the settings ask and the bars allow.

    Raises
    ------
    DataError
        When weights, orders, bars or terms are not what they have to be: see :mod:`aiquant.backtest.market`.
    """
    from aiquant.backtest import kernel

    checked = markets.read_bars(bars, sessions, settings)
    known, intraday = set(checked.symbols), not checked.axis.daily
    if orders is not None:
        if weights is not None:
            raise DataError("both weights and orders were given", "give one of them")
        targets = read_orders(orders, known, sessions, intraday=intraday)
    elif weights is not None:
        told = {"allow_short": settings.allow_short, "margin": settings.margin, "intraday": intraday}
        targets = read_targets(weights, known, sessions, **told)
    else:
        raise DataError("there is nothing to trade", "give weights or orders")
    market = markets.lay_out(checked, targets, sessions, settings, last, actions, instruments=instruments, fx=fx)
    chosen, why = market.fill_time((targets.weights != 0).any(axis=0), settings.fill)
    fill, why = (chosen, why) if fill is None else (fill, "")
    rules = rules_of(market, settings, fill)
    tape = tape_of(market, fill)
    decision = _decision_rows(market, targets, checked.axis)
    in_shares = orders is not None
    begun = int(np.argmax(decision >= 0))
    account, journal, played = kernel.play(
        tape, targets.weights, decision, rules, settings.capital, in_shares=in_shares, begin=begun
    )
    bankrupt = market.dates[played - 1].item() if account.equity[0] <= 0 else None
    notes = [*market.notes, *([why] if why else []), *_notes(account, journal, market, played)]
    if rules.whole and market.adjusted:
        notes.append("prices are adjusted: whole shares of them are not the shares that could have been traded")
    said = "none were given"
    if actions is not None:
        said = (
            "before the open, splits first, then dividends on shares held overnight; none on prices that contain them"
        )
    path = equity_rows(journal, market, begun, played, run_id)
    return Result(
        equity=path if market.axis.daily else _by_session(path),
        fills=fill_rows(journal, market, fill, run_id),
        conventions=conventions(
            settings, fill, said, in_shares=in_shares, terms=market.terms.given, interval=checked.interval
        ),
        notes=tuple(notes),
        flows=flow_rows(journal, market, run_id),
        bankrupt=bankrupt,
        path=path,
    )


def rules_of(market: markets.Market, settings: BacktestSettings, fill: house.Fill) -> house.Rules:
    """The rules by which an account trades in ``market``."""
    return house.from_settings(
        settings,
        market.per_year,
        fill,
        bars_a_session=market.axis.bars_a_session,
        terms=market.terms.given,
    )


def tape_of(market: markets.Market, fill: house.Fill) -> Tape:
    """What the account sees of ``market`` when its orders fill at ``fill``."""
    from aiquant.backtest.ledger import Tape

    prices, terms = market.prices, market.terms
    more: dict[str, NDArray[np.float64]] = {}
    if "high" in prices:
        first = np.where(np.isfinite(prices["open"]), prices["open"], prices["close"])
        more.update(open=first, high=prices["high"], low=prices["low"])
    if "volume" in prices:
        more.update(volume=np.nan_to_num(prices["volume"], nan=0.0))
    if {"borrow_bps", "locate"} & {*terms.given}:
        more.update(borrow=terms.borrow_bps / 10_000 / market.per_year, locate=terms.locate)
    return Tape(
        fill=prices[fill.removeprefix("next-")],
        close=prices["close"],
        trading=market.trading,
        action_row=np.searchsorted(market.actions[:, 0], np.arange(len(market.dates) + 1)).astype(np.int64),
        action_symbol=market.actions[:, 1].astype(np.int64),
        action_kind=market.actions[:, 2].astype(np.int64),
        action_value=np.ascontiguousarray(market.actions[:, 3]),
        slippage=market.slippage,
        impact=market.impact,
        lot=terms.lot,
        session_end=market.axis.session_end,
        **more,
    )


def _decision_rows(market: markets.Market, targets: Targets, whole: Axis) -> NDArray[np.int64]:
    """For each bar of the market the row of the decision that is made at its close, −1 for none."""
    first = int(np.searchsorted(whole.closes, market.closes[0]))
    at = whole.places(targets) - first
    rows = np.full(len(market.dates), -1, dtype=np.int64)
    inside = at < len(rows)
    rows[at[inside]] = np.flatnonzero(inside)
    return rows


def _notes(account: Account, journal: Journal, market: markets.Market, played: int) -> list[str]:
    from aiquant.backtest.ledger import LIMITED, PARTIAL, UNLOCATED

    notes = []
    unpriced, waiting = int(journal.counts[2]), int((~np.isnan(account.target)).sum())
    if account.equity[0] <= 0:
        notes.append(f"bankrupt on {market.dates[played - 1]}: all positions were closed and the run ended")
    if unpriced:
        notes.append(f"{unpriced} target(s) had no price at their decision and were not traded")
    if journal.counts[4]:
        notes.append(f"{journal.counts[4]} order(s) found no bar for {house.PATIENCE} sessions and were withdrawn")
    for place, told in (
        (LIMITED, "decision(s) were cut to the limits of position or exposure"),
        (UNLOCATED, "sale(s) were cut to what could be borrowed"),
        (PARTIAL, "fill(s) were cut to their share of the bar's volume"),
    ):
        if journal.counts[place]:
            notes.append(f"{journal.counts[place]} {told}")
    if waiting:
        notes.append(f"{waiting} order(s) still waited for a bar when the run ended")
    reasons = journal.fills[: journal.counts[0], 6]
    stale = int((reasons == house.STALE).sum())
    if stale:
        notes.append(
            f"{stale} position(s) were closed at their last close after {house.PATIENCE} sessions without a bar"
        )
        notes += _overpaid(journal.fills[: journal.counts[0]][reasons == house.STALE], market)
    return notes


def _overpaid(stale: NDArray[np.float64], market: markets.Market) -> list[str]:
    """Notes on positions that were closed at their last close though a delisting settled them at less later on."""
    gone = market.actions[market.actions[:, 2] == house.DELISTING_ACTION]
    lost: dict[str, float] = {}
    for bar, symbol, shares, price in stale[:, :4]:
        paid = gone[(gone[:, 1] == symbol) & (gone[:, 0] > bar)][:1, 3]
        if len(paid) and paid[0] < price:
            name = market.symbols[int(symbol)]
            lost[name] = lost.get(name, 0.0) - shares * (price - paid[0])  # the fill sells what was held
    if not lost:
        return []
    return [
        f"{some(list(lost))} did not trade until the delisting, which paid less than the last close: held on to, the "
        f"position(s) would have ended {sum(lost.values()):,.2f} lower"
    ]


def _stamps(values: NDArray[np.datetime64]) -> pa.Array:
    return pa.array(values.astype("datetime64[us]"), pa.timestamp("us")).cast(TIME)


def _by_session(path: pa.Table) -> pa.Table:
    """The row of each session's last bar, with the turnover and the costs of all of them."""
    frame = pl.DataFrame(pl.from_arrow(path))
    summed = [pl.col(name).sum() for name in ("turnover", "costs")]
    rest = [pl.col(name).last() for name in frame.columns if name not in ("date", "turnover", "costs")]
    return conform(frame.group_by("date", maintain_order=True).agg(*rest, *summed).to_arrow(), EQUITY)


def equity_rows(journal: Journal, market: markets.Market, begun: int, played: int, run_id: str) -> pa.Table:
    book = journal.book[begun:played]
    names = ("equity", "cash", "gross_exposure", "net_exposure", "turnover", "costs")
    columns = {
        "run_id": pa.array([run_id] * len(book), pa.string()),
        "date": pa.array(market.dates[begun:played], pa.date32()),
        "event_time": _stamps(market.closes[begun:played]),
        **{name: pa.array(np.ascontiguousarray(book[:, i])) for i, name in enumerate(names)},
    }
    return conform(pa.table(columns), EQUITY)


def fill_rows(journal: Journal, market: markets.Market, fill: house.Fill, run_id: str) -> pa.Table:
    done = journal.fills[: journal.counts[0]]
    session, symbol, reason = (done[:, i].astype(np.int64) for i in (0, 1, 6))
    at_open = (reason == house.REBALANCE) & (fill == "next-open")
    columns = {
        "run_id": _named(np.zeros(len(done), np.int64), [run_id]),
        "symbol": _named(symbol, market.symbols),
        "date": pa.array(market.dates[session], pa.date32()),
        "event_time": _stamps(np.where(at_open, market.opens[session], market.closes[session])),
        **{
            name: pa.array(np.ascontiguousarray(done[:, i]))
            for i, name in enumerate(("shares", "price", "commission", "slippage"), start=2)
        },
        "reason": _named(reason, list(house.REASONS)),
    }
    return conform(pa.table(columns), FILLS)


def flow_rows(journal: Journal, market: markets.Market, run_id: str) -> pa.Table:
    moved = journal.flows[: journal.counts[1]]
    session, symbol, kind = (moved[:, i].astype(np.int64) for i in (0, 1, 2))
    columns = [
        _named(np.zeros(len(moved), np.int64), [run_id]),
        pa.array(market.dates[session], pa.date32()),
        _named(symbol, market.symbols, symbol < 0),
        _named(kind, list(house.FLOWS)),
        pa.array(np.ascontiguousarray(moved[:, 3])),
    ]
    return pa.Table.from_arrays(columns, schema=CASH_FLOWS.schema)


def _named(codes: NDArray[np.int64], names: list[str], null: NDArray[np.bool_] | None = None) -> pa.Array:
    indices = pa.array(codes, pa.int32(), mask=null)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())).cast(pa.string())
