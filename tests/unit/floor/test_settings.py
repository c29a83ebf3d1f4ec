"""Where settings come from, what is refused, and that secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiquant import settings
from aiquant.errors import SettingsError


def _file(folder: Path, text: str) -> Path:
    (folder / "aiquant.toml").write_text(text)
    return folder


def test_defaults_need_no_file() -> None:
    assert settings.load(None).labels.horizon == 5


def test_each_source_wins_over_the_ones_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "learning__seed").write_text("3\n")
    monkeypatch.setenv("AIQUANT_SECRETS_DIR", str(secrets))
    workspace = _file(tmp_path, "[learning]\nseed = 2\nmin_train_years = 9\n")

    found, origins = settings.resolve(workspace)
    assert (found.learning.seed, origins["learning.seed"]) == (3, "secrets folder")
    assert (found.learning.min_train_years, origins["learning.min_train_years"]) == (9, "aiquant.toml")

    monkeypatch.setenv("AIQUANT_LEARNING__SEED", "4")
    found, origins = settings.resolve(workspace)
    assert (found.learning.seed, origins["learning.seed"]) == (4, "environment")

    found, origins = settings.resolve(workspace, {"learning.seed": "5"})
    assert (found.learning.seed, origins["learning.seed"]) == (5, "command line")
    assert origins["labels.horizon"] == "default"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[learning]\nsead = 1\n", ["aiquant.toml", "learning.sead", "learning.seed"]),
        ("[learning]\nseed = 'x'\n", ["aiquant.toml", "learning.seed", "'x'", "not a whole number"]),
        ("[backtest]\ncapital = -1.0\n", ["backtest.capital", "greater than 0"]),
        ("[portfolio]\nfallback = 'lottery'\n", ["portfolio.fallback", "inverse-volatility"]),
        ("[learning\n", ["aiquant.toml", "line 1"]),
        ("[tracking]\ntoken = 'hunter2'\n", ["tracking.token", "secret"]),
    ],
)
def test_a_wrong_file_is_told_by_file_setting_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(_file(tmp_path, text))
    told = str(caught.value)
    assert all(word in told for word in words), told
    assert "hunter2" not in told


def test_a_wrong_variable_names_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIQUANT_LABELS__HORIZON", "soon")
    with pytest.raises(SettingsError, match="environment: setting labels.horizon"):
        settings.load(None)


def test_an_unknown_override_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="labels.horizon"):
        settings.load(None, {"labels.horizn": "3"})


def test_the_fingerprint_knows_what_changes_results() -> None:
    base = settings.load(None).fingerprint()
    assert settings.load(None, {"learning.seed": "8"}).fingerprint() != base
    assert settings.load(None, {"learning.threads": "1", "name": "other", "lake.root": "x"}).fingerprint() == base


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIQUANT_TRACKING__TOKEN", "hunter2")
    loaded = settings.load(None)
    assert "tracking.token" in settings.SECRETS
    assert loaded.tracking.token is not None and loaded.tracking.token.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(loaded) + str(loaded.model_dump()) + loaded.model_dump_json()


def test_values_of_a_manifest_come_back() -> None:
    told = settings.load(None, {"labels.horizon": "7"}).model_dump(mode="json")
    del told["tracking"]["token"]
    assert settings.from_values(told).labels.horizon == 7


def test_none_is_no_value_where_a_setting_may_be_left_out_and_a_word_elsewhere() -> None:
    told = settings.load(None, {"data.adjustment": "none", "learning.first_test": "none"})
    assert told.data.adjustment == "none"
    assert told.learning.first_test is None


def test_horizons_are_a_list_on_the_command_line_and_in_a_file(tmp_path: Path) -> None:
    assert settings.load(None, {"judgement.horizons": "1, 21"}).judgement.horizons == (1, 21)
    (tmp_path / "aiquant.toml").write_text("[judgement]\nhorizons = [2, 5]\n")
    assert settings.load(tmp_path).judgement.horizons == (2, 5)
    with pytest.raises(SettingsError, match="greater than or equal to 1"):
        settings.load(None, {"judgement.horizons": "0"})
