"""Why one forecast is what it is: what each feature adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aiquant import schemas
from aiquant.errors import DataError, UsageError
from aiquant.jobs import features as feature_job
from aiquant.jobs import manifest
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Pipeline, read
from aiquant.jobs.train import FINAL, saved_model
from aiquant.jobs.workspace import Workspace, read_json, write_text

if TYPE_CHECKING:
    from aiquant.learning.forecasters import Forecaster
    from aiquant.learning.panel import Panel

SHOWN = 15
"""Features that stand by themselves in the picture; the others are added up."""


@dataclass(frozen=True)
class Explained:
    """A forecast and its parts.

    Attributes
    ----------
    fold
        Fold whose model made the forecast, out of sample; −1: the final model, which may have learnt from that date.
    forecast
        The base and all contributions add up to it; None where the model has no forecast.
    place, symbols
        Place of the forecast among those of the date, 1 highest.
    features
        The greatest contribution first: ``feature``, ``contribution``, ``value`` (None: missing), ``percentile`` of the
        value among those of the date, 0 to 1.
    picture
        The file that was drawn.
    """

    run_id: str
    model: str
    fold: int
    symbol: str
    date: date
    forecast: float | None
    place: int | None
    symbols: int
    base: float
    features: list[dict[str, Any]]
    picture: Path | None = None


def explain(
    workspace: Workspace, journal: Journal, run_id: str, symbol: str, day: date, picture: Path | None = None
) -> Explained:
    """Explain the forecast of a symbol: by the model that was tested on that day, else by the final one.

    Parameters
    ----------
    picture
        File to draw, ``.html`` or ``.png``.

    Raises
    ------
    DataError
        When the symbol has no bar on that day.
    UsageError
        When the picture has another ending.
    """
    if picture is not None and picture.suffix not in (".html", ".png"):
        raise UsageError(f"{picture}: a picture ends in .html or .png", "write for example --picture why.html")
    folder = workspace.run_folder(run_id)
    told = read_json(folder / "manifest.json")
    pipeline = Pipeline(manifest.settings_of(told))
    inputs = read(workspace.lake, pipeline.settings)
    rows = feature_job.current(workspace, journal, pipeline, inputs)
    with journal.station("explain"):
        panel = pipeline.panel(rows, schemas.LABELS.schema.empty_table(), pipeline.universe(inputs))
        here = np.flatnonzero(panel.dates == np.datetime64(day))
        at = _row(panel, here, symbol, day)
        fold, name = _whose(read_json(folder / "folds.json")["folds"], panel.event_time[at])
        done = _told(panel, here, at, saved_model(folder, told, name), run_id, fold)
        if picture is not None:
            _draw(done, picture)
    return done if picture is None else Explained(**{**vars(done), "picture": picture})


def _row(panel: Panel, here: NDArray[np.int64], symbol: str, day: date) -> int:
    names = [panel.symbol_names[code] for code in panel.symbols[here]]
    if symbol not in names:
        if not names:
            between = f"the bars reach from {panel.dates.min()} to {panel.dates.max()}"
            raise DataError(f"no symbol has a bar on {day}", between)
        raise DataError(f"{symbol} has no bar on {day}, or was no member of the universe", _some(names))
    return int(here[names.index(symbol)])


def _some(names: list[str]) -> str:
    return f"there are: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"


def _whose(folds: list[dict[str, Any]], moment: np.datetime64) -> tuple[int, str]:
    """The fold that tested the moment, and the folder of its model; the final model where none did."""
    for fold in folds:
        first, last = (np.datetime64(fold[name].replace(" ", "T")[:26], "us") for name in ("test_start", "test_end"))
        if first <= moment <= last:
            return int(fold["fold"]), f"fold_{fold['fold']:02d}"
    return -1, FINAL


def _told(panel: Panel, here: NDArray[np.int64], at: int, model: Forecaster, run_id: str, fold: int) -> Explained:
    from aiquant.learning import training

    X = training.columns(panel, model.features, here)
    forecasts, own = model.predict(X), int(np.flatnonzero(here == at)[0])
    parts, forecast = model.explain(X[own : own + 1])[0], float(forecasts[own])
    lines = [
        {
            "feature": name,
            "contribution": float(parts[place]),
            "value": float(X[own, place]) if np.isfinite(X[own, place]) else None,
            "percentile": _percentile(X[:, place], own),
        }
        for place, name in enumerate(model.features)
    ]
    known = np.isfinite(forecasts)
    return Explained(
        run_id=run_id,
        model=model.name,
        fold=fold,
        symbol=panel.symbol_names[panel.symbols[at]],
        date=panel.dates[at].item(),
        forecast=forecast if known[own] else None,
        place=int((forecasts[known] > forecast).sum()) + 1 if known[own] else None,
        symbols=int(known.sum()),
        base=float(parts[-1]),
        features=sorted(lines, key=lambda line: -abs(np.nan_to_num(line["contribution"]))),
    )


def _percentile(values: NDArray[np.float32], own: int) -> float | None:
    """Share of the other symbols with a lower value, ties by half; None where the value is missing or alone."""
    if not np.isfinite(values[own]):
        return None
    others = np.delete(values, own)
    others = others[np.isfinite(others)]
    if not len(others):
        return None
    return float((others < values[own]).mean() + (others == values[own]).mean() / 2)


def _draw(done: Explained, picture: Path) -> None:
    from aiquant.backtest import figures, figures_model

    if done.forecast is None:
        raise DataError(f"{done.model} has no forecast of {done.symbol} on {done.date}", "there is nothing to draw")
    parts = [(line["feature"], line["contribution"]) for line in done.features]
    rest = sum(value for _, value in parts[SHOWN:])
    shown = [*parts[:SHOWN], *([(f"{len(parts) - SHOWN} others", rest)] if len(parts) > SHOWN else [])]
    title = f"{done.symbol} on {done.date}: why {done.model} forecasts {done.forecast:+.4f}"
    figure = figures_model.contributions(done.base, shown, done.forecast, title)
    if picture.suffix == ".png":
        figures.to_png(figure, picture)
    else:
        write_text(picture, figure.to_html(include_plotlyjs=True, full_html=True))
