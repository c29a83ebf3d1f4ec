"""Attached fields: what tables of events and of classes add to the bars, before any formula reads them.

An **event** (an article, a post, a score of one) counts in the first bar of its symbol that closes when the event is
known or later, in the session in which it became known or in the next one; where there is no such bar it is not
counted. A field of events is therefore a fact of two sessions, and a batch and a stream that see these give the same
value. Before the first event of its table a count is not 0 but unknown.

A **class** of a symbol (sector, industry) is what was known of it at the bar's close: the row that is valid from the
latest day, of which the newest version counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import calendars
from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.features.fields import ATTACHED, FIELDS
from aiquant.schemas import NEWS, TWEETS, Table

NOVEL_AFTER = timedelta(days=7)
"""A text that was not seen on a symbol for this long is new again."""

_BAR = ["symbol", "event_time"]
_DOCUMENTS = {"news": ("article_id", "title"), "tweets": ("post_id", "text")}
_COUNTS: dict[str, pl.Expr] = {
    "news_count": pl.len(),
    "news_novel": pl.col("novel").sum(),
    "news_publishers": pl.col("publisher").drop_nulls().n_unique(),
    "post_count": pl.len(),
    "post_novel": pl.col("novel").sum(),
    "post_authors": pl.col("author").n_unique(),
    "post_repeats": (pl.col("kind") == "retweet").sum(),
}
_SCORES: dict[str, pl.Expr] = {
    f"{of}_sentiment{end}": value
    for of in ("news", "post")
    for end, value in (("", pl.col("score").mean()), ("_std", pl.col("score").std(ddof=1)))
}
_LEVELS = ("sector", "industry", "subindustry")


def attach(
    bars: pa.Table,
    names: Collection[str],
    tables: Mapping[str, pa.Table | None],
    sessions: Sessions,
    model: str | None = None,
) -> pa.Table:
    """Bars with their attached fields.

    Parameters
    ----------
    bars
        Rows of :data:`aiquant.schemas.BARS` of one interval, one version each, in any order.
    names
        Fields that are wanted; those that are not attached ones are left to others.
    tables
        Rows of ``news``, ``tweets``, ``scores``, ``classification``, all versions, by name: what the wanted fields are
        made from (:func:`aiquant.features.fields.tables`). None or a missing one leaves its fields NaN.
    sessions
        Sessions that cover all bars.
    model
        The model whose scores count; None where the table holds one model's only.

    Returns
    -------
    pyarrow.Table
        ``bars`` and a float64 column a field, NaN where there is no value.

    Raises
    ------
    DataError
        When scores of several models are there and none was chosen, or of the chosen one there are none.
    """
    wanted = [name for name in ATTACHED if name in names]
    if not wanted:
        return bars
    rows = pl.DataFrame(bars.select(["symbol", "date", "event_time", "close"])).with_row_index("row")
    columns = {name: np.full(rows.height, np.nan) for name in wanted}
    for kind in ("news", "tweets"):
        table = tables.get(kind)
        own = [name for name in wanted if FIELDS[name].tables[0] == kind]
        if own and table is not None and table.num_rows:
            events, wide = _events(table, kind), _with_days_before(sessions)
            _fill(columns, rows, events, {n: _COUNTS[n] for n in own if n in _COUNTS}, wide, zero=True)
            scored = _scored(events, tables.get("scores"), kind, model) if any(n in _SCORES for n in own) else None
            if scored is not None:
                _fill(columns, rows, scored, {n: _SCORES[n] for n in own if n in _SCORES}, wide, zero=False)
    classes = tables.get("classification")
    own = [name for name in wanted if FIELDS[name].tables == ("classification",)]
    if own and classes is not None and classes.num_rows:
        columns.update(_classes(rows, pl.DataFrame(classes), own))
    for name, column in columns.items():
        bars = bars.append_column(pa.field(name, pa.float64()), pa.array(column))
    return bars


def code_of(name: str) -> float:
    """The number that stands for a class: 52 bits of a digest of its name, however it is cased or spaced."""
    plain = " ".join(name.lower().split())
    return float(int.from_bytes(hashlib.sha256(plain.encode()).digest()[:8], "big") >> 12)


def _events(table: pa.Table, kind: str) -> pl.DataFrame:
    """One row a document and symbol, as it was first told, in the order in which they became known."""
    document, text = _DOCUMENTS[kind]
    spec: Table = NEWS if kind == "news" else TWEETS
    frame = pl.DataFrame(table).select(n for n in (*spec.schema.names,) if not n.startswith("log_"))
    frame = frame.sort("known_from", document).unique(document, keep="first", maintain_order=True)
    frame = frame.with_columns(
        pl.col("symbols").str.split(",").alias("symbol"),
        pl.col(document).alias("document_id"),
        pl.col(text)
        .str.to_lowercase()
        .str.replace_all(r"https?://\S+", " ")
        .str.replace_all(r"[^\p{L}\p{N}]+", " ")
        .str.strip_chars()
        .alias("plain"),
    )
    frame = frame.explode("symbol").with_columns(pl.col("symbol").str.strip_chars()).filter(pl.col("symbol") != "")
    since = pl.col("known_from") - pl.col("known_from").shift(1).over("symbol", "plain")
    return frame.with_columns((since.is_null() | (since > NOVEL_AFTER)).alias("novel"))


def _scored(events: pl.DataFrame, scores: pa.Table | None, kind: str, model: str | None) -> pl.DataFrame | None:
    """Events with their scores, known when both are; None where there is no score."""
    if scores is None:
        return None
    told = pl.DataFrame(scores).filter(pl.col("kind") == kind)
    models = sorted(told["model"].unique())
    if model is None and len(models) > 1:
        raise DataError(
            f"documents were scored by several models: {', '.join(models)}",
            "choose one with the setting features.sentiment_model",
        )
    if model is not None and models and model not in models:
        raise DataError(
            f"setting features.sentiment_model: no score of model {model!r} is there",
            f"choose one of {', '.join(models)}, or score the documents with it",
        )
    if not models:
        return None
    told = told.filter(pl.col("model") == (model or models[0])).sort("known_from")
    told = told.unique("document_id", keep="first", maintain_order=True)
    joined = events.join(told.select("document_id", "score", pl.col("known_from").alias("scored")), on="document_id")
    known = pl.max_horizontal("known_from", "scored")
    return joined.with_columns(known.alias("known_from")).sort("known_from", "document_id")


def _fill(
    columns: dict[str, Any],
    rows: pl.DataFrame,
    events: pl.DataFrame,
    wanted: Mapping[str, pl.Expr],
    sessions: Sessions,
    zero: bool,
) -> None:
    """Aggregate events by the bar in which they count, into ``columns``.

    Parameters
    ----------
    zero
        Whether a bar without events has 0 once the first event is known; else it has no value.
    """
    if not wanted or events.is_empty():
        return
    counted = (
        _placed(rows, events, sessions)
        .group_by("row", maintain_order=True)
        .agg(value.cast(pl.Float64).alias(name) for name, value in wanted.items())
    )
    at = counted["row"].to_numpy()
    covered = (rows["event_time"] >= events["known_from"].min()).to_numpy()
    for name in wanted:
        if zero:
            columns[name][covered] = 0.0
        columns[name][at] = counted[name].fill_null(np.nan).to_numpy()


def _with_days_before(sessions: Sessions) -> Sessions:
    """The sessions and some before: what was known long before the first bar does not count in it."""
    if not len(sessions):
        return sessions
    first, last = sessions.dates[0].item(), sessions.dates[-1].item()
    return calendars.sessions(sessions.calendar, max(first - timedelta(days=40), calendars.FIRST_SESSION), last)


def _placed(rows: pl.DataFrame, events: pl.DataFrame, sessions: Sessions) -> pl.DataFrame:
    """Events with the row of the bar in which they count; those that count in none are left out."""
    bars = rows.select("symbol", "row", pl.col("event_time").alias("closed"))
    bars = bars.with_columns(pl.Series("session", sessions.index_of(rows["date"].to_numpy()))).sort("closed")
    known = events["known_from"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
    session = np.searchsorted(sessions.closes, known.astype("datetime64[us]"))
    told = events.with_columns(pl.Series("known_in", session.astype(np.int64)))
    found = told.join_asof(
        bars, left_on="known_from", right_on="closed", by="symbol", strategy="forward", check_sortedness=False
    )
    return found.filter(pl.col("row").is_not_null() & (pl.col("session") - pl.col("known_in") <= 1))


def _classes(rows: pl.DataFrame, classes: pl.DataFrame, wanted: list[str]) -> dict[str, Any]:
    """Classes of each bar's symbol as they were known at its close."""
    known = pl.max_horizontal("event_time", "known_from").alias("known")
    told = classes.with_columns(known).sort("symbol", "known", "valid_from", "known_from")
    # Of what is known, the row that is valid from the latest day counts, and of that its newest version.
    best: dict[str, tuple[Any, Any]] = {}
    kept = []
    for row in told.iter_rows(named=True):
        order = (row["valid_from"], row["known_from"])
        if row["symbol"] not in best or order >= best[row["symbol"]]:
            best[row["symbol"]] = order
            kept.append(row)
    chosen = pl.DataFrame(kept, schema=told.schema).sort("known", maintain_order=True)
    found = rows.sort("event_time").join_asof(
        chosen.select("symbol", "known", "shares", *_LEVELS),
        left_on="event_time",
        right_on="known",
        by="symbol",
        check_sortedness=False,
    )
    found = found.sort("row")
    columns: dict[str, Any] = {}
    for name in wanted:
        if name == "cap":
            columns[name] = (found["close"] * found["shares"]).fill_null(np.nan).to_numpy()
            continue
        codes = {text: code_of(text) for text in found[name].unique().drop_nulls()}
        columns[name] = np.array([codes.get(text, np.nan) for text in found[name]])
    return columns
