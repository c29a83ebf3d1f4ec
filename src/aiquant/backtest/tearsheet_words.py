"""What a tearsheet says in words: the verdict and the key numbers. Every sentence follows from numbers.

The verdict never claims more than its numbers bear: "significant" appears only beside its t-statistic, a Sharpe ratio
only with its interval, and a good result carries the caveats (not checked for leaks, survivors only) that weaken it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aiquant.backtest.figures_series import aligned
from aiquant.backtest.story import Story, as_mapping
from aiquant.backtest.tearsheet_format import NOTHING, count, label, number, percent, times

Tone = Literal["good", "mixed", "bad"]

SIGNIFICANT_T = 2.0
"""|t| from which a mean is called significant: about the two-sided 5 % level."""


@dataclass(frozen=True)
class Verdict:
    """The block that a reader sees first: one line, its tone, and the sentences that bear it out."""

    headline: str
    tone: Tone
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """A key number with what it means; ``term`` names its entry in the glossary."""

    label: str
    value: str
    detail: str
    meaning: str
    term: str


def verdict(story: Story) -> Verdict:
    """Say what was found, from the numbers of ``story`` alone."""
    headline, tone = _headline(story)
    told = [_ic(story), _money(story), _worst(story), _trading(story), _trust(story), _gate(story)]
    return Verdict(headline, tone, tuple(sentence for sentence in told if sentence))


def _headline(story: Story) -> tuple[str, Tone]:
    judgement, leakage = as_mapping(story.judgement), as_mapping(story.leakage)
    _, sharpe_low, sharpe_high = sharpe(_summaries(story)[0][1])
    t = _number(judgement.get("rank_ic_t"))
    if leakage and not leakage.get("passed"):
        return "These results cannot be trusted: the leakage check found information from the future.", "bad"
    if t is not None and t <= -SIGNIFICANT_T:
        return "The forecasts pointed the wrong way.", "bad"
    if t is not None and t < SIGNIFICANT_T:
        return "No edge was found.", "bad"
    if sharpe_low is None or sharpe_high is None:
        return "The result cannot be told apart from luck: its uncertainty was not reckoned.", "mixed"
    if sharpe_high < 0:
        return "The strategy lost money after costs.", "bad"
    if sharpe_low <= 0:
        if t is None:
            return "No edge was found: the profit after costs cannot be told apart from luck.", "bad"
        return "The forecasts held some information, but no reliable profit was left after costs.", "mixed"
    if _beaten_by(story):
        return f"There was a profit after costs, but {_beaten_by(story)} had the better Sharpe ratio.", "mixed"
    if not leakage:
        return "A profit after costs was found, but the run was not checked for leaks.", "mixed"
    if as_mapping(story.verdict).get("promoted") is False:
        return "A profit after costs was found, but the gate did not let the model pass.", "mixed"
    return "An edge was found in these data, net of the costs that were assumed.", "good"


def _ic(story: Story) -> str:
    judgement = as_mapping(story.judgement)
    ic, t = _number(judgement.get("rank_ic")), _number(judgement.get("rank_ic_t"))
    if ic is None:
        return ""
    over = f" over {count(judgement['dates'])} dates" if judgement.get("dates") else ""
    if t is None:
        return f"The forecasts' mean rank IC was {number(ic, 4)}{over}; its t-statistic could not be reckoned."
    told = f"The forecasts' mean rank IC of {number(ic, 4)} has a t-statistic of {number(t, 2)}{over}: "
    if abs(t) < SIGNIFICANT_T:
        return told + "not significant (|t| below 2), so it cannot be told apart from luck."
    if t < 0:
        return told + "significant, and negative: stocks that were ranked high did worse."
    return told + f"significant, though {'small' if abs(ic) < 0.05 else 'not small'} (0 is chance, 1 is perfect)."


def _money(story: Story) -> str:
    (_, strategy), *benchmarks = _summaries(story)
    made = _number(strategy.get("annual_return"))
    if made is None:
        return ""
    told = f"After costs the strategy {_made(made)} a year"
    ratio, low, high = sharpe(strategy)
    if ratio is not None:
        told += f" (Sharpe ratio {number(ratio)}, {interval(strategy) or 'its interval is not known'})"
    others = [
        f"{other} {_made(value)}" for other, s in benchmarks if (value := _number(s.get("annual_return"))) is not None
    ]
    if others:
        told += ", while " + " and ".join(others)
    told += "."
    if low is not None and high is not None and low <= 0 <= high:
        told += " The interval holds zero: luck alone could have made this."
    return told


def _made(value: float) -> str:
    return f"made {percent(value)}" if value >= 0 else f"lost {percent(-value)}"


def _worst(story: Story) -> str:
    (_, strategy), *benchmarks = _summaries(story)
    worst = _number(strategy.get("max_drawdown"))
    if worst is None:
        return ""
    others = [
        f"{other}: {percent(abs(value))}"
        for other, s in benchmarks
        if (value := _number(s.get("max_drawdown"))) is not None
    ]
    return f"At its worst it stood {percent(abs(worst))} below an earlier high" + (
        f" ({', '.join(others)})." if others else "."
    )


def _trading(story: Story) -> str:
    _, strategy = _summaries(story)[0]
    turnover, cost = _number(strategy.get("annual_turnover")), _number(strategy.get("annual_costs"))
    if turnover is None:
        return ""
    told = f"It turned over {times(turnover)} its equity a year (one-way)"
    return told + (f"; commission and slippage took {percent(cost)} a year." if cost is not None else ".")


def _trust(story: Story) -> str:
    told = []
    leakage = as_mapping(story.leakage)
    if not leakage:
        told.append("The run was not checked for leaks.")
    elif leakage.get("passed"):
        told.append("The leakage check passed: no value up to a cut changed when what came later was taken away.")
    else:
        told.append("The leakage check failed, so every figure below may be too good.")
    poor = [source.name for source in story.sources if source.survivors_only]
    if poor:
        told.append(
            f"The universe ({', '.join(poor)}) holds only companies that survived to its end: "
            "that flatters every figure here, those of the benchmarks most."
        )
    return " ".join(told)


def _gate(story: Story) -> str:
    gate = as_mapping(story.verdict)
    if not gate:
        return ""
    if gate.get("promoted"):
        return "The gate let the model pass."
    checks = [as_mapping(check) for check in gate.get("checks", ())]
    refused = [label(check["name"]) for check in checks if not check.get("passed")]
    return "The gate did not promote the model" + (f" (failed: {'; '.join(refused)})." if refused else ".")


def costs(story: Story) -> str:
    """What trading cost in cash, split into commission and slippage where the fills are told."""
    table = next(iter(story.curves.values()))
    cash = float(np.sum(table["costs"].to_numpy()))
    told = f"The strategy paid {count(cash)} in the account's currency over the whole test"
    if story.fills is not None and story.fills.num_rows:
        parts = {part: float(np.sum(story.fills[part].to_numpy())) for part in ("commission", "slippage")}
        told += f" in {count(story.fills.num_rows)} fills: {count(parts['commission'])} of commission"
        told += f" and {count(parts['slippage'])} of slippage"
    return f"{told}. Borrow fees are not in it."


def ends(story: Story) -> str:
    """Where each account ended, for those who cannot see the figure."""
    _, marks = aligned(story.curves)
    last = {name: values[np.isfinite(values)] for name, values in marks.items()}
    return ", ".join(f"{name} ended at {number(values[-1], 0)}" for name, values in last.items() if len(values)) + "."


def _beaten_by(story: Story) -> str:
    (_, strategy), *benchmarks = _summaries(story)
    own = sharpe(strategy)[0]
    better = [name for name, s in benchmarks if own is not None and (sharpe(s)[0] or -math.inf) > own]
    return " and ".join(better)


def _summaries(story: Story) -> list[tuple[str, dict[str, Any]]]:
    return [(name, as_mapping(track.summary)) for name, track in story.tracks.items()]


def sharpe(summary: dict[str, Any]) -> tuple[float | None, float | None, float | None]:
    """Sharpe ratio and the two ends of its interval; None for what is not there."""
    low, high = _number(summary.get("sharpe_low")), _number(summary.get("sharpe_high"))
    return _number(summary.get("sharpe")), low, high


def interval(summary: dict[str, Any]) -> str:
    """The interval of a summary's Sharpe ratio in words; empty where it is not known."""
    ends = between(summary)
    return f"{percent(summary.get('confidence', 0.95), 0)} interval {ends}" if ends else ""


