"""Splits that follow the labels' own windows: no training label ever meets the time that it is tested on.

Terms as in M. López de Prado, *Advances in Financial Machine Learning* (2018), chapter 7: a training row is *purged*
when its label's window meets the test window, and *embargoed* when it lies within a few sessions of it. The window of
each row is its own: where a label ends early (a barrier was touched, a symbol was delisted) the row stays longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning.panel import Panel
from aiquant.learning.targets import compares
from aiquant.settings import LearningSettings

Times = NDArray[np.datetime64]
Rows = NDArray[np.int64]
Window = tuple[np.datetime64, np.datetime64]
"""First and last moment of a time that is tested, both included."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One fit and what it is tested on.

    Attributes
    ----------
    number
        From 0, in order of time.
    train, test
        ``int64``: rows of the panel, ascending.
    purged, embargoed
        ``int64``: rows that were taken out of training because their label's window meets the test window, and because
        it comes nearer than the embargo.
    train_start, train_end, test_start, test_end
        First and last decision time of each side (``datetime64[us]``, UTC).
    groups
        Of a combinatorial split: the groups that are tested, ascending. Empty for a walk-forward.
    """

    number: int
    train: Rows
    test: Rows
    purged: Rows
    embargoed: Rows
    train_start: np.datetime64
    train_end: np.datetime64
    test_start: np.datetime64
    test_end: np.datetime64
    groups: tuple[int, ...] = ()


def purge(
    label_start: Times,
    label_end: Times,
    test_start: np.datetime64,
    test_end: np.datetime64,
    times: Times,
    embargo: int = 0,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows must not be trained on when the closed window [``test_start``, ``test_end``] is tested.

    Parameters
    ----------
    label_start, label_end
        ``datetime64[us]``, shape (n,): the labels' windows, both ends included.
    test_start, test_end
        The first decision of the test and the last moment that belongs to it: for a splitter that also trains on rows
        behind the test, the end of the last tested label.
    times
        ``datetime64[us]``, ascending and unique: the decision times, in which the embargo is counted.
    embargo
        Decision times before and behind the test window that no training label may touch either.

    Returns
    -------
    purged, embargoed
        ``bool``, shape (n,) each; a purged row is not counted as embargoed.
    """
    purged = (label_start <= test_end) & (label_end >= test_start)
    before = np.searchsorted(times, test_start, side="left") - embargo
    behind = np.searchsorted(times, test_end, side="right") - 1 + embargo
    # An embargo that reaches past either end of history leaves nothing on that side.
    late_enough = label_end >= times[before] if 0 <= before < len(times) else np.full(len(label_end), before < 0)
    soon_enough = label_start <= times[behind] if 0 <= behind < len(times) else np.full(len(label_end), behind > 0)
    near = late_enough & soon_enough if embargo else np.zeros(len(label_end), dtype=bool)
    return purged, near & ~purged


def walk_forward(panel: Panel, learning: LearningSettings) -> list[Fold]:
    """Each stretch of time is tested by what was learnt before it.

    A stretch is a calendar year, or ``refit`` decision times long. A training row has a label that was known, and
    decided upon, before the first decision of the test, less the embargo. The window of training grows from the first
    row on, or is ``train_years`` years long.

    Raises
    ------
    DataError
        When no year can be tested, a stretch that was asked for has nothing to train on before it, or a target that
        compares symbols finds one alone.
    """
    years = panel.dates.astype("datetime64[Y]").astype(np.int64) + 1970
    first, last = _test_years(years, learning)
    _demand_labels(panel)
    times = np.unique(panel.event_time)
    known = panel.labelled
    folds: list[Fold] = []
    for test in _stretches(panel, years, first, last, learning.refit):
        start = panel.event_time[test[0]]
        begin = _training_begins(panel.dates[test[0]], learning)
        candidates = np.flatnonzero(known & (panel.event_time < start) & (panel.dates >= begin))
        window = (start, panel.event_time[test[-1]])
        folds.append(_fold(panel, len(folds), candidates, test, [window], times, learning.embargo))
    if not folds:
        raise DataError(f"there are no rows to test from {first} to {last}", "set learning.first_test and last_test")
    return folds


