"""Computes a set of features on bars: the one way in which features are made.

The graph is computed for a few symbols at a time, so that what lies between bars and features stays in the processor's
cache and memory is little more than the result. Nodes that compare symbols (``CSRank`` …) are the exception: what they
compare is computed first, chunk by chunk, into one column for all symbols; their result is then read by the following
stage. A set with many of them is computed in portions of features, so that few such columns stand at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.calendars import Sessions
from aiquant.features import (
    adjustments,
    crosssection,
    elementwise,
    grid,
    insession,
    placing,
    planning,
    programs,
    rolling,
)
from aiquant.features.catalogue import FeatureSet
from aiquant.features.expressions import Expression
from aiquant.schemas import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

STAGED_BYTES = 2 << 30
"""What the columns of cross-sections may take; features that need more are computed in portions, one after another."""
CHUNK_CELLS = 10_000
"""Cells that are computed at a time; some 80 kB for each value in between."""


def compute(
    feature_set: FeatureSet,
    bars: pa.Table,
    sessions: Sessions,
    actions: pa.Table | None = None,
    qlib_compat: bool = False,
    *,
    dividends: bool = False,
    since: date | None = None,
    history: grid.History | None = None,
    threads: int | None = None,
) -> pa.Table:
    """Features of every bar.

    Parameters
    ----------
    feature_set
        From :func:`aiquant.features.catalogue.get`.
    bars
        Rows of :data:`aiquant.schemas.BARS` of one interval.
    sessions
        The sessions of their exchange, covering all bars.
    actions
        Rows of :data:`aiquant.schemas.CORPORATE_ACTIONS`; see :mod:`aiquant.features.adjustments`.
    qlib_compat
        Qlib's behaviour where it is a trap (:mod:`aiquant.features.operators`), windows that need one value only.
    dividends
        Count dividends in prices as well (total return).
    since
        Give rows of this date and later ones only; older bars are looked back at. The values are those of a computation
        of all rows, at a price that follows the number of new ones.
    history
        Where bars that lie too far back for the rows since then are left out: what there was before.
    threads
        Threads over chunks of symbols; default: as many as there are cores. The values do not depend on it.

    Returns
    -------
    pyarrow.Table
        :data:`aiquant.schemas.FEATURES` and one float32 column a feature, one row a bar, sorted by symbol and
        event_time; ``known_from`` is the event_time. What has no value is NaN, never null.

    Raises
    ------
    DataError
        When bars are mixed, stand twice or lie outside of the sessions: see :func:`aiquant.features.grid.build`.
    """
    laid = adjustments.apply(grid.build(bars, sessions, history), actions, dividends)
    roots = [feature.expression for feature in feature_set.features]
    policy = rolling.Policy(partial=qlib_compat or feature_set.partial_windows, compat=qlib_compat)
    wanted = np.arange(laid.rows.height)
    if since is not None:
        wanted = np.flatnonzero(laid.rows["date"].to_numpy() >= np.datetime64(since, "D"))
    work = _Work(laid, wanted, policy, threads or os.cpu_count() or 1)
    out = np.empty((len(roots), len(wanted)), dtype=np.float32)
    for first, last in planning.portions(roots, STAGED_BYTES // (16 * max(laid.size, 1))):
        work.stage_cross_sections(roots[first:last])
        work.run(roots[first:last], out[first:last])
    rows = laid.rows.select("symbol", "date", "event_time", pl.col("event_time").alias("known_from"))
    columns = (rows if since is None else rows[wanted]).to_arrow().cast(FEATURES.schema)
    features = [pa.Array.from_buffers(pa.float32(), len(row), [None, pa.py_buffer(row)]) for row in out]
    fields = [pa.field(feature.name, pa.float32(), nullable=False) for feature in feature_set.features]
    return pa.Table.from_arrays([*columns.columns, *features], schema=pa.schema([*FEATURES.schema, *fields]))


@dataclass
class _Work:
    """One computation: the bars, the rows that are wanted, and the columns of cross-sections that are ready."""

    laid: grid.Grid
    wanted: NDArray[np.int64]
    policy: rolling.Policy
    threads: int

    def __post_init__(self) -> None:
        self.ready: dict[str, NDArray[np.float64]] = {}
        self.wanted_starts = np.searchsorted(self.wanted, self.laid.row_starts)
        every = len(self.wanted) == len(self.laid.cell)
        cell = self.laid.cell if every else self.laid.cell[self.wanted]
        breaks = np.flatnonzero(np.diff(cell) != 1) + 1
        # Rows between which cells stand without a gap; each symbol begins a run.
        self.edges = np.unique(np.concatenate([self.wanted_starts, breaks])).astype(np.int64)
        self.run_cells = cell[self.edges[:-1]]
        self.spare: list[NDArray[np.float64]] = []

    @cached_property
    def dates(self) -> crosssection.Dates:
        """The cells that have a bar, date by date."""
        return crosssection.Dates.of(self.laid.slot, self.laid.cell)

    @cached_property
    def age(self) -> NDArray[np.int64]:
        """Slots since its symbol's first bar of each cell."""
        return self.laid.age()

    def stage_cross_sections(self, roots: list[Expression]) -> None:
        """Compute the nodes that compare symbols, level by level: all that a level compares in one run."""
        self.ready.clear()
        for nodes in planning.cross_levels(roots):
            args = list({arg.digest: arg for node in nodes for arg in node.args}.values())
            columns = np.empty((len(args), self.laid.size))
            self.run_columns(args, columns)
            if not self.policy.partial:
                for arg, column in zip(args, columns, strict=True):
                    column[self.age < arg.slots(self.laid.axis.per_session)] = np.nan
            by_digest = {arg.digest: column for arg, column in zip(args, columns, strict=True)}
            for node in nodes:
                series = [by_digest[arg.digest] for arg in node.args]
                self.ready[node.digest] = crosssection.compute(node, series, self.dates)

    def _plan(self, roots: list[Expression], skip: int = 0, keep: bool = False) -> placing.Plan:
        return planning.plan(roots, frozenset(self.ready), self.policy, self.laid.axis.per_session, skip, keep)

    def run_columns(self, roots: list[Expression], out: NDArray[np.float64]) -> None:
        """Compute ``roots`` in all cells; ``out``, float64 (roots, cells), is filled."""
        plan = self._plan(roots, keep=True)

        def compute_chunk(symbols: tuple[int, int]) -> None:
            chunk = _Chunk(self, *symbols)
            values = chunk.run(plan, np.empty((0, 0), dtype=np.float32))
            out[:, chunk.begin : chunk.end] = values[list(plan.results)]
            self.spare.append(chunk.memory)

        self._each_chunk(compute_chunk)

    def run(self, roots: list[Expression], out: NDArray[np.float32]) -> None:
        """Compute ``roots`` for the wanted rows; ``out``, float32 (roots, rows), is filled."""

        @cache
        def plan(skip: int) -> placing.Plan:
            return self._plan(roots, skip)

        def compute_chunk(symbols: tuple[int, int]) -> None:
            chunk = _Chunk(self, *symbols)
            if chunk.rows.start < chunk.rows.stop:
                chunk.run(plan(chunk.skip), out)
                self.spare.append(chunk.memory)

        self._each_chunk(compute_chunk)

    def _each_chunk(self, function: Callable[[tuple[int, int]], None]) -> None:
        chunks = self._chunks()
        if len(chunks) <= 1 or self.threads == 1:
            for symbols in chunks:
                function(symbols)
            return
        with ThreadPoolExecutor(min(self.threads, len(chunks))) as pool:
            list(pool.map(function, chunks))

    def _chunks(self) -> list[tuple[int, int]]:
        """Ranges of symbols of about :data:`CHUNK_CELLS` cells."""
        starts = self.laid.starts
        ranges: list[tuple[int, int]] = []
        first = 0
        while first < len(starts) - 1:
            last = int(np.searchsorted(starts, starts[first] + CHUNK_CELLS, side="right")) - 1
            last = min(max(last, first + 1), len(starts) - 1)
            ranges.append((first, last))
            first = last
        return ranges


