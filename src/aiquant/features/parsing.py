"""Qlib's text form of an expression → :class:`~aiquant.features.expressions.Expression`.

A small parser of its own (top-down operator precedence, V. R. Pratt, 1973): text is never evaluated as Python.
``@name`` stands for another formula of the set: see :mod:`aiquant.features.catalogue`.

>>> parse("Corr($close, Log($volume+1), 20)").lookback
19
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiquant.errors import UsageError
from aiquant.features import operators
from aiquant.features.expressions import PRECEDENCE, Expression, apply, constant, field
from aiquant.features.operators import Operator

DEEPEST = 100
"""How deep brackets and calls may be nested in text (chains such as a+b+c… may be of any length)."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<field>\$\w+)|(?P<part>@\w+)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<text>'[^']*')|(?P<sign>\*\*|>=|<=|==|!=|[-+*/<>&|~(),]))"
)
_NAMES = {
    "+": "Add",
    "-": "Sub",
    "*": "Mul",
    "/": "Div",
    "**": "Power",
    ">": "Gt",
    ">=": "Ge",
    "<": "Lt",
    "<=": "Le",
    "==": "Eq",
    "!=": "Ne",
    "&": "And",
    "|": "Or",
}
_PREFIX = {"-": "Neg", "~": "Not"}
_PREFIX_BINDS = 6


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(
    text: str, parts: Mapping[str, Expression] | None = None, own: Mapping[str, Operator] | None = None
) -> Expression:
    """Read an expression.

    Parameters
    ----------
    parts
        What ``@name`` stands for, by name.
    own
        Operators besides those of :data:`aiquant.features.operators.OPERATORS`.

    Raises
    ------
    UsageError
        With the place in the text, when it is not an expression, names an unknown operator, field or part, or looks
        ahead.
    """
    try:
        return _Parser(text, parts or {}, own or {}).whole()
    except _Wrong as wrong:
        shown = _excerpt(text, wrong.at)
        raise UsageError(f"expression {shown!r}: {wrong.error.problem}", wrong.error.remedy) from wrong.error


def named_parts(text: str) -> list[str]:
    """The names behind an ``@`` in ``text``, as they follow; nothing where it is not an expression."""
    try:
        return [token.text[1:] for token in _tokens(text) if token.kind == "part"]
    except _Wrong:
        return []


class _Wrong(Exception):
    """What is wrong with a text, and where."""

    def __init__(self, error: UsageError, at: int) -> None:
        super().__init__(str(error))
        self.error, self.at = error, at


def _wrong(problem: str, at: int, remedy: str = "") -> _Wrong:
    return _Wrong(UsageError(f"{problem} at position {at + 1}", remedy), at)


def _excerpt(text: str, at: int, width: int = 120) -> str:
    """The text, or as much of it as shows the place ``at``."""
    if len(text) <= width:
        return text
    begin = min(max(at - width // 2, 0), len(text) - width)
    return ("…" if begin else "") + text[begin : begin + width] + ("…" if begin + width < len(text) else "")


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            if text[start : start + 2] == "$$":
                raise _wrong("$$ means quarterly statements in Qlib, which are not here,", start)
            raise _wrong(f"{text[start]!r} has no meaning", start)
        kind = match.lastgroup or ""
        found.append(_Token(kind, match.group(kind), match.start(kind)))
        at = match.end()
    found.append(_Token("end", "the end", end))
    return found


class _Parser:
    def __init__(self, text: str, parts: Mapping[str, Expression], own: Mapping[str, Operator]) -> None:
        self.parts = parts
        self.own = own
        self.tokens = _tokens(text)
        self.next = 0
        self.depth = 0

    def whole(self) -> Expression:
        if self._peek().kind == "end":
            raise _Wrong(UsageError("it is empty"), 0)
        result = self._expression(0)
        if self._peek().kind != "end":
            raise self._unexpected(self._peek())
        return result

    def _peek(self) -> _Token:
        return self.tokens[self.next]

    def _take(self) -> _Token:
        token = self.tokens[self.next]
        self.next += 1
        return token

    def _unexpected(self, token: _Token) -> _Wrong:
        shown = token.text if token.kind == "end" else repr(token.text)
        return _wrong(f"did not expect {shown}", token.at)

    def _made(self, token: _Token, make: Callable[..., Expression], *args: object) -> Expression:
        """What ``make`` gives; what it refuses happened at ``token``."""
        try:
            return make(*args)
        except UsageError as error:
            raise _wrong(f"{error.problem},", token.at, error.remedy) from error

    def _expression(self, least: int) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            told = "name parts of it, and write @name in their place"
            raise _wrong(f"it is nested more than {DEEPEST} deep", self._peek().at, told)
        left = self._operand()
        while True:
            sign = self._peek()
            tight = PRECEDENCE.get(sign.text, 0) if sign.kind == "sign" else 0
            if tight <= least:
                break
            self._take()
            # a ** b ** c groups from the right, all others from the left
            right = self._expression(tight - 1 if sign.text == "**" else tight)
            left = self._made(sign, apply, _NAMES[sign.text], left, right)
        self.depth -= 1
        return left

    def _operand(self) -> Expression:
        token = self._take()
        if token.kind == "number":
            return constant(float(token.text))
        if token.kind == "field":
            return self._made(token, field, token.text[1:])
        if token.kind == "part":
            return self._made(token, self._part, token.text[1:])
        if token.kind == "name":
            return self._call(token)
        if token.text in _PREFIX and token.kind == "sign":
            inner = self._expression(_PREFIX_BINDS - 1)
            if token.text == "-" and inner.op == "constant":
                return constant(-inner.numbers[0])
            return self._made(token, apply, _PREFIX[token.text], inner)
        if token.text == "+":
            return self._expression(_PREFIX_BINDS - 1)
        if token.text == "(":
            inner = self._expression(0)
            self._expect(")")
            return inner
        raise self._unexpected(token)

    def _call(self, name: _Token) -> Expression:
        if self._peek().text != "(":
            told = f"fields are written ${name.text}, operators {name.text}(…), parts of the set @{name.text}"
            raise _wrong(f"{name.text!r} is neither a field nor a call,", name.at, told)
        try:
            operator = operators.find(name.text, self.own)
        except UsageError as error:
            raise _wrong(f"{error.problem},", name.at, error.remedy) from error
        self._take()
        args: list[Expression] = []
        while self._peek().text != ")":
            args.append(self._expression(0))
            if self._peek().text != ",":
                break
            self._take()
        self._expect(")")
        return self._made(name, apply, operator, *args)

    def _part(self, name: str) -> Expression:
        if name not in self.parts:
            known = [f"@{part}" for part in self.parts]
            told = operators.nearest(f"@{name}", known, "parts") if known else "it has no parts and no other features"
            raise UsageError(f"the set has nothing that is named @{name}", told)
        return self.parts[name]

    def _expect(self, text: str) -> None:
        token = self._take()
        if token.text != text:
            shown = token.text if token.kind == "end" else repr(token.text)
            raise _wrong(f"expected {text!r}, not {shown},", token.at)
