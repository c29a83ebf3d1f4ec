"""Figures of how forecasts were judged: decay over horizons, calibration, groups, paths. Bars reach two errors far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.backtest.figures_style import LIGHT, blank, rounded, text

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from numpy.typing import NDArray

ERRORS = 2.0
"""Standard errors that a bar reaches to either side: about 95 %."""


def error_bars(errors: Sequence[float | None]) -> dict[str, Any]:
    """Bars of :data:`ERRORS` standard errors; none where an error is not known."""
    reach = [ERRORS * value for value in _floats(errors)]
    return {
        "type": "data",
        "array": rounded(np.nan_to_num(np.array(reach))),
        "color": LIGHT.faint,
        "thickness": 1.2,
        "width": 4,
    }


def rank_ic_by_horizon(decay: Sequence[Mapping[str, Any]], horizon: int | None = None) -> go.Figure:
    """Rank IC of the forecasts with the returns over each horizon; the one that was asked for stands out."""
    figure = blank("Rank IC over other horizons", height=300, hovermode="closest")
    figure.add_scatter(
        x=[f"{row['horizon']}" for row in decay],
        y=rounded(_floats([row.get("rank_ic") for row in decay])),
        error_y=error_bars([row.get("rank_ic_error") for row in decay]),
        mode="markers",
        marker={
            "size": 9,
            "color": [LIGHT.strategy if row["horizon"] == horizon else LIGHT.benchmark_1 for row in decay],
        },
        customdata=[[row.get("dates"), _round(row.get("rank_ic_t"))] for row in decay],
        hovertemplate="%{x} sessions: %{y:.4f}, t = %{customdata[1]}, %{customdata[0]:,} dates<extra></extra>",
    )
    figure.update_xaxes(type="category", title={"text": "sessions held"})
    figure.update_yaxes(tickformat=".3~f", rangemode="tozero")
    return figure


def rank_ic_by_group(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """Rank IC within each group; groups without a figure are left out."""
    told = [
        (f"{name}: {row['group']}", row)
        for name, rows in groups.items()
        for row in rows
        if np.isfinite(_floats([row.get("rank_ic")])[0])
    ]
    figure = blank("Rank IC within groups", height=112 + 26 * len(told), hovermode="closest")
    figure.add_scatter(
        x=rounded(_floats([row["rank_ic"] for _, row in told])),
        y=[text(name) for name, _ in told],
        error_x=error_bars([row.get("rank_ic_error") for _, row in told]),
        mode="markers",
        marker={"size": 9, "color": LIGHT.strategy},
        customdata=[[row.get("dates"), _round(row.get("rank_ic_t")), row.get("breadth")] for _, row in told],
        hovertemplate="%{y}: %{x:.4f}, t = %{customdata[1]}, %{customdata[0]:,} dates, "
        "%{customdata[2]} symbols a date<extra></extra>",
    )
    figure.update_xaxes(tickformat=".3~f", showgrid=True, rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category", dtick=1, showgrid=False)
    return figure


def calibration(deciles: Sequence[Mapping[str, Any]]) -> go.Figure:
    """What was forecast and what came, for each tenth of the forecasts; on the line both are the same."""
    forecast, realised = (_floats([row[name] for row in deciles]) for name in ("forecast", "realised"))
    figure = blank("Calibration: forecast and outcome by tenth of the forecasts", height=320, hovermode="closest")
    ends = [float(forecast.min()), float(forecast.max())]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", name="as forecast", line={"color": LIGHT.zero, "width": 1.5, "dash": "dash"}
    )
    figure.add_scatter(
        x=rounded(forecast),
        y=rounded(realised),
        error_y=error_bars([row.get("error") for row in deciles]),
        mode="markers",
        name="as it came",
        marker={"size": 8, "color": LIGHT.strategy},
        hovertemplate="forecast %{x:.4g}, came %{y:.4g}<extra></extra>",
    )
    figure.update_xaxes(title={"text": "mean forecast"}, tickformat=".3~g", showgrid=True)
    figure.update_yaxes(title={"text": "mean outcome"}, tickformat=".3~g")
    return figure


def paths(told: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Rank IC and net Sharpe ratio of each path of a cross-validation, and the mean of both."""
    rank_ic, sharpe = (_floats([path.get(name) for path in told]) for name in ("rank_ic", "sharpe"))
    figure = blank("Paths: the same history in other orders", height=320, hovermode="closest")
    figure.add_scatter(
        x=rounded(rank_ic),
        y=rounded(sharpe),
        mode="markers",
        name="a path",
        marker={"size": 10, "color": LIGHT.strategy},
        text=[f"path {number}" for number in range(1, len(told) + 1)],
        hovertemplate="%{text}: rank IC %{x:.4f}, Sharpe ratio %{y:.2f}<extra></extra>",
    )
    if np.isfinite(rank_ic).any() and np.isfinite(sharpe).any():
        figure.add_scatter(
            x=[float(np.nanmean(rank_ic))],
            y=[float(np.nanmean(sharpe))],
            mode="markers",
            name="their mean",
            marker={"size": 14, "color": LIGHT.loss, "symbol": "x-thin", "line": {"width": 3, "color": LIGHT.loss}},
            hovertemplate="mean: rank IC %{x:.4f}, Sharpe ratio %{y:.2f}<extra></extra>",
        )
    figure.update_xaxes(title={"text": "mean rank IC"}, tickformat=".3~f", showgrid=True, rangemode="tozero")
    figure.update_yaxes(title={"text": "Sharpe ratio, net"}, rangemode="tozero")
    return figure


def _floats(values: Sequence[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _round(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.2f}"
