"""The page that shows many strategies side by side: one self-contained HTML file, as the tearsheet is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from aiquant.backtest import figures, figures_evaluation, tearsheet
from aiquant.backtest.evaluation.comparison import Comparison

if TYPE_CHECKING:
    import plotly.graph_objects as go


def render(comparison: Comparison, curves: Mapping[str, pa.Table], made_at: datetime) -> str:
    """Draw the page.

    Parameters
    ----------
    curves
        The accounts on the common dates, as :func:`aiquant.backtest.evaluation.comparison.common` gives them.
    made_at
        Shown in UTC.

    Returns
    -------
    One HTML document, to be written as UTF-8.
    """
    return tearsheet.page(
        "comparison.html", charts(comparison, curves), comparison=comparison, made_at=made_at, words=words(comparison)
    )


def charts(comparison: Comparison, curves: Mapping[str, pa.Table]) -> dict[str, go.Figure]:
    """The figures by name."""
    names = [strategy.name for strategy in comparison.strategies]
    drawn = {
        "equity": figures.equity(curves),
        "drawdown": figures.drawdown(curves),
        "correlation": figures_evaluation.correlation(names, comparison.correlation),
    }
    if comparison.choice is not None:
        drawn["choice"] = figures_evaluation.choice_paths(comparison.choice.paths)
    return drawn


def words(comparison: Comparison) -> str:
    """The first line: whether one of the strategies is more than the luckiest."""
    best = max(comparison.strategies, key=lambda s: s.summary.sharpe if s.summary.sharpe == s.summary.sharpe else -9e9)
    reference = comparison.strategies[0].name
    if best.name == reference:
        return f"None of the others has a better Sharpe ratio than {reference}, the reference."
    pair = next(pair for pair in comparison.pairs if pair.name == best.name)
    if not pair.sharpe_low > 0.0:
        return (
            f"{best.name} has the best Sharpe ratio, but the interval of its difference to {reference} holds zero: "
            "luck could have made it."
        )
    if not best.deflated > 0.95:
        return (
            f"{best.name} beats {reference} pair by pair, but not what the best of {len(comparison.strategies)} "
            "strategies shows by luck."
        )
    return f"{best.name} has a better Sharpe ratio than {reference}, and a better one than luck among all compared."
