"""Rows of one file of bars: parsed, judged one by one, good ones apart from bad ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from aiquant import deadletters
from aiquant.errors import DataError
from aiquant.schemas import BARS, reasons
from aiquant.sources import columns as names
from aiquant.sources import numbers, stamps, times
from aiquant.sources.base import Layout
from aiquant.sources.columns import Recognised
from aiquant.sources.delimited import Chunk
from aiquant.sources.opening import Opened, open_file
from aiquant.sources.stamps import Stamper

SOURCE = "files"
NUMBERS = ("open", "high", "low", "close", "volume", "vwap")
VALUES = (*NUMBERS, "trades")
CELLS = 1_000_000  # of a wide file that are unpivoted at a time


@dataclass
class Counts:
    """What was seen while a file was read."""

    rows: int = 0
    good: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    naive: int = 0
    first_naive: str = ""
    zoned: int = 0
    no_session: int = 0
    timed: int = 0
    lifted: int = 0
    edge: str = ""  # the column of intraday times that does not say which edge of a bar it is
    at_open: int = 0
    at_close: int = 0
    worst: str = ""  # the first bad row, for strict reading
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Judged:
    """Good rows (symbol, date, event_time, prices …, row) and dead letters of some rows."""

    good: pl.DataFrame
    letters: pa.Table


class BarFile:
    """One file of bars.

    Raises
    ------
    DataError
        When the file cannot be read or lacks a needed column.
    """

    def __init__(
        self, path: Path, place: str, stamper: Stamper, columns: Mapping[str, str] | None, layout: Layout | None
    ) -> None:
        self.place, self.counts = place, Counts()
        self._stamper = stamper
        self._file: Opened = open_file(path, place)
        self._known: Recognised = names.recognise(place, self._file.header, columns, layout)
        self._style: numbers.NumberStyle | None = None
        self._orders: dict[str, times.DayOrder] = {}
        self._role = next(name for name in names.TIMES if name in self._known.columns)
        unnamed = self._role in ("time", "date") and self._role not in (columns or {})
        self._edge = self._file.header[self._known.columns[self._role]] if unnamed else ""
        self.counts.notes.extend((*self._file.notes, *self._known.notes))

    def judged(self) -> Iterator[Judged]:
        """All rows, some at a time."""
        for chunk in self._file.chunks({**self._known.columns, **self._cells()}):
            for part in self._long(chunk):
                self._settle(part)
                yield self._judge(part)
            if chunk.ragged:
                yield Judged(pl.DataFrame(), self._ragged(chunk))

    def _cells(self) -> dict[str, int]:
        # A symbol may be called like one of our columns (LOW, OPEN): a prefix keeps them apart.
        return {f"={symbol}": at for symbol, at in self._known.symbols.items()}

    def _long(self, chunk: Chunk) -> Iterator[Chunk]:
        """A chunk as long rows: as it is, or a wide one unpivoted (missing cells are no rows)."""
        if self._known.layout == "long":
            if len(chunk.frame):
                yield chunk
            return
        cells = self._cells()
        step = max(1, CELLS // len(cells))
        for start in range(0, len(chunk.frame), step):
            part = chunk.frame.slice(start, step).with_columns(chunk.numbers.slice(start, step).alias("row"))
            long = _unpivoted(part, self._role, list(cells))
            if len(long):
                yield Chunk(long.drop("row"), long["row"])

    def _settle(self, chunk: Chunk) -> None:
        """Decide once, by the first rows of the file, how its numbers and days are written."""
        if self._style is not None:
            return
        frame = chunk.frame
        self._style = numbers.style_of([frame[name] for name in VALUES if name in frame.columns])
        for name in {self._role, "date"} & set(frame.columns):
            self._orders[name] = times.day_order(frame[name])
            if self._orders[name] == "ambiguous":
                raise DataError(
                    f"{self.place}: {_first(frame[name])!r} can be read month first or day first",
                    "write dates as YYYY-MM-DD",
                )
        if self._known.layout == "wide" and numbers.parse(frame["close"], self._style).null_count() == len(frame):
            raise DataError(
                f"{self.place}: no column for symbol and close: none of the columns beside "
                f"{self._file.header[self._known.columns[self._role]]!r} holds numbers",
                "give symbol, date and close, or one column of closes for each symbol",
            )

    def _judge(self, chunk: Chunk) -> Judged:
        raw, row = self._asked(chunk)
        self.counts.rows += len(raw)
        frame, problems = self._parsed(raw)
        stamped, when_problem = self._stamped(raw)
        frame = frame.with_columns(stamped["date"], stamped["event_time"], row)
        told = pl.DataFrame([s.alias(f"p{i}") for i, s in enumerate([when_problem, *problems])]).select(
            pl.concat_str(pl.all(), separator="; ", ignore_nulls=True).alias("unread"), reasons(frame, BARS.invariants)
        )
        # What could not be read breaks invariants, too: one reason is enough.
        reason = told.select(pl.when(pl.col("unread") != "").then("unread").otherwise("reason")).to_series()
        bad = reason.is_not_null()
        self.counts.good += len(frame) - int(bad.sum())
        if not bad.any():
            return Judged(frame, deadletters.collect([]))
        payload = raw.filter(bad).cast(pl.String, strict=False)
        letters = frame.filter(bad).select(
            "symbol",
            "date",
            place=pl.format("{}:{}", pl.lit(self.place), "row"),
            reason=reason.filter(bad),
            payload=payload.select(pl.struct(pl.all()).struct.json_encode()).to_series(),
        )
        self.counts.worst = self.counts.worst or f"{letters['place'][0]}: {letters['reason'][0]}"
        return Judged(frame.filter(~bad), deadletters.from_frame(letters, BARS, SOURCE))

    def _asked(self, chunk: Chunk) -> tuple[pl.DataFrame, pl.Series]:
        """The rows of the interval that is asked for, where the file says which interval each has."""
        if "interval" not in chunk.frame.columns:
            return chunk.frame, chunk.numbers
        told = chunk.frame["interval"].cast(pl.String, strict=False)
        forms = {text: stamps.same_interval(text) for text in told.unique().drop_nulls()}
        ours = stamps.same_interval(self._stamper.data.interval)
        asked = told.replace_strict(forms, default=None, return_dtype=pl.String).fill_null(ours) == ours
        left = told.filter(~asked).replace_strict(forms, return_dtype=pl.String)
        for interval, count in zip(*(left.value_counts().get_columns()), strict=True):
            self.counts.left_out[interval] += count
        return chunk.frame.filter(asked).drop("interval"), chunk.numbers.filter(asked)

    def _parsed(self, raw: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.Series]]:
        """Typed values, and for each column the reasons why a value could not be read."""
        assert self._style is not None
        problems: list[pl.Series] = []
        parsed: dict[str, pl.Series] = {"symbol": self._symbols(raw)}
        for name in VALUES:
            if name not in raw.columns:
                kind = pl.Int64 if name == "trades" else pl.Float64
                parsed[name] = pl.Series(name, [None] * len(raw), dtype=kind)
                continue
            value = numbers.parse(raw[name], self._style)
            if numbers.unreadable(raw[name], value).any():
                problems.append(_told(raw[name], numbers.unreadable(raw[name], value), f"{name} {{}} is not a number"))
            if name in ("volume", "vwap", "trades"):
                value = value.fill_nan(None)  # not there; a price that is not a number is another matter
            if name == "trades":
                whole = (value == value.floor()) & (value >= 0) & (value < 2**53)
                if (~whole).any():
                    problems.append(_told(raw[name], ~whole, "trades {} is not a count"))
                value = value.to_frame("n").select(pl.when(whole).then("n")).to_series().cast(pl.Int64)
            parsed[name] = value.alias(name)
        missing = parsed["close"].is_null()
        if missing.any():
            unread = numbers.unreadable(raw["close"], parsed["close"])
            problems.append(_told(raw["close"], missing & ~unread, "close is missing"))
        return pl.DataFrame(parsed), problems

    def _symbols(self, raw: pl.DataFrame) -> pl.Series:
        if self._known.symbol is not None:
            return pl.Series("symbol", [self._known.symbol], dtype=pl.String).new_from_index(0, len(raw))
        symbol = raw["symbol"]
        if symbol.dtype.is_nested():
            raise DataError(f"{self.place}: the column for symbol holds lists or structs", "map another column")
        return symbol.cast(pl.String, strict=False).fill_null("").str.strip_chars().str.to_uppercase()

    def _stamped(self, raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        when, role, dates = self._when(raw)
        stamped = self._stamper.stamp(times.parse(when, self._orders[role]), role, dates)
        counts, reason = self.counts, stamped["reason"]
        naive = reason == stamps.NAIVE
        counts.naive += int(naive.sum())
        counts.first_naive = counts.first_naive or str(_first(when.filter(naive)) or "")
        counts.timed += int(stamped["timed"].sum())
        counts.zoned += int((stamped["timed"] & ~naive.fill_null(False)).sum())
        counts.lifted += int(stamped["lifted"].sum())
        if "at_open" in stamped.columns:
            counts.edge = self._edge
            counts.at_open += int(stamped["at_open"].sum())
            counts.at_close += int(stamped["at_close"].sum())
        counts.no_session += int(reason.str.contains(stamps.NO_SESSION, literal=True).sum())
        self._refuse_other_interval(raw, stamped)
        text = when.cast(pl.String, strict=False) if not when.dtype.is_nested() else when.is_null().cast(pl.String)
        label = "date" if role == "date" else "time"
        shown = stamped.select(
            pl.when(reason == "unread")
            .then(
                pl.when(text.fill_null("").str.strip_chars() == "")
                .then(pl.lit(f"{label} is missing"))
                .otherwise(pl.format(label + " '{}' cannot be read", text))
            )
            .when(naive)
            .then(pl.format("time '{}' has no time zone", text))
            .otherwise(reason)
        ).to_series()
        return stamped, shown.alias("when")

    def _when(self, raw: pl.DataFrame) -> tuple[pl.Series, str, pl.Series | None]:
        """The column of time, its role, and the sessions where a column of its own names them."""
        when, role = raw[self._role], self._role
        if role == "date" or "date" not in raw.columns:
            return when, role, None
        if when.dtype == pl.Time or (
            when.dtype == pl.String and when.str.contains(r"^\s*\d{1,2}:\d{2}(:\d{2})?(\.\d+)?\s*$").any()
        ):
            day = times.parse(raw["date"], self._orders["date"])["written"].dt.date().cast(pl.String)
            clock = when.cast(pl.String).str.strip_chars().str.slice(0, 15)
            return (day + " " + clock).alias(role), role, None
        day = times.parse(raw["date"], self._orders["date"])["written"].dt.date()
        return when, role, day

    def _refuse_other_interval(self, raw: pl.DataFrame, stamped: pl.DataFrame) -> None:
        """Bars of a wholly different length are a wrong setting, not thousands of bad rows."""
        interval = self._stamper.data.interval
        if self._stamper.daily and len(raw) > 2 and stamped["timed"].sum() * 2 > len(raw):
            symbols = self._symbols(raw)
            day = stamped.with_columns(symbol=symbols).filter(pl.col("timed") & pl.col("date").is_not_null())
            written = day.group_by("symbol", "date").agg(pl.col("given").n_unique().alias("times"))
            crowded = written.filter(pl.col("times") > 1)
            if len(written) and len(crowded) * 2 > len(written):
                raise DataError(
                    f"{self.place} holds intraday bars, setting data.interval is {interval!r}",
                    "set data.interval to their length, for example 1m",
                )
        if (
            not self._stamper.daily
            and len(raw)
            and stamped["timed"].sum() == 0
            and stamped["event_time"].is_null().all()
        ):
            readable = stamped["reason"].fill_null("") != "unread"
            if readable.any():
                raise DataError(
                    f"{self.place} holds dates without a time of day, setting data.interval is {interval!r}",
                    "set data.interval to 1d, or map the column of times",
                )

    def _ragged(self, chunk: Chunk) -> pa.Table:
        width = len(self._file.header)
        self.counts.rows += len(chunk.ragged)
        letters = [
            deadletters.letter(
                BARS, SOURCE, f"{self.place}:{line}", f"the row has {count} values, the header {width}", text
            )
            for line, text, count in chunk.ragged
        ]
        self.counts.worst = self.counts.worst or f"{letters[0]['place']}: {letters[0]['reason']}"
        return deadletters.collect(letters)


def _unpivoted(part: pl.DataFrame, when: str, cells: list[str]) -> pl.DataFrame:
    typed = part.select("row", when, *(pl.col(c) for c in cells))
    if len({typed.schema[c] for c in cells}) > 1:
        typed = typed.with_columns(pl.col(cells).cast(pl.String, strict=False))
    long = typed.unpivot(cells, index=["row", when], variable_name="symbol", value_name="close")
    there = pl.col("close").is_not_null()
    if long.schema["close"] == pl.String:
        there &= ~pl.col("close").str.strip_chars().str.to_lowercase().is_in([*numbers.MISSING, "nan"])
    elif long.schema["close"].is_float():
        there &= pl.col("close").is_not_nan()
    return long.filter(there).with_columns(pl.col("symbol").str.slice(1))


def _told(raw: pl.Series, bad: pl.Series, text: str) -> pl.Series:
    shown = raw.cast(pl.String, strict=False).fill_null("") if not raw.dtype.is_nested() else pl.Series([""] * len(raw))
    message = pl.format(text.replace("{}", "'{}'"), pl.col("shown")) if "{}" in text else pl.lit(text)
    return pl.DataFrame({"shown": shown, "bad": bad}).select(pl.when("bad").then(message)).to_series()


def _first(column: pl.Series) -> object:
    there = column.drop_nulls()
    return there[0] if len(there) else None
