"""The versions of the registered model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from aiquant.jobs.workspace import Workspace


@dataclass(frozen=True)
class ModelLine:
    """A registered version in one line."""

    version: int
    aliases: list[str]
    run_id: str
    verdict: str
    rank_ic: float | None
    rank_ic_t: float | None
    sharpe_net: float | None
    digest: str
    made: str


def list_models(workspace: Workspace) -> list[ModelLine]:
    """All versions, the newest first."""
    from aiquant.learning import registry, tracking

    if not tracking.is_there(workspace.settings.tracking, workspace.root):
        return []
    store = tracking.connect(workspace.settings.tracking, workspace.root)
    return [
        ModelLine(
            version=found.version,
            aliases=list(found.aliases),
            run_id=found.run_id,
            verdict=found.verdict,
            rank_ic=found.metrics.get("rank_ic"),
            rank_ic_t=found.metrics.get("rank_ic_t"),
            sharpe_net=found.metrics.get("net_sharpe"),
            digest=found.digest,
            made=datetime.fromtimestamp(found.created / 1000, UTC).isoformat(timespec="seconds"),
        )
        for found in registry.list_versions(store)
    ]
