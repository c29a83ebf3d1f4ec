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
    assert (fold.purged.tolist(), fold.embargoed.tolist(), fold.number) == ([6, 7], [], 0)
    assert str(fold.train_end)[:10] == "2020-12-29"
    assert str(fold.test_start)[:10] == str(fold.test_end)[:10] == "2021-01-04"

    (fold,) = splits.walk_forward(built, LearningSettings(min_train_years=1, embargo=2))
    # no label may reach the 30th either: that takes out the 28th and the 29th
    assert fold.train.tolist() == [0, 1]
    assert (fold.purged.tolist(), fold.embargoed.tolist()) == ([6, 7], [2, 3, 4, 5])


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
    with pytest.raises(DataError, match="nothing to train on for the test from 2020-01-03 to 2020-12-03"):
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


def sessions(count: int, horizon: int = 1, symbols: int = 1, ends: dict[int, int] | None = None) -> Panel:
    """Decisions one a day; the label of day i runs from i+1 to i+1+horizon, that of row r to ``ends[r]``."""
    day = np.repeat(np.arange(count), symbols)
    end = day + 1 + horizon
    for row, moment in (ends or {}).items():
        end[row] = moment
    known = end < count
    times = np.datetime64("2020-01-01", "us") + day * np.timedelta64(1, "D")
    nat = np.datetime64("NaT", "us")
    return Panel(
        X=np.zeros((len(day), 1), dtype=np.float32),
        features=("x",),
        y=np.where(known, 0.0, np.nan).astype(np.float32),
        target="return",
        horizon=horizon,
        forward_return=np.where(known, 0.0, np.nan),
        symbols=np.tile(np.arange(symbols, dtype=np.int32), count),
        symbol_names=tuple("ABC"[:symbols]),
        dates=times.astype("datetime64[D]"),
        event_time=times,
        label_start=np.where(known, times + np.timedelta64(1, "D"), nat),
        label_end=np.where(known, times + (end - day) * np.timedelta64(1, "D"), nat),
    )


def parts(fold: splits.Fold) -> tuple[list[int], list[int], list[int], list[int]]:
    return fold.train.tolist(), fold.test.tolist(), fold.purged.tolist(), fold.embargoed.tolist()


def test_purged_folds_on_twelve_rows() -> None:
    built = sessions(12)  # label windows [i+1, i+2]; rows 10 and 11 have none
    folds = splits.purged_folds(built, k=3, embargo=0)
    # Tested 0–3: the last tested label ends at 5, so windows that begin at 5 or before, those of rows up to 4, go.
    # Tested 4–7, with labels to 9: windows that meet [4, 9] are [3,4] … [9,10], of rows 2, 3 and 8.
    # Tested 8–11: windows that reach 8 are those of rows 6 and 7.
    assert [parts(fold) for fold in folds] == [
        ([5, 6, 7, 8, 9], [0, 1, 2, 3], [4], []),
        ([0, 1, 9], [4, 5, 6, 7], [2, 3, 8], []),
        ([0, 1, 2, 3, 4, 5], [8, 9, 10, 11], [6, 7], []),
    ]
    assert [fold.groups for fold in folds] == [(0,), (1,), (2,)]


def test_purged_folds_keep_the_embargo_on_both_sides() -> None:
    folds = splits.purged_folds(sessions(12), k=3, embargo=1)
    # The windows widened by one decision: [0,6], [3,10] and [7,11].
    assert [parts(fold) for fold in folds] == [
        ([6, 7, 8, 9], [0, 1, 2, 3], [4], [5]),
        ([0], [4, 5, 6, 7], [2, 3, 8], [1, 9]),
        ([0, 1, 2, 3, 4], [8, 9, 10, 11], [6, 7], [5]),
    ]


def test_purge_follows_the_window_of_each_label() -> None:
    # Labels of three days; that of row 1 is paid late, at 9, those of rows 5 and 6 touch a barrier at 7.
    built = sessions(14, horizon=3, ends={1: 9, 5: 7, 6: 7})
    late, early = splits.purged_folds(built, k=2, embargo=0)
    # Tested 7–13: windows [i+1, i+4] reach 7 from row 3 on, and so does that of row 1; rows 5 and 6 end there as well.
    assert parts(early) == ([0, 2], [7, 8, 9, 10, 11, 12, 13], [1, 3, 4, 5, 6], [])
    # Tested 0–6: the last label to be known is that of row 1 at 9, so windows must begin later: from row 9 on.
    assert parts(late) == ([9], [0, 1, 2, 3, 4, 5, 6], [7, 8], [])


