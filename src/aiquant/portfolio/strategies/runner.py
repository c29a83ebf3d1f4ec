"""Ask a strategy day by day, and refuse what is neither a book nor orders: with its file, line and date."""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import UsageError
from aiquant.portfolio.strategies.history import History, walk
from aiquant.schemas import ORDERS, TARGET_WEIGHTS, conform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.portfolio.strategies.base import Strategy
    from aiquant.portfolio.strategies.feed import Feed


Unit: TypeAlias = Literal["weight", "shares"]
"""What a strategy decides in: weights of a whole book, or orders in shares."""


@dataclass(frozen=True)
class Wanted:
    """A book of weights, or orders in shares, by symbol."""

    unit: Unit
    amounts: dict[str, float]


@dataclass(frozen=True, eq=False)
class Decision:
    """What a strategy decided at one time.

    Attributes
    ----------
    at
        Place of the decision time in the feed.
    columns, amounts
        Columns of the feed, int64, ascending, and their weights, or signed shares, other than 0, float64. None and None
        where it decided nothing.
    unit
        What the amounts are.
    """

    at: int
    columns: NDArray[np.int64] | None = None
    amounts: NDArray[np.float64] | None = None
    unit: Unit = "weight"

    def wanted(self, feed: Feed) -> Wanted | None:
        """The book, or the orders, by symbol; None where it decided nothing."""
        if self.columns is None or self.amounts is None:
            return None
        pairs = zip(self.columns, self.amounts, strict=True)
        return Wanted(self.unit, {feed.symbols[c]: float(amount) for c, amount in pairs})


