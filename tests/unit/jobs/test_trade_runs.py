"""An account by the forecasts of a run: nothing is decided on what its model was trained on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from trading_cases import a_workspace, dates_of, traded

from aiquant import schemas
from aiquant.jobs import predict, trade_book, train
from aiquant.jobs.journal import Journal
from aiquant.jobs.trade_decisions import OfRun


class Told(Journal):
    """Keeps its notes."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("asked_before", [False, True])
def test_sessions_that_the_model_was_trained_on_are_not_traded(
    make_bars: Callable[..., pa.Table], tmp_path: Path, asked_before: bool
) -> None:
    """Tested up to 2017, trained for use on labels up to five sessions before the end of March 2018."""
    bars = make_bars(symbols=6, first=date(2016, 1, 4), last=date(2018, 3, 29))
    told = {"learning__model": "ridge", "learning__min_train_years": 1, "learning__last_test": 2017}
    opened = a_workspace(tmp_path / "ws", bars, **told, labels__horizon=5, importance__dates=0)
    run_id = train.train(opened, Journal()).run_id
    seen, unseen = date(2018, 2, 1), dates_of(bars)[-6:]
    if asked_before:
        assert predict.predict(opened, Journal(), run_id, seen).in_sample
    journal = Told()
    decides = OfRun(opened, journal, run_id)
    assert decides.at(seen) is None and decides.at(date(2018, 2, 2)) is None
    assert len(journal.notes) == 1 and "trained on what followed 2018-02-01" in journal.notes[0]
    assert any(decides.at(day) is not None for day in unseen), "a book is decided every five sessions"
    traded(opened, run_id=run_id, first=date(2017, 12, 1))
    decided = trade_book.rows(opened.lake, "paper", ["target"], ["date"])["date"].unique().sort()
    inside = [day for day in dates_of(bars) if date(2018, 1, 2) <= day < unseen[0]]
    assert not set(inside) & set(decided) and decided.min() < date(2018, 1, 1) and decided.max() in unseen
    stored = opened.lake.read(schemas.FORECASTS, where=(pl.col("run_id") == run_id) & (pl.col("fold") < 0))
    assert (seen in set(stored["date"].to_pylist())) == asked_before
