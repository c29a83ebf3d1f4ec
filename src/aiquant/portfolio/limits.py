"""What a book may hold and what a decision may trade: one description, for optimisers, projections and checks.

A limit that cannot be met at once does not stop the account from coming nearer: a position over its limit is brought
back as fast as liquidity lets it, and the limit on turnover is raised to what the limits on single weights ask for.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-6
"""By how much a weight, or a sum of weights, may pass a limit: what interior-point solvers leave."""
DUST = 1e-7
"""A solver leaves such weights where it means 0."""
_SHARP = 1e6
"""Distances are squared: by this the solver sees one of 1e-6, too."""
CLOSE = 1e-5
"""A limit that is nearer than this binds."""


class Unsolved(Exception):
    """A rule found no weights; the message says why."""


@dataclass(frozen=True, eq=False)
class Limits:
    """Linear limits on the weights of one decision, n symbols.

    Attributes
    ----------
    symbols
        Length n.
    lower, upper
        Bounds of each weight, float64, shape (n,).
    held
        Weights before the decision, shape (n,).
    rows, low, high
        ``low <= rows @ weights <= high``; shapes (r, n), (r,), (r,).
    names
        What each row stands for, length r.
    gross
        Largest Σ|w|; None for any.
    turnover
        Largest ½ Σ|w − held|; None for any.
    count
        Most weights that are not 0; None for any.
    """

    symbols: tuple[str, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    held: NDArray[np.float64]
    rows: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    low: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    high: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    names: tuple[str, ...] = ()
    gross: float | None = None
    turnover: float | None = None
    count: int | None = None

    def with_row(self, name: str, row: NDArray[np.float64], low: float, high: float) -> Limits:
        """These limits and ``low <= row @ weights <= high``."""
        rows = row[None, :] if not len(self.names) else np.vstack([self.rows, row])
        return replace(
            self,
            rows=rows,
            low=np.append(self.low, low),
            high=np.append(self.high, high),
            names=(*self.names, name),
        )

    def without_row(self, name: str) -> Limits:
        """These limits but for the row of that name."""
        kept = np.array([told != name for told in self.names], dtype=bool)
        names = tuple(told for told in self.names if told != name)
        return replace(self, rows=self.rows[kept], low=self.low[kept], high=self.high[kept], names=names)

    def constraints(self, weights: Any, factor: Any = 1.0) -> list[Any]:
        """As constraints of CVXPY on ``weights``, all of them times ``factor`` (a ratio's variable of scale)."""
        import cvxpy as cp

        found = [weights >= self.lower * factor, weights <= self.upper * factor]
        for row, low, high in zip(self.rows, self.low, self.high, strict=True):
            if low == high:
                found.append(row @ weights == low * factor)
                continue
            if np.isfinite(low):
                found.append(row @ weights >= low * factor)
            if np.isfinite(high):
                found.append(row @ weights <= high * factor)
        if self.gross is not None and (self.lower < 0).any():
            found.append(cp.norm1(weights) <= self.gross * factor)
        elif self.gross is not None and not (self.low == self.high).any():  # else the budget says it
            found.append(cp.sum(weights) <= self.gross * factor)
        if self.turnover is not None:
            found.append(cp.norm1(weights - self.held * factor) <= 2.0 * self.turnover * factor)
        return found

    def figures(self, weights: NDArray[np.float64]) -> list[tuple[str, float]]:
        """How far each limit is passed: its name, and by how much (negative: what is left)."""
        found = []
        most = np.inf if self.gross is None else self.gross
        for k, symbol in enumerate(self.symbols):  # what gross says already, and that 0 is not negative, is no news
            if self.lower[k] > -most and (self.lower[k] != 0.0 or weights[k] < 0.0):
                found.append((f"position of {symbol}", float(self.lower[k] - weights[k])))
            if self.upper[k] < most and (self.upper[k] != 0.0 or weights[k] > 0.0):
                found.append((f"position of {symbol}", float(weights[k] - self.upper[k])))
        for name, value, low, high in zip(self.names, self.rows @ weights, self.low, self.high, strict=True):
            if low == high:
                found.append((name, abs(value - low)))
            else:
                found += [(name, float(low - value)), (name, float(value - high))]
        if self.gross is not None:
            found.append(("gross", float(np.abs(weights).sum() - self.gross)))
        if self.turnover is not None:
            found.append(("turnover", float(0.5 * np.abs(weights - self.held).sum() - self.turnover)))
        if self.count is not None:
            found.append(("number of names", float((weights != 0.0).sum() - max(self.count, self._forced.sum()))))
        return found

    def broken(self, weights: NDArray[np.float64], tolerance: float = TOLERANCE) -> list[str]:
        """Names of the limits that ``weights`` pass by more than ``tolerance``, each once."""
        slack = tolerance * max(1.0, float(len(self.symbols)) ** 0.5)
        return list(dict.fromkeys(name for name, by in self.figures(weights) if by > slack))

    def binding(self, weights: NDArray[np.float64]) -> list[str]:
        """Names of the limits that hold the weights where they are; not those that are met by every book."""
        always = {name for name, low, high in zip(self.names, self.low, self.high, strict=True) if low == high}
        full = () if (self.lower < 0).any() else ("gross",)  # long only: gross is the budget
        named = (name for name, by in self.figures(weights) if by > -CLOSE)
        return list(dict.fromkeys(name for name in named if name not in always and name not in full))

    def project(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weights nearest to ``target`` (least squares) that obey the limits.

        Raises
        ------
        Unsolved
            When no weights obey all of them.
        """
        import cvxpy as cp

        if not self.broken(target):
            return target
        if self.count is not None and (target != 0.0).sum() > self.count:
            kept = self.keep_largest(target)
            return self.checked(replace(kept, count=None).project(np.clip(target, kept.lower, kept.upper)))
        weights = cp.Variable(len(target))
        problem = cp.Problem(cp.Minimize(_SHARP * cp.sum_squares(weights - target)), self.constraints(weights))
        try:
            with quiet():
                problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
        except cp.SolverError as error:
            raise Unsolved(f"the limits: {error}") from error
        if weights.value is None:
            raise Unsolved(f"no book obeys the limits together ({self.told()})")
        return self.checked(np.asarray(weights.value, dtype=np.float64))

    def keep_largest(self, weights: NDArray[np.float64]) -> Limits:
        """These limits for the :attr:`count` symbols with the largest weights; the others are sold, as fast as can be.

        Symbols that cannot be sold at once are counted first.
        """
        assert self.count is not None
        size = np.where(self._forced, np.inf, np.abs(weights))
        kept = np.zeros(len(weights), dtype=bool)
        kept[np.argsort(-size, kind="stable")[: max(self.count, int(self._forced.sum()))]] = True
        return replace(self, lower=np.where(kept, self.lower, 0.0), upper=np.where(kept, self.upper, 0.0))

    @property
    def _forced(self) -> NDArray[np.bool_]:
        """Which weights cannot be 0."""
        forced: NDArray[np.bool_] = (self.lower > 0.0) | (self.upper < 0.0)
        return forced

    def checked(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """A solver's weights inside their bounds, its dust swept away.

        Raises
        ------
        Unsolved
            When they pass a limit by more than :data:`TOLERANCE`.
        """
        swept = np.clip(np.where(np.abs(weights) < DUST, 0.0, weights), self.lower, self.upper)
        broken = self.broken(swept)
        if broken:
            raise Unsolved(f"the solver's weights pass the limit on {', '.join(broken[:3])}")
        return swept

    def told(self) -> str:
        """What limits there are, in words."""
        names = list(dict.fromkeys(self.names))
        names += ["gross"] * (self.gross is not None) + ["turnover"] * (self.turnover is not None)
        return ", ".join(["positions", *names, *["number of names"] * (self.count is not None)])


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings and logs of solvers are not for users: what matters comes out of the weights."""
    loggers = [logging.getLogger(name) for name in ("cvxpy", "__cvxpy__", "skfolio")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
