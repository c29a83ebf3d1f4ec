"""Where an edge is, and how long it lasts: rank IC by group of symbols, by kind of time, by horizon."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import polars as pl
import pyarrow as pa

from aiquant.learning import ordering
from aiquant.learning.inference import MIN_DATES, estimate, lags

THIRDS = {
    "size": ("small", "middle", "large"),
    "volatility": ("calm", "usual", "wild"),
}


def by_group(rows: pl.DataFrame, groups: pa.Table, horizon: int) -> tuple[dict[str, Any], ...]:
    """Rank IC within each group, date by date.

    Parameters
    ----------
    rows
        As :func:`aiquant.learning.ordering.pairs` gives them.
    groups
        ``symbol`` and ``group``, and ``event_time`` where the group of a symbol changes. Symbols without one are left
        out.
    horizon
        Bars held, for the errors. Dates of a group that do not follow one another are taken as if they did.

    Returns
    -------
    tuple of dict
        ``group``, ``rank_ic``, ``rank_ic_error``, ``rank_ic_t``, ``dates`` that count, ``breadth`` (median symbols a
        date); in order of the names. The figures of a group with fewer than :data:`MIN_DATES` dates are NaN.
    """
    told = pl.DataFrame(pl.from_arrow(groups)).filter(pl.col("group").is_not_null())
    key = [name for name in ("symbol", "event_time") if name in told.columns]
    joined = rows.join(told.unique(key), on=key, how="inner")
    return tuple(
        {"group": group} | _figures(joined.filter(pl.col("group") == group).sort("event_time", "symbol"), horizon)
        for group in joined["group"].unique().sort()
    )


def by_horizon(forecasts: pa.Table, labels: Iterable[pa.Table]) -> tuple[dict[str, Any], ...]:
    """Rank IC of the same forecasts with returns over other horizons, shortest first: how fast an edge decays.

    Parameters
    ----------
    labels
        Schema ``LABELS``, each table of one horizon.

    Returns
    -------
    tuple of dict
        ``horizon``, and the figures of :func:`by_group`.
    """
    found = []
    for table in labels:
        if table.num_rows:
            horizon = int(table["horizon"][0].as_py())
            found.append({"horizon": horizon} | _figures(ordering.pairs(forecasts, table, horizon), horizon))
    return tuple(sorted(found, key=lambda row: row["horizon"]))


def _figures(rows: pl.DataFrame, horizon: int) -> dict[str, Any]:
    daily, _ = ordering.by_date(rows)
    enough = len(daily) >= MIN_DATES
    found = estimate(daily["rank_ic"].to_numpy(), lags(len(daily), horizon))
    return {
        "rank_ic": found.mean if enough else math.nan,
        "rank_ic_error": found.error if enough else math.nan,
        "rank_ic_t": found.t if enough else math.nan,
        "dates": len(daily),
        "breadth": float(daily["symbols"].median() or 0.0) if len(daily) else 0.0,  # type: ignore[arg-type]
    }


def size_thirds(conditions: pa.Table) -> pa.Table:
    """Thirds of the symbols of each date by dollar volume, which stands in for size where no shares are known.

    Parameters
    ----------
    conditions
        ``symbol``, ``event_time`` and ``dollar_volume``.

    Returns
    -------
    pyarrow.Table
        ``symbol``, ``event_time``, ``group``: small, middle or large; no row where the volume is not known.
    """
    rows = pl.DataFrame(pl.from_arrow(conditions.select(["symbol", "event_time", "dollar_volume"])))
    known = rows.filter(pl.col("dollar_volume").is_finite())
    place = (pl.col("dollar_volume").rank("average") - 0.5) / pl.len()
    return _named(known.with_columns((place * 3).floor().over("event_time").alias("third")), "size")


def volatility_thirds(conditions: pa.Table, forecasts: pa.Table) -> pa.Table:
    """Thirds of the dates that were forecast by the volatility of the market known at each.

    Which third a date is in is known only when all dates are: it describes a test, it is no rule to trade by.

    Parameters
    ----------
    conditions
        ``symbol``, ``event_time`` and ``market_volatility``.
    forecasts
        Schema ``FORECASTS``.

    Returns
    -------
    pyarrow.Table
        ``symbol``, ``event_time``, ``group``: calm, usual or wild; no row where the volatility is not known.
    """
    rows = pl.DataFrame(pl.from_arrow(forecasts.select(["symbol", "event_time"])))
    known = pl.DataFrame(pl.from_arrow(conditions.select(["event_time", "market_volatility"])))
    dates = (
        known.filter(pl.col("market_volatility").is_finite())
        .join(rows.select("event_time").unique(), on="event_time", how="semi")
        .group_by("event_time")
        .agg(pl.col("market_volatility").median())
    )
    place = (pl.col("market_volatility").rank("average") - 0.5) / pl.len()
    thirds = dates.select("event_time", (place * 3).floor().alias("third"))
    return _named(rows.join(thirds, on="event_time", how="inner"), "volatility")


def sectors(classification: pa.Table, forecasts: pa.Table) -> pa.Table:
    """The sector of each symbol as it was known at each decision.

    Parameters
    ----------
    classification
        Schema ``CLASSIFICATION``, all versions.
    forecasts
        Schema ``FORECASTS``.

    Returns
    -------
    pyarrow.Table
        ``symbol``, ``event_time``, ``group``; no row where no sector was known.
    """
    rows = pl.DataFrame(pl.from_arrow(forecasts.select(["symbol", "date", "event_time"])))
    told = pl.DataFrame(pl.from_arrow(classification.select(["symbol", "valid_from", "known_from", "sector"])))
    known = (
        rows.lazy()
        .join(told.lazy(), on="symbol")
        .filter(pl.col("valid_from") <= pl.col("date"), pl.col("known_from") <= pl.col("event_time"))
        .sort("valid_from", "known_from", maintain_order=True)
        .unique(["symbol", "event_time"], keep="last", maintain_order=True)
        .collect()
    )
    found = known.filter(pl.col("sector").is_not_null())
    return found.select("symbol", "event_time", pl.col("sector").alias("group")).to_arrow()


def _named(rows: pl.DataFrame, what: str) -> pa.Table:
    names = pl.col("third").cast(pl.Int8).replace_strict(dict(enumerate(THIRDS[what])), return_dtype=pl.String)
    return rows.select("symbol", "event_time", names.alias("group")).to_arrow()