def test_rows_of_one_date_are_purged_each_by_its_own_label() -> None:
    built = sessions(16, symbols=2, horizon=3, ends={10: 7})  # on day 5 the first symbol touched a barrier at day 7
    _, fold = splits.purged_folds(built, k=2, embargo=0)  # days 8–15 are tested: windows of day 4 and later reach them
    assert fold.train.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 10]
    assert fold.purged.tolist() == [8, 9, 11, 12, 13, 14, 15]


def test_purged_folds_split_the_rows_that_they_are_given() -> None:
    folds = splits.purged_folds(sessions(12), k=2, embargo=0, rows=np.arange(2, 8))
    # 2–4 tested, labels to 6: rows up to 5 go; 5–7 tested: windows that reach 5 are those of rows 3 and 4
    assert [parts(fold) for fold in folds] == [([6, 7], [2, 3, 4], [5], []), ([2], [5, 6, 7], [3, 4], [])]


def test_combinations_of_groups_row_by_row() -> None:
    folds = splits.combinatorial(sessions(20), groups=4, tested=2, embargo=0)
    assert [fold.groups for fold in folds] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert [fold.number for fold in folds] == [0, 1, 2, 3, 4, 5]
    # Groups 0–4, 5–9, 10–14, 15–19; what they test reaches to 6, 11, 16 and 19; rows 18 and 19 have no label.
    assert parts(folds[1]) == ([6, 7, 16, 17], [0, 1, 2, 3, 4, 10, 11, 12, 13, 14], [5, 8, 9, 15], [])
    assert parts(folds[3]) == ([0, 1, 2, 16, 17], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [3, 4, 15], [])
    assert folds[1].train_start == folds[1].train_end - np.timedelta64(11, "D")


def test_paths_test_every_group_once_and_use_every_forecast_once() -> None:
    folds = splits.combinatorial(sessions(60), groups=6, tested=2, embargo=0)
    paths = splits.paths(folds, groups=6, tested=2)
    assert len(folds) == 15 and len(paths) == 5  # as in figure 12.1 of López de Prado (2018)
    assert all(sorted(path) == [0, 1, 2, 3, 4, 5] for path in paths)
    used = sorted((group, number) for path in paths for group, number in path.items())
    assert used == sorted((group, fold.number) for fold in folds for group in fold.groups)


def test_refits_every_so_many_sessions() -> None:
    built = sessions(400)  # 2020 has 366 days; 34 of 2021 are tested
    learning = LearningSettings(first_test=2021, embargo=0, refit=15)
    folds = splits.walk_forward(built, learning)
    assert [fold.test.tolist() for fold in folds] == [
        list(range(366, 381)),
        list(range(381, 396)),
        list(range(396, 400)),
    ]
    assert [fold.train.tolist() for fold in folds] == [list(range(364)), list(range(379)), list(range(394))]
    rolling = splits.walk_forward(sessions(800), LearningSettings(first_test=2022, embargo=0, refit=40, train_years=1))
    assert [(int(fold.train[0]), int(fold.train[-1]), int(fold.test[0])) for fold in rolling] == [
        (366, 728, 731),  # the year before 1 January 2022
        (406, 768, 771),  # the year before 10 February 2022
    ]


def test_spans_are_the_unbroken_stretches_of_decision_times() -> None:
    built = sessions(12, symbols=2)
    told = splits.spans(built, np.array([0, 1, 2, 3, 6, 12, 15]))
    assert [(str(first), str(last)) for first, last in told] == [
        ("2020-01-01", "2020-01-02"),
        ("2020-01-04", "2020-01-04"),
        ("2020-01-07", "2020-01-08"),
    ]
    assert splits.spans(built, np.array([], dtype=np.int64)) == []


def test_a_split_that_cannot_be_made_says_so() -> None:
    with pytest.raises(DataError, match="3 of 3 groups cannot be tested"):
        splits.combinatorial(sessions(12), groups=3, tested=3, embargo=0)
    with pytest.raises(DataError, match="12 decision times cannot be split into 13 groups"):
        splits.purged_folds(sessions(12), k=13, embargo=0)
    with pytest.raises(DataError, match="nothing to train on .* fewer bars in labels.horizon"):
        splits.purged_folds(sessions(12, horizon=8), k=2, embargo=0)


def test_a_history_that_is_shorter_than_a_label_says_so() -> None:
    with pytest.raises(DataError, match="no label is known: 12 decision times, and a label's window of 20 bars"):
        splits.walk_forward(sessions(12, horizon=20), LearningSettings(first_test=2020))
    with pytest.raises(DataError, match="no label is known"):
        splits.purged_folds(sessions(12, horizon=20), k=2, embargo=0)
