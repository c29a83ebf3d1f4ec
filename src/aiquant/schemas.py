"""Every table that rooms hand to one another: columns, key, partition, and what must hold in each row.

Conventions that hold in all tables:

- ``event_time`` is the moment (UTC, microseconds) at which the fact of the row could first be known: a bar's close, an
  article's publication. A reader that decides at time t may use rows with ``event_time <= t`` only.
- ``known_from`` is the moment (UTC, microseconds) at which *this version* of the row could first be known. For the
  first version of a bar it equals ``event_time``; for a correction it is the moment the correction was taken in.
  A key may stand in a table more than once, with different ``known_from``: the newest one at or before t counts at t.
- ``date`` is the exchange-local date of the session; ``symbol`` is in upper case.
- Prices are in units of the instrument's currency, volumes in shares, weights and returns are fractions (0.01 = 1 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl
import pyarrow as pa

from aiquant.errors import DataError

TIME = pa.timestamp("us", tz="UTC")

Adjustment = Literal["none", "splits", "splits+dividends", "unknown"]
"""What a bar's prices were adjusted for before they came to us. ``none`` means as traded."""


@dataclass(frozen=True)
class Invariant:
    """Something that must hold in each row; ``holds`` is false *or null* in a bad row."""

    reason: str
    holds: pl.Expr


@dataclass(frozen=True)
class Table:
    """A table that rooms hand to one another.

    Attributes
    ----------
    name
        Its name in the lake and in SQL.
    schema
        Arrow schema; a field that is not nullable must be filled in each row.
    key
        Columns that name a fact. Together with ``known_from`` (where the table has it) they are unique.
    partition
        Columns by which files are split.
    open
        Whether further columns may follow those of the schema (feature tables).
    invariants
        Checked row by row before a write.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    partition: tuple[str, ...] = ()
    open: bool = False
    invariants: tuple[Invariant, ...] = field(default=())

    @property
    def versioned(self) -> bool:
        """Whether corrections of a row are kept beside what they correct."""
        return "known_from" in self.schema.names


def _field(name: str, kind: pa.DataType, required: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=not required)


def _optional(*names: str) -> list[pa.Field]:
    return [_field(name, pa.float64(), required=False) for name in names]


def _finite_or_null(name: str) -> pl.Expr:
    return pl.col(name).is_null() | pl.col(name).is_finite()


def _positive(name: str) -> Invariant:
    column = pl.col(name)
    return Invariant(f"{name} is not a positive number", column.is_null() | (column.is_finite() & (column > 0)))


def _filled(name: str) -> Invariant:
    return Invariant(f"{name} is empty", pl.col(name).str.len_chars() > 0)


def _not_negative(name: str) -> Invariant:
    column = pl.col(name)
    return Invariant(f"{name} is negative or not a number", column.is_null() | (column.is_finite() & (column >= 0)))


def _inside_range(name: str) -> Invariant:
    """``low <= name <= high``, with room for the rounding of prices that were adjusted to a few digits."""
    slack = pl.col("close").abs() * RANGE_SLACK
    above = pl.col(name) > pl.col("high") + slack
    below = pl.col(name) < pl.col("low") - slack
    return Invariant(f"{name} lies outside of low to high", ~(above | below).fill_null(False))


RANGE_SLACK = 1e-4
"""Share of the price by which open and close may leave [low, high]: adjusted prices are often kept to 5 digits."""

_SYMBOL = _filled("symbol")

BARS = Table(
    name="bars",
    schema=pa.schema(
        [
            _field("symbol", pa.string()),
            _field("interval", pa.string()),  # 1d, 1m, 5m, 1h …
            _field("period", pa.string()),  # the year of a daily bar, the date of an intraday bar
            _field("date", pa.date32()),
            _field("event_time", TIME),  # the bar's close
            _field("known_from", TIME),
            *_optional("open", "high", "low"),  # null where a source has closes only
            _field("close", pa.float64()),
            *_optional("volume", "vwap"),
            _field("trades", pa.int64(), required=False),
            _field("adjustment", pa.string()),
            _field("source", pa.string()),
        ]
    ),
    key=("symbol", "interval", "event_time"),
    partition=("interval", "period"),
    invariants=(
        _SYMBOL,
        _positive("open"),
        _positive("high"),
        _positive("low"),
        Invariant("close is not a positive number", pl.col("close").is_finite() & (pl.col("close") > 0)),
        Invariant("high is below low", ~(pl.col("high") < pl.col("low")).fill_null(False)),
        _inside_range("open"),
        _inside_range("close"),
        _not_negative("volume"),
        _positive("vwap"),
    ),
)
"""Bars as they were traded (``adjustment`` says where a source gives adjusted ones only)."""

CORPORATE_ACTIONS = Table(
    name="corporate_actions",
    schema=pa.schema(
        [
            _field("symbol", pa.string()),
            _field("kind", pa.string()),  # split | dividend | delisting
            _field("date", pa.date32()),  # the first session that trades without it; for a delisting the last session
            _field("event_time", TIME),  # when it could first be known: the open of that session, unless announced
            _field("known_from", TIME),
            *_optional("ratio"),  # split: new shares for one old share
            *_optional("amount"),  # dividend: cash a share; delisting: cash a share at the end
            _field("source", pa.string()),
        ]
    ),
    key=("symbol", "kind", "date"),
    invariants=(
        _SYMBOL,
        Invariant(
            "kind is not split, dividend or delisting",
            pl.col("kind").is_in(["split", "dividend", "delisting"]),
        ),
        Invariant(
            "a split needs a positive ratio",
            (pl.col("kind") != "split") | (pl.col("ratio") > 0).fill_null(False),
        ),
        Invariant(
            "a dividend needs an amount of zero or more",
            (pl.col("kind") != "dividend") | (pl.col("amount") >= 0).fill_null(False),
        ),
    ),
)
"""Splits, dividends and delistings; applied to bars as of the reader's time, never written into them."""

