"""Calls the kernels: requests of one family over one series become one pass.

A module of kernels is imported, and so compiled or read from the cache, when a graph first needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.features.expressions import Expression
from aiquant.features.operators import decay_length, newest_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL_VERSION = 2
"""Rises whenever a kernel's values change; part of the version of every feature set."""

ROLLING = frozenset({"sums", "lines", "extrema", "order", "shape", "decay", "pair", "own"})
"""Families that are computed here."""


def group_key(node: Expression) -> str:
    """Nodes with equal keys are computed in one pass."""
    family = _family(node)
    if family == "own":
        return node.digest
    side = "low" if node.op in ("Min", "IdxMin") else ""
    return "/".join((family, side, *(a.digest for a in node.args)))


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
    order = ranked(nodes)
    out = np.empty((len(nodes), len(series[0])))
    prepare(order, policy)(series, starts, skip, out)
    rows = {node.digest: row for row, node in enumerate(order)}
    return [out[rows[node.digest]] for node in nodes]


def ranked(nodes: Sequence[Expression]) -> list[Expression]:
    """Nodes of one pass in the order in which their kernel takes them: by window."""
    return sorted(nodes, key=lambda node: (node.numbers, node.op))


Kernel = Callable[["list[NDArray[np.float64]]", "NDArray[np.int64]", int, "NDArray[np.float64]"], None]
"""Takes series, starts, skip and ``out``, (nodes, cells): see :func:`compute`."""


def prepare(nodes: Sequence[Expression], policy: Policy) -> Kernel:
    """The kernel of nodes that share a :func:`group_key` and are :func:`ranked`; it takes data alone."""
    return _FAMILIES[_family(nodes[0])](list(nodes), policy)


def has_newest(nodes: Sequence[Expression], policy: Policy) -> bool:
    """Whether :func:`newest` knows these nodes; Qlib's weighted means ask where the history begins."""
    weighted = policy.compat and any(node.op == "WMA" for node in nodes)
    return _family(nodes[0]) in _NEWEST and not weighted


def newest(
    nodes: Sequence[Expression], series: list[NDArray[np.float64]], seen: NDArray[np.int64], policy: Policy
) -> list[NDArray[np.float64]]:
    """The value of each symbol in its newest slot: what :func:`compute` gives there, at the price of one cell.

    Parameters
    ----------
    nodes, policy
        As for :func:`compute`.
    series
        float64, (slots, symbols), the newest slot last: as many slots as the widest window.
    seen
        int64, (symbols,): how many of these slots belong to each symbol's history.
    """
    order = ranked(nodes)
    out = np.empty((len(order), len(seen)))
    _NEWEST[_family(order[0])](order, series, seen, policy, out)
    rows = {node.digest: row for row, node in enumerate(order)}
    return [out[rows[node.digest]] for node in nodes]


def _windows(nodes: list[Expression], policy: Policy) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    windows = [int(n.numbers[0]) for n in nodes]
    return np.array(windows, dtype=np.int64), np.array([policy.least(w) for w in windows], dtype=np.int64)


def _sums(nodes: list[Expression], policy: Policy) -> Kernel:
    from aiquant.features.kernels.sums import KINDS, rolling_sums

    kinds, (windows, least) = _kinds(nodes, KINDS), _windows(nodes, policy)
    return lambda x, starts, skip, out: rolling_sums(x[0], starts, skip, kinds, windows, least, out)


def _lines(nodes: list[Expression], policy: Policy) -> Kernel:
    from aiquant.features.kernels.lines import KINDS, rolling_lines

    kinds, (windows, least) = _kinds(nodes, KINDS), _windows(nodes, policy)
    return lambda x, starts, skip, out: rolling_lines(x[0], starts, skip, kinds, windows, least, policy.compat, out)


def _extrema(nodes: list[Expression], policy: Policy) -> Kernel:
    from aiquant.features.kernels.extrema import KINDS, rolling_maxima

    kinds, (windows, least) = _kinds(nodes, KINDS), _windows(nodes, policy)
    sign = -1.0 if nodes[0].op in ("Min", "IdxMin") else 1.0
    return lambda x, starts, skip, out: rolling_maxima(
        x[0], starts, skip, sign, kinds, windows, least, policy.compat, out
    )


