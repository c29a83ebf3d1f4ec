"""``check leakage --strategy`` and ``check recursive --strategy``: try to prove a strategy wrong."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiquant.jobs.journal import Journal
from aiquant.jobs.leakage import Comparison, Verdict
from aiquant.jobs.strategies import Chosen, material
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from aiquant.portfolio.strategies.recursion import Recursion


class StrategyVerdict(Verdict):
    """What the check of a strategy found."""

    def sentence(self) -> str:
        """The verdict in one sentence."""
        moments = len({c.at for c in self.comparisons})
        values = sum(c.compared for c in self.comparisons)
        if self.passed:
            return (
                f"No leak found: {values:,} decided values around {moments} moments do not depend on the future, on "
                "earlier calls, on a clock or on chance."
            )
        return f"Not a function of its history ({', '.join(self.leaking)}): {self._first()}."

    def _first(self) -> str:
        return next((c.example for c in self.comparisons if c.differing and c.example), "decisions differ")


def leakage(workspace: Workspace, journal: Journal, chosen: Chosen, run_id: str | None = None) -> StrategyVerdict:
    """Whether the decisions of a strategy depend on anything but what was known; see
    :mod:`aiquant.portfolio.strategies.leakage`."""
    from aiquant.portfolio.strategies import leakage as room

    settings = chosen.settings
    with journal.station("check leakage") as station:
        found = room.examine(
            chosen.fresh,
            material(workspace, run_id).tables(),
            chosen.definition.name,
            cuts=settings.leakage.cuts,
            seed=settings.learning.seed,
            progress=journal.progress("check leakage"),
        )
        verdict = StrategyVerdict([Comparison(**asdict(finding)) for finding in found])
        station.rows = sum(c.compared for c in verdict.comparisons)
        station.note = "passed" if verdict.passed else "FAILED: " + ", ".join(verdict.leaking)
    return verdict


def recursive(
    workspace: Workspace, journal: Journal, chosen: Chosen, run_id: str | None = None, tolerance: float = 1e-6
) -> Recursion:
    """How much history the decisions of a strategy need; see :mod:`aiquant.portfolio.strategies.recursion`."""
    from aiquant.portfolio.strategies import recursion as room

    with journal.station("check recursive") as station:
        found = room.examine(
            chosen.fresh,
            material(workspace, run_id).tables(),
            chosen.definition.name,
            tolerance=tolerance,
            progress=journal.progress("check recursive"),
        )
        station.rows = sum(w.compared for w in found.lengths)
        station.note = "passed" if found.passed else "FAILED"
    return found


def told(found: Recursion) -> dict[str, Any]:
    """As plain data for JSON."""
    return {
        "passed": found.passed,
        "sentence": found.sentence(),
        **asdict(found),
    }
