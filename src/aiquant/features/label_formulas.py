"""Labels written in the language of features: the only formulas that may read the future, and marked so.

``Ref($close, -2)/Ref($close, -1) - 1`` is the return from the next close to the one after it, as Qlib's users write it.
The engine computes it as what it is for a reader at the end of its window: with a lead of h slots the label of a slot t
is the feature ``Ref($close, h-2)/Ref($close, h-1) - 1`` at t + h, of which only the place in the table is moved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.calendars import Sessions
from aiquant.errors import UsageError
from aiquant.features import engine, grid, planning
from aiquant.features.catalogue import Feature, FeatureSet
from aiquant.features.expressions import Expression, apply, walk
from aiquant.features.fields import FIELDS
from aiquant.features.operators import OPERATORS
from aiquant.features.parsing import parse
from aiquant.schemas import LABELS, conform

_LEADS = replace(OPERATORS["Ref"], numbers=("lead",), digest="may lead")
"""``Ref`` with any whole number, in labels alone."""


@dataclass(frozen=True)
class LabelFormula:
    """A label.

    Attributes
    ----------
    formula
        As it was written.
    behind
        What a reader at the end of the window computes: an expression that cannot look ahead.
    first, last
        Slots after the decision that it reads: from the first (1 or more) to the last.
    """

    formula: str
    behind: Expression
    first: int
    last: int


def read(formula: str) -> LabelFormula:
    """Read the formula of a label.

    Raises
    ------
    UsageError
        When it is no expression, reads nothing of the future, or compares symbols or reads sessions there.
    """
    expression = parse(formula, own={"Ref": _LEADS})
    for node in walk([expression]):
        if planning.family(node) in ("cross", "session") or (node.op == "field" and FIELDS[node.name].sessions):
            raise UsageError(
                f"label {formula!r}: {node} cannot be moved to another date",
                "leave it out; labels.target ranks labels or compares them with their date",
            )
        if node.operator is _LEADS and node.numbers[0] != int(node.numbers[0]):
            raise UsageError(f"label {formula!r}: Ref takes a whole number of bars, not {node.numbers[0]:g}")
    last = max(_leads(expression), default=0)
    if last < 1:
        raise UsageError(
            f"label {formula!r} reads nothing of the future, so there is nothing to forecast",
            "read a later bar with a negative number: Ref($close, -2)/Ref($close, -1) - 1",
        )
    return LabelFormula(formula, _behind(expression, last), max(1, min(_leads(expression))), last)


def compute(
    label: LabelFormula, bars: pa.Table, sessions: Sessions, horizon: int, actions: pa.Table | None
) -> pa.Table:
    """The label of every bar for which it is known. **Looks ahead**: never a feature.

    Parameters
    ----------
    bars, sessions, actions
        As for :func:`aiquant.features.engine.compute`; dividends count.
    horizon
        Bars that a position is held: what the table says, whatever the formula reads.

    Returns
    -------
    pyarrow.Table
        Rows of :data:`aiquant.schemas.LABELS`, sorted by symbol and event_time. ``label_start`` and ``label_end`` are
        the closes of the first and the last slot after the decision that the formula reads.
    """
    as_feature = FeatureSet("label", (Feature("value", label.behind, label.formula),))
    told = engine.compute(as_feature, bars, sessions, actions, dividends=True)
    laid = grid.build(bars, sessions)
    row_of = np.full(laid.size, -1, dtype=np.int64)
    row_of[laid.cell] = np.arange(len(laid.cell))
    symbol = np.repeat(np.arange(len(laid.symbols)), np.diff(laid.row_starts))
    target = laid.cell + label.last
    inside = target < laid.starts[1:][symbol] if len(symbol) else np.zeros(0, dtype=bool)
    end = np.where(inside, row_of[np.minimum(target, max(laid.size - 1, 0))], -1) if laid.size else target
    value = told["value"].to_numpy().astype(np.float64)
    known = np.flatnonzero((end >= 0) & np.isfinite(value[end])) if laid.size else np.zeros(0, dtype=np.int64)
    start = laid.slots.closes[laid.slot[laid.cell[known]] + label.first]
    rows = laid.rows.select("symbol", "date", "event_time")[known].with_columns(
        pl.lit(horizon, pl.Int32).alias("horizon"),
        pl.Series("label_start", start).dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
        laid.rows["event_time"][end[known]].alias("label_end"),
        pl.Series("forward_return", value[end[known]]),
    )
    return conform(rows.to_arrow(), LABELS)


def _leads(expression: Expression) -> list[int]:
    """Slots after the decision of all that is read, the window of each rolling operator included."""
    found: dict[str, set[int]] = {}
    for node in walk([expression]):
        below = {lead for arg in node.args for lead in found[arg.digest]}
        if node.op == "field":
            below = {0}
        elif node.operator is _LEADS:
            below = {lead - int(node.numbers[0]) for lead in below}
        elif node.operator is not None and (back := planning.own_slots(node, 1)):
            below |= {lead - back for lead in below}
        found[node.digest] = below
    return sorted(found[expression.digest])


def _behind(expression: Expression, by: int) -> Expression:
    """The expression whose value at a slot is that of ``expression`` ``by`` slots before it."""
    if expression.op == "constant":
        return expression
    if expression.op == "field":
        return apply("Ref", expression, by) if by else expression
    if expression.operator is _LEADS:
        return _behind(expression.args[0], by + int(expression.numbers[0]))
    assert expression.operator is not None
    args = (_behind(arg, by) for arg in expression.args)
    return apply(expression.operator, *args, *expression.numbers)
