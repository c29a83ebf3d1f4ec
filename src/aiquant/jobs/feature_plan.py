"""What of a table of features has to be computed: all of it, or what new bars, corrections and actions touch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from aiquant import schemas
from aiquant.lake import Lake, additions
from aiquant.schemas import Table

READ_ROWS = 1_000_000
"""Bars that are held in memory at a time, whatever the number of symbols; some 150 MB."""

_FEW_DATES = 12
"""Further beginnings than these are put together by year: each is a computation of its own."""

_EVERYWHERE = pl.Schema({"symbol": pl.String, "since": pl.Date})


@dataclass(frozen=True)
class Part:
    """Some symbols, and the first date whose rows have to be computed; None for all rows."""

    symbols: tuple[str, ...]
    since: date | None = None


def whole(extent: pl.DataFrame) -> list[Part]:
    """All rows of all symbols, about :data:`READ_ROWS` bars a part.

    Parameters
    ----------
    extent
        ``symbol`` (sorted) and ``bars``, the number of its bars.
    """
    return list(_cut(extent, None))


def touched(
    lake: Lake, before: Mapping[str, int | None], now: Mapping[str, int | None], interval: str
) -> pl.DataFrame | None:
    """Symbols whose rows may have changed between two states of the lake, and since when.

    A bar that is new, late or corrected touches its symbol's rows from its date on; so does a corporate action. What is
    attached to bars from another table touches every symbol (``symbol`` is null then).

    Parameters
    ----------
    before, now
        Delta versions by the names of the tables; None for a table that is not there.

    Returns
    -------
    polars.DataFrame or None
        ``symbol``, ``since``, each symbol once; None where the logs do not tell.
    """
    found = [pl.DataFrame(schema=_EVERYWHERE)]
    for name, until in now.items():
        since = before.get(name)
        if since == until:
            continue
        if until is None or (since is None and name == schemas.BARS.name):
            return None
        rows = _dates(lake, named(name), -1 if since is None else since, until, interval)
        if rows is None:
            return None
        found.append(rows)
    return pl.concat(found).group_by("symbol").agg(pl.col("since").min()).sort("symbol")


def named(name: str) -> Table:
    """The schema of a table by its name."""
    return next(table for table in schemas.TABLES if table.name == name)


def _dates(lake: Lake, table: Table, since: int, until: int, interval: str) -> pl.DataFrame | None:
    own = "symbol" in table.key
    columns = [
        name for name in ("symbol", "interval", "date", "event_time", "known_from") if name in table.schema.names
    ]
    rows = additions.added(lake, table, since, until, columns)
    if rows is None:
        return None
    if "interval" in columns:
        rows = rows.filter(pl.col("interval") == interval)
    if own:
        # An action may be known, and so counts, before its date.
        day = pl.min_horizontal("date", pl.col("event_time").dt.date())
        return rows.group_by("symbol").agg(day.min().alias("since")).collect(engine="streaming")
    known = pl.min_horizontal("event_time", "known_from").min().dt.date() - timedelta(days=1)
    told = rows.select(pl.lit(None, pl.String).alias("symbol"), known.alias("since"))
    return told.drop_nulls("since").unique().collect(engine="streaming")


def parts(changed: pl.DataFrame, extent: pl.DataFrame, compares: bool) -> list[Part]:
    """The rows that have to be computed again.

    Parameters
    ----------
    changed
        From :func:`touched`.
    extent
        ``symbol`` (sorted) and ``bars``.
    compares
        Whether symbols are compared, so that a change of one touches all.
    """
    if changed.is_empty():
        return []
    everywhere = changed["since"].min() if compares else changed.filter(pl.col("symbol").is_null())["since"].min()
    rows = extent.select("symbol", "bars").join(changed.drop_nulls("symbol"), on="symbol", how="left")
    rows = rows.with_columns(pl.min_horizontal("since", pl.lit(everywhere, pl.Date))).drop_nulls("since")
    if rows["since"].n_unique() > _FEW_DATES:
        rows = rows.with_columns(pl.col("since").min().over(pl.col("since").dt.year()))
    found: list[Part] = []
    for (since,), group in rows.sort("since", "symbol").group_by("since", maintain_order=True):
        assert isinstance(since, date)
        found.extend(_cut(group, since))
    return found


def _cut(extent: pl.DataFrame, since: date | None) -> Iterator[Part]:
    symbols: list[str] = []
    held = 0
    for symbol, bars in extent.select("symbol", "bars").iter_rows():
        if symbols and held + bars > READ_ROWS:
            yield Part(tuple(symbols), since)
            symbols, held = [], 0
        symbols.append(symbol)
        held += bars
    if symbols:
        yield Part(tuple(symbols), since)


def condition(found: list[Part], everyone: int, last: str) -> str:
    """SQL for the rows of a table of features that the parts compute, as they were known at their own time.

    Parameters
    ----------
    everyone
        Number of symbols that have bars: parts of the same date with all of them need not name them.
    last
        Time of the last bar (UTC, ISO): rows behind it are not of these bars.
    """
    from aiquant.lake.delta import literal

    by_date: dict[date | None, list[str]] = {}
    for part in found:
        by_date.setdefault(part.since, []).extend(part.symbols)
    terms = []
    for since, symbols in by_date.items():
        told = [] if since is None else [f"\"date\" >= CAST('{since.isoformat()}' AS DATE)"]
        if len(symbols) < everyone:
            told.append(f'"symbol" IN ({", ".join(literal(symbol) for symbol in symbols)})')
        terms.append(f"({' AND '.join(told) or 'TRUE'})")
    moment = f"arrow_cast('{last}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
    return f'({" OR ".join(terms)}) AND "event_time" <= {moment} AND "known_from" = "event_time"'
