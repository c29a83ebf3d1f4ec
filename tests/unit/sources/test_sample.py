"""The sample: 20 real stocks, found without importing skfolio."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime

import polars as pl
import pytest

from aiquant.errors import MissingError, SettingsError
from aiquant.schemas import BARS
from aiquant.settings import DataSettings
from aiquant.sources import sample


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    return pl.DataFrame(sample.read_bars(DataSettings()).rows)


def test_twenty_stocks_closes_only(bars: pl.DataFrame) -> None:
    assert bars["symbol"].n_unique() == 20
    assert (bars["date"].min(), bars["date"].max()) == (date(1990, 1, 2), date(2022, 12, 28))
    assert (
        bars.select(pl.col("open", "high", "low", "volume", "vwap", "trades").null_count()).row(0) == (len(bars),) * 6
    )
    assert bars["adjustment"].unique().to_list() == ["splits+dividends"]


def test_rows_are_bars_with_the_close_of_their_session() -> None:
    batch = sample.read_bars(DataSettings())
    assert batch.rows.schema.equals(BARS.schema)
    assert batch.letters.num_rows == 0
    assert "survivors only" in batch.notes[0]
    first = batch.rows.slice(0, 1).to_pylist()[0]
    assert (first["symbol"], first["close"], first["period"]) == ("AAPL", 0.264, "1990")
    assert first["event_time"] == first["known_from"] == datetime(1990, 1, 2, 21, tzinfo=UTC)


def test_keys_are_unique(bars: pl.DataFrame) -> None:
    assert not bars.select(BARS.key).is_duplicated().any()


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="data.interval = '1m': the sample has daily bars; set it to 1d"):
        sample.read_bars(DataSettings(interval="1m"))
    with pytest.raises(SettingsError, match="data.calendar = 'XETR': .* are no sessions of it; set it to XNYS"):
        sample.read_bars(DataSettings(calendar="XETR"))


def test_without_skfolio_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="pip install"):
        sample.read_bars(DataSettings())


def test_skfolio_is_not_imported() -> None:
    code = (
        "import sys; from aiquant.sources import sample; from aiquant.settings import DataSettings;"
        "sample.read_bars(DataSettings()); sys.exit('skfolio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
