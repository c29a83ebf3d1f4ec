"""What was written, and the instant it means where that is certain."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from aiquant.sources import times


@pytest.mark.parametrize(
    ("text", "written", "instant"),
    [
        ("2020-07-02", datetime(2020, 7, 2), None),
        (" 2020-07-02 16:00 ", datetime(2020, 7, 2, 16), None),
        ("2020-07-02T16:00:01.25", datetime(2020, 7, 2, 16, 0, 1, 250_000), None),
        ("2020-07-02T16:00:00Z", datetime(2020, 7, 2, 16), datetime(2020, 7, 2, 16, tzinfo=UTC)),
        ("2020-07-02 16:00:00 UTC", datetime(2020, 7, 2, 16), datetime(2020, 7, 2, 16, tzinfo=UTC)),
        ("2020-07-02 16:00:00-04:00", datetime(2020, 7, 2, 16), datetime(2020, 7, 2, 20, tzinfo=UTC)),
        ("2020-07-02 16:00:00+0530", datetime(2020, 7, 2, 16), datetime(2020, 7, 2, 10, 30, tzinfo=UTC)),
        ("2020-07-02 00:30:00+01", datetime(2020, 7, 2, 0, 30), datetime(2020, 7, 1, 23, 30, tzinfo=UTC)),
        ("20200702", datetime(2020, 7, 2), None),
        ("1593705600", datetime(2020, 7, 2, 16), datetime(2020, 7, 2, 16, tzinfo=UTC)),
        ("1593705600123", datetime(2020, 7, 2, 16, 0, 0, 123_000), datetime(2020, 7, 2, 16, 0, 0, 123_000, tzinfo=UTC)),
        ("02.07.2020 16:00", datetime(2020, 7, 2, 16), None),
        ("2020-07-02 25:00", None, None),
        ("2020-07-02 16:00:00+25:00", None, None),
        ("2020-02-30", None, None),
        ("12345", None, None),
        ("", None, None),
    ],
)
def test_text(text: str, written: datetime | None, instant: datetime | None) -> None:
    # beside a row that keeps the fast way for plain dates from being taken
    got = times.parse(pl.Series([text, "x"])).row(0)
    assert got == (written, instant)


def test_numbers_and_typed_columns() -> None:
    noon = datetime(2020, 7, 2, 16, tzinfo=UTC)
    for value in (1_593_705_600, 1_593_705_600_000, 1_593_705_600_000_000, 1_593_705_600_000_000_000):
        assert times.parse(pl.Series([value]))["instant"].to_list() == [noon]
    assert times.parse(pl.Series([20200702]))["written"].to_list() == [datetime(2020, 7, 2)]
    local = pl.Series([noon]).dt.convert_time_zone("America/New_York")
    assert times.parse(local).row(0) == (datetime(2020, 7, 2, 12), noon)
    naive = pl.Series([datetime(2020, 7, 2, 16)])
    assert times.parse(naive.dt.cast_time_unit("ns")).row(0) == (datetime(2020, 7, 2, 16), None)
    assert times.parse(pl.Series([5, None, -1]))["written"].to_list() == [None] * 3


@pytest.mark.parametrize(
    ("dates", "order"),
    [
        (["01/31/2020", "02/01/2020"], "month-first"),
        (["31/01/2020", "02/01/2020"], "day-first"),
        (["01/02/2020"], "ambiguous"),
        (["13/01/2020", "01/13/2020"], "ambiguous"),
        (["2020-01-02"], "none"),
    ],
)
def test_day_order(dates: list[str], order: str) -> None:
    assert times.day_order(pl.Series(dates)) == order
