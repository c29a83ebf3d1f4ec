"""The look that all figures share: colours, layout, and how long series are thinned before they are drawn."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from numpy.typing import NDArray

MAX_POINTS = 2_500
"""Points of one figure's series, at most; longer ones are thinned for drawing, see :func:`thin`."""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Palette:
    """Colours by their role. Blue against orange is told apart with every common colour blindness.

    A figure is made with :data:`LIGHT`; who shows it on a dark page swaps each colour for the one of :data:`DARK` in
    the same role, so no colour may stand in two roles of one palette.
    """

    paper: str
    ink: str
    faint: str
    grid: str
    zero: str
    strategy: str
    strategy_fill: str
    benchmark_1: str
    benchmark_2: str
    benchmark_3: str
    gain: str
    loss: str
    loss_fill: str
    heat_gain: str
    heat_middle: str
    heat_loss: str
    train: str
    purge: str
    test: str
    embargo: str

    @property
    def benchmarks(self) -> tuple[str, str, str]:
        """Muted colours for what the strategy is held against."""
        return (self.benchmark_1, self.benchmark_2, self.benchmark_3)


LIGHT = Palette(
    paper="#ffffff",
    ink="#1c2430",
    faint="#5a6575",
    grid="#e7eaf0",
    zero="#b4bcc8",
    strategy="#0b62b4",
    strategy_fill="rgba(11,98,180,0.13)",
    benchmark_1="#7c8694",
    benchmark_2="#ab8455",
    benchmark_3="#8b7aa8",
    gain="#2f74b8",
    loss="#c4571a",
    loss_fill="rgba(196,87,26,0.13)",
    heat_gain="#2a6cab",
    heat_middle="#f3f5f8",
    heat_loss="#bd4f15",
    train="#a9c3df",
    purge="#e0a63a",
    test="#0c5fae",
    embargo="#c98a9b",
)
DARK = Palette(
    paper="#161b23",
    ink="#e6eaf0",
    faint="#a0abba",
    grid="#2a323e",
    zero="#566173",
    strategy="#5fb0f5",
    strategy_fill="rgba(95,176,245,0.17)",
    benchmark_1="#98a3b1",
    benchmark_2="#c9a274",
    benchmark_3="#ab9bc9",
    gain="#4b97da",
    loss="#e98545",
    loss_fill="rgba(233,133,69,0.17)",
    heat_gain="#2468a8",
    heat_middle="#222933",
    heat_loss="#b14c1b",
    train="#3a5470",
    purge="#c99232",
    test="#5eaff4",
    embargo="#a76a7b",
)


def light_to_dark() -> dict[str, str]:
    """Each colour of the light palette → the colour of the dark one in the same role."""
    return dict(zip(astuple(LIGHT), astuple(DARK), strict=True))


def text(value: object) -> str:
    """A value as literal text of a figure: plotly reads tags such as ``<a href>`` in the texts it is given."""
    return html.escape(str(value), quote=False)


def blank(title: str, height: int = 360, **layout: Any) -> go.Figure:
    """An empty figure in the house's look, with ``title`` as its accessible name and PNG heading."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template="none",
        title={
            "text": text(title),
            "font": {"size": 15},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 14},
        },
        height=height,
        margin={"l": 58, "r": 18, "t": 64, "b": 34},
        font={"family": FONT, "size": 12, "color": LIGHT.ink},
        paper_bgcolor=LIGHT.paper,
        plot_bgcolor=LIGHT.paper,
        hovermode="x unified",
        hoverlabel={"bgcolor": LIGHT.paper, "bordercolor": LIGHT.zero, "font": {"color": LIGHT.ink, "size": 12}},
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "font": {"size": 12}},
        dragmode="zoom",
        bargap=0.25,
    )
    axis = {
        "gridcolor": LIGHT.grid,
        "linecolor": LIGHT.zero,
        "zerolinecolor": LIGHT.zero,
        "zerolinewidth": 1,
        "tickfont": {"color": LIGHT.faint, "size": 11},
        "title": {"font": {"color": LIGHT.faint, "size": 12}},
        "automargin": True,
    }
    figure.update_xaxes(**axis, showgrid=False, showline=True, ticks="outside", tickcolor=LIGHT.zero, ticklen=4)
    figure.update_yaxes(**axis)
    figure.update_layout(**layout)
    return figure


def line(position: int) -> dict[str, Any]:
    """The line of the strategy (position 0: strong) or of a benchmark (muted, each with a dash of its own)."""
    if position == 0:
        return {"color": LIGHT.strategy, "width": 2.4}
    dashes = ("solid", "dash", "dot")
    return {"color": LIGHT.benchmarks[(position - 1) % 3], "width": 1.5, "dash": dashes[(position - 1) % 3]}


def bar_colour(position: int) -> str:
    """The colour of the strategy's bars (position 0) or of a benchmark's."""
    return LIGHT.strategy if position == 0 else LIGHT.benchmarks[(position - 1) % 3]


def bar_gap(bars: int) -> float:
    """Share of the room that stays empty between so many bars, so that a few do not become walls."""
    return 0.8 if bars <= 2 else 0.5 if bars <= 6 else 0.25


def rounded(values: NDArray[np.float64], digits: int = 6) -> list[float | None]:
    """Values to ``digits`` significant digits for drawing; what is not finite is left out (None)."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values.tolist()]


def thin(columns: Sequence[NDArray[np.float64]], limit: int = MAX_POINTS) -> NDArray[np.int64]:
    """Rows to keep so that drawn lines look as if all rows were there.

    Rows are cut into equal stretches; of each, the rows of every column's lowest and highest value are kept, and the
    first and last row of all, so that no extreme is lost.

    Parameters
    ----------
    columns
        One or more arrays of one length n; NaN where a series has no value.
    limit
        Rows to keep, at most (at least two for each column).

    Returns
    -------
    Positions in ascending order, ``int64``; all n of them where n does not exceed ``limit``.
    """
    rows = len(columns[0]) if columns else 0
    if rows <= limit:
        return np.arange(rows, dtype=np.int64)
    stretches = max(1, (limit - 2) // (2 * len(columns)))
    keep = {0, rows - 1}
    for part in np.array_split(np.arange(rows), stretches):
        for column in columns:
            values = column[part]
            if np.isfinite(values).any():
                keep.add(int(part[np.nanargmin(values)]))
                keep.add(int(part[np.nanargmax(values)]))
    return np.array(sorted(keep), dtype=np.int64)
