"""Expressions over bars: what a feature is made of.

>>> close = field("close")
>>> gap = apply("Mean", close, 5) / close - 1
>>> str(gap), gap.lookback
('Mean($close, 5) / $close - 1', 4)

An expression is immutable and knows a digest of all that it is made of; equal parts have equal digests, by which the
engine computes them once however often and in whichever feature they occur.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from aiquant.errors import UsageError
from aiquant.features import operators
from aiquant.features.fields import FIELDS
from aiquant.features.lookbacks import Reach
from aiquant.features.operators import Operator

_INFIX = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Power": "**", "And": "&", "Or": "|"} | {
    "Gt": ">",
    "Ge": ">=",
    "Lt": "<",
    "Le": "<=",
    "Eq": "==",
    "Ne": "!=",
}
PRECEDENCE = (
    {"|": 1, "&": 2}
    | dict.fromkeys((">", ">=", "<", "<=", "==", "!="), 3)
    | {
        "+": 4,
        "-": 4,
        "*": 5,
        "/": 5,
        "**": 7,
    }
)
"""How tightly infix operators bind. Comparisons bind tighter than ``&`` and ``|``."""
_UNARY = 6
_ATOM = 9
_LONGEST_TEXT = 20_000
MOST_SLOTS = 100_000
"""The longest window or shift: a year of minutes. A stream keeps as many slots of each value."""


class Expression:
    """A node of the graph; make one with :func:`field`, :func:`constant`, :func:`apply` or Python's operators.

    Attributes
    ----------
    op
        Name of the operator, ``"field"`` or ``"constant"``.
    operator
        The operator itself; None for fields and constants.
    args
        The expressions that it is applied to.
    numbers
        The numbers that follow them: windows, shifts, quantiles; the value of a constant.
    name
        Name of a field, else empty.
    reach
        How far before the current slot the value may depend on.
    lookback
        The same in sessions: the slots of daily bars. For other intervals see :meth:`slots`.
    digest
        Names the value: equal digests mean equal values on equal bars.
    """

    __slots__ = ("op", "operator", "args", "numbers", "name", "reach", "lookback", "digest")

    def __init__(
        self,
        op: str | Operator,
        args: tuple[Expression, ...] = (),
        numbers: tuple[float, ...] = (),
        name: str = "",
    ) -> None:
        self.operator: Operator | None = operators.OPERATORS.get(op) if isinstance(op, str) else op
        self.op: str = op if isinstance(op, str) else op.name
        self.args = args
        self.numbers = numbers
        self.name = name
        own = self.operator.reach(numbers) if self.operator else Reach()
        if op == "field" and FIELDS[name].sessions:
            own = Reach.of(-1, 1 + FIELDS[name].sessions)
        self.reach: Reach = own.behind(Reach.furthest(a.reach for a in args))
        self.lookback: int = self.reach.slots(1)
        told = f"{self.op} {self.operator.digest}" if self.operator and self.operator.digest else self.op
        content = "\x1f".join((told, name, *(float(n).hex() for n in numbers), *(a.digest for a in args)))
        self.digest: str = hashlib.sha256(content.encode()).hexdigest()[:32]

    def slots(self, per_session: int) -> int:
        """Slots before the current one that the value may depend on, where a session has at most ``per_session``."""
        return self.reach.slots(per_session)

    def __add__(self, other: Expression | float) -> Expression:
        return apply("Add", self, other)

    def __radd__(self, other: float) -> Expression:
        return apply("Add", other, self)

    def __sub__(self, other: Expression | float) -> Expression:
        return apply("Sub", self, other)

    def __rsub__(self, other: float) -> Expression:
        return apply("Sub", other, self)

    def __mul__(self, other: Expression | float) -> Expression:
        return apply("Mul", self, other)

    def __rmul__(self, other: float) -> Expression:
        return apply("Mul", other, self)

    def __truediv__(self, other: Expression | float) -> Expression:
        return apply("Div", self, other)

    def __rtruediv__(self, other: float) -> Expression:
        return apply("Div", other, self)

    def __pow__(self, other: Expression | float) -> Expression:
        return apply("Power", self, other)

    def __gt__(self, other: Expression | float) -> Expression:
        return apply("Gt", self, other)

    def __ge__(self, other: Expression | float) -> Expression:
        return apply("Ge", self, other)

    def __lt__(self, other: Expression | float) -> Expression:
        return apply("Lt", self, other)

    def __le__(self, other: Expression | float) -> Expression:
        return apply("Le", self, other)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return apply("Eq", self, other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return apply("Ne", self, other)

    def __and__(self, other: Expression | float) -> Expression:
        return apply("And", self, other)

    def __or__(self, other: Expression | float) -> Expression:
        return apply("Or", self, other)

    def __invert__(self) -> Expression:
        return apply("Not", self)

    def __neg__(self) -> Expression:
        return apply("Neg", self)

    def __abs__(self) -> Expression:
        return apply("Abs", self)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __bool__(self) -> bool:
        raise UsageError(
            "an expression is neither true nor false before it is computed", "use &, | and ~ instead of and, or and not"
        )

    def __str__(self) -> str:
        texts: dict[str, tuple[str, int]] = {}
        for node in walk([self]):
            texts[node.digest] = _text(node, [texts[a.digest] for a in node.args])
        return texts[self.digest][0]

    __repr__ = __str__


def _text(node: Expression, args: list[tuple[str, int]]) -> tuple[str, int]:
    """Text of a node and how tightly it binds, given those of its arguments."""
    if node.op == "field":
        return f"${node.name}", _ATOM
    if node.op == "constant":
        return f"{node.numbers[0]:.17g}" if node.numbers[0] % 1 else f"{node.numbers[0]:.0f}", (
            _ATOM if node.numbers[0] >= 0 else _UNARY
        )
    if node.op == "Neg" and node.args[0].op != "constant":
        return _short(f"-{_bracket(args[0], _UNARY)}"), _UNARY
    if node.op in _INFIX:
        sign = _INFIX[node.op]
        tight = PRECEDENCE[sign]
        left, right = (tight + 1, tight) if sign == "**" else (tight, tight + 1)
        if tight == PRECEDENCE[">"]:
            left = tight + 1
        return _short(f"{_bracket(args[0], left)} {sign} {_bracket(args[1], right)}"), tight
    parts = [text for text, _ in args] + [f"{n:.17g}" for n in node.numbers]
    return _short(f"{node.op}({', '.join(parts)})"), _ATOM


def _bracket(text: tuple[str, int], least: int) -> str:
    return text[0] if text[1] >= least else f"({text[0]})"


def _short(text: str) -> str:
    # A graph that shares its parts can be exponentially longer as text.
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def field(name: str) -> Expression:
    """A column of the bars, a calendar field or an attached one: see :mod:`aiquant.features.fields`.

    Raises
    ------
    UsageError
        When there is no such field; names the nearest.
    """
    if name not in FIELDS:
        raise UsageError(
            f"no field is named ${name}", operators.nearest(f"${name}", [f"${f}" for f in FIELDS], "fields")
        )
    return Expression("field", name=name)


def constant(value: float) -> Expression:
    """A number that stands where a series may stand."""
    return Expression("constant", numbers=(float(value),))


def apply(op: str | Operator, *args: object) -> Expression:
    """Apply an operator, or the one named ``op``, to expressions and numbers, in the order of Qlib's arguments.

    Raises
    ------
    UsageError
        When there is no such operator, an argument is missing, too many, of the wrong kind or looks ahead.
    """
    operator = operators.find(op) if isinstance(op, str) else op
    wanted = operator.series + len(operator.numbers)
    if len(args) != wanted:
        names = [*(["expression"] * operator.series), *operator.numbers]
        raise UsageError(f"{operator.name} takes {wanted} argument(s) ({', '.join(names)}), not {len(args)}")
    series = tuple(_series(operator.name, a) for a in args[: operator.series])
    numbers = tuple(_number(operator.name, a) for a in args[operator.series :])
    operator.check(numbers)
    return Expression(operator, series, numbers)


def _series(op: str, value: object) -> Expression:
    if isinstance(value, Expression):
        return value
    if isinstance(value, int | float):
        return constant(value)
    raise UsageError(f"{op} takes expressions and numbers, not {type(value).__name__}")


def _number(op: str, value: object) -> float:
    number: float | None = None
    if isinstance(value, Expression) and value.op == "Neg" and value.args[0].op == "constant":
        number = -value.args[0].numbers[0]
    elif isinstance(value, Expression) and value.op == "constant":
        number = value.numbers[0]
    elif isinstance(value, int | float):
        number = float(value)
    if number is not None and abs(number) > MOST_SLOTS:
        raise UsageError(
            f"{op} takes at most {MOST_SLOTS:,} slots, not {number:,.0f}: that much is remembered of every symbol",
            "take a shorter window, or longer bars",
        )
    if number is not None:
        return number
    raise UsageError(
        f"{op} takes a plain number as its window, shift or quantile, not {value}",
        "the look-back of a feature must be known before its data",
    )


def walk(roots: Iterable[Expression], stop: Callable[[Expression], bool] | None = None) -> list[Expression]:
    """All distinct nodes below ``roots``, each after its arguments. Never recurses, so depth does not matter.

    Parameters
    ----------
    stop
        Nodes for which it is true are listed, but not what lies below them.
    """
    seen: dict[str, Expression] = {}
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, ready = stack.pop()
        if node.digest in seen:
            continue
        if ready or not node.args or (stop is not None and stop(node)):
            seen[node.digest] = node
            continue
        stack.append((node, True))
        stack.extend((arg, False) for arg in reversed(node.args) if arg.digest not in seen)
    return list(seen.values())
