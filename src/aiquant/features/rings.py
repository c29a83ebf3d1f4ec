"""A graph of operators computed one slot at a time, for all symbols together.

Of every node that a rolling or shifting operator reads, a ring keeps as many of its newest values as are read. Rolling
values come from the same kernels as in batch (:mod:`aiquant.features.rolling`): a kernel's value depends on its own
look-back alone, to the last bit, so a kernel that sees just the look-back gives the very value of one that sees all of
history. Everything else has no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.features import calendarfields, crosssection, elementwise, insession, planning, rolling
from aiquant.features.expressions import Expression, walk
from aiquant.features.fields import CALENDAR
from aiquant.features.grid import Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Ring:
    """The newest values of one node.

    Attributes
    ----------
    values
        float64, (symbols, depth): the newest in the last column, NaN before a symbol's first slot.
    single
        Whether the node's values are float32, as fields are under ``qlib_compat``.
    """

    def __init__(self, depth: int) -> None:
        self.values: NDArray[np.float64] = np.empty((0, depth))
        self.single = False

    @property
    def depth(self) -> int:
        """Slots that are kept."""
        return int(self.values.shape[1])

    def grow(self, symbols: int) -> None:
        """Room for ``symbols`` in all; new ones have no history."""
        new = np.full((symbols - len(self.values), self.depth), np.nan)
        self.values = np.concatenate([self.values, new])

    def push(self, newest: NDArray[Any]) -> None:
        """The values of one more slot, (symbols,)."""
        self.single = newest.dtype == np.float32
        flat = self.values.reshape(-1)
        flat[:-1] = flat[1:]  # one move of memory; what slides over from the next symbol is written over
        self.values[:, -1] = newest

    def ago(self, slots: int) -> NDArray[Any]:
        """The values that many slots before the newest, in the type of the node."""
        column = self.values[:, -1 - slots]
        return column.astype(np.float32) if self.single else column.copy()


@dataclass
class _Group:
    """Rolling nodes that share a pass."""

    nodes: list[Expression]
    depth: int


class Graph:
    """The nodes below some roots, and what they remember.

    Parameters
    ----------
    roots
        The expressions whose values are wanted.
    policy
        As in batch.
    axis
        Of the slots.
    """

    def __init__(self, roots: Sequence[Expression], policy: rolling.Policy, axis: Axis) -> None:
        self.roots = list(roots)
        self.policy = policy
        self.axis = axis
        self.rings: dict[str, Ring] = {}
        self._steps: list[Expression | _Group] = []
        groups: dict[str, _Group] = {}
        depths: dict[str, int] = {}
        for node in walk(self.roots):
            family = planning.family(node)
            own = planning.own_slots(node, axis.per_session)
            if family in rolling.ROLLING or family in ("shift", "session"):
                for arg in node.args:
                    depths[arg.digest] = max(depths.get(arg.digest, 0), own + 1)
            if family not in rolling.ROLLING:
                self._steps.append(node)
                continue
            key = rolling.group_key(node)
            if key not in groups:
                groups[key] = _Group([], 0)
                self._steps.append(groups[key])
            groups[key].nodes.append(node)
            groups[key].depth = max(groups[key].depth, own + 1)
        self.rings = {digest: Ring(depth) for digest, depth in depths.items()}

    def grow(self, symbols: int) -> None:
        """Room for ``symbols`` in all."""
        for ring in self.rings.values():
            ring.grow(symbols)

    def step(
        self, slot: int, fields: dict[str, NDArray[np.float64]], there: NDArray[np.int64], age: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The values of one more slot.

        Parameters
        ----------
        slot
            Its number on the axis.
        fields
            float64, (symbols,), by name: the bars; NaN where a symbol has none.
        there
            int64: which symbols have one, in the order of their names.
        age
            int64, (symbols,): slots since each symbol's first bar.

        Returns
        -------
        numpy.ndarray
            float64, (roots, symbols): not yet cut at the head of histories.
        """
        values: dict[str, Any] = {}
        date = crosssection.Dates(there, np.array([0, len(there)]))
        with np.errstate(all="ignore"):
            for step in self._steps:
                if isinstance(step, _Group):
                    results = self._rolling(step, age)
                    values.update(zip((n.digest for n in step.nodes), results, strict=True))
                    made = step.nodes
                else:
                    values[step.digest] = self._cellwise(step, values, slot, fields, date, age)
                    made = [step]
                for node in made:
                    if node.digest in self.rings:
                        self.rings[node.digest].push(_filled(values[node.digest], len(age)))
            out = np.empty((len(self.roots), len(age)))
            for row, root in enumerate(self.roots):
                out[row] = values[root.digest]
        return out

    def _rolling(self, group: _Group, age: NDArray[np.int64]) -> list[NDArray[np.float64]]:
        """Newest values of a group: the kernels on what its rings hold of each symbol's own history."""
        series, starts = self._own_history(group.nodes[0], group.depth, age)
        return rolling.newest(group.nodes, series, starts, self.policy)

    def _in_session(self, node: Expression, slot: int, age: NDArray[np.int64]) -> NDArray[np.float64]:
        """Newest values of a session-aware node."""
        depth = planning.own_slots(node, self.axis.per_session) + 1
        series, starts = self._own_history(node, depth, age)
        ends = np.repeat(starts[1:], np.diff(starts))
        slots = slot + 1 + np.arange(len(ends)) - ends
        return insession.compute(node, series, starts, slots, self.axis.first)[starts[1:] - 1]

    def _own_history(
        self, node: Expression, depth: int, age: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
        """What the rings hold of a node's arguments, ``depth`` slots at the most: the slots of each symbol's history,
        end to end, and where each begins."""
        rings = [self.rings[arg.digest] for arg in node.args]
        seen = np.minimum(age + 1, depth)
        if seen.min(initial=depth) == depth:
            series = [np.ascontiguousarray(r.values[:, r.depth - depth :]).reshape(-1) for r in rings]
        else:
            own = np.arange(depth) >= (depth - seen)[:, None]
            series = [r.values[:, r.depth - depth :][own] for r in rings]
        return series, np.concatenate([[0], np.cumsum(seen)])

    def _cellwise(
        self,
        node: Expression,
        values: dict[str, Any],
        slot: int,
        fields: dict[str, NDArray[np.float64]],
        date: crosssection.Dates,
        age: NDArray[np.int64],
    ) -> Any:
        compat = self.policy.compat
        family = planning.family(node)
        if node.op == "field" and node.name in CALENDAR:
            told = np.full(len(age), calendarfields.column(self.axis, node.name)[slot])
            return told.astype(np.float32) if compat else told
        if node.op == "field":
            return fields[node.name].astype(np.float32) if compat else fields[node.name]
        if node.op == "constant":
            return node.numbers[0]
        if family == "shift":
            before = self.rings[node.args[0].digest].ago(int(node.numbers[0]))
            return before if node.op == "Ref" else _filled(values[node.args[0].digest], len(age)) - before
        if family == "session":
            return self._in_session(node, slot, age)
        if family == "cross":
            compared = [np.array(_filled(values[a.digest], len(age)), dtype=np.float64) for a in node.args]
            if not self.policy.partial:
                for arg, column in zip(node.args, compared, strict=True):
                    column[age < arg.slots(self.axis.per_session)] = np.nan
            return crosssection.compute(node, compared, date)
        args = [values[a.digest] for a in node.args]
        if node.op != "Div" or compat:
            return elementwise.compute(node, args, compat)
        base = elementwise.guard(node)
        guarded = None if base is None else values[base.digest]
        return elementwise.divide(args[0], args[1], guarded, bool(np.any((args[1] if base is None else guarded) == 0)))


def _filled(value: Any, symbols: int) -> NDArray[Any]:
    """A value as an array: a number stands for every symbol."""
    array = np.asarray(value)
    return array if array.ndim else np.full(symbols, array)
