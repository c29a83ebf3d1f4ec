"""The tearsheet: one file that asks for nothing, says what the numbers say, and survives what it is told."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from datetime import date
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aiquant.backtest import tearsheet
from aiquant.backtest.figures_style import MAX_POINTS
from aiquant.backtest.story import Source, Story, Track, as_mapping
from aiquant.errors import DataError

stories = SimpleNamespace(**run_path(str(Path(__file__).with_name("tearsheet_story.py"))))
SHORT = (date(2022, 1, 3), date(2022, 3, 31))


@pytest.fixture(scope="module")
def whole() -> str:
    return tearsheet.render(stories.story())


def _scripts(page: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def _data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    told: dict[str, Any] = json.loads(found[1])
    return told


def _shown(page: str) -> str:
    """The page without its style, data and scripts."""
    return re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)


def test_page_is_whole_in_itself(whole: str) -> None:
    shown = _shown(whole)
    assert whole.startswith("<!DOCTYPE html>")
    assert not re.search(r"(src|href|action)\s*=\s*[\"'](?!#|data:)", shown)
    assert "@import" not in whole[: whole.index("</style>")] and "url(" not in whole[: whole.index("</style>")]
    assert whole.count("plotly.js v") == 1


def test_policy_allows_the_two_scripts_and_nothing_else(whole: str) -> None:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', whole)
    assert found is not None
    policy = found[1].replace("&#39;", "'")
    digests = [f"'sha256-{b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in _scripts(whole)]
    assert len(digests) == 2
    assert f"default-src 'none'; script-src {' '.join(digests)};" in policy
    assert "unsafe-eval" not in policy and "http" not in policy


def test_size_is_moderate_and_long_series_are_thinned(whole: str) -> None:
    assert len(whole.encode()) < 6_000_000
    assert all(len(trace["x"]) <= MAX_POINTS for trace in _data(whole)["figures"]["equity"]["data"])
    assert "at most 2,500 points" in _shown(whole)
    assert "at most 2,500 points" not in _shown(tearsheet.render(stories.story(*SHORT)))


def test_the_same_story_gives_the_same_bytes() -> None:
    assert tearsheet.render(stories.story(*SHORT)) == tearsheet.render(stories.story(*SHORT))


def test_bare_story_tells_what_is_missing() -> None:
    page = tearsheet.render(stories.bare())
    shown = _shown(page)
    assert {"equity", "drawdown", "by_year", "monthly", "costs"} <= set(_data(page)["figures"])
    assert "not checked" in shown and "carries no manifest" in shown
    assert not re.search(r"\bnan\b|\bNone\b|>inf", shown)
    assert 'id="forecasts"' not in shown and 'id="model"' not in shown


def test_what_features_did_out_of_sample_is_drawn_with_clusters_and_stability() -> None:
    page = tearsheet.render(stories.story(*SHORT))
    drawn = _data(page)["figures"]
    assert drawn["clusters"]["data"][0]["y"] == ["momentum_1, momentum_2, momentum_3 and 2 more"]
    assert drawn["shap"]["data"][0]["y"][0] == "momentum_1" and drawn["permutation"]["data"][0]["x"][0] == 0.01
    assert "these falls correlate by 0.31 by rank" in _shown(page)
    bare = tearsheet.render(stories.story(*SHORT, measured={"features": [], "clusters": [], "stability": None}))
    assert not {"clusters", "shap", "permutation"} & set(_data(bare)["figures"])


EVIL = '"><script>alert(1)</script><!--&</style>{{ 7 * 7 }}'


def test_everything_from_outside_is_escaped() -> None:
    own = stories.account(stories.business_days(*SHORT), np.full(100, 0.001))
    story = stories.story(
        *SHORT,
        title=EVIL,
        run_id=EVIL,
        description=EVIL,
        notes=[EVIL],
        strategies={EVIL: Track(own), "date": Track(own)},  # a name that is a column, too
        sources=[Source(EVIL, EVIL, EVIL, EVIL, survivors_only=True)],
        importance={EVIL: 1.0},
        measured={
            "features": [{"feature": EVIL, "shap": 1.0, "permutation": 0.1, "permutation_std": 0.1}],
            "clusters": [{"features": [EVIL], "permutation": 0.1, "permutation_std": 0.1}],
            "stability": None,
        },
        conventions={EVIL: EVIL},
        manifest={EVIL: {EVIL: EVIL}},
        verdict={"promoted": False, "checks": [{"name": EVIL, "passed": False, "value": EVIL, "why": EVIL}]},
    )
    page = tearsheet.render(story)
    assert len(_scripts(page)) == 2
    assert "<script>alert" not in page and EVIL not in page
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page)[0]  # nor is it taken for a template
    for name in ("importance", "permutation", "clusters", "shap"):
        assert "<" not in _data(page)["figures"][name]["data"][0]["y"][0]


def test_numbers_of_a_story_read_from_json_are_the_same() -> None:
    story = stories.story(*SHORT)
    told = dict(story.judgement)
    told["daily"] = {day.isoformat(): ic for day, ic in told["daily"].items()}
    again = stories.story(*SHORT, judgement=json.loads(json.dumps(told)))
    assert tearsheet.render(again) == tearsheet.render(story)


def test_tables_hold_the_numbers(whole: str) -> None:
    shown = _shown(whole)
    for text in ("7,823 sessions", "0.0041", "165,520", "2026-01-02 15:04 UTC", "a1b2c3d4e5f60718", "−31.8%"):
        assert text in shown
    rows = re.findall(r'<th scope="row">(\d{4})</th>', shown)
    assert rows == [str(year) for year in range(1993, 2023)]


def test_every_term_leads_to_the_glossary(whole: str) -> None:
    asked = set(re.findall(r'href="#(term-[\w-]+)"', whole))
    assert len(asked) > 10
    assert asked <= set(re.findall(r'id="(term-[\w-]+)"', whole))


def test_unknown_numbers_become_dashes() -> None:
    own = stories.account(stories.business_days(*SHORT), np.zeros(100))
    nothing = {"rank_ic": float("nan"), "rank_ic_t": None, "by_year": {2022: float("nan")}, "dates": 0}
    summary = {"sharpe": float("nan"), "sharpe_low": float("nan"), "annual_return": 0.0, "annual_turnover": None}
    page = _shown(tearsheet.render(stories.story(*SHORT, strategies={"S": (own, summary)}, judgement=nothing)))
    assert not re.search(r"\bnan\b|NaN|\bNone\b", page)


def test_story_refuses_what_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match="at least one strategy"):
        Story("t", "r", stories.MADE_AT, {})
    one = stories.account([date(2022, 1, 3)], np.array([]))
    with pytest.raises(DataError, match="from 1 session"):
        Story("t", "r", stories.MADE_AT, {"S": (one, None)})
    with pytest.raises(DataError, match="not a mapping"):
        as_mapping([1])
