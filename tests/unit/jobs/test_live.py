"""Live features without a broker: bars come in pieces, late, corrected, wrong; the process dies and goes on."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from aiquant import calendars, schemas
from aiquant.errors import DataError, RefusedError, Unreachable
from aiquant.features import catalogue, engine
from aiquant.features.online import View, open_store
from aiquant.jobs import features, live, live_feed, workspace
from aiquant.jobs.feature_table import FeatureTable
from aiquant.jobs.journal import Journal
from aiquant.jobs.live_history import History, axis, placed
from aiquant.jobs.live_shelf import Shelf
from aiquant.jobs.workspace import Workspace
from aiquant.lake.ledger import Ledger
from aiquant.settings import LiveSettings

FIRST, LAST = date(2019, 1, 2), date(2019, 6, 28)
SESSIONS = calendars.sessions("XNYS", FIRST, LAST)
DATE = pl.col("date")


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return workspace.create(tmp_path / "w")


@pytest.fixture(scope="session")
def market(make_bars: Callable[..., pa.Table]) -> pl.DataFrame:
    """Six symbols; the last is listed in March, and one does not trade in May."""
    bars = pl.DataFrame(pl.from_arrow(make_bars(6, FIRST, LAST)))
    listed = (pl.col("symbol") != "S005") | (DATE >= date(2019, 3, 15))
    away = (pl.col("symbol") == "S004") & DATE.is_between(date(2019, 5, 1), date(2019, 5, 31))
    return bars.filter(listed & ~away)


def store(space: Workspace, bars: pl.DataFrame) -> None:
    space.lake.write(schemas.BARS, bars.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schemas.BARS.schema))


def follow(space: Workspace, *names: str, **more: Any) -> live.Lived:
    return live.live(space, Journal(), names or ("core",), drain=True, kafka=False, **more)


def expected(space: Workspace, name: str) -> pl.DataFrame:
    bars = space.lake.read(schemas.BARS, where=pl.col("interval") == "1d")
    return pl.DataFrame(pl.from_arrow(engine.compute(catalogue.get(name), bars, SESSIONS)))


def check(space: Workspace, name: str = "core") -> None:
    """The newest version of each row, and each symbol's newest row online, are those of batch, to the last bit."""
    want = expected(space, name).drop("known_from")
    got = pl.DataFrame(pl.from_arrow(space.lake.read(f"features_{Path(name).stem}"))).select(want.columns)
    assert got.equals(want, null_equal=True)
    view = View.of(catalogue.get(name))
    shelf = open_store(space.settings.online, space.root)
    newest = want.sort("event_time").unique("symbol", keep="last").sort("symbol").drop("date")
    online = pl.DataFrame(pl.from_arrow(shelf.read(view, newest["symbol"].to_list())))
    assert online.select(newest.columns).equals(newest)
    shelf.close()


def on(bars: pl.DataFrame, symbol: str, day: date) -> pl.DataFrame:
    return bars.filter((pl.col("symbol") == symbol) & (DATE == day))


def test_new_late_and_corrected_bars(space: Workspace, market: pl.DataFrame) -> None:
    late = on(market, "S003", date(2019, 4, 10))
    store(space, market.filter(DATE < date(2019, 4, 1)))
    done = follow(space, "core", "alpha158")
    assert (done.rows, done.recomputed) == (2 * market.filter(DATE < date(2019, 4, 1)).height, 0)
    store(
        space,
        market.filter(DATE.is_between(date(2019, 4, 1), date(2019, 4, 30))).join(
            late, on=["symbol", "date"], how="anti"
        ),
    )
    follow(space, "core", "alpha158")
    before = datetime.now(UTC)
    wrong = on(market, "S001", date(2019, 4, 24)).with_columns(pl.col("close", "high") * 1.01)
    store(space, late)
    store(space, wrong)
    store(space, market.filter(DATE > date(2019, 4, 30)))
    done = follow(space, "core", "alpha158")
    check(space, "core")
    check(space, "alpha158")
    rows = pl.DataFrame(pl.from_arrow(space.lake.read("features_core", history=True)))
    again = rows.filter(pl.col("known_from") != pl.col("event_time"))
    assert 0 < again.height < done.recomputed, "only what differs becomes a version"
    assert again["known_from"].min() >= before  # type: ignore[operator]
    assert again["date"].min() == date(2019, 4, 10) and set(again["symbol"]) <= set(market["symbol"])
    first = rows.filter((pl.col("symbol") == "S001") & (DATE == date(2019, 4, 24))).sort("known_from")
    assert first.height == 2 and first["return_1"][0] != first["return_1"][1], "what was said first is kept"
    assert follow(space, "core", "alpha158").rows == 0


