from __future__ import annotations

from pathlib import Path

import pytest

from aiquant.errors import UsageError
from aiquant.features import catalogue, rolling
from aiquant.features.catalogue import FeatureSet, define


@pytest.mark.parametrize("name", catalogue.names())
def test_every_feature_says_what_it_is(name: str) -> None:
    chosen = catalogue.get(name)
    assert chosen.name == name and chosen.description
    for feature in chosen.features:
        assert feature.name and feature.description and feature.source and feature.formula
        assert 0 <= feature.lookback <= chosen.lookback
        assert feature.fields


def test_the_sets() -> None:
    assert catalogue.names() == ["alpha158", "core"]
    assert len(catalogue.get("core").features) == 21
    assert catalogue.get("core").lookback == 252
    assert catalogue.get("alpha158").lookback == 60


def test_the_version_follows_graph_policy_and_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(formula: str, name: str = "a", partial: bool = False) -> str:
        return FeatureSet("s", define([(name, formula, "", "")]), partial_windows=partial).version

    base = version("Mean($close, 5)/$close")
    assert version("Mean( $close,5 ) / $close") == base  # the same graph
    assert version("Mean($close, 6)/$close") != base
    assert version("Mean($close, 5)/$close", name="b") != base
    assert version("Mean($close, 5)/$close", partial=True) != base
    monkeypatch.setattr(rolling, "KERNEL_VERSION", 999)
    assert version("Mean($close, 5)/$close") != base


def test_an_unknown_set_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="'alpha185'.*'alpha158'"):
        catalogue.get("alpha185")


def test_a_set_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'description = "Mine"\npartial_windows = true\n'
        '[features.gap20]\nformula = "$close/Mean($close, 20)-1"\ndescription = "Gap"\n',
        encoding="utf-8",
    )
    mine = catalogue.get(str(file))
    assert (mine.name, mine.description, mine.partial_windows, mine.lookback) == ("mine", "Mine", True, 19)
    assert mine.features[0].name == "gap20"


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "No such file"),
        ("[features", "not TOML"),
        ("a = 1", "no features"),
        ("[features.x]\nwindow = 1", "x has no formula"),
        ('[features.x]\nformula = "Mean($clse, 3)"', "feature x.*did you mean '\\$close'"),
        ('[features.x]\nformula = "Ref($close, -1)"', "feature x.*future"),
        ('[features.x]\nformula = "1+1"', "reads no field"),
        ('[features.date]\nformula = "$close"', "cannot be named date"),
    ],
)
def test_what_a_wrong_file_gets(content: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=words) as caught:
        catalogue.get(str(file))
    assert "wrong.toml" in str(caught.value)


def test_a_name_stands_once() -> None:
    with pytest.raises(UsageError, match="defined twice"):
        define([("a", "$close", "", ""), ("a", "$open", "", "")])
