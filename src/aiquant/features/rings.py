"""A graph of operators computed one slot at a time, for all symbols together.

Of every node that a rolling or shifting operator reads, a ring keeps as many of its newest values as are read. Rolling
values come from the same kernels as in batch (:mod:`aiquant.features.rolling`): a kernel's value depends on its own
look-back alone, to the last bit, so a kernel that sees just the look-back gives the very value of one that sees all of
history. Everything else has no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.features import calendarfields, crosssection, elementwise, insession, planning, rolling
from aiquant.features.expressions import Expression, walk
from aiquant.features.fields import CALENDAR
from aiquant.features.grid import Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Ring:
    """The newest values of one node, a row each slot: what a kernel reads of it lies together in memory.

    Attributes
    ----------
    depth
        Slots that are kept.
    single
        Whether the node's values are float32, as fields are under ``qlib_compat``.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.single = False
        self._tape: NDArray[np.float64] = np.full((2 * depth + 8, 0), np.nan)
        self._end = depth

    @property
    def values(self) -> NDArray[np.float64]:
        """float64, (depth, symbols): the newest in the last row, NaN before a symbol's first slot."""
        return self.newest(self.depth)

    def restore(self, values: NDArray[np.float64], single: bool) -> None:
        """Go on from :attr:`values`."""
        self._tape = np.full((len(self._tape), values.shape[1]), np.nan)
        self._tape[: self.depth], self._end, self.single = values, self.depth, single

    def grow(self, symbols: int) -> None:
        """Room for ``symbols`` in all; new ones have no history."""
        new = np.full((len(self._tape), symbols - self._tape.shape[1]), np.nan)
        self._tape = np.concatenate([self._tape, new], axis=1)

    def push(self, newest: NDArray[Any]) -> None:
        """The values of one more slot, (symbols,)."""
        if self._end == len(self._tape):  # the tape is at its end: what is still read goes back to its beginning
            self._tape[: self.depth] = self._tape[self._end - self.depth :]
            self._end = self.depth
        self.single = newest.dtype == np.float32
        self._tape[self._end] = newest
        self._end += 1

    def newest(self, slots: int) -> NDArray[np.float64]:
        """The values of the newest ``slots``, (slots, symbols); a view."""
        return self._tape[self._end - slots : self._end]

    def ago(self, slots: int) -> NDArray[Any]:
        """The values that many slots before the newest, in the type of the node."""
        kind = np.float32 if self.single else np.float64
        before: NDArray[Any] = self._tape[self._end - 1 - slots].astype(kind)
        return before