def decisions(
    strategy: Strategy,
    feed: Feed,
    name: str,
    *,
    first: int = 0,
    until: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> list[Decision]:
    """Ask a strategy at each decision time from ``first`` to ``until``, both included.

    Raises
    ------
    UsageError
        When it raises, or gives what is neither a book nor orders: an amount that is no finite number, a symbol that
        has had no bar yet or stands twice; or gives weights at one time and shares at another. The message names the
        file, the line and the date.
    """
    total = (len(feed) if until is None else until + 1) - first
    made: list[Decision] = []
    unit: Unit | None = None
    for done, history in enumerate(walk(feed, first, until)):
        if progress is not None and done % 64 == 0:
            progress(done, total)
        decision = ask(strategy, history, feed, name)
        made.append(decision)
        if decision.columns is None:
            continue
        if unit not in (None, decision.unit):
            raise UsageError(
                f"strategy {name}, {place_of(strategy)}, on {history.date}: it gives {decision.unit}, and gave {unit} "
                "before",
                "give weights at every time, or shares at every time",
            )
        unit = decision.unit
    return made


def ask(strategy: Strategy, history: History, feed: Feed, name: str) -> Decision:
    """What a strategy decides at one time; see :func:`decisions`."""
    try:
        with redirect_stdout(sys.stderr):  # what a strategy prints must not stand in the answer of a verb
            told: object = strategy.decide(history)
    except (Exception, SystemExit) as error:  # whatever a strategy may raise
        where = _raised_at(strategy, error)
        told_so = str(error) or "without a word"
        raise UsageError(
            f"strategy {name}, {where}, on {history.date}: {type(error).__name__}: {told_so}", "correct it there"
        ) from error
    at = len(history) - 1
    if told is None:
        return Decision(at)
    try:
        columns, amounts, unit = _read(told, history, feed, at)
    except ValueError as error:
        raise UsageError(
            f"strategy {name}, {place_of(strategy)}, on {history.date}: {error}",
            "decide gives symbol and weight of the whole book, symbol and shares of orders, or None",
        ) from error
    some = amounts != 0.0
    if unit == "shares" and not some.any():
        return Decision(at)
    return Decision(at, columns[some], amounts[some], unit)


def _read(told: object, history: History, feed: Feed, at: int) -> tuple[NDArray[np.int64], NDArray[np.float64], Unit]:
    unit: Unit = "weight"
    if isinstance(told, np.ndarray):
        if told.shape != (len(history.symbols),):
            raise ValueError(f"an array of shape {told.shape} is no weight for each of {len(history.symbols)} symbols")
        symbols, columns = history.symbols, np.arange(len(told))
        amounts = _numbers(told, unit)
    else:
        symbols, given, unit = _pairs(told)
        amounts = _numbers(given, unit)
        places = [feed.place(symbol, at) for symbol in symbols]
        unknown = [symbol for symbol, place in zip(symbols, places, strict=True) if place is None]
        if unknown:
            verb = "holds" if unit == "weight" else "orders"
            raise ValueError(f"it {verb} {unknown[0]!r}, which has had no bar by then")
        columns = np.array(places, dtype=np.int64)
    bad = np.flatnonzero(~np.isfinite(amounts))
    if len(bad):
        raise ValueError(f"the {unit} of {symbols[bad[0]]} is {amounts[bad[0]]}, not a finite number")
    order = np.argsort(columns, kind="stable")
    columns, amounts = columns[order].astype(np.int64), amounts[order]
    twice = np.flatnonzero(columns[1:] == columns[:-1])
    if len(twice):
        raise ValueError(f"{feed.symbols[columns[twice[0]]]} stands twice in it")
    return columns, amounts, unit


def _pairs(told: object) -> tuple[tuple[str, ...], Any, Unit]:
    if isinstance(told, Mapping):
        return tuple(told), list(told.values()), "weight"
    frame = pl.DataFrame(pl.from_arrow(told)) if isinstance(told, pa.Table) else told
    if not isinstance(frame, pl.DataFrame):
        raise ValueError(f"it gave {type(told).__name__}, which is no book")
    units: list[Unit] = [unit for unit in ("weight", "shares") if unit in frame.columns]
    missing = ["symbol"] * ("symbol" not in frame.columns) + ["weight or shares"] * (not units)
    if missing:
        raise ValueError(f"its table lacks the column(s) {', '.join(missing)}")
    if len(units) > 1:
        raise ValueError("its table has both weight and shares")
    if frame["symbol"].null_count():
        raise ValueError("a row of its table has no symbol")
    return tuple(frame["symbol"].cast(pl.String)), frame[units[0]], units[0]


def _numbers(told: Any, unit: Unit) -> NDArray[np.float64]:
    try:
        if isinstance(told, pl.Series):
            return told.cast(pl.Float64).fill_null(np.nan).to_numpy()
        return np.array([np.nan if each is None else each for each in told], dtype=np.float64)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        named = "weights" if unit == "weight" else unit
        raise ValueError(f"its {named} are no numbers: {error}") from error


@dataclass(frozen=True)
class Decided:
    """The decisions of a walk as a table.

    Attributes
    ----------
    rows
        Table ``target_weights``, or ``orders``.
    unit
        Which of the two.
    asked, decided
        At how many times it was asked, and gave a book or orders.
    """

    rows: pa.Table
    unit: Unit
    asked: int
    decided: int

    @property
    def weights(self) -> pa.Table | None:
        """Target weights; None where shares were ordered."""
        return self.rows if self.unit == "weight" else None

    @property
    def orders(self) -> pa.Table | None:
        """Orders in shares; None where weights were decided."""
        return self.rows if self.unit == "shares" else None


def tables_of(made: list[Decision], feed: Feed, run_id: str) -> Decided:
    """Decisions of one unit as a table: a row for each amount other than 0; an empty book is one row of weight 0."""
    told = [d for d in made if d.columns is not None]
    unit: Unit = told[0].unit if told else "weight"
    held = [_rows(decision) for decision in told]
    at = np.concatenate([np.full(len(c), d.at) for d, (c, _) in zip(told, held, strict=True)] or [_NO_ROWS])
    columns = np.concatenate([c for c, _ in held] or [_NO_ROWS])
    rows = {
        "run_id": pa.array([run_id] * len(at), pa.string()),
        "symbol": pa.array(np.array(feed.symbols, dtype=object)[columns], pa.string()),
        "date": pa.array(feed.dates[at], pa.date32()),
        "event_time": pa.array(feed.nows[at], pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
        unit: np.concatenate([amounts for _, amounts in held] or [np.zeros(0)]),
    }
    if unit == "shares":
        named = zip(feed.nows[at], rows["symbol"].to_pylist(), strict=True)
        rows["order_id"] = pa.array([_order_id(run_id, now, symbol) for now, symbol in named], pa.string())
    table = conform(pa.table(rows), ORDERS if unit == "shares" else TARGET_WEIGHTS)
    return Decided(table, unit, asked=len(made), decided=len(told))


_NO_ROWS = np.zeros(0, dtype=np.int64)


def _rows(decision: Decision) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    assert decision.columns is not None and decision.amounts is not None
    if not len(decision.columns):
        return np.zeros(1, dtype=np.int64), np.zeros(1)
    return decision.columns, decision.amounts


def _order_id(run_id: str, now: np.datetime64, symbol: str) -> str:
    return hashlib.sha256(f"{run_id} {now} {symbol}".encode()).hexdigest()[:16]


def place_of(strategy: object) -> str:
    """File and line of a strategy's ``decide``."""
    function = getattr(type(strategy), "decide", None)
    try:
        assert function is not None
        return f"{_shown(inspect.getsourcefile(function))}:{inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError, AssertionError):
        return f"{type(strategy).__module__}.{type(strategy).__qualname__}"


def _raised_at(strategy: object, error: BaseException) -> str:
    """The innermost line of the strategy's own file at which it raised."""
    own = inspect.getsourcefile(type(strategy)) if inspect.getmodule(type(strategy)) else None
    lines = [f for f in traceback.extract_tb(error.__traceback__) if own is not None and f.filename == own]
    return f"{_shown(own)}:{lines[-1].lineno}" if lines else place_of(strategy)


def _shown(file: str | None) -> str:
    path = Path(file or "")
    return f"{path.parent.name}/{path.name}"
