"""Ask a strategy day by day, and refuse what is no book: with its file, line and date."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import UsageError
from aiquant.portfolio.strategies.history import History, walk
from aiquant.schemas import TARGET_WEIGHTS, conform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.portfolio.strategies.base import Strategy
    from aiquant.portfolio.strategies.feed import Feed


@dataclass(frozen=True, eq=False)
class Decision:
    """What a strategy decided at one time.

    Attributes
    ----------
    at
        Place of the decision time in the feed.
    columns, weights
        The book: columns of the feed, int64, ascending, and their weights other than 0, float64. None and None where it
        decided nothing.
    """

    at: int
    columns: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None

    def book(self, feed: Feed) -> dict[str, float] | None:
        """The book by symbol."""
        if self.columns is None or self.weights is None:
            return None
        return {feed.symbols[c]: float(w) for c, w in zip(self.columns, self.weights, strict=True)}


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
        When it raises, or gives something that is no book: a weight that is no finite number, a symbol that has had no
        bar yet or stands twice. The message names the file, the line and the date.
    """
    total = (len(feed) if until is None else until + 1) - first
    made = []
    for done, history in enumerate(walk(feed, first, until)):
        if progress is not None and done % 64 == 0:
            progress(done, total)
        made.append(ask(strategy, history, feed, name))
    return made


def ask(strategy: Strategy, history: History, feed: Feed, name: str) -> Decision:
    """What a strategy decides at one time; see :func:`decisions`."""
    try:
        told: object = strategy.decide(history)
    except Exception as error:  # whatever a strategy may raise
        where = _raised_at(strategy, error)
        told_so = str(error) or "without a word"
        raise UsageError(
            f"strategy {name}, {where}, on {history.date}: {type(error).__name__}: {told_so}", "correct it there"
        ) from error
    at = len(history) - 1
    if told is None:
        return Decision(at)
    try:
        columns, weights = _read(told, history, feed, at)
    except ValueError as error:
        raise UsageError(
            f"strategy {name}, {place_of(strategy)}, on {history.date}: {error}",
            "decide gives symbol and weight of the whole book, or None to leave it as it is",
        ) from error
    held = weights != 0.0
    return Decision(at, columns[held], weights[held])


def _read(told: object, history: History, feed: Feed, at: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if isinstance(told, np.ndarray):
        if told.shape != (len(history.symbols),):
            raise ValueError(f"an array of shape {told.shape} is no weight for each of {len(history.symbols)} symbols")
        symbols, columns = history.symbols, np.arange(len(told))
        weights = _numbers(told)
    else:
        symbols, given = _pairs(told)
        weights = _numbers(given)
        places = [feed.place(symbol, at) for symbol in symbols]
        unknown = [symbol for symbol, place in zip(symbols, places, strict=True) if place is None]
        if unknown:
            raise ValueError(f"it holds {unknown[0]!r}, which has had no bar by then")
        columns = np.array(places, dtype=np.int64)
    bad = np.flatnonzero(~np.isfinite(weights))
    if len(bad):
        raise ValueError(f"the weight of {symbols[bad[0]]} is {weights[bad[0]]}, not a finite number")
    order = np.argsort(columns, kind="stable")
    columns, weights = columns[order].astype(np.int64), weights[order]
    twice = np.flatnonzero(columns[1:] == columns[:-1])
    if len(twice):
        raise ValueError(f"{feed.symbols[columns[twice[0]]]} stands twice in it")
    return columns, weights


def _pairs(told: object) -> tuple[tuple[str, ...], Any]:
    if isinstance(told, Mapping):
        return tuple(told), list(told.values())
    frame = pl.DataFrame(pl.from_arrow(told)) if isinstance(told, pa.Table) else told
    if not isinstance(frame, pl.DataFrame):
        raise ValueError(f"it gave {type(told).__name__}, which is no book")
    missing = [column for column in ("symbol", "weight") if column not in frame.columns]
    if missing:
        raise ValueError(f"its table lacks the column(s) {', '.join(missing)}")
    if frame["symbol"].null_count():
        raise ValueError("a row of its table has no symbol")
    return tuple(frame["symbol"].cast(pl.String)), frame["weight"]


def _numbers(told: Any) -> NDArray[np.float64]:
    try:
        if isinstance(told, pl.Series):
            return told.cast(pl.Float64).fill_null(np.nan).to_numpy()
        return np.array([np.nan if each is None else each for each in told], dtype=np.float64)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"its weights are no numbers: {error}") from error


@dataclass
class Decided:
    """The decisions of a walk as tables.

    Attributes
    ----------
    weights
        Table ``target_weights``.
    asked, decided
        At how many times it was asked, and gave a book.
    """

    weights: pa.Table
    asked: int = 0
    decided: int = 0
    first: Any = field(default=None)


def weights_of(made: list[Decision], feed: Feed, run_id: str) -> Decided:
    """Decisions as target weights: a row for each weight other than 0; an empty book is one row of weight 0."""
    books = [d for d in made if d.columns is not None]
    held = [_rows(decision) for decision in books]
    at = np.concatenate([np.full(len(c), d.at) for d, (c, _) in zip(books, held, strict=True)] or [_NO_ROWS])
    columns = np.concatenate([c for c, _ in held] or [_NO_ROWS])
    rows = pa.table(
        {
            "run_id": pa.array([run_id] * len(at), pa.string()),
            "symbol": pa.array(np.array(feed.symbols, dtype=object)[columns], pa.string()),
            "date": pa.array(feed.dates[at], pa.date32()),
            "event_time": pa.array(feed.nows[at], pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
            "weight": np.concatenate([w for _, w in held] or [np.zeros(0)]),
        }
    )
    return Decided(conform(rows, TARGET_WEIGHTS), asked=len(made), decided=len(books))


_NO_ROWS = np.zeros(0, dtype=np.int64)


def _rows(decision: Decision) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    assert decision.columns is not None and decision.weights is not None
    if not len(decision.columns):
        return np.zeros(1, dtype=np.int64), np.zeros(1)
    return decision.columns, decision.weights


def place_of(strategy: object) -> str:
    """File and line of a strategy's ``decide``."""
    function = getattr(type(strategy), "decide", None)
    try:
        assert function is not None
        return f"{_shown(inspect.getsourcefile(function))}:{inspect.getsourcelines(function)[1]}"
    except (OSError, TypeError, AssertionError):
        return f"{type(strategy).__module__}.{type(strategy).__qualname__}"


def _raised_at(strategy: object, error: Exception) -> str:
    """The innermost line of the strategy's own file at which it raised."""
    own = inspect.getsourcefile(type(strategy)) if inspect.getmodule(type(strategy)) else None
    lines = [f for f in traceback.extract_tb(error.__traceback__) if own is not None and f.filename == own]
    return f"{_shown(own)}:{lines[-1].lineno}" if lines else place_of(strategy)


def _shown(file: str | None) -> str:
    path = Path(file or "")
    return f"{path.parent.name}/{path.name}"
