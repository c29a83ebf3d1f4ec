"""What live features read besides bars: corporate actions, and the tables of events and classes of a set's fields.

Their rows may reach the lake after the slot in which they count was computed. Each table is followed like the bars, and
how far is part of each commit of features; what came late tells from which slot on rows have to be computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from aiquant import schemas
from aiquant.features import fields
from aiquant.jobs.feature_plan import named

if TYPE_CHECKING:
    from aiquant.features.catalogue import FeatureSet
    from aiquant.features.grid import Axis
    from aiquant.lake import Lake

ACTIONS = schemas.CORPORATE_ACTIONS.name


@dataclass(frozen=True)
class Late:
    """Rows of a table that may concern slots which were computed already.

    Attributes
    ----------
    first
        The first slot that they concern; None where the table's log does not tell what came.
    symbols
        Whose rows; None for all.
    """

    table: str
    first: int | None
    symbols: tuple[str, ...] | None = None


class Beside:
    """The tables that a set reads beside the bars.

    Attributes
    ----------
    taken
        By table the Delta version up to which its rows were looked at; None where there was no table.
    """

    def __init__(self, lake: Lake, chosen: FeatureSet, axis: Axis) -> None:
        from aiquant.lake.following import Follower

        self._lake, self._axis = lake, axis
        self._followers = {name: Follower(lake, named(name)) for name in (ACTIONS, *fields.tables(chosen.fields))}
        self.taken: dict[str, int | None] = dict.fromkeys(self._followers)

    def begin(self, taken: Mapping[str, int | None]) -> None:
        """Go on behind these versions; a table that is not among them is taken as it is now."""
        self.taken = {name: taken[name] if name in taken else f.version() for name, f in self._followers.items()}

    def changed(self) -> list[str]:
        """Tables that have another version than the one that was taken."""
        return [name for name, follower in self._followers.items() if follower.version() != self.taken[name]]

    def late(self, name: str) -> Iterator[Late]:
        """What came into a table since, as far as it may concern slots; it counts as taken afterwards."""
        from aiquant.lake import additions

        since, now = self.taken[name], self._followers[name].version()
        self.taken[name] = now
        if now is None or now == since:
            return
        table = named(name)
        wanted = [n for n in ("symbol", "date", "event_time", "known_from") if n in table.schema.names]
        rows = additions.added(self._lake, table, -1 if since is None else since, now, wanted)
        if rows is None:
            yield Late(name, None)
        elif name == ACTIONS:
            day = pl.min_horizontal("date", pl.col("event_time").dt.date()).min().alias("day")
            for symbol, first in rows.group_by("symbol").agg(day).collect().iter_rows():
                yield Late(name, self._session(first), (symbol,))
        else:
            known = rows.select(pl.col("known_from").min()).collect().item()
            if known is not None:
                moment = np.datetime64(known.replace(tzinfo=None), "us")
                # It counts in the first slot that closes when it is known or later.
                yield Late(name, int(np.searchsorted(self._axis.slots.closes, moment)))

    def _session(self, day: date) -> int:
        """The first slot of a day's session, or of the next one."""
        return int(self._axis.first[np.searchsorted(self._axis.sessions.dates, np.datetime64(day, "D"))])
