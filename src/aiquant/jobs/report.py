"""Everything a run left on disk → one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from aiquant import schemas
from aiquant.backtest.story import FoldSpans, Source, Station, Story, Track
from aiquant.errors import MissingError
from aiquant.jobs import manifest, paths, strategy_evaluation
from aiquant.jobs.backtest import BASELINES, STRATEGY
from aiquant.jobs.journal import Journal
from aiquant.jobs.train import IMPORTANCE
from aiquant.jobs.workspace import Workspace, read_json, read_optional, write_json, write_text

SURVIVORS = "survivors only: symbols that vanished are not in it, so results look better than life"


@dataclass(frozen=True)
class Reported:
    """The report of a run."""

    run_id: str
    report: Path


def report(
    workspace: Workspace,
    journal: Journal,
    run_id: str,
    out: Path | None = None,
    png: Path | None = None,
    evaluate: bool = False,
) -> Reported:
    """Write the tearsheet of a run; ``evaluate`` makes the evaluation of its strategy anew before.

    Raises
    ------
    MissingError
        When the run was not backtested.
    """
    from aiquant.backtest import figures, tearsheet

    path = out or workspace.run_folder(run_id) / "report.html"
    if evaluate:
        strategy_evaluation.of_run(workspace, journal, run_id)
    with journal.station("report") as station:
        told = story(workspace, run_id)
        write_text(path, tearsheet.render(told))
        if png is not None:
            png.mkdir(parents=True, exist_ok=True)
            for name, figure in tearsheet.charts(told).items():
                figures.to_png(figure, png / f"{name}.png")
        station.note = str(path)
    return Reported(run_id, path)


def story(workspace: Workspace, run_id: str) -> Story:
    """What the tearsheet of a run tells."""
    folder = workspace.run_folder(run_id)
    if not (folder / "backtest.json").is_file():
        raise MissingError(f"run {run_id} was not backtested", f"do it with: aiquant backtest --run {run_id}")
    told = read_json(folder / "manifest.json")
    traded = read_json(folder / "backtest.json")
    folds = read_json(folder / "folds.json")
    about = told["about"]
    learning = told["settings"]["learning.model"]
    stations = read_optional(folder / "stations.json") or {"stations": []}
    return Story(
        title=f"{told['settings']['name']}: {learning} on {about['symbols']} symbols",
        run_id=run_id,
        made_at=datetime.now(UTC),
        strategies=_tracks(workspace, run_id, traded),
        description=_description(told),
        sources=[_source(name, about) for name in about["sources"]],
        judgement=_judgement(folder),
        verdict=read_optional(folder / "verdict.json"),
        leakage=_leakage(read_optional(folder / "leakage.json")),
        conventions=traded["conventions"],
        stations=[Station(s["name"], s["rows"], s["seconds"]) for s in stations["stations"]],
        folds=[_spans(fold) for fold in folds["folds"]],
        evaluation=strategy_evaluation.of_folder(folder, traded["digest"]),
        paths=_paths(read_optional(folder / paths.FILE)),
        importance=folds["importance"],
        measured=read_optional(folder / IMPORTANCE),
        manifest={**told["data"], **{name: told[name] for name in _MANIFEST}},
        notes=traded["notes"],
        fills=workspace.lake.read(schemas.FILLS, where={"run_id": run_id}),
    )


_MANIFEST = ("code", "features", "settings_hash", "seed", "libraries", "python", "platform", "created", "settings")


def remember_stations(workspace: Workspace, journal: Journal, run_id: str) -> None:
    """Keep what each station of a run took, for its report."""
    stations = [
        {"name": s.name, "rows": s.rows, "seconds": round(s.seconds, 3), "peak_mib": s.peak_mib}
        for s in journal.stations
    ]
    write_json(workspace.run_folder(run_id) / "stations.json", {"stations": stations})


def _tracks(workspace: Workspace, run_id: str, traded: dict[str, Any]) -> dict[str, Track]:
    tracks = {}
    for name in (STRATEGY, *BASELINES):
        key = run_id if name == STRATEGY else f"{run_id}:{name}"
        equity = workspace.lake.read(schemas.EQUITY, where={"run_id": key})
        if equity.num_rows:
            tracks[name.capitalize()] = Track(equity, traded["figures"].get(name))
    return tracks


def _description(told: dict[str, Any]) -> str:
    from aiquant.portfolio import rules

    settings, features = told["settings"], told["features"]
    target = {
        "rank": "the rank",
        "return": "the return",
        "excess": "the return above the average",
        "beta-neutral": "the return above what its beta explains",
    }
    until = " or until a barrier is touched" if settings["labels.window"] == "triple-barrier" else ""
    scaled = ", in units of its volatility," if settings["labels.scaled"] else ""
    refit = f"every {settings['learning.refit']} sessions" if settings["learning.refit"] else "for each year"
    return (
        f"{settings['learning.model']} forecasts {target[settings['labels.target']]}{scaled} of each symbol over the "
        f"next {settings['labels.horizon']} sessions{until} from {features['count']} features (set {features['set']}), "
        f"trained anew {refit} on the time before it. Forecasts are held "
        f"{rules.sentence(manifest.settings_of(told).portfolio)}."
    )


def _source(name: str, about: dict[str, Any]) -> Source:
    free = about["survivorship_free"]
    closes = "; closes only" if about["closes_only"] else ""
    return Source(
        name=name,
        survivorship="members from–to, as of each date" if free else SURVIVORS if name == "sample" else _UNKNOWN,
        adjustment=", ".join(about["adjustment"]),
        detail=f"{about['symbols']} symbols, {about['rows']:,} bars, {about['first']} to {about['last']}{closes}",
        survivors_only=not free and name == "sample",
    )


_UNKNOWN = "not known: no universe whose members come and go is set"


def _judgement(folder: Path) -> dict[str, Any]:
    from aiquant.learning.ordering import QUANTILES

    told = read_json(folder / "judgement.json")
    return {
        **told,
        "by_year": {int(year): value for year, value in told["by_year"].items()},
        "quantiles": {name: told["quantiles"][name] for name in QUANTILES},
        "daily": {date.fromisoformat(day): value for day, value in told["daily"].items()},
    }


def _leakage(told: dict[str, Any] | None) -> dict[str, Any] | None:
    if told is None:
        return None
    checks = []
    for what in ("features", "labels", "forecasts", "splits"):
        same = [c for c in told["comparisons"] if c["what"] == what]
        bad = [c for c in same if c["differing"]]
        values = sum(c["compared"] for c in same)
        why = bad[0]["example"] if bad else f"{values:,} values, none changes when the future is cut off"
        checks.append({"name": what, "passed": not bad, "why": why})
    return {"passed": told["passed"], "checks": checks}


def _paths(told: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if told is None else {**told, "folds": [_spans(fold) for fold in told["folds"]]}


def _spans(fold: dict[str, Any]) -> FoldSpans:
    days = {
        part: [(date.fromisoformat(first), date.fromisoformat(last)) for first, last in spans]
        for part, spans in fold["spans"].items()
    }
    return FoldSpans(fold["fold"], **days, rows_purged=fold["purged"], rows_embargoed=fold["embargoed"])
