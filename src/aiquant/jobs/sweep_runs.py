"""The accounts of a sweep: by a compiled family where one does the same, else strategy by strategy in processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from aiquant.errors import MissingError
from aiquant.jobs import strategies
from aiquant.jobs.strategies import Chosen, Material
from aiquant.jobs.workspace import Workspace, open_
from aiquant.schemas import BARS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.backtest.kernel import Rules, Tape
    from aiquant.backtest.sweep import Swept

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, eq=False)
class Curve:
    """The account of one parameter set, from its first decision on; empty where it decided nothing.

    Attributes
    ----------
    dates, equity
        ``datetime64[D]`` and float64, shape (t,).
    """

    dates: NDArray[np.datetime64]
    equity: NDArray[np.float64]
    fills: int


def play(
    workspace: Workspace, chosen: Chosen, seen: Material, sets: Sequence[dict[str, Any]], progress: Progress
) -> tuple[str, Iterator[Curve]]:
    """How the sets are played, and the account of each, in their order, a block at a time."""
    family = Family.of(chosen, seen)
    if family is None:
        return "strategy by strategy", _one_by_one(workspace, chosen, seen, sets, progress)
    return "compiled", family.curves(chosen, sets, progress)


@dataclass(frozen=True)
class Family:
    """The built-in ``sma-cross`` on bars that need nothing but a price for each session and symbol."""

    dates: NDArray[np.datetime64]
    tape: Tape
    rules: Rules
    capital: float

    @classmethod
    def of(cls, chosen: Chosen, seen: Material) -> Family | None:
        """The family; None where the strategy is another one, or data or rules ask for more than it knows."""
        from aiquant.backtest import rules as house
        from aiquant.backtest import sweep
        from aiquant.backtest.kernel import Tape

        definition, inputs, settings = chosen.definition, seen.inputs, chosen.settings.backtest
        if (definition.name, definition.origin) != ("sma-cross", "built-in") or inputs.universe is not None:
            return None
        if settings.fill == "vwap":
            return None
        told = pl.DataFrame(inputs.bars.select([*BARS.key, "date", "known_from", "open", "close"]))
        at = inputs.sessions.index_of(told["date"].to_numpy())
        late = (told["known_from"] != told["event_time"]).any()
        if inputs.has_actions or not told["interval"][0].endswith("d") or late or (at < 0).any():
            return None
        names, column = np.unique(told["symbol"].to_numpy().astype(str), return_inverse=True)
        prices = {name: np.full((len(inputs.sessions), len(names)), np.nan) for name in ("open", "close")}
        for name, table in prices.items():
            table[at, column] = told[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        opened = np.isfinite(prices["open"]).any(axis=0)
        if opened.any() != opened.all():
            return None
        rules = house.from_settings(settings, inputs.sessions.per_year)
        if not sweep.plain(rules):
            return None
        none = np.zeros(0, dtype=np.int64)
        tape = Tape(
            fill=prices["open" if opened.all() and settings.fill == "next-open" else "close"],
            close=prices["close"],
            trading=np.isfinite(prices["close"]).any(axis=1),
            action_row=np.zeros(len(inputs.sessions) + 1, dtype=np.int64),
            action_symbol=none,
            action_kind=none,
            action_value=np.zeros(0),
        )
        return cls(inputs.sessions.dates, tape, rules, settings.capital)

    def curves(self, chosen: Chosen, sets: Sequence[dict[str, Any]], progress: Progress) -> Iterator[Curve]:
        """The account of each set."""
        from aiquant.backtest import sweep

        defaults = {p.name: p.default for p in chosen.definition.parameters} | chosen.params
        told = [{**defaults, **params} for params in sets]
        windows = sorted({params[name] for params in told for name in ("fast", "slow")})
        row = {window: i for i, window in enumerate(windows)}
        pairs = np.array([(row[params["fast"]], row[params["slow"]]) for params in told], dtype=np.int64)
        traded = self.tape.trading
        means = np.full((len(windows), *self.tape.close.shape), np.nan)
        means[:, traded] = sweep.averages(self.tape.close[traded], windows)

        def block(begin: int, end: int) -> Swept:
            return sweep.crossings(
                self.tape, means, pairs[begin:end], self.rules, self.capital, curves=True, begin=begin
            )

        limits = chosen.settings.sweep
        for done in sweep.in_blocks(block, len(sets), limits.block, limits.workers):
            progress(done.begin, len(sets))
            for first, fills, equity in zip(done.first, done.fills, done.equity, strict=True):
                yield Curve(self.dates[first:], equity[first:].copy(), int(fills))


@dataclass(frozen=True)
class Task:
    """What another process needs to play sets of its own."""

    root: Path
    overrides: dict[str, str]
    name: str
    params: dict[str, Any]
    run_id: str | None


_HERE: list[tuple[Chosen, Material]] = []
"""In a worker process: what it plays with."""


def _one_by_one(
    workspace: Workspace, chosen: Chosen, seen: Material, sets: Sequence[dict[str, Any]], progress: Progress
) -> Iterator[Curve]:
    workers = min(chosen.settings.sweep.workers, len(sets))
    if workers == 1:
        for done, params in enumerate(sets):
            progress(done, len(sets))
            yield account_of(chosen, seen, params)
        return
    task = Task(workspace.root, workspace.overrides, chosen.definition.name, chosen.params, seen.forecasts_of)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(task,)) as pool:
        try:
            block = workers * chosen.settings.sweep.block  # so that results wait for their reader, not memory
            for begin in range(0, len(sets), block):
                for done, curve in enumerate(pool.map(_played, sets[begin : begin + block]), begin):
                    progress(done, len(sets))
                    yield curve
        except BrokenProcessPool as error:
            raise MissingError(
                "a worker of the sweep was killed", "it may have run out of memory: lower sweep.workers"
            ) from error


def _begin(task: Task) -> None:
    workspace = open_(task.root, task.overrides)
    _HERE[:] = [(strategies.choose(workspace, task.name, task.params), strategies.material(workspace, task.run_id))]


def _played(params: dict[str, Any]) -> Curve:
    return account_of(*_HERE[0], params)


def account_of(chosen: Chosen, seen: Material, params: dict[str, Any]) -> Curve:
    """The account of one set: the strategy asked day by day, its books or orders traded by the engine."""
    from aiquant.backtest import engine
    from aiquant.portfolio.strategies import runner

    inputs, feed = seen.inputs, seen.tables().feed()
    made = runner.decisions(chosen.make(params), feed, chosen.definition.name)
    decided = runner.tables_of(made, feed, "sweep")
    if not decided.decided:
        return Curve(np.zeros(0, dtype="datetime64[D]"), np.zeros(0), 0)
    rules, orders = chosen.settings.backtest, decided.orders
    result = engine.run(decided.weights, inputs.newest, inputs.sessions, rules, "sweep", inputs.actions, orders=orders)
    dates = result.equity["date"].to_numpy().astype("datetime64[D]")
    return Curve(dates, result.equity["equity"].to_numpy(), result.fills.num_rows)
