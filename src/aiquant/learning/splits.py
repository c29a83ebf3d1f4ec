"""Splits that follow the labels' own windows: no training label ever meets the time that it is tested on.

Terms as in M. López de Prado, *Advances in Financial Machine Learning* (2018), chapter 7: a training row is *purged*
when its label's window meets the test window, and *embargoed* when it lies within a few sessions of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import DataError
from aiquant.learning.panel import Panel
from aiquant.settings import LearningSettings

Times = NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class Fold:
    """One fit and what it is tested on.

    Attributes
    ----------
    number
        From 0, in order of time.
    train, test
        ``int64``: rows of the panel, ascending.
    train_start, train_end, test_start, test_end
        First and last decision time of each side (``datetime64[us]``, UTC).
    purged, embargoed
        Rows that were taken out of training because their label's window meets the test window, and because it comes
        nearer than the embargo.
    """

    number: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    train_start: np.datetime64
    train_end: np.datetime64
    test_start: np.datetime64
    test_end: np.datetime64
    purged: int
    embargoed: int


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
    """One fold per calendar year of the test, trained on what came before it.

    A training row has a label that was known, and decided upon, before the first decision of the test year, less the
    embargo. The window of training grows from the first row on, or is ``train_years`` calendar years long.

    Raises
    ------
    DataError
        When no year can be tested, a year that was asked for has nothing to train on before it, or a target that
        compares symbols finds one alone.
    """
    years = panel.dates.astype("datetime64[Y]").astype(np.int64) + 1970
    first, last = _test_years(years, learning)
    times = np.unique(panel.event_time)
    labelled = panel.labelled
    if len(panel.symbol_names) < 2 and panel.target != "return":
        raise DataError(
            f"there is one symbol alone: the target {panel.target!r} compares symbols of the same date",
            "give bars of more symbols, or set labels.target to return",
        )
    folds: list[Fold] = []
    for year in range(first, last + 1):
        test = np.flatnonzero(years == year)
        if not len(test):
            continue
        begin = year - learning.train_years if learning.train_years else years[0]
        candidates = np.flatnonzero(labelled & (years < year) & (years >= begin))
        folds.append(_fold(panel, len(folds), year, candidates, test, times, learning.embargo))
    if not folds:
        raise DataError(f"there are no rows to test from {first} to {last}", "set learning.first_test and last_test")
    return folds


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


def _fold(
    panel: Panel,
    number: int,
    year: int,
    candidates: NDArray[np.int64],
    test: NDArray[np.int64],
    times: Times,
    embargo: int,
) -> Fold:
    decisions = panel.event_time[test]
    purged, embargoed = purge(
        panel.label_start[candidates], panel.label_end[candidates], decisions[0], decisions[-1], times, embargo
    )
    train = candidates[~(purged | embargoed)]
    if not len(train):
        raise DataError(
            f"there is nothing to train on before {year}: {len(candidates)} labelled rows, {int(purged.sum())} purged,"
            f" {int(embargoed.sum())} embargoed",
            "set learning.first_test to a later year, or give more history",
        )
    return Fold(
        number=number,
        train=train,
        test=test,
        train_start=panel.event_time[train[0]],
        train_end=panel.event_time[train[-1]],
        test_start=decisions[0],
        test_end=decisions[-1],
        purged=int(purged.sum()),
        embargoed=int(embargoed.sum()),
    )