@dataclass
class _Slot:
    """One slot, and the values in it so far by digest; ``zeros`` says of divisors whether one is 0."""

    slot: int
    fields: dict[str, NDArray[np.float64]]
    date: crosssection.Dates
    age: NDArray[np.int64]
    values: dict[str, Any] = field(default_factory=dict)
    zeros: dict[str, bool] = field(default_factory=dict)


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
        self._steps: list[tuple[str, Callable[[_Slot], Any]] | _Group] = []
        groups: dict[str, _Group] = {}
        depths: dict[str, int] = {}
        for node in walk(self.roots):
            family = planning.family(node)
            own = planning.own_slots(node, axis.per_session)
            if family in rolling.ROLLING or family in ("shift", "session"):
                for arg in node.args:
                    depths[arg.digest] = max(depths.get(arg.digest, 0), own + 1)
            if family not in rolling.ROLLING:
                self._steps.append((node.digest, self._cellwise(node)))
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
        now = _Slot(slot, fields, crosssection.Dates(there, np.array([0, len(there)])), age)
        values = now.values
        with np.errstate(all="ignore"):
            for step in self._steps:
                if isinstance(step, _Group):
                    results = self._rolling(step, age)
                    for node, result in zip(step.nodes, results, strict=True):
                        self._keep(node.digest, result, values, len(age))
                else:
                    digest, value = step
                    self._keep(digest, value(now), values, len(age))
            out = np.empty((len(self.roots), len(age)))
            for row, root in enumerate(self.roots):
                out[row] = values[root.digest]
        return out

    def _keep(self, digest: str, value: Any, values: dict[str, Any], symbols: int) -> None:
        values[digest] = value
        ring = self.rings.get(digest)
        if ring is not None:
            ring.push(_filled(value, symbols))

    def _rolling(self, group: _Group, age: NDArray[np.int64]) -> list[NDArray[np.float64]]:
        """Newest values of a group: the kernels on what its rings hold of each symbol's own history."""
        if rolling.has_newest(group.nodes, self.policy):
            series = [self.rings[arg.digest].newest(group.depth) for arg in group.nodes[0].args]
            return rolling.newest(group.nodes, series, np.minimum(age + 1, group.depth), self.policy)
        flat, starts = self._own_history(group.nodes[0], group.depth, age)
        skip = int(np.diff(starts).min(initial=1)) - 1
        return [values[starts[1:] - 1] for values in rolling.compute(group.nodes, flat, starts, skip, self.policy)]

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
        series = [np.ascontiguousarray(ring.newest(depth).T) for ring in rings]
        if seen.min(initial=depth) == depth:
            series = [values.reshape(-1) for values in series]
        else:
            own = np.arange(depth) >= (depth - seen)[:, None]
            series = [values[own] for values in series]
        return series, np.concatenate([[0], np.cumsum(seen)])

    def _cellwise(self, node: Expression) -> Callable[[_Slot], Any]:
        """How a node is computed that needs no kernel of windows."""
        compat = self.policy.compat
        family = planning.family(node)
        args = [a.digest for a in node.args]
        if node.op == "field":
            return self._field(node.name)
        if node.op == "constant":
            number = node.numbers[0]
            return lambda now: number
        if family == "shift":
            return self._shift(node)
        if family == "session":
            return lambda now: self._in_session(node, now.slot, now.age)
        if family == "cross":
            return lambda now: self._across(node, now)
        if node.op == "Div" and not compat:
            base = elementwise.guard(node)
            below = args[1] if base is None else base.digest

            def divide(now: _Slot) -> Any:
                if below not in now.zeros:
                    now.zeros[below] = bool((np.asarray(now.values[below]) == 0).any())
                guarded = None if base is None else now.values[below]
                return elementwise.divide(now.values[args[0]], now.values[args[1]], guarded, now.zeros[below])

            return divide
        return lambda now: elementwise.compute(node, [now.values[digest] for digest in args], compat)

    def _field(self, name: str) -> Callable[[_Slot], Any]:
        kind = np.float32 if self.policy.compat else np.float64
        if name in CALENDAR:
            return lambda now: np.full(len(now.age), calendarfields.column(self.axis, name)[now.slot]).astype(kind)
        return lambda now: now.fields[name].astype(kind, copy=False)

    def _shift(self, node: Expression) -> Callable[[_Slot], Any]:
        digest, slots = node.args[0].digest, int(node.numbers[0])
        if node.op == "Ref":
            return lambda now: self.rings[digest].ago(slots)
        return lambda now: _filled(now.values[digest], len(now.age)) - self.rings[digest].ago(slots)

    def _across(self, node: Expression, now: _Slot) -> Any:
        """A node that compares the symbols of the slot."""
        compared = [np.array(_filled(now.values[a.digest], len(now.age)), dtype=np.float64) for a in node.args]
        if not self.policy.partial:
            for arg, column in zip(node.args, compared, strict=True):
                column[now.age < arg.slots(self.axis.per_session)] = np.nan
        return crosssection.compute(node, compared, now.date)


def _filled(value: Any, symbols: int) -> NDArray[Any]:
    """A value as an array: a number stands for every symbol."""
    array = np.asarray(value)
    return array if array.ndim else np.full(symbols, array)