class _Chunk:
    """Some symbols, and the values of their cells that are still needed."""

    def __init__(self, work: _Work, first: int, last: int) -> None:
        self.work = work
        laid = work.laid
        self.first, self.last = first, last
        self.begin, self.end = int(laid.starts[first]), int(laid.starts[last])
        self.rows = slice(int(work.wanted_starts[first]), int(work.wanted_starts[last]))
        self.starts = laid.starts[first : last + 1] - self.begin
        runs = np.searchsorted(work.edges, [self.rows.start, self.rows.stop])
        self.edges = work.edges[runs[0] : runs[1] + 1] - self.rows.start
        self.run_cells = work.run_cells[runs[0] : runs[1]] - self.begin
        self.ages = laid.before[first:last]
        self.memory = work.spare.pop() if work.spare else np.empty(0)

    @property
    def skip(self) -> int:
        """Leading cells of each symbol of which no row is wanted."""
        head = self.starts[np.searchsorted(self.starts, self.run_cells, side="right") - 1]
        return int((self.run_cells - head).min())

    def run(self, plan: placing.Plan, out: NDArray[np.float32]) -> NDArray[np.float64]:
        """Take the steps of a plan; returns the values that stand at its end, (rows of the plan, cells)."""
        size = self.end - self.begin
        if len(self.memory) < plan.rows * size:
            # Kept from chunk to chunk: memory that is new to the process costs more than what is written to it.
            self.memory = np.empty(plan.rows * size)
        values = self.memory[: plan.rows * size].reshape(plan.rows, size)
        with np.errstate(all="ignore"):
            for step in plan.steps:
                self._take(step, values, out)
        return values

    def _take(self, step: placing.Step, values: NDArray[np.float64], out: NDArray[np.float32]) -> None:
        compat = self.work.policy.compat
        if isinstance(step, placing.Roll):
            step.kernel([values[row] for row in step.args], self.starts, step.skip, values[step.rows])
        elif isinstance(step, placing.Program):
            from aiquant.features.kernels.programs import run_program

            where = (self.starts, self.ages, step.skip, self.edges, self.run_cells)
            run_program(step.code, step.constants, values, *where, not compat, out, self.rows.start)
        elif isinstance(step, placing.Call):
            values[step.row] = self._call(step, values)
        else:
            values[step.row] = self._column(step.node)

    def _column(self, node: Expression) -> NDArray[Any]:
        if node.digest in self.work.ready:
            return self.work.ready[node.digest][self.begin : self.end]
        column = self.work.laid.column(node.name, self.first, self.last)
        return column.astype(np.float32) if self.work.policy.compat else column

    def _call(self, step: placing.Call, values: NDArray[np.float64]) -> Any:
        args = {
            digest: values[arg.row].astype(arg.kind, copy=False) if isinstance(arg, placing.Column) else arg
            for digest, arg in step.args.items()
        }
        node = step.node
        family = planning.family(node)
        if family == "session":
            laid = self.work.laid
            series = [np.asarray(args[arg.digest], dtype=np.float64) for arg in node.args]
            return insession.compute(node, series, self.starts, laid.slot[self.begin : self.end], laid.axis.first)
        if family != "shift":
            return programs.evaluate(node, lambda arg: args[arg.digest], self.work.policy.compat)
        (column,) = args.values()
        before = elementwise.shift(column, self.starts, int(node.numbers[0]))
        return before if node.op == "Ref" else column - before