UNIVERSE = Table(
    name="universe",
    schema=pa.schema(
        [
            _field("universe", pa.string()),
            _field("symbol", pa.string()),
            _field("member_from", pa.date32()),
            _field("member_to", pa.date32(), required=False),  # the last day of membership; null while it lasts
            _field("event_time", TIME),
            _field("known_from", TIME),
            _field("source", pa.string()),
        ]
    ),
    key=("universe", "symbol", "member_from"),
    invariants=(
        _SYMBOL,
        Invariant(
            "member_to lies before member_from",
            pl.col("member_to").is_null() | (pl.col("member_to") >= pl.col("member_from")),
        ),
    ),
)
"""Who belonged to a universe, from when to when."""

CLASSIFICATION = Table(
    name="classification",
    schema=pa.schema(
        [
            _field("symbol", pa.string()),
            _field("valid_from", pa.date32()),  # the first day on which it holds, until a later row of the symbol does
            _field("event_time", TIME),  # when it could first be known: the start of that day, unless announced
            _field("known_from", TIME),
            _field("sector", pa.string(), required=False),
            _field("industry", pa.string(), required=False),
            _field("subindustry", pa.string(), required=False),
            *_optional("shares"),  # shares outstanding
            _field("source", pa.string()),
        ]
    ),
    key=("symbol", "valid_from"),
    invariants=(
        _SYMBOL,
        _positive("shares"),
        Invariant(
            "it names no sector, industry, subindustry or number of shares",
            pl.any_horizontal(pl.col("sector", "industry", "subindustry", "shares").is_not_null()),
        ),
    ),
)
"""To which sector, industry and subindustry a symbol belongs, and its shares outstanding, from when on."""

_LOG = [  # where a row that came through the log stood in it; null for rows that were taken in another way
    _field("log_partition", pa.int32(), required=False),
    _field("log_offset", pa.int64(), required=False),
]

TICKS = Table(
    name="ticks",
    schema=pa.schema(
        [
            _field("symbol", pa.string()),
            _field("date", pa.date32()),
            _field("event_time", TIME),  # when the trade was reported
            _field("event_ns", pa.int64()),  # the same in nanoseconds since 1970, as the vendor gives it
            _field("price", pa.float64()),
            _field("size", pa.float64()),  # shares, may be fractional
            _field("exchange", pa.string()),
            _field("trade_id", pa.string()),  # unique within symbol, date and exchange
            _field("sequence", pa.int64(), required=False),  # rises within symbol and date, with gaps
            _field("conditions", pa.string(), required=False),  # the vendor's codes, joined by commas
            _field("ingest_time", TIME),
            _field("source", pa.string()),
            *_LOG,
        ]
    ),
    key=("symbol", "date", "exchange", "trade_id"),
    partition=("date",),
    invariants=(_SYMBOL, _positive("price"), _positive("size"), _filled("trade_id")),
)
"""Trades as they were reported; one row each."""