def purged_folds(panel: Panel, k: int, embargo: int, rows: Rows | None = None) -> list[Fold]:
    """Cross-validation in time: ``k`` stretches of decision times, each tested by what was learnt on the others.

    See :func:`combinatorial`, of which this is the case of one tested group.
    """
    return combinatorial(panel, k, 1, embargo, rows)


def combinatorial(panel: Panel, groups: int, tested: int, embargo: int, rows: Rows | None = None) -> list[Fold]:
    """Combinatorial purged cross-validation: every choice of ``tested`` out of ``groups`` stretches of time is a test.

    M. López de Prado, *Advances in Financial Machine Learning* (2018), section 12.3. The window of a tested group runs
    from its first decision to the end of its last label, so that what is trained on behind it has not seen it either.

    Parameters
    ----------
    groups
        Stretches of (nearly) as many decision times each, N.
    tested
        Groups that are tested at a time, k; the fits are the binomial coefficient of N over k.
    embargo
        Decision times before and behind each tested group that no training label may touch.
    rows
        ``int64``, ascending: rows of the panel to split, for instance those that a fold of :func:`walk_forward` trains
        on; by default all. Rows without a label are tested and not trained on.

    Returns
    -------
    list of Fold
        In lexicographic order of the tested groups.

    Raises
    ------
    DataError
        When there are fewer decision times than groups, or nothing is left to train on.
    """
    if not 1 <= tested < groups:
        raise DataError(f"{tested} of {groups} groups cannot be tested", "choose fewer groups to test than there are")
    _demand_labels(panel)
    taken = np.arange(len(panel), dtype=np.int64) if rows is None else rows
    moments = panel.event_time[taken]
    group = np.searchsorted(group_starts(moments, groups), moments, side="right") - 1
    windows = [_window(panel, taken[group == number]) for number in range(groups)]
    labelled = panel.labelled[taken]
    times = np.unique(panel.event_time)
    folds = []
    for number, chosen in enumerate(combinations(range(groups), tested)):
        inside = np.isin(group, chosen)
        candidates, test = taken[~inside & labelled], taken[inside]
        fold = _fold(panel, number, candidates, test, [windows[g] for g in chosen], times, embargo, chosen)
        folds.append(fold)
    return folds


def group_starts(moments: Times, groups: int) -> Times:
    """First decision time of each of ``groups`` stretches of (nearly) as many decision times.

    Raises
    ------
    DataError
        When there are fewer decision times than groups.
    """
    own = np.unique(moments)
    if len(own) < groups:
        raise DataError(
            f"{len(own)} decision times cannot be split into {groups} groups", "give more history, or fewer groups"
        )
    return np.array([part[0] for part in np.array_split(own, groups)])


def paths(folds: list[Fold], groups: int, tested: int) -> list[dict[int, int]]:
    """The ways through history that the folds of :func:`combinatorial` make, each group tested once in each.

    Returns
    -------
    list of dict
        Of each path: group → number of the fold whose forecasts of the group it takes. There are φ = C(N−1, k−1) paths,
        k/N of the number of folds, and each forecast of each fold stands in one of them.
    """
    found: list[dict[int, int]] = [{} for _ in range(comb(groups - 1, tested - 1))]
    used = [0] * groups
    for fold in folds:
        for group in fold.groups:
            found[used[group]][group] = fold.number
            used[group] += 1
    return found


def spans(panel: Panel, rows: Rows) -> list[tuple[date, date]]:
    """First and last date of each unbroken stretch of decision times that ``rows`` hold, for pictures."""
    if not len(rows):
        return []
    times, first = np.unique(panel.event_time, return_index=True)
    places = np.unique(np.searchsorted(times, panel.event_time[rows]))
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts, ends = np.append(0, breaks + 1), np.append(breaks, len(places) - 1)
    dates = panel.dates[first]
    return [(dates[places[s]].item(), dates[places[e]].item()) for s, e in zip(starts, ends, strict=True)]


