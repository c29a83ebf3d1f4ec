"""Rules by name: how the signals of a decision become weights. Those of this module need no solver.

Further rules come from other packages, under the entry-point group ``aiquant.portfolios``: an entry point names a
:class:`Rule`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aiquant import plugins
from aiquant.errors import UsageError
from aiquant.portfolio import estimates, optimisers
from aiquant.portfolio.limits import Unsolved
from aiquant.portfolio.moment import Moment, net_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.settings import PortfolioSettings

ENTRY_POINTS = "aiquant.portfolios"

MIN_SYMBOLS = 2
"""A ranking of fewer symbols says nothing: the book is empty on such a date."""


@dataclass(frozen=True)
class Rule:
    """How a book is made.

    Attributes
    ----------
    weigh
        From what is known to the weights of ``moment.symbols``, float64, shape (n,). It raises
        :class:`~aiquant.portfolio.limits.Unsolved` where it finds none; the fallback follows.
    words
        What it does, in words that complete "Forecasts are held …"; ``{settings}`` fields in braces.
    history
        Whether it needs past returns.
    forecasts
        Whether it says nothing without forecasts.
    sides
        ``long``, ``long-short``, or ``short`` for what the setting ``portfolio.short`` says.
    whole
        Whether its weights shall add up to the setting ``portfolio.net`` and obey the limits by themselves. Weights of
        other rules are cut down to the limits, and what is over stays in cash.
    """

    weigh: Callable[[Moment, PortfolioSettings], NDArray[np.float64]]
    words: str
    history: bool = False
    forecasts: bool = True
    sides: str = "long"
    whole: bool = False

    def may_short(self, portfolio: PortfolioSettings) -> bool:
        """Whether its books may hold negative weights."""
        return self.sides == "long-short" or (self.sides == "short" and portfolio.short)


def names() -> list[str]:
    """Names of all rules, in ascending order."""
    return sorted({*RULES, *plugins.names(ENTRY_POINTS)})


def get(name: str) -> Rule:
    """The rule of that name.

    Raises
    ------
    UsageError
        When there is none, with the nearest name.
    """
    if name in RULES:
        return RULES[name]
    if (point := plugins.find(ENTRY_POINTS, name)) is not None:
        found = plugins.load(point, "portfolio rule")
        if not isinstance(found, Rule):
            raise UsageError(f"the plug-in {point.value} is no Rule", "let its entry point name one")
        return found
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
    known = f"there are: {', '.join(names())}"
    remedy = f"did you mean {near[0]!r}? {known}" if near else known
    raise UsageError(f"setting portfolio.rule: no rule is named {name!r}", remedy)


def is_long(portfolio: PortfolioSettings) -> bool:
    """Whether a book by these settings never sells short."""
    return not get(portfolio.rule).may_short(portfolio)


def check(portfolio: PortfolioSettings) -> Rule:
    """The rule of the settings, when they fit together.

    Raises
    ------
    UsageError
        When there is no such rule, or a setting does not go with it.
    """
    rule = get(portfolio.rule)
    if portfolio.short and rule.sides == "long":
        raise UsageError(
            f"setting portfolio.short: the rule {portfolio.rule} only buys", "leave it out, or choose another rule"
        )
    if rule.whole and abs(net_of(portfolio)) > portfolio.gross:
        raise UsageError(
            f"setting portfolio.net = {net_of(portfolio):g}: no book has it with portfolio.gross = {portfolio.gross:g}",
            "set a larger portfolio.gross",
        )
    if rule.whole and not portfolio.short and net_of(portfolio) <= 0:
        raise UsageError(
            f"setting portfolio.net = {net_of(portfolio):g}: a book that only buys has more",
            "set portfolio.short = true, or leave portfolio.net out",
        )
    if rule.whole and not rule.forecasts and net_of(portfolio) == 0:
        raise UsageError(
            f"setting portfolio.net: of the books of net 0 the empty one is the best for {portfolio.rule}",
            "set for example portfolio.net = 1",
        )
    if portfolio.rule == "top-k" and portfolio.top_k is None:
        raise UsageError("the rule top-k does not know how many", "set portfolio.top_k")
    if portfolio.min_history > portfolio.lookback:
        raise UsageError(
            f"setting portfolio.min_history = {portfolio.min_history}: more than portfolio.lookback = "
            f"{portfolio.lookback}",
            "set a smaller one",
        )
    return rule


def _places(count: int, portfolio: PortfolioSettings) -> int:
    """Symbols on each side: the quantile of the date's symbols, at least one, at most half of them."""
    wanted = int(count * portfolio.quantile + 1e-9)  # 15 × 0.2 must not become 2
    return min(max(wanted, 1), count // 2)


def _side(top: bool, moment: Moment, portfolio: PortfolioSettings, each_side: float) -> NDArray[np.float64]:
    """Equal weights of one end of the ranking, 0 elsewhere and on dates that say nothing."""
    weights = np.zeros(len(moment.symbols))
    if len(weights) < MIN_SYMBOLS or not moment.signal.any():
        return weights
    places = _places(len(weights), portfolio)
    order = np.argsort(-moment.signal if top else moment.signal, kind="stable")
    weights[order[:places]] = each_side / places
    return weights


def long_short(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """Buy the top quantile, sell the bottom quantile: equal weights, half of the gross exposure on each side."""
    half = portfolio.gross / 2
    return _side(True, moment, portfolio, half) - _side(False, moment, portfolio, half)


def long_only(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """Buy the top quantile: equal weights that sum to the gross exposure."""
    return _side(True, moment, portfolio, portfolio.gross)


def equal(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """The same weight for each symbol (of the ``top_k``, where that is set)."""
    return np.full(len(moment.symbols), portfolio.gross / max(len(moment.symbols), 1))


def top_k(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """The same weight for the ``top_k`` symbols with the highest signals, on dates that say something."""
    return equal(moment, portfolio) if moment.signal.any() else np.zeros(len(moment.symbols))


def proportional(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """Weights in proportion to the signals, in excess of their mean unless they were made neutral."""
    signal = moment.signal
    if portfolio.neutral == "none" and not portfolio.threshold and len(signal):
        signal = signal - signal.mean()
    size = float(np.abs(signal).sum())
    return portfolio.gross * signal / size if size > 0 else np.zeros(len(signal))


def inverse_volatility(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """Weights in proportion to 1 ÷ volatility, so that each alone would risk the same."""
    if not len(moment.symbols):
        raise Unsolved("no symbol has enough past returns")
    inverse = 1.0 / estimates.volatility(moment.returns)
    found: NDArray[np.float64] = portfolio.gross * inverse / inverse.sum()
    return found


_BY_QUANTILE = "{percent:g} % of the universe on a side"

RULES: dict[str, Rule] = {
    "long-short": Rule(long_short, "long-short: " + _BY_QUANTILE, sides="long-short"),
    "long-only": Rule(long_only, "long-only: " + _BY_QUANTILE),
    "equal": Rule(equal, "with equal weights", forecasts=False),
    "top-k": Rule(top_k, "with equal weights of the highest {top_k}"),
    "proportional": Rule(proportional, "in proportion to their signals, long and short", sides="long-short"),
    "inverse-volatility": Rule(
        inverse_volatility, "with weights in proportion to 1 ÷ volatility", history=True, forecasts=False
    ),
    "min-variance": Rule(
        optimisers.min_variance, "by least variance", history=True, forecasts=False, sides="short", whole=True
    ),
    "min-risk": Rule(optimisers.min_risk, "by least {risk}", history=True, forecasts=False, sides="short", whole=True),
    "mean-risk": Rule(optimisers.mean_risk, "by expected return less {risk}", history=True, sides="short", whole=True),
    "max-sharpe": Rule(optimisers.max_sharpe, "by the highest Sharpe ratio", history=True, sides="short", whole=True),
    "black-litterman": Rule(
        optimisers.black_litterman,
        "by expected return less variance, the forecasts being views on an equilibrium (Black–Litterman)",
        history=True,
        sides="short",
        whole=True,
    ),
    "robust": Rule(
        optimisers.robust,
        "by the worst CVaR of all distributions near the past (distributionally robust)",
        history=True,
        forecasts=False,
        sides="short",
        whole=True,
    ),
    "max-diversification": Rule(
        optimisers.max_diversification,
        "by the highest diversification ratio",
        history=True,
        forecasts=False,
        whole=True,
    ),
    "risk-budget": Rule(optimisers.risk_budget, "so that all carry the same {risk}", history=True, forecasts=False),
    "hrp": Rule(optimisers.hrp, "by hierarchical risk parity", history=True, forecasts=False),
    "herc": Rule(optimisers.herc, "by hierarchical equal risk contribution", history=True, forecasts=False),
}
"""The built-in rules by the name that the setting ``portfolio.rule`` takes."""


def sentence(portfolio: PortfolioSettings) -> str:
    """How the settings hold forecasts, to follow "Forecasts are held"."""
    told = {**portfolio.model_dump(), "percent": 100 * portfolio.quantile}
    return get(portfolio.rule).words.format(**told)
