"""Element-wise nodes → the instructions of :mod:`aiquant.features.kernels.programs`.

Rows of a program are float64. Under ``qlib_compat``, where fields are float32 and arithmetic between them too, each
instruction's result is rounded to float32 instead: the quotient, product, sum or difference of two float32 numbers that
is rounded to float64 and then to float32 is the one that is rounded once (S. A. Figueroa, 1995).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.features import elementwise
from aiquant.features.expressions import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
TRUTH = frozenset({"Gt", "Ge", "Lt", "Le", "Eq", "Ne", "And", "Or", "Not"})
INSTRUCTIONS = ARITHMETIC | TRUTH | {"Greater", "Less", "Abs", "Neg", "Sign", "If"}
"""Operators that are instructions; other element-wise ones are computed by :mod:`aiquant.features.elementwise`."""


class Values:
    """What is known of values before they are computed: which are numbers, and which hold float32 numbers alone.

    Attributes
    ----------
    numbers
        Values of nodes that are the same in every cell, by digest.
    single
        Digests of columns that hold float32 numbers.
    """

    def __init__(self, nodes: Iterable[Expression], ready: frozenset[str], compat: bool) -> None:
        self.compat = compat
        self.numbers: dict[str, Any] = {}
        self.single: set[str] = set()
        for node in nodes:
            if node.op == "constant":
                self.numbers[node.digest] = node.numbers[0]
            elif node.digest not in ready:
                self._judge(node)

    def _judge(self, node: Expression) -> None:
        if node.op == "field":
            if self.compat:
                self.single.add(node.digest)
        elif node.op in ("Ref", "Delta"):
            if self.kind(node.args[0]) is np.float32:
                self.single.add(node.digest)
        elif elementwise.known(node.op) and (self.compat or all(a.digest in self.numbers for a in node.args)):
            with np.errstate(all="ignore"):
                value = evaluate(node, self.like, self.compat)
            if np.ndim(value) == 0:
                self.numbers[node.digest] = value
            elif value.dtype == np.float32:
                self.single.add(node.digest)

    def like(self, node: Expression) -> Any:
        """The node's number, or a column of one cell of its type."""
        if node.digest in self.numbers:
            return self.numbers[node.digest]
        return np.ones(1, dtype=np.float32 if node.digest in self.single else np.float64)

    def kind(self, node: Expression) -> type[np.floating[Any]]:
        """Type of a column of the node's values."""
        return np.float32 if np.asarray(self.like(node)).dtype == np.float32 else np.float64

    def weak(self, node: Expression) -> bool:
        """Whether it is a plain number, which takes the type of what it is combined with."""
        return type(self.numbers.get(node.digest)) is float


def evaluate(node: Expression, value: Callable[[Expression], Any], compat: bool) -> Any:
    """Value of an element-wise node by numpy; ``value`` gives those of other nodes."""
    args = [value(arg) for arg in node.args]
    if node.op != "Div" or compat:
        return elementwise.compute(node, args, compat)
    base = elementwise.guard(node)
    guarded = None if base is None else value(base)
    return elementwise.divide(args[0], args[1], guarded, bool(np.any((args[1] if base is None else guarded) == 0)))


@dataclass(frozen=True)
class Entry:
    """One thing that a program does: a node is computed, or, with ``result`` ≥ 0, written to that row."""

    node: Expression
    result: int = -1

    def reads(self) -> list[Expression]:
        """The nodes whose values it takes."""
        return [self.node] if self.result >= 0 else reads(self.node)


def reads(node: Expression) -> list[Expression]:
    """The nodes whose values an element-wise or rolling node takes."""
    base = elementwise.guard(node)
    return [*node.args, base] if base is not None else list(node.args)


class Assembler:
    """Collects the instructions of one program."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self._code: list[tuple[int, ...]] = []
        self._constants: dict[str, tuple[int, float]] = {}

    def write(self, entry: Entry, lookback: int, rows: dict[str, int]) -> None:
        """The value of a node becomes a row of the result, NaN where less than ``lookback`` slots lie before."""
        self._emit("Write", entry.result, self._operand(entry.node, rows, False), lookback)

    def compute(self, node: Expression, target: int, spare: int, rows: dict[str, int]) -> None:
        """A node is computed.

        Parameters
        ----------
        target, spare
            The row that it fills, and one that may be written over.
        rows
            Rows of what it reads, by digest.
        """
        compat = self.values.compat
        if node.digest in self.values.numbers:
            self._emit("Copy", target, self._operand(node, rows, False))
            return
        data = node.args[1:] if node.op == "If" else node.args
        strong = [a for a in data if not self.values.weak(a)]
        single = compat and bool(strong) and all(self.values.kind(a) is np.float32 for a in strong)
        operands = [self._operand(a, rows, single) for a in node.args]
        if node.op in TRUTH:
            self._emit(node.op, target, operands[0], operands[-1], flags=0 if compat else 2)
        elif node.op == "If":
            self._emit("If" if compat else "IfKnown", target, *operands)
        elif node.op == "Sign" and compat and not single:
            self._emit("Single", spare, operands[0])
            self._emit("Sign", target, spare)
        elif node.op == "Div" and not compat:
            base = elementwise.guard(node)
            more = [] if base is None else [self._operand(base, rows, False)]
            self._emit("Over" if base is None else "Guarded", target, *operands, *more)
        else:
            self._emit(node.op, target, *operands, flags=1 if single and node.op in ARITHMETIC else 0)

    def _operand(self, node: Expression, rows: dict[str, int], single: bool) -> int:
        if node.digest not in self.values.numbers:
            return rows[node.digest]
        number = float(self.values.numbers[node.digest])
        number = float(np.float32(number)) if single else number
        return -1 - self._constants.setdefault(number.hex(), (len(self._constants), number))[0]

    def _emit(self, name: str, target: int, *operands: int, flags: int = 0) -> None:
        from aiquant.features.kernels.programs import CODES

        a, b, c = (*operands, 0, 0)[:3]
        self._code.append((CODES[name], target, a, b, c, flags))

    def finish(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The arguments ``code`` and ``constants`` of :func:`..kernels.programs.run_program`."""
        from aiquant.features.kernels.programs import BLOCK

        constants = np.array([number for _, number in self._constants.values()], dtype=np.float64)
        code = np.array(self._code, dtype=np.int64).reshape(-1, 6)
        return code, np.ascontiguousarray(np.repeat(constants[:, None], BLOCK, axis=1))
