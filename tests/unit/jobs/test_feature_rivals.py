"""A table of features that others write while it is mended holds each key once, as after a build of everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from aiquant.jobs import feature_rows, features, workspace
from aiquant.jobs.feature_plan import Part
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Pipeline, read
from aiquant.jobs.workspace import Workspace
from aiquant.lake import derived
from aiquant.lake.ledger import Ledger
from aiquant.schemas import BARS, DEAD_LETTERS, FEATURES, Table

NEW = date(2019, 12, 30)


@pytest.fixture(scope="module")
def bars(make_bars: Callable[..., pa.Table]) -> pl.DataFrame:
    return pl.DataFrame(make_bars(symbols=4, first=date(2019, 1, 2), last=date(2019, 12, 31)))


@pytest.fixture
def behind(tmp_path: Path, bars: pl.DataFrame) -> Workspace:
    """A workspace whose table of features lacks the last two days of bars."""
    home = workspace.create(tmp_path / "home")
    put(home, bars.filter(pl.col("date") < NEW))
    features.build(home, Journal())
    put(home, bars)
    return home


def put(home: Workspace, rows: pl.DataFrame) -> None:
    home.lake.write(BARS, rows.to_arrow().cast(BARS.schema))


def expected(home: Workspace) -> pl.DataFrame:
    """What a build of everything gives."""
    return pl.DataFrame(Pipeline(home.settings).features(read(home.lake, home.settings)))


def stored(home: Workspace) -> pl.DataFrame:
    return pl.DataFrame(home.lake.read("features_core", history=True))


def stream(home: Workspace, rows: pl.DataFrame) -> None:
    """Append as ``stream live`` does."""
    table = Table("features_core", rows.to_arrow(compat_level=pl.CompatLevel.oldest()).schema, FEATURES.key)
    Ledger(home.lake, table, "live").append(rows.to_arrow(), DEAD_LETTERS.schema.empty_table(), {}, {})


def once(monkeypatch: pytest.MonkeyPatch, when: str, act: Callable[[], object]) -> None:
    """Let a rival act while rows are computed, or after the comparison and right before the commit, the first time."""
    left = [act]
    of, commit = feature_rows.Rows.of, derived._commit

    def computing(self: feature_rows.Rows, part: Part) -> Iterator[pa.Table]:
        yield from of(self, part)
        if left:
            left.pop()()

    def committing(*told: Any) -> None:
        if left:
            left.pop()()
        commit(*told)

    if when == "computing":
        monkeypatch.setattr(feature_rows.Rows, "of", computing)
    else:
        monkeypatch.setattr(derived, "_commit", committing)


@pytest.mark.parametrize("when", ["computing", "committing"])
def test_rows_that_a_stream_adds_meanwhile_stand_once(
    behind: Workspace, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    wanted = expected(behind)
    once(monkeypatch, when, lambda: stream(behind, wanted.filter(symbol="S001", date=NEW)))
    done = features.build(behind, Journal())
    assert (done.whole, done.new, done.recomputed) == (None, 4 * 2 - 1, 0)
    assert stored(behind).equals(wanted)


@pytest.mark.parametrize("when", ["computing", "committing"])
def test_wrong_rows_that_a_stream_adds_meanwhile_are_put_right(
    behind: Workspace, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    wanted = expected(behind)
    wrong = wanted.filter(symbol="S001", date=NEW).with_columns(return_1=pl.lit(7, pl.Float32))
    once(monkeypatch, when, lambda: stream(behind, wrong))
    done = features.build(behind, Journal())
    assert (done.new, done.recomputed) == (4 * 2 - 1, 1)
    assert stored(behind).equals(wanted)


@pytest.mark.parametrize("when", ["computing", "committing"])
@pytest.mark.parametrize("recipe", ["same", "other"])
def test_after_a_build_that_came_first_it_is_planned_anew(
    behind: Workspace, monkeypatch: pytest.MonkeyPatch, when: str, recipe: str
) -> None:
    wanted = expected(behind)
    rival = Workspace(behind.root, {"features.qlib_compat": "true"} if recipe == "other" else {})
    once(monkeypatch, when, lambda: features.build(rival, Journal()))
    done = features.build(behind, Journal())
    assert (done.whole is None) == (recipe == "same")
    assert stored(behind).equals(wanted)
    assert features.build(behind, Journal()).new == 0


def test_a_key_that_stands_twice_is_put_right_where_it_is_touched(behind: Workspace, bars: pl.DataFrame) -> None:
    wanted = expected(behind)
    doubled = wanted.filter(symbol="S001", date=NEW)
    cast = pa.concat_tables([doubled.to_arrow(), doubled.to_arrow()])
    table = derived.Derived(behind.lake, Table("features_core", cast.schema, FEATURES.key))
    table.settle(cast.schema, lambda _: derived.Change(lambda: [cast], "more"), {})
    features.build(behind, Journal())
    assert stored(behind).equals(wanted)
