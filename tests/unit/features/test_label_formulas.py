"""Labels as formulas: the values of a plain loop, known at the end of their window, refused as features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.calendars import Sessions
from aiquant.errors import UsageError
from aiquant.features import label_formulas, labels
from aiquant.features.parsing import parse

QLIB = "Ref($close, -2)/Ref($close, -1) - 1"
MakeBars = Callable[..., pa.Table]


@pytest.fixture
def bars(make_bars: MakeBars) -> pa.Table:
    return make_bars(
        {
            "A": {"at": [0, 1, 2, 3, 5, 6], "close": [10, 11, 12, 15, 18, 9]},
            "B": {"at": [2, 3, 4], "close": [5, 6, 3]},
        }
    )


def computed(formula: str, bars: pa.Table, sessions: Sessions) -> pl.DataFrame:
    return pl.DataFrame(label_formulas.compute(label_formulas.read(formula), bars, sessions, 1, None))


def test_the_label_of_qlib(bars: pa.Table, sessions: Sessions) -> None:
    found = computed(QLIB, bars, sessions)
    assert found["symbol"].to_list() == ["A", "A", "B"]
    # A has no bar in slot 4: what would begin or end there has no label.
    assert found["forward_return"].to_list() == pytest.approx([12 / 11 - 1, 15 / 12 - 1, 3 / 6 - 1])
    at = [0, 1, 2]
    assert found["date"].to_list() == [sessions.dates[k].item() for k in at]
    starts = [sessions.closes[k + 1].item() for k in at]
    ends = [sessions.closes[k + 2].item() for k in at]
    assert found["label_start"].dt.replace_time_zone(None).to_list() == starts
    assert found["label_end"].dt.replace_time_zone(None).to_list() == ends


def test_it_is_the_forward_return_from_close_to_close(panel: pa.Table, sessions: Sessions) -> None:
    mine = computed("Ref($close, -6)/Ref($close, -1) - 1", panel, sessions)
    theirs = pl.DataFrame(labels.forward_returns(panel, sessions, 5, fill="close"))
    both = mine.join(theirs, on=["symbol", "event_time", "label_start", "label_end"])
    assert len(both) > 200
    np.testing.assert_allclose(both["forward_return"], both["forward_return_right"], rtol=0, atol=1e-6)


def test_windows_and_the_present_may_be_read_too(bars: pa.Table, sessions: Sessions) -> None:
    label = label_formulas.read("Mean(Ref($close, -3), 3)/$close")
    assert (label.first, label.last) == (1, 3)
    found = computed("Mean(Ref($close, -3), 3)/$close", bars, sessions)
    assert found["forward_return"][0] == pytest.approx((11 + 12 + 15) / 3 / 10)
    assert label_formulas.read("Mean(Ref($close, -9), 3)").first == 7


@pytest.mark.parametrize(
    ("formula", "told"),
    [
        ("$close/Ref($close, 1) - 1", "reads nothing of the future"),
        ("CSRank(Ref($close, -2))", "cannot be moved to another date"),
        ("Ref($close, -1.5)", "whole number"),
        ("Mean($close, -3)", "lies in the future"),
        ("Ref($clos, -1)", "no field is named"),
    ],
)
def test_what_is_no_label(formula: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        label_formulas.read(formula)


def test_as_a_feature_it_is_refused() -> None:
    with pytest.raises(UsageError, match="reads 2 bar.s. of the future, and a feature cannot look ahead"):
        parse(QLIB)


def test_a_label_that_is_not_known_yet_is_left_out(panel: pa.Table, sessions: Sessions) -> None:
    """Cut the bars: the labels that ended before the cut are the same, and no other is there."""
    day = sessions.dates[100].item()
    whole = computed(QLIB, panel, sessions)
    cut = computed(QLIB, pl.DataFrame(panel).filter(pl.col("date") <= day).to_arrow().cast(panel.schema), sessions)
    moment = pl.Series(sessions.closes[100:101]).dt.replace_time_zone("UTC")[0]
    assert cut.equals(whole.filter(pl.col("label_end") <= moment)) and len(cut) > 100
