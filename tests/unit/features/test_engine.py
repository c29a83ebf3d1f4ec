from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.features import catalogue, engine, planning
from aiquant.features.catalogue import FeatureSet, define
from aiquant.schemas import FEATURES, features_table

MakeBars = Callable[..., pa.Table]


def feature_set(*formulas: str, partial: bool = True) -> FeatureSet:
    return FeatureSet("test", define([(f"f{k}", f, "", "") for k, f in enumerate(formulas)]), partial_windows=partial)


def values(formula: str, bars: pa.Table, sessions: Sessions, partial: bool = True, **more: Any) -> list[float]:
    table = engine.compute(feature_set(formula, partial=partial), bars, sessions, **more)
    return np.asarray(table["f0"], dtype=float).tolist()  # type: ignore[no-any-return]


NAN = float("nan")


@pytest.fixture
def small(make_bars: MakeBars) -> pa.Table:
    """Two symbols; B has no bar at slot 2."""
    return make_bars(
        {
            "B": {"at": [1, 3, 4], "close": [10, 20, 30], "open": [0.5, 1, 2], "volume": [0, 5, 5]},
            "A": {"at": [0, 1, 2, 3], "close": [1, 2, 4, 8], "open": [1, 1, 1, 1], "volume": [1, 0, 3, 4]},
        }
    )


def test_one_row_a_bar_sorted_and_in_float32(small: pa.Table, sessions: Sessions) -> None:
    table = engine.compute(feature_set("$close", "$open*2"), small, sessions)
    assert table.column_names == [*FEATURES.schema.names, "f0", "f1"]
    assert table.schema.types[:4] == FEATURES.schema.types
    assert table["known_from"].equals(table["event_time"])
    assert table.schema.types[4:] == [pa.float32()] * 2
    assert table["symbol"].to_pylist() == ["A"] * 4 + ["B"] * 3
    assert table["f0"].to_pylist() == [1, 2, 4, 8, 10, 20, 30]
    assert table["f1"].null_count == 0
    assert table["date"].to_pylist()[4:] == [sessions.dates[k].item() for k in (1, 3, 4)]


def test_windows_count_sessions_not_rows(small: pa.Table, sessions: Sessions) -> None:
    assert values("Ref($close, 1)", small, sessions) == pytest.approx([NAN, 1, 2, 4, NAN, NAN, 20], nan_ok=True)
    assert values("Count($close, 3)", small, sessions) == [1, 2, 3, 3, 1, 2, 2]
    assert values("Sum($close, 3)", small, sessions) == [1, 3, 7, 14, 10, 30, 50]


@pytest.mark.parametrize(
    "formula, expected",
    [
        ("$close/$volume", [1, NAN, 4 / 3, 2, NAN, 4, 6]),  # division by zero has no value
        ("$close/($volume+1e-12)", [1, NAN, 4 / 3, 2, NAN, 4, 6]),
        ("$volume/($volume+1e-12)", [1, 0, 1, 1, 0, 1, 1]),  # 0 / 0 under a guard is 0
        ("Log($volume)", [0, NAN, np.log(3), np.log(4), NAN, np.log(5), np.log(5)]),
        ("$volume**-1", [1, NAN, 1 / 3, 1 / 4, NAN, 1 / 5, 1 / 5]),
        ("Ref($close, 1) > 1", [NAN, 0, 1, 1, NAN, NAN, 1]),
        ("(Ref($close, 1) > 1) & ($open > 0)", [NAN, 0, 1, 1, NAN, NAN, 1]),
        ("~(Ref($close, 1) > 1)", [NAN, 1, 0, 0, NAN, NAN, 0]),
        ("If(Ref($close, 1) > 1, 5, $open)", [NAN, 1, 5, 5, NAN, NAN, 5]),
        ("Greater($close, Ref($close, 1))", [NAN, 2, 4, 8, NAN, NAN, 30]),
        ("Less($close, 3)", [1, 2, 3, 3, 3, 3, 3]),
        ("Sign($close-4)", [-1, -1, 0, 1, 1, 1, 1]),
        ("Delta($close, 1)", [NAN, 1, 2, 4, NAN, NAN, 10]),
        ("-$close + Abs(0-$close)", [0] * 7),
        ("$close*1e300*1e300", [NAN] * 7),  # too large for a float
        ("$vwap", [NAN] * 7),  # not in the bars
        ("($close==4) | ($close==30)", [0, 0, 1, 0, 0, 0, 1]),
        ("Mean($close-$close+3, 2)", [3] * 7),
        ("Sum(2, 3)*($close/$close)", [2, 4, 6, 6, 2, 6, 6]),
    ],
)
def test_cell_by_cell(formula: str, expected: list[float], small: pa.Table, sessions: Sessions) -> None:
    assert values(formula, small, sessions) == pytest.approx(expected, nan_ok=True, rel=1e-6)


