"""Training frames worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from aiquant.errors import DataError, UsageError
from aiquant.features.asof import FeatureTable, join

DAY = timedelta(days=1)
T = datetime(2024, 3, 4, 21, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")


def history(*rows: tuple[str, datetime, datetime, float]) -> pl.DataFrame:
    schema = {"symbol": pl.String, "event_time": TIME, "known_from": TIME, "value": pl.Float32}
    return pl.DataFrame(rows, schema, orient="row")


def entities(*rows: tuple[str, datetime]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"symbol": pl.String, "event_time": TIME}, orient="row")


def test_a_late_correction_of_an_old_day_does_not_hide_the_day_that_followed() -> None:
    rows = history(("A", T, T, 1), ("A", T + DAY, T + DAY, 2), ("A", T, T + 2 * DAY, 9))
    asked = entities(("A", T + 3 * DAY), ("A", T + DAY), ("A", T + DAY - timedelta(microseconds=1)), ("A", T - DAY))
    assert join(asked, [FeatureTable("set", rows)])["value"].to_list() == [2.0, 2.0, 1.0, None]


def test_a_correction_counts_from_the_moment_at_which_it_was_known() -> None:
    rows = history(("A", T, T, 1), ("A", T, T + DAY, 2))
    asked = entities(("A", T), ("A", T + DAY - timedelta(microseconds=1)), ("A", T + DAY))
    assert join(asked, [FeatureTable("set", rows)])["value"].to_list() == [1.0, 1.0, 2.0]


def test_time_to_live_is_measured_from_the_event_and_its_end_still_counts() -> None:
    rows = history(("A", T, T + DAY, 1))
    asked = entities(("A", T + DAY), ("A", T + 2 * DAY), ("A", T + 2 * DAY + timedelta(microseconds=1)))
    joined = join(asked, [FeatureTable("set", rows, ttl=2 * DAY)])
    assert joined["value"].to_list() == [1.0, 1.0, None]


def test_an_old_row_does_not_step_in_for_one_that_is_too_old_or_not_yet_known() -> None:
    rows = history(("A", T, T, 1), ("A", T + DAY, T + 4 * DAY, 2))
    assert join(entities(("A", T + 2 * DAY)), [FeatureTable("set", rows, ttl=DAY)])["value"].to_list() == [None]
    assert join(entities(("A", T + 2 * DAY)), [FeatureTable("set", rows)])["value"].to_list() == [1.0]


def test_several_tables_other_columns_and_the_times_of_what_was_taken() -> None:
    first = history(("A", T, T, 1), ("B", T, T + DAY, np.nan))
    second = first.rename({"value": "other"}).drop("known_from").with_columns(kind=pl.lit("x"))
    asked = entities(("B", T + DAY), ("C", T)).with_columns(weight=pl.Series([0.5, 0.25]))
    joined = join(asked, [FeatureTable("one", first), FeatureTable("two", second, DAY)], times=True)
    assert joined.columns == [
        *("symbol", "event_time", "weight", "one__event_time", "one__known_from", "value"),
        *("two__event_time", "other", "kind"),
    ]
    assert joined["one__known_from"].to_list() == [T + DAY, None]
    assert np.isnan(joined["value"][0]) and joined["value"][1] is None and joined["value"].dtype == pl.Float32
    assert joined["kind"].to_list() == ["x", None]


def test_equal_names_are_refused_until_they_say_their_set() -> None:
    rows = history(("A", T, T, 1))
    tables = [FeatureTable("one", rows), FeatureTable("two", rows)]
    with pytest.raises(UsageError, match="value stands in feature set one and in feature set two"):
        join(entities(("A", T)), tables)
    joined = join(entities(("A", T)), tables, full_names=True)
    assert joined.columns == ["symbol", "event_time", "one__value", "two__value"]
    with pytest.raises(UsageError, match="in the entity rows"):
        join(entities(("A", T)).with_columns(value=pl.lit(0)), tables[:1])


def test_empty_sides() -> None:
    assert join(entities(), [FeatureTable("set", history(("A", T, T, 1)))]).height == 0
    assert join(entities(("A", T)), [FeatureTable("set", history())])["value"].to_list() == [None]
    assert join(entities(("A", T)), []).columns == ["symbol", "event_time"]


def test_categories_a_time_of_another_name_and_nanoseconds_are_taken() -> None:
    asked = pl.DataFrame({"symbol": ["A"], "decided": [T]}).with_columns(
        pl.col("symbol").cast(pl.Categorical), pl.col("decided").cast(pl.Datetime("ns", "UTC"))
    )
    joined = join(asked, [FeatureTable("set", history(("A", T, T, 1)))], time="decided")
    assert joined["value"].to_list() == [1.0] and joined.schema["decided"] == pl.Datetime("ns", "UTC")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (entities(("A", T)).drop("symbol"), "lack the column symbol"),
        (entities(("A", T)).with_columns(pl.col("event_time").dt.replace_time_zone(None)), "time zone"),
        (entities(("A", T)).with_columns(pl.col("event_time").cast(pl.String)), "not (a )?times? with a time zone"),
        (
            entities(("A", T)).with_columns(event_time=pl.lit(None, TIME)),
            r"event_time is missing in 1 row\(s\), the first is row 1",
        ),
    ],
)
def test_entity_rows_that_cannot_be_joined_are_told(asked: pl.DataFrame, told: str) -> None:
    with pytest.raises(DataError, match=told):
        join(asked, [FeatureTable("set", history(("A", T, T, 1)))])
