"""Calls the kernels: requests of one family over one series become one pass.

A module of kernels is imported, and so compiled or read from the cache, when a graph first needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.features.expressions import Expression
from aiquant.features.operators import decay_length, newest_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_VERSION = 1
"""Rises whenever a kernel's values change; part of the version of every feature set."""

ROLLING = frozenset({"sums", "lines", "extrema", "order", "shape", "decay", "pair", "own"})
"""Families that are computed here."""


def group_key(node: Expression) -> str:
    """Nodes with equal keys are computed in one pass."""
    family = _family(node)
    if family == "own":
        return node.digest
    side = "low" if node.op in ("Min", "IdxMin") else ""
    one = f"{node.numbers[0]}" if family == "order" else ""
    return "/".join((family, side, one, *(a.digest for a in node.args)))


def _family(node: Expression) -> str:
    return node.operator.family if node.operator else ""


@dataclass(frozen=True)
class Policy:
    """How windows that are not full are judged.

    Attributes
    ----------
    partial
        Whether a window with one value is enough (Qlib's ``min_periods=1``); else half of its slots must hold values.
    compat
        Qlib's behaviour where it is a trap.
    """

    partial: bool
    compat: bool

    def least(self, window: int) -> int:
        """Fewest values in a window of that length that give a result."""
        return 1 if self.partial else (window + 1) // 2


def compute(
    nodes: Sequence[Expression],
    series: list[NDArray[np.float64]],
    starts: NDArray[np.int64],
    skip: int,
    policy: Policy,
) -> list[NDArray[np.float64]]:
    """Values of rolling nodes that share a :func:`group_key`.

    Parameters
    ----------
    nodes
        In the order in which results are wanted.
    series
        Values of their arguments, float64 (cells,).
    starts
        int64 (symbols + 1,): see :mod:`aiquant.features.kernels`.
    skip
        Leading cells of each symbol whose results nobody reads.
    """
    order = sorted(range(len(nodes)), key=lambda k: (nodes[k].numbers, nodes[k].op))
    ranked = [nodes[k] for k in order]
    out = np.empty((len(nodes), len(series[0])))
    if skip:
        out[:] = np.nan
    family = _family(nodes[0])
    _FAMILIES[family](ranked, series, starts, skip, policy, out)
    results: list[Any] = [None] * len(nodes)
    for row, k in enumerate(order):
        results[k] = out[row]
    return results


def newest(
    nodes: Sequence[Expression], series: list[NDArray[np.float64]], starts: NDArray[np.int64], policy: Policy
) -> list[NDArray[np.float64]]:
    """The last value of each symbol: what :func:`compute` gives in its last cell, at the price of one cell.

    Parameters
    ----------
    nodes, series, starts, policy
        As for :func:`compute`; every symbol has a cell.
    """
    family = _family(nodes[0])
    if family not in _NEWEST:
        skip = int(np.diff(starts).min(initial=1)) - 1
        return [values[starts[1:] - 1] for values in compute(nodes, series, starts, skip, policy)]
    order = sorted(range(len(nodes)), key=lambda k: (nodes[k].numbers, nodes[k].op))
    out = np.empty((len(nodes), len(starts) - 1))
    _NEWEST[family]([nodes[k] for k in order], series, starts, policy, out)
    results: list[Any] = [None] * len(nodes)
    for row, k in enumerate(order):
        results[k] = out[row]
    return results


def _windows(nodes: list[Expression], policy: Policy) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    windows = [int(n.numbers[0]) for n in nodes]
    return np.array(windows, dtype=np.int64), np.array([policy.least(w) for w in windows], dtype=np.int64)


