"""What every online store does: the newest row of features of each symbol, one packed value each.

Which of two rows of a symbol is kept depends on the rows alone, not on who wrote last: the one of the later
``event_time``, and of these the one of the later ``known_from``. So an older value never wins, a correction does, and
writers may repeat themselves, overtake one another and fall back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from aiquant import schemas
from aiquant.errors import UsageError
from aiquant.features.online.packing import Packed, View, pack, unpack


@dataclass(frozen=True)
class Written:
    """What a write did.

    Attributes
    ----------
    rows
        Symbols whose value changed: what the store held already, or newer, does not count.
    newest
        The newest ``event_time`` (UTC) of the batch; None of an empty one.
    """

    rows: int
    newest: datetime | None


class OnlineStore(ABC):
    """The newest features of each symbol.

    Every method raises :class:`~aiquant.errors.Unreachable` when the server or the file does not answer, is full or
    may not be written: the same call may be repeated later. It raises :class:`~aiquant.errors.DataError` when what is
    stored was not written by aiquant or is damaged, and :class:`~aiquant.errors.SettingsError` when the store refuses
    us (password, certificate).
    """

    def write(self, view: View, rows: pa.Table) -> Written:
        """Take in rows; of each symbol the newest is kept, be it in the batch or in the store. Idempotent.

        Parameters
        ----------
        rows
            In the schema FEATURES with the features of ``view``; a symbol may stand in it more than once.

        Raises
        ------
        DataError
            When a feature is missing, or rows do not conform to the schema.
        """
        packed = pack(view, rows)
        return Written(self.put(view, packed) if packed.symbols else 0, _newest(rows))

    def read(
        self, view: View, symbols: Sequence[str], names: Sequence[str] | None = None, now: datetime | None = None
    ) -> pa.Table:
        """The stored values of ``symbols``, in the order asked for, with their ages.

        Parameters
        ----------
        symbols
            A symbol that is not there has nulls.
        names
            Features to read; all by default.
        now
            The moment (with time zone) at which ages are taken; by default the present.

        Returns
        -------
        pyarrow.Table
            ``symbol``, ``event_time``, ``known_from``, ``age`` (duration in microseconds since ``event_time``), then
            the features as float32, in the order asked for.

        Raises
        ------
        UsageError
            When the set has no such feature.
        """
        chosen = view.features if names is None else names
        unknown = [name for name in chosen if name not in view.places]
        if unknown:
            raise UsageError(
                f"feature set {view.name} has no feature {', '.join(unknown)}",
                f"see them with: aiquant features show {view.name}",
            )
        rows = unpack(view, symbols, self.take(view, symbols), chosen)
        moment = pa.scalar(now or datetime.now(UTC), schemas.TIME)
        return rows.add_column(3, pa.field("age", pa.duration("us")), pc.subtract(moment, rows["event_time"]))

    @abstractmethod
    def put(self, view: View, packed: Packed) -> int:
        """Store packed rows where they are newer than what is there; how many were."""

    @abstractmethod
    def take(self, view: View, symbols: Sequence[str]) -> list[bytes | None]:
        """The packed rows of ``symbols``, None where there is none."""

    @abstractmethod
    def symbols(self, view: View) -> list[str]:
        """All symbols that the store has of a view, sorted."""

    @abstractmethod
    def versions(self, name: str) -> list[str]:
        """The versions of a set that the store has values of, sorted."""

    @abstractmethod
    def drop(self, view: View) -> None:
        """Remove all values of a view."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; the store may be used again."""


def _newest(rows: pa.Table) -> datetime | None:
    moment: datetime | None = pc.max(rows["event_time"].cast(schemas.TIME)).as_py() if rows.num_rows else None
    return moment
