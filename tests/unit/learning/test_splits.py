"""Purge and embargo, row by row, and the folds of a walk-forward."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest

from aiquant.errors import DataError
from aiquant.learning import panel, splits
from aiquant.learning.panel import Panel
from aiquant.settings import LearningSettings

TIMES = np.arange(12).astype("datetime64[us]")  # twelve decisions; a label of row i runs from i+1 to i+3
STARTS, ENDS = TIMES + 1, TIMES + 3


def out(mask: Any) -> list[int]:
    return np.flatnonzero(mask).tolist()  # type: ignore[no-any-return]


def test_purge_takes_out_every_row_whose_label_meets_the_test_window() -> None:
    purged, embargoed = splits.purge(STARTS, ENDS, TIMES[6], TIMES[7], TIMES)
    # windows [4,6] of row 3 to [7,9] of row 6 meet [6,7]; row 2 ends at 5, row 7 starts at 8
    assert out(purged) == [3, 4, 5, 6]
    assert out(embargoed) == []


def test_embargo_widens_the_test_window_by_decisions_on_both_sides() -> None:
    purged, embargoed = splits.purge(STARTS, ENDS, TIMES[6], TIMES[7], TIMES, embargo=2)
    # the window widened to [4,9]: rows 1 ([2,4]) to 8 ([9,11]) meet it
    assert out(purged) == [3, 4, 5, 6]
    assert out(embargoed) == [1, 2, 7, 8]


def test_an_embargo_longer_than_history_leaves_nothing() -> None:
    purged, embargoed = splits.purge(STARTS, ENDS, TIMES[6], TIMES[7], TIMES, embargo=100)
    assert (purged | embargoed).all()


def test_embargo_counts_decisions_not_days() -> None:
    times = np.array([0, 1, 2, 50, 51, 52], dtype="datetime64[us]")  # a long gap, as over holidays
    starts = ends = np.append(times[1:], np.datetime64(53, "us"))  # labels of one moment, known at the next decision
    purged, embargoed = splits.purge(starts, ends, times[4], times[4], times, embargo=1)
    assert out(purged) == [3]  # its label is the very moment of the test
    assert out(embargoed) == [2, 4]  # labels at 50, one decision before, and at 52, one behind


def build(market: Callable[..., Any], days: list[date], horizon: int = 2) -> Panel:
    return panel.build(*market(days, symbols=2, horizon=horizon))


def test_a_walk_forward_on_twelve_rows(market: Callable[..., Any]) -> None:
    days = [date(2020, 12, d) for d in (25, 28, 29, 30, 31)] + [date(2021, 1, 4)]
    built = build(market, days, horizon=1)  # label of day i: from day i+1 to day i+2
    (fold,) = splits.walk_forward(built, LearningSettings(min_train_years=1, embargo=0))
    # 25th: ends on the 29th, 28th: 30th, 29th: 31st; the 30th ends on 4 January, the 31st has no label yet
    assert fold.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert fold.test.tolist() == [10, 11]
    assert (fold.purged, fold.embargoed, fold.number) == (2, 0, 0)
    assert str(fold.train_end)[:10] == "2020-12-29"
    assert str(fold.test_start)[:10] == str(fold.test_end)[:10] == "2021-01-04"

    (fold,) = splits.walk_forward(built, LearningSettings(min_train_years=1, embargo=2))
    # no label may reach the 30th either: that takes out the 28th and the 29th
    assert fold.train.tolist() == [0, 1]
    assert (fold.purged, fold.embargoed) == (2, 4)


def test_years_default_to_all_after_the_first_training_years(market: Callable[..., Any]) -> None:
    days = [date(year, month, 3) for year in range(2015, 2021) for month in range(1, 13)]
    built = build(market, days)
    folds = splits.walk_forward(built, LearningSettings(min_train_years=3, embargo=1))
    assert [str(fold.test_start)[:4] for fold in folds] == ["2018", "2019", "2020"]
    assert [fold.number for fold in folds] == [0, 1, 2]
    assert all(str(fold.train_start)[:4] == "2015" for fold in folds)
    assert len(folds[-1].test) == 24  # rows without a label are forecast all the same


def test_a_rolling_window_forgets(market: Callable[..., Any]) -> None:
    days = [date(year, month, 3) for year in range(2015, 2021) for month in range(1, 13)]
    built = build(market, days)
    folds = splits.walk_forward(built, LearningSettings(first_test=2018, last_test=2019, train_years=2))
    assert [(str(f.train_start)[:4], str(f.test_end)[:4]) for f in folds] == [("2016", "2018"), ("2017", "2019")]


def test_years_without_rows_are_passed_over(market: Callable[..., Any]) -> None:
    days = [date(year, month, 3) for year in (2015, 2016, 2019) for month in range(1, 13)]
    folds = splits.walk_forward(build(market, days), LearningSettings(first_test=2016, embargo=0))
    assert [str(fold.test_start)[:4] for fold in folds] == ["2016", "2019"]


def test_too_little_history_says_so(market: Callable[..., Any]) -> None:
    days = [date(2020, month, 3) for month in range(1, 13)]
    built = build(market, days)
    with pytest.raises(DataError, match="reach from 2020 to 2020: no year from 2023 to 2020"):
        splits.walk_forward(built, LearningSettings())
    with pytest.raises(DataError, match="nothing to train on before 2020"):
        splits.walk_forward(built, LearningSettings(first_test=2020))


def test_a_label_longer_than_the_training_years_leaves_nothing_to_train_on(market: Callable[..., Any]) -> None:
    days = [date(year, month, 3) for year in (2019, 2020) for month in range(1, 13)]
    with pytest.raises(DataError, match="labelled rows, .* purged"):
        splits.walk_forward(build(market, days, horizon=12), LearningSettings(first_test=2020, embargo=0))


def test_one_symbol_has_nothing_to_be_ranked_against(market: Callable[..., Any]) -> None:
    days = [date(year, month, 3) for year in range(2015, 2021) for month in range(1, 13)]
    with pytest.raises(DataError, match="one symbol alone: the target 'rank'"):
        splits.walk_forward(panel.build(*market(days, symbols=1)), LearningSettings())
    assert splits.walk_forward(panel.build(*market(days, symbols=1), target="return"), LearningSettings())
