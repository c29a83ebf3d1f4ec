"""Sets that read further tables: what they are made from, what is said while these are empty, and no look ahead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import settings as all_settings
from aiquant.errors import MissingError
from aiquant.jobs import attaching, features, leakage, manifest, train, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Pipeline, read
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS, CLASSIFICATION, NEWS, TABLES, conform

FIRST, LAST = date(2015, 1, 2), date(2018, 12, 31)


def articles(seed: int, number: int, first: date = FIRST, days: int = 1450) -> pa.Table:
    """Articles on S000 to S005 at random moments, half of them received some days late."""
    rng = np.random.default_rng(seed)
    begun = datetime(first.year, first.month, first.day, tzinfo=UTC)
    rows = []
    for k in range(number):
        published = begun + timedelta(seconds=int(rng.integers(0, days * 86_400)))
        known = published + timedelta(hours=int(rng.integers(0, 100))) * int(rng.integers(0, 2))
        symbols = sorted({f"S{int(s):03}" for s in rng.integers(0, 6, 2)})
        rows.append(
            {
                "article_id": f"{seed}-{k}",
                "date": published.date(),
                "event_time": published,
                "known_from": known,
                "symbols": ",".join(symbols),
                "title": f"Title {int(rng.integers(0, 30))}",
                "url": f"http://x/{seed}/{k}",
                "publisher": f"P{int(rng.integers(0, 3))}",
                "source": "test",
            }
        )
    return conform(pa.Table.from_pylist(rows), NEWS)


def classes() -> pa.Table:
    """Two sectors; S001 moves from one to the other."""
    told = [("S%03d" % k, date(2015, 1, 1), "even" if k % 2 == 0 else "odd") for k in range(5)]
    told.append(("S001", date(2017, 5, 1), "even"))
    rows = [
        {
            "symbol": symbol,
            "valid_from": day,
            "event_time": datetime(day.year, day.month, day.day, 5, tzinfo=UTC),
            "known_from": datetime(day.year, day.month, day.day, 5, tzinfo=UTC),
            "sector": sector,
            "shares": 1e6,
            "source": "test",
        }
        for symbol, day, sector in told
    ]
    return conform(pa.Table.from_pylist(rows), CLASSIFICATION)


FORMULAS = """
[features.plain]
formula = "$close/Ref($close, 1)-1"
[features.news]
formula = "Sum($news_count, 5)/(Sum($news_count, 63)+1)"
[features.novelty]
formula = "CSRank(Sum($news_novel, 21))"
[features.within]
formula = "CSNeutralize($close/Ref($close, 5)-1, $sector)"
[features.size]
formula = "CSRank($cap)"
"""


@pytest.fixture
def home(tmp_path: Path, make_bars: Callable[..., pa.Table]) -> Workspace:
    (tmp_path / "own.toml").write_text(FORMULAS, encoding="utf-8")
    made = workspace.create(tmp_path / "home")
    made.lake.write(BARS, make_bars(symbols=6, first=FIRST, last=LAST))
    return chosen(made, str(tmp_path / "own.toml"))


def chosen(home: Workspace, name: str) -> Workspace:
    return workspace.open_(home.root, {"features.set": name})


def build(home: Workspace) -> tuple[features.Built, Journal]:
    journal = Journal()
    return features.build(home, journal), journal


def stored(home: Workspace, name: str = "own") -> pl.DataFrame:
    return pl.DataFrame(home.lake.read(f"features_{name}", history=True))


def test_a_set_of_an_empty_table_says_what_fills_it(home: Workspace) -> None:
    with pytest.raises(MissingError, match="set news needs the table news, .* aiquant ingest news"):
        build(chosen(home, "news"))
    _, journal = build(home)
    notes = " ".join(journal.notes)
    assert "Table news has no rows: 2 feature(s) stay empty (news, novelty)" in notes
    assert "Table classification has no rows: 2 feature(s) stay empty (within, size)" in notes
    assert np.isnan(stored(home)["news"].to_numpy()).all()
    home.lake.write(NEWS, articles(1, 40))
    _, journal = build(chosen(home, "news"))
    assert "Table scores has no rows: 5 feature(s) stay empty (sentiment_1, " in " ".join(journal.notes)


def test_what_the_bars_lack_is_told(home: Workspace) -> None:
    _, journal = build(chosen(home, "alpha158"))
    assert [n for n in journal.notes if n.startswith("The bars hold no")] in (
        [],
        ["The bars hold no vwap: 1 feature(s) stay empty (VWAP0)."],
    )
    bars = pl.DataFrame(home.lake.read(BARS)).with_columns(pl.lit(None, pl.Float64).alias("volume"))
    other = workspace.create(home.root.parent / "other")
    other.lake.write(BARS, bars.to_arrow().cast(BARS.schema))
    told = attaching.empty(other.lake, Pipeline(chosen(other, "core").settings).feature_set, {}, "1d")
    assert told == ["The bars hold no volume: 2 feature(s) stay empty (volume_ratio, volume_surprise)."]


def test_new_articles_and_classes_bring_a_table_up_to_what_a_build_of_all_gives(home: Workspace) -> None:
    home.lake.write(NEWS, articles(1, 300, days=1000))
    home.lake.write(CLASSIFICATION, classes())
    build(home)
    before = stored(home)
    assert before["news"].is_finite().any() and before["within"].is_finite().any()
    home.lake.write(NEWS, articles(2, 100, first=date(2017, 6, 1), days=400))
    done, _ = build(home)
    assert done.whole is None and done.recomputed
    expected = pl.DataFrame(Pipeline(home.settings).features(read(home.lake, home.settings)))
    assert stored(home).equals(expected)
    assert not stored(home).equals(before)
    again, _ = build(home)
    assert (again.new, again.recomputed) == (0, 0)


def test_the_leakage_check_covers_what_is_attached(home: Workspace) -> None:
    home.lake.write(NEWS, articles(1, 400))
    home.lake.write(CLASSIFICATION, classes())
    told = {"learning.min_train_years": "2", "learning.model": "ridge", "features.set": home.settings.features.set}
    settings = all_settings.load(None, told)
    inputs = read(home.lake, settings)
    verdict = leakage.examine(Pipeline(settings), inputs, 2, seed=3)
    assert verdict.passed, [c for c in verdict.comparisons if c.differing]

    class Early(Pipeline):
        """Takes articles at their publication, which is before they were received."""

        def attach(self, bars: pa.Table, inputs: object) -> pa.Table:
            told = inputs.attached["news"]  # type: ignore[attr-defined]
            early = told.set_column(told.column_names.index("known_from"), "known_from", told["event_time"])
            return super().attach(bars, _with(inputs, early))

    assert "features" in leakage.examine(Early(settings), inputs, 2, seed=3).leaking


def _with(inputs: object, news: pa.Table) -> object:
    from dataclasses import replace

    return replace(inputs, attached={**inputs.attached, "news": news})  # type: ignore[type-var,attr-defined]


def test_the_versions_of_all_tables_are_recorded_and_asked_for_again(home: Workspace) -> None:
    home.lake.write(NEWS, articles(1, 100))
    inputs = read(home.lake, home.settings)
    about = train.data_version(inputs)
    assert set(about) == {"bars", "news"} and about["news"]["rows"] == 100
    home.lake.write(NEWS, articles(2, 50))
    told = manifest.versions_of({"data": about})
    again = read(home.lake, home.settings, told)
    assert again.attached["news"] is not None and again.attached["news"].num_rows == 100
    assert again.attached["classification"] is None and told["universe"] is None
    assert train.data_version(again) == about


def test_every_table_that_a_field_needs_is_known() -> None:
    from aiquant.features.fields import ATTACHED, tables

    assert set(tables(ATTACHED)) <= {table.name for table in TABLES}
