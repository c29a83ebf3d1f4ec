"""Sets of features alone: every set of the catalogue passes, daily and intraday, and planted leaks are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.errors import UsageError
from aiquant.features import catalogue
from aiquant.jobs import feature_plan, leakage_sets, vintages, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline
from aiquant.jobs.vintages import Reach
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS, CLASSIFICATION, CORPORATE_ACTIONS, FEATURES, conform


@pytest.fixture(scope="module")
def home(make_bars: Callable[..., pa.Table], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two years of five symbols, one bar corrected long after its close, and a split."""
    made = workspace.create(tmp_path_factory.mktemp("leaks") / "home")
    bars = pl.DataFrame(make_bars(symbols=5, first=date(2018, 1, 2), last=date(2019, 12, 31)))
    row = bars.filter(symbol="S002", date=date(2019, 1, 3))
    late = row.with_columns(pl.col("close") * 1.01, pl.col("known_from") + timedelta(days=200))
    made.lake.write(BARS, pl.concat([bars, late]).to_arrow().cast(BARS.schema))
    known = datetime(2019, 5, 6, 13, 30, tzinfo=UTC)
    told = {"symbol": "S001", "kind": "split", "date": known.date(), "event_time": known, "known_from": known}
    rows = [{**told, "ratio": 2.0, "source": "t"}]
    made.lake.write(CORPORATE_ACTIONS, pa.Table.from_pylist(rows, schema=CORPORATE_ACTIONS.schema))
    for table, row in TEXTS.items():
        moments = [datetime(2018, 6, 1, tzinfo=UTC) + timedelta(hours=17 * k) for k in range(600)]
        texts = [
            {**row, ID[table]: f"{k}", "date": m.date(), "event_time": m, "known_from": m + timedelta(hours=k % 40)}
            for k, m in enumerate(moments)
        ]
        made.lake.write(table, pa.Table.from_pylist(texts, schema=feature_plan.named(table).schema))
    classes = [
        {"symbol": f"S00{k}", "valid_from": date(2018 + k % 2, 3, 1), "event_time": known, "known_from": known,
         "sector": "ab"[k % 2], "industry": "cd"[k % 2], "subindustry": "ef"[k % 2], "shares": 1e6, "source": "t"}
        for k in range(5)
    ]  # fmt: skip
    made.lake.write(CLASSIFICATION, pa.Table.from_pylist(classes, schema=CLASSIFICATION.schema))
    return Workspace(made.root, {"leakage.cuts": "4"})


ID = {"news": "article_id", "tweets": "post_id"}
TEXTS = {
    "news": {"symbols": "S001,S002", "title": "t", "url": "u", "publisher": "p", "source": "s"},
    "tweets": {"symbols": "S001", "author": "a", "text": "t", "kind": "post", "source": "s"},
}


@pytest.mark.parametrize("name", catalogue.names())
def test_every_set_of_the_catalogue_passes(home: Workspace, name: str) -> None:
    verdict = leakage_sets.check(home, Journal(), [name])
    assert verdict.passed, [c for c in verdict.comparisons if c.differing]
    assert {c.what for c in verdict.comparisons} == {name} and len(verdict.comparisons) == 4
    assert all(c.compared > 100 for c in verdict.comparisons)