NEWS = Table(
    name="news",
    schema=pa.schema(
        [
            _field("article_id", pa.string()),  # digest of source and normalised address
            _field("date", pa.date32()),  # of the publication, UTC
            _field("event_time", TIME),  # publication; the day's end where only a day is known
            _field("known_from", TIME),  # the later of publication and our receipt
            _field("symbols", pa.string()),  # linked symbols in ascending order, joined by commas; may be empty
            _field("title", pa.string()),
            _field("description", pa.string(), required=False),
            _field("url", pa.string()),
            _field("publisher", pa.string(), required=False),
            _field("language", pa.string(), required=False),
            _field("source", pa.string()),
            *_LOG,
        ]
    ),
    key=("article_id",),
    partition=("date",),
    invariants=(_filled("article_id"), _filled("title"), _filled("url")),
)
"""Articles. A feature may use one from ``known_from`` on, which a delayed plan puts a day behind publication."""

TWEETS = Table(
    name="tweets",
    schema=pa.schema(
        [
            _field("post_id", pa.string()),
            _field("date", pa.date32()),  # of the post, UTC
            _field("event_time", TIME),  # when it was posted
            _field("known_from", TIME),  # the later of posting and our receipt
            _field("symbols", pa.string()),  # cashtags in ascending order, joined by commas
            _field("author", pa.string()),  # pseudonym: a keyed digest, never the name or id
            _field("text", pa.string()),  # names of other users are pseudonyms too
            _field("language", pa.string(), required=False),
            _field("kind", pa.string()),  # post | reply | quote | retweet
            _field("refers_to", pa.string(), required=False),  # the post that it replies to, quotes or repeats
            *_optional("likes", "retweets", "replies", "quotes"),  # as of known_from, never as of posting
            _field("source", pa.string()),
            *_LOG,
        ]
    ),
    key=("post_id",),
    partition=("date",),
    invariants=(_filled("post_id"), _filled("author"), _filled("text")),
)
"""Posts, their authors pseudonymised before anything is written."""

SCORES = Table(
    name="scores",
    schema=pa.schema(
        [
            _field("kind", pa.string()),  # the document's table: news | tweets
            _field("document_id", pa.string()),  # its article_id or post_id
            _field("model", pa.string()),  # name and version of the model that read it
            _field("score", pa.float64()),  # −1 (negative) to 1 (positive)
            *_optional("confidence"),  # 0 to 1
            _field("event_time", TIME),  # of the document
            _field("known_from", TIME),  # the later of the document's known_from and when it was scored
        ]
    ),
    key=("kind", "document_id", "model"),
    invariants=(
        _filled("document_id"),
        _filled("model"),
        Invariant("kind is not news or tweets", pl.col("kind").is_in(["news", "tweets"])),
        Invariant("score does not lie between -1 and 1", pl.col("score").is_between(-1, 1)),
        Invariant(
            "confidence does not lie between 0 and 1",
            pl.col("confidence").is_null() | pl.col("confidence").is_between(0, 1),
        ),
    ),
)
"""What models make of the tone of articles and posts. A feature may use a score from its ``known_from`` on."""

_ROW = [_field("symbol", pa.string()), _field("date", pa.date32()), _field("event_time", TIME)]

FEATURES = Table(
    name="features",
    schema=pa.schema([*_ROW, _field("known_from", TIME)]),
    key=("symbol", "event_time"),
    open=True,
)
"""One float32 column per feature follows; ``event_time`` is the close of the bar that the row describes.

A row that was computed with what was known at its own time has ``known_from = event_time``. A row that a stream
computes again, because a bar of its look-back came late or was corrected, stands beside it, known from that moment.
In the lake each set has a table of its own: see :func:`features_table`."""

LABELS = Table(
    name="labels",
    schema=pa.schema(
        [
            *_ROW,
            _field("horizon", pa.int32()),  # bars held
            _field("label_start", TIME),  # the fill that opens the position: after event_time
            _field("label_end", TIME),  # the fill that closes it: from here on the label is known
            _field("forward_return", pa.float64()),
        ]
    ),
    key=("symbol", "event_time", "horizon"),
)
"""Forward returns from the next fill to the fill ``horizon`` bars later. Never an input of a decision."""

