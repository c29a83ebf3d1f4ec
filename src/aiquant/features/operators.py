"""The operators of the expression language: their arguments, their look-back and their meaning.

The names and the order of arguments are Qlib's (``qlib/data/ops.py``), so that its users' expressions run unchanged.
An operator takes one or more series and then numbers. ``reach`` says how far before the current slot an operator reads
(:mod:`aiquant.features.lookbacks`); it never lies ahead, which is why no feature can see the future.

Where Qlib's own behaviour is a trap, the meaning below is the corrected one; ``qlib_compat=True`` brings Qlib's back:

================== ================================================== ==============================================
operator           here                                               under ``qlib_compat``
================== ================================================== ==============================================
arithmetic         in float64                                         in float32 where both sides are fields
``a / b``          NaN where b is 0                                   ±inf or NaN (IEEE)
``a / (b + tiny)`` NaN where b is 0 and a is not (tiny ≤ 1e-9)        a/tiny: 1e18 after a day without volume
comparisons, logic NaN where an operand is NaN                        False, and counted in a mean
``If``             NaN where the condition is NaN                     the left value
``IdxMax IdxMin``  NaN in the window is skipped                       the first NaN in the window wins
``Rsquare Corr``   NaN where a series is flat relative to its size    NaN where its deviation is below 2e-5
``WMA``            weights 1…n, normalised over the values there are  weights 0…n−1, and divided by n once more
================== ================================================== ==============================================
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from aiquant.errors import UsageError
from aiquant.features.lookbacks import Reach

EMA_TAIL = 1e-10
"""Weight of what an exponential mean leaves out: it ends where all older weights together are below this share."""

Family = Literal[
    "elementwise", "shift", "sums", "lines", "extrema", "order", "shape", "decay", "pair", "own", "session", "cross"
]


@dataclass(frozen=True)
class Operator:
    """What the language knows of one operator.

    Attributes
    ----------
    name
        As written in an expression.
    series
        Number of leading arguments that are expressions.
    numbers
        Names of the numbers that follow (``window``, ``shift``, ``quantile``, ``exponent``, ``span``).
    family
        Which kernel computes it; rolling operators of one family over the same series share one pass.
    meaning
        One line for the reference.
    smallest
        The smallest window it takes.
    digest
        Of an operator of one's own: names its source.
    """

    name: str
    series: int
    numbers: tuple[str, ...]
    family: Family
    meaning: str
    smallest: int = 1
    digest: str = ""

    def reach(self, numbers: tuple[float, ...]) -> Reach:
        """How far before the current slot it reads, given its numbers."""
        kind, value = (self.numbers[0], numbers[0]) if self.numbers else ("", 0.0)
        if kind == "shift":
            return Reach.of(int(value))
        if kind == "window":
            return Reach.of(int(value) - 1)
        if kind == "span":
            return Reach.of(decay_length(value) - 1)
        if self.name == "SessionAgo":
            return Reach.of(0, int(value))
        if self.family == "session":  # from the open of this session, or of one before
            return Reach.of(-1, 1 + int(value))
        return Reach()

    def check(self, numbers: tuple[float, ...]) -> None:
        """Refuse numbers that have no meaning, and all that would look ahead.

        Raises
        ------
        UsageError
            With the reason.
        """
        for kind, value in zip(self.numbers, numbers, strict=True):
            _CHECKS.get(kind, _check_any)(self, value)


def decay_length(span: float) -> int:
    """Number of slots that an exponential mean reads: see :data:`EMA_TAIL`.

    Parameters
    ----------
    span
        As in pandas: the newest weight is ``2 / (span + 1)``; a number below 1 is that weight itself.
    """
    keep = 1.0 - newest_weight(span)
    return max(1, math.ceil(math.log(EMA_TAIL) / math.log(keep))) if keep > 0 else 1


def newest_weight(span: float) -> float:
    """Weight of the newest value of an exponential mean before normalising."""
    return span if span < 1 else 2.0 / (span + 1.0)


def _whole(operator: Operator, value: float, what: str) -> None:
    if value != int(value):
        raise UsageError(f"{operator.name} takes a whole number of bars as its {what}, not {value:g}")


def _check_shift(operator: Operator, value: float) -> None:
    if value < 0:
        raise UsageError(
            f"{operator.name}(…, {value:g}) reads {-value:g} bar(s) of the future, and a feature cannot look ahead",
            "for a forward return use the labels (aiquant.features.labels.forward_returns)",
        )
    if value == 0:
        raise UsageError(
            f"{operator.name}(…, 0) means the first bar of the history in Qlib, wherever that happens to start",
            "give the number of bars to look back, 1 or more",
        )
    _whole(operator, value, "shift")


def _check_window(operator: Operator, value: float) -> None:
    if value < 0:
        raise UsageError(
            f"{operator.name}(…, {value:g}) asks for a window that lies in the future, and a feature cannot look ahead"
        )
    if value == 0:
        raise UsageError(
            f"{operator.name}(…, 0) means all of the history in Qlib, wherever that happens to start",
            f"give a window of {operator.smallest} or more bars",
        )
    _whole(operator, value, "window")
    if value < operator.smallest:
        raise UsageError(f"{operator.name} needs a window of at least {operator.smallest} bars, not {value:g}")


def _check_span(operator: Operator, value: float) -> None:
    if value <= 0:
        raise UsageError(
            f"{operator.name} takes a span of 1 or more bars, or a weight between 0 and 1, not {value:g}",
        )


def _check_quantile(operator: Operator, value: float) -> None:
    if not 0 <= value <= 1:
        raise UsageError(f"{operator.name} takes a quantile between 0 and 1, not {value:g}")


def _check_tail(operator: Operator, value: float) -> None:
    if not 0 <= value <= 0.5:
        raise UsageError(f"{operator.name} takes the share of each tail, between 0 and 0.5, not {value:g}")


def _check_buckets(operator: Operator, value: float) -> None:
    if value < 2 or value != int(value):
        raise UsageError(f"{operator.name} takes a whole number of buckets, 2 or more, not {value:g}")


def _check_any(operator: Operator, value: float) -> None:
    if not math.isfinite(value):
        raise UsageError(f"{operator.name} takes a finite number, not {value:g}")


_CHECKS: dict[str, Callable[[Operator, float], None]] = {
    "shift": _check_shift,
    "sessions": _check_shift,
    "window": _check_window,
    "span": _check_span,
    "quantile": _check_quantile,
    "tail": _check_tail,
    "buckets": _check_buckets,
    "exponent": _check_any,
}
"""By name of the number; any other name is a plain number of an operator of one's own."""

