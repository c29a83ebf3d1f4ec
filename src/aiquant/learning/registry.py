"""The registered model: versions with the verdict of the gate, and which of them is in use.

Aliases: ``champion`` is in use, ``previous`` was in use before it, ``challenger`` passed the gate and waits. A version
stands for one run (registering it twice gives the same version) and carries the digest of its artefact: a changed
artefact is not loaded, and a verdict counts for the artefact that it was given on alone.

A change of champion is one write: the alias ``champion`` moves. Before it, the version that is to be used notes what it
follows, when, by whom and why (a tag of its own for each time, so that two who promote at once overwrite nothing); the
other aliases only repeat what that says, and are put right afterwards. Killed at any moment, the old champion is in use
or the new one, and the way back is known.
"""

from __future__ import annotations

import getpass
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiquant.errors import MissingError, RefusedError, UsageError
from aiquant.learning import forecasters
from aiquant.learning.forecasters import Forecaster
from aiquant.learning.gate import Verdict
from aiquant.learning.tracking import DIGEST, MODEL_DATA, MODEL_ID, RUN_ID, Logged, Tracking, reaching

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
PREVIOUS = "previous"
CHALLENGER = "challenger"
PROMOTED, REFUSED = "promoted", "refused"
_VERDICT = "aiquant.verdict"
_METRICS = "aiquant.metrics"
_PROMOTION = "aiquant.promotion."


@dataclass(frozen=True)
class Promotion:
    """Once that a version was put in the champion's place.

    Attributes
    ----------
    at
        ISO 8601, UTC.
    by
        Name of the account of the operating system.
    before
        The version that it followed; None where there was no champion.
    kind
        ``promote`` or ``rollback``.
    override
        Why it was promoted although the gate refused it; None where the gate let it pass, and for a rollback.
    """

    at: str
    by: str
    before: int | None
    kind: str = "promote"
    override: str | None = None


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes
    ----------
    version
        From 1 on.
    aliases
        In ascending order.
    verdict
        Of the gate: ``promoted`` or ``refused``.
    checks
        Of the gate, as :meth:`Verdict.to_dict` gives them.
    metrics
        That were given when it was registered.
    digest
        Of the forecaster's artefact.
    created
        Milliseconds since 1970, UTC.
    figures
        What the gate reckoned, as :meth:`Verdict.to_dict` gives them.
    judged
        Digest of the artefact that the verdict was given on.
    basis
        See :class:`aiquant.learning.gate.Verdict`.
    promotions
        Each time that it was put in the champion's place, the newest last.
    """

    name: str
    version: int
    run_id: str
    aliases: tuple[str, ...]
    verdict: str
    checks: tuple[dict[str, Any], ...]
    metrics: dict[str, float]
    digest: str
    model_id: str
    created: int
    figures: dict[str, float | None]
    judged: str
    basis: str = ""
    promotions: tuple[Promotion, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the gate let this very artefact pass."""
        return self.verdict == PROMOTED and self.judged == self.digest

    @property
    def override(self) -> str | None:
        """Why it was promoted against the gate the last time that it was promoted; None where it was not."""
        promoted = [each for each in self.promotions if each.kind == "promote"]
        return promoted[-1].override if promoted else None


def register(
    tracking: Tracking,
    logged: Logged,
    verdict: Verdict,
    metrics: Mapping[str, float],
    promote_it: bool = True,
    override: str | None = None,
) -> Version:
    """Make a version of a logged run that the gate let pass, and its champion or challenger.

    Parameters
    ----------
    promote_it
        Whether it takes the champion's place; otherwise it becomes the challenger (the champion where there is none).
    override
        Why a run that the gate refused is to be registered and promoted all the same.

    Raises
    ------
    RefusedError
        When the gate did not let it pass.
    MissingError
        When the run was logged without a model.
    """
    if not verdict.promoted and not override:
        raise RefusedError(f"run {logged.run_id} is not registered: {'; '.join(verdict.reasons)}")
    if logged.model_id is None or logged.digest is None:
        raise MissingError(f"run {logged.run_id} was logged without a model", "log it with its final model")
    with reaching(tracking.uri):
        found = restate(tracking, logged, verdict)
        version = found or _create(tracking, logged, verdict, metrics)
    if promote_it or champion(tracking) is None:
        return promote(tracking, version.version, override)
    if CHAMPION not in version.aliases:
        with reaching(tracking.uri):
            tracking.client.set_registered_model_alias(tracking.model_name, CHALLENGER, str(version.version))
    return get(tracking, version.version)