FORECASTS = Table(
    name="forecasts",
    schema=pa.schema(
        [
            _field("run_id", pa.string()),
            _field("model", pa.string()),
            *_ROW,  # event_time is the time of the decision: the close after which the forecast is known
            _field("horizon", pa.int32()),
            _field("forecast", pa.float64()),
            _field(
                "fold", pa.int32()
            ),  # the walk-forward fold that made it, −1 for a model fitted on all of the history
        ]
    ),
    key=("run_id", "model", "fold", "symbol", "event_time"),
    partition=("run_id",),
    invariants=(_SYMBOL, Invariant("forecast is not a finite number", pl.col("forecast").is_finite())),
)
"""Out-of-sample forecasts; only their order within a date has a meaning that all models share."""

TARGET_WEIGHTS = Table(
    name="target_weights",
    schema=pa.schema(
        [
            _field("run_id", pa.string()),
            *_ROW,  # decided at the close of ``date``, traded at the next fill
            _field("weight", pa.float64()),
        ]
    ),
    key=("run_id", "symbol", "event_time"),
    partition=("run_id",),
    invariants=(_SYMBOL, Invariant("weight is not a finite number", pl.col("weight").is_finite())),
)
"""Target weights as fractions of equity; a date that is present replaces the whole book, absent symbols are 0."""

ORDERS = Table(
    name="orders",
    schema=pa.schema(
        [
            _field("run_id", pa.string()),
            *_ROW,  # decided at the close of ``date`` (of intraday bars: of the bar at event_time), for the next fill
            _field("order_id", pa.string()),  # digest of account, date, symbol and what else tells orders apart
            _field("shares", pa.float64()),  # to buy > 0, to sell < 0
        ]
    ),
    key=("run_id", "order_id"),
    partition=("run_id",),
    invariants=(
        _SYMBOL,
        _filled("order_id"),
        Invariant("shares is not a finite number", pl.col("shares").is_finite()),
    ),
)
"""What a strategy asks for in shares, instead of target weights; an order adds to what waits for its symbol, and what
is not named stays as it is. Handed from strategies to the backtest, not kept in the lake."""

INSTRUMENTS = Table(
    name="instruments",
    schema=pa.schema(
        [
            _field("symbol", pa.string()),
            _field("currency", pa.string(), required=False),  # of its prices, ISO 4217; null: that of the account
            *_optional("lot"),  # shares in a lot
            *_optional("spread_bps"),  # bid-ask spread, basis points of the price
            *_optional("borrow_bps"),  # borrow fee, basis points a year
            *_optional("locate"),  # most shares that can be borrowed; null: any number
        ]
    ),
    key=("symbol",),
    invariants=(
        _SYMBOL,
        _positive("lot"),
        _not_negative("spread_bps"),
        _not_negative("borrow_bps"),
        _not_negative("locate"),
    ),
)
"""On which terms single symbols are traded; null: as the settings say. Handed to the backtest, not kept in the lake."""

FX_RATES = Table(
    name="fx_rates",
    schema=pa.schema(
        [
            _field("currency", pa.string()),  # ISO 4217
            _field("date", pa.date32()),  # known at the close of the session of this date, or the last one before it
            _field("rate", pa.float64()),  # what one unit is worth in the account's currency
        ]
    ),
    key=("currency", "date"),
    invariants=(
        _filled("currency"),
        Invariant("rate is not a positive number", pl.col("rate").is_finite() & (pl.col("rate") > 0)),
    ),
)
"""Exchange rates. Handed to the backtest, not kept in the lake."""

FILLS = Table(
    name="fills",
    schema=pa.schema(
        [
            _field("run_id", pa.string()),
            *_ROW,  # when it was filled
            _field("shares", pa.float64()),  # bought > 0, sold < 0
            _field("price", pa.float64()),  # paid or received, slippage included
            _field("commission", pa.float64()),
            _field("slippage", pa.float64()),  # cash lost to slippage, ≥ 0
            _field("reason", pa.string()),  # rebalance | delisting | …
        ]
    ),
    key=("run_id", "symbol", "event_time", "reason"),
    partition=("run_id",),
)
"""What was executed in a backtest or a paper account."""

CASH_FLOWS = Table(
    name="cash_flows",
    schema=pa.schema(
        [
            _field("run_id", pa.string()),
            _field("date", pa.date32()),
            _field("symbol", pa.string(), required=False),  # null for a fee on the whole account
            _field("kind", pa.string()),  # dividend | cash in lieu | borrow fee …
            _field("amount", pa.float64()),  # received > 0, paid < 0
        ]
    ),
    key=("run_id", "date", "symbol", "kind"),
    partition=("run_id",),
)
"""Cash that moved without a trade; together with the fills it explains all cash of an account."""

