"""Every alpha against the paper's formula in plain numpy, on random bars with ties, gaps and late listings."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from aiquant import calendars
from aiquant.features import catalogue, engine
from aiquant.schemas import BARS, conform

paper = SimpleNamespace(**run_path(str(Path(__file__).with_name("paper101.py"))))

SESSIONS = calendars.sessions("XNYS", date(2020, 1, 2), date(2021, 8, 20))
SYMBOLS = 14
GROUPS = {"sector": 2, "industry": 3, "subindustry": 5}


def market(seed: int = 11) -> dict[str, Any]:
    """Fields, dates × symbols; NaN where a symbol has no bar."""
    rng = np.random.default_rng(seed)
    shape = (len(SESSIONS), SYMBOLS)
    close = np.round(20 * np.exp(rng.normal(0, 0.02, shape).cumsum(axis=0)), 2)
    opened = np.round(close * (1 + rng.normal(0, 0.01, shape)), 2)
    high = np.maximum(close, opened) + np.round(np.abs(rng.normal(0.1, 0.1, shape)), 2) + 0.01
    low = np.minimum(close, opened) - np.round(np.abs(rng.normal(0.1, 0.1, shape)), 2) - 0.01
    volume = np.round(np.exp(rng.normal(10, 0.7, shape)))
    there = rng.random(shape) > 0.03
    there[:60, 3] = there[:120, 4] = False  # listed later
    there[300:, 5] = False  # gone
    there[150:165, 6] = False  # suspended
    there[:, 9] = True
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    fields["vwap"] = np.round((high + low + 2 * close) / 4, 3)
    fields["cap"] = close * np.round(np.exp(rng.normal(15, 1, SYMBOLS)))
    return {name: np.where(there, values, np.nan) for name, values in fields.items()}


def groups() -> dict[str, Any]:
    """Classes by symbol; the last symbol has none, another changes its sector."""
    told = {}
    for name, number in GROUPS.items():
        codes = np.tile(np.arange(SYMBOLS, dtype=float) % number + 7, (len(SESSIONS), 1))
        codes[:, -1] = np.nan
        codes[200:, 2] = 8.0
        told[name] = codes
    return told


@pytest.fixture(scope="module")
def computed() -> dict[int, tuple[Any, Any]]:
    """Ours and the paper's, dates × symbols each, by number."""
    fields, classes = market(), groups()
    frames = []
    for s in range(SYMBOLS):
        at = np.flatnonzero(np.isfinite(fields["close"][:, s]))
        moment = pl.Series(SESSIONS.closes[at]).dt.replace_time_zone("UTC")
        columns = {name: values[at, s] for name, values in {**fields, **classes}.items()}
        frames.append(
            pl.DataFrame(
                {"date": SESSIONS.dates[at], "event_time": moment, "known_from": moment, **columns}
            ).with_columns(
                *(pl.lit(v).alias(k) for k, v in (("symbol", f"S{s:02}"), ("interval", "1d"), ("period", "2020"))),
                *(pl.lit(v).alias(k) for k, v in (("adjustment", "none"), ("source", "test"))),
            )
        )
    rows = pl.concat(frames)
    bars = conform(rows.select(n for n in BARS.schema.names if n in rows.columns).to_arrow(), BARS)
    for name in (*classes, "cap"):
        bars = bars.append_column(name, rows[name].to_arrow())
    chosen = catalogue.get("alpha101")
    table = pl.DataFrame(pl.from_arrow(engine.compute(chosen, bars, SESSIONS)))
    place = SESSIONS.index_of(table["date"].to_numpy()), table["symbol"].str.slice(1).cast(pl.Int64).to_numpy()
    m = paper.Market(fields, classes)
    both = {}
    for number, panel in paper.formulas(m).items():
        ours = np.full(fields["close"].shape, np.nan)
        ours[place] = table[f"alpha{number}"].to_numpy()
        both[number] = ours, m.result(panel)
    return both


NOISY = frozenset((13, 15, 16, 45, 96, 97, 98))
"""Alphas that rank correlations of a few slots or of a few ranks: many are equal but for rounding."""


@pytest.mark.parametrize("number", range(1, 102))
def test_an_alpha_is_what_the_paper_says(number: int, computed: dict[int, tuple[Any, Any]]) -> None:
    ours, papers = computed[number]
    there = np.isfinite(papers)
    assert there.mean() > 0.05, "the panel is too short to say anything"
    np.testing.assert_array_equal(np.isnan(ours), ~there)
    assert len(np.unique(papers[there])) > 1
    if number in NOISY:
        assert np.corrcoef(ours[there], papers[there])[0, 1] > 0.94
    else:
        assert np.isclose(ours[there], papers[there], rtol=2e-5, atol=1e-6).mean() > 0.985
