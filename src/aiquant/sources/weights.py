"""Target weights from files: a book that was decided elsewhere."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.sources import columns as names
from aiquant.sources import numbers, times, whole
from aiquant.sources.opening import files_of, open_file

SCHEMA = pa.schema([("date", pa.date32()), ("symbol", pa.string()), ("weight", pa.float64())])

_SYNONYMS = {
    "date": names.SYNONYMS["date"] + names.SYNONYMS["time"] + ("rebalance_date", "decision_date"),
    "symbol": names.SYNONYMS["symbol"],
    "weight": ("weight", "target_weight", "w", "target"),
}


def read_weights(path: Path | str) -> pa.Table:
    """Target weights, decided at the close of ``date``.

    Parameters
    ----------
    path
        A file (or a folder of files) with the columns date, symbol, weight; or wide: a date and one column for each
        symbol, where an empty cell means that the symbol is not held. CSV, Parquet, Arrow or Feather.

    Returns
    -------
    ``date`` (date32), ``symbol`` (upper case), ``weight`` (fraction of equity), sorted by date and symbol. A book is
    used as a whole or not at all, so there are no dead letters here.

    Raises
    ------
    MissingError
        When there is nothing at the path.
    DataError
        When a column is missing, or a row has no date, no symbol, a weight that is not a finite number, or repeats the
        date and symbol of another row; the message names file and row.
    """
    path = Path(path)
    parts = [_of_file(file, place) for file, place in files_of(path)]
    rows = pl.concat(parts)
    if rows.is_empty():
        raise DataError(f"{path.name} holds no weights", "give a file with rows")
    again = rows.filter(pl.struct("date", "symbol").is_duplicated()).sort("date", "symbol", maintain_order=True)
    if len(again):
        first, second = again.row(0, named=True), again.row(1, named=True)
        raise DataError(
            f"{second['place']}: {second['symbol']} on {second['date']} has a weight already, in {first['place']}",
            "keep one row for each date and symbol",
        )
    table: pa.Table = rows.sort("date", "symbol").select(SCHEMA.names).to_arrow().cast(SCHEMA)
    return table


def _of_file(file: Path, place: str) -> pl.DataFrame:
    opened = open_file(file, place)
    found = names.recognise_plain(place, opened.header, _SYNONYMS)
    if "date" not in found:
        raise _missing("date", place, opened.header)
    if ("symbol" in found) != ("weight" in found):
        raise _missing("weight" if "symbol" in found else "symbol", place, opened.header)
    wide = "symbol" not in found
    wanted = {"date": found["date"]} if wide else found
    if wide:
        wanted |= {f"={name}": at for at, name in enumerate(opened.header) if at != found["date"] and name.strip()}
        if len(wanted) == 1:
            raise _missing("weight", place, opened.header)
    parts = whole.chunks(opened, place, wanted)
    raw = pl.concat(parts) if parts else pl.DataFrame()
    if raw.is_empty():
        raise DataError(f"{place} holds a header and no rows", "give a file with rows")
    return _typed(_unpivoted(raw) if wide else raw)


def _unpivoted(raw: pl.DataFrame) -> pl.DataFrame:
    cells = [name for name in raw.columns if name.startswith("=")]
    text = raw.with_columns(pl.col(cells).cast(pl.String, strict=False))
    long = text.unpivot(cells, index=["date", "place"], variable_name="symbol", value_name="weight")
    there = ~pl.col("weight").fill_null("").str.strip_chars().str.to_lowercase().is_in([*numbers.MISSING, "nan"])
    return long.filter(there).with_columns(pl.col("symbol").str.slice(1))


def _typed(raw: pl.DataFrame) -> pl.DataFrame:
    if raw["date"].dtype.is_nested() or raw["symbol"].dtype.is_nested():
        raise DataError(f"{raw['place'][0]}: date or symbol is a list or struct", "give plain columns")
    order = times.day_order(raw["date"])
    if order == "ambiguous":
        raise DataError(f"{raw['place'][0]}: {raw['date'][0]!r} can be read month first or day first", "use YYYY-MM-DD")
    weight = numbers.parse(raw["weight"], numbers.style_of([raw["weight"]]))
    symbol = raw["symbol"].cast(pl.String, strict=False).fill_null("").str.strip_chars().str.to_uppercase()
    rows = raw.select(
        "place",
        date=times.parse(raw["date"], order)["written"].dt.date(),
        symbol=symbol,
        weight=weight,
    )
    for bad, problem in (
        (pl.col("date").is_null(), "date cannot be read"),
        (pl.col("symbol") == "", "symbol is empty"),
        (~pl.col("weight").is_finite().fill_null(False), "weight is not a finite number"),
    ):
        wrong = rows.filter(bad)
        if len(wrong):
            raise DataError(f"{wrong['place'][0]}: {problem}", "correct or remove the row")
    return rows


def _missing(what: str, place: str, header: list[str]) -> DataError:
    return DataError(
        f"{place}: no column for {what}; found: {', '.join(map(repr, header[:12]))}",
        "give date, symbol, weight, or a date and one column of weights for each symbol",
    )