def between(summary: dict[str, Any]) -> str:
    """The two ends of the interval of a summary's Sharpe ratio; empty where they are not known."""
    _, low, high = sharpe(summary)
    return f"{number(low)} to {number(high)}" if low is not None and high is not None else ""


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def cards(story: Story) -> list[Card]:
    """The key numbers of the strategy; those that are not known are left out."""
    judgement = as_mapping(story.judgement)
    _, summary = _summaries(story)[0]
    told = [
        Card(
            "Rank IC",
            number(judgement.get("rank_ic"), 4),
            f"t = {number(judgement.get('rank_ic_t'))}",
            "How well forecasts ordered what came after: 0 is chance, 1 is perfect. Real edges are about 0.02–0.05.",
            "rank-ic",
        ),
        Card(
            "Sharpe ratio, net",
            number(summary.get("sharpe")),
            interval(summary) or "interval not known",
            "Return per unit of risk, a year, after costs. An interval that holds 0 shows no profit.",
            "sharpe",
        ),
        Card(
            "Return a year, net",
            percent(summary.get("annual_return")),
            f"{percent(summary.get('total_return'))} in all",
            "What the account grew by in an average year, compounded, after costs.",
            "annual-return",
        ),
        Card(
            "Maximum drawdown",
            percent(summary.get("max_drawdown")),
            f"volatility {percent(summary.get('volatility'))} a year",
            "The deepest fall from an earlier high: what a holder had to sit through.",
            "drawdown",
        ),
        Card(
            "Turnover a year",
            times(summary.get("annual_turnover")),
            "one-way, × equity",
            "How often the whole account was traded. The more, the more depends on the costs assumed.",
            "turnover",
        ),
        Card(
            "Costs a year",
            percent(summary.get("annual_costs"), 2),
            "of equity",
            "Commission and slippage that were taken from the account.",
            "costs",
        ),
    ]
    return [card for card in told if card.value != NOTHING]
