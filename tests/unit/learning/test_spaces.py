"""Ranges of parameters: built in, replaced by settings, and what the settings themselves say."""

from __future__ import annotations

import pytest

from aiquant.errors import SettingsError, UsageError
from aiquant.learning.spaces import SPACES, Range, present, space_of, with_params
from aiquant.settings import Settings, TuningSettings, XGBoostSettings


def test_each_built_in_range_can_be_set() -> None:
    for model, space in SPACES.items():
        for end in ("low", "high"):
            with_params(Settings(), model, {name: getattr(told, end) for name, told in space.items()})


def test_settings_replace_a_range_and_add_one() -> None:
    told = Settings(tuning=TuningSettings(space={"max_depth": [3, 3], "max_bin": [16, 64]}))
    space = space_of("xgboost", told)
    assert space["max_depth"] == Range(3, 3, integer=True)
    assert space["max_bin"] == Range(16, 64, integer=True)
    assert space["learning_rate"] == SPACES["xgboost"]["learning_rate"]


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"max_dept": [1, 2]}, "no number of that name; did you mean 'max_depth'"),
        ({"device": [1, 2]}, "no number of that name"),
        ({"max_depth": [5, 2]}, "not of the form"),
        ({"max_depth": [5]}, "not of the form"),
    ],
)
def test_a_range_that_cannot_be_is_told(space: dict[str, list[float]], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        space_of("xgboost", Settings(tuning=TuningSettings(space=space)))


def test_a_value_that_the_setting_does_not_allow_is_told() -> None:
    with pytest.raises(SettingsError, match="xgboost.max_depth = 99"):
        with_params(Settings(), "xgboost", {"max_depth": 99})


def test_what_has_no_parameters_cannot_be_tuned() -> None:
    for model in ("zero", "average:xgboost,ridge", "learning"):
        with pytest.raises(UsageError, match="has nothing to tune"):
            space_of(model, Settings())


def test_the_search_begins_with_what_is_set_as_far_as_it_lies_in_the_space() -> None:
    told = Settings(xgboost=XGBoostSettings(max_depth=12, subsample=0.5))
    first = present(told, "xgboost", space_of("xgboost", told))
    assert first["subsample"] == 0.5 and "max_depth" not in first


def test_parameters_alone_change() -> None:
    changed = with_params(Settings(), "xgboost", {"max_depth": 7})
    assert changed.xgboost.max_depth == 7
    assert changed.model_copy(update={"xgboost": Settings().xgboost}) == Settings()
