"""kill -9 at random moments of a replayed year: the ledger is the undisturbed one, and the backtest."""

from __future__ import annotations

import importlib.util
import sys
from datetime import date
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from trading_cases import traded

from aiquant import schemas

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def drill() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drill_paper", ROOT / "scripts" / "drill_paper.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["drill_paper"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_year_under_kill_9_is_the_undisturbed_one_and_the_backtest(drill: ModuleType, tmp_path: Path) -> None:
    found = drill.drill(tmp_path, kills=3, first=date(2019, 1, 1), last=date(2019, 12, 31), seed=5)
    assert found.differences == ()
    assert (found.sessions, found.kills) == (252, 3) and found.midway >= 1 and found.fills > 500


def test_the_drill_sees_what_it_looks_for(drill: ModuleType, tmp_path: Path) -> None:
    """A row too many, a row too few, or another number: it would be told."""
    calm, other = (drill.market(tmp_path / name, date(2019, 3, 1), date(2019, 5, 31)) for name in ("calm", "other"))
    for opened in (calm, other):
        traded(opened, opened.root / "weights.csv")
    assert drill.differences(calm, other) == []
    rows = pl.DataFrame(pl.from_arrow(other.lake.read(schemas.TRADE_LEDGER)))
    fill = rows.filter(pl.col("kind") == "fill")["number"][0]
    dearer = pl.when(pl.col("number") == fill).then(pl.col("price") + 0.01).otherwise(pl.col("price")).alias("price")
    changed = rows.with_columns(dearer).to_arrow().cast(schemas.TRADE_LEDGER.schema)
    other.lake.overwrite(schemas.TRADE_LEDGER, changed)
    told = drill.differences(calm, other)
    assert any("ledgers differ" in text for text in told) and any("not the backtest" in text for text in told)
