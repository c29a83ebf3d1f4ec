"""The registered model: versions that passed the gate, and which of them is in use.

Aliases: ``champion`` is in use, ``previous`` was in use before it, ``challenger`` passed the gate and waits. A version
stands for one run (registering it twice gives the same version) and carries the digest of its artefact: a changed
artefact is not loaded.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiquant.errors import MissingError, RefusedError
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


def register(
    tracking: Tracking, logged: Logged, verdict: Verdict, metrics: Mapping[str, float], promote_it: bool = True
) -> Version:
    """Make a version of a logged run that the gate let pass, and its champion or challenger.

    Parameters
    ----------
    promote_it
        Whether it takes the champion's place; otherwise it becomes the challenger (the champion where there is none).

    Raises
    ------
    RefusedError
        When the gate did not let it pass.
    MissingError
        When the run was logged without a model.
    """
    if not verdict.promoted:
        raise RefusedError(f"run {logged.run_id} is not registered: {'; '.join(verdict.reasons)}")
    if logged.model_id is None or logged.digest is None:
        raise MissingError(f"run {logged.run_id} was logged without a model", "log it with its final model")
    with reaching(tracking.uri):
        found = next((v for v in list_versions(tracking) if v.run_id == logged.run_id), None)
        version = found or _create(tracking, logged, verdict, metrics)
    if promote_it or champion(tracking) is None:
        return promote(tracking, version.version)
    if CHAMPION not in version.aliases:
        with reaching(tracking.uri):
            tracking.client.set_registered_model_alias(tracking.model_name, CHALLENGER, str(version.version))
    return get(tracking, version.version)


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
        versions = [_version(each, aliases) for each in found if RUN_ID in each.tags]
    return sorted(versions, key=lambda version: -version.version)


def get(tracking: Tracking, version: int) -> Version:
    """One version.

    Raises
    ------
    MissingError
        When there is no such version.
    """
    found = next((v for v in list_versions(tracking) if v.version == version), None)
    if found is None:
        raise MissingError(
            f"model {tracking.model_name} has no version {version}", "see the versions with: aiquant models ls"
        )
    return found


def champion(tracking: Tracking) -> Version | None:
    """The version in use; None where there is none."""
    return next((v for v in list_versions(tracking) if CHAMPION in v.aliases), None)


def promote(tracking: Tracking, version: int) -> Version:
    """Put a version in the champion's place; the champion becomes ``previous``.

    Killed half-way the old champion is still in use, and promoting again completes it.

    Raises
    ------
    RefusedError
        When the gate did not let the version pass.
    MissingError
        When there is no such version.
    """
    asked, old = get(tracking, version), champion(tracking)
    if asked.verdict != PROMOTED:
        raise RefusedError(f"version {version} of model {tracking.model_name} did not pass the gate")
    name, client = tracking.model_name, tracking.client
    with reaching(tracking.uri):
        if old is not None and old.version != version:
            client.set_registered_model_alias(name, PREVIOUS, str(old.version))
        client.set_registered_model_alias(name, CHAMPION, str(version))
        if CHALLENGER in asked.aliases:
            client.delete_registered_model_alias(name, CHALLENGER)
        if PREVIOUS in asked.aliases and old is None:
            client.delete_registered_model_alias(name, PREVIOUS)
    return get(tracking, version)


def rollback(tracking: Tracking) -> Version:
    """Put the previous champion back in its place; the two change their aliases.

    Raises
    ------
    MissingError
        When there is no previous champion.
    """
    before = next((v for v in list_versions(tracking) if PREVIOUS in v.aliases), None)
    if before is None:
        raise MissingError(f"model {tracking.model_name} has no previous champion", "promote a version instead")
    return promote(tracking, before.version)


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
            _VERDICT: json.dumps(verdict.to_dict()),
            _METRICS: json.dumps(dict(metrics)),
        },
    )
    return get(tracking, int(made.version))


def _version(told: ModelVersion, aliases: Mapping[str, str]) -> Version:
    verdict = json.loads(told.tags.get(_VERDICT, "{}"))
    return Version(
        name=told.name,
        version=int(told.version),
        run_id=told.tags[RUN_ID],
        aliases=tuple(sorted(alias for alias, version in aliases.items() if int(version) == int(told.version))),
        verdict=PROMOTED if verdict.get("promoted") else REFUSED,
        checks=tuple(verdict.get("checks", ())),
        metrics=json.loads(told.tags.get(_METRICS, "{}")),
        digest=told.tags[DIGEST],
        model_id=told.tags[MODEL_ID],
        created=int(told.creation_timestamp),
    )
