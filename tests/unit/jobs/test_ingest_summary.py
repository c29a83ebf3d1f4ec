"""What an ingest says of rows that were set aside, and of bars that do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiquant.errors import DataError
from aiquant.jobs import ingest, pipeline, workspace
from aiquant.jobs.journal import Journal

HEADER = "symbol,date,open,high,low,close,volume\n"


def test_reasons_that_name_a_value_of_each_row_are_told_as_one(tmp_path: Path) -> None:
    good = "".join(f"A,2020-01-{day:02},10,11,9,10,100\n" for day in (2, 3, 6, 7, 8, 9, 10))
    bad = "A,2020-01-04,1,1,1,1,1\nA,2020-01-05,1,1,1,1,1\nA,2020-01-13,10,11,9,x,1\nA,2020-01-14,10,11,12,10,1\n"
    (tmp_path / "prices.csv").write_text(HEADER + good + bad)
    done = ingest.bars(workspace.create(tmp_path / "w"), Journal(), "files", tmp_path / "prices.csv")
    assert (done.rows, done.dead_letters) == (7, 4)
    assert done.reasons == {
        "… is no session of XNYS": 2,
        "close 'x' is not a number": 1,
        "high is below low; open lies outside of low to high; close lies outside of low to high": 1,
    }


def test_bars_of_two_calendars_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(HEADER + "A,2020-01-02,10,11,9,10,100\nA,2020-01-03,10,11,9,10,100\n")
    workspace.create(tmp_path / "w")
    for calendar in ("XNYS", "24/7"):
        opened = workspace.open_(tmp_path / "w", {"data.calendar": calendar})
        ingest.bars(opened, Journal(), "files", tmp_path / "prices.csv")
    with pytest.raises(DataError, match="two closes for a day, the first of A on 2020-01-02: .* another calendar"):
        pipeline.read(opened.lake, opened.settings)
