"""Labels on any bars: what was known at a time is never revised, and all that could be known by then is there."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from aiquant import calendars
from aiquant.features import barriers, labels
from aiquant.schemas import BARS, conform

SESSIONS = calendars.sessions("XNYS", date(2020, 1, 2), date(2021, 12, 31))


def table(there: dict[str, list[int]], seed: int) -> pa.Table:
    """Bars of each symbol in the given slots, at random prices that depend on symbol and slot alone."""
    rows = []
    for symbol, slots in there.items():
        for slot in slots:
            rng = np.random.default_rng([seed, slot, ord(symbol)])
            moment = SESSIONS.closes[slot]
            rows.append((symbol, SESSIONS.dates[slot].item(), moment.item(), *np.round(rng.uniform(5, 20, 2), 2)))
    frame = pl.DataFrame(rows, schema=["symbol", "date", "event_time", "open", "close"], orient="row")
    time = pl.col("event_time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    frame = frame.with_columns(
        time.alias("event_time"),
        time.alias("known_from"),
        pl.lit("1d").alias("interval"),
        pl.lit("2020").alias("period"),
        pl.lit("none").alias("adjustment"),
        pl.lit("test").alias("source"),
    )
    return conform(frame.to_arrow(), BARS)


slots = st.lists(st.integers(0, 70), min_size=1, max_size=60, unique=True).map(sorted)


@settings(max_examples=80, deadline=None)
@given(
    one=slots,
    two=slots,
    seed=st.integers(0, 10_000),
    horizon=st.integers(1, 12),
    fill=st.sampled_from(["next-open", "close"]),
    cut=st.integers(1, 70),
)
def test_known_labels_are_never_revised(
    one: list[int], two: list[int], seed: int, horizon: int, fill: labels.Fill, cut: int
) -> None:
    there = {"A": one, "B": two, "M": list(range(71))}  # M trades in every slot
    whole = pl.DataFrame(pl.from_arrow(labels.forward_returns(table(there, seed), SESSIONS, horizon, fill)))
    known = {symbol: [s for s in own if s <= cut] for symbol, own in there.items()}
    past = {symbol: own for symbol, own in known.items() if own}
    then = pl.DataFrame(pl.from_arrow(labels.forward_returns(table(past, seed), SESSIONS, horizon, fill)))
    by_then = pl.lit(SESSIONS.closes[cut].item()).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    assert then.sort("symbol", "event_time").equals(whole.filter(pl.col("label_end") <= by_then))
    assert (whole["label_start"] > whole["event_time"]).all()
    assert (whole["label_end"] > whole["label_start"]).all()


@settings(max_examples=40, deadline=None)
@given(
    gone=st.sets(st.integers(66, 110), max_size=30),
    seed=st.integers(0, 10_000),
    horizon=st.integers(1, 12),
    upper=st.none() | st.floats(0.1, 3),
    lower=st.none() | st.floats(0.1, 3),
    cut=st.integers(66, 110),
)
def test_known_barrier_labels_are_never_revised(
    gone: set[int], seed: int, horizon: int, upper: float | None, lower: float | None, cut: int
) -> None:
    there = {"A": [s for s in range(111) if s not in gone], "M": list(range(111))}

    def made(until: int) -> pl.DataFrame:
        own = {symbol: [s for s in slots if s <= until] for symbol, slots in there.items()}
        return pl.DataFrame(barriers.triple_barrier(table(own, seed), SESSIONS, horizon, upper, lower))

    whole, then = made(110), made(cut)
    by_then = pl.lit(SESSIONS.closes[cut].item()).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    assert then.equals(whole.filter(pl.col("label_end") <= by_then))
    held = pl.DataFrame(labels.forward_returns(table(there, seed), SESSIONS, horizon))
    both = whole.join(held, on=["symbol", "event_time"], suffix="_plain")
    assert (both["label_end"] <= both["label_end_plain"]).all()  # a barrier ends a label early, never late
