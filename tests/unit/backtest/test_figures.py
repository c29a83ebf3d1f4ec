"""Figures say what the account did."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path
from runpy import run_path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiquant.backtest import figures, figures_judgement, figures_model
from aiquant.backtest.figures_style import DARK, LIGHT, light_to_dark, thin
from aiquant.backtest.story import FoldSpans
from aiquant.errors import MissingError, MissingExtra

stories = SimpleNamespace(**run_path(str(Path(__file__).with_name("tearsheet_story.py"))))

DAYS = [date(2021, 12, 30), date(2021, 12, 31), date(2022, 1, 3), date(2022, 1, 31), date(2022, 2, 1)]
RETURNS = np.array([0.10, -0.20, 0.50, -0.10])  # marks 100, 110, 88, 132, 118.8


def test_equity_starts_at_100_and_follows_the_marks() -> None:
    own, other = stories.account(DAYS, RETURNS), stories.account(DAYS, RETURNS * 0, capital=5.0)
    figure = figures.equity({"mine": own, "theirs": other})
    drawn = {trace.name: list(trace.y) for trace in figure.data}
    assert drawn == {"mine": pytest.approx([100, 110, 88, 132, 118.8]), "theirs": [100.0] * 5}
    assert list(figure.data[-1].x) == DAYS
    assert figure.data[-1].name == "mine"  # drawn above the benchmark
    assert figure.layout.yaxis.type == "log"
    assert figures.equity({"mine": own}, log=False).layout.yaxis.type == "linear"


def test_benchmark_with_other_dates_is_rebased_where_both_begin() -> None:
    own, later = stories.account(DAYS, RETURNS), stories.account(DAYS[2:], np.array([0.1, 0.1]))
    drawn = {trace.name: list(trace.y) for trace in figures.equity({"mine": own, "theirs": later}).data}
    assert drawn["theirs"][:2] == [None, None]
    assert drawn["theirs"][2:] == pytest.approx([100, 110, 121])


def test_drawdown_is_below_the_highest_mark() -> None:
    figure = figures.drawdown({"mine": stories.account(DAYS, RETURNS)})
    assert list(figure.data[0].y) == pytest.approx([0, 0, 88 / 110 - 1, 0, -0.1])


def test_years_and_months_begin_at_the_mark_before() -> None:
    own = stories.account(DAYS, RETURNS)
    years = figures.by_year({"mine": own}).data[0]
    assert list(years.x) == [2021, 2022]
    assert list(years.y) == pytest.approx([0.10, 118.8 / 110 - 1], abs=1e-6)
    months = figures.monthly_heatmap(own).data[0]
    assert list(months.y) == ["2021", "2022"]
    assert list(months.z[0]) == [None] * 11 + [10.0]
    assert list(months.z[1]) == [20.0, -10.0] + [None] * 10


def test_heat_map_keeps_every_row_readable_over_thirty_years() -> None:
    days = stories.business_days(date(1990, 1, 2), date(2022, 12, 28))
    figure = figures.monthly_heatmap(stories.account(days, np.random.default_rng(0).normal(0, 0.01, len(days))))
    assert len(figure.data[0].y) == 33
    assert (figure.layout.height - figure.layout.margin.t - figure.layout.margin.b) / 33 >= 20


def test_rolling_sharpe_equals_the_formula() -> None:
    returns = np.random.default_rng(3).normal(0.001, 0.01, 30)
    days = [date(2022, 1, 1) + timedelta(days=i) for i in range(31)]
    figure = figures.rolling_sharpe({"mine": stories.account(days, returns)}, per_year=20.0, risk_free=0.02)
    excess = returns[-20:] - (1.02 ** (1 / 20) - 1)
    assert figure.data[0].y[-1] == pytest.approx(excess.mean() / excess.std(ddof=1) * 20**0.5, rel=1e-5)
    assert list(figure.data[0].y[:20]) == [None] * 20
    assert figures.rolling_sharpe({"mine": stories.account(days, returns)}, per_year=252.0) is None


def test_distribution_counts_every_session() -> None:
    days = stories.business_days(date(2020, 1, 1), date(2021, 12, 31))
    returns = np.random.default_rng(0).normal(0, 0.01, len(days) - 1)
    bars = figures.distribution(stories.account(days, returns)).data[0]
    assert sum(bars.y) == len(days) - 1


def test_one_far_day_neither_widens_the_bars_nor_makes_millions() -> None:
    days = stories.business_days(date(2010, 1, 1), date(2021, 12, 31))
    returns = np.zeros(len(days) - 1)
    returns[100] = 0.3
    assert len(figures.distribution(stories.account(days, returns)).data[0].x) < 1000


def test_an_account_without_any_move_can_be_drawn() -> None:
    flat = stories.account(DAYS, np.zeros(4))
    assert sum(figures.distribution(flat).data[0].y) == 4
    assert set(figures.drawdown({"flat": flat}).data[0].y) == {0.0}
    assert figures.monthly_heatmap(flat).data[0].zmax > 0


def test_a_ruined_account_can_be_drawn() -> None:
    ruined = stories.account(DAYS, np.array([-0.5, -0.5, -0.5, -1.0]))
    assert figures.equity({"ruined": ruined}).data[0].y[-1] == 0.0
    assert figures.drawdown({"ruined": ruined}).data[0].y[-1] == -1.0


def test_costs_and_turnover() -> None:
    own = stories.account(DAYS, RETURNS, capital=100.0, costs=[0.0, 0, 1.1, 0.88, 0], turnover=[0.0, 0, 0.5, 0.25, 1])
    assert list(figures.costs(own).data[0].y) == pytest.approx([0.0, 1.1 / 110 + 0.88 / 88])
    assert list(figures.turnover(own).data[0].y) == [0.0, 0.75, 1.0]  # by month


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '<a href="x">y</a>'])
def test_names_are_literal_text(name: str) -> None:
    figure = figures.equity({name: stories.account(DAYS, RETURNS)})
    assert "<" not in figure.data[0].name
    assert "<" not in figures_model.feature_importance({name: 1.0}).data[0].y[0]


def test_importance_is_shared_out_and_cut() -> None:
    figure = figures_model.feature_importance({"a": 1.0, "b": 6.0, "c": 3.0}, top=2)
    assert (list(figure.data[0].y), list(figure.data[0].x)) == (["b", "c"], [0.6, 0.3])
    assert "first 2 of 3" in figure.layout.title.text


def test_cumulative_rank_ic_is_in_order_of_time() -> None:
    figure = figures_model.rank_ic_cumulative({DAYS[1]: -0.1, DAYS[0]: 0.3, DAYS[2]: 0.1})
    assert list(figure.data[0].x) == DAYS[:3]
    assert list(figure.data[0].y) == pytest.approx([0.3, 0.2, 0.3])


def test_splits_draw_what_was_left_out() -> None:
    first, last = (date(2020, 1, 1), date(2020, 6, 30)), (date(2021, 4, 1), date(2021, 12, 31))
    left = [(date(2020, 7, 1), date(2020, 7, 10)), (date(2021, 3, 20), date(2021, 3, 31))]
    fold = FoldSpans(0, [first, last], [(date(2020, 7, 15), date(2021, 3, 10))], purge=left)
    figure = figures_model.splits([fold, FoldSpans(1, [first], [last])])
    bars = {bar.name: bar for bar in figure.data}
    assert list(bars) == ["train", "purged", "test"]  # nothing is embargoed
    day = 24 * 3600 * 1000
    assert (bars["purged"].base, bars["purged"].x) == (("2020-07-01", "2021-03-20"), (10 * day, 12 * day))
    assert bars["train"].y == ("fold 0", "fold 0", "fold 1")
    assert bars["train"].x == (182 * day, 275 * day, 182 * day)
    assert figures_model.splits([fold] * 200).layout.height < 2000


def test_whiskers_reach_two_errors_and_none_where_there_is_none() -> None:
    figure = figures_model.quantile_spread({"low": -0.01, "high": 0.02}, 5, {"low": 0.004, "high": None})
    assert list(figure.data[0].error_y.array) == pytest.approx([0.008, 0])
    decay = [{"horizon": h, "rank_ic": 0.01 * h, "rank_ic_error": 0.002, "dates": 9} for h in (1, 5)]
    drawn = figures_judgement.rank_ic_by_horizon(decay, horizon=5).data[0]
    assert (list(drawn.x), list(drawn.y)) == (["1", "5"], pytest.approx([0.01, 0.05]))
    assert list(drawn.error_y.array) == pytest.approx([0.004, 0.004])
    assert drawn.marker.color[0] != drawn.marker.color[1]


def test_groups_without_a_figure_are_not_drawn() -> None:
    rows = [{"group": "<b>", "rank_ic": 0.1, "rank_ic_error": 0.05}, {"group": "few", "rank_ic": float("nan")}]
    drawn = figures_judgement.rank_ic_by_group({"sector": rows}).data[0]
    assert list(drawn.y) == ["sector: &lt;b&gt;"] and list(drawn.x) == [0.1]


def test_calibration_draws_what_came_beside_the_line() -> None:
    deciles = [{"forecast": f, "realised": f / 2, "error": 0.1} for f in (-1.0, 0.0, 1.0)]
    line, points = figures_judgement.calibration(deciles).data
    assert (list(line.x), list(line.y)) == ([-1, 1], [-1, 1])
    assert list(points.y) == [-0.5, 0, 0.5] and list(points.error_y.array) == pytest.approx([0.2] * 3)


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=400),
    st.integers(8, 60),
)
def test_thinning_keeps_ends_and_extremes(values: list[float], limit: int) -> None:
    column = np.array(values)
    kept = thin([column, -column], limit)
    assert len(kept) <= limit or len(kept) == len(column) <= limit
    assert (np.diff(kept) > 0).all() and kept[0] == 0 and kept[-1] == len(column) - 1
    if np.isfinite(column).any():
        assert np.nanmax(column[kept]) == np.nanmax(column)
        assert np.nanmin(column[kept]) == np.nanmin(column)


def test_palettes_can_be_swapped_colour_by_colour() -> None:
    swap = light_to_dark()
    assert len(set(swap)) == len(swap) == len(vars(LIGHT))  # no colour stands in two roles
    assert swap[LIGHT.strategy] == DARK.strategy


def _contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, WCAG 2.1."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_lines_stand_out(palette: object) -> None:
    colours = vars(palette)
    assert all(_contrast(colours[name], colours["paper"]) >= 4.5 for name in ("ink", "faint"))
    lines = ("strategy", "benchmark_1", "benchmark_2", "benchmark_3", "gain", "loss", "test")
    assert all(_contrast(colours[name], colours["paper"]) >= 3.0 for name in lines)


def test_png_without_kaleido_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(MissingExtra, match=r"pip install 'aiquant\[png\]'"):
        figures.to_png(figures.equity({"mine": stories.account(DAYS, RETURNS)}), tmp_path / "x.png")


def test_png_that_cannot_be_drawn_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        class layout:  # noqa: N801
            height = 300

        def to_image(self, **_: object) -> bytes:
            raise ValueError("the browser did not start\nlong story")

    monkeypatch.setitem(sys.modules, "kaleido", ModuleType("kaleido"))
    with pytest.raises(MissingError, match="could not be drawn as PNG: the browser did not start; "):
        figures.to_png(Broken(), tmp_path / "x.png")  # type: ignore[arg-type]


def test_png_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("kaleido", reason="kaleido (extra png) is not installed")
    path = figures.to_png(figures.equity({"mine": stories.account(DAYS, RETURNS)}), tmp_path / "x.png", width=500)
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (1000, 840)
