"""What was known when: bars whose versions differ are computed with the version of the time.

A bar may be corrected long after its close. A feature of an old date must not know the correction, a feature of a later
date must. So the rows of a result are computed once with the first version of every bar, and again for each moment at
which bars were corrected; each row is taken from the newest of these computations that had begun by its own time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.calendars import Sessions

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


def point_in_time(
    versions: pa.Table,
    compute: Callable[[pa.Table], pa.Table],
    clock: str,
    sessions: Sessions,
    lookback: int,
) -> pa.Table:
    """Compute rows with the versions of bars that were known at each row's own time.

    Parameters
    ----------
    versions
        Bars, all versions.
    compute
        From bars (one version each) to rows; a row must depend on the ``lookback`` sessions before ``clock`` alone.
    clock
        The column of the result (timestamp, UTC) that says when a row is used.
    sessions, lookback
        How far back, in sessions, a computation has to start.

    Returns
    -------
    pyarrow.Table
        The rows of ``compute``, sorted by ``symbol`` and ``event_time``.
    """
    frame = pl.DataFrame(versions)
    first = pl.col("known_from") == pl.col("known_from").min().over(KEY)
    corrected = frame.filter(~first)
    moments = corrected["known_from"].unique().sort().to_list()
    originals = frame.filter(first)
    rows = pl.DataFrame(compute(originals.to_arrow().cast(versions.schema)))
    if not moments:
        return rows.to_arrow()
    parts = [rows.filter(pl.col(clock) < moments[0])]
    for at, moment in enumerate(moments):
        end = moments[at + 1] if at + 1 < len(moments) else None
        parts.append(_vintage(frame, first, compute, clock, moment, end, _start(sessions, moment, lookback)))
    whole = pl.concat([part for part in parts if part.width == rows.width], how="vertical")
    return whole.sort("symbol", "event_time").to_arrow()


def _vintage(
    frame: pl.DataFrame,
    first: pl.Expr,
    compute: Callable[[pa.Table], pa.Table],
    clock: str,
    moment: datetime,
    end: datetime | None,
    start: datetime | None,
) -> pl.DataFrame:
    known = frame.filter(first | (pl.col("known_from") <= moment))
    if start is not None:
        known = known.filter(pl.col("event_time") >= start)
    known = known.sort("known_from", maintain_order=True).unique(KEY, keep="last", maintain_order=True)
    if not (known["event_time"] >= moment).any() and clock == "event_time":
        return pl.DataFrame()
    schema = schemas.BARS.schema
    rows = pl.DataFrame(compute(known.to_arrow().cast(schema)))
    used = pl.col(clock) >= moment
    return rows.filter(used if end is None else used & (pl.col(clock) < end))


def _start(sessions: Sessions, moment: datetime, lookback: int) -> datetime | None:
    """The close of the session from which on bars are needed for rows at or after ``moment``; None for all."""
    import numpy as np

    when = np.datetime64(moment.replace(tzinfo=None), "us")
    at = int(np.searchsorted(sessions.closes, when)) - lookback - 1
    if at <= 0:
        return None
    start: datetime = sessions.closes[at].astype("datetime64[us]").item()
    return start.replace(tzinfo=moment.tzinfo)
