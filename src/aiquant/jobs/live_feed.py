"""One feature set on the stream: which slots are complete, what a late bar changes, and where to go on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import DataError
from aiquant.features.catalogue import FeatureSet
from aiquant.features.live import LiveSet
from aiquant.jobs.live_history import SLOT, History, placed
from aiquant.jobs.workspace import read_bytes, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from aiquant.settings import LiveSettings

_US = 1_000_000


@dataclass
class Waiting:
    """Bars whose slot is not complete yet."""

    frame: pl.DataFrame = field(default_factory=lambda: _nothing())
    since: dict[int, float] = field(default_factory=dict)

    def add(self, bars: pl.DataFrame, now: float) -> None:
        """Take bars with slots; a newer version takes the place of an older one, of two bars in a slot the earlier."""
        if bars.is_empty():
            return
        both = pl.concat([self.frame, bars.select(self.frame.columns)])
        both = both.sort("event_time", "known_from", descending=[False, True], maintain_order=True)
        self.frame = both.unique([SLOT, "symbol"], keep="first", maintain_order=True).sort(SLOT, "symbol")
        for slot in bars[SLOT].unique().to_list():
            self.since.setdefault(slot, now)

    def slots(self) -> list[int]:
        """The slots, in order."""
        return sorted(self.since)

    def take(self, slot: int) -> pl.DataFrame:
        """The bars of one slot, which wait no longer."""
        own = self.frame.filter(pl.col(SLOT) == slot)
        self.frame = self.frame.filter(pl.col(SLOT) > slot)
        del self.since[slot]
        return own


class Feed:
    """A set, its state, and the bars that wait for their slot.

    Parameters
    ----------
    feature_set, qlib_compat
        What is computed.
    history
        Where bars are read again.
    settings
        When a slot is complete.
    checkpoint
        File of the state.
    """

    def __init__(
        self, feature_set: FeatureSet, qlib_compat: bool, history: History, settings: LiveSettings, checkpoint: Path
    ) -> None:
        self.feature_set = feature_set
        self.waiting = Waiting()
        self.taken: int | None = None
        """Delta version of the bars up to which all were taken."""
        self.recomputed = 0
        self.resumed = False
        """Whether :meth:`restore` went on from the checkpoint."""
        self.beside: dict[str, int | None] = {}
        """What the checkpoint tells of the tables beside the bars: their versions."""
        self._compat = qlib_compat
        self._history = history
        self._settings = settings
        self._checkpoint = checkpoint
        self._recent: deque[frozenset[str]] = deque(maxlen=settings.expect_slots)
        self._newest = 0
        self._late: dict[str, tuple[int, int]] = {}
        self._letters: list[pa.Table] = []
        self._actions: pa.Table | None = None
        self._live = self._fresh()

    def restore(self, actions: pa.Table | None, newest_slot: int | None, taken: int | None) -> str | None:
        """Go on from the checkpoint, or else behind the newest row of the table, from the bars of the lake.

        Parameters
        ----------
        newest_slot
            Slot of the newest row of the set's table; None where it has no row.
        taken
            Version of the bars up to which the table's rows go, used where there is no checkpoint.

        Returns
        -------
        str or None
            What is wrong with the checkpoint, if it is there and cannot be used.
        """
        self._actions, problem = actions, None
        content = read_bytes(self._checkpoint)
        if content is not None:
            axis = self._history.axis
            try:
                self._live = LiveSet.load(content, self.feature_set, axis.sessions, axis.interval, self._compat)
                self.use_actions(actions)
                taken, self.beside = self._live.note["taken"], self._live.note.get("beside", {})
                self.resumed = True
            except DataError as error:
                problem = f"{self._checkpoint}: {error.problem}"
        if content is None or problem:
            self._live = self._fresh() if newest_slot is None else self._before(newest_slot + 1)
        self.taken = taken
        for bars in self._history.bars(self._live.slot + 1, letters=self._letters):
            self._hold(bars)
        return problem

    def save(self, beside: Mapping[str, int | None]) -> None:
        """Write the checkpoint: the old file or the new one is there, never half of it."""
        write_bytes(self._checkpoint, self._live.save({"taken": self.taken, "beside": dict(beside)}))

    def take(self, rows: pa.Table, version: int | None) -> pa.Table:
        """Rows that came into the table of bars, up to ``version``.

        Returns
        -------
        pyarrow.Table
            Dead letters of bars that have no slot, those met by :meth:`restore` included.
        """
        good, bad = placed(rows, self._history.axis)
        behind = good.filter(pl.col(SLOT) <= self._live.slot)
        for symbol, slot in behind.select("symbol", SLOT).iter_rows():
            self._touch(symbol, slot, slot)
        self._hold(good.filter(pl.col(SLOT) > self._live.slot))
        self.taken = version
        letters, self._letters = pa.concat_tables([*self._letters, bad]), []
        return letters

    def use_actions(self, actions: pa.Table | None) -> None:
        """Take the newest corporate actions; what they change of rows that were made comes with the next step."""
        self._actions = actions
        day = self._live.use_actions(actions)
        if day is not None:
            self.amend(self._history.first_of(day))

    def amend(self, first: int, symbols: Iterable[str] | None = None) -> None:
        """Have computed again, with the next step, what was made of a slot and later ones; default: all symbols'."""
        if first <= self._live.slot:
            for symbol in self._live.symbols if symbols is None else symbols:
                self._touch(symbol, first, self._live.slot)

    def step(self, settled: bool, final: bool = False) -> pa.Table:
        """Rows of the slots that are complete, and rows that late bars change.

        Parameters
        ----------
        settled
            Whether the log was read to its end: before that a missing bar may just not have been read.
        final
            Take every slot as complete.
        """
        parts = [self._again()] if self._late else []
        for slot in self.waiting.slots():
            if not (final or self._complete(slot, settled)):
                break
            bars = self.waiting.take(slot)
            parts.append(self._live.push(self._history.ready(bars, self.feature_set)))
            self._recent.append(frozenset(bars["symbol"]))
        return pa.concat_tables(parts) if parts else self._live.schema.empty_table()

    def _complete(self, slot: int, settled: bool) -> bool:
        own = self.waiting.frame.filter(pl.col(SLOT) == slot)
        expected = frozenset().union(*self._recent)
        if expected and expected <= set(own["symbol"]):
            return True
        if self.waiting.frame.height > self._settings.buffer_bars:
            return True
        late = self._settings.lateness_seconds
        closed = own["event_time"].dt.timestamp("us").max()
        assert isinstance(closed, int)
        passed = self._newest > closed + late * _US or time.monotonic() >= self.waiting.since[slot] + late
        return settled and passed

    def _again(self) -> pa.Table:
        """Everything that late bars touch: from their slot on, and as far as the set looks back, known from now."""
        before, first = self._live.first, min(slot for slot, _ in self._late.values())
        # A bar before a symbol's first one moves the beginning of its history: its head is judged anew.
        reach = max(max(slot, before.get(symbol, slot)) for symbol, (_, slot) in self._late.items())
        last = min(self._live.slot, reach + self._live.lookback)
        live = self._before(first)
        parts = [live.push(self._history.ready(bars, self.feature_set)) for bars in self._history.bars(first, last)]
        if last == self._live.slot:
            self._live = live
        else:
            self._live = self._before(self._live.slot + 1)
        self._late = {}
        rows = pa.concat_tables(parts) if parts else live.schema.empty_table()
        self.recomputed += rows.num_rows
        moment = pa.array([datetime.now(UTC)] * rows.num_rows, schemas.TIME)
        at = rows.schema.get_field_index("known_from")
        return rows.set_column(at, rows.schema.field(at), moment)

    def _touch(self, symbol: str, first: int, last: int) -> None:
        """Note that bars of a symbol from one slot to another are not what was computed with."""
        known = self._late.get(symbol, (first, last))
        self._late[symbol] = min(first, known[0]), max(last, known[1])

    def _hold(self, bars: pl.DataFrame) -> None:
        self.waiting.add(bars, time.monotonic())
        newest = bars["event_time"].dt.timestamp("us").max()
        if isinstance(newest, int):
            self._newest = max(self._newest, newest)

    def _fresh(self) -> LiveSet:
        axis = self._history.axis
        return LiveSet(self.feature_set, axis.sessions, axis.interval, self._actions, self._compat)

    def _before(self, slot: int) -> LiveSet:
        return self._history.before(slot, self.feature_set, self._actions, self._compat)


def _nothing() -> pl.DataFrame:
    """No bars, with slots."""
    return pl.DataFrame(pl.from_arrow(schemas.BARS.schema.empty_table())).with_columns(
        pl.lit(None, pl.Int64).alias(SLOT)
    )
