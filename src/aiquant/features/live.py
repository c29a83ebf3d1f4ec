"""A feature set bar by bar: the values of :func:`aiquant.features.engine.compute`, to the last bit, one slot at a time.

What is remembered is bounded: for each value that an operator looks back at, as many slots as it looks back, and a few
numbers a symbol. That is all a checkpoint holds.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aiquant.calendars import Sessions
from aiquant.errors import DataError
from aiquant.features import adjustments, grid, rolling, snapshots
from aiquant.features.catalogue import FeatureSet
from aiquant.features.rings import Graph
from aiquant.schemas import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LiveSet:
    """One feature set, and what it has to remember to go on.

    Parameters
    ----------
    feature_set
        From :func:`aiquant.features.catalogue.get`.
    sessions
        Sessions of the exchange, from before the first bar to as far as bars will come.
    interval
        Of the bars: ``1d``, ``1m`` …
    actions
        Corporate actions known so far; later ones by :meth:`use_actions`.
    qlib_compat
        As for :func:`aiquant.features.engine.compute`.

    Attributes
    ----------
    axis
        Numbers the slots.
    schema
        Of the rows that :meth:`push` gives.
    note
        What :meth:`save` was told to keep, after :meth:`load`.
    """

    def __init__(
        self,
        feature_set: FeatureSet,
        sessions: Sessions,
        interval: str,
        actions: pa.Table | None = None,
        qlib_compat: bool = False,
    ) -> None:
        self.feature_set = feature_set
        self.axis = grid.Axis(sessions, interval)
        self.qlib_compat = qlib_compat
        self._policy = rolling.Policy(partial=qlib_compat or feature_set.partial_windows, compat=qlib_compat)
        self._graph = Graph([f.expression for f in feature_set.features], self._policy, self.axis)
        self._fields = sorted({name for feature in feature_set.features for name in feature.fields})
        self._lookback = np.array([f.expression.slots(self.axis.per_session) for f in feature_set.features])
        self.schema = _schema(feature_set)
        self._factors = adjustments.Running(actions)
        self.note: dict[str, Any] = {}
        self._at = -1
        self._columns: dict[str, int] = {}
        self._order = np.zeros(0, dtype=np.int64)
        self._first = np.zeros(0, dtype=np.int64)

    @property
    def lookback(self) -> int:
        """Slots of history before the current one that the set needs."""
        return int(self._lookback.max(initial=0))

    @property
    def slot(self) -> int:
        """Number of the newest slot that was computed, on :attr:`axis`; −1 before the first."""
        return self._at

    @property
    def first(self) -> dict[str, int]:
        """Slot of the first bar of each symbol."""
        return {name: int(self._first[at]) for name, at in self._columns.items()}

    @property
    def symbols(self) -> list[str]:
        """All symbols that had a bar, sorted."""
        return sorted(self._columns)

    @property
    def nbytes(self) -> int:
        """Bytes of the values that are remembered."""
        return sum(ring.values.nbytes for ring in self._graph.rings.values())

    def begin(self, slot: int, first: dict[str, int]) -> None:
        """Start in the middle of history: the next bars are those of ``slot`` or later.

        What comes out is right once the look-back of the set has been pushed.

        Parameters
        ----------
        first
            Slot of the first bar of each symbol that had one before ``slot``.
        """
        self._at = slot - 1
        self._list(list(first))
        self._first = np.fromiter(first.values(), np.int64, len(first))

    def use_actions(self, actions: pa.Table | None) -> date | None:
        """Take the newest corporate actions.

        Returns
        -------
        datetime.date or None
            With nothing taken, the date of the first action that alters what bars that were pushed already are worth:
            from there on history has to be computed again. None when they were taken.
        """
        return self._factors.renew(actions)

    def push(self, bars: pa.Table) -> pa.Table:
        """Take the bars of the next slot or slots.

        Parameters
        ----------
        bars
            Rows of :data:`aiquant.schemas.BARS` (and attached fields) that stand behind :attr:`slot`, all bars of each
            slot together, in any order. Slots without any bar may be left out.

        Returns
        -------
        pyarrow.Table
            Rows of :data:`aiquant.schemas.FEATURES` and a float32 column a feature, by symbol and event_time: those of
            :func:`aiquant.features.engine.compute` on all bars so far.

        Raises
        ------
        DataError
            When bars are of another interval, stand twice, lie outside of the sessions, or are not behind
            :attr:`slot`. Nothing is taken then.
        """
        if not bars.num_rows:
            return self.schema.empty_table()
        slots = self._placed(bars)
        if (slots == slots[0]).all():
            return self._one(int(slots[0]), bars)
        order = np.argsort(slots, kind="stable")
        edges = np.flatnonzero(np.diff(slots[order])) + 1
        parts = [self._one(int(slots[rows[0]]), bars.take(rows)) for rows in np.split(order, edges)]
        return pa.concat_tables(parts).sort_by([("symbol", "ascending"), ("event_time", "ascending")]).combine_chunks()

    def save(self, note: dict[str, Any] | None = None) -> bytes:
        """All that is remembered, for :meth:`load`; ``note`` (plain JSON) is given back by it as :attr:`note`."""
        session = int(np.searchsorted(self.axis.first, self._at, side="right")) - 1 if self._at >= 0 else -1
        head = {
            "set": self.feature_set.name,
            "version": self.feature_set.version,
            "interval": self.axis.interval,
            "qlib_compat": self.qlib_compat,
            "session": str(self.axis.sessions.dates[session]) if session >= 0 else None,
            "within": self._at - int(self.axis.first[session]) if session >= 0 else 0,
            "symbols": list(self._columns),
            "note": note or {},
        }
        more, arrays = self._factors.save()
        arrays = {**arrays, "age": self._at - self._first}
        for digest, ring in self._graph.rings.items():
            arrays[f"ring {digest}"] = ring.values
            arrays[f"kind {digest}"] = np.array([ring.single])
        return snapshots.write({**head, **more}, arrays)

    @classmethod
    def load(
        cls,
        content: bytes,
        feature_set: FeatureSet,
        sessions: Sessions,
        interval: str,
        qlib_compat: bool = False,
    ) -> LiveSet:
        """Go on from what :meth:`save` gave; the other parameters are those of the class.

        It knows the corporate actions that were applied, and no others before :meth:`use_actions`.

        Raises
        ------
        DataError
            When the content is damaged, was made by another version of the set or with another interval or
            ``qlib_compat``, or its session is none.
        """
        head, arrays = snapshots.read(content)
        made = cls(feature_set, sessions, interval, qlib_compat=qlib_compat)
        wanted = {"version": feature_set.version, "interval": interval, "qlib_compat": qlib_compat}
        for name, value in wanted.items():
            if head[name] != value:
                raise DataError(f"it was made with {name} {head[name]}, not {value}")
        made.note = head["note"]
        if head["session"] is not None:
            made._restore(head, arrays)
        return made

    def _restore(self, head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        day = int(self.axis.sessions.index_of(np.array([head["session"]], dtype="datetime64[D]"))[0])
        if day < 0:
            raise DataError(f"it ends on {head['session']}, which is no session of {self.axis.sessions.calendar}")
        self._at = int(self.axis.first[day]) + head["within"]
        self._list(head["symbols"])
        self._first = self._at - arrays["age"]
        for digest, ring in self._graph.rings.items():
            ring.restore(arrays[f"ring {digest}"], bool(arrays[f"kind {digest}"][0]))
        self._factors.restore(head, arrays)

    def _placed(self, bars: pa.Table) -> NDArray[np.int64]:
        """Slot of each bar; refuses what :meth:`push` does not take."""
        intervals = pc.unique(bars["interval"]).to_pylist()
        if intervals != [self.axis.interval]:
            raise DataError(f"bars of interval {', '.join(map(str, intervals))} among those of {self.axis.interval}")
        slots = self.axis.place(_numpy(bars["date"], "datetime64[D]"), _numpy(bars["event_time"], "datetime64[us]"))
        bad = slots <= self._at
        if bad.any():
            k = int(np.argmax(bad))
            where = {grid.NO_SESSION: "on a day without a session", grid.OUTSIDE: "outside of trading hours"}
            told = where.get(int(slots[k]), "not behind the newest slot")
            row = bars.slice(k, 1).select(["symbol", "event_time"]).to_pylist()[0]
            raise DataError(f"the bar of {row['symbol']} at {row['event_time']} lies {told}")
        return slots

    def _one(self, slot: int, bars: pa.Table) -> pa.Table:
        """The rows of one slot."""
        names = bars["symbol"].to_pylist()
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"two bars of {twice} stand in the slot of {bars['event_time'][0]}")
        day, us = _numpy(bars["date"], "datetime64[D]"), _numpy(bars["event_time"], "datetime64[us]")
        due = self._factors.due(names, day, us, bars["adjustment"])
        self._pass_over(slot)
        self._list([name for name in names if name not in self._columns], slot)
        at = np.array(list(map(self._columns.__getitem__, names)), dtype=np.int64)
        there = np.zeros(len(self._columns), dtype=bool)
        there[at] = True
        self._factors.take(at, day, us, due)
        fields = self._fields_of(bars, at)
        self._at = slot
        age = slot - self._first
        rows = self._order[there[self._order]]
        values = self._graph.step(slot, fields, rows, age)
        out = self._cut(np.take(values, rows, axis=1), age[rows])
        source = np.empty(len(there), dtype=np.int64)
        source[at] = np.arange(len(at))
        keys = bars.select(["symbol", "date", "event_time"]).take(source[rows])
        columns = [_column(keys, name) for name in FEATURES.schema.names]
        features = [pa.Array.from_buffers(pa.float32(), len(row), [None, pa.py_buffer(row)]) for row in out]
        return pa.Table.from_arrays([*columns, *features], schema=self.schema)

    def _pass_over(self, slot: int) -> None:
        """The slots before ``slot`` in which no symbol has a bar."""
        if self._at < 0 or not self._columns:
            return
        nothing = np.full(len(self._columns), np.nan)
        depth = max((ring.depth for ring in self._graph.rings.values()), default=0)
        # Beyond the deepest memory a gap has no end: what lies further back is not read by anything.
        for at in range(max(self._at + 1, slot - depth), slot):
            self._graph.step(at, dict.fromkeys(self._fields, nothing), np.zeros(0, dtype=np.int64), at - self._first)

    def _list(self, new: list[str], slot: int = 0) -> None:
        """Symbols that have their first bar now."""
        if not new:
            return
        for name in new:
            self._columns[name] = len(self._columns)
        self._first = np.concatenate([self._first, np.full(len(new), slot)])
        self._order = np.array([self._columns[name] for name in sorted(self._columns)])
        self._factors.grow(new)
        self._graph.grow(len(self._columns))

    def _fields_of(self, bars: pa.Table, at: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Adjusted fields of the bars, by symbol."""
        factor = self._factors.factor[at]
        fields = {}
        for name in self._fields:
            values = np.full(len(self._columns), np.nan)
            if name in bars.column_names:
                told = _floats(bars[name])
                values[at] = told * factor if name in adjustments.PRICES else told
                if name == "volume":
                    values[at] = told / factor
            fields[name] = values
        return fields

    def _cut(self, values: NDArray[np.float64], age: NDArray[np.int64]) -> NDArray[np.float32]:
        """As float32, without infinities and, where the policy says so, without the heads of histories."""
        with np.errstate(over="ignore"):
            out: NDArray[np.float32] = values.astype(np.float32)
        # One pattern of bits for all that is NaN, as in batch.
        out[np.isnan(out) if self._policy.compat else ~np.isfinite(out)] = np.nan
        if not self._policy.partial:
            young = age < self.lookback
            if young.any():
                out[(age[None, :] < self._lookback[:, None])] = np.nan
        return out


def _schema(feature_set: FeatureSet) -> pa.Schema:
    features = [pa.field(f.name, pa.float32(), nullable=False) for f in feature_set.features]
    return pa.schema([*FEATURES.schema, *features])


def _column(keys: pa.Table, name: str) -> pa.Array:
    # What a slot gives as it comes is known from its own time on, as in batch.
    column = keys["event_time" if name == "known_from" else name]
    return column.combine_chunks().cast(FEATURES.schema.field(name).type)


def _numpy(column: pa.ChunkedArray, kind: str) -> NDArray[Any]:
    whole = {"datetime64[D]": pa.int32(), "datetime64[us]": pa.int64()}[kind]
    exact = column if kind == "datetime64[D]" else column.cast(pa.timestamp("us", tz="UTC"))
    moments: NDArray[Any] = exact.cast(whole).to_numpy().astype(np.int64).astype(kind)
    return moments


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    return values
