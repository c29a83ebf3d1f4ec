"""Make a run again from its manifest, and say whether it comes out the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiquant.errors import DataError
from aiquant.jobs import backtest, books, digests, manifest, train
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Pipeline, read
from aiquant.jobs.workspace import Workspace, read_json


@dataclass
class Reproduced:
    """Whether a run came out the same.

    Attributes
    ----------
    identical
        Whether forecasts and all figures are the same to the last bit.
    compared
        What was compared, and whether it is the same.
    changed
        Differences in code, libraries and machine since then, for a reader who looks for the cause.
    """

    run_id: str
    identical: bool
    compared: dict[str, bool]
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)


def reproduce(workspace: Workspace, journal: Journal, run_id: str) -> Reproduced:
    """Compute a run again from the data versions and settings of its manifest; nothing is written.

    Raises
    ------
    DataError
        When the data of that version are not what they were.
    MissingError
        When the run is not there.
    """
    from aiquant.lake.digests import digest

    folder = workspace.run_folder(run_id)
    told = read_json(folder / "manifest.json")
    settings = manifest.settings_of(told)
    pipeline = Pipeline(settings)
    with journal.station("read bars") as station:
        inputs = read(workspace.lake, settings, manifest.versions_of(told))
        station.rows = inputs.bars.num_rows
        _demand_same_data(told["data"], train.data_version(inputs))
    with journal.station("features") as station:
        features = pipeline.features(inputs)
        station.rows = features.num_rows
    study = train.compute(pipeline, inputs, features, run_id, journal)
    made = {
        "forecasts": digest(study.trained.forecasts) == told["results"]["forecasts"]["digest"],
        "judgement": digests.of_json(study.judgement.to_dict())
        == digests.of_json(read_json(folder / "judgement.json")),
    }
    if (folder / "backtest.json").is_file():
        made |= _backtest(workspace, journal, pipeline, study, inputs, read_json(folder / "backtest.json"))
    return Reproduced(run_id, all(made.values()), made, _changed(told, manifest.origin(settings)))


def _demand_same_data(then: dict[str, Any], now: dict[str, Any]) -> None:
    for name, table in then.items():
        if now.get(name, {}).get("digest") != table["digest"]:
            raise DataError(
                f"table {name}, version {table['version']}, does not hold what it held when the run was made",
                "restore the lake from a backup",
            )


def _backtest(
    workspace: Workspace, journal: Journal, pipeline: Pipeline, study: train.Study, inputs: Any, then: dict[str, Any]
) -> dict[str, bool]:
    settings = manifest.settings_of({**then["origin"]})
    with journal.station("backtest"):
        told = books.build(settings, study.trained.forecasts, inputs, study.run_id)
        results = backtest.simulate(settings, told.weights, inputs.newest, inputs.sessions, inputs.actions)
        again = backtest.summed_up(results, inputs.sessions, settings)
    return {
        "equity": again.digest == then["digest"],
        "figures": digests.of_json(again.figures) == digests.of_json(then["figures"]),
    }


def _changed(then: dict[str, Any], now: dict[str, Any]) -> dict[str, dict[str, Any]]:
    watched = ("code", "libraries", "python", "platform")
    flat_then = {f"{part}.{k}": v for part in watched for k, v in _parts(then[part]).items()}
    flat_now = {f"{part}.{k}": v for part in watched for k, v in _parts(now[part]).items()}
    names = sorted({*flat_then, *flat_now})
    return {
        name.removesuffix("."): {"then": flat_then.get(name), "now": flat_now.get(name)}
        for name in names
        if flat_then.get(name) != flat_now.get(name)
    }


def _parts(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"": value}