def test_a_first_bar_that_comes_late_moves_the_beginning_of_a_history(space: Workspace, market: pl.DataFrame) -> None:
    early = market.filter((pl.col("symbol") == "S002") & (DATE < date(2019, 2, 1)))
    store(space, market.filter(DATE < date(2019, 4, 1)).join(early, on=["symbol", "date"], how="anti"))
    follow(space)
    store(space, early)
    store(space, market.filter(DATE >= date(2019, 4, 1)))
    follow(space)
    check(space)


SMALL = """
[features.momentum]
formula = "CSRank($close / Ref($close, 7))"
[features.spread]
formula = "Std($close, 5) / Mean(CSZScore($volume), 4)"
"""


def test_late_bars_that_span_more_than_the_look_back(space: Workspace, market: pl.DataFrame) -> None:
    """A partition that another process still held: half of the symbols come after the others, many slots of them."""
    small = space.root / "small.toml"
    small.write_text(SMALL)
    held = pl.col("symbol").is_in(["S001", "S003"]) & (DATE >= date(2019, 2, 1))
    store(space, market.filter(~held))
    follow(space, str(small))
    store(space, market.filter(held))
    follow(space, str(small))
    check(space, str(small))


class Killed(BaseException):
    """Stands for kill -9: nothing of the process runs any more."""


