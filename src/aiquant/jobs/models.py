"""The versions of the registered model: which there are, which is in use, and how that changes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiquant.errors import DataError, MissingError, RefusedError, Unreachable, UsageError
from aiquant.jobs import evaluate, track
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace, read_json

if TYPE_CHECKING:
    from aiquant.learning.registry import Version
    from aiquant.learning.tracking import Tracking


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
    override: str | None = None


@dataclass(frozen=True)
class Shown:
    """A registered version with all that is known of it.

    Attributes
    ----------
    passed
        Whether the gate let this very artefact pass.
    checks, figures
        Of the gate.
    promotions
        Each time that it was put in the champion's place: ``at``, ``by``, ``before``, ``kind``, ``override``.
    """

    line: ModelLine
    passed: bool
    checks: list[dict[str, Any]]
    figures: dict[str, float | None]
    metrics: dict[str, float]
    promotions: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        told = {name: value for name, value in vars(self).items() if name != "line"}
        return {**asdict(self.line), **told}


@dataclass(frozen=True)
class Compared:
    """Two versions side by side.

    Attributes
    ----------
    figures
        Name → value of the first and of the second; None where one has none.
    settings
        Settings that differ, likewise.
    """

    first: ModelLine
    second: ModelLine
    figures: dict[str, tuple[float | None, float | None]]
    settings: dict[str, tuple[Any, Any]]


def list_models(workspace: Workspace) -> list[ModelLine]:
    """All versions, the newest first."""
    from aiquant.learning import registry, tracking

    if not tracking.is_there(workspace.settings.tracking, workspace.root):
        return []
    store = tracking.connect(workspace.settings.tracking, workspace.root)
    return [_line(found) for found in registry.list_versions(store)]


def show(workspace: Workspace, which: str | None = None) -> Shown:
    """One version, by default the champion.

    Parameters
    ----------
    which
        Number of a version, a run's id, or an alias: ``champion``, ``challenger``, ``previous``.

    Raises
    ------
    MissingError
        When there is no such version, or no champion.
    """
    from aiquant.learning import registry

    return _shown(registry.named(_store(workspace), which or registry.CHAMPION))


def promote(workspace: Workspace, which: str, override: str | None = None, journal: Journal | None = None) -> Shown:
    """Put a version (its number or alias), or the model of a run (its id), in the champion's place.

    The verdict has to be of now: where more was tried since it was given, or thresholds or the champion became others,
    the run is held against the gate again.

    Parameters
    ----------
    override
        Why it is promoted although the gate refused it; kept with the version for all to see.

    Raises
    ------
    RefusedError
        When the gate does not let it pass and no reason is given; when its model is not the one that was trained.
    MissingError
        When there is no such version or run, or the run was not judged, or cannot be judged again.
    UsageError
        When the reason is empty.
    """
    from aiquant.learning import registry

    if override is not None and not override.strip():
        raise UsageError("an override needs a reason", 'write it: --override "why the gate is wrong here"')
    store = _store(workspace)
    if not which.isdecimal() and (workspace.runs / which / "manifest.json").is_file():
        known = next((v for v in registry.list_versions(store) if v.run_id == which), None)
        if known is None:
            return _promote_run(workspace, store, which, override, journal or Journal())
    else:
        known = registry.named(store, which)
    if registry.CHAMPION in known.aliases:
        return _shown(registry.promote(store, known.version, override))
    stands = _renewed(workspace, store, known.run_id, known.basis, override, journal or Journal())
    return _shown(registry.promote(store, known.version, override, stands))


def _promote_run(workspace: Workspace, store: Tracking, run_id: str, override: str | None, journal: Journal) -> Shown:
    """The way of a run that is not registered: only a pass of now, or a reason, registers it."""
    from aiquant.learning import registry
    from aiquant.learning.gate import Verdict

    file = workspace.run_folder(run_id) / "verdict.json"
    if not file.is_file():
        raise MissingError(f"run {run_id} was not judged", f"do it with: aiquant evaluate {run_id}")
    told = read_json(file)
    basis = "" if told["promoted"] else told.get("basis", "")  # a pass that was not registered is to be completed
    _renewed(workspace, store, run_id, basis, override, journal)
    verdict = Verdict.from_dict(read_json(file))
    if not verdict.promoted and override is None:
        raise RefusedError(
            f"run {run_id} did not pass the gate: {'; '.join(verdict.reasons)}",
            'give a reason to promote it all the same: --override "why"',
        )
    if override is not None and not verdict.promoted:
        return _shown(registry.get(store, track.register_anyway(workspace, store, run_id, verdict, override)))
    return _shown(registry.named(store, run_id))


def _renewed(
    workspace: Workspace, store: Tracking, run_id: str, basis: str, override: str | None, journal: Journal
) -> bool:
    """Have a run judged anew unless its verdict is of now; whether there is a verdict of now."""
    if basis == evaluate.basis(workspace, store):
        return True
    journal.note(f"the verdict on {run_id} is older than what was tried, set or used since: it is judged again")
    try:
        evaluate.evaluate(workspace, journal, run_id)
    except (DataError, MissingError) as error:
        if override is not None and not isinstance(error, Unreachable):
            return False
        raise type(error)(
            f"run {run_id} cannot be judged again, and its verdict is out of date: {error.problem}", error.remedy
        ) from error
    return True


def rollback(workspace: Workspace) -> Shown:
    """Put the previous champion back in its place.

    Raises
    ------
    MissingError
        When there is none.
    """
    from aiquant.learning import registry

    return _shown(registry.rollback(_store(workspace)))


def compare(workspace: Workspace, first: str | None = None, second: str | None = None) -> Compared:
    """Two versions or runs side by side: by default the challenger (else the newest version) beside the champion.

    Parameters
    ----------
    first, second
        Number of a version, or an alias: ``champion``, ``challenger``, ``previous``.

    Raises
    ------
    MissingError
        When there is no such version.
    """
    from aiquant.learning import registry

    store = _store(workspace)
    versions = registry.list_versions(store)
    used = registry.named(store, second or registry.CHAMPION)
    others = [v for v in versions if v.version != used.version]
    waiting = next((v for v in others if registry.CHALLENGER in v.aliases), others[0] if others else None)
    if first is None and waiting is None:
        raise MissingError(f"model {store.model_name} has one version alone", "there is nothing to compare it with")
    asked = waiting if first is None and waiting is not None else registry.named(store, str(first))
    told = [v.metrics | {f"gate_{n}": x for n, x in v.figures.items() if x is not None} for v in (asked, used)]
    names = [*told[0], *(name for name in told[1] if name not in told[0])]
    figures = {name: (told[0].get(name), told[1].get(name)) for name in names}
    return Compared(_line(asked), _line(used), figures, _other_settings(workspace, asked.run_id, used.run_id))


def _other_settings(workspace: Workspace, first: str, second: str) -> dict[str, tuple[Any, Any]]:
    """Settings that differ between two runs, as far as both are in the workspace."""
    files = [workspace.runs / run_id / "manifest.json" for run_id in (first, second)]
    if not all(file.is_file() for file in files):
        return {}
    a, b = (read_json(file)["settings"] for file in files)
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def _store(workspace: Workspace) -> Tracking:
    from aiquant.learning import tracking

    if not tracking.is_there(workspace.settings.tracking, workspace.root):
        raise MissingError("nothing was tracked in this workspace yet", "train and judge a model with: aiquant run")
    return tracking.connect(workspace.settings.tracking, workspace.root)


def _line(found: Version) -> ModelLine:
    return ModelLine(
        version=found.version,
        aliases=list(found.aliases),
        run_id=found.run_id,
        verdict=found.verdict,
        rank_ic=found.metrics.get("rank_ic"),
        rank_ic_t=found.metrics.get("rank_ic_t"),
        sharpe_net=found.metrics.get("net_sharpe"),
        digest=found.digest,
        made=datetime.fromtimestamp(found.created / 1000, UTC).isoformat(timespec="seconds"),
        override=found.override,
    )


def _shown(found: Version) -> Shown:
    return Shown(
        line=_line(found),
        passed=found.passed,
        checks=[dict(check) for check in found.checks],
        figures=found.figures,
        metrics=found.metrics,
        promotions=[asdict(promotion) for promotion in found.promotions],
    )
