"""Figures of what stands behind a result: resamples, costs, capacity, holding periods, factors, sectors; and of many
strategies side by side. They draw what :func:`aiquant.backtest.evaluation.strategy.evaluate` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.backtest.figures_style import LIGHT, bar_gap, blank, rounded, text

if TYPE_CHECKING:
    import plotly.graph_objects as go


def charts(evaluation: Mapping[str, Any]) -> dict[str, go.Figure | None]:
    """All figures of one evaluation; None for a section that is not there."""
    drawn, costs, capacity = (evaluation.get(name) for name in ("monte_carlo", "costs", "capacity"))
    held, factors, sectors = (evaluation.get(name) or {} for name in ("holding", "factors", "sectors"))
    return {
        "fan": fan(drawn) if drawn else None,
        "depths": depths(drawn) if drawn else None,
        "cost_curve": cost_curve(costs["rows"]) if costs else None,
        "capacity": capacity_curve(capacity["rows"]) if capacity else None,
        "holding": holding_periods(held["distribution"]) if held.get("distribution") else None,
        "factors": contributions(factors["exposures"]) if factors.get("exposures") else None,
        "sectors": sector_effects(sectors["rows"]) if sectors else None,
    }


def fan(drawn: Mapping[str, Any]) -> go.Figure:
    """What 100 could have become: quantiles of the resampled accounts over time."""
    figure = blank("What 100 could have become", height=360)
    at = drawn["at"]
    low, lower, middle, upper, high = (rounded(100.0 * np.array(row, dtype=np.float64)) for row in drawn["fan"])
    plain = {"mode": "lines", "line": {"width": 0}, "hovertemplate": "%{y:,.1f}"}
    figure.add_scatter(x=at, y=low, name="5 %", showlegend=False, **plain)
    shade = {"fill": "tonexty", "fillcolor": LIGHT.strategy_fill}
    figure.add_scatter(x=at, y=high, name="5 % to 95 %", **plain, **shade)
    figure.add_scatter(x=at, y=lower, name="25 %", showlegend=False, **plain)
    figure.add_scatter(x=at, y=upper, name="25 % to 75 %", **plain, **shade)
    figure.add_scatter(
        x=at,
        y=middle,
        name="median",
        mode="lines",
        line={"color": LIGHT.strategy, "width": 2},
        hovertemplate="%{y:,.1f}",
    )
    figure.update_xaxes(title={"text": "sessions"}, tickformat=",d")
    figure.update_yaxes(type="log", tickformat=",~r", nticks=8)
    return figure


def depths(drawn: Mapping[str, Any]) -> go.Figure:
    """Distribution of the maximum drawdown over the resamples."""
    edges, shares = (np.array(drawn[name], dtype=np.float64) for name in ("depth_edges", "depth_shares"))
    figure = blank("Maximum drawdown of the resamples", height=300, bargap=0.04, showlegend=False)
    figure.add_bar(
        x=rounded((edges[1:] + edges[:-1]) / 2),
        y=rounded(shares),
        width=float(max(edges[1] - edges[0], 1e-9)),
        name="resamples",
        marker={"color": LIGHT.loss, "line": {"width": 0}},
        hovertemplate="%{y:.1%}<extra></extra>",
    )
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def cost_curve(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Sharpe ratio over multiples of all costs."""
    figure = blank("Sharpe ratio over multiples of all costs", height=300, showlegend=False)
    _curve(figure, [row["multiple"] for row in rows], [row["sharpe"] for row in rows], "%{y:.2f}<extra></extra>")
    figure.update_xaxes(title={"text": "multiple of the costs"}, ticksuffix="×")
    return figure


