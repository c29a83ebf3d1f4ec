"""Equity curves that a user has in files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.schemas import EQUITY, conform
from aiquant.sources import columns as names
from aiquant.sources import numbers, times, whole
from aiquant.sources.opening import files_of, open_file

_SYNONYMS = {
    "date": names.SYNONYMS["date"] + names.SYNONYMS["time"],
    "equity": ("equity", "value", "nav", "net_asset_value", "balance", "portfolio_value"),
}


def read_equity(path: Path | str) -> pa.Table:
    """An account's marks, one a date.

    Parameters
    ----------
    path
        A file with the columns date and equity, such as ``aiquant backtest --out`` writes. CSV, Parquet, Arrow or
        Feather.

    Returns
    -------
    Table
        Schema ``EQUITY`` in order of dates; what the file does not tell (cash, exposure, turnover, costs) is NaN.

    Raises
    ------
    MissingError
        When there is nothing at the path.
    DataError
        When a column is missing, a row has no date or no equity above 0, or a date stands twice.
    """
    path = Path(path)
    rows = pl.concat([_of_file(file, place) for file, place in files_of(path)]).sort("date")
    if rows["date"].is_duplicated().any():
        day = rows.filter(rows["date"].is_duplicated())["date"][0]
        raise DataError(f"{path.name}: {day} stands twice", "keep one mark a date")
    nothing = [pl.lit(float("nan")).alias(name) for name in EQUITY.schema.names[4:]]
    when = pl.col("date").cast(pl.Datetime("us", "UTC")).alias("event_time")
    told = rows.select(pl.lit(path.stem).alias("run_id"), "date", when, "equity", *nothing)
    return conform(told.to_arrow(), EQUITY)


def _of_file(file: Path, place: str) -> pl.DataFrame:
    opened = open_file(file, place)
    found = names.recognise_plain(place, opened.header, _SYNONYMS)
    for wanted in _SYNONYMS:
        if wanted not in found:
            heads = ", ".join(map(repr, opened.header[:12]))
            raise DataError(f"{place}: no column for {wanted}; found: {heads}", "give the columns date and equity")
    parts = whole.chunks(opened, place, found)
    raw = pl.concat(parts) if parts else pl.DataFrame()
    if raw.is_empty():
        raise DataError(f"{place} holds a header and no rows", "give a file with rows")
    order = times.day_order(raw["date"])
    if order == "ambiguous":
        raise DataError(f"{place}: {raw['date'][0]!r} can be read month first or day first", "use YYYY-MM-DD")
    marks = numbers.parse(raw["equity"], numbers.style_of([raw["equity"]]))
    rows = raw.select("place", date=times.parse(raw["date"], order)["written"].dt.date(), equity=marks)
    wrong = rows.filter(
        pl.col("date").is_null() | ~(pl.col("equity").is_finite() & (pl.col("equity") > 0)).fill_null(False)
    )
    if len(wrong):
        raise DataError(f"{wrong['place'][0]}: no date, or no equity above 0", "correct or remove the row")
    return rows.select("date", "equity")
