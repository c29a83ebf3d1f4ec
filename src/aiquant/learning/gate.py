"""The gate: what a model has to show before it may be promoted. Plain rules, each with its reason; all must hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from aiquant.backtest import sharpe
from aiquant.backtest.bootstrap import Difference
from aiquant.learning import selection
from aiquant.learning.judgement import Judgement
from aiquant.learning.selection import NetResult
from aiquant.learning.trials import Tried
from aiquant.settings import GateSettings

CHAMPION = "champion"
_CONFIDENCE = 0.95  # of the interval that is told beside the Sharpe ratio


@dataclass(frozen=True)
class Rival:
    """Something that the model has to be better than.

    Attributes
    ----------
    name
        ``zero``, ``momentum``, ``equal weight`` or ``champion``.
    measure
        What is compared, pair by pair: ``rank IC`` or ``net return``.
    difference
        The model less the rival; None where there is nothing to compare.
    excused
        Why the model need not beat it; None where it must.
    unknown
        Why there is nothing to compare.
    """

    name: str
    measure: str
    difference: Difference | None = None
    excused: str | None = None
    unknown: str = "nothing is known of it"


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
        One sentence for people: the figure, what is asked for, and the setting that asks for it.
    setting
        Dotted name of the setting.
    """

    name: str
    passed: bool
    value: float | None
    threshold: float | None
    why: str
    setting: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a model may be promoted, and every check with its reason.

    Attributes
    ----------
    figures
        What the checks were reckoned from; numbers, None where one does not exist.
    basis
        Digest of what the model was held against besides itself (all that was tried, thresholds, champion): the
        verdict counts as long as that is the same.
    """

    promoted: bool
    checks: tuple[Check, ...]
    figures: dict[str, float | None] = field(default_factory=dict)
    basis: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was refused; empty when it was not."""
        return tuple(check.why for check in self.checks if not check.passed)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        checks = [asdict(check) for check in self.checks]
        return {"promoted": self.promoted, "checks": checks, "figures": dict(self.figures), "basis": self.basis}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What :meth:`to_dict` gave."""
        checks = tuple(Check(**check) for check in told["checks"])
        return cls(bool(told["promoted"]), checks, dict(told.get("figures", {})), told.get("basis", ""))


def decide(
    judgement: Judgement,
    net: NetResult,
    settings: GateSettings,
    *,
    leakage: bool | None,
    tried: Tried,
    tunings: Sequence[Tried] = (),
    rivals: Sequence[Rival] = (),
    seed: int = 0,
) -> Verdict:
    """Hold a model against the thresholds.

    Parameters
    ----------
    judgement
        Of its forecasts out of sample.
    net
        What its book earned on them, costs included.
    leakage
        Whether the leakage check passed; None when it was not run.
    tried
        Everything that was tried on these data.
    tunings
        The tunings that its configuration comes from, each by itself.
    rivals
        What it has to be better than.
    seed
        Of the resamples.
    """
    rules = _Rules(judgement, net, settings, tried, seed)
    checks = (
        _leakage(leakage, settings.require_leakage_check),
        _at_least(
            "costs",
            net.cost_bps,
            settings.min_cost_bps,
            "the costs charged are {} basis points a trade",
            "min_cost_bps",
        ),
        _at_least(
            "rank_ic_t",
            judgement.rank_ic_t,
            settings.min_rank_ic_t,
            "the t-statistic of the rank IC (Newey–West) is {}",
            "min_rank_ic_t",
        ),
        rules.sharpe(),
        rules.deflated(),
        rules.superiority(),
        rules.overfitting(tunings),
        *rules.rivals(rivals),
        rules.sessions(),
        _at_least(
            "breadth",
            judgement.breadth,
            settings.min_breadth,
            "the median number of symbols a date is {}",
            "min_breadth",
        ),
    )
    return Verdict(all(check.passed for check in checks), checks, rules.figures)


class _Rules:
    """The rules that reckon something; ``figures`` fills up as they are asked."""

    def __init__(self, judgement: Judgement, net: NetResult, settings: GateSettings, tried: Tried, seed: int) -> None:
        self.net, self.settings, self.tried, self.seed = net, settings, tried, seed
        self.moments, self.root = net.moments, math.sqrt(net.sessions_per_year)
        self.luck = selection.luck(net, tried)
        self.figures: dict[str, float | None] = {
            "rank_ic": _number(judgement.rank_ic),
            "rank_ic_t": _number(judgement.rank_ic_t),
            "trials": self.luck.trials,
            "trial_correlation": self.luck.correlation,
            "luck_sharpe": self.luck.sharpe * self.root,
        }

    def sharpe(self) -> Check:
        value = self.moments.sharpe * self.root
        low, high = sharpe.bootstrap_interval(self.net.returns, _CONFIDENCE, seed=self.seed)
        self.figures |= {
            "sharpe": _number(value),
            "sharpe_low": _number(low * self.root),
            "sharpe_high": _number(high * self.root),
        }
        asked = self.settings.min_sharpe_net
        return _compare(
            "sharpe_net",
            value,
            asked,
            value > asked,
            f"the Sharpe ratio net of costs is {{}}, more than {asked:g} is asked for",
            "min_sharpe_net",
        )

    def deflated(self) -> Check:
        value = sharpe.probability(self.moments, self.luck.sharpe)
        self.figures["sharpe_probability"] = _number(sharpe.probability(self.moments))
        self.figures["deflated_sharpe"] = _number(value)
        trials = self.luck.trials
        luck = (
            f"the {self.luck.sharpe * self.root:.2f} that the best of {trials} trials would show by luck"
            if trials > 1
            else "0 (nothing else was tried)"
        )
        return _at_least(
            "deflated_sharpe",
            value,
            self.settings.min_deflated_sharpe,
            f"the probability that the true Sharpe ratio exceeds {luck} is {{}}",
            "min_deflated_sharpe",
        )

    def superiority(self) -> Check:
        found = selection.superior(self.net, self.tried, seed=self.seed)
        value = math.nan if found is None else found.consistent
        if found is not None:
            self.figures |= {f"superiority_p_{name}": getattr(found, name) for name in ("lower", "consistent", "upper")}
            self.figures["block_length"] = found.block
        return _at_most(
            "superiority",
            value,
            self.settings.max_superiority_p,
            "the p-value of the best trial's profit among all that was tried (SPA) is {}",
            "max_superiority_p",
        )

    def overfitting(self, tunings: Sequence[Tried]) -> Check:
        asked, least = self.settings.max_overfitting, self.settings.overfitting_trials
        choices = selection.overfitted(self.net, self.tried, tunings, least)
        if before := selection.overfitted_before(self.net, tunings, least):
            self.figures["tuning_overfitting"] = before[0].probability
        if not choices:
            why = f"the probability of overfitting is asked from {least} trials on (gate.overfitting_trials)"
            return Check("overfitting", True, None, asked, why, "gate.overfitting_trials")
        # What excuses one choice excuses no other: where one is left, it decides.
        left = [c for c in choices if c.probability > asked and c.probability_of_loss > self.settings.overfitting_loss]
        found = (left or choices)[0]
        self.figures |= {"overfitting": found.probability, "overfitting_loss": found.probability_of_loss}
        what = "the probability of backtest overfitting is {}"
        excuse = self.settings.overfitting_loss
        if found.probability > asked and found.probability_of_loss <= excuse:
            why = (
                f"{what.format(f'{found.probability:.4g}')}, but the best in sample lost money out of sample in "
                f"{found.probability_of_loss:.2g} of the splits, at most {excuse:g} (gate.overfitting_loss)"
            )
            return Check("overfitting", True, found.probability, asked, why, "gate.overfitting_loss")
        return _at_most("overfitting", found.probability, asked, what, "max_overfitting")

    def rivals(self, rivals: Sequence[Rival]) -> Iterator[Check]:
        for rival in rivals:
            setting = "min_better_than_champion" if rival.name == CHAMPION else "min_better_than_baselines"
            asked = float(getattr(self.settings, setting))
            name = f"beats_{rival.name.replace(' ', '_')}"
            if rival.excused is not None:
                yield Check(name, True, None, asked, rival.excused, f"gate.{setting}")
                continue
            value = rival.difference.probability if rival.difference is not None else math.nan
            self.figures[name] = _number(value)
            what = f"the probability of a better {rival.measure} than {rival.name} is {{}}"
            if rival.difference is None:
                what += f": {rival.unknown}"
            yield _at_least(name, value, asked, what, setting)

    def sessions(self) -> Check:
        """Enough by the setting, and for the ratio to be told from 0 at all (minimum track record length)."""
        confidence = self.settings.min_deflated_sharpe
        needed = sharpe.min_track_record(self.moments, confidence=confidence) if confidence > 0.5 else 0.0
        self.figures["min_track_record"] = _number(needed)
        asked, have = float(self.settings.min_sessions), len(self.net.returns)
        if math.isfinite(needed) and needed > asked:
            what = (
                "the sessions out of sample that the book earned in are {}, and a Sharpe ratio of this size needs more"
            )
            return _at_least("sessions", have, math.ceil(needed), what, "min_deflated_sharpe")
        return _at_least(
            "sessions", have, asked, "the sessions out of sample that the book earned in are {}", "min_sessions"
        )


def _leakage(passed: bool | None, required: bool) -> Check:
    setting = "gate.require_leakage_check"
    if passed is None:
        why = "the leakage check was not run" + (f" ({setting})" if required else ", and is not required")
        return Check("leakage", not required, None, None, why, setting)
    why = (
        "the leakage check passed"
        if passed
        else f"the leakage check found values that depend on the future ({setting})"
    )
    return Check("leakage", passed, float(passed), 1.0, why, setting)


def _at_least(name: str, value: float, threshold: float, what: str, setting: str) -> Check:
    why = f"{what}, at least {threshold:g} is asked for"
    return _compare(name, value, threshold, value >= threshold, why, setting)


def _at_most(name: str, value: float, threshold: float, what: str, setting: str) -> Check:
    why = f"{what}, at most {threshold:g} is asked for"
    return _compare(name, value, threshold, value <= threshold, why, setting)


def _compare(name: str, value: float, threshold: float, holds: bool, why: str, setting: str) -> Check:
    known = math.isfinite(value)
    shown = f"{value:.4g}" if known else "not defined"
    dotted = f"gate.{setting}"
    return Check(
        name,
        bool(holds) and known,
        float(value) if known else None,
        float(threshold),
        f"{why.format(shown)} ({dotted})",
        dotted,
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
