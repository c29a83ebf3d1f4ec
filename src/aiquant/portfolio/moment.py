"""One decision: what is known at its close, what is held, and what the limits are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TYPE_CHECKING

import numpy as np

from aiquant.portfolio import estimates, expected, signals
from aiquant.portfolio.limits import Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.portfolio.history import History
    from aiquant.portfolio.rules import Rule
    from aiquant.settings import PortfolioSettings

NET = "net"
"""Name of the limit on the sum of the weights."""


@dataclass(frozen=True)
class Terms:
    """What a decision has to know of the account.

    Attributes
    ----------
    horizon
        Bars that the forecasts look ahead.
    cost
        Commission and slippage, as a fraction of what is traded.
    capital
        Equity that limits on liquidity are reckoned from, in the bars' currency.
    """

    horizon: int
    cost: float = 0.0
    capital: float = 1.0

    def held_for(self, portfolio: PortfolioSettings) -> int:
        """Bars between decisions."""
        return portfolio.rebalance or self.horizon

    def cost_per_bar(self, portfolio: PortfolioSettings) -> float:
        """The cost of trading, spread over the bars until the next decision."""
        cost = self.cost if portfolio.cost_bps is None else portfolio.cost_bps / 10_000
        return cost / self.held_for(portfolio)


@dataclass(frozen=True, eq=False)
class Moment:
    """What a rule may know: n symbols that it may hold.

    Attributes
    ----------
    day, moment
        The session at whose close it is decided, and that moment (UTC).
    symbols
        In ascending order, length n.
    signal
        float64, shape (n,).
    alpha
        Expected return of a bar above the mean, shape (n,); zeros where no forecast says anything.
    ic
        What the forecasts were worth by now.
    returns
        Past returns, shape (t, n), no gaps; (0, n) where the rule needs none.
    held
        Weights before the decision, shape (n,).
    limits
        Of an optimiser's book.
    cost
        Of trading, per bar until the next decision, as a fraction of what is traded.
    """

    day: date
    moment: datetime
    symbols: tuple[str, ...]
    signal: NDArray[np.float64]
    alpha: NDArray[np.float64]
    ic: float
    returns: NDArray[np.float64]
    held: NDArray[np.float64]
    limits: Limits
    cost: float

    @property
    def score(self) -> NDArray[np.float64]:
        """The signals in standard deviations."""
        return expected.score(self.signal)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Symbols of one date that may be held: what was forecast of each, in ascending order of symbols."""

    day: date
    moment: datetime
    symbols: tuple[str, ...]
    signal: NDArray[np.float64]
    told: NDArray[np.float64] | None = None
    """Expected return of a bar where it was given; None where it follows from the signal."""

    def only(self, chosen: NDArray[np.bool_]) -> Candidates:
        """Some of them."""
        symbols = tuple(s for s, yes in zip(self.symbols, chosen, strict=True) if yes)
        told = None if self.told is None else self.told[chosen]
        return replace(self, symbols=symbols, signal=self.signal[chosen], told=told)


@dataclass
class Remarks:
    """What was not as asked, counted over the decisions."""

    short_history: Counter[str] = field(default_factory=Counter)
    no_volume: Counter[str] = field(default_factory=Counter)
    no_sector: Counter[str] = field(default_factory=Counter)
    turnover: int = 0


def needs_history(portfolio: PortfolioSettings, rule: Rule) -> bool:
    """Whether a book by these settings asks for past returns."""
    return (
        rule.history
        or portfolio.trade == "gain"
        or "beta" in portfolio.neutral
        or any(value is not None for value in (portfolio.max_beta, portfolio.max_adv, portfolio.max_turnover))
        or portfolio.speed < 1.0
    )


def needs_sectors(portfolio: PortfolioSettings) -> bool:
    """Whether a book by these settings asks for the sectors of its symbols."""
    return "sector" in portfolio.neutral or portfolio.max_sector is not None


def gather(
    found: Candidates,
    held: Mapping[str, float],
    history: History | None,
    rule: Rule,
    portfolio: PortfolioSettings,
    terms: Terms,
    skill: expected.Skill | None,
    remarks: Remarks,
) -> tuple[Moment, dict[str, float]]:
    """Bring together what a rule may know.

    Returns
    -------
    Moment
        Of the symbols that may be held.
    dict
        Weights of other symbols that cannot be sold at once, for want of liquidity.
    """
    estimated = history is not None and (rule.history or portfolio.trade == "gain")
    returns = np.zeros((0, len(found.symbols)))
    if history is not None and estimated:
        window = history.window(found.day, found.symbols, portfolio.lookback)
        past = estimates.usable(window, portfolio.min_history)
        remarks.short_history.update(s for s, ok in zip(found.symbols, past.usable, strict=True) if not ok)
        found, returns = found.only(past.usable), past.returns
    sectors = history.sectors(found.day, found.moment, found.symbols) if history and needs_sectors(portfolio) else None
    beta = _betas(found, history, portfolio)
    if sectors is not None:
        remarks.no_sector.update(s for s, sector in zip(found.symbols, sectors, strict=True) if sector is None)
    signal = signals.shaped(found.signal, portfolio, sectors, beta)
    if portfolio.top_k is not None and portfolio.top_k < len(found.symbols):
        kept = np.zeros(len(signal), dtype=bool)
        kept[np.argsort(-signal, kind="stable")[: portfolio.top_k]] = True
        found, signal, returns = found.only(kept), signal[kept], returns[:, kept]
        sectors = None if sectors is None else [s for s, yes in zip(sectors, kept, strict=True) if yes]
        beta = None if beta is None else beta[kept]
    ic = 0.0 if skill is None and portfolio.ic is None else _ic(portfolio, skill, found.day)
    alpha = np.zeros(len(signal))
    if found.told is not None:
        alpha = found.told
    elif len(returns) > 1:
        alpha = expected.alpha(ic, estimates.volatility(returns), expected.score(signal), terms.horizon)
    limits, left = _limits(found, held, history, rule, sectors, beta, portfolio, terms, remarks)
    # A first book that only buys costs the same whatever it holds.
    cost = terms.cost_per_bar(portfolio) if any(held.values()) or rule.may_short(portfolio) else 0.0
    moment = Moment(found.day, found.moment, found.symbols, signal, alpha, ic, returns, limits.held, limits, cost)
    return moment, left


