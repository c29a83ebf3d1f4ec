"""Every operator, below and above any others, on any bars: what the engine gives is what the definitions say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from feature_cases import EVERYTHING, EXACT, KNOWN, SESSIONS, bars, called, compute, grown, leaves, table
from feature_oracle import Place, expected
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiquant.features import engine, grid, rolling
from aiquant.features.expressions import Expression, walk

FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(expression: Expression, frame: pl.DataFrame, interval: str, partial: bool, compat: bool) -> None:
    """Each node of the graph is compared on the very values of its arguments, so that errors cannot hide or grow."""
    laid = grid.build(table(frame, interval), SESSIONS)
    policy = rolling.Policy(partial=partial or compat, compat=compat)
    work = engine._Work(laid, np.arange(laid.rows.height), policy, 1)
    nodes = walk([expression])
    work.stage_cross_sections([expression])
    columns = np.empty((len(nodes), laid.size))
    work.run_columns(nodes, columns)
    values = dict(zip((node.digest for node in nodes), columns, strict=True))
    there = np.zeros(laid.size, dtype=bool)
    there[laid.cell] = True
    place = Place(laid.starts.tolist(), laid.slot.tolist(), laid.axis.first.tolist(), there.tolist())
    for node in nodes:
        if node.operator is None:
            continue
        args = {n.digest: heads(n, values, laid, policy, node) for n in nodes}
        for cell, told in enumerate(expected(node, args, place, policy.partial, compat)):
            got = float(values[node.digest][cell])
            assert told.allows(got), f"{node} in cell {cell}: {got!r}, not {told}"
    whole = compute(expression, frame, partial, interval, qlib_compat=compat)["f"].to_numpy()
    np.testing.assert_array_equal(whole, written(expression, values, laid, policy))


def heads(
    node: Expression,
    values: dict[str, np.ndarray],
    laid: grid.Grid,
    policy: rolling.Policy,
    reader: Expression,
) -> list[float]:
    """Values as their reader sees them: a comparison of symbols sees none that have not all of their history."""
    own = values[node.digest]
    assert reader.operator is not None
    if reader.operator.family == "cross" and not policy.partial:
        own = np.where(laid.age() < node.slots(laid.axis.per_session), np.nan, own)
    result: list[float] = own.tolist()
    return result


def written(root: Expression, values: dict[str, np.ndarray], laid: grid.Grid, policy: rolling.Policy) -> np.ndarray:
    """The column of a feature, given its value in each cell."""
    with np.errstate(over="ignore"):
        column = values[root.digest][laid.cell].astype(np.float32)
    if not policy.compat:
        column[~np.isfinite(column)] = np.nan
    if not policy.partial:
        column[laid.age()[laid.cell] < root.slots(laid.axis.per_session)] = np.nan
    return column


@pytest.mark.parametrize("name", EVERYTHING)
@FEW
@given(data=st.data(), partial=st.booleans(), compat=st.booleans(), interval=st.sampled_from(["1d", "1h"]))
def test_every_operator_is_what_its_definition_says(
    name: str, data: st.DataObject, partial: bool, compat: bool, interval: str
) -> None:
    whole_numbers = data.draw(st.booleans())
    inner = st.one_of(leaves(), grown(EXACT if whole_numbers else EVERYTHING, 9))
    expression = data.draw(called(name, inner, 9))
    check(expression, data.draw(bars(24, whole_numbers)), interval, partial, compat)


def test_nothing_is_left_out() -> None:
    assert set(KNOWN) == set(EVERYTHING)
