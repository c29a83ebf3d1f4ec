"""Is the account what the backtest of the same days says? To the cent, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from aiquant.errors import MissingError, Unreachable
from aiquant.jobs import pipeline, tables, trade_book, trade_market
from aiquant.jobs.trade_book import ORDER, SESSION, TARGET
from aiquant.jobs.workspace import Workspace, write_text
from aiquant.settings import BacktestSettings

if TYPE_CHECKING:
    from aiquant.backtest.engine import Result
    from aiquant.backtest.rules import Fill

CENT = 0.005
"""Half of the smallest unit of money: what differs by less is the same amount."""

MONEY = ("equity", "cash", "costs")


@dataclass
class Reconciled:
    """An account beside the backtest of the same days: same decisions, rules and bars.

    Attributes
    ----------
    equal
        Whether all money and all shares are the same, to the cent.
    identical
        Whether they are to the last bit.
    difference
        The largest difference of equity, in currency.
    since
        The first session that differs.
    fills, odd_fills
        Fills of the account; and those that only one side has, or that differ.
    corrected
        What later corrections of bars would have changed: the largest difference of equity between the backtests on
        the bars as they were seen, and as they are now. None where the bars as they were seen are gone: then the
        comparison is with the bars as they are now.
    reasons
        What can make a difference, counted.
    days
        Sessions that differ, 20 at most: date, equity of the account, of the backtest, difference.
    """

    account: str
    first: date
    last: date
    sessions: int
    equal: bool
    identical: bool
    difference: float
    since: date | None
    equity: float
    backtest: float
    fills: int
    odd_fills: int
    corrected: float | None
    reasons: list[str] = field(default_factory=list)
    days: list[tuple[date, float, float, float]] = field(default_factory=list)
    curve: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """All but the curves, for JSON."""
        return {name: value for name, value in vars(self).items() if name != "curve"}

    def sentence(self) -> str:
        """The answer in one sentence."""
        span = f"{self.sessions:,} session(s) from {self.first} to {self.last}, {self.fills:,} fills"
        if self.equal:
            bits = "to the last bit" if self.identical else "to the cent"
            return f"Equal {bits}: {span}; equity {self.equity:,.2f}."
        return (
            f"DIFFERENT by up to {self.difference:,.2f} since {self.since or self.last}: {span}, {self.odd_fills:,} of "
            f"them odd; equity {self.equity:,.2f}, backtest {self.backtest:,.2f}."
        )


def reconcile(workspace: Workspace, account: str) -> Reconciled:
    """Compare an account with the backtest of its days.

    Raises
    ------
    MissingError
        When there is no such account, or it has decided nothing yet.
    """
    lake = workspace.lake
    trade_book.demand(lake, account)
    book = trade_book.Book(workspace, account)
    assert book.opening is not None and book.last is not None
    rules = BacktestSettings(**{**book.opening["rules"], "capital": book.opening["capital"]})
    targets = trade_book.rows(lake, account, [TARGET], ["date", "symbol", "weight"])
    if targets.is_empty():
        raise MissingError(f"account {account!r} has decided nothing yet", "let it trade a session with a decision")
    now = trade_market.look(workspace)
    sessions = trade_book.rows(lake, account, [SESSION], ["date", "bars_version"])
    seen = trade_market.as_seen(workspace, sessions.iter_rows())
    day, fill = book.last, book.opening.get("fill")

    def backtest(bars: pa.Table) -> Result:
        return _backtest(targets, bars, now.actions, rules, day, fill, workspace)

    again = backtest(seen if seen is not None else now.bars)
    made = _compare(account, lake, targets["date"].min(), again)
    if seen is not None and not seen.equals(now.bars):
        corrected = backtest(now.bars)
        made.corrected = _apart(_equity(corrected), _equity(again))[0]
        if made.corrected:
            made.reasons.append(f"bars were corrected or came late: worth up to {made.corrected:,.2f} of equity")
    elif seen is None:
        made.corrected = None
        made.reasons.append("the bars as they were seen are no longer in the lake: compared with those of now")
    made.reasons += _refusals(lake, account)
    return made


def _backtest(
    targets: pl.DataFrame,
    bars: pa.Table,
    actions: pa.Table | None,
    rules: BacktestSettings,
    last: date,
    fill: Fill | None,
    workspace: Workspace,
) -> Result:
    from aiquant.backtest import engine

    inside = bars.filter(pc.less_equal(bars["date"], pa.scalar(last, pa.date32())))
    sessions = pipeline.sessions_of(inside, workspace.settings.data.calendar)
    return engine.run(targets.to_arrow(), inside, sessions, rules, actions=actions, last=last, fill=fill)


def _compare(account: str, lake: Any, begun: Any, again: Result) -> Reconciled:
    own = trade_book.equity(lake, account).filter(pl.col("date") >= begun)
    theirs = _equity(again)
    difference, curve = _apart(own, theirs)
    apart = curve.filter((pl.col("difference").abs() >= CENT) | pl.col("difference").is_null())
    facts = [
        (own, theirs, ["date"]),
        (trade_book.fills(lake, account), _of(again.fills), ["symbol", "event_time", "reason"]),
        (trade_book.flows(lake, account), _of(again.flows), ["date", "symbol", "kind"]),
    ]
    odd = [_odd(*fact, tolerance=CENT) for fact in facts]
    exact = [_odd(*fact, tolerance=0.0) for fact in facts]
    last = own.row(-1, named=True)
    return Reconciled(
        account=account,
        first=begun,
        last=last["date"],
        sessions=len(own),
        equal=not any(odd) and apart.is_empty(),
        identical=not any(exact),
        difference=difference,
        since=None if apart.is_empty() else apart["date"][0],
        equity=last["equity"],
        backtest=theirs["equity"][-1],
        fills=len(facts[1][0]),
        odd_fills=odd[1],
        corrected=0.0,
        days=[tuple(row) for row in apart.head(20).iter_rows()],
        curve=curve,
    )


def _odd(own: pl.DataFrame, theirs: pl.DataFrame, key: list[str], tolerance: float) -> int:
    """Rows that only one side has, or whose numbers are further apart than ``tolerance``."""
    numbers = [n for n, kind in theirs.schema.items() if kind == pl.Float64]
    both = own.join(theirs, on=key, how="full", suffix="__again", nulls_equal=True, coalesce=False)
    apart = [
        ((pl.col(n) - pl.col(f"{n}__again")).abs() > tolerance) | pl.col(n).is_null() | pl.col(f"{n}__again").is_null()
        for n in numbers
    ]
    return both.filter(pl.any_horizontal(apart)).height


def _apart(own: pl.DataFrame, theirs: pl.DataFrame) -> tuple[float, pl.DataFrame]:
    """The largest difference of equity; and ``date, equity, backtest, difference``."""
    told = theirs.select("date", backtest="equity")
    both = own.select("date", "equity").join(told, on="date", how="full", coalesce=True).sort("date")
    curve = both.with_columns(difference=pl.col("equity") - pl.col("backtest"))
    most: Any = curve["difference"].abs().max()
    return float(most or 0.0), curve


def _equity(result: Result) -> pl.DataFrame:
    return _of(result.equity)


def _of(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table)).drop("run_id")


def _refusals(lake: Any, account: str) -> list[str]:
    """Orders that were not given or were taken back here, which the backtest knows nothing of."""
    said = trade_book.rows(lake, account, [ORDER], ["status", "reason"])
    stopped = said.filter(pl.col("status").is_in(["refused", "cancelled", "rejected"]))
    kinds = stopped.with_columns(why=pl.col("reason").fill_null("").str.split(":").list.first())
    counted = kinds.group_by("status", "why").len().sort("status", "why")
    return [f"{count:,} order(s) {status}: {why}" for status, why, count in counted.iter_rows()]


def write(made: Reconciled, path: Path) -> None:
    """Write both curves to a file, or with the ending ``.html`` draw them.

    Raises
    ------
    UsageError
        When the ending is not known.
    Unreachable
        When the file cannot be written.
    """
    if path.suffix.lower() == ".html":
        from aiquant.backtest.figures_reconciliation import reconciliation

        write_text(path, reconciliation(made.curve, made.account).to_html(include_plotlyjs=True))
    else:
        tables.write(made.curve.to_arrow(), path)


def measure(made: Reconciled, path: Path) -> None:
    """Put the difference into a file that Prometheus' node exporter reads.

    Raises
    ------
    Unreachable
        When the file cannot be written.
    """
    from aiquant.streams.metrics import TradeMetrics

    metrics = TradeMetrics()
    metrics.difference.labels(made.account).set(made.difference)
    metrics.equity.labels(made.account).set(made.equity)
    try:
        metrics.write(path)
    except OSError as error:
        raise Unreachable(f"{path}: cannot be written: {error.strerror}", "name a file that you may write") from error