def test_qlib_counts_an_unknown_comparison_as_false(small: pa.Table, sessions: Sessions) -> None:
    assert values("Mean($close > Ref($close, 1), 2)", small, sessions, qlib_compat=True) == [0, 0.5, 1, 1, 0, 0, 0.5]
    assert values("$close/$volume", small, sessions, qlib_compat=True)[1] == np.inf
    assert values("$close/($volume+1e-12)", small, sessions, qlib_compat=True)[1] > 1e12


def test_warm_up_is_nan_until_the_look_back_is_inside(small: pa.Table, sessions: Sessions) -> None:
    assert values("Mean($close, 2)", small, sessions, partial=False) == pytest.approx(
        [NAN, 1.5, 3, 6, NAN, 20, 25], nan_ok=True
    )
    assert values("Mean($close, 500)", small, sessions, partial=False) == pytest.approx([NAN] * 7, nan_ok=True)


def test_cross_sections_take_symbols_with_a_bar(small: pa.Table, sessions: Sessions) -> None:
    assert values("CSRank($close)", small, sessions) == [1, 0.5, 1, 0.5, 1, 1, 1]
    assert values("CSDemean($close)", small, sessions) == [0, -4, 0, -6, 4, 6, 0]
    assert values("CSScale($close)", small, sessions)[1] == pytest.approx(2 / 12)
    spread = np.std([2, 10], ddof=1)
    assert values("CSZScore($close)", small, sessions) == pytest.approx(
        [NAN, -4 / spread, NAN, -4 / spread, 4 / spread, 4 / spread, NAN], nan_ok=True
    )
    # What is built on a cross-section, and a cross-section of that
    assert values("Mean(CSRank($close), 2)", small, sessions)[1] == 0.75
    assert values("CSRank(Mean(CSRank($close), 2))", small, sessions)[1] == 0.5


def test_a_cross_section_leaves_out_who_has_too_little_history(small: pa.Table, sessions: Sessions) -> None:
    got = values("CSRank(Mean($close, 2))", small, sessions, partial=False)
    assert got == pytest.approx([NAN, 1, 1, 0.5, NAN, 1, 1], nan_ok=True)


def test_threads_and_chunks_change_nothing(
    panel: pa.Table, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = feature_set(
        "Std($close, 9)/$close", "CSRank(Mean($close, 5))", "Corr($close, $volume, 7)", "EMA($open, 4)"
    )
    expected = engine.compute(chosen, panel, sessions, threads=1)
    for cells in (1, 170, 10_000):
        monkeypatch.setattr(engine, "CHUNK_CELLS", cells)
        for threads in (1, 3):
            assert engine.compute(chosen, panel, sessions, threads=threads).equals(expected) or _same(
                engine.compute(chosen, panel, sessions, threads=threads), expected
            )


def _same(a: pa.Table, b: pa.Table) -> bool:
    """Equal to the last bit, NaN equal to NaN."""
    return all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in zip(a.columns[3:], b.columns[3:], strict=True)
    )


def test_closes_alone_are_enough_for_core(make_bars: MakeBars, histories: dict[str, Any], sessions: Sessions) -> None:
    closes = {s: {"at": h["at"], "close": h["close"]} for s, h in histories.items()}
    whole = engine.compute(catalogue.get("core"), make_bars(histories), sessions)
    alone = engine.compute(catalogue.get("core"), make_bars(closes), sessions)
    for feature in catalogue.get("core").features:
        column = np.asarray(alone[feature.name])
        if feature.fields == ("close",):
            np.testing.assert_array_equal(column, np.asarray(whole[feature.name]))
        else:
            assert np.isnan(column).all(), feature.name