@pytest.mark.parametrize("seed", range(3))
def test_it_may_die_anywhere(
    space: Workspace, market: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Before and after each commit, each write to the online store and each checkpoint."""
    chance = random.Random(seed)
    deaths = 0
    small = space.root / "small.toml"
    small.write_text(SMALL)

    def deadly(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def perhaps(*args: Any, **kwargs: Any) -> Any:
            nonlocal deaths
            fate = chance.random()
            if fate < 0.12:
                deaths += 1
                raise Killed
            result = real(*args, **kwargs)
            if fate > 0.88:
                deaths += 1
                raise Killed
            return result

        monkeypatch.setattr(owner, name, perhaps)

    for owner, name in ((Ledger, "append"), (Shelf, "flush"), (live_feed, "write_bytes")):
        deadly(owner, name)
    days = market["date"].unique().sort().to_list()
    shuffled = market.with_columns(
        pl.Series("at", [days.index(d) + chance.choice([0, 0, 0, 3]) for d in market["date"]])
    )
    for at in range(0, 128, 6):
        store(space, shuffled.filter(pl.col("at").is_between(at, at + 5)).drop("at"))
        for _ in range(chance.choice([1, 2])):
            try:
                follow(space, str(small))
            except Killed:
                pass
        if chance.random() < 0.1:
            next((space.state / "live").glob("*"), Path("/nowhere")).unlink(missing_ok=True)
    monkeypatch.undo()
    follow(space, str(small))
    assert deaths > 3
    check(space, str(small))


@pytest.mark.parametrize("damage", ["flipped", "cut", "version", "pickle"])
def test_a_checkpoint_that_cannot_be_used(space: Workspace, market: pl.DataFrame, damage: str) -> None:
    store(space, market.filter(DATE < date(2019, 5, 2)))
    follow(space)
    (file,) = (space.state / "live").glob("core-1d.state")
    content = file.read_bytes()
    version = catalogue.get("core").version
    file.write_bytes(
        {
            "flipped": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
            "cut": content[: len(content) // 2],
            "version": _resealed(content, version, "0" * 16),
            "pickle": b"\x80\x04N.",
        }[damage]
    )
    store(space, market.filter(DATE >= date(2019, 5, 2)))
    journal = Journal()
    live.live(space, journal, ["core"], drain=True, kafka=False)
    (note,) = journal.notes
    assert str(file) in note and "made again from the bars of the lake" in note
    assert {"version": "made with version 0000", "pickle": "no state"}.get(damage, "digest is wrong") in note
    check(space)


def _resealed(content: bytes, old: str, new: str) -> bytes:
    """As another version of aiquant would have written it."""
    import hashlib

    mark = len(b"aiquant state 1\n")
    body = content[mark + 64 :].replace(old.encode(), new.encode())
    return content[:mark] + hashlib.sha256(body).hexdigest().encode() + body


def test_a_table_of_another_version_of_the_set_is_not_mixed_with(space: Workspace, market: pl.DataFrame) -> None:
    store(space, market)
    rows = expected(space, "core").drop("return_1")
    space.lake.overwrite("features_core", rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
    with pytest.raises(
        DataError, match="features_core was made with other features.*aiquant features build --set core"
    ):
        follow(space)


def test_it_goes_on_behind_what_batch_has_built(space: Workspace, market: pl.DataFrame) -> None:
    store(space, market.filter(DATE < date(2019, 5, 15)))
    built = expected(space, "core").to_arrow(compat_level=pl.CompatLevel.oldest())
    space.lake.overwrite("features_core", built)
    store(space, market.filter(DATE >= date(2019, 5, 15)))
    done = follow(space)
    assert done.rows == market.filter(DATE >= date(2019, 5, 15)).height
    check(space)


@pytest.mark.parametrize("change", ["corrected", "late"])
def test_what_came_between_a_build_and_the_first_start(space: Workspace, market: pl.DataFrame, change: str) -> None:
    """The table tells which version of the bars it was made from: what came since touches rows that it has."""
    old, until = on(market, "S001", date(2019, 4, 10)), date(2019, 5, 15)
    begun = market.filter(DATE < until)
    store(space, begun if change == "corrected" else begun.join(old, on=["symbol", "date"], how="anti"))
    features.build(space, Journal())
    store(space, old.with_columns(pl.col("close", "high") * 1.01) if change == "corrected" else old)
    done = follow(space)
    assert done.recomputed > 0
    check(space)
    store(space, market.filter(DATE >= until))
    assert follow(space).recomputed == 0
    check(space)


def test_a_build_whose_later_bars_cannot_be_told_any_more(space: Workspace, market: pl.DataFrame) -> None:
    """Compacted and vacuumed since: live says what to do, and after that goes on."""
    store(space, market.filter(DATE < date(2019, 3, 1)))
    features.build(space, Journal())
    store(space, market.filter(DATE >= date(2019, 3, 1)))
    bars = DeltaTable(space.lake.place(schemas.BARS))
    bars.optimize.compact()
    bars.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(
        DataError, match="does not tell what has changed since; bring it up with: aiquant features build"
    ):
        follow(space)
    features.build(space, Journal())
    assert follow(space).recomputed == 0
    rows = pl.DataFrame(pl.from_arrow(space.lake.read("features_core"))).sort("symbol", "event_time")
    want = expected(space, "core").select(rows.columns).sort("symbol", "event_time")
    assert rows.equals(want, null_equal=True)


def test_where_the_table_does_not_tell_what_it_was_made_from(space: Workspace, market: pl.DataFrame) -> None:
    """Bars in the place of those of the build have versions of their own: theirs say nothing of these."""
    store(space, market.filter(DATE < date(2019, 3, 1)))
    features.build(space, Journal())
    table = FeatureTable(space.lake, "core")
    assert table.bars_version() == space.lake.version(schemas.BARS)
    shutil.rmtree(space.lake.place(schemas.BARS))
    store(space, market)
    assert table.bars_version() is None
    follow(space)
    check(space)


def test_bars_without_a_slot_are_set_aside_once(space: Workspace, market: pl.DataFrame) -> None:
    saturday = on(market, "S001", date(2019, 2, 1)).with_columns(
        pl.lit(date(2019, 2, 2)).alias("date"), *(pl.col(n) + timedelta(days=1) for n in ("event_time", "known_from"))
    )
    twice = on(market, "S001", date(2019, 2, 1)).with_columns(pl.col("event_time") + timedelta(minutes=1))
    minute = on(market, "S002", date(2019, 2, 1)).with_columns(interval=pl.lit("1m"), period=pl.lit("2019-02-01"))
    store(space, pl.concat([market.filter(DATE < date(2019, 2, 5)), saturday, twice, minute]))
    follow(space)
    assert follow(space).letters == 0
    (space.state / "live" / "core-1d.state").unlink()
    follow(space)
    store(space, market.filter(DATE >= date(2019, 2, 5)))
    follow(space)
    letters = space.lake.read("dead_letters", history=True).to_pylist()
    assert sorted((letter["symbol"], letter["reason"]) for letter in letters) == [
        ("S001", "no features: another bar of the symbol closed in the same slot before"),
        ("S001", "no features: its day is no session of XNYS"),
    ]
    space.lake.overwrite(schemas.BARS, market.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schemas.BARS.schema))
    check(space)


class Away:
    """An online store that is down until told otherwise."""

    def __init__(self, real: Any) -> None:
        self.real, self.down, self.tries = real, True, 0

    def write(self, view: Any, rows: Any) -> Any:
        self.tries += 1
        if self.down:
            raise Unreachable("the online store 127.0.0.1:6379 does not answer", "start it")
        return self.real.write(view, rows)

    def close(self) -> None:
        self.real.close()


def test_the_online_store_is_away_for_a_while(
    space: Workspace, market: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(open_store(space.settings.online, space.root))
    monkeypatch.setattr("aiquant.features.online.open_store", lambda *_: away)
    store(space, market.filter(DATE < date(2019, 5, 2)))
    journal = Journal()
    done = live.live(space, journal, ["core"], drain=True, kafka=False)
    assert done.rows == market.filter(DATE < date(2019, 5, 2)).height and done.unsent == 6, "the lake goes on"
    assert journal.notes == ["the online store 127.0.0.1:6379 does not answer; the lake goes on, the newest rows wait"]
    view = View.of(catalogue.get("core"))
    shelf = Shelf(away, view, journal)  # type: ignore[arg-type]
    rows = space.lake.read("features_core")
    for _ in range(3):
        shelf.put(rows)
        assert shelf.flush() is None
    assert shelf.waiting == 6, "one row a symbol, however long it takes"
    assert away.tries == 2, "it is not asked again at once"
    away.down = False
    assert shelf.flush(now=True) is not None and shelf.waiting == 0
    assert journal.notes[-1] == "the online store is back; what waited is there"
    store(space, market.filter(DATE >= date(2019, 5, 2)))
    follow(space)
    check(space)


def test_two_processes_for_one_set(space: Workspace, market: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    store(space, market.filter(DATE < date(2019, 5, 2)))
    real = Ledger.append

    def rival(self: Ledger, *args: Any) -> Any:
        monkeypatch.setattr(Ledger, "append", real)
        follow(space)
        return real(self, *args)

    monkeypatch.setattr(Ledger, "append", rival)
    with pytest.raises(RefusedError, match="another process makes the live features of set core"):
        follow(space)


def test_a_split_that_becomes_known_too_late(space: Workspace, market: pl.DataFrame) -> None:
    store(space, market)
    follow(space)
    moment = datetime(2019, 6, 3, 13, 30, tzinfo=UTC)
    split = {"symbol": "S000", "kind": "split", "date": date(2019, 6, 3), "event_time": moment, "known_from": moment}
    actions = pa.Table.from_pylist([{**split, "ratio": 3.0, "source": "t"}], schema=schemas.CORPORATE_ACTIONS.schema)
    space.lake.write(schemas.CORPORATE_ACTIONS, actions)
    done = follow(space)
    assert done.rows > 0
    want = engine.compute(catalogue.get("core"), space.lake.read(schemas.BARS), SESSIONS, actions=actions)
    got = pl.DataFrame(pl.from_arrow(space.lake.read("features_core"))).drop("known_from")
    assert got.equals(pl.DataFrame(pl.from_arrow(want)).drop("known_from").select(got.columns))


@pytest.mark.parametrize("lost", [False, True])
def test_a_split_between_a_build_or_a_stop_and_the_next_start(
    space: Workspace, market: pl.DataFrame, lost: bool
) -> None:
    """The table tells which actions its rows know, whether a build or a stream (whose checkpoint is gone) made them."""
    moment = datetime(2019, 6, 3, 13, 30, tzinfo=UTC)
    split = {"symbol": "S000", "kind": "split", "date": date(2019, 6, 3), "event_time": moment, "known_from": moment}
    actions = pa.Table.from_pylist([{**split, "ratio": 3.0, "source": "t"}], schema=schemas.CORPORATE_ACTIONS.schema)
    store(space, market)
    if lost:
        follow(space)
        shutil.rmtree(space.state / "live")
    else:
        features.build(space, Journal())
    space.lake.write(schemas.CORPORATE_ACTIONS, actions)
    assert follow(space).revised > 0
    want = engine.compute(catalogue.get("core"), space.lake.read(schemas.BARS), SESSIONS, actions=actions)
    got = pl.DataFrame(pl.from_arrow(space.lake.read("features_core"))).drop("known_from")
    assert got.equals(pl.DataFrame(pl.from_arrow(want)).drop("known_from").select(got.columns))
    assert follow(space).rows == 0


def feed(space: Workspace, tmp_path: Path, **told: Any) -> live_feed.Feed:
    made = live_feed.Feed(
        catalogue.get("core"),
        False,
        History(space.lake, axis(space.settings)),
        LiveSettings(**told),
        tmp_path / "state",
    )
    made.restore(None, None, None)
    return made


def test_when_a_slot_is_complete(
    space: Workspace, market: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(live_feed.time, "monotonic", lambda: clock[0])
    store(space, market.clear())
    made = feed(space, tmp_path, lateness_seconds=10, expect_slots=2)
    parts = {day: part.to_arrow() for (day,), part in market.sort("date").partition_by("date", as_dict=True).items()}
    days = list(parts)

    def arrives(n: int, symbols: str = "01234") -> None:
        own = pl.DataFrame(pl.from_arrow(parts[days[n]])).filter(pl.col("symbol").str.tail(1).is_in(list(symbols)))
        made.take(own.to_arrow().cast(schemas.BARS.schema), n)

    arrives(0)
    assert made.step(settled=True).num_rows == 0, "nobody is expected yet"
    clock[0] += 10
    assert made.step(settled=False).num_rows == 0, "more may lie in the log"
    assert made.step(settled=True).num_rows == 5, "the time is over"
    arrives(1)
    assert made.step(settled=False).num_rows == 5, "all that are expected are there"
    arrives(2, "0123")
    assert made.step(settled=True).num_rows == 0
    arrives(3, "0")
    assert made.step(settled=True).num_rows == 4, "a bar came that is more than the lateness younger"
    clock[0] += 9.5
    assert made.step(settled=True).num_rows == 0
    arrives(3, "1234")
    assert made.step(settled=True).num_rows == 5
    arrives(4, "0123")
    arrives(5, "0123")
    assert made.step(settled=True).num_rows == 4
    clock[0] += 10
    assert made.step(settled=True).num_rows == 4
    arrives(6, "0123")
    assert made.step(settled=True).num_rows == 4, "the one that is missing for two slots is not waited for"


def test_only_so_many_bars_wait(space: Workspace, market: pl.DataFrame, tmp_path: Path) -> None:
    store(space, market.clear())
    made = feed(space, tmp_path, buffer_bars=50)
    made.take(market.filter(DATE < date(2019, 2, 15)).to_arrow().cast(schemas.BARS.schema), 1)
    rows = made.step(settled=False)
    assert rows.num_rows > 0 and made.waiting.frame.height <= 50


def test_minutes_with_closing_auctions(space: Workspace) -> None:
    told = Workspace(space.root, {"data.calendar": "XETR", "data.interval": "1m"})
    days = calendars.sessions("XETR", date(2017, 7, 27), date(2017, 7, 28))
    rng = np.random.default_rng(3)
    rows = []
    for day in range(2):
        for n in [*range(1, 512), 700]:  # 510 minutes, the auction's print, and one of the evening
            moment = days.opens[day].item().replace(tzinfo=UTC) + timedelta(minutes=n)
            for symbol in "AB":
                if n == 700 and symbol == "A" or n < 511 and rng.random() < 0.1:
                    continue
                rows.append({"symbol": symbol, "event_time": moment, "close": 10 + rng.random()})
    frame = pl.DataFrame(rows).with_columns(
        pl.col("event_time").dt.cast_time_unit("us"),
        pl.col("event_time").dt.cast_time_unit("us").alias("known_from"),
        pl.col("event_time").dt.date().alias("date"),
        pl.col("event_time").dt.strftime("%Y-%m-%d").alias("period"),
        *(pl.lit(v).alias(k) for k, v in {"interval": "1m", "adjustment": "none", "source": "t"}.items()),
    )
    bars = schemas.conform(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), schemas.BARS)
    good, letters = placed(bars, axis(told.settings))
    half = good["event_time"].sort()[good.height // 2]
    for part in (good.filter(pl.col("event_time") <= half), good.filter(pl.col("event_time") > half)):
        told.lake.write(
            schemas.BARS, part.drop("slot").to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schemas.BARS.schema)
        )
        live.live(told, Journal(), ["core"], drain=True, kafka=False)
    want = pl.DataFrame(pl.from_arrow(engine.compute(catalogue.get("core"), told.lake.read(schemas.BARS), days)))
    got = pl.DataFrame(pl.from_arrow(told.lake.read("features_core")))
    assert letters.num_rows == 2 and got.equals(want.select(got.columns))


def test_articles_count_in_the_bars_that_close_after_them(space: Workspace, market: pl.DataFrame) -> None:
    """As in batch, which sees all of them at once; bar by bar they come while the process runs."""
    rng = np.random.default_rng(4)
    rows = []
    for n in range(400):
        moment = datetime(2019, 1, 10, tzinfo=UTC) + timedelta(hours=float(rng.uniform(0, 4000)))
        told = {"article_id": str(n), "date": moment.date(), "event_time": moment, "known_from": moment, "url": "u"}
        title = f"title {rng.integers(0, 40)}"
        rows.append({**told, "symbols": f"S00{rng.integers(0, 6)}", "title": title, "publisher": "p", "source": "t"})
    articles = pa.Table.from_pylist(rows, schema=schemas.NEWS.schema)
    small = space.root / "talk.toml"
    small.write_text('[features.talk]\nformula = "Mean($news_count, 3) + $news_novel / Ref($close, 2)"\n')
    for first, last in ((FIRST, date(2019, 3, 20)), (date(2019, 3, 21), date(2019, 3, 21)), (date(2019, 3, 22), LAST)):
        moments = pl.DataFrame(pl.from_arrow(articles))
        some = moments.filter(DATE.is_between(first, last))
        space.lake.write("news", some.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schemas.NEWS.schema))
        store(space, market.filter(DATE.is_between(first, last)))
        follow(space, str(small))
    from aiquant.jobs import parity

    verdict = parity.check(space, Journal(), [str(small)], days=100)
    assert verdict.passed and all(way.values for way in verdict.ways), verdict.ways
    whole = pl.DataFrame(pl.from_arrow(space.lake.read("features_talk")))
    assert whole["talk"].fill_nan(0).max() > 1


def test_an_article_that_reaches_the_lake_after_its_slot(space: Workspace, market: pl.DataFrame) -> None:
    """Known before the close, told of behind it: the rows that it touches get a version more, known from now."""
    small = space.root / "talk.toml"
    small.write_text('[features.talk]\nformula = "Mean($news_count, 3)"\n')

    def article(name: str, moment: datetime) -> None:
        told = {"article_id": name, "date": moment.date(), "event_time": moment, "known_from": moment, "url": "u"}
        row = {**told, "symbols": "S001", "title": name, "publisher": "p", "source": "t"}
        space.lake.write("news", pa.Table.from_pylist([row], schema=schemas.NEWS.schema))

    article("first", datetime(2019, 3, 1, 15, tzinfo=UTC))
    store(space, market)
    follow(space, str(small))
    before = datetime.now(UTC)
    article("late", datetime(2019, 6, 5, 15, tzinfo=UTC))
    assert follow(space, str(small)).revised == 3
    rows = pl.DataFrame(pl.from_arrow(space.lake.read("features_talk", history=True)))
    again = rows.filter(pl.col("known_from") != pl.col("event_time")).sort("event_time")
    assert again["date"].to_list() == [date(2019, 6, 5), date(2019, 6, 6), date(2019, 6, 7)]
    assert set(again["symbol"]) == {"S001"} and again["known_from"].min() >= before  # type: ignore[operator]
    from aiquant.jobs import parity

    assert parity.check(space, Journal(), [str(small)], days=100).passed
    assert follow(space, str(small)).rows == 0
