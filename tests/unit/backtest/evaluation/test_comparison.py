"""Strategies side by side, and what choosing among them would have earned."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest

from aiquant.backtest import comparison_page, sharpe
from aiquant.backtest.evaluation import comparison, selection
from aiquant.errors import DataError
from aiquant.schemas import EQUITY
from aiquant.settings import EvaluationSettings

ASKED = EvaluationSettings(draws=400, train=100, test=20)


def account(returns: np.ndarray, first: date = date(2020, 1, 1)) -> pa.Table:
    marks = 1e6 * np.cumprod(np.concatenate([[1.0], 1.0 + returns]))
    days = [first + timedelta(days=i) for i in range(len(marks))]
    told = {
        "run_id": ["r"] * len(days),
        "date": days,
        "event_time": [datetime(d.year, d.month, d.day, 21, tzinfo=UTC) for d in days],
        "equity": marks,
        **{n: np.zeros(len(days)) for n in ("cash", "gross_exposure", "net_exposure", "turnover", "costs")},
    }
    return pa.table(told, schema=EQUITY.schema)


def noise(seed: int, count: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, count)


def test_walk_forward_holds_the_best_of_the_past_only() -> None:
    # The first trial is better until session 60, the second from then on.
    returns = np.tile([[0.01, -0.01], [0.012, -0.012]], (60, 1))
    returns[60:] = returns[60:, ::-1]
    held = selection.walk_forward(returns, train=20, test=10, embargo=1)
    assert held.rows.tolist() == list(range(21, 120))
    assert held.chosen[: 60 - 21].tolist() == [0] * 39, "until the change"
    assert held.chosen[-30:].tolist() == [1] * 30
    assert held.returns == pytest.approx(returns[held.rows, held.chosen])
    changed = returns.copy()
    changed[90:] = -returns[90:]
    again = selection.walk_forward(changed, train=20, test=10, embargo=1)
    assert again.chosen[: 90 - 21].tolist() == held.chosen[: 90 - 21].tolist(), "the future changes nothing before it"


def test_combinatorial_paths_against_the_recipe() -> None:
    returns = np.column_stack([noise(i, 60) for i in range(3)])
    paths = selection.combinatorial_paths(returns, groups=6, tested=2, embargo=0)
    assert paths.shape == (5, 60), "C(5, 1) paths"
    edges = np.arange(0, 61, 10)
    options: list[list[np.ndarray]] = [[] for _ in range(6)]
    for tested in combinations(range(6), 2):
        rest = np.concatenate([returns[edges[g] : edges[g + 1]] for g in range(6) if g not in tested])
        best = int(np.argmax(rest.mean(axis=0) / rest.std(axis=0, ddof=1)))
        for group in tested:
            options[group].append(returns[edges[group] : edges[group + 1], best])
    for j in range(5):
        assert paths[j] == pytest.approx(np.concatenate([options[group][j] for group in range(6)]))


@pytest.mark.parametrize(("train", "count"), [(50, 50), (1, 50)])
def test_too_short_a_history_is_refused(train: int, count: int) -> None:
    with pytest.raises(DataError, match="too few"):
        selection.walk_forward(np.zeros((count, 2)), train, 5)
    with pytest.raises(DataError, match="cannot be parted"):
        selection.combinatorial_paths(np.zeros((10, 2)), 6, 2)


def test_common_dates_and_what_they_leave_out() -> None:
    long, late = account(noise(1)), account(noise(2), date(2020, 2, 1))
    kept, notes = comparison.common({"long": long, "late": late})
    assert [kept[name]["date"][0].as_py() for name in kept] == [date(2020, 2, 1)] * 2
    assert kept["long"].num_rows == kept["late"].num_rows == 401 - 31
    assert notes == [
        "long: 31 date(s) outside of the common ones were left out",
        "late: 31 date(s) outside of the common ones were left out",
    ]
    with pytest.raises(DataError, match="at least two"):
        comparison.common({"long": long})
    with pytest.raises(DataError, match=r"0 date\(s\) in common"):
        comparison.common({"a": long, "b": account(noise(2), date(2030, 1, 1))})


def test_a_truly_better_strategy_is_seen_through_what_both_share() -> None:
    market = noise(3, 1000) * 3
    curves = {
        "plain": account(market + noise(4, 1000) * 0.1),
        "better": account(market + noise(5, 1000) * 0.1 + 0.0005),
        "same": account(market + noise(6, 1000) * 0.1),
    }
    found = comparison.compare(curves, ASKED, 252.0)
    better, same = found.pairs
    assert better.sharpe_low > 0.0 and better.return_low > 0.0 and better.probability > 0.99
    assert same.sharpe_low < 0.0 < same.sharpe_high
    single = found.strategies[1].summary
    assert single.sharpe_low < 0.0, "by itself it cannot be told from luck"
    assert found.superiority < 0.05 and found.superiority_best == "better"
    assert found.overfitting < 0.1 and found.overfitting_blocks == 16
    assert found.correlation[0][1] > 0.95
    assert found.choice is not None and found.choice.sharpe == pytest.approx(found.choice.best_sharpe, abs=0.3)
    assert len(found.choice.paths) == math.comb(5, 1)
    assert found == comparison.compare(curves, ASKED, 252.0), "the same seed finds the same"


def test_deflation_counts_all_that_are_compared() -> None:
    curves = {str(i): account(noise(i)) for i in range(8)}
    found = comparison.compare(curves, ASKED, 252.0)
    marks = np.column_stack([table["equity"].to_numpy() for table in curves.values()])
    shapes = [sharpe.moments(column) for column in (marks[1:] / marks[:-1] - 1).T]
    variance = np.var([shape.sharpe for shape in shapes], ddof=1)
    for each, shape in zip(found.strategies, shapes, strict=True):
        assert each.deflated == pytest.approx(sharpe.deflated(shape, variance, 8))
        assert each.deflated < each.probability


def test_sharpe_difference_of_a_series_and_its_double_is_nothing() -> None:
    returns = noise(7)
    apart, low, high = comparison.sharpe_difference(returns, 2 * returns, seed=1, draws=100)
    assert (apart, low, high) == pytest.approx((0, 0, 0), abs=1e-12)
    assert all(math.isnan(v) for v in comparison.sharpe_difference(returns, returns * 0, seed=1, draws=100))


def test_the_page_tells_of_all_and_asks_for_nothing() -> None:
    curves = {"plain <b>": account(noise(1)), "other & co": account(noise(2) + 0.001)}
    found = comparison.compare(curves, ASKED, 252.0)
    page = comparison_page.render(found, curves, datetime(2026, 1, 2, tzinfo=UTC))
    assert "plain &lt;b&gt;" in page and "<b>" not in page.split("<script", 1)[0]
    assert "default-src &#39;none&#39;" in page and "src=" not in page.split("<script", 1)[0]
    for name in comparison_page.charts(found, curves):
        assert f'data-chart="{name}"' in page


@pytest.mark.parametrize(
    ("drift", "said"),
    [(-0.002, "None of the others"), (0.0003, "luck could have made it"), (0.004, "a better one than luck among all")],
)
def test_the_first_line_says_no_more_than_the_numbers(drift: float, said: str) -> None:
    curves = {"plain": account(noise(11)), "other": account(noise(12) - noise(12).mean() + noise(11).mean() + drift)}
    assert said in comparison_page.words(comparison.compare(curves, ASKED, 252.0))
