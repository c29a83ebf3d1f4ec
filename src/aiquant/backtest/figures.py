"""Figures of accounts as plotly objects: equity, drawdown, returns by year and month, costs, exposure.

Every function takes tables in the schema EQUITY and gives a :class:`plotly.graph_objects.Figure`; :func:`to_png` writes
one to a file. Figures of models are in :mod:`aiquant.backtest.figures_model`.

Names of strategies are drawn as literal text. Where several accounts are drawn, the first is the strategy (emphasised)
and the others are benchmarks (muted).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest.figures_series import aligned, daily_returns, frame, months, years
from aiquant.backtest.figures_style import LIGHT, bar_colour, bar_gap, blank, line, rounded, text, thin
from aiquant.errors import MissingError, require

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from numpy.typing import NDArray

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def equity(curves: Mapping[str, pa.Table], log: bool = True) -> go.Figure:
    """What 100 at the strategy's first session became, for each account, net of costs."""
    days, marks = aligned(curves)
    figure = blank("What 100 became, net of costs", height=420)
    with np.errstate(divide="ignore", invalid="ignore"):  # an account may be ruined
        kept = thin([np.log(values) for values in marks.values()])
    _lines(figure, days, marks, kept, hovertemplate="%{y:,.1f}")
    figure.update_yaxes(type="log" if log else "linear", tickformat=",~r", nticks=8)
    every = np.concatenate(list(marks.values()))
    if log and np.nanmax(every) > 5 * np.nanmin(every) > 0:
        figure.update_yaxes(dtick="D2")  # ticks at 1, 2 and 5 of each decade
    return figure


def drawdown(curves: Mapping[str, pa.Table]) -> go.Figure:
    """How far each account stood below its highest mark so far."""
    days, marks = aligned(curves)
    below = {name: values / np.fmax.accumulate(values) - 1.0 for name, values in marks.items()}
    figure = blank("Drawdown: below the highest mark so far", height=300)
    _lines(figure, days, below, thin(list(below.values())), hovertemplate="%{y:.1%}")
    figure.data[-1].update(fill="tozeroy", fillcolor=LIGHT.strategy_fill)
    figure.update_yaxes(tickformat=".1~%", rangemode="tozero")
    return figure


def _lines(
    figure: go.Figure,
    days: list[date],
    series: Mapping[str, NDArray[np.float64]],
    kept: NDArray[np.int64],
    **trace: object,
) -> None:
    """Draw the rows ``kept`` of each series: the strategy last, above the others, but named first."""
    for position, (name, values) in reversed(list(enumerate(series.items()))):
        figure.add_scatter(
            x=[days[row] for row in kept],
            y=rounded(values[kept]),
            name=text(name),
            line=line(position),
            mode="lines",
            connectgaps=True,
            **trace,
        )
    figure.update_layout(legend={"traceorder": "reversed"})


def by_year(curves: Mapping[str, pa.Table]) -> go.Figure:
    """Return of each calendar year, net of costs."""
    longest = max(len(years(table)) for table in curves.values())
    figure = blank("Return by year", height=320, barmode="group", bargap=bar_gap(longest))
    for position, (name, table) in enumerate(curves.items()):
        told = years(table)
        figure.add_bar(
            x=[year.year for year in told],
            y=rounded(np.array([year.total_return for year in told])),
            name=text(name),
            marker={"color": bar_colour(position), "line": {"width": 0}},
            opacity=1.0 if position == 0 else 0.65,
            hovertemplate="%{y:.1%}",
        )
    figure.update_xaxes(tickformat="d", dtick=1 if len(figure.data[0].x) <= 12 else None)
    figure.update_yaxes(tickformat=".1~%", nticks=8)
    return figure


def monthly_heatmap(table: pa.Table) -> go.Figure:
    """Return of each month, years downwards; the colour saturates at the 95th percentile of all months' sizes."""
    told = {(month.year, month.month): month.total_return for month in months(table)}
    rows = sorted({year for year, _ in told})
    grid = np.array([[told.get((year, month), np.nan) for month in range(1, 13)] for year in rows])
    bound = max(float(np.nanquantile(np.abs(grid), 0.95)), 1e-4)
    figure = blank("Return by month", height=112 + 25 * len(rows), hovermode="closest")
    figure.add_heatmap(
        x=list(MONTHS),
        y=[str(year) for year in rows],
        z=[[None if np.isnan(value) else round(value * 100.0, 2) for value in row] for row in grid],
        zmin=-bound * 100.0,
        zmax=bound * 100.0,
        colorscale=[[0.0, LIGHT.heat_loss], [0.5, LIGHT.heat_middle], [1.0, LIGHT.heat_gain]],
        showscale=False,
        xgap=2,
        ygap=2,
        hoverongaps=False,
        texttemplate="%{z:.1f}",
        textfont={"size": 11},
        hovertemplate="%{x} %{y}: %{z:.2f}%<extra></extra>",
    )
    figure.update_xaxes(side="top", showline=False, ticks="", type="category", fixedrange=True)
    figure.update_yaxes(autorange="reversed", type="category", dtick=1, showgrid=False, fixedrange=True, ticks="")
    figure.update_layout(margin={"l": 48, "r": 12, "t": 72, "b": 12})
    return figure


