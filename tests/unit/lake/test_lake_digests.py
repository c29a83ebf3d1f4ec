from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from aiquant.errors import DataError
from aiquant.lake import digest


def _table(**changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "symbol": pa.array(["A", None, "BC"]),
        "date": pa.array([date(2020, 1, 1), None, date(2020, 1, 3)], pa.date32()),
        "event_time": pa.array([datetime(2020, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", "UTC")),
        "close": pa.array([1.0, None, math.nan]),
        "fold": pa.array([1, 2, None], pa.int32()),
        "flag": pa.array([True, None, False]),
    }
    return pa.table({**columns, **changes})


def test_chunks_offsets_and_dictionaries_do_not_count() -> None:
    whole = _table()
    cut = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2)])
    beginning = pa.concat_tables([whole, whole]).slice(3, 3)
    encoded = whole.set_column(0, "symbol", whole["symbol"].dictionary_encode())
    large = whole.set_column(0, "symbol", whole["symbol"].cast(pa.large_string()))
    assert {digest(t) for t in (whole, cut, beginning, encoded, large)} == {digest(whole)}


def test_chunks_do_not_count_beyond_the_slice_length() -> None:
    long = pa.table({"x": pa.array(range(150_000), pa.float64()), "s": pa.array([str(i) for i in range(150_000)])})
    cut = pa.concat_tables([long.slice(0, 65_000), long.slice(65_000, 3), long.slice(65_003)])
    assert digest(cut) == digest(long)


@pytest.mark.parametrize(
    "other",
    [
        _table(symbol=pa.array(["A", "", "BC"])),
        _table(symbol=pa.array(["AB", None, "C"])),
        _table(close=pa.array([1.0, math.nan, math.nan])),
        _table(close=pa.array([1.0, 0.0, math.nan])),
        _table(close=pa.array([1.0000000000000002, None, math.nan])),
        _table(fold=pa.array([1, 2, 0], pa.int32())),
        _table(fold=pa.array([1, 2, None], pa.int64())),
        _table(flag=pa.array([True, False, False])),
        _table().select(["date", "symbol", "event_time", "close", "fold", "flag"]),
        _table().rename_columns(["symbol", "date", "event_time", "open", "fold", "flag"]),
        _table().slice(0, 2),
    ],
)
def test_every_difference_counts(other: pa.Table) -> None:
    assert digest(other) != digest(_table())


def test_what_lies_under_a_null_and_the_bits_of_a_nan_do_not_count() -> None:
    valid = pa.py_buffer(b"\x01")
    under = [pa.Array.from_buffers(pa.int64(), 2, [valid, pa.array([1, hidden]).buffers()[1]]) for hidden in (5, 6)]
    assert digest(pa.table({"x": under[0]})) == digest(pa.table({"x": under[1]}))
    quiet = pa.Array.from_buffers(pa.float64(), 1, [None, pa.array([0x7FF8000000000000], pa.uint64()).buffers()[1]])
    other = pa.Array.from_buffers(pa.float64(), 1, [None, pa.array([0xFFF8000000000001], pa.uint64()).buffers()[1]])
    assert digest(pa.table({"x": quiet})) == digest(pa.table({"x": other}))


def test_empty_tables_differ_by_their_schema() -> None:
    assert digest(_table().slice(0, 0)) == digest(_table().schema.empty_table())
    assert digest(pa.table({"x": pa.array([], pa.int64())})) != digest(pa.table({"y": pa.array([], pa.int64())}))


def test_nested_columns_are_refused() -> None:
    with pytest.raises(DataError, match="prices"):
        digest(pa.table({"prices": pa.array([[1.0], [2.0]])}))