def capacity_curve(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Return a year over the capital at the start."""
    figure = blank("Return a year over capital", height=300, showlegend=False)
    of_year = [row["annual_return"] for row in rows]
    _curve(figure, [row["capital"] for row in rows], of_year, "%{y:.2%}<extra></extra>")
    figure.update_xaxes(type="log", title={"text": "capital at the start"}, tickformat="~s")
    figure.update_yaxes(tickformat=".1~%")
    return figure


def _curve(figure: go.Figure, x: Sequence[float], y: Sequence[float | None], hover: str) -> None:
    figure.add_scatter(
        x=list(x),
        y=list(y),
        mode="lines+markers",
        line={"color": LIGHT.strategy, "width": 2},
        marker={"color": LIGHT.strategy, "size": 7},
        hovertemplate=hover,
    )


def holding_periods(distribution: Sequence[Sequence[float]]) -> go.Figure:
    """Share of the closed notional by how long it was held."""
    figure = blank("How long positions were held", height=300, bargap=0.2, showlegend=False)
    figure.add_bar(
        x=[_span(int(begin), int(end)) for begin, end, _ in distribution],
        y=[share for *_, share in distribution],
        marker={"color": LIGHT.strategy, "line": {"width": 0}},
        hovertemplate="%{y:.1%}<extra></extra>",
    )
    figure.update_xaxes(type="category", title={"text": "sessions"})
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def _span(begin: int, end: int) -> str:
    if end >= 1 << 30:
        return f"{begin} or more"
    return str(begin) if end == begin + 1 else f"{begin}–{end - 1}"


def contributions(exposures: Sequence[Mapping[str, Any]]) -> go.Figure:
    """What alpha and each factor gave a year."""
    figure = blank("Return a year by factor", height=300, bargap=bar_gap(len(exposures)), showlegend=False)
    values = [row["contribution"] for row in exposures]
    _signed_bars(figure, [row["name"] for row in exposures], values)
    return figure


def sector_effects(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Allocation and selection by sector."""
    figure = blank("Difference to the market by sector", height=max(300, 120 + 24 * len(rows)), barmode="group")
    names = [text(row["sector"]) for row in rows][::-1]
    for effect, colour in (("selection", LIGHT.benchmark_2), ("allocation", LIGHT.strategy)):
        figure.add_bar(
            y=names,
            x=[row[effect] for row in rows][::-1],
            name=effect,
            orientation="h",
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate="%{x:.2%}",
        )
    figure.update_layout(hovermode="y unified", legend={"traceorder": "reversed"})
    figure.update_xaxes(tickformat=".1~%")
    return figure


def _signed_bars(figure: go.Figure, names: Sequence[str], values: Sequence[float | None]) -> None:
    figure.add_bar(
        x=[text(name) for name in names],
        y=list(values),
        marker={"color": [LIGHT.loss if (value or 0) < 0 else LIGHT.gain for value in values], "line": {"width": 0}},
        hovertemplate="%{y:.2%}<extra></extra>",
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(tickformat=".1~%")


def correlation(names: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> go.Figure:
    """Correlations of the strategies' returns."""
    shown = [text(name) for name in names]
    figure = blank("Correlation of returns", height=max(260, 110 + 34 * len(names)))
    figure.add_heatmap(
        x=shown,
        y=shown,
        z=[list(row) for row in matrix],
        zmin=-1,
        zmax=1,
        colorscale=[[0, LIGHT.heat_loss], [0.5, LIGHT.heat_middle], [1, LIGHT.heat_gain]],
        showscale=False,
        texttemplate="%{z:.2f}" if len(names) <= 12 else None,
        hovertemplate="%{y} and %{x}: %{z:.3f}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(hovermode="closest")
    return figure


def choice_paths(ratios: Sequence[float]) -> go.Figure:
    """Sharpe ratios of the combinatorial paths of choosing the best."""
    figure = blank("Sharpe ratio of each path", height=260, showlegend=False, bargap=bar_gap(len(ratios)))
    figure.add_bar(
        x=list(range(1, len(ratios) + 1)),
        y=rounded(np.array(ratios, dtype=np.float64)),
        marker={"color": LIGHT.strategy, "line": {"width": 0}},
        hovertemplate="%{y:.2f}<extra></extra>",
    )
    figure.update_xaxes(tickformat="d", title={"text": "path"})
    return figure
