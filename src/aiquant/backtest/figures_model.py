"""Figures of models as plotly objects: rank IC, returns by quantile of forecast, importance, splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.backtest.figures_judgement import error_bars
from aiquant.backtest.figures_style import LIGHT, bar_gap, blank, rounded, text, thin
from aiquant.backtest.story import FoldSpans, Span

if TYPE_CHECKING:
    import plotly.graph_objects as go


def rank_ic_by_year(by_year: Mapping[int, float]) -> go.Figure:
    """Mean out-of-sample rank IC of each year."""
    years = sorted(by_year)
    figure = blank("Mean rank IC by year", height=300, bargap=bar_gap(len(years)))
    values = np.array([by_year[year] for year in years], dtype=float)
    figure.add_bar(
        x=years,
        y=rounded(values),
        name="rank IC",
        marker={"color": [LIGHT.gain if value >= 0 else LIGHT.loss for value in values], "line": {"width": 0}},
        hovertemplate="%{y:.3f}<extra></extra>",
    )
    figure.update_xaxes(tickformat="d", dtick=1 if len(years) <= 12 else None)
    figure.update_yaxes(tickformat=".3~f")
    return figure


def rank_ic_cumulative(daily: Mapping[date, float]) -> go.Figure:
    """Running sum of the daily rank IC: it climbs steadily where an edge is steady, and wanders where there is none."""
    days = sorted(daily)
    values = np.array([daily[day] for day in days], dtype=float)
    total = np.cumsum(np.nan_to_num(values))
    drawn = thin([total])
    figure = blank("Cumulative rank IC", height=300)
    figure.add_scatter(
        x=[days[i] for i in drawn],
        y=rounded(total[drawn]),
        name="sum of rank IC",
        mode="lines",
        line={"color": LIGHT.strategy, "width": 2},
        hovertemplate="%{y:.2f}<extra></extra>",
    )
    return figure


def quantile_spread(
    quantiles: Mapping[str, float], horizon: int | None = None, errors: Mapping[str, float | None] | None = None
) -> go.Figure:
    """Mean forward return of each quantile of the forecast less the date's mean, lowest forecasts first."""
    over = f" over {horizon} session{'s' if horizon != 1 else ''}" if horizon else ""
    figure = blank(f"Forward return{over} by quantile of the forecast, less the date's mean", height=300)
    values = np.array(list(quantiles.values()), dtype=float)
    figure.add_bar(
        x=[text(name) for name in quantiles],
        y=rounded(values),
        error_y=error_bars([errors.get(name) for name in quantiles]) if errors else None,
        marker={"color": [LIGHT.gain if value >= 0 else LIGHT.loss for value in values], "line": {"width": 0}},
        hovertemplate="%{y:.3%}<extra></extra>",
    )
    figure.update_xaxes(type="category", title={"text": "lowest forecast → highest forecast"})
    figure.update_yaxes(tickformat=".2~%")
    return figure


def feature_importance(
    importance: Mapping[str, float], top: int = 20, title: str = "Importance of features"
) -> go.Figure:
    """The ``top`` most important features as shares of the whole; how many were left out stands in the title."""
    whole = sum(abs(value) for value in importance.values()) or 1.0
    ranked = sorted(importance.items(), key=lambda item: (-abs(item[1]), item[0]))[:top]
    left = len(importance) - len(ranked)
    title += ", share of the whole" + (f" (the first {top} of {len(importance)})" if left else "")
    figure = blank(title, height=96 + 22 * len(ranked), hovermode="closest")
    figure.add_bar(
        x=rounded(np.array([value / whole for _, value in ranked])),
        y=[text(name) for name, _ in ranked],
        orientation="h",
        marker={"color": LIGHT.strategy, "line": {"width": 0}},
        hovertemplate="%{y}: %{x:.2%}<extra></extra>",
    )
    figure.update_xaxes(tickformat=".0%", showgrid=True)
    figure.update_yaxes(autorange="reversed", type="category", dtick=1, showgrid=False)
    return figure


