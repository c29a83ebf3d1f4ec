"""Expressions → a plan: in which order nodes are computed and which go together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from aiquant.features import programs, rolling
from aiquant.features.expressions import Expression, walk
from aiquant.features.placing import WHOLE, Kind, Part, Placing, Plan


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


def plan(
    roots: Sequence[Expression],
    ready: frozenset[str],
    policy: rolling.Policy,
    per_session: int = 1,
    skip: int = 0,
    keep: bool = False,
) -> Plan:
    """Steps that compute ``roots``.

    Parameters
    ----------
    ready
        Digests whose values are there already (cross-sections of an earlier stage).
    policy
        How windows are judged.
    per_session
        The most slots that a session has.
    skip
        Leading cells of each symbol for which no result is wanted: those that are there only to be looked back at.
    keep
        Whether the values of all cells are wanted, instead of rows of the result.
    """
    nodes = walk(roots, stop=lambda n: n.digest in ready)
    values = programs.Values(nodes, ready, policy.compat)
    sequence = _Sequence(ready, values)
    wanted: defaultdict[str, list[int]] = defaultdict(list)
    for row, root in enumerate(roots):
        wanted[root.digest].append(row)
    filled = {root.digest for root in roots} if keep else set()
    for node in nodes:
        if node.digest not in ready and family(node) in {*rolling.ROLLING, *WHOLE}:
            filled.update(arg.digest for arg in node.args)
    for group in _groups(nodes, ready):
        sequence.add([n for n in group if n.digest not in values.numbers or n.digest in filled])
        if not keep:
            sequence.write([programs.Entry(n, row) for n in group for row in wanted[n.digest]])
    skips = _skips(nodes, ready, roots, skip, per_session)
    return Placing(sequence.parts, values, policy, per_session, skips, roots if keep else ()).plan()


class _Sequence:
    """Groups of nodes in the order in which they come; element-wise ones that follow one another are one part."""

    def __init__(self, ready: frozenset[str], values: programs.Values) -> None:
        self.ready = ready
        self.values = values
        self._program = Part("program", [])
        self._inside: set[str] = set()
        self._parts: list[Part] = []

    @property
    def parts(self) -> list[Part]:
        """All parts."""
        return [*self._parts, self._program]

    def add(self, group: list[Expression]) -> None:
        """Nodes that are computed together."""
        if not group:
            return
        kind = self._kind(group[0])
        entries = [programs.Entry(node) for node in group]
        if kind == "program":
            self._program.entries += entries
            self._inside.update(node.digest for node in group)
            return
        # What does not build on the open program may stand before it, so that programs are few.
        if kind == "roll" or (kind == "call" and any(a.digest in self._inside for a in programs.reads(group[0]))):
            self._parts.append(self._program)
            self._program, self._inside = Part("program", []), set()
        self._parts.append(Part(kind, entries))

    def write(self, entries: list[programs.Entry]) -> None:
        """Results that are complete."""
        self._program.entries += entries

    def _kind(self, node: Expression) -> Kind:
        if node.digest in self.ready or node.op == "field":
            return "load"
        if family(node) in rolling.ROLLING:
            return "roll"
        numeric = node.digest in self.values.numbers
        return "program" if numeric or node.op in programs.INSTRUCTIONS else "call"


def _groups(nodes: list[Expression], ready: frozenset[str]) -> list[list[Expression]]:
    """Nodes in order; rolling nodes that share a pass stand together where the first of them stood."""
    groups: list[list[Expression]] = []
    by_key: dict[str, list[Expression]] = {}
    for node in nodes:
        if family(node) not in rolling.ROLLING or node.digest in ready:
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
    skips = {root.digest: skip for root in roots}
    for node in reversed(nodes):
        if node.digest in ready:
            continue
        own = own_slots(node, per_session)
        for used in programs.reads(node):
            needed = max(0, skips[node.digest] - own)
            skips[used.digest] = min(skips.get(used.digest, needed), needed)
    return skips
