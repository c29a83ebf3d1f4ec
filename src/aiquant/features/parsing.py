"""Qlib's text form of an expression → :class:`~aiquant.features.expressions.Expression`.

A small parser of its own (top-down operator precedence, V. R. Pratt, 1973): text is never evaluated as Python.

>>> parse("Corr($close, Log($volume+1), 20)").lookback
19
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiquant.errors import UsageError
from aiquant.features.expressions import PRECEDENCE, Expression, apply, constant, field

DEEPEST = 100
"""How deep brackets and calls may be nested in text (chains such as a+b+c… may be of any length)."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<field>\$\w+)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*|>=|<=|==|!=|[-+*/<>&|~(),]))"
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


def parse(text: str) -> Expression:
    """Read an expression.

    Raises
    ------
    UsageError
        With the place in the text, when it is not an expression, names an unknown operator or field, or looks ahead.
    """
    try:
        return _Parser(text).whole()
    except UsageError as error:
        shown = text if len(text) <= 120 else text[:117] + "…"
        raise UsageError(f"expression {shown!r}: {error.problem}", error.remedy) from error


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise UsageError(f"{text[start]!r} at position {start + 1} has no meaning here")
        kind = match.lastgroup or ""
        found.append(_Token(kind, match.group(kind), match.start(kind)))
        at = match.end()
    found.append(_Token("end", "the end", end))
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.next = 0
        self.depth = 0

    def whole(self) -> Expression:
        if self._peek().kind == "end":
            raise UsageError("it is empty")
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

    def _unexpected(self, token: _Token) -> UsageError:
        shown = token.text if token.kind == "end" else repr(token.text)
        return UsageError(f"did not expect {shown} at position {token.at + 1}")

    def _expression(self, least: int) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            raise UsageError(f"it is nested more than {DEEPEST} deep", "give parts of it as features of their own")
        left = self._operand()
        while True:
            sign = self._peek()
            tight = PRECEDENCE.get(sign.text, 0) if sign.kind == "sign" else 0
            if tight <= least:
                break
            self._take()
            # a ** b ** c groups from the right, all others from the left
            right = self._expression(tight - 1 if sign.text == "**" else tight)
            left = apply(_NAMES[sign.text], left, right)
        self.depth -= 1
        return left

    def _operand(self) -> Expression:
        token = self._take()
        if token.kind == "number":
            return constant(float(token.text))
        if token.kind == "field":
            return field(token.text[1:])
        if token.kind == "name":
            return self._call(token)
        if token.text in _PREFIX and token.kind == "sign":
            inner = self._expression(_PREFIX_BINDS - 1)
            if token.text == "-" and inner.op == "constant":
                return constant(-inner.numbers[0])
            return apply(_PREFIX[token.text], inner)
        if token.text == "+":
            return self._expression(_PREFIX_BINDS - 1)
        if token.text == "(":
            inner = self._expression(0)
            self._expect(")")
            return inner
        raise self._unexpected(token)

    def _call(self, name: _Token) -> Expression:
        if self._peek().text != "(":
            raise UsageError(
                f"{name.text!r} at position {name.at + 1} is neither a field nor a call",
                f"fields are written ${name.text}, operators {name.text}(…)",
            )
        self._take()
        args: list[Expression] = []
        while self._peek().text != ")":
            args.append(self._expression(0))
            if self._peek().text != ",":
                break
            self._take()
        self._expect(")")
        return apply(name.text, *args)

    def _expect(self, text: str) -> None:
        token = self._take()
        if token.text != text:
            raise UsageError(f"expected {text!r} at position {token.at + 1}, not {token.text!r}")
