"""Spark gives the very values of the local engine, corrections included. Needs the extra ``spark`` and Java 17."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from aiquant.errors import MissingError
from aiquant.features import spark
from aiquant.jobs import features, live, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Pipeline, read
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS
from aiquant.settings import SparkSettings

COMPARED = ["CSRank($close/Ref($close, 2))", "Mean(CSZScore($close), 3)", "Corr($close, CSRank($volume), 5)"]
SOME_OF_ALPHA158 = ["Slope($close, 10)/$close", "Quantile($close, 20, 0.8)/$close", "Corr($close, Log($volume+1), 20)"]
SETS = {"core": None, "alpha": SOME_OF_ALPHA158, "compared": COMPARED}


def test_without_the_jars_one_line_says_so(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="needs the extra spark: pip install 'aiquant[spark]'")
    from pyspark.sql import SparkSession

    if SparkSession.getActiveSession() is not None:
        pytest.skip("a session runs already")
    with pytest.raises(MissingError, match="needs the jars of Delta, and there are none in"):
        spark.session(SparkSettings(jars=str(tmp_path)))


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    pytest.importorskip("pyspark", reason="needs the extra spark: pip install 'aiquant[spark]'")
    made = spark.session(SparkSettings())
    yield made
    made.stop()


@pytest.fixture(scope="module")
def corrected(make_bars: Callable[..., pa.Table]) -> pl.DataFrame:
    bars = pl.DataFrame(make_bars(symbols=5, first=date(2018, 1, 2), last=date(2019, 6, 28)))
    row = bars.filter(symbol="S002", date=date(2019, 3, 4))
    later = row.with_columns(pl.col("close") * 1.01, pl.col("known_from") + timedelta(days=4))
    return pl.concat([bars, later])


def home_of(place: Path, name: str, **more: str) -> Workspace:
    formulas, chosen = SETS[name], name
    if formulas is not None:
        chosen = str(place / f"{name}.toml")
        told = "\n".join(f"[features.f{k}]\nformula = '{text}'" for k, text in enumerate(formulas))
        Path(chosen).write_text(told)
    made = workspace.create(place / "home")
    return Workspace(made.root, {"features.set": chosen, "spark.bars_per_task": "800", **more})


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SETS))
def test_both_engines_give_the_same_table(session: Any, corrected: pl.DataFrame, tmp_path: Path, name: str) -> None:
    home = home_of(tmp_path, name)
    early = corrected.filter(pl.col("date") < date(2019, 6, 20))
    home.lake.write(BARS, early.to_arrow().cast(BARS.schema))
    done = features.build(home, Journal(), engine="spark")
    assert done.whole == "there was no table" and done.rows == early["event_time"].len() - 1
    for added in (early, corrected):
        home.lake.write(BARS, added.to_arrow().cast(BARS.schema))
        done = features.build(home, Journal(), engine="spark")
        assert done.whole is None
        found = pl.DataFrame(home.lake.read(f"features_{name}", history=True))
        wanted = pl.DataFrame(Pipeline(home.settings).features(read(home.lake, home.settings)))
        assert found.columns == wanted.columns and found.equals(wanted.sort("symbol", "event_time"))
    assert pl.DataFrame(features.by_spark(home)).equals(found)
    again = features.build(home, Journal())  # the local engine goes on where Spark ended
    assert (again.whole, again.new, again.recomputed) == (None, 0, 0)
    if name != "compared":
        follow_on(home, corrected, name)


def follow_on(home: Workspace, bars: pl.DataFrame, name: str) -> None:
    """Behind a table that Spark has written a stream stores what differs, and nothing else."""
    features.build(home, Journal(), full=True, engine="spark")
    live.live(home, Journal(), [home.settings.features.set], drain=True, kafka=False)
    row = bars.filter(symbol="S002", date=date(2019, 6, 27)).with_columns(pl.col("close", "high") * 1.01)
    home.lake.write(BARS, row.to_arrow().cast(BARS.schema))
    done = live.live(home, Journal(), [home.settings.features.set], drain=True, kafka=False)
    assert (done.rows, done.revised, done.recomputed) == (2, 2, 10)
    again = pl.DataFrame(home.lake.read(f"features_{name}", history=True))
    assert set(again.filter(pl.col("known_from") != pl.col("event_time"))["symbol"]) == {"S002"}