def _ic(portfolio: PortfolioSettings, skill: expected.Skill | None, day: date) -> float:
    if portfolio.ic is not None:
        return portfolio.ic
    return skill.by(day) if skill is not None else 0.0


def _betas(found: Candidates, history: History | None, portfolio: PortfolioSettings) -> NDArray[np.float64] | None:
    if history is None or not (portfolio.max_beta is not None or "beta" in portfolio.neutral):
        return None
    window = np.nan_to_num(history.window(found.day, found.symbols, portfolio.lookback))
    return estimates.betas(window, history.market(found.day, portfolio.lookback))


def _limits(
    found: Candidates,
    held: Mapping[str, float],
    history: History | None,
    rule: Rule,
    sectors: Sequence[str | None] | None,
    beta: NDArray[np.float64] | None,
    portfolio: PortfolioSettings,
    terms: Terms,
    remarks: Remarks,
) -> tuple[Limits, dict[str, float]]:
    """Limits of an optimiser's book, and what is left of symbols that are given up but cannot be sold at once."""
    own = np.array([held.get(symbol, 0.0) for symbol in found.symbols])
    given_up = {s: w for s, w in sorted(held.items()) if w != 0.0 and s not in set(found.symbols)}
    most = min(portfolio.max_position or portfolio.gross, portfolio.gross)
    lower = np.full(len(own), -most if rule.may_short(portfolio) else 0.0)
    upper = np.full(len(own), most)
    left: dict[str, float] = {}
    if history is not None and portfolio.max_adv is not None:
        adv = history.adv(found.day, found.symbols)
        remarks.no_volume.update(s for s, known in zip(found.symbols, np.isfinite(adv), strict=True) if not known)
        room = np.nan_to_num(portfolio.max_adv * adv / terms.capital)
        lower, upper = np.clip(lower, own - room, own + room), np.clip(upper, own - room, own + room)
        left = _left(given_up, history, found.day, portfolio.max_adv / terms.capital)
    fixed = np.array(list(left.values()))
    net = net_of(portfolio) - float(fixed.sum())
    limits = Limits(found.symbols, lower, upper, own, gross=portfolio.gross - float(np.abs(fixed).sum()))
    limits = limits.with_row(NET, np.ones(len(own)), net, net)
    if portfolio.max_sector is not None and sectors is not None:
        for sector in sorted({told for told in sectors if told is not None}):
            member = np.array([float(told == sector) for told in sectors])
            limits = limits.with_row(f"sector {sector}", member, -portfolio.max_sector, portfolio.max_sector)
    if portfolio.max_beta is not None and beta is not None:
        limits = limits.with_row("beta", beta, -portfolio.max_beta, portfolio.max_beta)
    if portfolio.max_turnover is not None and any(held.values()):  # an empty account has to begin somewhere
        sold = 0.5 * sum(abs(weight - left.get(symbol, 0.0)) for symbol, weight in given_up.items())
        limits, raised = _turnover(limits, max(portfolio.max_turnover - sold, 0.0), rule.whole)
        remarks.turnover += raised
    if portfolio.max_names is not None and portfolio.max_names < len(own) + len(left):
        limits = replace(limits, count=max(portfolio.max_names - len(left), 0))
    return limits, left


def _turnover(limits: Limits, most: float, whole: bool) -> tuple[Limits, bool]:
    """The limit on turnover, or what other limits ask for where that is surely more, and whether it is."""
    over = np.maximum(limits.lower - limits.held, 0.0) + np.maximum(limits.held - limits.upper, 0.0)
    back, gap = float(over.sum()), float(np.abs(limits.held).sum()) - (limits.gross or np.inf)
    if whole:
        gap = max(gap, abs(float(limits.low[0]) - float(limits.held.sum())))
    if most >= 0.5 * max(back, gap):
        return replace(limits, turnover=most), False
    return replace(limits, turnover=0.5 * (2.0 * back + max(gap, 0.0)) + 1e-9), True


def net_of(portfolio: PortfolioSettings) -> float:
    """The sum of an optimiser's weights."""
    if portfolio.net is not None:
        return portfolio.net
    return 0.0 if portfolio.short else portfolio.gross


def _left(given_up: dict[str, float], history: History, day: date, share: float) -> dict[str, float]:
    """What liquidity leaves of positions that are to be closed; one whose volume is not known is closed at once."""
    left = {}
    for (symbol, weight), adv in zip(given_up.items(), history.adv(day, list(given_up)), strict=True):
        rest = abs(weight) - share * adv
        if np.isfinite(rest) and rest > 0:
            left[symbol] = float(np.copysign(rest, weight))
    return left