def test_no_bars_no_rows(small: pa.Table, sessions: Sessions) -> None:
    table = engine.compute(catalogue.get("core"), small.slice(0, 0), sessions)
    assert table.num_rows == 0
    assert table.num_columns == len(FEATURES.schema) + len(catalogue.get("core").features)


def test_a_symbol_with_one_bar(make_bars: MakeBars, sessions: Sessions) -> None:
    table = engine.compute(catalogue.get("alpha158"), make_bars({"A": {"at": [5], "close": [3.0]}}), sessions)
    assert table["MA5"].to_pylist() == [1.0]
    assert np.isnan(table["STD5"][0].as_py())


def test_columns_are_not_copied_on_their_way_to_arrow(small: pa.Table, sessions: Sessions) -> None:
    column = engine.compute(feature_set("$close"), small, sessions)["f0"].chunk(0)
    assert column.null_count == 0 and column.buffers()[0] is None
    assert column.to_numpy(zero_copy_only=True).dtype == np.float32


def test_rows_in_any_order_give_the_same(panel: pa.Table, sessions: Sessions) -> None:
    shuffled = pl.DataFrame(pl.from_arrow(panel)).sample(fraction=1.0, shuffle=True, seed=1).to_arrow()
    chosen = feature_set("Std($close, 9)/$close")
    assert _same(engine.compute(chosen, shuffled, sessions), engine.compute(chosen, panel, sessions))


@pytest.mark.parametrize("name", catalogue.names())
@pytest.mark.parametrize("at", [0, 1, 100, 125, 159, 300])
def test_new_rows_alone_have_the_values_of_all(name: str, at: int, panel: pa.Table, sessions: Sessions) -> None:
    day = sessions.dates[at].item()
    whole = pl.DataFrame(pl.from_arrow(engine.compute(catalogue.get(name), panel, sessions)))
    expected = whole.filter(pl.col("date") >= day).to_arrow()
    got = engine.compute(catalogue.get(name), panel, sessions, since=day)
    assert got.num_rows == expected.num_rows
    assert got["symbol"].to_pylist() == expected["symbol"].to_pylist()
    assert _same(got, expected)


def test_portions_change_nothing(panel: pa.Table, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = feature_set(
        "$close", "CSRank(Mean($close, 5))", "CSRank(CSDemean($open))+CSRank(Mean($close, 5))", "Std($open, 4)"
    )
    expected = engine.compute(chosen, panel, sessions)
    monkeypatch.setattr(engine, "STAGED_BYTES", 1)
    assert planning.portions([f.expression for f in chosen.features], 0) == [(0, 1), (1, 2), (2, 4)]
    assert planning.portions([f.expression for f in chosen.features], 3) == [(0, 4)]
    assert _same(engine.compute(chosen, panel, sessions), expected)


def test_new_rows_of_a_cross_section(panel: pa.Table, sessions: Sessions) -> None:
    chosen = feature_set("Mean(CSRank(Std($close, 5)), 7)/CSRank($open)")
    day = sessions.dates[100].item()
    whole = pl.DataFrame(pl.from_arrow(engine.compute(chosen, panel, sessions)))
    assert _same(engine.compute(chosen, panel, sessions, since=day), whole.filter(pl.col("date") >= day).to_arrow())


def test_what_bad_bars_get(small: pa.Table, sessions: Sessions, make_bars: MakeBars) -> None:
    chosen = feature_set("$close")
    with pytest.raises(DataError, match="A at 2020-01-02 21:00"):
        engine.compute(chosen, pa.concat_tables([small, small]), sessions)
    frame = pl.DataFrame(pl.from_arrow(small))
    sunday = frame.with_columns(pl.lit("2020-01-05").str.to_date().alias("date"))
    with pytest.raises(DataError, match="no session of XNYS.*2020-01-05.*data.calendar"):
        engine.compute(chosen, sunday.to_arrow(), sessions)
    mixed = pl.concat([frame, frame.with_columns(pl.lit("5m").alias("interval"))])
    with pytest.raises(DataError, match="1d, 5m"):
        engine.compute(chosen, mixed.to_arrow(), sessions)


def test_what_is_stored_fits_the_lake(panel: pa.Table, sessions: Sessions) -> None:
    table = engine.compute(catalogue.get("core"), panel, sessions)
    target = features_table("core")
    assert target.schema.names == table.column_names[:4]
