"""No label that is trained on ever meets the time that it is tested on, whatever the history looks like."""

from __future__ import annotations

from math import comb

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning import splits
from aiquant.learning.panel import Panel
from aiquant.settings import LearningSettings

DAY = np.timedelta64(1, "D")


@st.composite
def panels(draw: st.DrawFn) -> Panel:
    """Sessions with gaps over several years, symbols that miss some of them, labels of any horizon, each with a window
    of its own: it may end early, as at a barrier, or late, as after a pause.
    """
    gaps = draw(st.lists(st.integers(1, 120), min_size=6, max_size=60))
    sessions = np.datetime64("2015-01-05", "us") + np.cumsum(gaps) * DAY
    horizon, symbols = draw(st.integers(1, 25)), draw(st.integers(1, 4))
    late = draw(st.integers(0, 3))  # a symbol that pauses is filled later
    barriers = draw(st.booleans())
    rows = [(t, s) for t in range(len(sessions)) for s in range(symbols) if draw(st.integers(0, 9)) > 0]
    if not rows:
        rows = [(0, 0)]
    t = np.array([row[0] for row in rows])
    end = t + 1 + horizon + late * (np.array([row[1] for row in rows]) % 2)
    if barriers:
        early = draw(st.lists(st.integers(1, horizon), min_size=len(rows), max_size=len(rows)))
        end = np.where(np.array(early) % 2, t + 1 + np.array(early), end)
    known = end < len(sessions)
    nat = np.datetime64("NaT", "us")
    opens: NDArray[np.datetime64] = sessions - np.timedelta64(6, "h")
    return Panel(
        X=np.zeros((len(rows), 1), dtype=np.float32),
        features=("x",),
        y=np.where(known, 0.0, np.nan).astype(np.float32),
        target="rank",
        horizon=horizon,
        forward_return=np.where(known, 0.0, np.nan),
        symbols=np.array([row[1] for row in rows], dtype=np.int32),
        symbol_names=tuple("ABCD"[:symbols]),
        dates=sessions[t].astype("datetime64[D]"),
        event_time=sessions[t],
        label_start=np.where(known, opens[np.minimum(t + 1, len(sessions) - 1)], nat),
        label_end=np.where(known, opens[np.minimum(end, len(sessions) - 1)], nat),
    )


@given(panels(), st.integers(0, 8), st.none() | st.integers(1, 3), st.integers(1, 3), st.none() | st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_training_labels_end_before_the_test_and_its_embargo(
    built: Panel, embargo: int, train_years: int | None, min_train_years: int, refit: int | None
) -> None:
    learning = LearningSettings(embargo=embargo, train_years=train_years, min_train_years=min_train_years, refit=refit)
    try:
        folds = splits.walk_forward(built, learning)
    except DataError:
        return
    times = sorted(set(built.event_time.tolist()))
    for fold in folds:
        assert fold.test_start == built.event_time[fold.test].min()
        before = [time for time in times if time < fold.test_start.item()]
        edge = before[-embargo] if embargo else fold.test_start.item()
        assert (built.label_end[fold.train] < np.datetime64(edge, "us")).all()
        assert (built.event_time[fold.train] < fold.test_start).all()
        assert np.isfinite(built.y[fold.train]).all()
        assert not set(fold.train) & set(fold.test)
    tested = np.concatenate([fold.test for fold in folds])
    assert len(set(tested)) == len(tested)


@given(panels(), st.integers(2, 6), st.integers(1, 3), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_no_training_label_meets_a_tested_one_on_either_side(
    built: Panel, groups: int, tested: int, embargo: int
) -> None:
    try:
        folds = splits.combinatorial(built, groups, tested, embargo)
    except DataError:
        return
    times = built.event_time
    every = np.unique(times)
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
        for row in fold.train:
            start, end = built.label_start[row], built.label_end[row]
            for other in fold.test:
                decided, over = times[other], built.label_end[other]
                last = decided if np.isnat(over) else over
                assert end < decided or start > last
                between = (every > end) & (every < decided) if end < decided else (every > last) & (every < start)
                assert between.sum() >= embargo
        labelled = set(np.flatnonzero(built.labelled))
        taken = set(fold.train) | set(fold.purged) | set(fold.embargoed)
        assert taken == labelled - set(fold.test)
        assert len(fold.train) + len(fold.purged) + len(fold.embargoed) == len(taken)
    counts = np.bincount(np.concatenate([fold.test for fold in folds]), minlength=len(built))
    assert (counts == comb(groups - 1, tested - 1)).all()


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), min_size=1, max_size=40),
    st.integers(0, 40),
    st.integers(0, 15),
    st.integers(0, 6),
)
@settings(max_examples=300, deadline=None)
def test_purge_keeps_exactly_the_windows_that_stay_clear(
    windows: list[tuple[int, int]], start: int, length: int, embargo: int
) -> None:
    times = np.arange(0, 60).astype("datetime64[us]")
    starts = np.array([first for first, _ in windows]).astype("datetime64[us]")
    ends = np.array([first + long for first, long in windows]).astype("datetime64[us]")
    purged, embargoed = splits.purge(
        starts, ends, np.datetime64(start, "us"), np.datetime64(start + length, "us"), times, embargo
    )
    tested, wide = set(range(start, start + length + 1)), set(range(start - embargo, start + length + embargo + 1))
    for row, (first, long) in enumerate(windows):
        own = set(range(first, first + long + 1))
        if start - embargo < 0:  # an embargo that reaches past the beginning of history takes all that lies before
            wide |= set(range(start))
        assert purged[row] == bool(own & tested)
        assert embargoed[row] == (bool(own & wide) and not own & tested)