def _demand_labels(panel: Panel) -> None:
    if not np.isfinite(panel.forward_return).any():
        sessions = len(np.unique(panel.event_time))
        raise DataError(
            f"no label is known: {sessions} decision times, and a label's window of {panel.horizon} bars behind each",
            "give more history, or set labels.horizon to fewer bars",
        )
    if len(panel.symbol_names) < 2 and compares(panel.target):
        raise DataError(
            f"there is one symbol alone: the target {panel.target!r} compares symbols of the same date",
            "give bars of more symbols, or set labels.target to return",
        )


def _test_years(years: NDArray[np.int64], learning: LearningSettings) -> tuple[int, int]:
    known_first, known_last = int(years[0]), int(years[-1])
    first = learning.first_test if learning.first_test is not None else known_first + learning.min_train_years
    last = min(learning.last_test if learning.last_test is not None else known_last, known_last)
    if first > last:
        raise DataError(
            f"the features reach from {known_first} to {known_last}: no year from {first} to {last} is left to test",
            "give more history, or set learning.min_train_years, first_test or last_test",
        )
    return first, last


def _stretches(
    panel: Panel, years: NDArray[np.int64], first: int, last: int, refit: int | None
) -> Iterator[NDArray[np.int64]]:
    """The rows that one fit forecasts, one stretch after the other; none is empty."""
    if refit is None:
        for year in range(first, last + 1):
            if len(rows := np.flatnonzero(years == year)):
                yield rows
        return
    rows = np.flatnonzero((years >= first) & (years <= last))
    times, place = np.unique(panel.event_time[rows], return_inverse=True)
    for begin in range(0, len(times), refit):
        yield rows[(place >= begin) & (place < begin + refit)]


def _training_begins(tested: np.datetime64, learning: LearningSettings) -> np.datetime64:
    """First date that is trained on: whole calendar years where a year is tested, else as long before the test."""
    if not learning.train_years:
        return np.datetime64("0001-01-01", "D")
    year = tested.astype("datetime64[Y]")
    into_year = tested - year.astype("datetime64[D]") if learning.refit is not None else np.timedelta64(0, "D")
    begin: np.datetime64 = (year - np.timedelta64(learning.train_years, "Y")).astype("datetime64[D]") + into_year
    return begin


def _window(panel: Panel, rows: Rows) -> Window:
    """From the first decision of the rows to the end of their last label."""
    ends = panel.label_end[rows]
    decided = panel.event_time[rows[-1]]
    known = ends[~np.isnat(ends)]
    return panel.event_time[rows[0]], max(decided, known.max()) if len(known) else decided


def _fold(
    panel: Panel,
    number: int,
    candidates: Rows,
    test: Rows,
    windows: Iterable[Window],
    times: Times,
    embargo: int,
    groups: tuple[int, ...] = (),
) -> Fold:
    purged = np.zeros(len(candidates), dtype=bool)
    embargoed = purged.copy()
    starts, ends = panel.label_start[candidates], panel.label_end[candidates]
    for start, end in windows:
        inside, near = purge(starts, ends, start, end, times, embargo)
        purged |= inside
        embargoed |= near
    embargoed &= ~purged
    train = candidates[~(purged | embargoed)]
    decisions = panel.event_time[test]
    if not len(train):
        raise DataError(
            f"there is nothing to train on for the test from {panel.dates[test[0]]} to {panel.dates[test[-1]]}:"
            f" {len(candidates)} labelled rows, {int(purged.sum())} purged, {int(embargoed.sum())} embargoed",
            "set learning.first_test to a later year, give more history, or fewer bars in labels.horizon",
        )
    return Fold(
        number=number,
        train=train,
        test=test,
        purged=candidates[purged],
        embargoed=candidates[embargoed],
        train_start=panel.event_time[train[0]],
        train_end=panel.event_time[train[-1]],
        test_start=decisions[0],
        test_end=decisions[-1],
        groups=groups,
    )