EQUITY = Table(
    name="equity",
    schema=pa.schema(
        [
            _field("run_id", pa.string()),
            _field("date", pa.date32()),
            _field("event_time", TIME),  # the close at which it is marked
            _field("equity", pa.float64()),
            _field("cash", pa.float64()),
            _field("gross_exposure", pa.float64()),  # Σ|position| ÷ equity
            _field("net_exposure", pa.float64()),  # Σ position ÷ equity
            _field("turnover", pa.float64()),  # one-way: ½ Σ|traded notional| ÷ equity before the trades
            _field("costs", pa.float64()),  # commission + slippage of the day, in cash
        ]
    ),
    key=("run_id", "event_time"),
    partition=("run_id",),
)
"""The account at the close of each session."""

TRADE_LEDGER = Table(
    name="trade_ledger",
    schema=pa.schema(
        [
            _field("account", pa.string()),
            _field("number", pa.int64()),  # 0, 1, 2 … without a gap: the order in which things happened
            _field("kind", pa.string()),  # opened | session | target | order | fill | flow | stopped
            _field("date", pa.date32()),
            _field("event_time", TIME),  # of the fill, else the close of the session
            _field("symbol", pa.string(), required=False),
            _field("order_id", pa.string(), required=False),
            _field("status", pa.string(), required=False),  # of an order: see aiquant.brokers.base.STATUSES
            _field("reason", pa.string(), required=False),  # why refused, executed or stopped; the kind of a flow
            *_optional("weight"),  # of a target
            *_optional("shares"),  # of an order what was asked for, of a fill what was executed; signed
            *_optional("price"),  # of a fill what was paid, of an order the close that it was sized on
            *_optional("commission", "slippage", "amount"),  # of a fill, and of a flow
            *_optional("equity", "cash", "gross_exposure", "net_exposure", "turnover", "costs"),  # of a session
            _field("bars_version", pa.int64(), required=False),  # Delta version of the bars that a session was seen in
            _field("detail", pa.string(), required=False),  # of the opening: by which rules, as JSON
            _field("state", pa.binary(), required=False),  # of a session: the account, to go on from
            _field("ingest_time", TIME),  # when it was written
        ]
    ),
    key=("account", "event_time", "number"),
    partition=("account",),
    invariants=(_filled("account"),),
)
"""Everything that happened to an account that trades, session by session: the rows of a session are one commit.

What other tables say of such an account (``trade_orders``, ``target_weights``, ``fills``, ``cash_flows`` and
``equity`` under the run id ``trade-<account>``) is made from this one."""

TRADE_ORDERS = Table(
    name="trade_orders",
    schema=pa.schema(
        [
            _field("run_id", pa.string()),
            *_ROW,  # decided at this close
            _field("order_id", pa.string()),  # digest of account, date and symbol
            *_optional("shares"),  # asked for, signed; null where the symbol has no price
            *_optional("price"),  # the close that it was sized on
            _field("status", pa.string()),  # the last one
            _field("reason", pa.string(), required=False),
            *_optional("filled"),  # shares that were executed, signed
            *_optional("paid"),  # average price of these
        ]
    ),
    key=("run_id", "order_id"),
    partition=("run_id",),
)
"""The orders of an account that trades, and what became of each."""

TRIALS = Table(
    name="trials",
    schema=pa.schema(
        [
            _field(
                "study", pa.string()
            ),  # "runs" for trainings, "backtests" for other books of one, else a tuning's name
            _field("trial", pa.string()),  # its name in the study: the run's id, the number of a tuning's trial
            _field("run_id", pa.string(), required=False),  # the training run that it is, or belongs to
            _field("model", pa.string()),
            _field("configuration", pa.string()),  # digest of all settings that make its forecasts and its book
            _field("params", pa.string()),  # what was set for it, as JSON
            *_optional("objective"),  # mean rank IC out of sample; null where it has none
            _field("state", pa.string()),  # complete | pruned | failed
            _field("ingest_time", TIME),  # when it was tried
        ]
    ),
    key=("study", "trial"),
    invariants=(
        _filled("study"),
        _filled("trial"),
        _filled("configuration"),
        Invariant("objective is not a finite number", _finite_or_null("objective")),
        Invariant("state is not complete, pruned or failed", pl.col("state").is_in(["complete", "pruned", "failed"])),
    ),
)
"""Everything that was tried, whether it was any good or not: what a result has to be judged against."""

