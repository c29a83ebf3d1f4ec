"""What a tuning may vary: the built-in ranges of each forecaster, and those that the settings put in their place."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from aiquant.errors import SettingsError, UsageError
from aiquant.settings import Settings

Value = int | float
Params = dict[str, Value]


@dataclass(frozen=True)
class Range:
    """Values from ``low`` to ``high``, both included; ``log``: as likely from 1 to 10 as from 10 to 100."""

    low: float
    high: float
    integer: bool = False
    log: bool = False

    def holds(self, value: float) -> bool:
        """Whether the value lies inside."""
        return self.low <= value <= self.high


SPACES: Mapping[str, Mapping[str, Range]] = {
    "xgboost": {
        "n_estimators": Range(50, 400, integer=True, log=True),
        "max_depth": Range(2, 8, integer=True),
        "learning_rate": Range(0.01, 0.2, log=True),
        "subsample": Range(0.4, 1.0),
        "colsample_bytree": Range(0.3, 1.0),
        "min_child_weight": Range(1.0, 1000.0, log=True),
        "reg_lambda": Range(0.1, 100.0, log=True),
    },
    "ridge": {"alpha": Range(1e-2, 1e6, log=True)},
}
"""Forecaster → setting of its section → range."""


def space_of(model: str, settings: Settings) -> dict[str, Range]:
    """The ranges of a forecaster, with those of ``settings.tuning.space`` in place of the built-in ones.

    Raises
    ------
    UsageError
        When the forecaster has no settings that could be tuned.
    SettingsError
        When ``tuning.space`` names no number of its section, or is not of the form [low, high].
    """
    section = getattr(settings, model, None)
    if model not in SPACES or not isinstance(section, BaseModel):
        raise UsageError(f"forecaster {model!r} has nothing to tune", f"these can be tuned: {', '.join(SPACES)}")
    space = dict(SPACES[model])
    for name, bounds in settings.tuning.space.items():
        space[name] = _told(model, section, name, bounds, space.get(name))
    return space


def with_params(settings: Settings, model: str, params: Params) -> Settings:
    """The settings with these values in the section of the forecaster.

    Raises
    ------
    SettingsError
        When a value is out of the range that the setting allows.
    """
    section: BaseModel = getattr(settings, model)
    try:
        changed = type(section)(**{**section.model_dump(), **params})
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(
            f"setting {model}.{first['loc'][0]} = {first['input']!r}: {first['msg'].lower()}"
        ) from error
    return settings.model_copy(update={model: changed})


def present(settings: Settings, model: str, space: Mapping[str, Range]) -> Params:
    """What the settings say at present, of all that lies within the space."""
    section = getattr(settings, model)
    told = {name: getattr(section, name) for name in space}
    return {name: value for name, value in told.items() if value is not None and space[name].holds(value)}


def _told(model: str, section: BaseModel, name: str, bounds: Sequence[float], built_in: Range | None) -> Range:
    numbers = [known for known, value in section.model_dump().items() if type(value) in (int, float)]
    if name not in numbers:
        near = difflib.get_close_matches(name, numbers, n=1)
        raise SettingsError(
            f"setting tuning.space.{name}: section {model} has no number of that name",
            f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(numbers)}",
        )
    if len(bounds) != 2 or not bounds[0] <= bounds[1]:
        raise SettingsError(f"setting tuning.space.{name} = {list(bounds)}: not of the form [low, high]")
    kind: Any = type(getattr(section, name))
    whole = built_in.integer if built_in else kind is int
    return Range(bounds[0], bounds[1], whole, log=built_in is not None and built_in.log and bounds[0] > 0)
