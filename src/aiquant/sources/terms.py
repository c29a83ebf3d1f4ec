"""Terms of single symbols, and exchange rates, from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.schemas import FX_RATES, INSTRUMENTS, Table, conform, reasons
from aiquant.sources import columns as names
from aiquant.sources import numbers, times, whole
from aiquant.sources.opening import files_of, open_file

_INSTRUMENTS = {
    "symbol": names.SYNONYMS["symbol"],
    "currency": ("currency", "ccy"),
    "lot": ("lot", "lot_size"),
    "spread_bps": ("spread_bps", "spread"),
    "borrow_bps": ("borrow_bps", "borrow_fee_bps", "borrow"),
    "locate": ("locate", "locates", "borrowable"),
}
_RATES = {
    "currency": ("currency", "ccy"),
    "date": names.SYNONYMS["date"],
    "rate": ("rate", "fx", "fx_rate", "close"),
}


def read_instruments(path: Path | str) -> pa.Table:
    """Table ``instruments`` of a file with ``symbol`` and any of currency, lot, spread_bps, borrow_bps, locate.

    Raises
    ------
    MissingError
        When there is nothing at the path.
    DataError
        When a row breaks an invariant of the table; the message names file and row.
    """
    return _read(Path(path), INSTRUMENTS, _INSTRUMENTS, ("symbol",))


def read_rates(path: Path | str) -> pa.Table:
    """Table ``fx_rates`` of a file with ``currency, date, rate``.

    Raises
    ------
    MissingError
        When there is nothing at the path.
    DataError
        When a row breaks an invariant of the table; the message names file and row.
    """
    return _read(Path(path), FX_RATES, _RATES, ("currency", "date", "rate"))


def _read(path: Path, table: Table, synonyms: Mapping[str, tuple[str, ...]], needed: tuple[str, ...]) -> pa.Table:
    parts = []
    for file, place in files_of(path):
        opened = open_file(file, place)
        found = names.recognise_plain(place, opened.header, synonyms)
        missing = [name for name in needed if name not in found]
        if missing:
            raise DataError(
                f"{place}: no column for {', '.join(missing)}; found: {', '.join(map(repr, opened.header[:12]))}",
                f"give {', '.join(needed)}",
            )
        parts += whole.chunks(opened, place, found)
    if not parts or not sum(map(len, parts)):
        raise DataError(f"{path.name} holds no rows", "give a file with rows")
    rows = pl.concat([_typed(part, table) for part in parts], how="diagonal")
    bad = rows.with_columns(why=reasons(rows, table.invariants)).drop_nulls("why")
    if len(bad):
        raise DataError(f"{bad['place'][0]}: {bad['why'][0]}", "correct or remove the row")
    return conform(rows.drop("place").to_arrow(), table)


def _typed(raw: pl.DataFrame, table: Table) -> pl.DataFrame:
    typed = {"place": raw["place"]}
    for field in table.schema:
        if field.name not in raw.columns:
            typed[field.name] = pl.Series([None] * len(raw), dtype=_KINDS[field.type])
        elif field.type == pa.float64():
            typed[field.name] = _numbers(raw, field.name)
        elif field.type == pa.date32():
            written = times.parse(raw[field.name], times.day_order(raw[field.name]))["written"].dt.date()
            _refuse(raw, written.is_null(), f"{field.name} cannot be read")
            typed[field.name] = written
        else:
            text = raw[field.name].cast(pl.String, strict=False).str.strip_chars().str.to_uppercase()
            typed[field.name] = pl.select(pl.when(text != "").then(text)).to_series()
            if not field.nullable:
                _refuse(raw, typed[field.name].is_null(), f"{field.name} is empty")
    return pl.DataFrame([column.alias(name) for name, column in typed.items()])


_KINDS = {pa.float64(): pl.Float64, pa.string(): pl.String}


def _numbers(raw: pl.DataFrame, name: str) -> pl.Series:
    column = raw[name]
    values = numbers.parse(column, numbers.style_of([column]))
    told = column.cast(pl.String, strict=False).fill_null("").str.strip_chars().str.to_lowercase()
    _refuse(raw, values.is_null() & ~told.is_in([*numbers.MISSING, "nan"]), f"{name} is not a number")
    return values.fill_nan(None)


def _refuse(raw: pl.DataFrame, bad: pl.Series, problem: str) -> None:
    wrong = raw.filter(bad)
    if len(wrong):
        raise DataError(f"{wrong['place'][0]}: {problem}", "correct or remove the row")
