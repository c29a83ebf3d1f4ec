"""What was not as asked, in sentences for the reader of a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiquant.portfolio.moment import Remarks
    from aiquant.settings import PortfolioSettings

NAMED = 5
"""Symbols that are named; more are counted."""


def of(
    portfolio: PortfolioSettings, decisions: int, failures: Sequence[tuple[date, str, str]], told: Remarks
) -> list[str]:
    """Notes on a book.

    Parameters
    ----------
    decisions
        How many there were.
    failures
        Of each decision that fell back: its date, what stood in for the rule, and why.
    told
        Symbols that were not treated like others, each with the decisions concerned.
    """
    notes = []
    if failures:
        ways = Counter(used for _, used, _ in failures)
        stood_in = ", ".join(f"{_book(used)} {times:,}×" for used, times in sorted(ways.items()))
        day, _, why = failures[0]
        notes.append(
            f"the rule {portfolio.rule} found no book on {len(failures):,} of {decisions:,} decision(s), the first on "
            f"{day}: {why}; instead: {stood_in}"
        )
    if told.short_history:
        notes.append(
            f"not held for want of {portfolio.min_history} past returns in {portfolio.lookback} bars: "
            f"{_some(told.short_history)}"
        )
    if told.no_volume:
        notes.append(f"not traded, because no volume is known: {_some(told.no_volume)}")
    if told.no_sector:
        notes.append(f"of no known sector: {_some(told.no_sector)}")
    if told.turnover:
        notes.append(
            f"the limit on turnover was passed on {told.turnover:,} decision(s), because other limits asked for it"
        )
    return notes


def _book(used: str) -> str:
    return "the previous book" if used == "previous" else used


def _some(symbols: Counter[str]) -> str:
    """Symbols in ascending order, each with its decisions; the first few by name."""
    named = sorted(symbols)
    shown = ", ".join(f"{symbol} ({symbols[symbol]:,}×)" for symbol in named[:NAMED])
    return shown + (f" and {len(named) - NAMED:,} more" if len(named) > NAMED else "")
