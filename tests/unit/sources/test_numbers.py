"""Numbers as files write them."""

from __future__ import annotations

import math

import polars as pl
import pytest

from aiquant.sources import numbers


@pytest.mark.parametrize(
    ("texts", "style", "values"),
    [
        (["1.5", " -2 ", "1e3", "+4"], "plain", [1.5, -2.0, 1000.0, 4.0]),
        (["1,234.5", "1,234", "12"], "comma-thousands", [1234.5, 1234.0, 12.0]),
        (["1,234,567"], "comma-thousands", [1_234_567.0]),
        (["1234,5", "1.234", "1.234,50", "7"], "comma-decimal", [1234.5, 1234.0, 1234.5, 7.0]),
        (["1,234"], "plain", [None]),
        (["1,5", "1.5"], "plain", [None, 1.5]),  # evidence for both: the comma is not trusted
        (["12,5", "1.25"], "plain", [None, 1.25]),
        (["1.5", "1,23"], "plain", [1.5, None]),
    ],
)
def test_styles(texts: list[str], style: str, values: list[float | None]) -> None:
    column = pl.Series(texts)
    assert numbers.style_of([column]) == style
    assert numbers.parse(column, numbers.style_of([column])).to_list() == values


def test_nothing_and_nonsense_are_told_apart() -> None:
    column = pl.Series(["", "N/A", "null", None, "x", "1.5.2", "3"])
    parsed = numbers.parse(column, "plain")
    assert parsed.to_list() == [None] * 6 + [3.0]
    assert numbers.unreadable(column, parsed).to_list() == [False, False, False, False, True, True, False]


@pytest.mark.parametrize("style", ["plain", "comma-thousands", "comma-decimal"])
def test_a_price_that_is_not_a_number_stays_one(style: numbers.NumberStyle) -> None:
    assert math.isnan(numbers.parse(pl.Series(["NaN"]), style)[0])


def test_typed_columns() -> None:
    assert numbers.parse(pl.Series([1, 2]), "plain").to_list() == [1.0, 2.0]
    flags = pl.Series([True, None])
    assert numbers.unreadable(flags, numbers.parse(flags, "plain")).to_list() == [True, False]
