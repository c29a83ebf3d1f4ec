"""The gate: what a model has to show before it may be promoted. Plain rules, each with its reason; all must hold."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from aiquant.learning.judgement import Judgement
from aiquant.settings import GateSettings


@dataclass(frozen=True)
class NetResult:
    """What the backtest net of costs showed, out of sample.

    Attributes
    ----------
    sharpe
        Annualised Sharpe ratio net of costs.
    sharpe_probability
        Probabilistic Sharpe ratio: the probability that the true ratio exceeds 0.
    sessions
        Sessions of the backtest.
    """

    sharpe: float
    sharpe_probability: float
    sessions: int


@dataclass(frozen=True)
class Check:
    """One rule of the gate.

    Attributes
    ----------
    name
        Of the rule; the same in all verdicts.
    passed
        Whether it holds. A value that is not defined does not pass.
    value, threshold
        What was found and what is asked for; None where it is not known or not a number.
    why
        One sentence for people.
    """

    name: str
    passed: bool
    value: float | None
    threshold: float | None
    why: str


@dataclass(frozen=True)
class Verdict:
    """Whether a model may be promoted, and every check with its reason."""

    promoted: bool
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was refused; empty when it was not."""
        return tuple(check.why for check in self.checks if not check.passed)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"promoted": self.promoted, "checks": [asdict(check) for check in self.checks]}


def decide(judgement: Judgement, net: NetResult, settings: GateSettings, *, leakage: bool | None) -> Verdict:
    """Hold a model against the thresholds.

    Parameters
    ----------
    judgement
        Of its forecasts out of sample.
    net
        Of its backtest, costs included.
    leakage
        Whether the leakage check passed; None when it was not run.
    """
    checks = (
        _leakage(leakage, settings.require_leakage_check),
        _at_least(
            "rank_ic_t", judgement.rank_ic_t, settings.min_rank_ic_t, "the t-statistic of the rank IC (Newey–West) is"
        ),
        _above("sharpe_net", net.sharpe, settings.min_sharpe_net, "the Sharpe ratio net of costs is"),
        _at_least(
            "sharpe_probability",
            net.sharpe_probability,
            settings.min_sharpe_probability,
            "the probability that the true Sharpe ratio exceeds 0 is",
        ),
        _at_least("sessions", net.sessions, settings.min_sessions, "the sessions out of sample are"),
        _at_least("breadth", judgement.breadth, settings.min_breadth, "the median number of symbols a date is"),
    )
    return Verdict(all(check.passed for check in checks), checks)


def _leakage(passed: bool | None, required: bool) -> Check:
    if passed is None:
        why = "the leakage check was not run" + ("" if required else ", and is not required")
        return Check("leakage", not required, None, None, why)
    why = "the leakage check passed" if passed else "the leakage check found values that depend on the future"
    return Check("leakage", passed, float(passed), 1.0, why)


def _at_least(name: str, value: float, threshold: float, what: str) -> Check:
    return _compare(name, value, threshold, value >= threshold, f"{what} {{}}, at least {threshold:g} is asked for")


def _above(name: str, value: float, threshold: float, what: str) -> Check:
    return _compare(name, value, threshold, value > threshold, f"{what} {{}}, more than {threshold:g} is asked for")


def _compare(name: str, value: float, threshold: float, holds: bool, why: str) -> Check:
    known = math.isfinite(value)
    shown = f"{value:.4g}" if known else "not defined"
    return Check(name, bool(holds) and known, float(value) if known else None, float(threshold), why.format(shown))
