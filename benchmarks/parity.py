"""Parity on real bars, as a table: batch = bar by bar = the stream's table = the online store = Spark, set by set.

::

    python -m benchmarks.parity ../shared/data                   # a folder with prices_daily.parquet, minute_us_…
    python -m benchmarks.parity ../shared/data --no-spark

Daily bars of 12 stocks and 18 months, with articles and posts; minute bars of 6 stocks and 4 days. History is made by
``features build``, the last days by ``stream live``, then ``check parity --set all --days 3`` compares the values.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from aiquant import schemas
from aiquant.errors import AiquantError
from aiquant.features import catalogue
from aiquant.jobs import features, hours, ingest, live, parity, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace

DAILY = ["AAPL", "AMZN", "BAC", "C", "DIS", "F", "GE", "INTC", "JPM", "KO", "MSFT", "XOM"]
FIRST, TURN, LAST = date(2013, 7, 1), date(2014, 12, 22), date(2014, 12, 31)


def daily(home: Workspace, data: Path) -> tuple[pl.DataFrame, pl.Expr]:
    """Bars of the daily workspace, and which of them are history; articles, posts and sectors are in the lake."""
    raw = pl.read_parquet(data / "prices_daily.parquet").drop("kind")
    raw = raw.filter(pl.col("symbol").is_in(DAILY), pl.col("date").cast(pl.Date).is_between(FIRST, LAST))
    file = home.root / "prices.parquet"
    raw.write_parquet(file)
    news = pl.read_parquet(data / "news.parquet").filter(pl.col("published_utc").dt.year() <= 2014)
    news.select("title", "url", "published_utc", pl.col("source").alias("publisher")).write_parquet(
        home.root / "news.parquet"
    )
    ingest.news(home, Journal(), home.root / "news.parquet")
    posts(home, data)
    return bars_of(home, file), pl.col("date") < TURN


def posts(home: Workspace, data: Path) -> None:
    """The posts of the file, as the lake keeps them."""
    raw = pl.read_parquet(data / "tweets.parquet")
    moment = pl.col("created_at").cast(pl.Datetime("us", "UTC"))
    rows = raw.select(
        pl.col("tweet_id").cast(pl.String).alias("post_id"),
        moment.dt.date().alias("date"),
        moment.alias("event_time"),
        moment.alias("known_from"),
        pl.col("cashtags").list.unique().list.sort().list.join(",").str.to_uppercase().alias("symbols"),
        pl.col("author_id").cast(pl.String).alias("author"),
        "text",
        pl.when(pl.col("retweeted_id").is_null()).then(pl.lit("post")).otherwise(pl.lit("retweet")).alias("kind"),
        pl.lit("shared").alias("source"),
    )
    rows = rows.unique("post_id").filter(pl.col("text") != "", pl.col("date") <= LAST).drop_nulls("author")
    home.lake.write(schemas.TWEETS, schemas.conform(rows.to_arrow(), schemas.TWEETS))


def minutes(home: Workspace, data: Path) -> tuple[pl.DataFrame, pl.Expr]:
    """Bars of the minute workspace, and which of them are history: all but the last day."""
    raw = pl.read_parquet(data / "minute_us_2019w07.parquet").filter(pl.col("interval") == "1min")
    chosen = raw["symbol"].unique().sort().head(6).to_list()
    days = raw["end_utc"].dt.date().unique().sort()
    raw = raw.filter(pl.col("symbol").is_in(chosen), pl.col("end_utc").dt.date() <= days[3])
    file = home.root / "minutes.parquet"
    raw.drop("start_utc", "interval").write_parquet(file)
    return bars_of(home, file), pl.col("date") < days[3]


def bars_of(home: Workspace, file: Path) -> pl.DataFrame:
    """The bars of a file, as an ingest reads them."""
    from aiquant.sources import base

    batches = base.get("files").bars(home.settings.data, file)
    rows = [hours.regular(batch.rows, home.settings.data, "files")[0] for batch in batches]
    return pl.concat([pl.DataFrame(pl.from_arrow(part)) for part in rows])


def show(title: str, home: Workspace, bars: pl.DataFrame, history: pl.Expr, names: Sequence[str], spark: bool) -> int:
    """Make all sets both ways, compare, print a table; how many values differ."""

    def put(rows: pl.DataFrame) -> None:
        home.lake.write(schemas.BARS, schemas.conform(rows.to_arrow(), schemas.BARS))

    put(bars.filter(history))
    for name in names:
        try:
            features.build(Workspace(home.root, {**home.overrides, "features.set": name}), Journal())
        except AiquantError as error:
            print(f"{name}: not built: {error}")
    put(bars.filter(~history))
    live.live(home, Journal(), names, drain=True, kafka=False)
    began = time.perf_counter()
    verdict = parity.check(home, Journal(), names, days=3 if title == "daily" else 1, spark=spark)
    ways = ["bar by bar", "lake", "online", *(["spark"] if spark else [])]
    told = {(way.set, way.way): way for way in verdict.ways}
    print(
        f"\n{title}: {verdict.first} to {verdict.last}, {bars['symbol'].n_unique()} symbols, values compared with batch"
    )
    print("| set | " + " | ".join(ways) + " | differing |\n|---|" + "---:|" * (len(ways) + 1))
    for name in names:
        each = [told[name, way] for way in ways]
        cells = [f"{way.values:,}" if way.compared else "not compared" for way in each]
        print(f"| `{name}` | {' | '.join(cells)} | {sum(way.differing for way in each)} |")
    print(f"{verdict.sentence()} ({time.perf_counter() - began:.0f} s)", flush=True)
    return sum(way.differing for way in verdict.ways)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"), help="folder of the files")
    parser.add_argument("--no-spark", action="store_true", help="leave Spark out")
    parser.add_argument("--only", choices=["daily", "minutes"], help="one of the two")
    options = parser.parse_args()
    if not (options.data / "prices_daily.parquet").is_file():
        print(f"there are no files in {options.data}: nothing is compared")
        return
    differing = 0
    for title, interval, make in (("daily", "1d", daily), ("minutes", "1m", minutes)):
        if options.only not in (None, title):
            continue
        with tempfile.TemporaryDirectory() as place:
            told = {"data.interval": interval, "data.adjustment": "splits+dividends"}
            home = Workspace(workspace.create(Path(place) / "w").root, told)
            bars, history = make(home, options.data)
            differing += show(title, home, bars, history, catalogue.names(), not options.no_spark)
    raise SystemExit(1 if differing else 0)


if __name__ == "__main__":
    main()