def rolling_sharpe(curves: Mapping[str, pa.Table], per_year: float, risk_free: float = 0.0) -> go.Figure | None:
    """Sharpe ratio over the past year of sessions, annualised; None where no account is longer than a year.

    Parameters
    ----------
    per_year
        Sessions per year: the length of the window (rounded) and the factor of annualisation.
    risk_free
        Rate a year, subtracted.
    """
    window = round(per_year)
    days, marks = aligned(curves)
    if len(days) <= window + 1:
        return None
    rate = (1.0 + risk_free) ** (1.0 / per_year) - 1.0
    ratios = {}
    for name, values in marks.items():
        excess = pl.Series(values, nan_to_null=True).pct_change() - rate
        ratio = excess.rolling_mean(window) / excess.rolling_std(window) * np.sqrt(per_year)
        ratios[name] = ratio.to_numpy()
    figure = blank(f"Sharpe ratio over the past {window} sessions", height=300)
    _lines(figure, days, ratios, thin(list(ratios.values())), hovertemplate="%{y:.2f}")
    figure.update_traces(line={"width": 1.1})
    figure.data[-1].line.width = 1.8
    return figure


def distribution(table: pa.Table) -> go.Figure:
    """Histogram of the daily returns, with the normal distribution of the same mean and deviation."""
    returns = daily_returns(table)
    figure = blank("Distribution of daily returns", height=320, bargap=0.04)
    low, high = np.quantile(returns, [0.0005, 0.9995])  # single far days must not make the bars wide …
    width = float(high - low) / np.clip(2.0 * len(returns) ** (1 / 3), 8, 80)  # (Rice's rule)
    width = float(max(width, (returns.max() - returns.min()) / 400, 1e-6))  # … nor uncountable
    start = returns.min() - width / 2
    counts, edges = np.histogram(returns, bins=start + width * np.arange(int((returns.max() - start) / width) + 2))
    centres = (edges[1:] + edges[:-1]) / 2
    figure.add_bar(
        x=rounded(centres),
        y=counts.tolist(),
        width=width,
        name="sessions",
        marker={"color": LIGHT.strategy, "line": {"width": 0}},
        hovertemplate="%{y:,d}",
    )
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    if deviation > 0:
        at = np.linspace(max(centres[0], -6 * deviation), min(centres[-1], 6 * deviation), 121)
        density = np.exp(-0.5 * ((at - returns.mean()) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        figure.add_scatter(
            x=rounded(at),
            y=rounded(density * width * len(returns)),
            name="normal, same mean and deviation",
            mode="lines",
            line={"color": LIGHT.loss, "width": 1.6},
            hoverinfo="skip",
        )
    figure.update_xaxes(tickformat=".1%")
    figure.update_yaxes(title={"text": "sessions"}, tickformat=",d")
    return figure


def exposure(table: pa.Table) -> go.Figure:
    """Gross and net exposure at each close, as fractions of equity."""
    gross, net = (table[name].to_numpy() for name in ("gross_exposure", "net_exposure"))
    drawn = thin([gross, net])
    days = pl.Series(table["date"].combine_chunks()).gather(drawn).to_list()
    figure = blank("Exposure at the close", height=280)
    for name, values, position in (("gross", gross, 0), ("net", net, 1)):
        figure.add_scatter(
            x=days,
            y=rounded(values[drawn]),
            name=name,
            mode="lines",
            line=line(position) | {"width": 1.6},
            hovertemplate="%{y:.1%}",
        )
    figure.update_yaxes(tickformat=".1~%", rangemode="tozero")
    return figure


def turnover(table: pa.Table) -> go.Figure:
    """One-way turnover of each month (each year where there are more than ten), as multiples of equity."""
    rows = frame(table)
    yearly = len(set(rows["date"].dt.year())) > 10
    by = pl.col("date").dt.truncate("1y" if yearly else "1mo")
    sums = rows.group_by(by, maintain_order=True).agg(pl.col("turnover").sum()).sort("date")
    figure = blank(
        f"Turnover by {'year' if yearly else 'month'} (one-way, × equity)", height=280, bargap=bar_gap(len(sums))
    )
    figure.add_bar(
        x=sums["date"].dt.year().to_list() if yearly else sums["date"].to_list(),
        y=rounded(sums["turnover"].to_numpy()),
        name="turnover",
        marker={"color": LIGHT.strategy, "line": {"width": 0}},
        hovertemplate="%{y:.2f}×<extra></extra>",
    )
    figure.update_xaxes(tickformat="d" if yearly else "%b %Y", dtick="M1" if not yearly and len(sums) <= 12 else None)
    return figure


def costs(table: pa.Table) -> go.Figure:
    """What trading cost in each year, as a share of the equity at the close before each."""
    told = years(table)
    figure = blank("Costs of trading by year, share of equity", height=280, bargap=bar_gap(len(told)))
    figure.add_bar(
        x=[year.year for year in told],
        y=rounded(np.array([year.costs for year in told])),
        name="commission and slippage",
        marker={"color": LIGHT.loss, "line": {"width": 0}},
        hovertemplate="%{y:.2%}<extra></extra>",
    )
    figure.update_xaxes(tickformat="d", dtick=1 if len(told) <= 12 else None)
    figure.update_yaxes(tickformat=".2~%", rangemode="tozero")
    return figure


def to_png(figure: go.Figure, path: Path, width: int = 1000, scale: float = 2.0) -> Path:
    """Write a figure as a PNG file of ``width`` × ``scale`` pixels across, and as high as the figure is.

    Raises
    ------
    MissingExtra
        When kaleido, which draws it, is not installed.
    MissingError
        When kaleido is there and cannot draw on this machine, or the folder cannot be written.
    """
    require("kaleido", "png")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # kaleido's own threads
            drawn = figure.to_image(format="png", width=width, height=figure.layout.height or 400, scale=scale)
    except (ValueError, RuntimeError, OSError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise MissingError(
            f"the figure could not be drawn as PNG: {reason}", "install kaleido anew with: pip install 'aiquant[png]'"
        ) from error
    try:
        path.write_bytes(drawn)
    except OSError as error:
        raise MissingError(f"{path} cannot be written: {error.strerror}", "choose another folder") from error
    return path
