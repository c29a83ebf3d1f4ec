"""The verdict says what the numbers bear, and no more."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aiquant.backtest import tearsheet_format as written
from aiquant.backtest import tearsheet_words
from aiquant.backtest.story import Track
from aiquant.backtest.tearsheet_glossary import GLOSSARY

stories = SimpleNamespace(**run_path(str(Path(__file__).with_name("tearsheet_story.py"))))
DAYS = stories.business_days(date(2022, 1, 3), date(2022, 3, 31))
PASSED = {"passed": True, "checks": []}


def _story(
    t: float | None = 3.0,
    sharpe: tuple[float, float, float] = (0.9, 0.4, 1.4),
    benchmark: float = 0.5,
    leakage: Any = PASSED,
    **changed: Any,
) -> Any:
    own = stories.account(DAYS, np.zeros(100))
    summary = {"sharpe": sharpe[0], "sharpe_low": sharpe[1], "sharpe_high": sharpe[2], "confidence": 0.9}
    figures = {"annual_return": 0.051, "max_drawdown": -0.2, "annual_turnover": 18.0, "annual_costs": 0.009}
    other = {"sharpe": benchmark, "annual_return": -0.02, "max_drawdown": -0.5}
    parts = {
        "strategies": {"Mine": Track(own, summary | figures), "Equal weight": Track(own, other)},
        "judgement": None if t is None else {"rank_ic": 0.004 if t < 2 else 0.02, "rank_ic_t": t, "dates": 1200},
        "leakage": leakage,
        "verdict": None,
        "sources": (),
    }
    return stories.story(date(2022, 1, 3), date(2022, 3, 31), **(parts | changed))


@pytest.mark.parametrize(
    "told, headline, tone",
    [
        ({}, "An edge was found in these data", "good"),
        ({"t": 0.9}, "No edge was found.", "bad"),
        ({"t": 0.9, "sharpe": (2.0, 1.0, 3.0)}, "No edge was found.", "bad"),
        ({"t": -2.5}, "The forecasts pointed the wrong way.", "bad"),
        ({"sharpe": (0.4, -0.1, 0.9)}, "held some information, but no reliable profit", "mixed"),
        ({"sharpe": (-0.9, -1.4, -0.4)}, "lost money after costs", "bad"),
        ({"benchmark": 1.1}, "Equal weight had the better Sharpe ratio", "mixed"),
        ({"leakage": None}, "was not checked for leaks", "mixed"),
        ({"leakage": {"passed": False}}, "cannot be trusted", "bad"),
        ({"verdict": {"promoted": False, "checks": []}}, "the gate did not let the model pass", "mixed"),
        ({"t": None, "sharpe": (0.4, -0.1, 0.9)}, "No edge was found: the profit after costs", "bad"),
        ({"t": float("nan"), "sharpe": (0.4, -0.1, 0.9)}, "cannot be told apart from luck", "bad"),
        ({"sharpe": (0.9, float("nan"), float("nan"))}, "its uncertainty was not reckoned", "mixed"),
    ],
)
def test_headline(told: dict[str, Any], headline: str, tone: str) -> None:
    found = tearsheet_words.verdict(_story(**told))
    assert headline in found.headline
    assert found.tone == tone


def test_sentences_carry_the_numbers() -> None:
    text = " ".join(tearsheet_words.verdict(_story(t=0.9, sharpe=(0.4, -0.1, 0.9))).sentences)
    assert "mean rank IC of 0.0040 has a t-statistic of 0.90 over 1,200 dates: not significant" in text
    assert "After costs the strategy made 5.1% a year (Sharpe ratio 0.40, 90% interval −0.10 to 0.90)" in text
    assert "while Equal weight lost 2.0%." in text
    assert "luck alone could have made this" in text
    assert "20.0% below an earlier high (Equal weight: 50.0%)" in text
    assert "18.0× its equity a year (one-way); commission and slippage took 0.9% a year" in text


@pytest.mark.parametrize("t", [-3.0, 0.0, 1.99, 2.0, 5.0, float("nan"), None])
def test_significant_is_said_only_beside_its_t(t: float | None) -> None:
    found = tearsheet_words.verdict(_story(t=t))
    assert "significant" not in found.headline
    for sentence in found.sentences:
        assert "significant" not in sentence or "t-statistic of" in sentence


def test_caveats_are_told() -> None:
    source = stories.story(date(2022, 1, 3), date(2022, 3, 31)).sources
    verdict = {"promoted": False, "checks": [{"name": "rank_ic_t", "passed": False}, {"name": "x", "passed": True}]}
    text = " ".join(tearsheet_words.verdict(_story(sources=source, leakage=None, verdict=verdict)).sentences)
    assert "was not checked for leaks" in text
    assert "holds only companies that survived" in text
    assert "(failed: Rank IC t)" in text


def test_every_card_and_term_is_in_the_glossary() -> None:
    assert {card.term for card in tearsheet_words.cards(_story())} <= set(GLOSSARY)
    assert [card.label for card in tearsheet_words.cards(stories.bare())] == []


@pytest.mark.parametrize(
    "text, shown",
    [
        (written.number(-1234.5), "−1,234.50"),
        (written.number(-0.001), "0.00"),
        (written.number(np.float64(2.0), 0), "2"),
        (written.number(float("inf")), "–"),
        (written.number(None), "–"),
        (written.number(True), "–"),
        (written.percent(0.12345), "12.3%"),
        (written.percent(-15.543), "−1,554.3%"),
        (written.times(18.23), "18.2×"),
        (written.seconds(0.412), "0.41 s"),
        (written.seconds(75.04), "75.0 s"),
        (written.count(165520), "165,520"),
        (written.plain(True), "yes"),
        (written.plain(20260102), "20260102"),
        (written.plain(["a", 1]), "a, 1"),
        (written.plain({}.get("x")), "–"),
        (written.amount(0.0123), "0.0123"),
        (written.amount(500), "500"),
        (written.amount("≥ 2"), "≥ 2"),
        (written.label("rank_ic_t"), "Rank IC t"),
    ],
)
def test_numbers_are_written_for_people(text: str, shown: str) -> None:
    assert text == shown


def test_nested_manifest_is_dotted() -> None:
    assert written.dotted({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
