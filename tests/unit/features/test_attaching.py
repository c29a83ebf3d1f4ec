"""What events and classes add to bars, against a walk through them one by one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.errors import DataError
from aiquant.features import engine, fields
from aiquant.features.attaching import NOVEL_AFTER, attach, code_of
from aiquant.features.catalogue import FeatureSet, define
from aiquant.schemas import BARS, CLASSIFICATION, NEWS, SCORES, TWEETS, conform

NAN = np.nan
SESSIONS = calendars.sessions("XNYS", date(2021, 3, 1), date(2021, 4, 30))
NEWS_FIELDS = [n for n in fields.ATTACHED if n.startswith("news")]
POST_FIELDS = [n for n in fields.ATTACHED if n.startswith("post")]


def at(day: int, hour: float = 12.0) -> datetime:
    return datetime(2021, 3, day, tzinfo=UTC) + timedelta(hours=hour)


def news(*rows: tuple[str, datetime, str, str, str | None]) -> pa.Table:
    """``(id, known_from, symbols, title, publisher)``."""
    return conform(
        pa.Table.from_pylist(
            [
                {
                    "article_id": key,
                    "date": known.date(),
                    "event_time": known - timedelta(minutes=5),
                    "known_from": known,
                    "symbols": symbols,
                    "title": title,
                    "url": "http://x/" + key,
                    "publisher": publisher,
                    "source": "test",
                }
                for key, known, symbols, title, publisher in rows
            ]
        ),
        NEWS,
    )


def posts(*rows: tuple[str, datetime, str, str, str, str]) -> pa.Table:
    """``(id, known_from, symbols, author, text, kind)``."""
    return conform(
        pa.Table.from_pylist(
            [
                {
                    "post_id": key,
                    "date": known.date(),
                    "event_time": known,
                    "known_from": known,
                    "symbols": symbols,
                    "author": author,
                    "text": text,
                    "kind": kind,
                    "source": "test",
                }
                for key, known, symbols, author, text, kind in rows
            ]
        ),
        TWEETS,
    )


def scores(kind: str, *rows: tuple[str, float, datetime, str]) -> pa.Table:
    told = [
        {"kind": kind, "document_id": d, "model": m, "score": s, "event_time": k, "known_from": k}
        for d, s, k, m in rows
    ]
    return conform(pa.Table.from_pylist(told), SCORES)


def daily(symbol: str, *days: int) -> pa.Table:
    found = SESSIONS.index_of(np.array([np.datetime64(f"2021-03-{d:02}") for d in days]))
    closes = pl.Series(SESSIONS.closes[found]).dt.replace_time_zone("UTC")
    frame = pl.DataFrame({"date": SESSIONS.dates[found], "event_time": closes, "known_from": closes}).with_columns(
        *(pl.lit(v).alias(k) for k, v in (("symbol", symbol), ("interval", "1d"), ("period", "2021"))),
        *(pl.lit(v).alias(k) for k, v in (("adjustment", "none"), ("source", "test"), ("close", 10.0))),
    )
    return conform(frame.to_arrow(), BARS)


def column(table: pa.Table, name: str) -> list[float]:
    return [float(v) for v in table[name].to_pylist()]


def test_an_article_counts_in_the_first_bar_that_closes_when_it_is_known() -> None:
    bars = daily("A", 1, 2, 3, 4)  # closes at 21:00 UTC
    told = news(
        ("a", at(1, 20.0), "A", "Opening", "P"),
        ("b", at(2, 21.0), "A,B", "At the close", "P"),
        ("c", at(2, 21.01), "A", "After it", "Q"),
        ("d", at(3, 9.0), "A", "After it!", "P"),
        ("e", at(3, 9.5), "B", "Another's", "P"),
    )
    got = attach(bars, NEWS_FIELDS, {"news": told}, SESSIONS)
    assert column(got, "news_count") == [1, 1, 2, 0]
    assert column(got, "news_novel") == [1, 1, 1, 0]
    assert column(got, "news_publishers") == [1, 1, 2, 0]
    assert np.isnan(column(got, "news_sentiment")).all()


def test_before_the_first_article_the_number_is_unknown_and_without_a_table_too() -> None:
    bars = daily("A", 1, 2, 3)
    told = news(("a", at(2, 10), "A", "First", None))
    assert column(attach(bars, ["news_count"], {"news": told}, SESSIONS), "news_count") == pytest.approx(
        [NAN, 1, 0], nan_ok=True
    )
    assert column(attach(bars, ["news_publishers"], {"news": told}, SESSIONS), "news_publishers")[1] == 0
    for nothing in ({}, {"news": None}, {"news": told.slice(0, 0)}):
        assert np.isnan(column(attach(bars, ["news_count"], nothing, SESSIONS), "news_count")).all()
    assert attach(bars, ["close", "weekday"], {}, SESSIONS) is bars


def test_what_became_known_while_there_was_no_bar_waits_for_the_next_session_at_most() -> None:
    told = news(("o", at(1, 10), "A", "o", "P"), ("a", at(3, 10), "A", "a", "P"), ("b", at(4, 10), "A", "b", "P"))
    got = attach(daily("A", 2, 5, 8), ["news_count"], {"news": told}, SESSIONS)
    assert column(got, "news_count") == [1, 1, 0]  # that of the 3rd lies two sessions behind the 5th
    long_ago = news(("x", datetime(2019, 1, 2, tzinfo=UTC), "A", "x", "P"))
    assert column(attach(daily("A", 1, 2), ["news_count"], {"news": long_ago}, SESSIONS), "news_count") == [0, 0]


def test_the_first_version_of_an_article_counts() -> None:
    told = pa.concat_tables([news(("a", at(3, 10), "A,B", "New", "P")), news(("a", at(2, 10), "A", "Old", "P"))])
    assert column(attach(daily("A", 2, 3), ["news_count"], {"news": told}, SESSIONS), "news_count") == [1, 0]
    assert column(attach(daily("B", 2, 3), ["news_count"], {"news": told}, SESSIONS), "news_count") == [0, 0]


def test_posts() -> None:
    told = posts(
        ("1", at(2, 10), "A", "u", "Buy $A now http://t.co/x", "post"),
        ("2", at(2, 11), "A", "v", "buy $a NOW", "retweet"),
        ("3", at(2, 12), "A", "u", "Something else", "reply"),
        ("4", at(2, 12) + NOVEL_AFTER, "A", "w", "buy a now!", "post"),
    )
    got = attach(daily("A", 2, 9), POST_FIELDS, {"tweets": told}, SESSIONS)
    assert column(got, "post_count") == [3, 1]
    assert column(got, "post_novel") == [2, 1]
    assert column(got, "post_authors") == [2, 1]
    assert column(got, "post_repeats") == [1, 0]


def test_a_score_counts_when_both_it_and_its_document_are_known() -> None:
    told = news(("a", at(2, 10), "A", "a", "P"), ("b", at(2, 11), "A", "b", "P"), ("c", at(3, 10), "A", "c", "P"))
    made = scores("news", ("a", 0.5, at(2, 12), "m"), ("b", -0.1, at(2, 12), "m"), ("c", 1.0, at(4, 8), "m"))
    got = attach(daily("A", 2, 3, 4), NEWS_FIELDS, {"news": told, "scores": made}, SESSIONS)
    assert column(got, "news_sentiment") == pytest.approx([0.2, NAN, 1.0], nan_ok=True)
    assert column(got, "news_sentiment_std") == pytest.approx([np.std([0.5, -0.1], ddof=1), NAN, NAN], nan_ok=True)
    assert column(got, "news_count") == [2, 1, 0]
    of_posts = attach(daily("A", 2), ["news_sentiment"], {"news": told, "scores": made}, SESSIONS)
    assert np.isfinite(column(of_posts, "news_sentiment")).all()


def test_one_model_s_scores_count() -> None:
    told = news(("a", at(2, 10), "A", "a", "P"))
    made = scores("news", ("a", 0.5, at(2, 12), "m"), ("a", -0.5, at(2, 12), "other"))
    both = {"news": told, "scores": made}
    with pytest.raises(DataError, match="several models: m, other; .*features.sentiment_model"):
        attach(daily("A", 2), ["news_sentiment"], both, SESSIONS)
    with pytest.raises(DataError, match="no score of model 'nobody'"):
        attach(daily("A", 2), ["news_sentiment"], both, SESSIONS, model="nobody")
    assert column(attach(daily("A", 2), ["news_sentiment"], both, SESSIONS, model="other"), "news_sentiment") == [-0.5]


def classes(*rows: tuple[str, date, datetime, str | None, float | None]) -> pa.Table:
    """``(symbol, valid_from, known_from, sector, shares)``."""
    return conform(
        pa.Table.from_pylist(
            [
                {
                    "symbol": symbol,
                    "valid_from": valid,
                    "event_time": known,
                    "known_from": known,
                    "sector": sector,
                    "shares": shares,
                    "source": "test",
                }
                for symbol, valid, known, sector, shares in rows
            ]
        ),
        CLASSIFICATION,
    )


def test_a_class_is_what_was_known_at_the_bar() -> None:
    told = classes(
        ("A", date(2021, 1, 1), at(1, 0), "Energy", 100.0),
        ("A", date(2021, 3, 3), at(3, 0), "Utilities", None),
        ("A", date(2021, 1, 1), at(4, 0), "Finance", 7.0),  # corrects what no longer holds
        ("A", date(2021, 3, 3), at(5, 0), " utilities  ", 50.0),  # corrects what does
        ("B", date(2021, 3, 1), at(2, 0), "Energy", 1.0),
    )
    got = attach(daily("A", 1, 2, 3, 4, 5), ["sector", "industry", "cap"], {"classification": told}, SESSIONS)
    energy, utilities = code_of("Energy"), code_of("Utilities")
    assert column(got, "sector") == [energy, energy, utilities, utilities, utilities]
    assert np.isnan(column(got, "industry")).all()
    assert column(got, "cap") == pytest.approx([1000, 1000, NAN, NAN, 500], nan_ok=True)
    other = attach(daily("B", 1, 2), ["sector"], {"classification": told}, SESSIONS)
    assert column(other, "sector") == pytest.approx([NAN, energy], nan_ok=True)
    assert np.isnan(column(attach(daily("Z", 1), ["cap"], {"classification": told}, SESSIONS), "cap")).all()


def test_groups_of_classes_in_a_formula() -> None:
    told = classes(*((s, date(2021, 1, 1), at(1, 0), g, None) for s, g in (("A", "x"), ("B", "x"), ("C", "y"))))
    bars = pa.concat_tables([_priced(s, v) for s, v in (("A", 1.0), ("B", 3.0), ("C", 9.0))])
    chosen = FeatureSet("t", define([("f", "CSNeutralize($close, $sector)", "", "")]))
    table = engine.compute(chosen, attach(bars, chosen.fields, {"classification": told}, SESSIONS), SESSIONS)
    assert table["f"].to_pylist() == [-1, -1, 1, 1, 0, 0]


def _priced(symbol: str, price: float) -> pa.Table:
    bars = daily(symbol, 1, 2)
    return bars.set_column(bars.column_names.index("close"), "close", pa.array([price, price]))


def walk(bars: pl.DataFrame, events: list[tuple[datetime, str]]) -> list[float]:
    """News counts, one event and one bar at a time."""
    counts = [0.0] * bars.height
    moments, days = bars["event_time"].to_list(), bars["date"].to_list()
    wide = calendars.sessions("XNYS", date(2021, 1, 4), date(2021, 4, 30))
    closes = [c.astype("datetime64[us]").item().replace(tzinfo=UTC) for c in wide.closes]
    dates = [d.item() for d in wide.dates]
    first = min(known for known, _ in events)
    for known, symbol in events:
        session = next(k for k, c in enumerate(closes) if c >= known)
        later = [k for k in range(bars.height) if bars["symbol"][k] == symbol and moments[k] >= known]
        if later and dates.index(days[min(later, key=moments.__getitem__)]) - session <= 1:
            counts[min(later, key=moments.__getitem__)] += 1
    return [NAN if moment < first else count for moment, count in zip(moments, counts, strict=True)]


@pytest.mark.parametrize("seed", range(6))
def test_counts_against_a_walk_and_a_later_start_and_a_cut(
    seed: int, make_bars: Callable[..., pa.Table], sessions: calendars.Sessions
) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for symbol in "AB":
        days = sorted(rng.choice(np.arange(1, 32), 14, replace=False).tolist())
        days = [d for d in days if SESSIONS.index_of(np.array([np.datetime64(f"2021-03-{d:02}")]))[0] >= 0]
        rows.append(daily(symbol, *days))
    bars = pa.concat_tables(rows)
    frame = pl.DataFrame(bars)
    events = sorted(
        (at(int(d), float(h)), str(s))
        for d, h, s in zip(rng.integers(1, 31, 60), rng.uniform(0, 24, 60), rng.choice(list("ABC"), 60), strict=True)
    )
    told = news(*((str(k), known, symbol, f"t{k}", "P") for k, (known, symbol) in enumerate(events)))

    def counted(part: pa.Table, of: pa.Table = told) -> pl.DataFrame:
        return pl.DataFrame(attach(part, ["news_count"], {"news": of}, SESSIONS)).select("symbol", "date", "news_count")

    whole = counted(bars)
    assert whole["news_count"].to_list() == pytest.approx(walk(frame, events), nan_ok=True)
    day = date(2021, 3, 17)
    later = counted(frame.filter(pl.col("date") >= date(2021, 3, 15)).to_arrow().cast(bars.schema))
    after = pl.col("date") >= day  # a session and more behind the start
    assert later.filter(after).equals(whole.filter(after))
    cut = at(17, 21)
    known = told.filter(pa.compute.less_equal(told["known_from"], pa.scalar(cut)))
    past = counted(frame.filter(pl.col("event_time") <= cut).to_arrow().cast(bars.schema), known)
    assert past.equals(whole.filter(pl.col("date") <= day))


def test_every_attached_field_names_its_tables_and_can_be_made() -> None:
    tables: dict[str, Any] = {
        "news": news(("a", at(1, 10), "A", "a", "P"), ("b", at(1, 11), "A", "b", "P")),
        "tweets": posts(("a", at(1, 10), "A", "u", "x", "post"), ("b", at(1, 11), "A", "u", "y", "post")),
        "classification": classes(("A", date(2021, 1, 1), at(1, 0), "s", 3.0)),
        "scores": pa.concat_tables(
            [scores(kind, ("a", 0.5, at(1, 12), "m"), ("b", 0.1, at(1, 12), "m")) for kind in ("news", "tweets")]
        ),
    }
    told = tables["classification"]
    for level in ("industry", "subindustry"):
        told = told.set_column(told.column_names.index(level), level, pa.array(["x"]))
    got = attach(daily("A", 1), fields.ATTACHED, {**tables, "classification": told}, SESSIONS)
    for name in fields.ATTACHED:
        assert np.isfinite(column(got, name)).all(), name
        assert fields.FIELDS[name].tables, name
    assert fields.tables(("close", "news_sentiment", "cap")) == ("classification", "news", "scores")