def permutation_importance(
    lines: Sequence[Mapping[str, Any]], top: int = 20, title: str = "Fall of the rank IC when a feature is shuffled"
) -> go.Figure:
    """Fall of the rank IC out of sample when a feature is shuffled within each date, with one deviation over folds.

    Parameters
    ----------
    lines
        ``feature``, ``permutation``, ``permutation_std``, the greatest fall first.
    """
    shown = [line for line in lines if line["permutation"] is not None][:top]
    falls = np.array([line["permutation"] for line in shown], dtype=float)
    spread = np.nan_to_num(np.array([line["permutation_std"] for line in shown], dtype=float))
    figure = blank(title, height=96 + 22 * len(shown), hovermode="closest")
    figure.add_bar(
        x=rounded(falls),
        y=[text(str(line["feature"])) for line in shown],
        error_x={"type": "data", "array": rounded(spread), "thickness": 1},
        orientation="h",
        marker={"color": [LIGHT.gain if fall >= 0 else LIGHT.loss for fall in falls], "line": {"width": 0}},
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
    )
    figure.update_xaxes(tickformat=".3~f", showgrid=True)
    figure.update_yaxes(autorange="reversed", type="category", dtick=1, showgrid=False)
    return figure


def contributions(base: float, parts: Sequence[tuple[str, float]], forecast: float, title: str) -> go.Figure:
    """From the base of a forecast over what each feature adds to the forecast, as a waterfall."""
    names = ["base", *(text(name) for name, _ in parts), "forecast"]
    figure = blank(title, height=96 + 26 * len(names), hovermode="closest")
    import plotly.graph_objects as graphs

    figure.add_trace(
        graphs.Waterfall(
            orientation="h",
            measure=["absolute", *["relative"] * len(parts), "total"],
            y=names,
            x=rounded(np.array([base, *(value for _, value in parts), forecast])),
            increasing={"marker": {"color": LIGHT.gain}},
            decreasing={"marker": {"color": LIGHT.loss}},
            totals={"marker": {"color": LIGHT.strategy}},
            hovertemplate="%{y}: %{x:.5f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", type="category", dtick=1, showgrid=False)
    return figure


def splits(folds: Sequence[FoldSpans], title: str = "Walk-forward splits") -> go.Figure:
    """When each fold was trained and tested, and what was left out between: bars over time."""
    room = max(8, min(24, 900 // len(folds)))
    figure = blank(title, height=110 + room * len(folds), barmode="overlay", hovermode="closest")
    parts: list[tuple[str, str, list[Sequence[Span]]]] = [
        ("train", LIGHT.train, [fold.train for fold in folds]),
        ("purged", LIGHT.purge, [fold.purge for fold in folds]),
        ("embargo", LIGHT.embargo, [fold.embargo for fold in folds]),
        ("test", LIGHT.test, [fold.test for fold in folds]),
    ]
    for part, colour, spans in parts:
        there = [(f"fold {fold.fold}", span) for fold, own in zip(folds, spans, strict=True) for span in own]
        if not there:
            continue
        figure.add_bar(
            base=[first.isoformat() for _, (first, _) in there],
            x=[_milliseconds(first, last) for _, (first, last) in there],
            y=[name for name, _ in there],
            customdata=[[first.isoformat(), last.isoformat()] for _, (first, last) in there],
            orientation="h",
            name=part,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate=f"%{{y}}, {part}: %{{customdata[0]}} to %{{customdata[1]}}<extra></extra>",
        )
    every = [span for fold in folds for span in (*fold.train, *fold.test)]
    first, last = min(span[0] for span in every), max(span[1] for span in every)
    margin = (last - first) / 100
    figure.update_xaxes(type="date", range=[(first - margin).isoformat(), (last + margin).isoformat()])
    names = [f"fold {fold.fold}" for fold in folds]
    figure.update_yaxes(
        autorange="reversed", type="category", dtick=-(-16 // room), showgrid=False, categoryarray=names
    )
    return figure


def _milliseconds(first: date, last: date) -> int:
    return int((last + timedelta(days=1) - first).total_seconds() * 1000)