TRIAL_RETURNS = Table(
    name="trial_returns",
    schema=pa.schema(
        [
            _field("study", pa.string()),
            _field("trial", pa.string()),
            _field("date", pa.date32()),
            _field("net_return", pa.float64()),  # of the session, costs included; forecasts out of sample
        ]
    ),
    key=("study", "trial", "date"),
    partition=("study",),
    invariants=(Invariant("net_return is not a finite number", pl.col("net_return").is_finite()),),
)
"""Net returns of the trials that traded, session by session."""

DEAD_LETTERS = Table(
    name="dead_letters",
    schema=pa.schema(
        [
            _field("letter_id", pa.string()),  # digest of table, source, place and payload: the same letter once
            _field("table", pa.string()),  # the table that the row was meant for
            _field("source", pa.string()),
            _field("place", pa.string()),  # file and row, or topic, partition and offset
            _field("reason", pa.string()),
            _field("symbol", pa.string(), required=False),
            _field("date", pa.date32(), required=False),  # of the row, where it could be read
            _field("payload", pa.string()),  # the row as it came, as JSON
            _field("ingest_time", TIME),
        ]
    ),
    key=("letter_id",),
)
"""Rows that broke an invariant: set aside with the reason, never dropped."""

FINDINGS = Table(
    name="findings",
    schema=pa.schema(
        [
            _field("table", pa.string()),
            _field("symbol", pa.string()),
            _field("date", pa.date32()),
            _field("kind", pa.string()),  # scale_error, missing_session, zero_volume, extreme_move_kept …
            _field("action", pa.string()),  # set_aside | kept | missing
            _field("detail", pa.string()),
        ]
    ),
    key=("table", "symbol", "date", "kind"),
)
"""What the checks of data quality saw, whether it was set aside, kept (a real crash) or is simply not there."""

TABLES: tuple[Table, ...] = (
    BARS,
    CORPORATE_ACTIONS,
    UNIVERSE,
    CLASSIFICATION,
    TICKS,
    NEWS,
    TWEETS,
    SCORES,
    FORECASTS,
    TARGET_WEIGHTS,
    FILLS,
    CASH_FLOWS,
    EQUITY,
    TRADE_LEDGER,
    TRADE_ORDERS,
    TRIALS,
    TRIAL_RETURNS,
    DEAD_LETTERS,
    FINDINGS,
)
"""The tables of the lake, besides one table for each set of features."""


def features_table(name: str) -> Table:
    """The lake's table of one feature set (``core`` → ``features_core``)."""
    return Table(
        name=f"features_{name}",
        schema=FEATURES.schema,
        key=FEATURES.key,
        open=True,
    )


def conform(rows: pa.Table, table: Table) -> pa.Table:
    """Cast ``rows`` to the schema of ``table``: its columns in its order, further ones behind if it is open.

    Casts are safe: a value that does not fit raises instead of being truncated.

    Raises
    ------
    DataError
        When a required column is missing or holds nulls, when a column is not known, or a value does not fit.
    """
    missing = [f.name for f in table.schema if f.name not in rows.column_names and not f.nullable]
    if missing:
        raise DataError(f"rows for table {table.name} lack the column(s) {', '.join(missing)}")
    extra = [name for name in rows.column_names if name not in table.schema.names]
    if extra and not table.open:
        raise DataError(f"rows for table {table.name} have the unknown column(s) {', '.join(extra)}")
    columns: list[pa.ChunkedArray | pa.Array] = []
    for f in table.schema:
        column = rows[f.name] if f.name in rows.column_names else pa.nulls(rows.num_rows, f.type)
        if not f.nullable and column.null_count:
            raise DataError(f"column {f.name} of table {table.name} holds {column.null_count} null(s)")
        try:
            columns.append(column.cast(f.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"column {f.name} of table {table.name} does not fit {f.type}: {error}") from error
    fields = list(table.schema)
    for name in extra:
        columns.append(rows[name])
        fields.append(rows.schema.field(name))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def reasons(rows: pl.DataFrame, invariants: Sequence[Invariant]) -> pl.Series:
    """For each row the reasons why it is bad, joined by "; ", or null where all invariants hold."""
    if not invariants:
        return pl.Series("reason", [None] * len(rows), dtype=pl.String)
    each = [pl.when(i.holds.fill_null(False)).then(None).otherwise(pl.lit(i.reason)) for i in invariants]
    joined = pl.concat_str(each, separator="; ", ignore_nulls=True)
    return rows.select(pl.when(joined == "").then(None).otherwise(joined).alias("reason")).to_series()
