"""Any expression of the language, on any bars: causal, independent of where the history starts, and right."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from feature_cases import EVERYTHING, FIELDS, SESSIONS, SLOW, bars, bits, compute, grown, table
from hypothesis import given
from hypothesis import strategies as st

from aiquant.features import catalogue, engine, grid
from aiquant.features.catalogue import Feature, FeatureSet
from aiquant.features.expressions import Expression, walk
from aiquant.features.live import LiveSet
from aiquant.features.operators import OPERATORS
from aiquant.features.parsing import parse
from aiquant.schemas import BARS


@SLOW
@given(expression=grown(EVERYTHING, 9), frame=bars(), partial=st.booleans(), compat=st.booleans(), data=st.data())
def test_the_future_changes_nothing(
    expression: Expression, frame: pl.DataFrame, partial: bool, compat: bool, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, int(frame["slot"].max())))  # type: ignore[arg-type]
    past = frame.filter(pl.col("slot") <= cut)
    if past.is_empty():
        return
    day = SESSIONS.dates[cut].item()
    whole = compute(expression, frame, partial, qlib_compat=compat).filter(pl.col("date") <= day)
    assert bits(whole) == bits(compute(expression, past, partial, qlib_compat=compat))


@SLOW
@given(expression=grown(EVERYTHING, 9), frame=bars(), compat=st.booleans(), partial=st.booleans(), data=st.data())
def test_new_rows_need_the_look_back_alone_where_the_first_bars_are_told(
    expression: Expression, frame: pl.DataFrame, compat: bool, partial: bool, data: st.DataObject
) -> None:
    day = data.draw(st.integers(0, int(frame["slot"].max())))  # type: ignore[arg-type]
    origin = max(0, day - expression.lookback)
    first = pl.DataFrame(table(frame)).sort("event_time").group_by("symbol").first()
    told = grid.History(SESSIONS.dates[origin].item(), first.select("symbol", "date", "event_time"))
    since = SESSIONS.dates[day].item()
    whole = compute(expression, frame, partial, qlib_compat=compat).filter(pl.col("date") >= since)
    later = frame.filter(pl.col("slot") >= origin)
    assert bits(whole) == bits(compute(expression, later, partial, qlib_compat=compat, since=since, history=told))


@SLOW
@given(expression=grown(EVERYTHING, 9), frame=bars(), compat=st.booleans(), partial=st.booleans(), data=st.data())
def test_a_history_that_starts_later_gives_the_same_once_the_look_back_is_inside(
    expression: Expression, frame: pl.DataFrame, compat: bool, partial: bool, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, int(frame["slot"].max())))  # type: ignore[arg-type]
    later = frame.filter(pl.col("slot") >= start)
    if later.is_empty():
        return
    inside = SESSIONS.dates[min(start + expression.lookback, len(SESSIONS) - 1)].item()
    # A cross-section reads the look-back of every symbol, and every symbol has its own from `start` on.
    kept = pl.col("date") >= inside
    whole = compute(expression, frame, partial, qlib_compat=compat).filter(kept)
    part = compute(expression, later, partial, qlib_compat=compat).filter(kept)
    assert whole["symbol"].to_list() == part["symbol"].to_list()
    started = later.group_by("symbol").agg(pl.col("slot").min().alias("first"))
    first = dict(started.iter_rows())
    slots = SESSIONS.index_of(part["date"].to_numpy())
    own = np.array([s - first[n] for s, n in zip(slots, part["symbol"], strict=True)]) >= expression.lookback
    cross = any(OPERATORS[n.op].family == "cross" for n in walk([expression]) if n.op in OPERATORS)
    if cross and not own.all():
        return  # some other symbol of the date is still warming up, and takes part or not accordingly
    a, b = whole["f"].to_numpy(), part["f"].to_numpy()
    assert a[own].tobytes() == b[own].tobytes()
    if not partial and not compat:
        assert np.isnan(b[~own]).all()


@SLOW
@given(expression=grown(EVERYTHING, 9), frame=bars(), partial=st.booleans(), compat=st.booleans(), data=st.data())
def test_new_rows_alone_have_the_values_of_all(
    expression: Expression, frame: pl.DataFrame, partial: bool, compat: bool, data: st.DataObject
) -> None:
    day = SESSIONS.dates[data.draw(st.integers(0, 60))].item()
    whole = compute(expression, frame, partial, qlib_compat=compat).filter(pl.col("date") >= day)
    assert bits(whole) == bits(compute(expression, frame, partial, qlib_compat=compat, since=day))


@SLOW
@given(expression=grown(EVERYTHING, 9), frame=bars(), partial=st.booleans(), compat=st.booleans(), data=st.data())
def test_bar_by_bar_gives_the_values_of_batch(
    expression: Expression, frame: pl.DataFrame, partial: bool, compat: bool, data: st.DataObject
) -> None:
    """Slots come one by one or some at a time, rows in any order, and the process may end and go on in between."""
    chosen = FeatureSet("t", (Feature("f", expression, ""),), partial_windows=partial)
    live = LiveSet(chosen, SESSIONS, "1d", qlib_compat=compat)
    cuts = data.draw(st.lists(st.integers(0, 60), max_size=40).map(lambda at: sorted({*at, *range(0, 60, 3)})))
    stop = data.draw(st.integers(0, 50))
    rows = []
    for first, last in zip([-1, *cuts], [*cuts, 999], strict=True):
        some = frame.filter((pl.col("slot") > first) & (pl.col("slot") <= last))
        rows.append(live.push(table(some.sample(fraction=1.0, shuffle=True, seed=stop))))
        if first <= stop < last:
            live = LiveSet.load(live.save(), chosen, SESSIONS, "1d", qlib_compat=compat)
    got = pl.DataFrame(pl.from_arrow(pa.concat_tables(rows))).sort("symbol", "event_time").drop("event_time")
    whole = compute(expression, frame, partial, qlib_compat=compat)
    assert got.drop("f").equals(whole.drop("f"))
    assert bits(got) == bits(whole)


@SLOW
@given(expression=grown(sorted(OPERATORS), 9))
def test_text_and_back(expression: Expression) -> None:
    assert parse(str(expression)).digest == expression.digest


@pytest.fixture(scope="module")
def steady() -> pl.DataFrame:
    """One symbol without gaps, long enough for every set of the catalogue."""
    rng = np.random.default_rng(9)
    n = 270
    close = 50 * np.exp(rng.normal(0, 0.01, n).cumsum())
    opened = close * (1 + rng.normal(0, 0.003, n))
    high, low = np.maximum(close, opened) * 1.004, np.minimum(close, opened) * 0.996
    volume = np.round(np.exp(rng.normal(12, 0.4, n)))
    return pl.DataFrame(
        {"slot": np.arange(n), "open": opened, "high": high, "low": low, "close": close, "volume": volume}
    ).with_columns(pl.lit("A").alias("symbol"))


def last_row(chosen: FeatureSet, frame: pl.DataFrame) -> np.ndarray:
    result = engine.compute(chosen, table(frame).set_column(*_vwap(frame)), SESSIONS)
    last = np.asarray(result["event_time"]) == np.asarray(result["event_time"]).max()
    return np.array([np.asarray(result[f.name])[last][-1] for f in chosen.features])


def _vwap(frame: pl.DataFrame) -> tuple[int, str, pa.Array]:
    return BARS.schema.names.index("vwap"), "vwap", ((frame["high"] + frame["low"]) / 2).to_arrow()


def crowd(steady: pl.DataFrame) -> pl.DataFrame:
    """Four symbols, of which the first is ``steady``."""
    rng = np.random.default_rng(4)
    others = [
        steady.with_columns(pl.lit(name).alias("symbol"), *(pl.col(c) * noise for c in FIELDS))
        for name in "BCD"
        for noise in [pl.Series(np.exp(rng.normal(0, 0.02, steady.height)))]
    ]
    return pl.concat([steady, *others])


@pytest.mark.parametrize("name", ["alpha101", "calendar", "market"])
def test_no_feature_reads_further_back_than_it_says(name: str, steady: pl.DataFrame) -> None:
    chosen, frame, last = catalogue.get(name), crowd(steady), steady.height - 1
    base = last_row(chosen, frame)
    assert np.isfinite(base).any()
    depths = sorted({f.lookback + 1 for f in chosen.features if f.lookback < last})
    for depth in depths[:: 1 + len(depths) // 5]:
        there = (pl.col("slot") == last - depth) & (pl.col("symbol") != "C")
        powers = zip(FIELDS, (0.7, 1.3, 1.1, 1.0, -0.9), strict=True)
        shocked = frame.with_columns(pl.when(there).then(pl.col(c) * 1.7**p).otherwise(pl.col(c)) for c, p in powers)
        changed = last_row(chosen, shocked) != base
        for k, feature in enumerate(chosen.features):
            assert not changed[k] or np.isnan(base[k]) or feature.lookback >= depth, feature.name


@pytest.mark.parametrize("name", ["alpha158", "core"])
def test_the_stated_look_back_is_the_observed_one(name: str, steady: pl.DataFrame) -> None:
    chosen = catalogue.get(name)
    base = last_row(chosen, steady)
    last = steady.height - 1
    seen: dict[int, np.ndarray] = {}
    depths = {f.lookback for f in chosen.features} | {f.lookback + 1 for f in chosen.features}
    for depth in depths:
        if depth > last:
            continue
        changed = np.zeros(len(base), dtype=bool)
        for factor in (0.3, 3.0):
            # not by one factor for all fields, to which ratios within a bar are blind
            powers = zip(FIELDS, (0.7, 1.3, 1.1, 1.0, -0.9), strict=True)
            there = pl.col("slot") == last - depth
            shocked = steady.with_columns(
                pl.when(there).then(pl.col(c) * factor**p).otherwise(pl.col(c)) for c, p in powers
            )
            changed |= last_row(chosen, shocked) != base
        seen[depth] = changed
    for k, feature in enumerate(chosen.features):
        assert seen[feature.lookback][k], f"{feature.name} does not read {feature.lookback} back"
        if feature.lookback + 1 in seen:
            assert not seen[feature.lookback + 1][k], f"{feature.name} reads further back than it says"


@pytest.mark.parametrize("name", catalogue.names())
def test_no_feature_of_the_catalogue_sees_the_future(name: str, steady: pl.DataFrame) -> None:
    chosen = catalogue.get(name)
    other = steady.with_columns(pl.lit("B").alias("symbol"), pl.col("close") * 1.01).filter(pl.col("slot") % 7 != 3)
    frame = pl.concat([steady, other])
    whole = pl.DataFrame(pl.from_arrow(engine.compute(chosen, table(frame), SESSIONS)))
    for cut in (0, 5, 61, 200, 262):
        past = pl.DataFrame(pl.from_arrow(engine.compute(chosen, table(frame.filter(pl.col("slot") <= cut)), SESSIONS)))
        kept = whole.filter(pl.col("date") <= SESSIONS.dates[cut].item())
        for feature in chosen.features:
            assert kept[feature.name].to_numpy().tobytes() == past[feature.name].to_numpy().tobytes(), feature.name