_W = ("window",)
_S = ("sessions",)

_ALL = (
    Operator("Add", 2, (), "elementwise", "a + b"),
    Operator("Sub", 2, (), "elementwise", "a - b"),
    Operator("Mul", 2, (), "elementwise", "a * b"),
    Operator("Div", 2, (), "elementwise", "a / b; NaN where b is 0"),
    Operator("Power", 2, (), "elementwise", "a to the power of b; NaN where that is not a real number"),
    Operator("Greater", 2, (), "elementwise", "the larger of a and b; NaN where one is NaN"),
    Operator("Less", 2, (), "elementwise", "the smaller of a and b; NaN where one is NaN"),
    Operator("Gt", 2, (), "elementwise", "1 where a > b, else 0"),
    Operator("Ge", 2, (), "elementwise", "1 where a >= b, else 0"),
    Operator("Lt", 2, (), "elementwise", "1 where a < b, else 0"),
    Operator("Le", 2, (), "elementwise", "1 where a <= b, else 0"),
    Operator("Eq", 2, (), "elementwise", "1 where a == b, else 0"),
    Operator("Ne", 2, (), "elementwise", "1 where a != b, else 0"),
    Operator("And", 2, (), "elementwise", "1 where both are not 0, else 0"),
    Operator("Or", 2, (), "elementwise", "1 where one is not 0, else 0"),
    Operator("Not", 1, (), "elementwise", "1 where a is 0, else 0"),
    Operator("If", 3, (), "elementwise", "b where a is not 0, else c"),
    Operator("Abs", 1, (), "elementwise", "|a|"),
    Operator("Sign", 1, (), "elementwise", "−1, 0 or 1"),
    Operator("Log", 1, (), "elementwise", "natural logarithm; NaN where a <= 0"),
    Operator("Neg", 1, (), "elementwise", "-a"),
    Operator("Ref", 1, ("shift",), "shift", "the value n bars ago"),
    Operator("Delta", 1, ("shift",), "shift", "the value less the value n bars ago"),
    Operator("Sum", 1, _W, "sums", "sum over the window"),
    Operator("Mean", 1, _W, "sums", "mean over the window"),
    Operator("Count", 1, _W, "sums", "number of values that are not NaN in the window"),
    Operator("Var", 1, _W, "sums", "sample variance over the window (n − 1)"),
    Operator("Std", 1, _W, "sums", "sample standard deviation over the window (n − 1)"),
    Operator("Slope", 1, _W, "lines", "slope of the least-squares line through the window, a bar"),
    Operator("Rsquare", 1, _W, "lines", "R² of the least-squares line through the window"),
    Operator("Resi", 1, _W, "lines", "today's residual of the least-squares line through the window"),
    Operator("WMA", 1, _W, "lines", "mean with weights 1, 2, …, n (newest)"),
    Operator("Max", 1, _W, "extrema", "largest value in the window"),
    Operator("Min", 1, _W, "extrema", "smallest value in the window"),
    Operator("IdxMax", 1, _W, "extrema", "place of the largest value, 1 = oldest bar of the window; first of ties"),
    Operator("IdxMin", 1, _W, "extrema", "place of the smallest value, 1 = oldest bar of the window; first of ties"),
    Operator("Quantile", 1, ("window", "quantile"), "order", "quantile over the window, linear between values"),
    Operator("Med", 1, _W, "order", "median over the window"),
    Operator("Rank", 1, _W, "order", "average rank of today's value in the window ÷ number of values"),
    Operator("Skew", 1, _W, "shape", "sample skewness over the window (adjusted Fisher–Pearson)", 3),
    Operator("Kurt", 1, _W, "shape", "sample excess kurtosis over the window", 4),
    Operator("Mad", 1, _W, "shape", "mean absolute deviation from the window's mean"),
    Operator("Product", 1, _W, "shape", "product over the window"),
    Operator("EMA", 1, ("span",), "decay", "exponential mean: newest weight 2/(span+1)"),
    Operator("Corr", 2, _W, "pair", "correlation over the window, pairs with both values"),
    Operator("Cov", 2, _W, "pair", "sample covariance over the window (n − 1), pairs with both values"),
    Operator("SessionFirst", 1, (), "session", "first value of the session so far"),
    Operator("SessionSum", 1, (), "session", "sum since the session's open"),
    Operator("SessionMean", 1, (), "session", "mean since the session's open"),
    Operator("SessionCount", 1, (), "session", "number of values that are not NaN since the session's open"),
    Operator("SessionMax", 1, (), "session", "largest value since the session's open"),
    Operator("SessionMin", 1, (), "session", "smallest value since the session's open"),
    Operator("SessionRatio", 2, (), "session", "sum of a ÷ sum of b since the session's open, pairs with both values"),
    Operator("SessionLast", 1, _S, "session", "last value of the session n sessions ago"),
    Operator("SessionAgo", 1, _S, "session", "the value in the same slot of the session n sessions ago"),
    Operator("CSRank", 1, (), "cross", "average rank among the symbols of the date ÷ their number, in (0, 1]"),
    Operator("CSZScore", 1, (), "cross", "distance from the date's mean in its standard deviations (n − 1)"),
    Operator("CSDemean", 1, (), "cross", "value less the date's mean"),
    Operator("CSScale", 1, (), "cross", "value ÷ the date's sum of absolute values"),
    Operator("CSBucket", 1, ("buckets",), "cross", "bucket by rank, 1 (smallest values) to n; ties share one"),
    Operator("CSWinsorize", 1, ("tail",), "cross", "value, but no further out than the date's quantiles q and 1 − q"),
    Operator("CSResidual", 2, (), "cross", "residual of the date's least-squares line of a on b"),
    Operator("CSNeutralize", 2, (), "cross", "value less the mean of its group on the date; b is the group"),
    Operator("CSGroupRank", 2, (), "cross", "average rank in its group on the date ÷ the group's number"),
    Operator("CSGroupZScore", 2, (), "cross", "distance from its group's mean in the group's standard deviations"),
    Operator("CSGroupMean", 2, (), "cross", "mean of its group on the date"),
    Operator("CSMean", 1, (), "cross", "the date's mean, for every symbol with a bar"),
    Operator("CSStd", 1, (), "cross", "the date's standard deviation (n − 1), for every symbol with a bar"),
    Operator("CSSum", 1, (), "cross", "the date's sum, for every symbol with a bar"),
    Operator("CSCount", 1, (), "cross", "number of symbols with a value on the date, for every symbol with a bar"),
    Operator("CSQuantile", 1, ("quantile",), "cross", "the date's quantile, linear between values, for every symbol"),
)

