"""Operators that work cell by cell, on numpy arrays.

Away from ``compat``, what has no finite value is NaN: a division by zero, the logarithm of a number that is not
positive. Under ``compat`` the arrays of fields are float32 and numpy's own rules hold, which are Qlib's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.features.expressions import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

Value = Any
"""A float array of all cells, or a number."""

TINY = 1e-9
"""A constant up to this size that is added to a denominator is a guard against zero, not part of the formula."""


def compute(node: Expression, args: list[Value], compat: bool) -> Value:
    """Value of an element-wise node other than a division (see :func:`divide`).

    Parameters
    ----------
    args
        Values of the node's arguments.
    compat
        Qlib's behaviour.
    """
    return (_QLIB if compat else _OURS)[node.op](*args)


def known(op: str) -> bool:
    """Whether the operator is computed here."""
    return op in _QLIB


def divide(a: Value, b: Value, base: Value | None, has_zero: bool) -> Value:
    """``a / b``, NaN where that has no value.

    Parameters
    ----------
    base
        For ``a / (base + tiny)``: what the guard stands on, else None. Where it is 0 the quotient is 0 / 0, which the
        guard makes 0, or has no meaning.
    has_zero
        Whether ``base``, or ``b`` where there is no guard, is 0 anywhere.
    """
    quotient = np.divide(a, b)
    if not has_zero:
        return quotient
    return np.where(b == 0, np.nan, quotient) if base is None else np.where((base == 0) & (a != 0), np.nan, quotient)


def guard(node: Expression) -> Expression | None:
    """The ``b`` of ``a / (b + tiny)``, or None for any other node."""
    if node.op != "Div" or node.args[1].op != "Add":
        return None
    for tiny, base in (node.args[1].args[::-1], node.args[1].args):
        if tiny.op == "constant" and 0 < tiny.numbers[0] <= TINY and base.op != "constant":
            return base
    return None


def _finite(value: Value) -> Value:
    infinite = np.isinf(value)
    return np.where(infinite, np.nan, value) if np.any(infinite) else value


def _known(result: Value, *operands: Value) -> Value:
    """A truth value as a number; unknown where an operand is."""
    number = np.asarray(result, dtype=np.float64)
    for operand in operands:
        unknown = np.isnan(operand)
        if np.any(unknown):
            number = np.where(unknown, np.nan, number)
    return number


def _greater(a: Value, b: Value) -> Value:
    # Not np.maximum: which of two zeros, +0 and −0, it gives depends on where in the array they stand.
    return np.where(a > b, a, np.where(b >= a, b, np.nan)).astype(np.result_type(a, b))


def _less(a: Value, b: Value) -> Value:
    return np.where(a < b, a, np.where(b <= a, b, np.nan)).astype(np.result_type(a, b))


def _compare(function: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    return lambda a, b: _known(function(a, b), a, b)


def _told(function: Callable[..., Value]) -> Callable[..., Value]:
    """Truth values as numbers; numpy's own booleans can neither be subtracted nor turned over."""
    return lambda *operands: np.asarray(function(*operands), dtype=np.float32)


def _if(condition: Value, a: Value, b: Value) -> Value:
    chosen = np.where(np.asarray(condition) != 0, a, b)
    unknown = np.isnan(condition)
    return np.where(unknown, np.nan, chosen) if np.any(unknown) else chosen


_COMMON: dict[str, Callable[..., Value]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Greater": _greater,
    "Less": _less,
    "Abs": np.abs,
    "Neg": np.negative,
}

_OURS: dict[str, Callable[..., Value]] = _COMMON | {
    "Power": lambda a, b: _finite(np.power(a, b, dtype=np.float64)),
    "Log": lambda a: _finite(np.log(a)),
    "Sign": np.sign,
    "Gt": _compare(np.greater),
    "Ge": _compare(np.greater_equal),
    "Lt": _compare(np.less),
    "Le": _compare(np.less_equal),
    "Eq": _compare(np.equal),
    "Ne": _compare(np.not_equal),
    "And": _compare(np.logical_and),
    "Or": _compare(np.logical_or),
    "Not": lambda a: _known(np.logical_not(a), a),
    "If": _if,
}

_QLIB: dict[str, Callable[..., Value]] = _COMMON | {
    "Div": np.divide,
    "Power": np.power,
    "Log": np.log,
    "Sign": lambda a: np.sign(np.asarray(a, dtype=np.float32)),
    "Gt": _told(np.greater),
    "Ge": _told(np.greater_equal),
    "Lt": _told(np.less),
    "Le": _told(np.less_equal),
    "Eq": _told(np.equal),
    "Ne": _told(np.not_equal),
    "And": _told(np.logical_and),
    "Or": _told(np.logical_or),
    "Not": _told(np.logical_not),
    "If": lambda c, a, b: np.where(np.asarray(c, dtype=bool), a, b),
}


def shift(values: NDArray[Any], starts: NDArray[np.int64], by: int) -> NDArray[Any]:
    """Each symbol's values ``by`` slots later; NaN before its first one."""
    floating = values if values.dtype.kind == "f" else values.astype(np.float64)
    moved = np.empty_like(floating)
    moved[by:] = floating[: max(len(floating) - by, 0)]
    for begin, end in zip(starts[:-1], starts[1:], strict=True):
        moved[begin : min(begin + by, end)] = np.nan
    return moved
