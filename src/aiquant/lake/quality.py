"""Errors of bars that a single row does not show: a wrong scale, dead volume, missing sessions.

Screening looks at both neighbours of a bar, so it is **not** causal and no feature; it decides only whether a bar is
believed. A bar that is set aside is missing, never altered, and a move that merely looks wild is kept: a cleaner that
removes real crashes makes every later backtest too good.

========================  ==========  =============================================================================
finding                   action      rule
========================  ==========  =============================================================================
``scale_error``           set_aside   a price is off by a power of ten, and times that power it fits the bar and the
                                      days around it (:func:`scale_errors`)
``zero_volume``           missing     volume is 0 although the price moved: the bar stays (its prices are right), its
                                      volume becomes null
``zero_volume``           kept        a daily bar with volume 0 and a price that stood still: nobody traded
``missing_session``       missing     no bar in a session between a symbol's first and last bar
``extreme_move``          kept        a return, or a way from the bar's body to its high or low, of more than 25 % and
                                      ten times what is usual for the symbol
========================  ==========  =============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiquant import deadletters
from aiquant.calendars import Sessions
from aiquant.schemas import BARS, FINDINGS, conform

SERIES = ("symbol", "interval")
PRICES = ("open", "high", "low", "close")

NEIGHBOURS = 5
"""Bars on each side whose median close is the level that a price is held against: an error may last that long."""

SCALE_TOLERANCE = 0.08
"""How far (log10, about 20 %) a price may be from an exact power of ten times that level: the width of real moves."""

BODY_TOLERANCE = 0.10
"""How far a high or low, put right, may lie from the bar's open and close."""

EXTREME = 0.25
"""Least absolute log return that counts as extreme."""

EXTREME_MULTIPLE = 10.0
"""How often the symbol's usual absolute return (median over the 63 bars before) an extreme move is."""

USUAL_BARS = 63

SPLIT_TOLERANCE = 0.02
"""How near to a whole number the ratio of two closes must be for the finding to mention a split."""


@dataclass(frozen=True)
class Screened:
    """What a screening gave.

    Attributes
    ----------
    rows
        The bars that are believed (:data:`aiquant.schemas.BARS`), in the order in which they came.
    letters
        The bars that were set aside (:data:`aiquant.schemas.DEAD_LETTERS`).
    findings
        Everything that was seen (:data:`aiquant.schemas.FINDINGS`), by symbol and date.
    """

    rows: pa.Table
    letters: pa.Table
    findings: pa.Table


def screen(bars: pa.Table, sessions: Sessions, source: str, set_aside: pa.Table | None = None) -> Screened:
    """Check bars against their neighbours and the calendar; see the module for the rules.

    Parameters
    ----------
    bars
        Schema ``bars``, any order, one version of each bar; fields other than close may be null.
    sessions
        The calendar's sessions; bars outside of them have no missing sessions.
    source
        What the dead letters name as their source.
    set_aside
        Dead letters that were made while the bars were read: their sessions are not reported as missing.
    """
    given = pl.DataFrame(bars)
    frame = _with_levels(given)
    wrong = scale_errors(frame)
    sound = frame.filter(~pl.col("at").is_in(wrong["at"].implode()))
    volume = _zero_volume(sound)
    gaps = missing_sessions(frame, sessions, set_aside)
    findings = pl.concat([wrong.select(_TOLD), volume.select(_TOLD), _extreme_moves(sound), gaps])
    letters = _set_aside(given, wrong, source)
    dead = volume.filter(pl.col("action") == "missing")["at"].to_numpy()
    kept = _without(conform(bars, BARS), wrong["at"].to_numpy(), dead)
    return Screened(kept, letters, _as_findings(findings))


def _without(bars: pa.Table, wrong: NDArray[np.uint32], dead: NDArray[np.uint32]) -> pa.Table:
    """The bars less the rows ``wrong``, with volume null in the rows ``dead`` (positions)."""
    if len(dead):
        volume = np.zeros(bars.num_rows, dtype=bool)
        volume[dead] = True
        judged = pc.if_else(pa.array(volume), None, bars["volume"])
        bars = bars.set_column(bars.schema.get_field_index("volume"), BARS.schema.field("volume"), judged)
    if len(wrong):
        believed = np.ones(bars.num_rows, dtype=bool)
        believed[wrong] = False
        bars = bars.filter(pa.array(believed))
    return bars