OPERATORS: dict[str, Operator] = {operator.name: operator for operator in _ALL}
"""All operators that come with aiquant, by name."""

_OTHER_SYMBOL = "a feature reads the bars of its own symbol; compare symbols with CSMean, CSRank, CSResidual …"
_QUARTERLY = "there are no quarterly statements here: attach what was known at each bar as a field of its own"

LEFT_OUT = {
    "Mask": ("reads another instrument's series", _OTHER_SYMBOL),
    "ChangeInstrument": ("reads another instrument's series", _OTHER_SYMBOL),
    "TResample": (
        "gives a series of another frequency, whose last value is known only when its period is over",
        "use windows of the bars' own interval, or SessionSum, SessionMax, SessionLast …",
    ),
    "P": ("collapses a table of quarterly statements", _QUARTERLY),
    "PRef": ("collapses a table of quarterly statements", _QUARTERLY),
}
"""Operators of Qlib that make no sense here: why, and what to do instead."""


def find(name: str, own: Mapping[str, Operator] | None = None) -> Operator:
    """The operator of that name.

    Parameters
    ----------
    own
        Operators of a set's own, by name.

    Raises
    ------
    UsageError
        When there is none; names the nearest, or says why an operator of Qlib was left out.
    """
    own = own or {}
    if name in OPERATORS or name in own:
        return own.get(name) or OPERATORS[name]
    if name in LEFT_OUT:
        raise UsageError(f"{name} is left out: it {LEFT_OUT[name][0]}", LEFT_OUT[name][1])
    raise UsageError(f"no operator is named {name!r}", nearest(name, [*OPERATORS, *own], "operators"))


def nearest(name: str, known: list[str], what: str) -> str:
    """A remedy for an unknown name: the nearest known one, or all of them."""
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return f"did you mean {by_lower[close[0]]!r}?" if close else f"the {what} are {', '.join(sorted(known))}"
