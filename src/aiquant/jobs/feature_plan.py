"""What of a table of features has to be computed: all of it, or what new bars, corrections and actions touch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from aiquant import schemas
from aiquant.calendars import Sessions
from aiquant.lake import Lake, additions
from aiquant.schemas import Table

READ_ROWS = 500_000
"""Bars that are held in memory at a time, whatever the number of symbols; some 80 MB."""

_FEW_DATES = 12
"""Further beginnings than these are put together by year: each is a computation of its own."""

_EVERYWHERE = pl.Schema({"symbol": pl.String, "since": pl.Date})


@dataclass(frozen=True)
class Part:
    """Some rows that are computed together.

    Attributes
    ----------
    symbols
        Whose rows.
    since, until
        From this date on, and before that one; None for no bound.
    """

    symbols: tuple[str, ...]
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True)
class Shape:
    """How a plan is cut into parts.

    By symbols, where a row depends on its own symbol alone. Where symbols are compared, by stretches of time, each of
    which reads all symbols and the look-back before it.

    Attributes
    ----------
    extent
        ``symbol`` (sorted), ``bars`` (how many it has), ``date`` (of the first), ``last_date``.
    sessions
        Those of the bars.
    lookback
        Sessions that a row looks back.
    compares
        Whether symbols are compared.
    most
        Bars of a part, about; default: :data:`READ_ROWS`.
    """

    extent: pl.DataFrame
    sessions: Sessions
    lookback: int
    compares: bool
    most: int | None = None

    def whole(self) -> list[Part]:
        """All rows of all symbols."""
        return self._stretches(None) if self.compares else list(self._cut(self.extent, None))

    def touched(self, changed: pl.DataFrame) -> list[Part]:
        """The rows that have to be computed again; ``changed`` is from :func:`touched`."""
        if changed.is_empty():
            return []
        if self.compares:
            return self._stretches(changed["since"].min())  # type: ignore[arg-type]
        everywhere = changed.filter(pl.col("symbol").is_null())["since"].min()
        rows = self.extent.select("symbol", "bars").join(changed.drop_nulls("symbol"), on="symbol", how="left")
        rows = rows.with_columns(pl.min_horizontal("since", pl.lit(everywhere, pl.Date))).drop_nulls("since")
        if rows["since"].n_unique() > _FEW_DATES:
            rows = rows.with_columns(pl.col("since").min().over(pl.col("since").dt.year()))
        found: list[Part] = []
        for (since,), group in rows.sort("since", "symbol").group_by("since", maintain_order=True):
            assert isinstance(since, date)
            found.extend(self._cut(group, since))
        return found

    def _cut(self, extent: pl.DataFrame, since: date | None) -> Iterator[Part]:
        symbols: list[str] = []
        held = 0
        for symbol, bars in extent.select("symbol", "bars").iter_rows():
            if symbols and held + bars > (self.most or READ_ROWS):
                yield Part(tuple(symbols), since)
                symbols, held = [], 0
            symbols.append(symbol)
            held += bars
        if symbols:
            yield Part(tuple(symbols), since)

    def _stretches(self, since: date | None) -> list[Part]:
        symbols = tuple(self.extent["symbol"].to_list())
        dates = self.sessions.dates
        begin = 0 if since is None else int(np.searchsorted(dates, np.datetime64(since, "D")))
        a_session = max(1, int(self.extent["bars"].sum()) // max(1, len(dates)))
        # Not shorter than the look-back: no bar is then read more than twice.
        length = max((self.most or READ_ROWS) // a_session, self.lookback, 1)
        cuts = list(range(begin + length, len(dates) - length // 2, length))
        days: list[date] = [dates[cut].item() for cut in cuts]
        return [Part(symbols, a, b) for a, b in zip([since, *days], [*days, None], strict=True)]


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


def corrections(
    lake: Lake, before: Mapping[str, int | None], now: Mapping[str, int | None], interval: str
) -> str | None:
    """A sentence on bars that were corrected between two states of the lake; None where none was, or no log tells it.

    A row knows what was known at its own time, so a correction changes none from before it became known.
    """
    since, until = before.get(schemas.BARS.name), now.get(schemas.BARS.name)
    if since is None or until is None:
        return None
    rows = additions.added(lake, schemas.BARS, since, until, ["interval", "event_time", "known_from"])
    if rows is None:
        return None
    late = rows.filter((pl.col("interval") == interval) & (pl.col("known_from") > pl.col("event_time")))
    count, first = late.select(pl.len(), pl.col("known_from").min()).collect(engine="streaming").row(0)
    if not count:
        return None
    return (
        f"{count:,} bar(s) were corrected, known from {first:%Y-%m-%d %H:%M} UTC on: that changes no row of an earlier "
        "time"
    )


def named(name: str) -> Table:
    """The schema of a table by its name."""
    return next(table for table in schemas.TABLES if table.name == name)


def _dates(lake: Lake, table: Table, since: int, until: int, interval: str) -> pl.DataFrame | None:
    own = "symbol" in table.key
    wanted = ("symbol", "interval", "date", "valid_from", "event_time", "known_from")
    columns = [name for name in wanted if name in table.schema.names]
    rows = additions.added(lake, table, since, until, columns)
    if rows is None:
        return None
    if "interval" in columns:
        rows = rows.filter(pl.col("interval") == interval)
    if own:
        # An action may be known, and so count, before its date.
        days = [name for name in ("date", "valid_from") if name in columns]
        day = pl.min_horizontal(*days, pl.col("event_time").dt.date())
        return rows.group_by("symbol").agg(day.min().alias("since")).collect(engine="streaming")
    known = pl.min_horizontal("event_time", "known_from").min().dt.date() - timedelta(days=1)
    told = rows.select(pl.lit(None, pl.String).alias("symbol"), known.alias("since"))
    return told.drop_nulls("since").unique().collect(engine="streaming")


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
