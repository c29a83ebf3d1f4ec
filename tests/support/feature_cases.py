"""Any expression and any bars: strategies for tests of whatever computes features."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from aiquant import calendars
from aiquant.features import engine, grid
from aiquant.features.catalogue import Feature, FeatureSet
from aiquant.features.expressions import Expression, apply, constant, field
from aiquant.features.operators import OPERATORS
from aiquant.features.own import operator
from aiquant.schemas import BARS, conform

SESSIONS = calendars.sessions("XNYS", date(2020, 1, 2), date(2021, 12, 31))
FIELDS = ("open", "high", "low", "close", "volume")
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@operator(smallest=2, meaning="share of slots above the one before")
def UpShare(window):  # type: ignore[no-untyped-def]
    up = 0
    for k in range(1, window.size):
        if window[k] > window[k - 1]:
            up += 1
    return up / (window.size - 1)


KNOWN = OPERATORS | {"UpShare": UpShare}
"""All operators, and one of one's own."""


def table(frame: pl.DataFrame, interval: str = "1d") -> pa.Table:
    """Rows of BARS; ``slot`` counts on the axis of :data:`SESSIONS` and the interval."""
    axis = grid.Axis(SESSIONS, interval)
    slot = frame["slot"].to_numpy()
    moment = pl.Series(axis.slots.closes[slot]).dt.replace_time_zone("UTC")
    text = {"interval": interval, "period": "2020", "adjustment": "none", "source": "t"}
    return conform(
        frame.select("symbol", *FIELDS)
        .with_columns(
            pl.Series("date", SESSIONS.dates[np.searchsorted(axis.first, slot, side="right") - 1]),
            moment.alias("event_time"),
            moment.alias("known_from"),
            *(pl.lit(v).alias(k) for k, v in text.items()),
        )
        .to_arrow(),
        BARS,
    )


@st.composite
def bars(draw: st.DrawFn, longest: int = 40, whole_numbers: bool = False) -> pl.DataFrame:
    """Bars of one to three symbols by slot: gaps, nulls, ties, flat stretches, zero volumes, late listings."""
    frames = []
    for symbol in "ABC"[: draw(st.integers(1, 3))]:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        first, n = draw(st.integers(0, 12)), draw(st.integers(1, longest))
        there = rng.random(n) >= draw(st.sampled_from([0.0, 0.1, 0.5]))
        there[0] = True
        if whole_numbers:
            columns = {name: rng.integers(0, 7, n).astype(float) for name in FIELDS}
        else:
            close = np.round(np.exp(rng.normal(0, 0.05, n).cumsum()) * draw(st.sampled_from([1e-3, 20.0, 1e5])), 4)
            close[n // 3 : n // 2] = close[n // 3] if n > 3 else close[0]
            columns = {name: close * (1 + np.round(rng.normal(0, 0.02, n), 2)) for name in FIELDS[:3]} | {
                "close": close
            }
            columns["volume"] = np.round(np.exp(rng.normal(8, 3, n))) * (rng.random(n) > 0.1)
        frame = pl.DataFrame({"slot": np.arange(first, first + n), **columns}).with_columns(
            pl.lit(symbol).alias("symbol")
        )
        lost = pl.Series(rng.random(n) < draw(st.sampled_from([0.0, 0.2])))
        frames.append(
            frame.with_columns(pl.when(lost).then(None).otherwise("open").alias("open")).filter(pl.Series(there))
        )
    return pl.concat(frames)


def leaves() -> st.SearchStrategy[Expression]:
    """Fields."""
    return st.sampled_from(FIELDS).map(field)


def called(name: str, inner: st.SearchStrategy[Expression], window: int) -> st.SearchStrategy[Expression]:
    """The operator of that name, applied to expressions drawn from ``inner`` and numbers."""
    numbers = {
        "quantile": st.sampled_from([0.0, 0.25, 0.8]),
        "tail": st.sampled_from([0.0, 0.1, 0.5]),
        "buckets": st.sampled_from([2.0, 5.0]),
        "span": st.sampled_from([0.7, 1.0, 2.0]),
        "shift": st.integers(1, window).map(float),
        "sessions": st.integers(1, window).map(float),
        "window": st.integers(4, window).map(float),
    }
    known = KNOWN[name]
    either = st.one_of(inner, inner, st.integers(-2, 3).map(constant))
    args = [inner, *([either] * (known.series - 1)), *(numbers[kind] for kind in known.numbers)]
    return st.tuples(*args).map(lambda args: apply(known, *args))


def grown(operators: list[str], window: int) -> st.SearchStrategy[Expression]:
    """Expressions of the given operators over fields and small numbers."""
    return st.recursive(
        leaves(),
        lambda inner: st.sampled_from(operators).flatmap(lambda name: called(name, inner, window)),
        max_leaves=5,
    )


EVERYTHING = sorted(KNOWN)
EXACT = ["Add", "Sub", "Mul", "Greater", "Less", "Gt", "Ge", "Lt", "Le", "Eq", "Ne", "And", "Or", "Not", "If", "Abs"]
EXACT += ["Sign", "Neg", "Ref", "Delta", "Sum", "Count", "Max", "Min", "IdxMax", "IdxMin"]


def compute(
    expression: Expression, frame: pl.DataFrame, partial: bool, interval: str = "1d", **more: Any
) -> pl.DataFrame:
    """The engine's values, in column ``f``."""
    chosen = FeatureSet("t", (Feature("f", expression, ""),), partial_windows=partial)
    bars = table(frame, interval)
    return pl.DataFrame(pl.from_arrow(engine.compute(chosen, bars, SESSIONS, **more))).drop("event_time")


def bits(frame: pl.DataFrame) -> bytes:
    """The values of ``f`` as they stand in memory."""
    return np.asarray(frame["f"].to_numpy(), dtype=np.float32).tobytes()