def _shape(nodes: list[Expression], policy: Policy) -> Kernel:
    from aiquant.features.kernels.shape import KINDS, rolling_shape

    kinds, (windows, least) = _kinds(nodes, KINDS), _windows(nodes, policy)
    return lambda x, starts, skip, out: rolling_shape(x[0], starts, skip, kinds, windows, least, out)


def _order(nodes: list[Expression], policy: Policy) -> Kernel:
    from aiquant.features.kernels.order import rolling_order

    quantiles, (windows, least) = _quantiles(nodes), _windows(nodes, policy)
    return lambda x, starts, skip, out: rolling_order(x[0], starts, skip, quantiles, windows, least, out)


def _quantiles(nodes: list[Expression]) -> NDArray[np.float64]:
    from aiquant.features.kernels.order import RANK

    told = [RANK if n.op == "Rank" else 0.5 if n.op == "Med" else n.numbers[1] for n in nodes]
    return np.array(told, dtype=np.float64)


def _decay(nodes: list[Expression], policy: Policy) -> Kernel:
    from aiquant.features.kernels.decay import rolling_decay

    keep = np.array([1.0 - newest_weight(n.numbers[0]) for n in nodes])
    lengths = np.array([decay_length(n.numbers[0]) for n in nodes], dtype=np.int64)
    return lambda x, starts, skip, out: rolling_decay(x[0], starts, skip, keep, lengths, out)


def _pair(nodes: list[Expression], policy: Policy) -> Kernel:
    from aiquant.features.kernels.pair import KINDS, rolling_pair

    kinds, (windows, least) = _kinds(nodes, KINDS), _windows(nodes, policy)
    return lambda x, starts, skip, out: rolling_pair(
        x[0], x[1], starts, skip, kinds, windows, least, policy.compat, out
    )


def _own(nodes: list[Expression], policy: Policy) -> Kernel:
    from aiquant.features import own

    (node,) = nodes
    least = policy.least(int(node.numbers[0]))
    return lambda x, starts, skip, out: own.compute(node, x, starts, skip, least, out[0])


_FAMILIES: dict[str, Callable[[list[Expression], Policy], Kernel]] = {
    "sums": _sums,
    "lines": _lines,
    "extrema": _extrema,
    "shape": _shape,
    "order": _order,
    "decay": _decay,
    "pair": _pair,
    "own": _own,
}


def _newest_sums(nodes: list[Expression], x: Any, seen: Any, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.newest import newest_sums
    from aiquant.features.kernels.sums import KINDS

    newest_sums(x[0], _kinds(nodes, KINDS), *_windows(nodes, policy), out)


def _newest_lines(nodes: list[Expression], x: Any, seen: Any, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.lines import KINDS
    from aiquant.features.kernels.newest import newest_lines

    newest_lines(x[0], _kinds(nodes, KINDS), *_windows(nodes, policy), policy.compat, out)


def _newest_extrema(nodes: list[Expression], x: Any, seen: Any, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.extrema import KINDS
    from aiquant.features.kernels.newest import newest_maxima

    sign = -1.0 if nodes[0].op in ("Min", "IdxMin") else 1.0
    newest_maxima(x[0], seen, sign, _kinds(nodes, KINDS), *_windows(nodes, policy), policy.compat, out)


def _newest_order(nodes: list[Expression], x: Any, seen: Any, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.newest import newest_order

    newest_order(x[0], _quantiles(nodes), *_windows(nodes, policy), out)


def _newest_pair(nodes: list[Expression], x: Any, seen: Any, policy: Policy, out: Any) -> None:
    from aiquant.features.kernels.newest import newest_pair
    from aiquant.features.kernels.pair import KINDS

    newest_pair(x[0], x[1], _kinds(nodes, KINDS), *_windows(nodes, policy), policy.compat, out)


def _kinds(nodes: list[Expression], known: dict[str, int]) -> NDArray[np.int64]:
    return np.array([known[n.op] for n in nodes], dtype=np.int64)


_NEWEST = {
    "sums": _newest_sums,
    "lines": _newest_lines,
    "extrema": _newest_extrema,
    "order": _newest_order,
    "pair": _newest_pair,
}
"""Families with kernels for one cell; others are computed over their look-back."""
