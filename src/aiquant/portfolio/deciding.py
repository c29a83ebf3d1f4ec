"""From decision to decision: the book that drifts with prices, the rule that makes the next one, and what stands in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from aiquant.portfolio import estimates, expected, moment, rules, signals
from aiquant.portfolio.history import History
from aiquant.portfolio.limits import Limits, Unsolved
from aiquant.portfolio.moment import Candidates, Moment, Remarks, Terms
from aiquant.portfolio.rules import Rule
from aiquant.settings import PortfolioSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOLD = "previous"
"""The book stays as it is: nothing is traded."""


@dataclass(frozen=True, eq=False)
class Decision:
    """What came of one decision.

    Attributes
    ----------
    weights
        The new book by symbol, without zeros; None where the old one is kept.
    held
        The book before it.
    used
        The rule that made it, the fallback that stood in for it, or ``previous``.
    failure
        Why the rule did not; empty where it did.
    binding
        Limits that hold the weights where they are.
    moment
        What the rule knew.
    """

    weights: dict[str, float] | None
    held: dict[str, float]
    used: str
    failure: str
    binding: tuple[str, ...]
    moment: Moment


class Book:
    """The book from decision to decision."""

    def __init__(
        self,
        portfolio: PortfolioSettings,
        terms: Terms,
        rule: Rule,
        history: History | None,
        skill: expected.Skill | None,
        held: dict[str, float],
    ) -> None:
        self.portfolio, self.terms, self.rule = portfolio, terms, rule
        self.history, self.skill = history, skill
        self.held, self.since = held, None if not held else date.max
        self.remarks = Remarks()

    def decide(self, rows: pl.DataFrame) -> Decision:
        """Make the book of one date; ``rows`` are its forecasts, sorted by symbol."""
        day, at = rows["date"][0], rows["event_time"][0]
        held = self._drifted(day)
        told = rows["expected"].to_numpy() if "expected" in rows.columns else None
        found = Candidates(day, at, tuple(rows["symbol"]), signals.of_date(rows, self.portfolio), told)
        known, left = moment.gather(
            found, held, self.history, self.rule, self.portfolio, self.terms, self.skill, self.remarks
        )
        weights, used, failure, binding = self._weigh(known, bool(held))
        if weights is not None:
            named = {s: float(w) for s, w in zip(known.symbols, weights, strict=True) if w != 0.0}
            book: dict[str, float] | None = dict(sorted({**named, **left}.items()))
        else:
            book = None
        self.held, self.since = held if book is None else book, day
        return Decision(book, held, used, failure, tuple(binding), known)

    def _drifted(self, day: date) -> dict[str, float]:
        """The book as it is worth at the close of ``day``; where no returns are known, as it was decided."""
        if self.history is None or self.since is None or self.since >= day:
            return dict(self.held)
        return drifted(self.held, self.history, self.since, day)

    def _weigh(self, known: Moment, held: bool) -> tuple[NDArray[np.float64] | None, str, str, list[str]]:
        portfolio = self.portfolio
        try:
            raw = self.rule.weigh(known, portfolio)
            limits = known.limits if self.rule.whole else loosened(known.limits, raw)
            weights, used, failure = limits.project(raw), portfolio.rule, ""
        except Unsolved as error:
            stood_in, used = self._fall_back(known)
            failure = _too_tight(known) or str(error)
            if stood_in is None:
                return None, HOLD, failure, []
            weights = stood_in
        smoothed = self._smoothed(known, weights, held)
        if smoothed is None:
            return None, HOLD, failure, []
        weights = smoothed
        own = self.rule.whole and used == portfolio.rule
        shown = known.limits if own else replace(known.limits.without_row(moment.NET), gross=None)
        return weights, used, failure, shown.binding(weights)

    def _fall_back(self, known: Moment) -> tuple[NDArray[np.float64] | None, str]:
        """The book where the rule found none, by the setting; the previous one where that does not do either."""
        chosen, held = self.portfolio.fallback, bool(self.held)
        if chosen == "previous" and held:
            return None, HOLD
        neutral = self.rule.may_short(self.portfolio) and moment.net_of(self.portfolio) == 0.0
        if chosen == "cash" or neutral or self.rule.sides == "long-short":
            name, raw = "cash", np.zeros(len(known.symbols))
        elif chosen == "equal" or len(known.returns) < 2:
            name, raw = "equal", rules.equal(known, self.portfolio)
        else:
            name, raw = "inverse-volatility", rules.inverse_volatility(known, self.portfolio)
        try:
            return loosened(known.limits, raw).project(raw), name
        except Unsolved:
            return (None, HOLD) if held else (np.zeros(len(raw)), "cash")

    def _smoothed(self, known: Moment, weights: NDArray[np.float64], held: bool) -> NDArray[np.float64] | None:
        """Part of the way where the settings ask for it; None where the trade is not worth its cost."""
        portfolio = self.portfolio
        if not held:
            return weights
        if portfolio.speed < 1.0:
            limits = known.limits if self.rule.whole else loosened(known.limits, weights, slow=True)
            try:
                weights = limits.project(known.held + portfolio.speed * (weights - known.held))
            except Unsolved:  # only the whole way leads back within the limits
                pass
        if portfolio.trade == "gain" and len(known.returns) > 1:
            gain = _utility(known, weights, portfolio) - _utility(known, known.held, portfolio)
            if gain <= known.cost * float(np.abs(weights - known.held).sum()):
                return None
        return weights


def drifted(held: Mapping[str, float], history: History, since: date, day: date) -> dict[str, float]:
    """What weights became from the close of ``since`` to that of ``day`` when nothing was traded; costs left out."""
    if not held:
        return {}
    decided = np.array(list(held.values()))
    worth = decided * history.growth(since, day, list(held))
    equity = 1.0 + float((worth - decided).sum())
    return dict(zip(held, (worth / equity).tolist(), strict=True)) if equity > 0.0 else {}


def loosened(limits: Limits, raw: NDArray[np.float64], slow: bool = False) -> Limits:
    """Limits for the weights of a rule that has no budget of its own: cut down on its own side, the rest in cash.

    Where trades are limited, or ``slow``, what is held may be anywhere between the old book and the rule's.
    """
    slow = slow or limits.turnover is not None or bool((limits.lower > 0.0).any() or (limits.upper < 0.0).any())
    held = limits.held if slow else np.zeros(len(raw))
    lower = np.maximum(limits.lower, np.minimum(np.minimum(raw, held), 0.0))
    upper = np.minimum(limits.upper, np.maximum(np.maximum(raw, held), 0.0))
    net, carried = float(raw.sum()), float(held.sum())
    net = 0.0 if abs(net) < 1e-12 else net
    own = replace(limits.without_row(moment.NET), lower=lower, upper=upper)
    return own.with_row(moment.NET, np.ones(len(raw)), min(net, 0.0, carried), max(net, 0.0, carried))


def _utility(known: Moment, weights: NDArray[np.float64], portfolio: PortfolioSettings) -> float:
    """Expected return of a bar less ``risk_aversion`` × variance."""
    risk = weights @ estimates.covariance(known.returns, portfolio.covariance) @ weights
    return float(known.alpha @ weights - portfolio.risk_aversion * risk)


def _too_tight(known: Moment) -> str:
    """Why no book can keep to the limits of single symbols; empty where they leave room for one."""
    limits = known.limits
    for name, low, row in zip(limits.names, limits.low, limits.rows, strict=True):
        most = float(np.where(row > 0, row * limits.upper, row * limits.lower).sum())
        if most < low - 1e-9:
            return f"{len(limits.symbols)} symbols within their limits make a {name} of {most:g} at most, not {low:g}"
    return ""
