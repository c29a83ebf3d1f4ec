"""Hold a run against the gate; register its model when the gate lets it pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import DataError, MissingError
from aiquant.jobs import digests, leakage, manifest, paths, rivals, track, trials
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, read
from aiquant.jobs.train import saved_model
from aiquant.jobs.workspace import Workspace, read_json, read_optional, write_json
from aiquant.settings import GateSettings, Settings

if TYPE_CHECKING:
    from aiquant.learning import gate
    from aiquant.learning.judgement import Judgement
    from aiquant.learning.selection import NetResult
    from aiquant.learning.tracking import Tracking
    from aiquant.learning.trials import Tried


@dataclass(frozen=True)
class Evaluated:
    """The verdict of the gate on a run.

    Attributes
    ----------
    promoted
        Whether it may be used.
    checks
        Each rule with its value, threshold and reason.
    figures
        What the rules were reckoned from: trials, luck's Sharpe ratio, p-values …
    model_version
        Version in the registry; None where the run is not registered.
    aliases
        Of that version: ``champion`` is in use.
    basis
        See :class:`aiquant.learning.gate.Verdict`.
    """

    run_id: str
    promoted: bool
    checks: list[dict[str, Any]]
    reasons: list[str]
    figures: dict[str, float | None] = field(default_factory=dict)
    model_version: int | None = None
    aliases: tuple[str, ...] = ()
    basis: str = ""

    @property
    def verdict(self) -> str:
        """``promoted`` or ``refused``."""
        return "promoted" if self.promoted else "refused"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"verdict": self.verdict, **vars(self)}


def findings(workspace: Workspace, run_id: str) -> dict[str, Any]:
    """What was found besides: ``judgement`` without single dates, and ``paths`` where there are any, else None."""
    folder = workspace.run_folder(run_id)
    judged = read_json(folder / "judgement.json")
    crossed = read_optional(folder / paths.FILE)
    return {
        "judgement": {name: value for name, value in judged.items() if name != "daily"},
        "paths": None if crossed is None else {name: value for name, value in crossed.items() if name != "folds"},
    }


def evaluate(workspace: Workspace, journal: Journal, run_id: str, inputs: Inputs | None = None) -> Evaluated:
    """Decide on a run that was trained and backtested; checks it for leaks if that was not done yet.

    Raises
    ------
    MissingError
        When the run was not backtested.
    DataError
        When its feature set is no longer the one that it was trained on.
    RefusedError
        When its final model is not the one that was trained.
    Unreachable
        When MLflow does not answer; nothing is registered then, and evaluating again completes it.
    """
    from aiquant.learning import tracking

    folder = workspace.run_folder(run_id)
    told = read_json(folder / "manifest.json")
    settings = manifest.settings_of(told)
    if not (folder / "backtest.json").is_file():
        raise MissingError(f"run {run_id} was not backtested", f"do it with: aiquant backtest --run {run_id}")
    pipeline = Pipeline(settings)
    _demand_same_features(run_id, told["features"], pipeline)
    saved_model(folder, told)
    opening = tracking.warm_up(workspace.settings.tracking, workspace.root)
    inputs = inputs or read(workspace.lake, settings, manifest.versions_of(told))
    if not (folder / "leakage.json").is_file():
        verdict = leakage.check(workspace, journal, pipeline, inputs)
        write_json(folder / "leakage.json", verdict.to_dict())
    paths.keep(workspace, journal, pipeline, inputs, folder)
    store = opening.result()
    with journal.station("gate") as station:
        decided = _decide(workspace, pipeline, inputs, run_id, store)
        station.note = f"{_word(decided)}, {decided.figures['trials']:.0f} trial(s)"
    checks, reasons = decided.to_dict()["checks"], list(decided.reasons)
    done = Evaluated(run_id, decided.promoted, checks, reasons, decided.figures, basis=decided.basis)
    write_json(folder / "verdict.json", done.to_dict())
    with journal.station("log the verdict") as station:
        version = track.log_verdict(workspace, store, run_id, decided)
        station.note = "nothing is registered by it" if version is None else f"registered as version {version.version}"
    if version is not None:
        done = replace(done, model_version=version.version, aliases=version.aliases)
    write_json(folder / "verdict.json", done.to_dict())
    return done


def _demand_same_features(run_id: str, told: dict[str, Any], pipeline: Pipeline) -> None:
    """What is checked for leaks and held against the gate has to be what the model was trained on."""
    chosen = pipeline.feature_set
    if chosen.version != told["version"]:
        raise DataError(
            f"run {run_id} was trained on the feature set {chosen.name} of version {told['version']},"
            f" which is of version {chosen.version} now",
            "train again, or bring the old definitions back",
        )


def _decide(workspace: Workspace, pipeline: Pipeline, inputs: Inputs, run_id: str, store: Tracking) -> gate.Verdict:
    """Gather what the lake and the registry know of a run, and ask the gate."""
    from aiquant.learning import judgement

    lake, folder = workspace.lake, workspace.run_folder(run_id)
    forecasts = lake.read(schemas.FORECASTS, where=(pl.col("run_id") == run_id) & (pl.col("fold") >= 0))
    labels = pipeline.labels(inputs)
    judged = judgement.judge(forecasts, labels, inputs.sessions)
    rival = rivals.champion(lake, store, pipeline.settings, run_id, labels, judged)
    plain = lake.read(schemas.EQUITY, where={"run_id": f"{run_id}:equal weight"})
    against = basis(workspace, store)
    decided = hold(
        pipeline,
        inputs,
        Candidate(forecasts, labels, judged, lake.read(schemas.EQUITY, where={"run_id": run_id}), plain),
        workspace.settings.gate,
        leakage=bool(read_json(folder / "leakage.json")["passed"]),
        tried=trials.read(lake),
        tunings=trials.tunings(lake, pipeline.settings),
        champion=rival,
    )
    return replace(decided, basis=against)


def basis(workspace: Workspace, store: Tracking) -> str:
    """Digest of what any run of the workspace is held against: trials, thresholds, champion."""
    from aiquant.learning import registry

    used = registry.champion(store)
    told = [trials.configurations(workspace.lake), workspace.settings.gate.model_dump()]
    return digests.of_json([*told, used.run_id if used is not None else None])


@dataclass(frozen=True, eq=False)
class Candidate:
    """What a run came to.

    Attributes
    ----------
    forecasts, labels
        Out of sample, and what happened.
    judgement
        Of these.
    equity
        Table ``equity`` of the run's own book.
    equal_weight
        Table ``equity`` of the plain book over the same sessions; None or empty where it is not known.
    """

    forecasts: pa.Table
    labels: pa.Table
    judgement: Judgement
    equity: pa.Table
    equal_weight: pa.Table | None = None


def hold(
    pipeline: Pipeline,
    inputs: Inputs,
    run: Candidate,
    thresholds: GateSettings,
    *,
    leakage: bool | None,
    tried: Tried,
    tunings: Sequence[Tried] = (),
    champion: gate.Rival | None = None,
) -> gate.Verdict:
    """Hold a run against the gate: what it earned, everything that was tried, and what it has to be better than."""
    from aiquant.learning import gate

    net = net_result(pipeline.settings, run.equity, inputs.sessions.per_year)
    plain = run.equal_weight if run.equal_weight is not None and run.equal_weight.num_rows else None
    others = rivals.baselines(pipeline, inputs, run.forecasts, run.labels, run.judgement, net, plain)
    return gate.decide(
        run.judgement,
        net,
        thresholds,
        leakage=leakage,
        tried=tried,
        tunings=tunings,
        rivals=[*others, *([champion] if champion is not None else [])],
        seed=pipeline.settings.learning.seed,
    )


def net_result(settings: Settings, equity: pa.Table, sessions_per_year: float) -> NetResult:
    """The account of a run as the gate wants it."""
    from aiquant.learning import trials as ledger
    from aiquant.learning.selection import NetResult

    account = settings.backtest
    risk_free = (1.0 + account.risk_free) ** (1.0 / sessions_per_year) - 1.0
    told = ledger.returns(equity, "", "")
    return NetResult(
        configuration=trials.configuration(settings),
        dates=told["date"].to_numpy().astype("datetime64[D]"),
        returns=told["net_return"].to_numpy() - risk_free,
        risk_free=risk_free,
        sessions_per_year=sessions_per_year,
        cost_bps=account.trade_cost_bps,
    )


def _word(verdict: gate.Verdict) -> str:
    return "promoted" if verdict.promoted else "refused"
