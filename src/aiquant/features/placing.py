"""A sequence of nodes → steps, with a row for each value for as long as it is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aiquant.features import programs, rolling
from aiquant.features.expressions import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHOLE = frozenset({"shift", "session"})
"""Families, besides rolling ones, that read other cells than their own: a number stands in every cell for them."""


@dataclass(frozen=True)
class Load:
    """A column that is there already: a field of the bars, or a cross-section of an earlier stage."""

    node: Expression
    row: int


@dataclass(frozen=True)
class Column:
    """Where an argument stands, and the type in which it counts."""

    row: int
    kind: type[np.floating[Any]]


@dataclass(frozen=True)
class Call:
    """A node that numpy computes from whole columns: a shift, a logarithm, a power.

    Attributes
    ----------
    args
        Columns and numbers by digest.
    row
        Where its values go.
    """

    node: Expression
    args: dict[str, Column | Any]
    row: int


@dataclass(frozen=True)
class Roll:
    """Rolling nodes of one family over the same series."""

    kernel: rolling.Kernel
    args: tuple[int, ...]
    rows: slice
    skip: int


@dataclass(frozen=True)
class Program:
    """Element-wise nodes and the writing of results: see :mod:`aiquant.features.kernels.programs`."""

    code: NDArray[np.int64]
    constants: NDArray[np.float64]
    skip: int


Step = Load | Call | Roll | Program


@dataclass(frozen=True)
class Plan:
    """What is to be done for a set of roots.

    Attributes
    ----------
    steps
        In order.
    rows
        Values that have to be held at the same time at most.
    results
        Where the value of each root stands at the end, when they were to be kept.
    """

    steps: tuple[Step, ...]
    rows: int
    results: tuple[int, ...]


Kind = Literal["load", "call", "roll", "program"]


@dataclass
class Part:
    """Entries that become one step."""

    kind: Kind
    entries: list[programs.Entry]


class Placing:
    """Gives each value a row for as long as it is read, and writes the steps down."""

    def __init__(
        self,
        parts: list[Part],
        values: programs.Values,
        policy: rolling.Policy,
        per_session: int,
        skips: dict[str, int],
        kept: Sequence[Expression],
    ) -> None:
        self.parts = [part for part in parts if part.entries]
        self.values = values
        self.policy = policy
        self.per_session = per_session
        self.skips = skips
        self.kept = [root.digest for root in kept]
        self.rows: dict[str, int] = {}
        self._taken: list[bool] = []
        self._left: defaultdict[str, int] = defaultdict(int)  # how often a value is still read
        for part in self.parts:
            for entry in part.entries:
                for node in self._reads(part, entry):
                    self._left[node.digest] += 1
        for digest in self.kept:
            self._left[digest] += 1

    def plan(self) -> Plan:
        """The steps."""
        makers = {"load": self._load, "call": self._call, "roll": self._roll, "program": self._program}
        steps = tuple(makers[part.kind](part) for part in self.parts)
        return Plan(steps, len(self._taken), tuple(self.rows[digest] for digest in self.kept))

    def _reads(self, part: Part, entry: programs.Entry) -> list[Expression]:
        if part.kind == "load" or (entry.result < 0 and entry.node.digest in self.values.numbers):
            return []
        return entry.reads()

    def _place(self, nodes: list[Expression]) -> int:
        """First of so many rows in a row that are free."""
        count, first = len(nodes), 0
        while True in (room := self._taken[first : first + count]):
            first += len(room) - room[::-1].index(True)
        self._taken += [False] * (first + count - len(self._taken))
        for at, node in enumerate(nodes, first):
            self._taken[at] = True
            self.rows[node.digest] = at
        return first

    def _release(self, part: Part, entry: programs.Entry) -> None:
        """Rows that nobody reads any more."""
        for node in self._reads(part, entry):
            self._left[node.digest] -= 1
        for digest in {node.digest for node in [entry.node, *self._reads(part, entry)]}:
            if not self._left[digest] and digest in self.rows and digest not in self.kept:
                self._taken[self.rows.pop(digest)] = False

    def _load(self, part: Part) -> Step:
        node = part.entries[0].node
        return Load(node, self._place([node]))

    def _call(self, part: Part) -> Step:
        (entry,) = part.entries
        whole = entry.node.operator is not None and entry.node.operator.family in WHOLE
        args = {}
        for arg in entry.node.args:
            number = self.values.numbers.get(arg.digest)
            args[arg.digest] = (
                Column(self.rows[arg.digest], self.values.kind(arg)) if whole or number is None else number
            )
        step = Call(entry.node, args, self._place([entry.node]))
        self._release(part, entry)
        return step

    def _roll(self, part: Part) -> Step:
        nodes = rolling.ranked([entry.node for entry in part.entries])
        args = tuple(self.rows[arg.digest] for arg in nodes[0].args)
        first = self._place(nodes)
        step = Roll(rolling.prepare(nodes, self.policy), args, slice(first, first + len(nodes)), self._least_skip(part))
        for entry in part.entries:
            self._release(part, entry)
        return step

    def _program(self, part: Part) -> Step:
        program = programs.Assembler(self.values)
        for entry in part.entries:
            if entry.result >= 0:
                lookback = 0 if self.policy.partial else entry.node.slots(self.per_session)
                program.write(entry, lookback, self.rows)
            else:
                # The target is never an operand: compiled loops are quicker when nothing overlaps.
                target = self._place([entry.node])
                program.compute(entry.node, target, self._spare(), self.rows)
            self._release(part, entry)
        return Program(*program.finish(), self._least_skip(part))

    def _spare(self) -> int:
        """A row that is free for a moment."""
        if False not in self._taken:
            self._taken.append(False)
        return self._taken.index(False)

    def _least_skip(self, part: Part) -> int:
        return min(self.skips[entry.node.digest] for entry in part.entries)