def restate(tracking: Tracking, logged: Logged, verdict: Verdict) -> Version | None:
    """Store a new verdict with the version of a run; None where the run has no version.

    Who is in use does not change: a champion that would not pass today is still what was promoted.
    """
    found = next((v for v in list_versions(tracking) if v.run_id == logged.run_id), None)
    if found is None:
        return None
    with reaching(tracking.uri):
        told = _stored(verdict, str(logged.digest))
        tracking.client.set_model_version_tag(tracking.model_name, str(found.version), _VERDICT, told)
    return get(tracking, found.version)


def list_versions(tracking: Tracking) -> list[Version]:
    """All versions of the registered model, the newest first; empty where nothing was registered."""
    with reaching(tracking.uri):
        from mlflow.exceptions import MlflowException

        try:
            aliases = tracking.client.get_registered_model(tracking.model_name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return []
        found = tracking.client.search_model_versions(f"name = '{tracking.model_name}'")
        versions = _versions([each for each in found if RUN_ID in each.tags], aliases)
    return sorted(versions, key=lambda version: -version.version)


def get(tracking: Tracking, version: int) -> Version:
    """One version.

    Raises
    ------
    MissingError
        When there is no such version.
    """
    return named(tracking, str(version))


def named(tracking: Tracking, name: str) -> Version:
    """The version of a number, a run's id or an alias (``champion``, ``challenger``, ``previous``).

    Raises
    ------
    MissingError
        When there is no such version.
    """
    versions = list_versions(tracking)
    for version in versions:
        if name in (str(version.version), version.run_id, *version.aliases):
            return version
    what = name if name in (CHAMPION, CHALLENGER, PREVIOUS) else f"version {name}"
    if versions:
        remedy = "see the versions with: aiquant models ls"
    else:
        remedy = "no model is registered yet; one that the gate lets pass is: aiquant run, aiquant models ls"
    raise MissingError(f"model {tracking.model_name} has no {what}", remedy)


def champion(tracking: Tracking) -> Version | None:
    """The version in use; None where there is none."""
    return next((v for v in list_versions(tracking) if CHAMPION in v.aliases), None)


def promote(tracking: Tracking, version: int, override: str | None = None, stands: bool = True) -> Version:
    """Put a version in the champion's place; the champion becomes ``previous``.

    Parameters
    ----------
    override
        Why it is promoted although the gate refused it; kept with the version. Not used where the gate let it pass.
    stands
        Whether the stored verdict still counts; one that does not lets nothing pass.

    Raises
    ------
    RefusedError
        When the gate did not let this very artefact pass, and no reason to override it is given; when the artefact is
        not what was registered.
    MissingError
        When there is no such version.
    UsageError
        When a reason is given for what is the champion already.
    """
    asked = get(tracking, version)
    if override and CHAMPION in asked.aliases:
        raise UsageError(
            f"version {version} of model {asked.name} is the champion already: there is nothing to override"
        )
    passed = asked.passed and stands
    if not passed and not override:
        raise RefusedError(_why_not(asked), "evaluate it again, or give a reason with --override")
    return _use(tracking, asked, "promote", None if passed else override)


def rollback(tracking: Tracking) -> Version:
    """Put the previous champion back in its place; the two change their aliases.

    Raises
    ------
    MissingError
        When there is no previous champion.
    RefusedError
        When its artefact is not what was registered.
    """
    before = next((v for v in list_versions(tracking) if PREVIOUS in v.aliases), None)
    if before is None:
        remedy = "see the versions with: aiquant models ls; put one in use with: aiquant models promote VERSION"
        raise MissingError(f"model {tracking.model_name} has no previous champion", remedy)
    return _use(tracking, before, "rollback", None)


def _use(tracking: Tracking, asked: Version, kind: str, override: str | None) -> Version:
    """Note what the version follows, move the alias of the champion, then put the other aliases right."""
    load(tracking, asked)  # what is damaged does not come into use
    old = champion(tracking)
    name, client, number = tracking.model_name, tracking.client, str(asked.version)
    with reaching(tracking.uri):
        if old is None or old.version != asked.version:
            now = datetime.now(UTC)
            before = old.version if old is not None else None
            told = Promotion(now.isoformat(timespec="seconds"), _who(), before, kind, override)
            client.set_model_version_tag(name, number, f"{_PROMOTION}{time.time_ns():020d}", json.dumps(asdict(told)))
            client.set_registered_model_alias(name, CHAMPION, number)
        aliases = client.get_registered_model(name).aliases
        used = get(tracking, asked.version)
        previous = used.promotions[-1].before if used.promotions else None
        if previous is None and int(aliases.get(PREVIOUS, 0)) == asked.version:
            client.delete_registered_model_alias(name, PREVIOUS)
        elif previous is not None and int(aliases.get(PREVIOUS, 0)) != previous:
            client.set_registered_model_alias(name, PREVIOUS, str(previous))
        if int(aliases.get(CHALLENGER, 0)) == asked.version:
            client.delete_registered_model_alias(name, CHALLENGER)
    return get(tracking, asked.version)


def _why_not(asked: Version) -> str:
    what = f"version {asked.version} of model {asked.name}"
    if asked.verdict == PROMOTED:
        return f"{what}: its verdict was given on another artefact, or before more was tried"
    reasons = "; ".join(check["why"] for check in asked.checks if not check["passed"])
    return f"{what} did not pass the gate: {reasons or 'it was never judged'}"


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in a container
        return "unknown"


def load(tracking: Tracking, version: Version) -> Forecaster:
    """The forecaster of a version, its artefact checked against the registered digest.

    Raises
    ------
    RefusedError
        When the artefact is not the one that was registered.
    MissingError
        When the artefact is gone.
    """
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(prefix="aiquant-") as folder:
        with reaching(tracking.uri):
            source = tracking.client.get_logged_model(version.model_id).artifact_location
            local = download_artifacts(artifact_uri=source, dst_path=folder, tracking_uri=tracking.uri)
        return forecasters.load(Path(local) / MODEL_DATA, version.digest)


def _create(tracking: Tracking, logged: Logged, verdict: Verdict, metrics: Mapping[str, float]) -> Version:
    from mlflow.exceptions import MlflowException

    name = tracking.model_name
    try:
        tracking.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = tracking.client.create_model_version(
        name,
        # The place itself: a models:/ address would be looked up in the tracking store of the process, not in this one.
        source=tracking.client.get_logged_model(str(logged.model_id)).artifact_location,
        run_id=logged.mlflow_run_id,
        model_id=logged.model_id,
        tags={
            RUN_ID: logged.run_id,
            MODEL_ID: str(logged.model_id),
            DIGEST: str(logged.digest),
            _VERDICT: _stored(verdict, str(logged.digest)),
            _METRICS: json.dumps(dict(metrics)),
        },
    )
    return get(tracking, int(made.version))


def _stored(verdict: Verdict, digest: str) -> str:
    """A verdict with the artefact that it was given on."""
    return json.dumps(verdict.to_dict() | {"digest": digest})


def _versions(told: Sequence[ModelVersion], aliases: Mapping[str, str]) -> list[Version]:
    """Versions with their aliases; which one is ``previous`` follows from the champion's own note, where it has one."""
    held = {alias: int(number) for alias, number in aliases.items()}
    used = next((each for each in told if int(each.version) == held.get(CHAMPION)), None)
    notes = _promotions(used) if used is not None else ()
    if notes:
        held.pop(PREVIOUS, None)
        if notes[-1].before is not None:
            held[PREVIOUS] = notes[-1].before
    if used is not None and held.get(CHALLENGER) == held[CHAMPION]:
        held.pop(CHALLENGER)
    return [_version(each, held) for each in told]


def _version(told: ModelVersion, aliases: Mapping[str, int]) -> Version:
    verdict = json.loads(told.tags.get(_VERDICT, "{}"))
    return Version(
        name=told.name,
        version=int(told.version),
        run_id=told.tags[RUN_ID],
        aliases=tuple(sorted(alias for alias, version in aliases.items() if version == int(told.version))),
        verdict=PROMOTED if verdict.get("promoted") else REFUSED,
        checks=tuple(verdict.get("checks", ())),
        metrics=json.loads(told.tags.get(_METRICS, "{}")),
        digest=told.tags[DIGEST],
        model_id=told.tags[MODEL_ID],
        created=int(told.creation_timestamp),
        figures=verdict.get("figures", {}),
        judged=verdict.get("digest", told.tags[DIGEST]),
        basis=verdict.get("basis", ""),
        promotions=_promotions(told),
    )


def _promotions(told: ModelVersion) -> tuple[Promotion, ...]:
    notes = sorted(tag for tag in told.tags if tag.startswith(_PROMOTION))
    return tuple(Promotion(**json.loads(told.tags[tag])) for tag in notes)
