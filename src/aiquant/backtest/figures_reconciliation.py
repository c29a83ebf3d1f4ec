"""The figure of a reconciliation: an account beside the backtest of the same days, and what lies between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from aiquant.backtest.figures_style import LIGHT, blank, line, rounded, text

if TYPE_CHECKING:
    import plotly.graph_objects as go


def reconciliation(curve: pl.DataFrame, account: str) -> go.Figure:
    """Equity of account and backtest above, their difference below.

    Parameters
    ----------
    curve
        ``date, equity, backtest, difference``, in currency.
    """
    figure = blank(f"Account {text(account)} beside the backtest of the same days", height=520)
    days = curve["date"].to_list()
    for position, (name, column) in reversed(list(enumerate((("account", "equity"), ("backtest", "backtest"))))):
        values = rounded(curve[column].to_numpy())
        figure.add_scatter(x=days, y=values, name=name, line=line(position), mode="lines")
    apart = rounded(curve["difference"].to_numpy())
    figure.add_bar(x=days, y=apart, name="difference", marker_color=LIGHT.loss, yaxis="y2", showlegend=False)
    figure.update_layout(
        yaxis={"domain": [0.34, 1.0], "tickformat": ",.0f"},
        yaxis2={"domain": [0.0, 0.24], "anchor": "x", "tickformat": ",.2f", "title": {"text": "difference"}},
        legend={"traceorder": "reversed"},
    )
    return figure