def test_all_means_every_set_and_chunks_change_nothing(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    told = leakage_sets.check(home, Journal(), ["core", "core"])
    monkeypatch.setattr(feature_plan, "READ_ROWS", 600)
    again = leakage_sets.check(home, Journal(), ["core"])
    assert [(c.at, c.compared, c.differing) for c in again.comparisons] == [
        (c.at, c.compared, c.differing) for c in told.comparisons
    ]
    with pytest.raises(UsageError, match="no feature set is named 'cor'"):
        leakage_sets.check(home, Journal(), ["cor"])


def test_half_of_the_cuts_fall_inside_of_a_session() -> None:
    sessions = calendars.sessions("XNYS", date(2019, 1, 2), date(2019, 12, 31))
    found = leakage_sets.cuts(sessions, 8, seed=1)
    closes = {moment.item().replace(tzinfo=UTC) for moment in sessions.closes.astype("datetime64[us]")}
    assert len(found) == 8 and sum(moment in closes for moment in found) == 4


def test_own_sets_and_comparing_ones_on_minutes(tmp_path: Path) -> None:
    made = workspace.create(tmp_path / "home")
    sessions = calendars.sessions("XNYS", date(2024, 1, 2), date(2024, 1, 12))
    rng, frames = np.random.default_rng(0), []
    for symbol in ("A", "B", "C"):
        moments = np.concatenate([o + np.arange(1, 79) * np.timedelta64(5, "m") for o in sessions.opens])
        days = np.repeat(sessions.dates, 78)
        when = pl.Series(moments.astype("datetime64[us]")).dt.replace_time_zone("UTC")
        close = 20 * np.exp(rng.normal(0, 0.01, len(days)).cumsum())
        text = {"symbol": symbol, "interval": "5m", "adjustment": "none", "source": "t"}
        frames.append(
            pl.DataFrame({"date": days, "event_time": when, "known_from": when, "close": close}).with_columns(
                pl.col("date").cast(pl.String).alias("period"), *(pl.lit(v).alias(k) for k, v in text.items())
            )
        )
    made.lake.write(BARS, conform(pl.concat(frames).to_arrow(), BARS))
    Path(tmp_path, "mine.toml").write_text(
        "[features.a]\nformula = 'Std($close/Ref($close, 1), 30)'\n[features.b]\nformula = 'CSRank($close)'\n"
    )
    home = Workspace(made.root, {"data.interval": "5m", "leakage.cuts": "4"})
    verdict = leakage_sets.check(home, Journal(), [str(tmp_path / "mine.toml")])
    assert verdict.passed and sum(c.compared for c in verdict.comparisons) > 1000


class RevisedPrice(Pipeline):
    """Features from the newest version of each bar, whenever it became known."""

    def features(self, inputs: Inputs, reach: Reach | None = None) -> pa.Table:
        bars = pl.DataFrame(vintages.newest(inputs.bars)).with_columns(known_from=pl.col("event_time"))
        return super().features(replace(inputs, bars=bars.to_arrow().cast(inputs.bars.schema)), reach)


class OneDayPeek(Pipeline):
    """Tomorrow's value in today's row."""

    def features(self, inputs: Inputs, reach: Reach | None = None) -> pa.Table:
        frame = pl.DataFrame(super().features(inputs, reach))
        name = frame.columns[len(FEATURES.schema)]
        return frame.with_columns(pl.col(name).shift(-1).over("symbol")).to_arrow()


class BackwardSplits(Pipeline):
    """Prices that a split rewrites back to the beginning, as in a chart."""

    def features(self, inputs: Inputs, reach: Reach | None = None) -> pa.Table:
        frame = pl.DataFrame(super().features(inputs, reach))
        rows = [] if inputs.actions is None else inputs.actions.to_pylist()
        told = {row["symbol"]: row["ratio"] for row in rows}
        factor = pl.col("symbol").replace_strict(told, default=1.0, return_dtype=pl.Float32)
        name = frame.columns[len(FEATURES.schema)]
        return frame.with_columns((pl.col(name) / factor).cast(pl.Float32).alias(name)).to_arrow()


@pytest.mark.parametrize("leaking", [RevisedPrice, OneDayPeek, BackwardSplits])
def test_a_planted_leak_is_caught(home: Workspace, leaking: type[Pipeline]) -> None:
    verdict = leakage_sets.check(home, Journal(), ["core"], leaking)
    assert not verdict.passed and verdict.leaking == ["core"]
    assert "change when the future is cut off" in verdict.sentence()
