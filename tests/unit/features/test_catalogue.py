from __future__ import annotations

from pathlib import Path

import pytest

from aiquant.errors import UsageError
from aiquant.features import catalogue, rolling
from aiquant.features.parsing import parse
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
    assert set(catalogue.names()) >= {"alpha101", "alpha158", "core"}
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
        ("description = 'x'", "no features"),
        ("discription = 'x'", "'discription' has no meaning.*'description'"),
        ("parts = 3\n[features.x]\nformula = '$close'", "parts are no formulas"),
        ("operators = 'none.py'\n[features.x]\nformula = '$close'", "operators .*none.py: No such file"),
        ("[parts]\na = '@c'\nb = '@a'\nc = '@b+1'\n[features.x]\nformula = '$close'", "circle: @a → @c → @b → @a"),
        ("[features.x]\nformula = '@x + 1'", "feature x: .*circle: @x → @x"),
        ("[parts]\ngap = '$close'\n[features.x]\nformula = '1 + @gpa'", "@gpa, at position 5; did you mean '@gap'"),
        ("[features.x]\nformula = '@gap'", "nothing that is named @gap"),
        ("[parts]\nx = '$close'\n[features.x]\nformula = '$close'", "x is defined twice"),
        ("[parts]\nx = '$clse'\n[features.y]\nformula = '@x'", "part x: .*did you mean '\\$close'"),
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


def test_a_formula_refers_to_parts_and_other_features_by_name(tmp_path: Path) -> None:
    file = tmp_path / "parts.toml"
    file.write_text(
        '[features.score]\nformula = "@gap * 2 - @gap"\n[features.gap]\nformula = "$close / @mean - 1"\n'
        '[parts]\nmean = "Mean(@price, 20)"\nprice = "$close + 0"\n',
        encoding="utf-8",
    )
    mine = catalogue.get(str(file))
    gap = parse("$close/Mean($close + 0, 20) - 1")
    assert [f.name for f in mine.features] == ["score", "gap"]
    assert mine.features[1].expression.digest == gap.digest
    assert mine.features[0].expression.digest == (gap * 2 - gap).digest
    assert mine.parts == {"mean": "Mean(@price, 20)", "price": "$close + 0"}


def test_a_long_chain_of_parts_is_no_recursion() -> None:
    parts = {f"p{k}": f"@p{k + 1} + $close" for k in range(3000)} | {"p3000": "$close"}
    (feature,) = define([("x", "@p0", "", "")], parts)
    assert feature.fields == ("close",)


def test_a_name_stands_once() -> None:
    with pytest.raises(UsageError, match="defined twice"):
        define([("a", "$close", "", ""), ("a", "$open", "", "")])
