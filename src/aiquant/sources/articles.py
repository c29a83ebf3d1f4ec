"""Articles from files: CSV, JSON lines, Parquet, Arrow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from aiquant.errors import DataError
from aiquant.schemas import NEWS
from aiquant.settings import DataSettings
from aiquant.sources import stamps, whole
from aiquant.sources.addresses import article_id
from aiquant.sources.base import Batch
from aiquant.sources.linking import Linker
from aiquant.sources.reference import SOURCE, announced, batch
from aiquant.sources.stamps import Stamper

SYNONYMS: dict[str, tuple[str, ...]] = {
    "event_time": (
        *("event_time", "published", "published_at", "publishedat", "published_utc", "time", "timestamp", "datetime"),
        *("date", "pub_date"),
    ),
    "title": ("title", "headline"),
    "symbols": ("symbols", "tickers", "symbol", "ticker", "related"),
    "url": ("url", "link", "article_url"),
    "description": ("description", "summary", "abstract"),
    "publisher": ("publisher", "source", "outlet"),
    "language": ("language", "lang"),
    "known_from": ("known_from", "received", "received_at"),
}
_OPTIONAL = ("description", "publisher", "language")


def read_news(path: Path | str, data: DataSettings, linker: Linker, columns: Mapping[str, str] | None = None) -> Batch:
    """Articles of a file or a folder.

    Parameters
    ----------
    path
        With a time of publication and a title, and maybe symbols (joined by commas, or a list), an address, a
        description, publisher, language, and ``known_from``, when it was received.
    data
        The zone of times without one. A day without a clock counts from its end at the exchange.
    linker
        Finds the symbols in title and description where the file has no column of symbols.

    Returns
    -------
    Batch
        Rows in the schema ``news``. Without ``known_from`` an article is known from its publication: a file tells of
        the past as it was. Without an address the time, title and publisher name it.

    Raises
    ------
    MissingError, DataError, SettingsError
        As :func:`aiquant.sources.files.read_bars`.
    """
    raw = whole.read(Path(path), SYNONYMS, ("event_time", "title"), columns)
    stamper = Stamper(data, stamps.now())
    raw = raw.with_columns(_plain(raw, name) for name in raw.columns if name not in ("event_time", "known_from"))
    published, unread = announced(raw, stamper, "event_time")
    received, unread_too = announced(raw, stamper, "known_from")
    told = pl.DataFrame(
        {
            "place": raw["place"],
            "payload": raw.drop("place").cast(pl.String, strict=False).select(
                pl.struct(pl.all()).struct.json_encode()
            ).to_series(),
            "event_time": published,
            "received": received,
            "unread": unread | unread_too,
            "title": raw["title"].fill_null(""),
            **{n: raw[n] if n in raw.columns else pl.Series(n, [None] * len(raw), dtype=pl.String) for n in _OPTIONAL},
        }
    )  # fmt: skip
    told = told.with_columns(
        pl.Series("symbols", _symbols(raw, told, linker), dtype=pl.String),
        pl.Series("url", _addresses(raw, told), dtype=pl.String),
        date=pl.col("event_time").dt.date(),
        symbol=pl.lit(None, pl.String),  # of a dead letter: an article names any number
        source=pl.lit(SOURCE),
        known_from=pl.max_horizontal("event_time", "received"),
    )
    told = told.with_columns(pl.Series("article_id", [article_id(SOURCE, url) for url in told["url"]]))
    problem = (
        pl.when("unread")
        .then(pl.lit("the time cannot be read, or has no time zone"))
        .when(pl.col("event_time").is_null())
        .then(pl.lit("the time of publication is missing"))
        .when(pl.col("event_time") > stamper.now)
        .then(pl.lit("it was published in the future"))
    )
    # The same article, told again, is as it was known first.
    dated = pl.col("event_time").is_not_null() & ~pl.col("unread")
    good, bad = told.filter(dated), told.filter(~dated)
    once = good.sort("known_from", maintain_order=True).unique("article_id", keep="first", maintain_order=True)
    made = batch(pl.concat([once, bad]), problem, NEWS, strict=False)
    return replace(made, duplicates=made.duplicates + len(good) - len(once))


def _plain(raw: pl.DataFrame, name: str) -> pl.Series:
    """A column as text; lists are joined by commas, and what is empty is null."""
    column = raw[name]
    if isinstance(column.dtype, pl.List):
        column = column.cast(pl.List(pl.String)).list.join(",")
    elif column.dtype.is_nested():
        raise DataError(f"{raw['place'][0]}: the column for {name} holds structs", "map another column")
    return column.cast(pl.String, strict=False).str.strip_chars().replace("", None).alias(name)


def _symbols(raw: pl.DataFrame, told: pl.DataFrame, linker: Linker) -> list[str]:
    """Symbols of each article in ascending order, joined by commas."""
    if "symbols" not in raw.columns:
        texts = zip(told["title"], told["description"], strict=True)
        return [linker.joined(f"{title}\n{text or ''}") for title, text in texts]
    each = raw["symbols"].fill_null("").str.replace_all(r"[\[\]'\"$]", "").str.to_uppercase().str.split(",")
    return [",".join(sorted({symbol.strip() for symbol in some} - {""})) for some in each]


def _addresses(raw: pl.DataFrame, told: pl.DataFrame) -> list[str]:
    given = raw["url"] if "url" in raw.columns else [None] * len(raw)
    parts = told.select("event_time", "title", "publisher").iter_rows()
    return [
        url or "urn:sha256:" + hashlib.sha256("\x1f".join(map(str, part)).encode()).hexdigest()[:32]
        for url, part in zip(given, parts, strict=True)
    ]
