"""Expressions → a plan: in which order nodes are computed, which go together, and when each is no longer needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiquant.features import elementwise, rolling
from aiquant.features.expressions import Expression, walk


@dataclass(frozen=True)
class Step:
    """Nodes that are computed together.

    Attributes
    ----------
    nodes
        One node, or rolling nodes of one family over the same series.
    skip
        Leading cells of each symbol whose values no result needs.
    finished
        Digests of values that no later step reads.
    results
        ``(row, digest)`` of features that are complete after this step.
    """

    nodes: tuple[Expression, ...]
    skip: int
    finished: tuple[str, ...]
    results: tuple[tuple[int, str], ...]


def family(node: Expression) -> str:
    """Family of a node's operator; ``leaf`` for fields and constants."""
    return node.operator.family if node.operator else "leaf"


def own_slots(node: Expression, per_session: int) -> int:
    """Slots that a node's operator reads back of its arguments."""
    return node.operator.reach(node.numbers).slots(per_session) if node.operator else 0


def cross_levels(roots: Iterable[Expression]) -> list[list[Expression]]:
    """All nodes below ``roots`` that need every symbol of a date: each level builds on the ones before alone."""
    levels: dict[str, int] = {}
    found: defaultdict[int, list[Expression]] = defaultdict(list)
    for node in walk(roots):
        below = max((levels[arg.digest] for arg in node.args), default=0)
        levels[node.digest] = below + (family(node) == "cross")
        if family(node) == "cross":
            found[levels[node.digest]].append(node)
    return [found[level] for level in sorted(found)]


def portions(roots: Sequence[Expression], most: int) -> list[tuple[int, int]]:
    """Ranges of ``roots`` with at most ``most`` distinct nodes each that need every symbol; a root is never split."""
    ranges: list[tuple[int, int]] = []
    first, seen = 0, set[str]()
    for at, root in enumerate(roots):
        own = {node.digest for node in walk([root]) if family(node) == "cross"}
        if own and at > first and len(seen | own) > most:
            ranges.append((first, at))
            first, seen = at, set()
        seen |= own
    return [*ranges, (first, len(roots))]


def plan(roots: Sequence[Expression], ready: frozenset[str], skip: int = 0, per_session: int = 1) -> list[Step]:
    """Steps that compute ``roots``.

    Parameters
    ----------
    ready
        Digests whose values are there already (cross-sections of an earlier stage).
    skip
        Leading cells of each symbol for which no result is wanted: those that are there only to be looked back at.
    per_session
        The most slots that a session has.
    """
    nodes = walk(roots, stop=lambda n: n.digest in ready)
    groups = _groups(nodes)
    skips = _skips(nodes, ready, roots, skip, per_session)
    last_use: dict[str, int] = {}
    for at, group in enumerate(groups):
        for node in group:
            for used in [] if node.digest in ready else _reads(node):
                last_use[used.digest] = at
            last_use.setdefault(node.digest, at)
    finished: defaultdict[int, list[str]] = defaultdict(list)
    for digest, at in last_use.items():
        finished[at].append(digest)
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, root in enumerate(roots):
        rows[root.digest].append(row)
    return [
        Step(
            nodes=tuple(group),
            skip=min(skips[n.digest] for n in group),
            finished=tuple(finished[at]),
            results=tuple((row, n.digest) for n in group for row in rows[n.digest]),
        )
        for at, group in enumerate(groups)
    ]


def _reads(node: Expression) -> list[Expression]:
    base = elementwise.guard(node)
    return [*node.args, base] if base is not None else list(node.args)


def _groups(nodes: list[Expression]) -> list[list[Expression]]:
    """Nodes in order; rolling nodes that share a pass stand together where the first of them stood."""
    groups: list[list[Expression]] = []
    by_key: dict[str, list[Expression]] = {}
    for node in nodes:
        if family(node) not in rolling.ROLLING:
            groups.append([node])
            continue
        key = rolling.group_key(node)
        if key in by_key:
            by_key[key].append(node)
        else:
            by_key[key] = [node]
            groups.append(by_key[key])
    return groups


def _skips(
    nodes: list[Expression], ready: frozenset[str], roots: Sequence[Expression], skip: int, per_session: int
) -> dict[str, int]:
    """For each node the number of leading cells that nobody reads."""
    skips = {node.digest: skip if any(node is r for r in roots) else -1 for node in nodes}
    for root in roots:
        skips[root.digest] = skip
    for node in reversed(nodes):
        if node.digest in ready:
            continue
        own = own_slots(node, per_session)
        for used in _reads(node):
            needed = max(0, skips[node.digest] - own)
            known = skips[used.digest]
            skips[used.digest] = needed if known < 0 else min(known, needed)
    return skips