def _sums(nodes: list[Expression], x: Any, starts: Any, skip: int, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.sums import KINDS, rolling_sums

    windows, least = _windows(nodes, policy)
    kinds = np.array([KINDS[n.op] for n in nodes], dtype=np.int64)
    rolling_sums(x[0], starts, skip, kinds, windows, least, out)


def _lines(nodes: list[Expression], x: Any, starts: Any, skip: int, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.lines import KINDS, rolling_lines

    windows, least = _windows(nodes, policy)
    kinds = np.array([KINDS[n.op] for n in nodes], dtype=np.int64)
    rolling_lines(x[0], starts, skip, kinds, windows, least, policy.compat, out)


def _extrema(nodes: list[Expression], x: Any, starts: Any, skip: int, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.extrema import KINDS, rolling_maxima

    windows, least = _windows(nodes, policy)
    kinds = np.array([KINDS[n.op] for n in nodes], dtype=np.int64)
    sign = -1.0 if nodes[0].op in ("Min", "IdxMin") else 1.0
    rolling_maxima(x[0], starts, skip, sign, kinds, windows, least, policy.compat, out)


def _shape(nodes: list[Expression], x: Any, starts: Any, skip: int, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.shape import KINDS, rolling_shape

    windows, least = _windows(nodes, policy)
    kinds = np.array([KINDS[n.op] for n in nodes], dtype=np.int64)
    rolling_shape(x[0], starts, skip, kinds, windows, least, out)


def _order(nodes: list[Expression], x: Any, starts: Any, skip: int, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.order import RANK, rolling_order

    _, least = _windows(nodes, policy)
    quantiles = [RANK if n.op == "Rank" else 0.5 if n.op == "Med" else n.numbers[1] for n in nodes]
    rolling_order(x[0], starts, skip, int(nodes[0].numbers[0]), np.array(quantiles), int(least[0]), out)


def _decay(nodes: list[Expression], x: Any, starts: Any, skip: int, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.decay import rolling_decay

    keep = np.array([1.0 - newest_weight(n.numbers[0]) for n in nodes])
    lengths = np.array([decay_length(n.numbers[0]) for n in nodes], dtype=np.int64)
    rolling_decay(x[0], starts, skip, keep, lengths, out)


def _pair(nodes: list[Expression], x: Any, starts: Any, skip: int, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.pair import KINDS, rolling_pair

    windows, least = _windows(nodes, policy)
    kinds = np.array([KINDS[n.op] for n in nodes], dtype=np.int64)
    rolling_pair(x[0], x[1], starts, skip, kinds, windows, least, policy.compat, out)


def _own(nodes: list[Expression], x: Any, starts: Any, skip: int, policy: Policy, out: Any) -> None:
    from aiquant.features import own

    own.compute(nodes[0], x, starts, skip, policy.least(int(nodes[0].numbers[0])), out[0])


_FAMILIES = {
    "sums": _sums,
    "lines": _lines,
    "extrema": _extrema,
    "shape": _shape,
    "order": _order,
    "decay": _decay,
    "pair": _pair,
    "own": _own,
}


def _newest_sums(nodes: list[Expression], x: Any, starts: Any, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.newest import newest_sums
    from aiquant.features.kernels.sums import KINDS

    newest_sums(x[0], starts, _kinds(nodes, KINDS), *_windows(nodes, policy), out)


def _newest_lines(nodes: list[Expression], x: Any, starts: Any, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.lines import KINDS
    from aiquant.features.kernels.newest import newest_lines

    newest_lines(x[0], starts, _kinds(nodes, KINDS), *_windows(nodes, policy), policy.compat, out)


def _newest_extrema(nodes: list[Expression], x: Any, starts: Any, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.extrema import KINDS
    from aiquant.features.kernels.newest import newest_maxima

    sign = -1.0 if nodes[0].op in ("Min", "IdxMin") else 1.0
    newest_maxima(x[0], starts, sign, _kinds(nodes, KINDS), *_windows(nodes, policy), policy.compat, out)


def _newest_pair(nodes: list[Expression], x: Any, starts: Any, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.newest import newest_pair
    from aiquant.features.kernels.pair import KINDS

    newest_pair(x[0], x[1], starts, _kinds(nodes, KINDS), *_windows(nodes, policy), policy.compat, out)


def _kinds(nodes: list[Expression], known: dict[str, int]) -> NDArray[np.int64]:
    return np.array([known[n.op] for n in nodes], dtype=np.int64)


_NEWEST = {"sums": _newest_sums, "lines": _newest_lines, "extrema": _newest_extrema, "pair": _newest_pair}
"""Families with kernels for one cell; others are computed over their look-back."""
