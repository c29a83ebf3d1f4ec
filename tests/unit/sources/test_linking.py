"""From texts to symbols: what counts, and what must not."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from aiquant.errors import SettingsError
from aiquant.sources import linking


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("$AAPL and $brk.b up, paid $5 for US$3", "AAPL,BRK-B"),
        ("$AAPLE1 $$MSFT $TOOLONGX", ""),
        ("Acme (NYSE: ACM) and (NASDAQ:QQQX)", "ACM,QQQX"),
        ("Verizon (VZ) and the CEO (CEO)", "VZ"),
        ("Apple unveils the iPhone", "AAPL"),
        ("Grandma's Apple Pie wins the fair", ""),
        ("Big Apple stocks up on salt", ""),
        ("apple shares", ""),
        ("Apple's shares fall", "AAPL"),
        ("An Apple a day", ""),
        ("Fed hits its inflation Target, stocks rise", ""),
        ("Price Target Raised to $80", ""),
        ("Target shares fall after results", "TGT"),
        ("Target to hire 100,000", "TGT"),
        ("Walmart and Target cut prices", "TGT,WMT"),
        ("Mind the Gap in pay, investors say", ""),
        ("Gap Inc closes stores", "GAP"),
        ("Gender pay Gap widens, shares flat", ""),
        ("Visa ban worries tech firms", ""),
        ("Visa and Mastercard settle", "MA,V"),
        ("Amazon rainforest burns, investors worry", ""),
        ("Amazon's Bezos speaks", "AMZN"),
        ("Fire in San Francisco", ""),
        ("see https://www.Google.com/Boeing", ""),
        ("JPMorgan lifts Netflix", "JPM,NFLX"),
        ("Boeing-Embraer deal and a $3M prize, 3M views", "BA"),
        ("3M shares fall", "MMM"),
        ("", ""),
    ],
)
def test_texts(text: str, symbols: str) -> None:
    assert linking.load().joined(text) == symbols


def test_a_user_extends_and_replaces(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[ACME]\nnames = ["Acme Rockets"]\n[AAPL]\nnames = ["Fruit Co"]\n[GE]\nnames = ["Genel"]\nreplace = true\n'
    )
    linker = linking.load(own)
    assert linker.symbols("Acme Rockets and Fruit Co meet Apple Inc") == ["AAPL", "ACME"]
    assert linker.symbols("General Electric") == [] and linker.symbols("Genel") == ["GE"]
    assert linking.load().symbols("Acme Rockets") == []
    assert linker.name("ACME") == "Acme Rockets" and linker.name("NONE") is None


@pytest.mark.parametrize(
    "text", ["[", "AAPL = 3", "[AAPL]\nname = ['x']", "[AAPL]\nnames = [3]", "[AAPL]\nnames = 'x'"]
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(SettingsError, match="own.toml"):
        linking.load(own)
    with pytest.raises(SettingsError, match="cannot be read"):
        linking.load(tmp_path / "absent.toml")


def test_real_headlines(shared_data: Path) -> None:
    """On headlines of 2010 to 2024: sure names are found, ambiguous words stay mostly with their company."""
    linker = linking.load()
    titles = pl.read_parquet(shared_data / "news.parquet")["title"].unique(maintain_order=True)
    found = pl.DataFrame({"title": titles, "symbols": [linker.symbols(title) for title in titles]})
    sure = found.filter(pl.col("title").str.contains(r"\bBoeing\b"))
    assert len(sure) > 100 and sure["symbols"].list.contains("BA").all()
    for wrong in ("price target", "gender pay gap", "amazon rainforest", "apple pie", "intel agencies", "visa ban"):
        told = found.filter(pl.col("title").str.to_lowercase().str.contains(wrong))
        symbol = {"price": "TGT", "gender": "GAP", "amazon": "AMZN", "apple": "AAPL", "intel": "INTC", "visa": "V"}
        hits = told["symbols"].list.contains(symbol[wrong.split()[0]])
        assert not hits.any(), told.filter(hits)["title"].to_list()
    assert found["symbols"].list.len().gt(0).mean() > 0.15
