"""Target weights, or orders in shares, from files: what was decided elsewhere."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.schemas import TIME
from aiquant.sources import columns as names
from aiquant.sources import numbers, times, whole
from aiquant.sources.opening import files_of, open_file

SCHEMA = pa.schema([("date", pa.date32()), ("symbol", pa.string()), ("weight", pa.float64())])

_TIMES = {"date": names.SYNONYMS["date"] + names.SYNONYMS["time"] + ("rebalance_date", "decision_date")}
_SYMBOLS = {"symbol": names.SYNONYMS["symbol"]}
_SYNONYMS = {
    "weight": {**_TIMES, **_SYMBOLS, "weight": ("weight", "target_weight", "w", "target")},
    "shares": {**_TIMES, **_SYMBOLS, "shares": ("shares", "quantity", "qty", "order", "size")},
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
    ``date`` (date32), ``symbol`` (upper case), ``weight`` (fraction of equity), sorted by date and symbol; where all
    rows tell a time with its zone, also ``event_time`` (UTC). A book is used as a whole or not at all, so there are no
    dead letters here.

    Raises
    ------
    MissingError
        When there is nothing at the path.
    DataError
        When a column is missing, or a row has no date, no symbol, a weight that is not a finite number, or repeats the
        date and symbol of another row; the message names file and row.
    """
    path = Path(path)
    rows = _rows(path, "weight")
    again = rows.filter(pl.struct("moment", "symbol").is_duplicated()).sort("moment", "symbol", maintain_order=True)
    if len(again):
        first, second = again.row(0, named=True), again.row(1, named=True)
        raise DataError(
            f"{second['place']}: {second['symbol']} on {second['date']} has a weight already, in {first['place']}",
            "keep one row for each date and symbol",
        )
    return _table(rows, SCHEMA)


def read_orders(path: Path | str) -> pa.Table:
    """Orders in shares, decided at the close of ``date``.

    Parameters
    ----------
    path
        As :func:`read_weights` takes it, with shares (to buy > 0, to sell < 0) instead of weights. A symbol may have
        several orders on a date.

    Returns
    -------
    ``date`` (date32), ``symbol`` (upper case), ``shares``, sorted by date and symbol; ``event_time`` as for weights.

    Raises
    ------
    MissingError, DataError
        As :func:`read_weights`.
    """
    rows = _rows(Path(path), "shares")
    return _table(rows, pa.schema([SCHEMA.field("date"), SCHEMA.field("symbol"), ("shares", pa.float64())]))


def _rows(path: Path, value: str) -> pl.DataFrame:
    rows = pl.concat([_of_file(file, place, value) for file, place in files_of(path)])
    if rows.is_empty():
        raise DataError(f"{path.name} holds no {value}", "give a file with rows")
    return rows


def _table(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    if not rows["event_time"].null_count():
        schema = schema.append(pa.field("event_time", TIME))
    table: pa.Table = rows.sort("moment", "symbol").select(schema.names).to_arrow().cast(schema)
    return table


def _of_file(file: Path, place: str, value: str) -> pl.DataFrame:
    opened = open_file(file, place)
    found = names.recognise_plain(place, opened.header, _SYNONYMS[value])
    if "date" not in found:
        raise _missing("date", place, opened.header, value)
    if ("symbol" in found) != (value in found):
        raise _missing(value if "symbol" in found else "symbol", place, opened.header, value)
    wide = "symbol" not in found
    wanted = {"date": found["date"]} if wide else found
    if wide:
        wanted |= {f"={name}": at for at, name in enumerate(opened.header) if at != found["date"] and name.strip()}
        if len(wanted) == 1:
            raise _missing(value, place, opened.header, value)
    parts = whole.chunks(opened, place, wanted)
    raw = pl.concat(parts) if parts else pl.DataFrame()
    if raw.is_empty():
        raise DataError(f"{place} holds a header and no rows", "give a file with rows")
    return _typed(_unpivoted(raw, value) if wide else raw, value)


def _unpivoted(raw: pl.DataFrame, value: str) -> pl.DataFrame:
    cells = [name for name in raw.columns if name.startswith("=")]
    text = raw.with_columns(pl.col(cells).cast(pl.String, strict=False))
    long = text.unpivot(cells, index=["date", "place"], variable_name="symbol", value_name=value)
    there = ~pl.col(value).fill_null("").str.strip_chars().str.to_lowercase().is_in([*numbers.MISSING, "nan"])
    return long.filter(there).with_columns(pl.col("symbol").str.slice(1))


def _typed(raw: pl.DataFrame, value: str) -> pl.DataFrame:
    if raw["date"].dtype.is_nested() or raw["symbol"].dtype.is_nested():
        raise DataError(f"{raw['place'][0]}: date or symbol is a list or struct", "give plain columns")
    order = times.day_order(raw["date"])
    if order == "ambiguous":
        raise DataError(f"{raw['place'][0]}: {raw['date'][0]!r} can be read month first or day first", "use YYYY-MM-DD")
    amount = numbers.parse(raw[value], numbers.style_of([raw[value]]))
    moments = times.parse(raw["date"], order)
    symbol = raw["symbol"].cast(pl.String, strict=False).fill_null("").str.strip_chars().str.to_uppercase()
    rows = raw.select(
        "place",
        date=moments["written"].dt.date(),
        symbol=symbol,
        **{value: amount},
        event_time=moments["instant"].dt.replace_time_zone("UTC"),
        moment=pl.Series(moments["instant"]).dt.replace_time_zone(None).fill_null(moments["written"].dt.truncate("1d")),
    )
    for bad, problem in (
        (pl.col("date").is_null(), "date cannot be read"),
        (pl.col("symbol") == "", "symbol is empty"),
        (~pl.col(value).is_finite().fill_null(False), f"{value} is not a finite number"),
    ):
        wrong = rows.filter(bad)
        if len(wrong):
            raise DataError(f"{wrong['place'][0]}: {problem}", "correct or remove the row")
    return rows


def _missing(what: str, place: str, header: list[str], value: str) -> DataError:
    return DataError(
        f"{place}: no column for {what}; found: {', '.join(map(repr, header[:12]))}",
        f"give date, symbol, {value}, or a date and one column for each symbol",
    )
