"""Whatever a file holds: rows come in, and each comes out as a row, a letter, or a counted duplicate."""

from __future__ import annotations

import csv
import io
import tempfile
from datetime import date, datetime
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiquant.errors import AiquantError, DataError
from aiquant.schemas import BARS, reasons
from aiquant.settings import DataSettings
from aiquant.sources import files
from aiquant.sources.base import Batch

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

symbols = st.sampled_from(["AAA", "aaa ", "BBB", "", "BRK-B", "É", "1"])
days = st.sampled_from(
    ["2020-01-02", "2020-01-03", "2020-01-04", "20200106", "2020-01-02 21:00:00Z", "x", "", "2999-01-04"]
)
numbers = st.one_of(
    st.sampled_from(["1", "1.5", "10", "0", "-1", "nan", "inf", "", "1e3", "1e400", "abc", "1,5", "1,234", " 2 "]),
    st.floats(allow_nan=True).map(str),
)
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
rows_of_bars = st.lists(
    st.tuples(symbols, days, numbers, numbers, numbers, numbers, numbers).map(list), min_size=1, max_size=25
)
HEADER = ["symbol", "date", "open", "high", "low", "close", "volume"]


def read(path: Path, **told: object) -> list[Batch]:
    return list(files.read_bars(path, DataSettings(**told)))  # type: ignore[arg-type]


def check(batches: list[Batch], rows_in: int) -> None:
    out = sum(b.rows.num_rows + b.letters.num_rows + b.duplicates + b.left_out for b in batches)
    assert out == rows_in
    good = pl.concat([pl.DataFrame(b.rows) for b in batches])
    assert reasons(good, BARS.invariants).null_count() == len(good)
    assert not good.select(BARS.key).is_duplicated().any()
    places = [x["place"] + (x["symbol"] or "") for b in batches for x in b.letters.to_pylist()]
    assert len(set(places)) == len(places)


def write(folder: str, rows: list[list[str]], name: str = "bars.csv") -> Path:
    text = io.StringIO()
    csv.writer(text).writerows([HEADER, *rows])
    path = Path(folder) / name
    path.write_text(text.getvalue())
    return path


@SLOW
@given(rows_of_bars)
def test_no_row_of_a_csv_vanishes(rows: list[list[str]]) -> None:
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    with tempfile.TemporaryDirectory() as folder:
        path = write(folder, rows)
        try:
            batches = read(path)
        except DataError as error:
            assert not filled, error
            return
        check(batches, len(filled))


@SLOW
@given(rows_of_bars, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(rows: list[list[str]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        try:
            first = read(write(folder, rows, "a.csv"))
        except AiquantError:
            return
        second = read(write(folder, shuffled, "b.csv"))
    key = ["symbol", "event_time"]
    assert pl.DataFrame(first[0].rows).sort(key).equals(pl.DataFrame(second[0].rows).sort(key))
    assert first[0].duplicates == second[0].duplicates


@SLOW
@given(
    st.lists(st.lists(anything, min_size=1, max_size=9), max_size=12),
    st.sampled_from([None, HEADER, ["date", "A", "B"]]),
)
def test_text_of_any_kind_never_crashes(rows: list[list[str]], header: list[str] | None) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([*([header] if header else []), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.csv"
        path.write_text(text.getvalue(), newline="")
        try:
            batches = read(path)
        except AiquantError as error:
            assert "\n" not in str(error)
            return
        assert all(b.rows.schema.equals(BARS.schema) for b in batches)


@SLOW
@given(st.binary(max_size=300), st.sampled_from([".csv", ".parquet", ".arrow", ".csv.gz", ".feather", ".csv.zst"]))
def test_bytes_of_any_kind_never_crash(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"AAA{suffix}"
        path.write_bytes(content)
        try:
            read(path)
        except AiquantError as error:
            assert "\n" not in str(error)


typed = st.fixed_dictionaries(
    {
        "symbol": st.one_of(
            st.lists(st.sampled_from(["A", "B", None, ""]), min_size=6, max_size=6).map(
                lambda v: pl.Series(v, dtype=pl.String)
            ),
            st.lists(st.sampled_from(["A", "B"]), min_size=6, max_size=6).map(
                lambda v: pl.Series(v, dtype=pl.Categorical)
            ),
            st.lists(st.integers(0, 3), min_size=6, max_size=6).map(pl.Series),
            st.just(pl.Series([["A"]] * 6)),
        ),
        "date": st.one_of(
            st.lists(st.sampled_from([date(2020, 1, 2), date(2020, 1, 4), None]), min_size=6, max_size=6).map(
                lambda v: pl.Series(v, dtype=pl.Date)
            ),
            st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2030, 1, 1)), min_size=6, max_size=6).map(pl.Series),
            st.lists(st.datetimes(datetime(2020, 1, 1), datetime(2020, 2, 1)), min_size=6, max_size=6).map(
                lambda v: pl.Series(v).dt.replace_time_zone("UTC")
            ),
            st.lists(st.integers(0, 2**62), min_size=6, max_size=6).map(lambda v: pl.Series(v, dtype=pl.Int64)),
            st.lists(st.sampled_from([20200102, 20200103]), min_size=6, max_size=6).map(pl.Series),
            st.just(pl.Series([True, False, None] * 2)),
        ),
        "close": st.one_of(
            st.lists(st.one_of(st.none(), st.floats()), min_size=6, max_size=6).map(
                lambda v: pl.Series(v, dtype=pl.Float64)
            ),
            st.lists(st.integers(-1, 3), min_size=6, max_size=6).map(pl.Series),
            st.just(pl.Series([True] * 6)),
            st.just(pl.Series([None] * 6)),
            st.just(pl.Series(["1", "2,5", "x"] * 2)),
        ),
        "trades": st.one_of(
            st.lists(st.one_of(st.none(), st.floats()), min_size=6, max_size=6).map(
                lambda v: pl.Series(v, dtype=pl.Float64)
            ),
            st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6).map(lambda v: pl.Series(v, dtype=pl.UInt64)),
        ),
    }
)


@SLOW
@given(typed, st.sampled_from(["1d", "1m"]), st.sampled_from([None, "UTC", "exchange"]))
def test_typed_columns_of_any_kind_never_crash(frame: dict[str, pl.Series], interval: str, zone: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "typed.parquet"
        pl.DataFrame(frame).write_parquet(path)
        try:
            batches = read(path, interval=interval, time_zone=zone)
        except AiquantError as error:
            assert "\n" not in str(error)
            return
        check(batches, 6)
