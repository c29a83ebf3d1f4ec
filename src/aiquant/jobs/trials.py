"""The ledger of trials in the lake: what was tried in a workspace, and what it earned net of costs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from aiquant import schemas
from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.lake import Lake
    from aiquant.learning.trials import Trial, Tried

NO_TRIAL = ("gate", "leakage", "judgement", "cpcv")
"""Sections of the settings that judge: other thresholds make no other trial."""


def configuration(settings: Settings) -> str:
    """Digest of all settings that make forecasts and a book, and of what a feature set of one's own holds.

    Raises
    ------
    UsageError
        When the file of the feature set is not there, or wrong.
    """
    from aiquant.features import catalogue

    told = settings.fingerprint(without=NO_TRIAL)
    if not settings.features.set.endswith(".toml"):
        return told
    version = catalogue.get(settings.features.set).version  # a file that was edited is another trial
    return hashlib.sha256(f"{told} {version}".encode()).hexdigest()[: len(told)]


def record(lake: Lake, trial: Trial, equity: pa.Table | None = None) -> None:
    """Write a trial down, and what it earned; the same trial twice is one.

    The returns are written before the trial, so that a process killed in between leaves nothing that counts by half.

    Parameters
    ----------
    equity
        Table ``equity`` of its account on forecasts out of sample, costs included; None where it did not trade.
    """
    from aiquant.learning import trials

    if equity is not None:
        own = {"study": trial.study, "trial": trial.trial}
        lake.replace(schemas.TRIAL_RETURNS, trials.returns(equity, **own), own)
    lake.write(schemas.TRIALS, trials.rows([trial]))


def read(lake: Lake) -> Tried:
    """All that was tried in the workspace."""
    from aiquant.learning import trials

    return trials.gather(lake.read(schemas.TRIALS, missing_ok=True), lake.read(schemas.TRIAL_RETURNS, missing_ok=True))


def configurations(lake: Lake) -> list[str]:
    """All that was tried in the workspace, by its digests, in ascending order."""
    told = lake.read(schemas.TRIALS, missing_ok=True)
    return sorted(set(told["configuration"].to_pylist()))


def tunings(lake: Lake, settings: Settings) -> list[Tried]:
    """The tunings in which the configuration of the settings was a trial, each by itself."""
    from aiquant.learning import trials

    told = lake.read(schemas.TRIALS, missing_ok=True)
    own = told.filter(pc.equal(told["configuration"], configuration(settings)))
    found = []
    for study in sorted(set(own["study"].to_pylist()) - {trials.RUNS, trials.BACKTESTS, trials.STRATEGIES}):
        of_study = told.filter(pc.equal(told["study"], study))
        found.append(trials.gather(of_study, lake.read(schemas.TRIAL_RETURNS, where={"study": study}, missing_ok=True)))
    return found
