"""Computes a set of features on bars: the one way in which features are made.

The graph is computed for a few symbols at a time, so that what lies between bars and features stays in the processor's
cache and memory is little more than the result. Nodes that compare symbols (``CSRank`` …) are the exception: what they
compare is computed first, chunk by chunk, into one column for all symbols; their result is then read by the following
stage. A set with many of them is computed in portions of features, so that few such columns stand at a time.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.calendars import Sessions
from aiquant.features import adjustments, crosssection, elementwise, grid, insession, planning, rolling
from aiquant.features.catalogue import FeatureSet
from aiquant.features.expressions import Expression
from aiquant.schemas import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

STAGED_BYTES = 2 << 30
"""What the columns of cross-sections may take; features that need more are computed in portions, one after another."""
CHUNK_CELLS = 50_000
"""Cells that are computed at a time; some 0.4 MB for each value in between."""


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
            self.run(args, columns, cells=True)
            if not self.policy.partial:
                for arg, column in zip(args, columns, strict=True):
                    column[self.age < arg.slots(self.laid.axis.per_session)] = np.nan
            by_digest = {arg.digest: column for arg, column in zip(args, columns, strict=True)}
            for node in nodes:
                series = [by_digest[arg.digest] for arg in node.args]
                self.ready[node.digest] = crosssection.compute(node, series, self.dates)

    def run(self, roots: list[Expression], out: NDArray[Any], cells: bool = False) -> None:
        """Compute ``roots`` for all symbols.

        Parameters
        ----------
        out
            (roots, wanted rows), or (roots, cells) if ``cells``: filled here.
        """

        @cache
        def steps(skip: int) -> list[planning.Step]:
            return planning.plan(roots, frozenset(self.ready), skip, self.laid.axis.per_session)

        def compute_chunk(symbols: tuple[int, int]) -> None:
            chunk = _Chunk(self, *symbols)
            if cells or len(chunk.cell):
                chunk.run(steps(0 if cells else chunk.skip), roots, out, cells)

        chunks = self._chunks()
        if len(chunks) <= 1 or self.threads == 1:
            for symbols in chunks:
                compute_chunk(symbols)
            return
        with ThreadPoolExecutor(min(self.threads, len(chunks))) as pool:
            list(pool.map(compute_chunk, chunks))

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
    """Some symbols; holds the values that are still needed."""

    def __init__(self, work: _Work, first: int, last: int) -> None:
        self.work = work
        laid = work.laid
        self.first, self.last = first, last
        self.begin, self.end = int(laid.starts[first]), int(laid.starts[last])
        self.rows = slice(int(work.wanted_starts[first]), int(work.wanted_starts[last]))
        self.starts = laid.starts[first : last + 1] - self.begin
        self.cell = laid.cell[work.wanted[self.rows]] - self.begin
        self.age = laid.age(first, last)[self.cell]
        breaks = np.flatnonzero(np.diff(self.cell) != 1) + 1
        self.edges = np.unique(np.concatenate([[0], breaks, [len(self.cell)]])).astype(np.int64)
        self.run_cells = self.cell[self.edges[:-1]]
        head = np.repeat(self.starts[:-1], np.diff(work.wanted_starts[first : last + 1]))
        self.skip = int((self.cell - head).min(initial=self.end - self.begin))
        self.values: dict[str, Any] = {}
        self.zeros: dict[str, bool] = {}
        self.heads: dict[int, NDArray[np.int64]] = {}

    def run(self, steps: list[planning.Step], roots: list[Expression], out: NDArray[Any], cells: bool) -> None:
        with np.errstate(all="ignore"):
            for step in steps:
                self._compute(step)
                for row, digest in step.results:
                    if cells:
                        out[row, self.begin : self.end] = self._array(digest)
                    else:
                        self._write(out[row, self.rows], digest, roots[row].slots(self.work.laid.axis.per_session))
                for digest in step.finished:
                    self.values.pop(digest, None)

    def _compute(self, step: planning.Step) -> None:
        node = step.nodes[0]
        family = planning.family(node)
        if node.digest in self.work.ready:
            self.values[node.digest] = self.work.ready[node.digest][self.begin : self.end]
        elif family in rolling.ROLLING:
            series = [self._float64(a.digest) for a in node.args]
            results = rolling.compute(step.nodes, series, self.starts, step.skip, self.work.policy)
            self.values.update(zip((n.digest for n in step.nodes), results, strict=True))
        elif family == "session":
            series = [self._float64(a.digest) for a in node.args]
            laid = self.work.laid
            slot = laid.slot[self.begin : self.end]
            self.values[node.digest] = insession.compute(node, series, self.starts, slot, laid.axis.first)
        else:
            self.values[node.digest] = self._cellwise(node, family)

    def _cellwise(self, node: Expression, family: str) -> Any:
        if node.op == "field":
            column = self.work.laid.column(node.name, self.first, self.last)
            return column.astype(np.float32) if self.work.policy.compat else column
        if node.op == "constant":
            return node.numbers[0]
        if family == "shift":
            values = self._array(node.args[0].digest)
            before = elementwise.shift(values, self.starts, int(node.numbers[0]))
            return before if node.op == "Ref" else values - before
        args = [self.values[a.digest] for a in node.args]
        if node.op != "Div" or self.work.policy.compat:
            return elementwise.compute(node, args, self.work.policy.compat)
        base = elementwise.guard(node)
        below = base if base is not None else node.args[1]
        if below.digest not in self.zeros:
            self.zeros[below.digest] = bool(np.any(self.values[below.digest] == 0))
        guarded = self.values[base.digest] if base is not None else None
        return elementwise.divide(args[0], args[1], guarded, self.zeros[below.digest])

    def _array(self, digest: str) -> NDArray[Any]:
        """A value as an array: a number stands in every cell."""
        value = np.asarray(self.values[digest])
        return value if value.ndim else np.full(self.end - self.begin, value)

    def _float64(self, digest: str) -> NDArray[np.float64]:
        return np.ascontiguousarray(self._array(digest), dtype=np.float64)

    def _write(self, target: NDArray[np.float32], digest: str, lookback: int) -> None:
        """A finished feature as float32, for the cells that have a bar."""
        from aiquant.features.kernels.writing import write_runs

        write_runs(self._float64(digest), self.edges, self.run_cells, not self.work.policy.compat, target)
        if not self.work.policy.partial and lookback:
            target[self._head(lookback)] = np.nan

    def _head(self, lookback: int) -> NDArray[np.int64]:
        """Rows that have fewer than ``lookback`` slots of history before them."""
        if lookback not in self.heads:
            self.heads[lookback] = np.flatnonzero(self.age < lookback)
        return self.heads[lookback]
