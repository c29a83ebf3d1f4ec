"""The sample: 20 stocks of the S&P 500 from 1990 to 2022, which the library skfolio ships in its wheel.

Closes only, adjusted for splits and dividends, and **survivors only**: the 20 were chosen among companies that were
still listed at the end. A backtest on them looks better than life; whoever shows one says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pyarrow as pa

from aiquant import calendars, deadletters
from aiquant.errors import MissingError, SettingsError
from aiquant.schemas import BARS, conform
from aiquant.settings import DataSettings
from aiquant.sources.base import Batch, Layout

ADJUSTMENT = "splits+dividends"
CALENDAR = "XNYS"
NOTE = "sample: 20 US stocks, adjusted closes only, survivors only: results on it look better than life"
_FILE = Path("datasets", "data", "sp500_dataset.csv.gz")


def read_bars(data: DataSettings) -> Batch:
    """Daily bars of the 20 stocks: closes only; ``event_time`` is the close of the session in UTC.

    Needs no network, and does not import skfolio (which takes more than a second).

    Raises
    ------
    MissingError
        When skfolio is not installed or its wheel does not hold the file.
    SettingsError
        When the settings ask for another calendar or interval than the sample has.
    """
    if data.interval != "1d":
        raise SettingsError(f"setting data.interval = {data.interval!r}: the sample has daily bars", "set it to 1d")
    closes = (
        pl.read_csv(_file(), try_parse_dates=True)
        .rename({"Date": "date"})
        .unpivot(index="date", variable_name="symbol", value_name="close")
        .drop_nulls("close")
    )
    days = closes["date"].unique().sort()
    sessions = calendars.sessions(data.calendar, days[0], days[-1])
    known = pl.DataFrame({"date": sessions.dates, "event_time": sessions.closes}).with_columns(
        pl.col("event_time").dt.replace_time_zone("UTC")
    )
    strangers = days.to_frame().join(known, on="date", how="anti")
    if len(strangers):
        raise SettingsError(
            f"setting data.calendar = {data.calendar!r}: {len(strangers)} dates of the sample, the first of them "
            f"{strangers['date'][0]}, are no sessions of it",
            f"set it to {CALENDAR}",
        )
    rows = closes.join(known, on="date").sort("symbol", "date")
    return Batch(_as_bars(rows), deadletters.collect([]), (NOTE,))


def _as_bars(rows: pl.DataFrame) -> pa.Table:
    full = rows.with_columns(
        interval=pl.lit("1d"),
        period=pl.col("date").dt.year().cast(pl.String),
        known_from=pl.col("event_time"),
        adjustment=pl.lit(ADJUSTMENT),
        source=pl.lit("sample"),
    )
    return conform(full.to_arrow(), BARS)


def _file() -> Path:
    spec = find_spec("skfolio")  # finds the package without running it
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / _FILE).is_file():
            return Path(folder) / _FILE
    raise MissingError(
        "the sample's prices come with the library skfolio, which is not installed or incomplete",
        "install it with: pip install --force-reinstall skfolio",
    )


class SampleSource:
    """The sample as a source: see :func:`read_bars`."""

    def bars(
        self,
        data: DataSettings,
        path: Path | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        layout: Layout | None = None,
        strict: bool = False,
    ) -> Iterator[Batch]:
        """One batch with the whole sample."""
        yield read_bars(data)
