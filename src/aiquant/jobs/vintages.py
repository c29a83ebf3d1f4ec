"""What was known when: bars whose versions differ are computed with the version of the time.

A bar may be corrected long after its close. A feature of an old date must not know the correction, a feature of a later
date must. So the rows of a result are computed once with the first version of every bar. Symbols with corrected bars
are computed again for each moment at which one of theirs was; each row is taken from the newest of these that had begun
by its own time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.calendars import Sessions

if TYPE_CHECKING:
    from aiquant.features.grid import History

KEY = list(schemas.BARS.key)


def known_at(versions: pa.Table, moment: datetime) -> pa.Table:
    """The rows of a versioned table that were known at ``moment`` (UTC), all versions of them."""
    frame = pl.DataFrame(versions)
    known = frame.filter((pl.col("event_time") <= moment) & (pl.col("known_from") <= moment))
    return known.to_arrow().cast(versions.schema)


def newest(versions: pa.Table, key: tuple[str, ...] = schemas.BARS.key) -> pa.Table:
    """The newest version of each row."""
    frame = pl.DataFrame(versions).sort("known_from", maintain_order=True)
    return frame.unique(list(key), keep="last", maintain_order=True).to_arrow().cast(versions.schema)


@dataclass(frozen=True)
class Reach:
    """How far a computation looks back, and which of its rows are wanted.

    Attributes
    ----------
    sessions
        Those of the bars' exchange.
    lookback
        Sessions before a row's own on which it depends.
    first
        ``symbol``, ``date``, ``event_time``: the first bar that each symbol ever had.
    since
        Rows of this date and later ones are wanted; None for all.
    """

    sessions: Sessions
    lookback: int
    first: pl.DataFrame
    since: date | None = None

    @property
    def origin(self) -> date | None:
        """The session from which on bars are needed; None for all."""
        return None if self.since is None else self._before(self.since)

    @property
    def history(self) -> History | None:
        """What the engine has to know of the bars before the origin."""
        from aiquant.features.grid import History

        return None if self.origin is None else History(self.origin, self.first)

    def from_(self, moment: datetime) -> Reach:
        """As this, for the rows at ``moment`` (UTC) and later."""
        closes = self.sessions.closes
        at = int(np.searchsorted(closes, np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")))
        at = min(at, len(closes)) - 1  # one earlier: a closing auction is told of after the close
        day: date = self.sessions.dates[max(at, 0)].item()
        since = day if self.since is None else max(day, self.since)
        return Reach(self.sessions, self.lookback, self.first, since)

    def _before(self, day: date) -> date:
        at = int(np.searchsorted(self.sessions.dates, np.datetime64(day, "D"))) - self.lookback
        origin: date = self.sessions.dates[min(max(at, 0), len(self.sessions) - 1)].item()
        return origin


def first_bars(bars: pa.Table | pl.DataFrame) -> pl.DataFrame:
    """``symbol``, ``date``, ``event_time`` of each symbol's first bar, sorted by symbol."""
    told = pl.DataFrame(bars).select("symbol", "date", "event_time")
    return told.group_by("symbol").agg(pl.col("date", "event_time").sort_by("event_time").first()).sort("symbol")


Compute = Callable[[pa.Table, Reach], pa.Table]
"""From bars, one version each, to rows; of rows outside of the reach any may be there or not."""


def point_in_time(
    versions: pa.Table, compute: Compute, clock: str, reach: Reach, *, by_symbol: bool = True
) -> pa.Table:
    """Compute rows with the versions of bars that were known at each row's own time.

    Parameters
    ----------
    versions
        Bars from the reach's origin on, all versions.
    compute
        A row must depend on the sessions before ``clock`` that the reach tells alone.
    clock
        The column of the result (timestamp, UTC) that says when a row is used.
    by_symbol
        Whether a row depends on the bars of its own symbol alone.

    Returns
    -------
    pyarrow.Table
        The rows of ``compute``, sorted by ``symbol`` and ``event_time``.
    """
    frame = pl.DataFrame(versions)
    first = pl.col("known_from") == pl.col("known_from").min().over(KEY)
    corrected = frame.filter(~first)
    if corrected.is_empty():
        return compute(versions, reach)
    moments = corrected.select("symbol", pl.col("known_from").alias("moment")).unique()
    if not by_symbol:
        moments = frame.select("symbol").unique().join(moments.select("moment").unique(), how="cross")
    spans = moments.sort("symbol", "moment").with_columns(pl.col("moment").shift(-1).over("symbol").alias("until"))
    original = compute(_arrow(frame.filter(first)), reach)
    rows = pl.DataFrame(original)
    begun = rows.select("symbol").join(
        spans.group_by("symbol").agg(pl.col("moment").min()), on="symbol", how="left", maintain_order="left"
    )["moment"]
    parts = [rows.filter(begun.is_null() | (rows[clock] < begun))]
    for (moment,), span in spans.sort("moment").group_by("moment", maintain_order=True):
        assert isinstance(moment, datetime)
        parts.append(_vintage(frame, first, compute, clock, moment, span, reach))
    whole = pl.concat([part for part in parts if part.width == rows.width], how="vertical")
    return whole.sort("symbol", "event_time").to_arrow().cast(original.schema)


def _vintage(
    frame: pl.DataFrame,
    first: pl.Expr,
    compute: Compute,
    clock: str,
    moment: datetime,
    span: pl.DataFrame,
    reach: Reach,
) -> pl.DataFrame:
    """The rows of the symbols of ``span`` from ``moment`` on, until the symbol's next correction."""
    known = frame.filter(first | (pl.col("known_from") <= moment)).join(span, on="symbol", how="semi")
    inside = reach.from_(moment)
    if inside.origin is not None:
        known = known.filter(pl.col("date") >= inside.origin)
    if clock == "event_time":
        if not span["until"].null_count():
            known = known.filter(pl.col("event_time") < span["until"].max())
        if not (known["event_time"] >= moment).any():
            return pl.DataFrame()
    known = known.sort("known_from", maintain_order=True).unique(KEY, keep="last", maintain_order=True)
    rows = pl.DataFrame(compute(_arrow(known), inside))
    until = rows.select("symbol").join(span, on="symbol", how="left", maintain_order="left")["until"]
    used = (rows[clock] >= moment) & (until.is_null() | (rows[clock] < until)).fill_null(True)
    return rows.filter(used)


def _arrow(bars: pl.DataFrame) -> pa.Table:
    return bars.to_arrow().cast(schemas.BARS.schema)
