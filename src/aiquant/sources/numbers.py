"""Numbers as files write them: plain, with thousands separators, with a decimal comma."""

from __future__ import annotations

from typing import Literal

import polars as pl

NumberStyle = Literal["plain", "comma-thousands", "comma-decimal"]
"""``1234.5``, ``1,234.5`` or ``1.234,5``."""

MISSING = ("", "na", "n/a", "#n/a", "null", "none", "-", "--", ".")
"""Texts (lower case) that mean that there is no value. Not ``nan``: a price that is not a number is bad."""

_DECIMAL_POINT = r"^[+-]?\d+\.(\d{1,2}|\d{4,})$|,\d{3}\.\d|,\d{3},\d{3}"
_DECIMAL_COMMA = r"^[+-]?\d+,(\d{1,2}|\d{4,})$|\.\d{3},\d|\.\d{3}\.\d{3}"


def style_of(columns: list[pl.Series]) -> NumberStyle:
    """How a file writes its numbers, by those of its values that can be read in one way only.

    ``1,234`` alone may be 1.234 or 1234: without evidence (or with evidence for both) the style is ``plain`` and a
    comma makes a dead letter.
    """
    texts = [column for column in columns if column.dtype == pl.String]
    if not any(_any(column, ",") for column in texts):
        return "plain"
    point = any(_any(column, _DECIMAL_POINT) for column in texts)
    comma = any(_any(column, _DECIMAL_COMMA) for column in texts)
    if point == comma:
        return "plain"
    return "comma-thousands" if point else "comma-decimal"


def parse(column: pl.Series, style: NumberStyle) -> pl.Series:
    """Float64; null where there is no value **or** no number: :func:`unreadable` tells them apart."""
    if column.dtype != pl.String:
        return _cast(column)
    text = column.str.strip_chars()
    if style == "comma-thousands":
        grouped = text.str.contains(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")
        text = text.to_frame("t").select(pl.when(grouped).then(pl.col("t").str.replace_all(",", "")).otherwise("t"))[
            "t"
        ]
    elif style == "comma-decimal":
        # A dot that does not separate thousands would be a decimal point: in this style such a text is no number.
        european = text.str.contains(r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d*)?$")
        swapped = pl.col("t").str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        kept = pl.col("t").str.to_lowercase().is_in(["nan"])
        text = text.to_frame("t").select(pl.when(european).then(swapped).when(kept).then("t").otherwise(None))["t"]
    return text.cast(pl.Float64, strict=False)


def unreadable(raw: pl.Series, parsed: pl.Series) -> pl.Series:
    """Boolean: the file has something there that is not a number."""
    if raw.dtype != pl.String:
        return raw.is_not_null() & parsed.is_null()
    return parsed.is_null() & raw.is_not_null() & ~raw.str.strip_chars().str.to_lowercase().is_in(list(MISSING))


def _cast(column: pl.Series) -> pl.Series:
    if column.dtype.is_numeric() or column.dtype == pl.Null:
        return column.cast(pl.Float64)
    return pl.Series(column.name, [None] * len(column), dtype=pl.Float64)


def _any(column: pl.Series, pattern: str) -> bool:
    return bool(column.str.strip_chars().str.contains(pattern).any())
