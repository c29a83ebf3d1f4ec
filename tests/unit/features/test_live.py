"""A set bar by bar: equal to batch, refusals, what is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.errors import DataError
from aiquant.features import catalogue, engine
from aiquant.features.catalogue import FeatureSet, define
from aiquant.features.live import LiveSet
from aiquant.schemas import BARS, CORPORATE_ACTIONS, conform

DAYS = calendars.sessions("XNYS", date(2019, 1, 2), date(2022, 12, 30))


def one_by_one(live: LiveSet, bars: pa.Table) -> pl.DataFrame:
    """The rows of all bars, each slot pushed on its own."""
    frame = pl.DataFrame(pl.from_arrow(bars)).sort("event_time", "symbol", descending=[False, True])
    rows = [live.push(part.to_arrow().cast(bars.schema)) for part in frame.partition_by("event_time")]
    return pl.DataFrame(pl.from_arrow(pa.concat_tables(rows))).sort("symbol", "event_time")


def same(a: pl.DataFrame, b: pl.DataFrame) -> None:
    """All rows, and all float32 to the last bit but for the kind of NaN."""
    assert a.columns == b.columns
    for name in a.columns:
        x, y = a[name], b[name]
        if x.dtype == pl.Float32:
            assert x.dtype == y.dtype
            x, y = (v.fill_nan(-1.25e30).to_numpy().view(np.uint32) for v in (x, y))
            np.testing.assert_array_equal(x, y, err_msg=name)
        else:
            assert x.equals(y), name


def batch(chosen: FeatureSet, bars: pa.Table, sessions: calendars.Sessions = DAYS, **more: Any) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(engine.compute(chosen, bars, sessions, **more)))


@pytest.mark.parametrize(
    "name, compat", [*((name, False) for name in catalogue.names()), ("alpha158", True), ("core", True)]
)
def test_every_set_of_the_catalogue_bar_by_bar(name: str, compat: bool, panel: pa.Table) -> None:
    chosen = catalogue.get(name)
    live = LiveSet(chosen, DAYS, "1d", qlib_compat=compat)
    same(one_by_one(live, panel), batch(chosen, panel, qlib_compat=compat))


def split(symbol: str, day: date, ratio: float, kind: str = "split", known: date | None = None) -> dict[str, Any]:
    moment = pl.datetime(day.year, day.month, day.day, 14, 30, time_zone="UTC")
    when = pl.select(moment).item()
    return {
        "symbol": symbol,
        "kind": kind,
        "date": day,
        "event_time": when,
        "known_from": when,
        "ratio": ratio,
        "amount": ratio,
        "source": "test",
    }


def actions(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=CORPORATE_ACTIONS.schema)


def test_splits_are_applied_as_in_batch(panel: pa.Table) -> None:
    told = actions(
        split("AAA", date(2019, 6, 3), 3.0),  # before its first bar
        split("AAA", date(2020, 2, 3), 7.0),
        split("AAA", date(2020, 4, 18), 3.0),  # in the suspension, on a Saturday
        split("BBB", date(2020, 3, 20), 1 / 3),
        split("CCC", date(2020, 3, 20), 0.4, kind="dividend"),
        split("ZZZ", date(2020, 3, 20), 2.0),
    )
    chosen = catalogue.get("core")
    live = LiveSet(chosen, DAYS, "1d", actions=told)
    got = one_by_one(live, panel)
    same(got, batch(chosen, panel, actions=told))
    assert not got["return_5"].equals(one_by_one(LiveSet(chosen, DAYS, "1d"), panel)["return_5"])


def test_a_split_that_is_announced_later_and_one_that_comes_too_late(panel: pa.Table) -> None:
    chosen = catalogue.get("core")
    moment = pl.DataFrame(pl.from_arrow(panel))["event_time"].unique().sort()
    early = panel.filter(pa.compute.field("event_time") <= moment[60])
    late = panel.filter(pa.compute.field("event_time") > moment[60])
    coming = actions(split("AAA", moment[70].date(), 4.0))
    live = LiveSet(chosen, DAYS, "1d")
    first = one_by_one(live, early)
    assert live.use_actions(coming) is None
    whole = pl.concat([first, one_by_one(live, late)]).sort("symbol", "event_time")
    same(whole, batch(chosen, panel, actions=coming))
    assert live.use_actions(None) == moment[70].date(), "it was applied"
    more = actions(split("AAA", moment[70].date(), 4.0), split("BBB", moment[65].date(), 2.0))
    assert live.use_actions(more) == moment[65].date()
    again = LiveSet.load(live.save(), chosen, DAYS, "1d")
    assert again.use_actions(None) == moment[70].date() and again.use_actions(coming) is None
    assert again.save() == live.save()


def test_a_split_of_bars_that_do_not_say_what_they_hold(make_bars: Callable[..., pa.Table]) -> None:
    bars = make_bars({"A": {"at": [0, 1, 2], "close": [1, 2, 3]}}, adjustment="unknown")
    sessions = calendars.sessions("XNYS", date(2020, 1, 2), date(2020, 1, 6))
    live = LiveSet(
        FeatureSet("t", define([("f", "$close", "", "")])), sessions, "1d", actions(split("A", date(2020, 1, 3), 2))
    )
    live.push(bars.slice(0, 1))
    with pytest.raises(DataError, match="bars of A do not say whether they hold the split of 2020-01-03"):
        live.push(bars.slice(1, 1))


def test_a_gap_longer_than_all_memory_costs_no_more_than_the_memory(make_bars: Callable[..., pa.Table]) -> None:
    formulas = ["Mean($close, 3)", "Ref($close, 2)", "Count($close, 5)", "EMA(Count($close, 2), 0.9)"]
    chosen = FeatureSet("t", define([(f"f{k}", text, "", "") for k, text in enumerate(formulas)]), partial_windows=True)
    at = [0, 1, 2, 300, 301]
    bars = make_bars({"A": {"at": at, "close": [1, 2, 4, 8, 16]}})
    live = LiveSet(chosen, DAYS.__class__("XNYS", DAYS.dates[252:], DAYS.opens[252:], DAYS.closes[252:], 252.0), "1d")
    same(one_by_one(live, bars), batch(chosen, bars))


def test_real_minutes(shared_data: Path) -> None:
    raw = pl.read_parquet(shared_data / "minute_us_2019w07.parquet").filter(
        (pl.col("interval") == "1min") & pl.col("symbol").is_in(["AAPL", "TRV", "UGA"])
    )
    stamp = pl.col("end_utc").dt.cast_time_unit("us")
    frame = raw.select(
        "symbol",
        pl.lit("1m").alias("interval"),
        stamp.dt.strftime("%Y-%m-%d").alias("period"),
        stamp.dt.date().alias("date"),
        stamp.alias("event_time"),
        stamp.alias("known_from"),
        *("open", "high", "low", "close"),
        pl.col("volume").cast(pl.Float64),
        pl.lit("none").alias("adjustment"),
        pl.lit("shared").alias("source"),
    ).filter(pl.col("date") <= date(2019, 2, 12))
    bars = conform(frame.to_arrow(), BARS)
    chosen = catalogue.get("core")
    same(one_by_one(LiveSet(chosen, DAYS, "1m"), bars), batch(chosen, bars))


def test_what_it_does_not_take(panel: pa.Table) -> None:
    chosen = catalogue.get("core")
    live = LiveSet(chosen, DAYS, "1d")
    frame = pl.DataFrame(pl.from_arrow(panel)).sort("event_time")
    first, second = (part.to_arrow().cast(panel.schema) for part in frame.partition_by("event_time")[:2])
    live.push(second)
    before = live.save()
    at = panel.schema.names.index
    wrong = [
        (first, "not behind the newest slot"),
        (second, "not behind the newest slot"),
        (
            panel.slice(60, 1).set_column(at("interval"), "interval", pa.array(["1m"])),
            "of interval 1m among those of 1d",
        ),
        (panel.slice(60, 1).set_column(at("date"), "date", pa.array([date(2020, 5, 3)])), "a day without a session"),
        (pa.concat_tables([panel.slice(60, 1)] * 2), "two bars of AAA"),
    ]
    for bars, message in wrong:
        with pytest.raises(DataError, match=message):
            live.push(bars)
        assert live.save() == before
    assert live.push(panel.slice(0, 0)).num_rows == 0


def test_a_state_is_refused_when_it_is_another_or_damaged(panel: pa.Table) -> None:
    chosen = catalogue.get("core")
    live = LiveSet(chosen, DAYS, "1d")
    one_by_one(live, panel.slice(0, 50))
    content = live.save()
    flipped = bytearray(content)
    flipped[-5] ^= 1
    for bad, message in (
        (bytes(flipped), "digest is wrong"),
        (content[:-8], "digest is wrong"),
        (b"", "no state"),
        (b"\x80\x04" + content, "no state"),
    ):
        with pytest.raises(DataError, match=message):
            LiveSet.load(bad, chosen, DAYS, "1d")
    with pytest.raises(DataError, match="made with version .* not"):
        LiveSet.load(content, catalogue.get("alpha158"), DAYS, "1d")
    with pytest.raises(DataError, match="made with interval 1d, not 1m"):
        LiveSet.load(content, chosen, DAYS, "1m")
    with pytest.raises(DataError, match="made with qlib_compat False, not True"):
        LiveSet.load(content, chosen, DAYS, "1d", qlib_compat=True)
    with pytest.raises(DataError, match="no session"):
        LiveSet.load(content, chosen, calendars.sessions("XNYS", date(2021, 1, 4), date(2021, 3, 1)), "1d")


def test_a_state_goes_on_with_sessions_that_begin_elsewhere(panel: pa.Table) -> None:
    """The calendar is read anew at each start; slots are then numbered from another session on."""
    chosen = catalogue.get("core")
    moments = pl.DataFrame(pl.from_arrow(panel))["event_time"].unique().sort()
    live = LiveSet(chosen, DAYS, "1d")
    first = one_by_one(live, panel.filter(pa.compute.field("event_time") <= moments[90]))
    later = calendars.sessions("XNYS", date(2020, 3, 2), date(2021, 12, 31))
    live = LiveSet.load(live.save(), chosen, later, "1d")
    rest = one_by_one(live, panel.filter(pa.compute.field("event_time") > moments[90]))
    same(pl.concat([first, rest]).sort("symbol", "event_time"), batch(chosen, panel))


def test_memory_does_not_grow_with_history(panel: pa.Table) -> None:
    chosen = catalogue.get("core")
    live = LiveSet(chosen, DAYS, "1d")
    frame = pl.DataFrame(pl.from_arrow(panel)).sort("event_time").partition_by("event_time")
    sizes = set()
    for part in frame:
        live.push(part.to_arrow().cast(panel.schema))
        if len(live.symbols) == 4:
            sizes.add(live.nbytes)
    assert len(sizes) == 1 and sizes.pop() < 4 * 8 * 300 * len(chosen.features)
