"""Training rows, and how trees take them block by block from where they lie: XGBoost's external memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aiquant.errors import Unreachable
from aiquant.learning.forecasters.base import take

if TYPE_CHECKING:
    from xgboost import DMatrix

BLOCK = 65_536
"""Rows of a block, about: a block ends where a date does."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows as :meth:`Forecaster.fit` takes them.

    Attributes
    ----------
    groups
        For a ranking: the date of each row, counted from 0; there is then one weight a date, not a row.
    """

    X: NDArray[np.float32]
    y: NDArray[np.float32]
    times: NDArray[np.datetime64]
    weight: NDArray[np.float32] | None
    groups: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Some of the rows of a regression, ascending."""
        weight = None if self.weight is None else self.weight[rows]
        return Rows(take(self.X, rows), self.y[rows], self.times[rows], weight)

    def starts(self) -> list[int]:
        """Where blocks of whole dates begin, and last the number of rows."""
        n, found = len(self.y), [0]
        while found[-1] < n:
            end = min(found[-1] + BLOCK, n)
            found.append(int(np.searchsorted(self.times, self.times[end - 1], side="right")))
        return found

    def block(self, start: int, end: int) -> dict[str, Any]:
        """The rows from ``start`` on, by the names that XGBoost gives them; they begin and end with a date."""
        part = slice(start, end)
        told: dict[str, Any] = {"data": np.ascontiguousarray(self.X[part]), "label": self.y[part]}
        if self.groups is not None:
            told["qid"] = self.groups[part]
        if self.weight is not None:
            of_date = slice(int(self.groups[start]), int(self.groups[end - 1]) + 1) if self.groups is not None else part
            told["weight"] = self.weight[of_date]
        return told


@contextmanager
def matrix(rows: Rows, max_bin: int, threads: int) -> Iterator[DMatrix]:
    """The rows as bins in files beside the system's temporary ones (``TMPDIR``), which are taken away at the end.

    Raises
    ------
    Unreachable
        When the disk has no room.
    """
    import xgboost

    class Blocks(xgboost.DataIter):
        def __init__(self, folder: str) -> None:
            self._ends = rows.starts()
            self._at = 0
            super().__init__(cache_prefix=os.path.join(folder, "bins"), release_data=True)

        def reset(self) -> None:
            self._at = 0

        def next(self, put: Callable[..., None]) -> bool:
            if self._at + 1 >= len(self._ends):
                return False
            put(**rows.block(self._ends[self._at], self._ends[self._at + 1]))
            self._at += 1
            return True

    with tempfile.TemporaryDirectory(prefix="aiquant-") as folder:
        try:
            data = xgboost.ExtMemQuantileDMatrix(Blocks(folder), max_bin=max_bin, nthread=threads)
            yield data
            del data  # before its files go
        except xgboost.core.XGBoostError as error:
            if "No space left" in str(error):
                raise Unreachable(f"{folder}: no room for the rows", "set TMPDIR to a disk that has room") from error
            raise