def _set_aside(given: pl.DataFrame, wrong: pl.DataFrame, source: str) -> pa.Table:
    told = given[wrong["at"]].with_columns(
        reason=pl.format("scale error: {}", wrong["detail"]),
        place=pl.format("{}/{}/{}", "symbol", "interval", pl.col("event_time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
    )
    # Without known_from the letter of the same bar, taken in again, is the same letter.
    return deadletters.from_frame(told.drop("known_from"), BARS, source)


_TOLD = ("symbol", "date", "kind", "action", "detail")


def _as_findings(findings: pl.DataFrame) -> pa.Table:
    # One finding a symbol, date and kind: of intraday bars the first of the day speaks for the others.
    each = findings.unique(["symbol", "date", "kind"], keep="first", maintain_order=True).sort("symbol", "date", "kind")
    return conform(each.with_columns(table=pl.lit(BARS.name)).to_arrow(), FINDINGS)


def _with_levels(given: pl.DataFrame) -> pl.DataFrame:
    """What screening looks at, sorted by series and time.

    Returns
    -------
    The columns that are judged; ``at`` (position in ``given``), ``series`` (number of the symbol and interval),
    ``level`` (centred median of the closes), ``framed`` (closes at it before *and* after the bar), ``before`` (the last
    close).
    """
    frame = (
        given.select(*SERIES, "date", "event_time", *PRICES, "volume")
        .with_row_index("at")
        .sort(*SERIES, "event_time")
        .with_columns(series=pl.struct(SERIES).rle_id())
        .drop("event_time")
    )
    close, window = pl.col("close"), 2 * NEIGHBOURS + 1
    level = close.rolling_median(window, center=True, min_samples=3).over("series")
    frame = frame.with_columns(level=level, before=close.shift(1).over("series"))
    at_level = (((pl.col("close") / pl.col("level")).log10()).abs() < SCALE_TOLERANCE).cast(pl.Int8)
    earlier = at_level.shift(1).rolling_max(NEIGHBOURS, min_samples=1).over("series")
    later = at_level.reverse().shift(1).rolling_max(NEIGHBOURS, min_samples=1).reverse().over("series")
    return frame.with_columns(framed=((earlier == 1) & (later == 1)).fill_null(False))


def scale_errors(frame: pl.DataFrame) -> pl.DataFrame:
    """Bars with a price that is off by a power of ten.

    A price p is off by 10^k (k ≠ 0) when

    1. p ÷ 10^k is within about 20 % of the *level*, the median close of the eleven bars around it;
    2. closes at that level stand both before and after the bar, within five bars: a price that jumps and stays is a
       split or a real move, and the newest bar of a series cannot be judged yet;
    3. p ÷ 10^k fits the prices of the same bar that are at the level: an open or close between low and high, a high or
       low within 10 % of open and close. A real crash inside a bar (CTL fell to 30 % of its price and back on
       2010-05-06) misses the power of ten, or this fit.

    Parameters
    ----------
    frame
        Of :func:`_with_levels`.

    Returns
    -------
    The bars that are wrong, with ``kind``, ``action`` and ``detail``.
    """
    power = {p: (pl.col(p) / pl.col("level")).log10() for p in PRICES}
    near = {p: (power[p] - power[p].round()).abs() < SCALE_TOLERANCE for p in PRICES}
    off = {p: (near[p] & (power[p].round() != 0) & pl.col("framed")).fill_null(False) for p in PRICES}
    suspects = frame.with_columns(
        *(pl.when(off[p]).then(power[p].round()).alias(f"k_{p}") for p in PRICES),
        *(pl.when(~off[p]).then(pl.col(p)).alias(f"sane_{p}") for p in PRICES),
    ).filter(pl.any_horizontal(pl.col(f"k_{p}").is_not_null() for p in PRICES))
    body = ("sane_open", "sane_close")
    top, bottom = pl.max_horizontal(*body), pl.min_horizontal(*body)
    right = {p: pl.col(p) / pl.lit(10.0).pow(pl.col(f"k_{p}")) for p in PRICES}
    slack = 1e-3  # prices of wrong scale have lost a digit
    inside_low = pl.col("sane_low").is_null() | (pl.col("sane_low") * (1 - slack) <= pl.col("_right"))
    inside_high = pl.col("sane_high").is_null() | (pl.col("sane_high") * (1 + slack) >= pl.col("_right"))
    fits = {
        "open": inside_low & inside_high,
        "close": inside_low & inside_high,
        "high": top.is_null() | pl.col("_right").is_between(top * (1 - slack), top * (1 + BODY_TOLERANCE)),
        "low": bottom.is_null() | pl.col("_right").is_between(bottom * (1 - BODY_TOLERANCE), bottom * (1 + slack)),
    }
    for p in PRICES:
        judged = suspects.with_columns(_right=right[p])
        told = pl.format("{} {} is 10^{} times the prices around it", pl.lit(p), p, pl.col(f"k_{p}").cast(pl.Int32))
        suspects = judged.with_columns(pl.when(fits[p]).then(told).alias(f"told_{p}")).drop("_right")
    told = pl.concat_str([f"told_{p}" for p in PRICES], separator="; ", ignore_nulls=True)
    return suspects.select(*frame.columns, detail=told, kind=pl.lit("scale_error"), action=pl.lit("set_aside")).filter(
        pl.col("detail") != ""
    )


def _zero_volume(frame: pl.DataFrame) -> pl.DataFrame:
    """Bars with volume 0; ``action`` is ``missing`` where the price moved all the same."""
    inside = (pl.col("high") > pl.col("low")) | (pl.col("open") != pl.col("close"))
    moved = inside.fill_null(False) | (pl.col("close") != pl.col("before")).fill_null(False)
    return (
        frame.filter(pl.col("volume") == 0)
        .with_columns(moved=moved)
        .filter(pl.col("moved") | pl.col("interval").str.ends_with("d"))
        .with_columns(
            kind=pl.lit("zero_volume"),
            action=pl.when("moved").then(pl.lit("missing")).otherwise(pl.lit("kept")),
            detail=pl.when("moved")
            .then(pl.lit("volume is 0 although the price moved: volume taken as missing"))
            .otherwise(pl.lit("volume is 0 and the price stood still")),
        )
    )


def _extreme_moves(frame: pl.DataFrame) -> pl.DataFrame:
    """Moves that are wild and kept: the last close to this, or from the bar's body to its high or low."""
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    told = frame.select(
        "symbol",
        "series",
        "date",
        move=(pl.col("close") / pl.col("close").shift(1).over("series")).log(),
        up=(pl.col("high") / top).log(),
        down=(pl.col("low") / bottom).log(),
    )
    usual = pl.col("move").abs().shift(1).rolling_median(USUAL_BARS, min_samples=10).over("series")
    told = told.with_columns(usual=usual.fill_null(0.0))

    def extreme(name: str) -> pl.Expr:
        return pl.col(name).abs() > pl.max_horizontal(pl.lit(EXTREME), pl.col("usual") * EXTREME_MULTIPLE)

    ratio = pl.col("move").abs().exp()
    whole = ratio.round()
    like_split = (whole >= 2) & ((ratio / whole - 1).abs() < SPLIT_TOLERANCE)
    split = (
        pl.when(like_split & (pl.col("move") < 0))
        .then(pl.format(" (as an unadjusted {}:1 split)", whole.cast(pl.Int64)))
        .when(like_split)
        .then(pl.format(" (as an unadjusted 1:{} split)", whole.cast(pl.Int64)))
        .otherwise(pl.lit(""))
    )
    words = {"move": "close to close", "up": "body to high", "down": "body to low"}
    parts = [
        pl.when(extreme(name)).then(
            pl.format(
                "{} {}%{}",
                pl.lit(text),
                ((pl.col(name).exp() - 1) * 100).round(1).cast(pl.String),
                split if name == "move" else pl.lit(""),
            )
        )
        for name, text in words.items()
    ]
    return told.select(
        "symbol",
        "date",
        kind=pl.lit("extreme_move"),
        action=pl.lit("kept"),
        detail=pl.concat_str(parts, separator="; ", ignore_nulls=True),
    ).filter(pl.col("detail") != "")


def missing_sessions(frame: pl.DataFrame, sessions: Sessions, set_aside: pa.Table | None) -> pl.DataFrame:
    """Sessions without a bar between the first and the last bar of each series.

    Parameters
    ----------
    frame
        ``symbol``, ``series`` (any number or text that names a series) and ``date`` of bars.
    set_aside
        Dead letters: their sessions do not count.
    """
    at = sessions.index_of(frame["date"].to_numpy().astype("datetime64[D]"))
    gaps = (
        frame.select("symbol", "series", session=pl.Series(at, dtype=pl.Int64))
        .filter(pl.col("session") >= 0)
        .unique(["series", "session"])
        .sort("series", "session")
        .with_columns(last=pl.col("session").shift(1).over("series"))
        .filter(pl.col("session") - pl.col("last") > 1)
        .select("symbol", missing=pl.int_ranges(pl.col("last") + 1, pl.col("session")))
        .explode("missing")
    )
    days = pl.Series("date", sessions.dates[gaps["missing"].to_numpy().astype(np.int64)].astype("datetime64[D]"))
    missing = gaps.select(
        "symbol",
        date=days.cast(pl.Date),
        kind=pl.lit("missing_session"),
        action=pl.lit("missing"),
        detail=pl.format("no bar in a session of {}", pl.lit(sessions.calendar)),
    )
    if set_aside is None or not set_aside.num_rows:
        return missing
    told = pl.DataFrame(set_aside.select(["symbol", "date"]))
    return missing.join(told, on=["symbol", "date"], how="anti", maintain_order="left")
