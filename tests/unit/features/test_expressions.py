from __future__ import annotations

import pytest

from aiquant.errors import UsageError
from aiquant.features.expressions import apply, constant, field, walk
from aiquant.features.operators import OPERATORS, find
from aiquant.features.parsing import parse

close, opened, volume = field("close"), field("open"), field("volume")

SAME = [
    ("Mean($close, 5)/$close - 1", apply("Mean", close, 5) / close - 1),
    ("Corr($close, Log($volume+1), 20)", apply("Corr", close, apply("Log", volume + 1), 20)),
    ("$close - $open - 1", (close - opened) - 1),
    ("$close / $open * 2", (close / opened) * 2),
    ("2 * $close + 3 * $open", 2 * close + 3 * opened),
    ("-$close ** 2", -(close**2)),
    ("2 ** $close ** 2", constant(2) ** (close**2)),
    ("$close > $open & $volume < 3", (close > opened) & (volume < 3)),
    ("~($close == $open) | $volume != 0", ~(close == opened) | (volume != 0)),
    ("Abs(1 - $close)", abs(1 - close)),
    ("1 / $close", 1 / close),
    ("Gt($close, 1)", close > 1),
    ("If($close >= Ref($close, 1), 1, -1)", apply("If", close >= apply("Ref", close, 1), 1, -1)),
    ("Quantile($close, 20, .8)", apply("Quantile", close, 20, 0.8)),
    ("+$close <= 1.5e3", close <= 1500),
]


@pytest.mark.parametrize("text, expression", SAME, ids=[text for text, _ in SAME])
def test_text_and_python_make_one_graph(text: str, expression: object) -> None:
    assert parse(text).digest == expression.digest  # type: ignore[attr-defined]
    assert parse(str(expression)).digest == expression.digest  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text, lookback",
    [
        ("$close", 0),
        ("Ref($close, 1)", 1),
        ("Mean($close, 5)", 4),
        ("Mean($close/Ref($close, 1), 5)", 5),
        ("Ref(Mean($close, 5), 3) - Mean($open, 9)", 8),
        ("Delta($close, 7)", 7),
        ("Corr($close, Ref($volume, 2), 10)", 11),
        ("CSRank(Mean($close, 4))", 3),
        ("If($close > Ref($close, 4), Mean($close, 3), 0)", 4),
    ],
)
def test_lookback_is_known_before_any_data(text: str, lookback: int) -> None:
    assert parse(text).lookback == lookback


@pytest.mark.parametrize(
    "text, words",
    [
        ("Ref($close, -5)", ["future", "labels"]),
        ("Ref($close, 0)", ["first bar of the history"]),
        ("Delta($close, -1)", ["future"]),
        ("Mean($close, -3)", ["future"]),
        ("Mean($close, 0)", ["all of the history"]),
        ("Mean($close, 2.5)", ["whole number"]),
        ("Mean($close, $open)", ["plain number", "look-back"]),
        ("Skew($close, 2)", ["at least 3"]),
        ("Quantile($close, 5, 1.5)", ["between 0 and 1"]),
        ("EMA($close, 0)", ["span"]),
        ("Meen($close, 3)", ["'Meen'", "'Mean'"]),
        ("$clse + 1", ["$clse", "'$close'"]),
        ("close + 1", ["$close"]),
        ("Mean($close)", ["takes 2 argument"]),
        ("Mean($close, 5", ["expected ')'"]),
        ("$close $open", ["position 8"]),
        ("$close @ 2", ["'@'", "position 8"]),
        ("__import__('os')", ["'__import__'", "position 1"]),
        ("1 + Mask($close, 'SH600000')", ["Mask is left out", "position 5", "CSMean"]),
        ("TResample($close, '1mon', 'last')", ["only when its period is over"]),
        ("PRef($$roe, 1)", ["quarterly", "position 6"]),
        ("$close + @gap", ["@gap", "position 10"]),
        ("$volume + " * 100 + "Mean($close)", ["…", "Mean($close)", "position 1001"]),
        ("", ["empty"]),
        ("   ", ["empty"]),
        ("(" * 1000 + "$close" + ")" * 1000, ["nested"]),
        ("Abs(" * 1000 + "$close" + ")" * 1000, ["nested"]),
        ("-" * 1000 + "$close", ["nested"]),
    ],
)
def test_what_is_refused_says_why(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    for word in words:
        assert word in str(caught.value)


def test_a_chain_of_any_length_works() -> None:
    long = parse("+".join(["Mean($close, 5)"] * 5000))
    assert long.lookback == 4
    deep = close
    for _ in range(5000):
        deep = abs(deep) - 1
    assert len(walk([deep])) == 2 + 2 * 5000
    assert len(str(deep)) > 100


def test_a_graph_that_doubles_at_each_step_stays_small() -> None:
    node = close
    for _ in range(1000):
        node = node + node
    assert len(walk([node])) == 1001
    assert len(str(node)) <= 20_000


def test_equal_parts_are_one_node() -> None:
    nodes = walk([parse("Mean($close, 5)/$close"), parse("Mean($close, 5)-$close")])
    assert [n.op for n in nodes].count("Mean") == 1


def test_an_expression_is_not_a_truth_value() -> None:
    with pytest.raises(UsageError, match="&"):
        bool(close > opened)


def test_only_numbers_and_expressions_are_operands() -> None:
    with pytest.raises(UsageError, match="str"):
        close + "1"  # type: ignore[operator]


def test_every_operator_of_qlib_is_there() -> None:
    theirs = """Ref Max Min Sum Mean Std Var Skew Kurt Med Mad Slope Rsquare Resi Rank Quantile Count EMA WMA Corr Cov
        Delta Abs Sign Log Power Add Sub Mul Div Greater Less And Or Not Gt Ge Lt Le Eq Ne IdxMax IdxMin If""".split()
    assert set(theirs) <= set(OPERATORS)
    assert all(operator.meaning for operator in OPERATORS.values())
    with pytest.raises(UsageError, match="Rank"):
        find("Rnak")
