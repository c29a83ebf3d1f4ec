"""What a refused build leaves behind, and what is said of a store that a whole build has overtaken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from aiquant.errors import DataError, MissingError
from aiquant.features import catalogue
from aiquant.features.online import View, open_store
from aiquant.jobs import feature_plan, feature_rows, feature_store, features, live, parity, workspace
from aiquant.jobs.journal import Journal, Listener
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS

LAST = date(2019, 3, 29)


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return workspace.create(tmp_path / "home")


class Notes(Listener):
    """Remembers what was noted."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def noted(self, text: str) -> None:
        self.told.append(text)


def put(home: Workspace, bars: pl.DataFrame) -> None:
    home.lake.write(BARS, bars.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(BARS.schema))


def test_a_refused_first_build_leaves_no_table(
    home: Workspace, make_bars: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_plan, "READ_ROWS", 100)
    bars = pl.DataFrame(make_bars(3, date(2019, 1, 2), LAST))
    put(home, bars)
    of = feature_rows.Rows.of

    def refusing(self: feature_rows.Rows, part: feature_plan.Part) -> object:
        if "S002" in part.symbols:  # behind parts that were written already
            raise DataError("a bar lies outside of the trading hours", "leave it out")
        return of(self, part)

    monkeypatch.setattr(feature_rows.Rows, "of", refusing)
    with pytest.raises(DataError, match="outside of the trading hours"):
        features.build(home, Journal())
    assert home.lake.version("features_core") is None
    assert [table.name for table in home.lake.tables()] == ["bars"]
    with pytest.raises(MissingError, match="features_core"):
        feature_store.materialize(home, Journal())
    verdict = parity.check(home, Journal())
    assert not verdict.passed
    assert verdict.sentence().startswith("Nothing that is kept was compared; ")
    assert verdict.sentence().endswith(
        "the same in batch = bar by bar. Not compared: core lake: there is no such table; "
        "core online: the store has nothing of the set."
    )
    monkeypatch.undo()
    assert features.build(home, Journal()).rows == len(bars)
    assert parity.check(home, Journal()).passed


def test_an_empty_table_is_not_materialized(home: Workspace, make_bars: Callable[..., pa.Table]) -> None:
    put(home, pl.DataFrame(make_bars(2, date(2019, 1, 2), LAST)))
    features.build(home, Journal())
    handle = home.lake.place("features_core")
    from deltalake import DeltaTable

    DeltaTable(handle).delete()
    with pytest.raises(MissingError, match="table features_core has no row; build it with"):
        feature_store.materialize(home, Journal())


def test_a_store_with_a_version_that_a_whole_build_left_out(
    home: Workspace, make_bars: Callable[..., pa.Table]
) -> None:
    bars = pl.DataFrame(make_bars(3, date(2019, 1, 2), LAST))
    put(home, bars)
    live.live(home, Journal(), ["core"], drain=True, kafka=False)
    wrong = bars.filter(pl.col("date") == LAST, pl.col("symbol") == "S001")
    put(home, wrong.with_columns(pl.col("close", "high") * 1.01))
    assert live.live(home, Journal(), ["core"], drain=True, kafka=False).rows == 1
    assert parity.check(home, Journal()).passed
    features.build(home, Journal(), full=True)
    notes = Notes()
    done = feature_store.materialize(home, Journal(notes))
    assert done.strays == 1 and "1 symbols keep values that the table does not have" in notes.told[0]
    verdict = parity.check(home, Journal())
    (way,) = [way for way in verdict.ways if way.differing]
    assert (way.way, way.differing) == ("online", 1)
    assert way.first is not None and way.first.startswith("1 row(s) online are not in the table: S001 at 2019-03-29")
    assert feature_store.materialize(home, Journal(), anew=True).strays == 0
    assert parity.check(home, Journal()).passed


def test_intervals_and_qlibs_edge_cases_are_versions_of_their_own(home: Workspace) -> None:
    versions = set()
    for told in ({}, {"data.interval": "1m"}, {"features.qlib_compat": "true"}):
        versions.add(catalogue.of(Workspace(home.root, told).settings, "core").version)
    assert len(versions) == 3 and catalogue.get("core").version in versions


def test_values_of_another_interval_are_not_served(home: Workspace) -> None:
    moment = datetime(2024, 3, 4, 21, tzinfo=UTC)
    chosen = catalogue.get("core")
    row = {"symbol": "A", "event_time": moment, "known_from": moment, "date": moment.date()}
    rows = pa.Table.from_pylist([{**row, **{f.name: 1.0 for f in chosen.features}}])
    store = open_store(home.settings.online, home.root)
    store.write(View.of(chosen), rows)
    assert feature_store.get(home, ["A"], "core", now=moment + timedelta(days=1)).values.num_rows == 1
    minutes = Workspace(home.root, {"data.interval": "1m"})
    with pytest.raises(MissingError, match="has no value of set core"):
        feature_store.get(minutes, ["A"], "core")
