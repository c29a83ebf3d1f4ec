"""All that there is to know, laid out by when it became known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.errors import DataError
from aiquant.portfolio.strategies.history import FIELDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEY = ["symbol", "interval", "event_time"]
_CLOSE = FIELDS.index("close")
_FORECAST = ["symbol", "date", "event_time", "forecast"]
_ACTION = ["symbol", "kind", "date", "ratio", "amount"]


@dataclass(frozen=True, eq=False)
class Tables:
    """What a feed is made of: the arguments of :class:`Feed`."""

    bars: pa.Table
    actions: pa.Table | None = None
    forecasts: pa.Table | None = None
    universe: pa.Table | None = None

    def feed(self) -> Feed:
        """All of it, by when it was known."""
        return Feed(self.bars, actions=self.actions, forecasts=self.forecasts, universe=self.universe)


class Feed:
    """Bars, corporate actions, forecasts and members of a universe, in order of when each was known.

    Parameters
    ----------
    bars
        Table ``bars`` of one interval, all versions.
    actions
        Table ``corporate_actions``, all versions.
    forecasts
        Table ``forecasts`` of one model.
    universe
        Table ``universe`` of one universe, all versions; None: every symbol is a member.

    Attributes
    ----------
    symbols
        In the order in which their first bars became known, then by name.
    nows, dates
        ``datetime64[us]`` (UTC) and ``datetime64[D]``, shape (t,): the decision times.
    forecasts_read
        Whether a strategy asked for forecasts.

    Raises
    ------
    DataError
        When there are no bars, or those of several intervals.
    """

    def __init__(
        self,
        bars: pa.Table,
        *,
        actions: pa.Table | None = None,
        forecasts: pa.Table | None = None,
        universe: pa.Table | None = None,
    ) -> None:
        frame = pl.DataFrame(pl.from_arrow(bars.select([*_KEY, "date", "known_from", *FIELDS, "adjustment"])))
        intervals = sorted(frame["interval"].unique().to_list())
        if len(intervals) != 1:
            told = ", ".join(intervals) or "none"
            raise DataError(f"a strategy looks at bars of one interval, and there are: {told}", "ingest bars first")
        slot = "date" if intervals[0].endswith("d") else "event_time"
        times = frame.group_by(slot).agg(pl.col("event_time").max().alias("now"), pl.col("date").min().alias("day"))
        times = times.sort(slot)
        self.nows: NDArray[np.datetime64] = _us(times["now"])
        self.dates: NDArray[np.datetime64] = times["day"].to_numpy().astype("datetime64[D]")
        placed = frame.with_columns(
            pl.Series("row", np.searchsorted(times[slot].to_numpy(), frame[slot].to_numpy())),
            pl.Series("seen", self._seen(frame)),
        ).filter(pl.col("seen") < len(self.nows))
        first = placed.group_by("symbol").agg(pl.col("seen").min()).sort("seen", "symbol")
        self.symbols: tuple[str, ...] = tuple(first["symbol"])
        self._widths = np.searchsorted(first["seen"].to_numpy(), np.arange(len(self.nows)), side="right")
        self._place = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._lay_out(placed)
        self._actions = self._known(actions, _ACTION, tuple(_ACTION[:3]))
        self._forecasts = self._by_date(forecasts)
        self.forecasts_read = False
        self._universe = self._known(universe, ["symbol", "member_from", "member_to"], ("symbol", "member_from"))

    def __len__(self) -> int:
        """Number of decision times."""
        return len(self.nows)

    def width(self, at: int) -> int:
        """How many symbols have had a bar by decision time ``at``."""
        return int(self._widths[at])

    def place(self, symbol: str, at: int) -> int | None:
        """The column of a symbol; None where it is unknown at decision time ``at``."""
        found = self._place.get(symbol)
        return found if found is not None and found < self._widths[at] else None

    def board(self) -> Board:
        """An empty board to write on."""
        return Board(self)

    def members(self, at: int, width: int) -> NDArray[np.bool_]:
        """Which of the first ``width`` symbols are members of the universe, by what is known at ``at``."""
        if self._universe is None:
            return np.ones(width, dtype=np.bool_)
        day = self.dates[at].item()
        until = pl.col("member_to").is_null() | (pl.col("member_to") >= day)
        inside = self._newest(self._universe, at, ["symbol", "member_from"]).filter(pl.col("member_from") <= day, until)
        found = np.zeros(width, dtype=np.bool_)
        places = [self.place(symbol, at) for symbol in inside["symbol"]]
        found[[place for place in places if place is not None]] = True
        return found

    def actions_of(self, at: int) -> pl.DataFrame:
        """The corporate actions that are known at ``at``, one version of each."""
        if self._actions is None:
            return pl.DataFrame(schema={**dict.fromkeys(_ACTION, pl.Float64), "symbol": pl.String, "kind": pl.String})
        return self._newest(self._actions, at, _ACTION[:3]).select(_ACTION)

    def forecasts_of(self, at: int, last: int) -> pl.DataFrame:
        """The forecasts of the newest ``last`` dates by ``at``; no rows where there are none."""
        self.forecasts_read = True
        rows, starts, ends = self._forecasts
        known = int(ends[at])
        begun = starts[: np.searchsorted(starts, known, side="left")]
        begin = int(begun[max(0, len(begun) - last)]) if len(begun) else known
        return rows.slice(begin, known - begin)

    def forecast_dates(self, at: int) -> int:
        """How many dates have forecasts by ``at``."""
        self.forecasts_read = True
        _, starts, ends = self._forecasts
        return int(np.searchsorted(starts, ends[at], side="left"))

    def _seen(self, rows: pl.DataFrame) -> NDArray[np.int64]:
        """The first decision time at which each row is known; the number of times where none is."""
        known = _us(rows.select(pl.max_horizontal("event_time", "known_from")).to_series())
        return np.searchsorted(self.nows, known, side="left").astype(np.int64)

    def _lay_out(self, placed: pl.DataFrame) -> None:
        place = pl.col("symbol").replace_strict(self._place, return_dtype=pl.Int64)
        rows = placed.with_columns(column=place).sort("seen", "known_from", maintain_order=True)
        rows = rows.unique(["seen", "row", "column"], keep="last", maintain_order=True)
        self.starts = np.searchsorted(rows["seen"].to_numpy(), np.arange(len(self.nows) + 1))
        self.row, self.column = rows["row"].to_numpy().astype(np.int64), rows["column"].to_numpy()
        self.values = np.stack([rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in FIELDS])
        traded = rows.group_by("column").agg((pl.col("adjustment") == "none").all())
        self.as_traded = np.zeros(len(self.symbols), dtype=np.bool_)
        self.as_traded[traded["column"].to_numpy()] = traded["adjustment"].to_numpy()

    def _known(self, table: pa.Table | None, columns: list[str], key: tuple[str, ...]) -> pl.DataFrame | None:
        """Rows of a versioned table with ``seen``, sorted by it; None where there are none."""
        if table is None or not table.num_rows:
            return None
        frame = pl.DataFrame(pl.from_arrow(table.select([*columns, "event_time", "known_from"])))
        frame = frame.with_columns(pl.Series("seen", self._seen(frame)))
        return frame.filter(pl.col("seen") < len(self.nows)).sort("seen", "known_from", *key)

    def _newest(self, frame: pl.DataFrame, at: int, key: list[str]) -> pl.DataFrame:
        known = frame.slice(0, int(np.searchsorted(frame["seen"].to_numpy(), at, side="right")))
        return known.sort("known_from", maintain_order=True).unique(key, keep="last", maintain_order=True)

    def _by_date(self, table: pa.Table | None) -> tuple[pl.DataFrame, NDArray[np.int64], NDArray[np.int64]]:
        """Forecasts sorted by time; where each of their dates starts; how many are known at each decision time."""
        if table is None:
            kinds = (pl.String, pl.Date, pl.Datetime("us", "UTC"), pl.Float64)
            rows = pl.DataFrame(schema=dict(zip(_FORECAST, kinds, strict=True)))
        else:
            rows = pl.DataFrame(pl.from_arrow(table.select(_FORECAST))).sort("date", "event_time", "symbol")
        days = rows["date"].to_numpy()
        starts = np.flatnonzero(np.concatenate([[True], days[1:] != days[:-1]])) if len(days) else np.zeros(0, np.int64)
        return rows, starts.astype(np.int64), np.searchsorted(_us(rows["event_time"]), self.nows, side="right")

    @cached_property
    def due(self) -> Mapping[int, list[int]]:
        """For each decision time the columns whose prices are to be adjusted anew, because of an action."""
        found: dict[int, list[int]] = {}
        if self._actions is not None:
            opened = np.searchsorted(self.dates, self._actions["date"].to_numpy().astype("datetime64[D]"))
            for symbol, seen, day in zip(self._actions["symbol"], self._actions["seen"], opened, strict=True):
                at, column = max(int(seen), int(day)), self._place.get(symbol)
                if column is not None and at < len(self.nows) and self.as_traded[column]:
                    found.setdefault(at, []).append(column)
        return found


class Board:
    """The arrays that a walk through a :class:`Feed` writes on.

    Attributes
    ----------
    raw, adjusted
        float64, shape (fields, t, n): prices and volumes as traded, and adjusted by what has happened so far. One array
        where there is nothing to adjust.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        shape = (len(FIELDS), len(feed), len(feed.symbols))
        self.raw = np.full(shape, np.nan)
        self.adjusted = np.full(shape, np.nan) if feed.due else self.raw
        self._scaled: set[int] = set()

    def write(self, at: int) -> None:
        """Write what becomes known at decision time ``at``; times have to come in order."""
        feed, rows = self._feed, slice(self._feed.starts[at], self._feed.starts[at + 1])
        row, column, values = feed.row[rows], feed.column[rows], feed.values[:, rows]
        self.raw[:, row, column] = values
        if self.adjusted is self.raw:
            return
        self.adjusted[:, row, column] = values
        self._scaled.update(feed.due.get(at, ()))
        corrected = self._scaled.intersection(column[row < at].tolist())
        for scaled in corrected.union(feed.due.get(at, ())):
            self._adjust(at, scaled)

    def _adjust(self, at: int, column: int) -> None:
        """Put the prices of a symbol before each of its actions into units of a share of ``at``."""
        feed, end = self._feed, at + 1
        price, volume = np.ones(end), np.ones(end)
        own = feed.actions_of(at).filter(pl.col("symbol") == feed.symbols[column], pl.col("date") <= feed.dates[at])
        for kind, day, ratio, amount in own.select("kind", "date", "ratio", "amount").iter_rows():
            before = int(np.searchsorted(feed.dates, np.datetime64(day)))
            if kind == "split":
                price[:before] /= ratio
                volume[:before] *= ratio
            elif kind == "dividend":
                closes = self.raw[_CLOSE, :before, column]
                last = closes[np.isfinite(closes)][-1:]
                if len(last) and amount < last[0]:
                    price[:before] *= 1.0 - amount / last[0]
        self.adjusted[:, :end, column] = self.raw[:, :end, column] * price
        self.adjusted[-1, :end, column] = self.raw[-1, :end, column] * volume


def _us(column: pl.Series) -> NDArray[np.datetime64]:
    return column.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
