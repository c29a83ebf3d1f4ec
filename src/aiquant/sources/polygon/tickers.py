"""The vendor's tickers and our symbols: ``BRK.B`` is ``BRK-B``, the preferred ``KIMpL`` is ``KIM-PL``.

The vendor writes a dot before a share class and small letters for what is no common stock (p: preferred, r: rights,
w: when issued). Our symbols are in upper case throughout, so the small letters become the suffixes of the tape's own
long form.
"""

from __future__ import annotations

import re

import polars as pl

_PREFERRED = re.compile(r"-P([A-Z]?)$")
_TICKER = r"^[A-Z0-9]+([.-][A-Z0-9]+)*$"


def symbol_column(ticker: pl.Expr) -> pl.Expr:
    """Symbols of a column of tickers; null for what is none."""
    plain = (
        ticker.str.replace(r"^([A-Z]+)p([A-Z]?)$", "${1}-P${2}")
        .str.replace(r"^([A-Z]+)r$", "${1}-RT")
        .str.replace(r"^([A-Z]+)w$", "${1}-WI")
        .str.replace_all(".", "-", literal=True)
    )
    return pl.when(plain.str.contains(_TICKER)).then(plain)


def to_symbol(ticker: str) -> str | None:
    """One symbol; None for what is no ticker."""
    told: str | None = pl.select(symbol_column(pl.lit(ticker))).item()
    return told


def to_ticker(symbol: str) -> str:
    """The vendor's ticker of a symbol."""
    for suffix, letter in (("-RT", "r"), ("-WI", "w")):
        if symbol.endswith(suffix):
            return symbol.removesuffix(suffix) + letter
    return _PREFERRED.sub(r"p\1", symbol).replace("-", ".")
